#!/usr/bin/env python3
"""A second verifier of Nonsite's evidence bundles, written from docs/records.md alone.

    verify.py BUNDLE [--policy trust.toml] [--json]

Shares no code with the first one (`gateway verify`) and prints the same JSON (docs/verify.schema.json). Decodes every reading
and re-computes limits (also through windows) and absences; of other rules it says "not re-computed here". Exit: 0 valid, 1 invalid, 2 usage,
3 incomplete, 78 a policy that says nothing clear. Needs Python 3.11, cbor2, zstandard and PyNaCl.
"""

import argparse
import json
import sys
import tomllib

import judge
import lines
from lines import Line, Walk, cursor, span
from records import Joiner, Record, stamp
from strict import Envelope, Fault, field, files, loads, sequence, sha256

RECORDS_MAX, SPANS_MAX = 4_000_000, 1_000
WORDS = {
    "identity": "whose records", "signatures": "each record signed", "sequence": "no number missing", "chain": "no link broken",
    "liveness": "no unexplained silence", "time": "clock", "coverage": "readings due and received", "context": "rules and devices",
    "recomputation": "conclusions follow", "log": "not in this version", "case": "steps allowed", "anchor": "not in this version",
    "limits": "no proof that a sensor was not bypassed, nor of the place", "container": "files as the manifest says",
}


class Policy:
    """Whom to believe."""

    def __init__(self, text):
        document = tomllib.loads(text)
        if set(document) - {"center", "gateway", "accept_simulated"}:
            raise ValueError("a key that does not belong there")
        self.centers = [self.hex(center["key_sha256"]) for center in document.get("center", [])]
        self.gateways = {}
        for gateway in document.get("gateway", []):
            begin, end = self.cursor(gateway.get("from", "0/0")), gateway.get("to")
            self.gateways.setdefault(self.hex(gateway["key"]), (begin, None if end is None else self.cursor(end)))
        self.accept_simulated = document.get("accept_simulated", False)

    @staticmethod
    def hex(text):
        data = bytes.fromhex(text)
        if len(data) != 32:
            raise ValueError(f"{text!r}: 64 hex digits belong there")
        return data

    @staticmethod
    def cursor(text):
        epoch, seq = text.split("/")
        return int(epoch), int(seq)


def manifest_of(data):
    """What a manifest says (section 9.2)."""
    envelope = Envelope(data, "application/nonsite-bundle")
    parts = loads(envelope.payload)
    if parts[0] != 1:
        raise Fault("a version of a later release")
    manifest = dict(zip(("version", "gateway", "maker", "maker_key", "window", "spans", "made_at", "software", "files"), parts))
    return manifest, envelope


ENDLESS = (1 << 64) - 1


class Ring:
    """A gateway's keys, each with its period (section 9.5)."""

    def __init__(self, first):
        self.gateway = sha256(first)[:16]
        self.keys = [{"key": first, "from": 0, "last": None, "cause": "first"}]

    @classmethod
    def of(cls, names):
        """The keys of a bundle; raises where somebody is not entitled to say that a key follows another."""
        first = key_of(names, "gateway.key")
        if first is None:
            return None
        ring = cls(first)
        if "keys" not in names:
            return ring
        said_first, said = loads(names["keys"])
        if said_first != first:
            raise Fault("the first key is not the gateway's")
        for data in said:
            ring.follow(data, key_of(names, "center.key"))
        return ring

    def follow(self, data, center):
        envelope = Envelope(data, "application/nonsite-succession")
        gateway, key, begin, last, cause = loads(envelope.payload)[:5]
        if gateway != self.gateway:
            raise Fault("about another gateway")
        signer = self.keys[-1]["key"] if cause == 0 else center
        if signer is None:
            raise Fault("the key of the center that said it is not there")
        envelope.check(signer)
        if begin == 0 or (last is not None and last[0] >= begin) or len(key) != 32:
            raise Fault("the key before it ends behind its beginning")
        if any(key == known["key"] for known in self.keys):
            raise Fault("a key that was used before")
        self.keys[-1]["last"] = (begin - 1, ENDLESS) if last is None else tuple(last)
        self.keys.append({"key": key, "from": begin, "last": None, "cause": ["rotated", "replaced"][cause]})

    def signer(self, kid):
        """Number of the key with this id; None = another's."""
        return next((n for n, one in enumerate(self.keys) if sha256(one["key"])[:8] == kid), None)

    def covers(self, signer, at):
        one = self.keys[signer]
        return one["from"] <= at[0] and (one["last"] is None or at <= one["last"])

    def facts(self):
        return [{"key": one["key"].hex(), "from_epoch": one["from"],
                 "last": cursor(one["last"]) if one["last"] and one["last"][1] != ENDLESS else None,
                 "last_epoch": one["last"] and one["last"][0], "cause": one["cause"]} for one in self.keys]


