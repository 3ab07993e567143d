"""Decodes golden records with the second verifier's code: golden.py VERIFIER FILE... prints one JSON object, file to
[kind, what is in it in order]: of inputs [kind, stamp, number of the command or fact], of conclusions [number, stamp]."""

import json
import pathlib
import sys

sys.path.insert(0, sys.argv[1])

from records import Record, inputs, stamp  # noqa: E402


def inside(record):
    kind, content = record.content()
    if kind == "inputs":
        items, _ = inputs(content, record.t0)
        numbers = {"command": lambda what: what[3][0], "fact": lambda what: what[2][0]}
        return [kind, [[name, stamp(name, what), numbers.get(name, lambda _: None)(what)] for name, what in items]]
    if kind == "conclusions":
        return [kind, [[one[1][0], one[0]] for one in content[1]]]
    return [kind, []]


print(json.dumps({path: inside(Record(pathlib.Path(path).read_bytes())) for path in sys.argv[2:]}))
