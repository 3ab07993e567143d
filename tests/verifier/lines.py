"""The lines of a report (docs/records.md section 10)."""

import datetime
import math
import tomllib

from records import inputs, stamp
from strict import Fault, field, loads, sha256

FINDINGS_MAX = 100
CADENCE_MS, GRACE_MS, STEP_MS, RECEIPT_MS, DAY_MS = 300_000, 60_000, 1_000, 60_000, 86_400_000
RANK = ["none", "ok", "incomplete", "failed"]
SOURCES = ["unknown", "system", "center", "demo"]


class Line:
    def __init__(self, name, status="ok"):
        self.name, self.status, self.facts, self.findings, self.more = name, status, {}, [], 0

    def note(self, status, code, at, text):
        self.status = max(self.status, status, key=RANK.index)
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append((code, str(at), text))
        else:
            self.more += 1

    def fail(self, code, at, text=""):
        self.note("failed", code, at, text)

    def lack(self, code, at, text=""):
        self.note("incomplete", code, at, text)

    def json(self):
        findings = [{"code": code, "at": at} for code, at, _ in self.findings]
        return {"line": self.name, "status": self.status, "facts": self.facts, "findings": findings, "more": self.more}


def cursor(at):
    return f"{at[0]}/{at[1]}"


def span(epoch, first, last):
    return cursor((epoch, first)) if first == last else f"{epoch}/{first}-{epoch}/{last}"