def ring_of(names):
    """With a list of keys that cannot be believed only the first of them counts; says why."""
    try:
        return Ring.of(names), None
    except (Fault, ValueError, TypeError, IndexError) as wrong:
        first = key_of(names, "gateway.key")
        return (Ring(first) if first else None), str(wrong)


class Seal:
    """One record of the bundle and what became of it."""

    def __init__(self, data, ring, others):
        self.signer, self.in_period = 0, True
        self.data, self.record, self.kind, self.content, self.eaten = data, None, None, None, None
        self.state, self.text = "unreadable", ""
        try:
            self.record = record = Record(data)
        except (Fault, ValueError) as fault:
            self.text = str(fault)
            return
        if len(record.envelope.signature) != 64:
            self.state = "unsigned"
            return
        signer = ring.signer(record.envelope.kid) if ring else None
        if signer is None:
            self.state, known = "foreign", record.envelope.kid in [sha256(other)[:8] for other in others]
            self.text = "a key that is trusted, but is not this gateway's" if known else "not the gateway's key"
            return
        try:
            record.envelope.check(ring.keys[signer]["key"])
        except Fault as fault:
            self.state, self.text = "invalid", str(fault)
            return
        if record.gateway != ring.gateway:
            self.state, self.text = "foreign", "signed with the gateway's key, but says it is of another"
            return
        self.state, self.signer, self.in_period = "valid", signer, ring.covers(signer, record.at)
        try:
            self.kind, content = record.content()
            self.eaten = lines.read_inputs(self.kind, content, record)
            self.content = content
        except (Fault, ValueError, TypeError, IndexError) as fault:
            self.text = str(fault)


UNFINISHED = "what follows in parts does not follow whole"


def join(seals):
    """What came in parts has to come together again, unless the epoch ends in the middle of it, as with a power cut."""
    joiner, head, last = Joiner(), None, None

    def unfinished():
        head.content, head.text = None, UNFINISHED

    for seal in seals:
        if seal.state != "valid" or (last is not None and seal.record.at <= last):
            continue
        last = seal.record.at
        if joiner.head is not None and joiner.at[0] == last[0] and seal.kind != "part":
            unfinished()
        if seal.content is None:
            continue
        try:
            seal.kind, seal.content = joiner.take(seal.record, seal.kind, seal.content)
        except (Fault, ValueError, TypeError, IndexError) as fault:
            seal.content, seal.text = None, str(fault)
        if seal.kind == "head":
            head = seal
    if joiner.head is not None:
        unfinished()


def container(data):
    line = Line("container")
    found, fault = files(data)
    if fault:
        line.fail("tar", f"byte {fault.at}", str(fault))
    manifest, names = None, dict(found)
    if not found or found[0][0] != "manifest":
        line.fail("manifest", "manifest", "the first file is not the manifest")
    else:
        try:
            manifest, envelope = manifest_of(found[0][1])
            try:
                envelope.check(manifest["maker_key"])
            except Fault as wrong:
                line.fail("manifest_signature", "manifest", str(wrong))
        except (Fault, ValueError, TypeError, IndexError) as wrong:
            line.fail("manifest", "manifest", str(wrong))
    if manifest is not None:
        rest = [name for name, _ in found[1:]]
        for place, (name, size, digest) in enumerate(manifest["files"]):
            if name not in rest:
                line.fail("missing_file", name, "listed in the manifest, but not there")
            elif len(names[name]) != size or sha256(names[name]) != digest:
                line.fail("hash", name, "not the bytes that the manifest names")
            elif rest.index(name) != place:
                line.fail("place", name, "not in its place")
        for name in rest:
            if name not in [listed[0] for listed in manifest["files"]]:
                line.fail("unlisted_file", name, "there, but not in the manifest")
        line.facts = {"files": len(found), "made_by": ["gateway", "center"][manifest["maker"]], "made_at": manifest["made_at"]}
    records = []
    if "records" not in names:
        line.fail("missing_file", "records", "there are no records")
    else:
        try:
            records = sequence(names["records"], RECORDS_MAX)
        except Fault as wrong:
            line.fail("framing", "records", str(wrong))
    return line, names, manifest, records


