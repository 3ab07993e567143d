"""Judges messages by the schemas of docs/feeds with the jsonschema library: a validator that is not ours.

First argument: the folder. Each line of stdin is {"schema": NAME, "message": ...}; each answer "yes" or "no: WHY".
Before that: one line for each schema and example, {"schema": NAME, "example": ...}, and an empty line.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator, FormatChecker

validators = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.schema.json")):
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    name = path.name.removesuffix(".schema.json")
    validators[name] = Draft202012Validator(schema, format_checker=FormatChecker())
    for example in schema["examples"]:
        print(json.dumps({"schema": name, "example": example}, ensure_ascii=False))
print(flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    errors = [error.message for error in validators[asked["schema"]].iter_errors(asked["message"])]
    print("no: " + "; ".join(errors) if errors else "yes", flush=True)