class Walk:
    """One pass over records with a good signature: liveness, time, coverage, and what other lines ask."""

    def __init__(self):
        self.institution = self.site = self.plan = self.last = self.alive = self.clock = None
        self.error_max = self.simulated = None
        self.software, self.semantics, self.packs, self.watched, self.rules = [], [], {}, [], []
        self.rules_in_plan = self.suppressed = self.longest = self.steps = self.redated = 0
        self.silent, self.back, self.sources, self.open, self.loose = [], [], [], [], []
        self.points, self.claims, self.raised = {}, {}, {}
        self.stopped = False

    def take(self, record, kind, content, eaten):
        at = record.at
        follows = self.last is not None and self.last[0] == (at[0], at[1] - 1)
        if record.t1 < record.t0 or (self.last is not None and record.t1 < self.last[1]):
            self.back.append(at)
        if not follows:
            self.alive = record.t0
        if kind == "start":
            self.alive, self.stopped = content[0], False
            if field(content, 6) and self.simulated is None:
                self.simulated = at
        elif kind == "config":
            self.config(content)
        elif kind == "inputs":
            self.inputs(at, *eaten)
        elif kind == "conclusions":
            for one in content[1]:
                if one[1][0] == 0:
                    self.alert(one[1][1][0])
        elif kind == "checkpoint":
            clock = content[4]
            if self.clock is None and field(clock, 2) is not None:
                self.learn([content[1], clock[0], field(clock, 1), clock[2], None])
        elif kind == "gap" and field(content, 0) is None:
            self.alive = content[2] if self.alive is None else max(self.alive, content[2])
        self.last = (at, record.t1)
        if self.clock is not None and self.clock[2] is not None:
            offset, error = self.clock[1:3]
            begin, end = record.t0 + offset, record.t1 + offset
            self.claims[at] = (end, error)
            if self.watched:
                known = self.watched[-1][1]
                self.watched[-1][1] = (begin, end) if known is None else (min(known[0], begin), max(known[1], end))

    def config(self, content):
        plan, software, semantics = content[:3]
        self.institution = plan[1] if self.institution is None else self.institution
        self.site = plan[0] if self.site is None else self.site
        if software not in self.software:
            self.software.append(software)
        if semantics not in self.semantics:
            self.semantics.append(semantics)
        for pack in plan[6]:
            self.packs[pack[2]] = (pack[0], pack[1])
        self.watched.append([sorted({plan[2][rule[2]][0] for rule in plan[4] if rule[2] < len(plan[2])}), None])
        self.rules_in_plan = max(self.rules_in_plan, len(plan[4]))
        self.plan = plan

    def inputs(self, at, items, counts):
        kept, self.stopped = {}, False
        for kind, what in items:
            now = stamp(kind, what) if self.alive is None else max(self.alive, stamp(kind, what))
            if self.alive is not None:
                silence = now - self.alive
                self.longest = max(self.longest, silence)
                if silence > CADENCE_MS + GRACE_MS:
                    self.silent.append((at, silence))
            self.alive, self.stopped = now, kind == "stop"
            if kind == "reading":
                sums = self.sums(what.point)
                name = "good" if what.quality == 0 else "uncertain" if what.quality < 4 else "bad"
                sums[name] += 1
                if what.quality < 3:
                    kept[what.point] = kept.get(what.point, 0) + 1
            elif kind == "clock":
                self.learn(what)
        for point, due, answered, within, late, failed in counts:
            sums = self.sums(point)
            if due != answered + sum(failed):
                self.open.append((at, sums["point"]))
            if answered != kept.get(point, 0) + within:
                self.loose.append((at, sums["point"]))
            for name, number in (("due", due), ("answered", answered), ("within_deadband", within), ("late", late)):
                sums[name] += number
            for cause, number in enumerate(failed):
                sums["failed"][cause] += number

    def sums(self, slot):
        name = self.plan[3][slot][0] if self.plan and slot < len(self.plan[3]) else str(slot)
        return self.points.setdefault(name, {
            "point": name, "due": 0, "answered": 0, "within_deadband": 0, "late": 0, "failed": [0] * 9, "good": 0,
            "uncertain": 0, "bad": 0})

    def learn(self, clock):
        offset, error, source, since = clock[1], field(clock, 2), clock[3], field(clock, 4)
        if SOURCES[source] not in self.sources:
            self.sources.append(SOURCES[source])
        if self.clock is not None and abs(self.clock[1] - offset) > STEP_MS:
            self.steps += 1
        self.redated += since is not None
        if error is not None:
            self.error_max = error if self.error_max is None else max(self.error_max, error)
        self.clock = (clock[0], offset, error)

    def alert(self, change):
        alert, event, slot, regions = change[0], change[1], change[2], change[4]
        rule, subject = self.rule(slot)
        self.suppressed += any(regions[3])
        if event == 1:
            # A rule may say that its alerts belong to the cases of another.
            self.raised[tuple(alert)] = self.joins(slot) or rule
        for known in self.rules:
            if (known["rule"], known["subject"]) == (rule, subject):
                known["changes"] += 1
                return
        self.rules.append({"rule": rule, "subject": subject, "changes": 1})

    def joins(self, slot):
        rules = self.plan[4] if self.plan else []
        handling = field(rules[slot], 10) if slot is not None and slot < len(rules) else None
        return field(handling, 11) if handling is not None else None

    def rule(self, slot):
        if self.plan is None or slot is None or slot >= len(self.plan[4]):
            return "", ""
        rule = self.plan[4][slot]
        return rule[0], self.plan[2][rule[2]][0] if rule[2] < len(self.plan[2]) else ""

    def devices(self):
        spans = {}
        for names, seen in self.watched:
            for name in names:
                known = spans.setdefault(name, None)
                if known is None or seen is None:
                    spans[name] = known or seen
                else:
                    spans[name] = (min(known[0], seen[0]), max(known[1], seen[1]))
        return dict(sorted(spans.items()))

    def liveness(self, manifest):
        line = Line("liveness")
        for at, silence in self.silent:
            line.fail("silence", cursor(at), f"{silence // 1000} s without a sign of life")
        if manifest is None or self.last is None or self.last[1] < manifest["window"][1]:
            line.fail("short", "", "the records end before the window does")
        line.facts = {"cadence_ms": CADENCE_MS, "longest_silence_ms": self.longest, "ends_with_stop": self.stopped}
        return line

    def time(self, received, accept_simulated):
        line = Line("time")
        for at in self.back:
            line.fail("back", cursor(at), "engine time goes back")
        if self.simulated is not None and not accept_simulated:
            line.fail("simulated", cursor(self.simulated), "made under the demo clock: no evidence")
        if self.error_max is None:
            line.lack("clock_unknown", "", "no record says what the civil time was")
        compared = 0
        try:
            for epoch, seq, at in loads(received) if received is not None else []:
                if (epoch, seq) in self.claims:
                    compared += 1
                    claim, error = self.claims[epoch, seq]
                    if claim - error - RECEIPT_MS > at:
                        line.fail("before_receipt", f"{epoch}/{seq}", "claims to be later than it was received")
        except (Fault, ValueError, TypeError):
            line.fail("received", "received", "the list of receipts cannot be read")
        line.facts = {"sources": self.sources, "steps": self.steps, "redated": self.redated,
                      "error_max_ms": self.error_max, "simulated": self.simulated is not None, "received": compared}
        return line

    def coverage(self):
        line = Line("coverage")
        for at, point in self.open:
            line.fail("counts", cursor(at), f"{point}: due is not answered and failed")
        for at, point in self.loose:
            line.lack("kept", cursor(at), f"{point}: answered is not kept and within the deadband")
        line.facts = {"points": [self.points[name] for name in sorted(self.points)]}
        return line