def instruments(names):
    """What the records of section 9.4 tell of instruments, and what is wrong with them."""
    found, wrong, plans = {}, [], {}
    if "device-records" not in names:
        return found, wrong
    try:
        ring, records = Ring.of(names), sequence(names["device-records"], 10_000)
    except (Fault, ValueError, TypeError, IndexError) as fault:
        return found, [("device-records", str(fault))]
    if ring is None:
        return found, [("device-records", "the gateway's key is not there")]
    seals = [Seal(data, ring, []) for data in records]
    join(seals)
    for place, seal in enumerate(seals):
        if seal.state != "valid" or not seal.in_period:
            wrong.append((f"#{place}", seal.text or seal.state))
        elif seal.kind == "config" and seal.content is not None:
            # Where it came in parts, it has the number of its head, which its parts name.
            plans[(seal.record.epoch, seal.record.config or seal.record.seq)] = seal.content[0]
        elif seal.kind in ("head", "part") and seal.content is not None:
            continue
        elif seal.kind == "inputs" and seal.content is not None:
            plan = plans.get((seal.record.epoch, seal.record.config))
            if plan is None:
                wrong.append((cursor(seal.record.at), "the config it names is not there"))
                continue
            for kind, what in seal.eaten[0]:
                if kind == "fact" and what[2][0] == 5 and what[0] < len(plan[2]):
                    number, fields = what[2][1][0]
                    found.setdefault(plan[2][what[0]][0], lines.Instrument()).take(number, fields)
        else:
            wrong.append((cursor(seal.record.at), "neither a config nor facts"))
    return found, wrong


def key_of(names, name):
    data = names.get(name)
    return data if data is not None and len(data) == 32 else None


def identity(names, manifest, seals, policy, walk):
    line = Line("identity")
    ring, wrong_keys = ring_of(names)
    if wrong_keys:
        line.fail("keys", "keys", wrong_keys)
    key, center = key_of(names, "gateway.key"), key_of(names, "center.key")
    enrolment = None
    if "enrolment" in names:
        try:
            if center is None:
                line.fail("enrolment", "enrolment", "the key of the center that signed it is not there")
            else:
                envelope = Envelope(names["enrolment"], "application/nonsite-enrolment")
                envelope.check(center)
                enrolment = loads(envelope.payload)
                about = field(enrolment, 6)
                named = about is not None and ring and about == ring.gateway and enrolment[0] in [one["key"] for one in ring.keys]
                if enrolment[0] != key and not named:
                    enrolment = None
                    line.fail("enrolment", "enrolment", "about another gateway's key")
        except (Fault, ValueError, TypeError, IndexError) as wrong:
            enrolment = None
            line.fail("enrolment", "enrolment", str(wrong))
    if key is None or (manifest is not None and sha256(key)[:16] != manifest["gateway"]):
        line.fail("gateway_key", "gateway.key", "not the key of the manifest's gateway")
    for seal in seals:
        if seal.state == "foreign":
            line.fail("other_gateway", cursor(seal.record.at), "a record of another gateway, or signed with its key")
    by = None
    if policy and key in policy.gateways:
        by = "policy"
    elif policy and enrolment and center and sha256(center) in policy.centers:
        by = "center"

    def covers(seal):
        signed = ring.keys[seal.signer]["key"] if ring else None
        if not seal.in_period:
            return False
        if by == "policy" and signed in policy.gateways:
            begin, end = policy.gateways[signed]
            return seal.record.at >= begin and (end is None or seal.record.at <= end)
        return not (by == "center" and signed == enrolment[0]) or seal.record.at[0] > enrolment[3]
    if policy is None:
        line.lack("no_policy", "", "no trust policy was given")
    elif by is None:
        line.fail("unknown_key", "gateway.key", "the policy names neither this gateway's key nor its center's")
    elif manifest is not None:
        known = bool(ring) and manifest["maker_key"] == ring.keys[-1]["key"] if manifest["maker"] == 0 else sha256(manifest["maker_key"]) in policy.centers
        if not known:
            line.fail("maker", "manifest", "made by somebody whom the policy does not name")
    replaced = ring and any(one["cause"] == "replaced" for one in ring.keys)
    if by and replaced and not (center and sha256(center) in policy.centers):
        line.fail("unknown_key", "keys", "a center that the policy does not name put one key in another's place")
    valid = [seal.record.at for seal in seals if seal.state == "valid"]
    for seal in seals:
        if seal.state == "valid" and not covers(seal):
            line.fail("key_period", cursor(seal.record.at), "outside the period in which this key was valid")
    line.facts = {
        "institution": enrolment[1] if enrolment else walk.institution,
        "site": enrolment[2] if enrolment else walk.site,
        "gateway": key and sha256(key)[:16].hex(), "key": key and key.hex(), "keys": ring.facts() if ring else [],
        "center": sha256(center).hex() if enrolment else None, "vouched_by": by,
        "first": cursor(min(valid)) if valid else None, "last": cursor(max(valid)) if valid else None,
    }
    return line


def signatures(seals):
    line = Line("signatures")
    states = ("valid", "unsigned", "invalid", "foreign", "unreadable")
    line.facts = {"records": len(seals), **{state: sum(seal.state == state for seal in seals) for state in states}}
    line.facts["not_understood"] = sum(seal.state == "valid" and seal.content is None for seal in seals)
    if not seals:
        line.fail("empty", "", "there is no record at all")
    for place, seal in enumerate(seals):
        at = cursor(seal.record.at) if seal.record else f"#{place}"
        if seal.state != "valid":
            line.fail(seal.state, at, seal.text or "there is no signature")
        elif seal.content is None:
            line.lack("not_understood", at, seal.text)
    return line


def ordered(seals):
    """Records with a good signature, each once, in the order of their numbers."""
    last = None
    for seal in seals:
        if seal.state == "valid" and (last is None or seal.record.at > last):
            last = seal.record.at
            yield seal


def erased_of(names):
    """Stubs of erased records; None = cannot be read."""
    try:
        return [((one[0], one[1]), one[2]) for one in loads(names["erased"])] if "erased" in names else []
    except (Fault, ValueError, TypeError, IndexError):
        return None


def sequence_line(manifest, seals, erased, faults):
    line = Line("sequence")
    if erased is None:
        line.fail("erased", "erased", "the list of erased records cannot be read")
    stubs = {at for at, _ in erased or []}
    found = {seal.record.at for seal in seals if seal.state == "valid"}
    told = set()
    for seal in ordered(seals):
        if seal.kind == "gap" and seal.content and field(seal.content, 5):
            told.add(tuple(seal.content[5]))
    spans = (manifest["spans"] if manifest else [])[:SPANS_MAX]
    counts = dict.fromkeys(("missing", "truncated", "gone", "erased"), 0)
    expected = 0
    for place, (epoch, first, last) in enumerate(spans):
        expected += max(last - first + 1, 0)
        present = sorted(seq for at, seq in found if at == epoch and first <= seq <= last)
        holes, following = [], first
        for seq in present + [last + 1]:
            if seq > following:
                holes.append((following, seq - 1))
            following = seq + 1
        for begin, end in holes:
            def why(seq, end=end, place=place, last=last, epoch=epoch):
                if (epoch, seq) in stubs:
                    return "erased"
                if any(one[0] == epoch and one[1] <= seq <= one[2] for one in told):
                    return "gone"
                return "truncated" if place + 1 == len(spans) and end == last else "missing"
            end = min(end, begin + RECORDS_MAX) if stubs or told else end
            parts = [(begin, end)]
            if stubs or told:
                parts, start = [], begin
                for seq in range(begin, end + 1):
                    if seq == end or why(seq + 1) != why(start):
                        parts.append((start, seq))
                        start = seq + 1
            for start, stop in parts:
                code = why(start)
                counts[code] += stop - start + 1
                note = line.lack if code in ("gone", "erased") else line.fail
                note(code, span(epoch, start, stop), code)
    for at in sorted(found):
        if not any(at[0] == epoch and first <= at[1] <= last for epoch, first, last in spans):
            line.fail("beyond", cursor(at), "there, but the manifest does not claim it")
    if not spans:
        line.fail("no_claim", "", "the manifest does not say from where to where the records go")
    for code, at, text in faults:
        if code in ("duplicate", "equivocation", "order"):
            line.fail(code, at, text)
    line.facts = {"expected": expected, "found": len(found), **counts,
                  "duplicates": sum(code == "duplicate" for code, _, _ in faults),
                  "equivocations": sum(code == "equivocation" for code, _, _ in faults)}
    return line