def day(text):
    """Civil ms at which a day begins, UTC."""
    try:
        date = datetime.date.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (date - datetime.date(1970, 1, 1)).days * DAY_MS if len(text) == 10 else None


class Instrument:
    """One device, as the records tell of it (section 9.4)."""

    def __init__(self):
        self.placement, self.serial, self.calibrations = None, None, []

    def take(self, number, fields):
        if number == 0:
            review = field(fields, 3)
            self.serial, self.placement = fields[0], fields[1] if review is None else review
        elif number == 1:
            self.serial = fields[1]
        elif number == 2:
            self.calibrations.append({"serial": fields[0], "certificate": fields[1], "done": fields[3], "until": fields[4]})
        elif number == 3:
            self.serial = self.placement = None

    def calibration(self, seen):
        own = [one for one in self.calibrations if self.serial is None or one["serial"] == self.serial]
        good = [one for one in own if seen is None or (one["done"] <= seen[0] and seen[1] <= one["until"])]
        return (good[-1], True) if good else (own[-1], False) if own else (None, False)


def on_record(name, instrument, seen, line):
    if instrument.placement is None:
        line.lack("no_placement", name, "no record says where it was placed")
    found, covers = instrument.calibration(seen)
    if found is None:
        line.lack("no_calibration", name, "no record of a calibration")
    elif not covers:
        line.lack("calibration_expired", name, "its calibration was not valid all the time")

    def date(at):
        return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=at // DAY_MS))
    return {"device": name, "placement": instrument.placement, "certificate": found and found["certificate"],
            "valid_from": found and date(found["done"]), "valid_until": found and date(found["until"])}


def context(files, walk, recorded, wrong):
    line = Line("context")
    there = {sha256(data): name for name, data in files.items() if name.startswith("packs/")}
    for digest in sorted(there):
        if digest not in walk.packs:
            line.fail("other_pack", there[digest], "not a pack that any config record names")
    packs = []
    for digest in sorted(walk.packs):
        name, version = walk.packs[digest]
        if digest not in there:
            line.lack("no_pack", name, "not there")
        packs.append({"name": name, "version": version, "sha256": digest.hex(), "there": digest in there})
    known = {}
    if "devices.toml" in files:
        try:
            document = tomllib.loads(files["devices.toml"].decode())
            fields = {"id", "placement", "certificate", "valid_from", "valid_until"}
            if set(document) - {"device"} or any(set(device) - fields for device in document.get("device", [])):
                raise ValueError("a field that is not known")
            for device in reversed(document.get("device", [])):
                known[device["id"]] = device
        except (ValueError, KeyError, AttributeError, TypeError):
            line.fail("devices", "devices.toml", "cannot be read")
            known = {}
    for at, text in wrong:
        line.fail("device_records", at, text)
    devices = []
    for name, seen in walk.devices().items():
        if name in recorded:
            devices.append(on_record(name, recorded[name], seen, line))
            continue
        facts = known.get(name, {})
        if facts.get("placement") is None:
            line.lack("no_placement", name, "no technical review of its place")
        begin, end = day(facts.get("valid_from")), day(facts.get("valid_until"))
        if facts.get("certificate") is None or begin is None or end is None:
            line.lack("no_calibration", name, "no calibration certificate with its days")
        elif seen is not None and (seen[0] < begin or seen[1] >= end + DAY_MS):
            line.lack("calibration_expired", name, "its calibration was not valid all the time")
        devices.append({"device": name, **{key: facts.get(key) for key in (
            "placement", "certificate", "valid_from", "valid_until")}})
    if not walk.software:
        line.lack("no_config", "", "no config record says by what the records are to be read")
    line.facts = {"packs": packs, "software": walk.software, "semantics": walk.semantics,
                  "rules": walk.rules_in_plan, "devices": devices, "suppressed": walk.suppressed}
    return line