def chain_faults(seals):
    """Section 10.5: every record against the one before it, in the order of the bundle."""
    faults, epochs, last = [], [], None
    for seal in (seal for seal in seals if seal.state == "valid"):
        record, digest = seal.record, sha256(seal.data)
        at = record.at
        if last is not None:
            if at == last[0]:
                faults.append(("duplicate" if digest == last[1] else "equivocation", cursor(at), "the same number again"))
                continue
            if at < last[0]:
                faults.append(("order", cursor(at), "behind a record with a higher number"))
                continue
            if at[0] == last[0][0] and at[1] == last[0][1] + 1 and record.prev != last[1]:
                faults.append(("broken", cursor(at), "does not hold the hash of the record before it"))
        begins = last is None or last[0][0] != at[0]
        if seal.kind == "start" and seal.content is not None:
            faults.extend(start_faults(seal, last))
        elif begins and at[1] == 0:
            faults.append(("no_start", cursor(at), "the first of its epoch, but not a start"))
        if epochs and epochs[-1]["epoch"] == at[0]:
            epochs[-1]["last"] = at[1]
            epochs[-1]["records"] += 1
        else:
            epochs.append({"epoch": at[0], "first": at[1], "last": at[1], "records": 1})
        last = (at, digest)
    return faults, epochs


def start_faults(seal, last):
    record, content = seal.record, seal.content
    at, epoch, previous, digest = record.at, content[1], field(content, 2), field(content, 3)
    if epoch != at[0] or at[1] != 0 or (previous is not None and previous[0] >= epoch):
        yield "start", cursor(at), "a start that contradicts its place"
        return
    if record.prev != (digest or bytes(32)):
        yield "broken", cursor(at), "does not hold the hash that it names"
    if last is None or last[0][0] >= at[0]:
        return
    said = tuple(previous) if previous is not None else (0, 0)
    if previous is not None and said == last[0]:
        if digest != last[1]:
            yield "broken", cursor(at), "does not hold the hash of the record before it"
    elif previous is None or (said < last[0] and content[4] != 3):
        yield "tail_lost", cursor(at), f"says that {cursor(said)} was the last before it"


def chain_line(manifest, seals, erased, faults, epochs):
    line = Line("chain")
    for code, at, text in faults:
        if code in ("broken", "no_start", "start", "tail_lost"):
            line.fail(code, at, text)
    hashes, spans = dict(erased or []), manifest["spans"] if manifest else []
    links, last = 0, None
    for seal in ordered(seals):
        at = seal.record.at
        before = (at[0], at[1] - 1) if at[1] else None
        within = before and any(at[0] == epoch and first <= before[1] <= end for epoch, first, end in spans)
        if last is not None and (before is None or last == before):
            links += 1
        elif before in hashes:
            links += 1
            if hashes[before] != seal.record.prev:
                line.fail("broken", cursor(at), "does not hold the hash of the erased record before it")
        elif within:
            line.lack("across", cursor(at), f"{cursor(before)} is not there to be compared with")
        last = at
    line.facts = {"links": links, "epochs": epochs}
    return line


class Recomputation:
    """Section 11: what follows from the inputs, rule by rule."""

    def __init__(self):
        self.line = Line("recomputation")
        self.engine = self.plan = self.last = self.opening = None
        self.eaten, self.causes, self.pending = False, [], {}
        self.configured = False
        self.counted = self.inputs = self.unchecked = 0
        self.others = set()

    def take(self, seal):
        record, kind, content = seal.record, seal.kind, seal.content
        at = record.at
        self.hole(record, kind, content)
        behind_config = self.configured
        self.configured = kind == "config" or behind_config and kind in ("head", "part")
        self.last = at
        if kind == "start":
            self.open()
            self.opening, self.plan = [content, None], None
        elif kind == "config":
            if content[2] != 1:
                self.line.lack("semantics", at[0], f"semantics {content[2]} is not known here")
                self.engine = self.opening = None
            self.plan = content[0] if content[2] == 1 else None
        elif kind == "checkpoint":
            self.checkpoint(at, content, behind_config)
        elif kind == "inputs":
            self.eat(at, seal.eaten[0])
        elif kind == "conclusions":
            self.open()
            for one in content[1]:
                self.compare(at, content[0], one)
        elif kind == "gap" and content[4] == 4:
            # Inputs were judged that are in no record: nothing is known until the checkpoint that follows.
            self.line.lack("missing", cursor(at), f"nothing is known from here to {cursor(at)}")
            self.engine, self.opening, self.pending = None, None, {}

    def hole(self, record, kind, content):
        at, last = record.at, self.last
        if last is None:
            return
        if kind == "start":
            previous = field(content, 2)
            follows = previous is None or tuple(previous) == last
            if not follows and content[4] == 3 and tuple(previous) < last:
                # Another box went on from an earlier state than the one that its predecessor's disk tells of.
                self.engine, self.eaten, self.pending = None, False, {}
                return
        else:
            follows = at == (last[0], last[1] + 1)
        if follows:
            return
        self.configured = False
        if last[0] != at[0]:
            self.plan = None
        if self.eaten:
            self.line.lack("missing", cursor((last[0], last[1] + 1)), f"nothing is known from here to {cursor(at)}")
        self.engine, self.opening, self.eaten, self.pending = None, None, False, {}

    def checkpoint(self, at, state, first):
        """`first`: directly behind the config, so it is what the epoch begins with."""
        if state[0] != 1:
            self.line.lack("semantics", at[0], f"semantics {state[0]} is not known here")
            self.engine = self.opening = None
        elif self.opening and first:
            self.opening[1] = state
        else:
            self.open()
            # What was taken over at a start is of no use without that start.
            if self.engine is None and self.plan is not None and not first:
                self.engine = self.restored(state)

    def restored(self, state):
        engine = judge.Engine(self.plan)
        engine.restore(state, {slot: judge.fingerprint(self.plan, rule) for slot, rule in enumerate(self.plan[4])})
        return engine

    def open(self):
        if self.opening is None or self.plan is None:
            return
        (start, state), self.opening = self.opening, None
        before, self.engine = self.engine, judge.Engine(self.plan) if state is None else self.restored(state)
        del before
        self.engine.start(start)
        self.causes = [(start[1], 0)]
        self.gather((start[1], 0))

    def gather(self, cause):
        for slot, one in self.engine.concluded():
            self.pending.setdefault(self.name(slot), []).append((cause, one))

    def name(self, slot):
        rule = self.plan[4][slot]
        return rule[0], self.plan[2][rule[2]][0]

    def eat(self, at, items):
        self.open()
        if self.engine is None:
            self.unchecked += 1
            return
        for name, waiting in self.pending.items():
            # Two records back is further than a full disk carries anything.
            if waiting and len(self.causes) > 1 and waiting[0][0] <= self.causes[-2]:
                self.line.fail("concealed", cursor(at), f"{name[0]}: something follows, but is not recorded")
        self.causes.append(at)
        self.eaten = True
        for kind, what in items:
            self.engine.step(kind, what, stamp(kind, what))
        if self.engine.beyond:
            # What was paused, reset or taken out of service is judged again from the next checkpoint on.
            self.others.add("a command that pauses, resets or takes out of service")
            self.engine, self.opening, self.eaten, self.pending = None, None, False, {}
            return
        self.inputs += len(items)
        self.gather(at)

    def compare(self, at, because, one):
        kind, fields = one[1]
        if kind != 0:
            if kind == 1:
                self.others.add("cycle")
            return
        if self.engine is None:
            self.unchecked += 1
            return
        change = fields[0]
        slot = change[2]
        if slot is None or slot >= len(self.plan[4]):
            self.others.add("a rule that is gone")
            return
        if not judge.computed(self.plan[4][slot]):
            self.others.add(self.plan[4][slot][0])
            return
        self.counted += 1
        waiting = self.pending.get(self.name(slot))
        if not waiting:
            self.line.fail("invented", cursor(at), f"{self.name(slot)[0]}: recorded, but it does not follow: {one}")
            return
        cause, (now, occurrence, event, what, regions, value, limit, since, detail) = waiting.pop(0)
        if occurrence.alert is None:
            occurrence.alert = tuple(change[0])
        follows = [now, list(occurrence.alert), event, what, regions, value, limit, since, detail]
        recorded = [one[0], list(change[0]), change[1], change[3], change[4], field(change, 5), field(change, 6), field(change, 7), field(change, 8)]
        if follows != recorded:
            self.line.fail("other", cursor(at), f"{self.name(slot)[0]}: recorded {recorded}, but what follows is {follows}")
        carried = len(self.causes) > 1 and cause == self.causes[-2] and (at[0], because) == self.causes[-1]
        if not (cause == (at[0], because) or carried or (cause[0] < at[0] and because == 0)):
            self.line.fail("because", cursor(at), f"recorded as following from {because}, but it follows from {cursor(cause)}")

    def finish(self, walk):
        self.open()
        line = self.line
        if self.unchecked:
            line.lack("unchecked", "", f"{self.unchecked} records could not be checked")
        waiting = sum(map(len, self.pending.values()))
        if waiting:
            line.lack("pending", "", f"{waiting} conclusions follow from the last inputs, but are not there")
        if not self.inputs:
            line.lack("nothing", "", "no input was computed")
        for name in sorted(self.others):
            line.lack("not_here", name, "not re-computed here")
        line.facts = {"conclusions": self.counted, "inputs": self.inputs, "rules": walk.rules}
        return line