CENTER, REVIEW, UNIT = {"duty_officer", "reviewer", "admin"}, {"reviewer", "admin"}, {"institution"}
ANYBODY = CENTER | UNIT | {"inspector", "maintainer", "collector"}
MACHINE = set()
OPEN = {"open", "acknowledged", "dispatched", "rectifying", "verifying", "on_site", "verified"}
# What and outcome: who may, in which states, which state follows (None = the same). Section 10.12.
STEPS = {
    ("opened", None): (MACHINE, {""}, "open"),
    ("joined", None): (MACHINE, OPEN, None),
    ("worsened", None): (MACHINE, OPEN, None),
    ("self_cleared", None): (MACHINE, OPEN | {"closed"}, None),
    ("acknowledged", None): (CENTER, {"open"}, "acknowledged"),
    ("dispatched", None): (CENTER, {"acknowledged"}, "dispatched"),
    ("accepted", None): (UNIT, {"dispatched"}, "rectifying"),
    ("submitted", None): (UNIT, {"rectifying", "on_site"}, "verifying"),
    ("judged", "pass"): (MACHINE, {"verifying"}, "verified"),
    ("judged", "fail"): (MACHINE, {"verifying"}, "rectifying"),
    ("judged", "insufficient"): (MACHINE, {"verifying"}, None),
    ("extended", None): (MACHINE, {"verifying"}, None),
    ("on_site_needed", None): (MACHINE, {"verifying"}, "on_site"),
    ("reviewed", "approve"): (REVIEW, {"verified"}, "closed"),
    ("reviewed", "reject"): (REVIEW, {"verified"}, "rectifying"),
    ("disposed", None): (CENTER, {"acknowledged"}, "closed"),
    ("noted", None): (ANYBODY, OPEN | {"closed"}, None),
    ("recalled", None): (CENTER, {"dispatched", "rectifying", "on_site"}, "acknowledged"),
    ("reverified", None): (CENTER, {"on_site"}, "verifying"),
}


def attachments(files, events, line):
    """Section 10.12: every photo that a step names is there, or was erased by a logged act."""
    try:
        erased = [one[0] for one in loads(files["erased-attachments"])] if "erased-attachments" in files else []
    except (Fault, ValueError, TypeError, IndexError):
        line.fail("erased_attachments", "erased-attachments", "cannot be read")
        return
    for name, data in files.items():
        if name.startswith("attachments/") and name != "attachments/" + sha256(data).hex():
            line.fail("attachment", name, "not the bytes that its name says")
    for step in events:
        for named in step[11]:
            if "attachments/" + named.hex() in files:
                continue
            code = "attachment_erased" if named in erased else "attachment_missing"
            line.lack(code, step[0], named.hex())


def case(files, manifest, walk):
    data = files.get("case")
    if data is None:
        return Line("case", "none")
    line = Line("case")
    try:
        number, _, gateway, _, rule, priority, events = loads(data)
    except (Fault, ValueError, TypeError):
        line.fail("case", "case", "cannot be read")
        return line
    if manifest is not None and gateway != manifest["gateway"]:
        line.fail("other_gateway", "case", "a case about another gateway")
    state, before, dispatched_by, acknowledged_by, deadline = "", -math.inf, None, None, None
    overdue = alerts = 0
    for place, step in enumerate(events, 1):
        n, at, actor, person, role, code = step[:6]
        alert, until, outcome = field(step, 6), field(step, 8), field(step, 10)
        if n != place:
            line.fail("number", n, "a hole in the numbers")
        if at < before:
            line.fail("back", n, "earlier than the event before it")
        before = at
        row = STEPS.get((code, outcome)) or STEPS.get((code, None))
        if row is None:
            line.lack("unknown_event", n, f"{code}: not known here")
            continue
        roles, states, following = row
        if state not in states:
            line.fail("transition", n, f"{code} is not allowed in state {state!r}")
        if not (role in roles if actor == "person" else not roles):
            line.fail("role", n, f"{code} by {role or actor}")
        first = dispatched_by if code == "reviewed" else acknowledged_by if code == "disposed" else None
        if priority == 1 and first is not None and first == person:
            line.fail("four_eyes", n, "by the person who took the step before it")
        if code in ("opened", "joined"):
            alerts += 1
            seen = walk.raised.get(tuple(alert)) if alert else None
            if seen is None:
                line.lack("alert", n, "the alert was not raised in these records")
            elif seen != rule:
                line.fail("other_rule", n, "the alert is one of another rule")
        if code == "dispatched":
            dispatched_by, deadline = person, until
        elif code == "acknowledged":
            acknowledged_by = person
        elif code == "submitted" and deadline is not None and at > deadline:
            overdue += 1
        state = following or state
    attachments(files, events, line)
    line.facts = {"case": number, "events": len(events), "state": state, "alerts": alerts, "overdue": overdue}
    return line


def read_inputs(kind, content, record):
    """Decodes every reading of an inputs record."""
    return inputs(content, record.t0) if kind == "inputs" else None