def verify(data, policy):
    line, names, manifest, records = container(data)
    ring, _ = ring_of(names)
    seals = [Seal(record, ring, policy.gateways if policy else []) for record in records]
    join(seals)
    walk, again = Walk(), Recomputation()
    for seal in ordered(seals):
        if seal.content is not None:
            walk.take(seal.record, seal.kind, seal.content, seal.eaten)
            again.take(seal)
    erased = erased_of(names)
    faults, epochs = chain_faults(seals)
    report = [
        line, identity(names, manifest, seals, policy, walk), signatures(seals),
        sequence_line(manifest, seals, erased, faults), chain_line(manifest, seals, erased, faults, epochs),
        walk.liveness(manifest), walk.time(names.get("received"), bool(policy and policy.accept_simulated)),
        walk.coverage(), lines.context(names, walk, *instruments(names)), again.finish(walk), Line("log", "none"),
        lines.case(names, manifest, walk), Line("anchor", "none"), Line("limits", "none"),
    ]
    worst = max((one.status for one in report), key=lines.RANK.index)
    return {"failed": "invalid", "incomplete": "incomplete"}.get(worst, "valid"), report


def main():
    parser = argparse.ArgumentParser(description="Checks an evidence bundle of Nonsite.")
    parser.add_argument("bundle")
    parser.add_argument("--policy")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    policy = None
    if asked.policy:
        try:
            with open(asked.policy, encoding="utf-8") as file:
                policy = Policy(file.read())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"error: {asked.policy}: {error}", file=sys.stderr)
            return 78
    try:
        with open(asked.bundle, "rb") as file:
            data = file.read()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    verdict, report = verify(data, policy)
    if asked.json:
        print(json.dumps({"format": 1, "verdict": verdict, "lines": [line.json() for line in report]}, ensure_ascii=False))
    else:
        for line in report:
            print(f"{line.name.capitalize():<14} {line.status.upper():<10} {WORDS[line.name]}: {json.dumps(line.facts, ensure_ascii=False)}")
            for code, at, text in line.findings:
                print(f"{'':<25} {at + ': ' if at else ''}{text} [{code}]")
        print(f"\n{verdict.upper()}")
    return {"valid": 0, "invalid": 1, "incomplete": 3}[verdict]


if __name__ == "__main__":
    sys.exit(main())
