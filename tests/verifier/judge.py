"""Limits and absences once more: what follows from the inputs for rules of kind 0 and 1 (docs/records.md section 11).

Conditions read points and windows over points. Those that ask opening hours or outputs of modules, other rules, and those whose handling asks for more than
patience, chatter and escalation after a time, are not re-computed here. Alert numbers are taken from the records: they run over all rules.
"""

import heapq
import math
import struct

import windows
from strict import field

NORMAL, PENDING, ACTIVE, CLEARING = range(4)
GOOD, STALE, BAD = range(3)
TOLERANCE_MS = 60_000
MEMORY = 64
MASK = (1 << 64) - 1
# Operands of each operation; of all others two.
NEEDS = {0: 0, 1: 0, 2: 0, 3: 0, 22: 0, 4: 1, 17: 1, 18: 1, 21: 3}


def tagged(value):
    """`[number, [fields]]` of an enumeration."""
    return value[0], value[1]


class Point:
    def __init__(self, plan):
        self.gain, self.offset = float(plan[4]), float(plan[5])
        self.max_age = plan[8]
        self.at = self.quality = self.good_at = self.number = None
        self.cls = BAD

    def scaled(self, value):
        if value is None or not math.isfinite(value):
            return None
        value = value * self.gain + self.offset
        return value if math.isfinite(value) else None

    def classify(self, now):
        if self.quality is None or self.quality >= 4 or self.number is None:
            return BAD
        if self.quality == 3:
            return STALE
        fresh = self.max_age <= 0 or (self.good_at is not None and self.good_at + self.max_age > now)
        return GOOD if fresh else STALE

    def refresh(self, now):
        before, self.cls = self.cls, self.classify(now)
        return before != self.cls

    def stale_at(self):
        if self.good_at is None or self.max_age <= 0 or self.cls != GOOD:
            return None
        return self.good_at + self.max_age

    def eat(self, reading, now):
        """None = late; else whether class or number changed."""
        if self.at is not None and reading.at < self.at:
            return None
        at = reading.at
        if reading.quality in (0, 1):
            self.good_at = reading.at
        elif reading.quality == 2:
            self.good_at = reading.at if self.good_at is None else self.good_at
        elif reading.quality == 3 and self.at is not None:
            at = self.at
        self.at, self.quality = at, reading.quality
        number = self.scaled(reading.value)
        moved, self.number = number != self.number, number
        return self.refresh(now) or moved

    def believed(self):
        return self.number if self.cls == GOOD else None


def evaluate(program, senses):
    """True, False or None = nobody can say."""
    value = left_by(program, senses)
    return None if value is None else value != 0.0


def left_by(program, senses):
    """The one number the program leaves. `senses` has points and windows."""
    stack = []
    for op in program:
        number, fields = tagged(op)
        need = NEEDS.get(number, 2)
        if len(stack) < need:
            return None
        c = stack.pop(-3) if need == 3 else None
        b = stack.pop() if need >= 2 else None
        a = stack.pop() if need else None
        if number == 0:
            value = float(fields[0])
        elif number == 1:
            value = 1.0 if fields[0] else 0.0
        elif number == 2:
            value = senses.believed(fields[0])
        elif number == 3:
            value = senses.believed(fields[0])
            value = None if value is None else float(value != 0.0)
        elif number == 22:
            value = senses.window(fields[0], fields[2])
        elif number == 21:
            value = (a if c != 0.0 else b) if c is not None else a if a == b else None
        elif number in (15, 16):
            value = either(a, b, number == 16)
        elif a is None or (need == 2 and b is None):
            value = None
        else:
            value = compute(number, a, b)
        if value is not None and not math.isfinite(value):
            value = None
        if len(stack) == 64:
            return None
        stack.append(value)
    return stack[0] if len(stack) == 1 else None


def either(a, b, decisive):
    sides = [None if side is None else side != 0.0 for side in (a, b)]
    if decisive in sides:
        return float(decisive)
    return None if None in sides else float(not decisive)


def compute(number, a, b):
    if number == 8:
        return a / b if b else None
    return {
        4: lambda: -a, 17: lambda: float(a == 0.0), 18: lambda: abs(a), 5: lambda: a + b, 6: lambda: a - b,
        7: lambda: a * b, 9: lambda: float(a < b), 10: lambda: float(a <= b), 11: lambda: float(a > b),
        12: lambda: float(a >= b), 13: lambda: float(a == b), 14: lambda: float(a != b),
        19: lambda: b if b < a else a, 20: lambda: b if b > a else a,
    }[number]()


def computed(rule):
    """Is it a rule that is re-computed here?"""
    handling = field(rule, 10)
    return rule[3][0] in (0, 1) and (handling is None or plain(handling)) and known_program(rule)


def plain(handling):
    """No steps, proof, suppression, sleep or reminder, not switched off, and no window in open time or that ends with a day."""
    escalate = field(handling, 5)
    asks = any(field(handling, n) for n in (0, 1, 2, 3, 4, 8, 9))
    return not asks and not (escalate and (escalate[1] or field(escalate, 3)))


def watching(rule):
    """Programs whose rule is looked at when what they read changes: the condition's own, steps, proof, suppression."""
    kind, fields = tagged(rule[3])
    handling = field(rule, 10) or []
    proof = field(handling, 1)
    programs = [fields[0], field(fields, 1)] if kind == 0 else []
    programs += [step[0] for step in field(handling, 0) or []] + [proof and proof[0], field(handling, 2)]
    return [program for program in programs if program]


def known_program(rule):
    kind, fields = tagged(rule[3])
    handling = field(rule, 10) or []
    programs = [fields[0], field(fields, 1) or []] if kind == 0 else []
    programs += [asked[0] for asked in (field(handling, 10), field(handling, 12)) if asked]
    return all(op[0] <= 22 for program in programs for op in program)


class Occurrence:
    def __init__(self, since, alert=None, event=0):
        self.since, self.alert, self.event = since, alert, event


class Life:
    """A rule's alert: its regions, its delay, and occurrences that nobody has acknowledged."""

    def __init__(self, slot, rule, plan):
        self.slot, self.kind, self.fields = slot, *tagged(rule[3])
        self.latching = bool(rule[7])
        self.handling = field(rule, 10)
        self.computed = self.handling and field(self.handling, 10)
        self.patience = self.handling and field(self.handling, 12)
        judging = field(plan, 9)
        self.trial = bool(judging and field(judging, 2))
        self.name, self.subject = rule[0], plan[2][rule[2]][0]
        if self.kind == 0:
            self.when, self.returned = field(self.fields, 0), field(self.fields, 1)
            self.on, self.off = self.fields[2], self.fields[3]
            self.shown, self.limit = field(self.fields, 4), field(self.fields, 5)
        else:
            self.shown, self.limit, self.after = self.fields[0], None, max(self.fields[1], 0)
        self.forget()
        self.unacked = []
        self.out, self.timer, self.handling_timer = [], None, None

    def forget(self):
        self.process, self.latch, self.ack, self.quality = NORMAL, 0, 0, 0
        self.suppression = [False, False, False]
        self.since, self.due, self.occurrence = 0, None, None
        self.chatter = 0
        self.forget_handling()

    def forget_handling(self):
        """Nothing is remembered: windows of whoever is first, activations, past raises, escalated occurrences."""
        self.escalated, self.chattering = False, None
        self.windows, self.activations, self.raised, self.supervised = [], [], [], []

    def points(self):
        if self.kind == 1:
            return []
        programs = [self.when] + ([self.returned] if self.returned is not None else [])
        points = lambda number, fields: fields[:1] if number in (2, 3) else fields[1:2] if number == 22 else []
        return [point for program in programs for op in program for point in points(*tagged(op))]

    def load(self, state):
        alert, unacked = state[3], field(state, 5) or []
        regions = alert[0]
        self.process, self.latch, self.ack = regions[0], regions[1], regions[2]
        self.suppression, self.quality = [bool(one) for one in regions[3]], field(regions, 4) or 0
        self.since, self.due, occurrence = field(alert, 1), field(alert, 2), field(alert, 3)
        self.occurrence = occurrence and Occurrence(occurrence[2], tuple(occurrence[0]), occurrence[1])
        self.unacked = [Occurrence(one[2], tuple(one[0]), one[1]) for one in unacked]
        self.chatter = alert[5]
        handling = field(state, 6)
        if handling is None:
            return
        known = {one.alert: one for one in self.unacked + ([self.occurrence] if self.occurrence else [])}
        whose = lambda alert: known.setdefault(tuple(alert), Occurrence(0, tuple(alert)))
        self.escalated, self.chattering = bool(handling[2][4]), field(handling, 7)
        self.windows = [(whose(alert), due) for alert, _, due in handling[5]]
        self.activations, self.raised = list(handling[6]), list(handling[8])
        self.supervised = [whose(alert) for alert in handling[10]]

    def is_open(self):
        return self.process in (ACTIVE, CLEARING)

    def enter(self, process, due, now):
        self.process, self.due, self.since = process, due, now

    def say(self, change, now, face, occurrence=None, since=None, **regions):
        occurrence = occurrence or self.occurrence
        if occurrence is None:
            return
        occurrence.event += 1
        value, limit = face
        shown = [regions.get("process", self.process), self.latch, regions.get("ack", self.ack),
                 list(self.suppression), self.quality]
        since = occurrence.since if since is None else since
        detail = None
        # What a change of rules ended is said of a rule that is no longer known.
        if self.handling is not None and change != [1, [3]]:
            current = occurrence is self.occurrence
            folded = self.chatter if current and self.chattering is not None else 0
            escalated = self.escalated if current else occurrence in self.supervised
            detail = [0, False, self.trial, folded, escalated]
        self.out.append((now, occurrence, occurrence.event, change, shown, value, limit, since, detail))

    def raise_(self, since, now, face):
        self.enter(ACTIVE, None, now)
        self.ack = 1
        self.latch = 1 if self.latching else self.latch
        self.occurrence, self.chatter, self.escalated = Occurrence(since), 0, False
        self.say([0, []], now, face)
        self.after_raise(now, face)

    def after_raise(self, now, face):
        if self.handling is None:
            return
        self.activated(now, face)
        escalate = field(self.handling, 5)
        if escalate is None:
            return
        after, repeated = field(escalate, 0), field(escalate, 2)
        if after is not None:
            self.windows = (self.windows + [(self.occurrence, now + max(after, 0))])[-MEMORY:]
        if repeated is not None:
            self.raised = ([at for at in self.raised if at > now - repeated[1]] + [now])[-MEMORY:]
            if len(self.raised) >= repeated[0]:
                self.escalate(self.occurrence, 1, now, face)

    def activated(self, now, face):
        chatter = field(self.handling, 6)
        if chatter is None:
            return
        self.activations = ([at for at in self.activations if at > now - chatter[1]] + [now])[-MEMORY:]
        if len(self.activations) >= max(chatter[0], 1) and self.chattering is None and self.is_open():
            self.chattering, self.chatter = now, 0
            self.say([10, []], now, face)

    def recurred(self, now, face):
        self.chatter += 1
        if self.chattering is not None:
            self.chattering = now
            return
        self.say([5, []], now, face)
        if self.handling is not None:
            self.activated(now, face)

    def escalate(self, occurrence, cause, now, face):
        if occurrence in self.supervised or not self.is_open() or occurrence is not self.occurrence:
            return
        self.supervised, self.escalated = (self.supervised + [occurrence])[-MEMORY:], True
        self.say([13, [cause]], now, face)

    def handle(self, now, face):
        """What of the handling is due."""
        while due := [window for window in self.windows if window[1] <= now]:
            self.windows.remove(due[0])
            self.escalate(due[0][0], 0, now, face)

    def handling_due(self):
        return min((due for _, due in self.windows), default=None)

    def off_delay(self):
        chatter = None if self.handling is None else field(self.handling, 6)
        return max(self.off, chatter[1]) if self.chattering is not None and chatter is not None else self.off

    def clear(self, cause, now, face):
        self.enter(NORMAL, None, now)
        self.say([1, [cause]], now, face)
        self.windows = [window for window in self.windows if window[0] is not self.occurrence]
        self.supervised = [one for one in self.supervised if one is not self.occurrence]
        self.escalated, self.chattering = False, None
        occurrence, self.occurrence = self.occurrence, None
        if self.ack:
            self.ack = 0
            self.unacked = (self.unacked + [occurrence])[-64:]
        elif self.latch:
            self.occurrence = occurrence

    def see(self, sight, quality, now, face):
        """`sight` is violated, within, returned or blind."""
        if quality != self.quality:
            self.quality = quality
            if self.is_open():
                self.say([3, []], now, face)
        if self.process == NORMAL and sight == "violated":
            if self.on <= 0:
                self.raise_(now, now, face)
            else:
                self.enter(PENDING, now + self.on, now)
        elif self.process == PENDING and sight in ("returned", "within"):
            self.enter(NORMAL, None, now)
        elif self.process == ACTIVE and sight == "returned":
            if self.off_delay() <= 0:
                self.clear(0, now, face)
            else:
                self.enter(CLEARING, now + self.off_delay(), now)
        elif self.process == CLEARING and sight == "violated":
            self.enter(ACTIVE, None, now)
            self.recurred(now, face)
        elif self.process in (PENDING, CLEARING) and sight == "blind":
            self.due = None
        elif self.process in (PENDING, CLEARING) and self.due is None:
            delay = self.on if self.process == PENDING else self.off_delay()
            self.since, self.due = now, now + max(delay, 0)


class Engine:
    """What an engine of semantics 1 does with rules of kind 0 and 1."""

    def __init__(self, plan):
        self.plan, self.now = plan, 0
        self.points = [Point(point) for point in plan[3]]
        self.lives = {slot: Life(slot, rule, plan) for slot, rule in enumerate(plan[4]) if computed(rule)}
        self.conditions = [[] for _ in self.points]
        self.absences = [[] for _ in self.points]
        for slot, life in self.lives.items():
            if life.kind == 1:
                self.absences[life.shown].append(slot)
            for point in set(life.points()):
                self.conditions[point].append(slot)
        self.queue, self.stale, self.beyond = [], {}, False
        self.wire_windows()

    def wire_windows(self):
        """Which windows are over a point, and which rules look through a window; those of all rules decide when it is looked at again."""
        judging = field(self.plan, 9)
        self.windows = [windows.Window(window) for window in (field(judging, 0) or [])] if judging else []
        self.over, self.aged, self.looking = [[] for _ in self.points], set(), [set() for _ in self.windows]
        for slot, window in enumerate(self.windows):
            if window.point < len(self.points):
                self.over[window.point].append(slot)
        for slot, rule in enumerate(self.plan[4]):
            for program in watching(rule):
                for number, fields in map(tagged, program):
                    if number == 22 and fields[0] < len(self.windows):
                        self.looking[fields[0]].add(slot)
                        if fields[2] == windows.AGE:
                            self.aged.add(fields[0])
        self.window_timer = [None] * len(self.windows)

    def believed(self, slot):
        return self.points[slot].believed()

    def window(self, slot, function):
        if slot >= len(self.windows):
            return None
        window = self.windows[slot]
        if function not in (windows.LAST, windows.AGE):
            return window.ask(self.now, function)
        good_at = self.points[window.point].good_at if window.point < len(self.points) else None
        if good_at is None:
            return None
        if function == windows.AGE:
            return float(max(self.now - good_at, 0))
        return window.counter if self.now - good_at <= window.span else None

    def feed_windows(self, point, read):
        value = self.points[point].believed()
        for slot in self.over[point]:
            if read and value is not None:
                self.windows[slot].read(self.now, value)
            else:
                self.windows[slot].hold(self.now, value)
            self.arm_window(slot)

    def arm_window(self, slot):
        window = self.windows[slot]
        due = window.next_look(self.now) if self.looking[slot] else None
        good_at = self.points[window.point].good_at if window.point < len(self.points) else None
        if slot in self.aged and good_at is not None:
            again = windows.look_again(self.now, good_at, 1_000)
            due = again if due is None else min(due, again)
        self.set_window(slot, due)

    def set_window(self, slot, due):
        due = None if due is None or due >= windows.NEVER else max(due, self.now)
        self.window_timer[slot] = due
        if due is not None:
            heapq.heappush(self.queue, (due, 3, slot))

    def restore(self, state, rules):
        """Takes a state over; `rules` gives the fingerprint of each rule."""
        self.now = state[1]
        known = {point[0]: point for point in state[5]}
        for plan, point in zip(self.plan[3], self.points):
            if plan[0] in known:
                self.restore_point(point, known[plan[0]])
        for slot, point in enumerate(self.points):
            self.arm_stale(slot, point)
        lives = {}
        for life in self.lives.values():
            lives.setdefault((life.name, life.subject), life)
        for old in state[6]:
            life = lives.get((old[0], old[1]))
            if life is None:
                continue
            life.load(old)
            if old[2] != rules[life.slot]:
                face = (None, None)
                if life.is_open():
                    life.clear(3, self.now, face)
                life.forget()
        for life in self.lives.values():
            self.arm(life)
        self.restore_windows((field(state, 8) or [[]])[0])

    def restore_windows(self, states):
        ids = {}
        for slot, plan in enumerate((field(field(self.plan, 9) or [], 0)) or []):
            if plan[0] < len(self.points):
                ids.setdefault((self.plan[3][plan[0]][0], plan[1]), slot)
        for state in states:
            slot = ids.get((state[0], state[1]))
            if slot is not None:
                self.windows[slot].restore(state)
                self.set_window(slot, self.windows[slot].look)

    def restore_point(self, point, state):
        last, point.good_at = field(state, 1), field(state, 2)
        if last is None:
            return
        point.at, (kind, fields) = last[0], last[1]
        point.quality = 0 if kind == 0 else fields[1] + 1 if kind == 1 else fields[0] + 4
        point.number = point.scaled(raw_number(fields[0])) if kind < 2 else None
        point.cls = point.classify(self.now)

    def arm(self, life):
        life.timer = None if life.due is None else max(life.due, self.now)
        if life.timer is not None:
            heapq.heappush(self.queue, (life.timer, 1, life.slot))
        due = life.handling_due()
        life.handling_timer = None if due is None else max(due, self.now)
        if due is not None:
            heapq.heappush(self.queue, (life.handling_timer, 2, life.slot))

    def arm_stale(self, slot, point):
        due = point.stale_at()
        self.stale[slot] = None if due is None else max(due, self.now)
        if due is not None:
            heapq.heappush(self.queue, (self.stale[slot], 0, slot))

    def due(self, entry):
        at, rule, slot = entry
        if rule == 3:
            return self.window_timer[slot] == at
        if rule == 2:
            return self.lives[slot].handling_timer == at
        return (self.lives[slot].timer if rule else self.stale[slot]) == at

    def elapse(self, until):
        while self.queue and self.queue[0][0] <= until:
            at, rule, slot = entry = heapq.heappop(self.queue)
            if not self.due(entry):
                continue
            self.now = max(self.now, at)
            if rule == 3:
                self.window_timer[slot] = None
                for one in sorted(self.looking[slot]):
                    if one in self.lives:
                        self.judge(self.lives[one])
                self.arm_window(slot)
                continue
            if rule == 2:
                life = self.lives[slot]
                life.handling_timer = None
                life.handle(self.now, self.face(life))
                self.arm(life)
                continue
            if rule:
                life = self.lives[slot]
                life.timer = None
                self.elapsed(life)
                continue
            points = [slot]
            self.stale[slot] = None
            while self.queue and self.queue[0][:2] == (at, 0):
                entry = heapq.heappop(self.queue)
                if self.due(entry):
                    self.stale[entry[2]] = None
                    points.append(entry[2])
            self.age(points)
        self.now = max(self.now, until)

    def elapsed(self, life):
        life.due = None
        if life.kind == 1:
            if not life.is_open():
                life.raise_(life.since, self.now, self.face(life))
        elif life.process == PENDING:
            # Counted from where the condition began: an excuse that never ends is worth its delay and no more.
            excused = life.patience and evaluate(life.patience[0], self)
            until = life.since + life.patience[1] if excused else self.now
            if until > self.now:
                life.due = until
            else:
                life.raise_(life.since, self.now, self.face(life))
        elif life.process == CLEARING:
            life.clear(0, self.now, self.face(life))
        self.arm(life)

    def age(self, points):
        aged = [slot for slot in points if self.refresh(slot)]
        for point in aged:
            self.feed_windows(point, False)
        for slot in sorted({rule for point in aged for rule in self.conditions[point]}):
            self.judge(self.lives[slot])

    def refresh(self, slot):
        point = self.points[slot]
        changed = point.refresh(self.now)
        self.arm_stale(slot, point)
        return changed

    def face(self, life):
        """The value shown, and the limit: a computed value, or that of a point."""
        if life.computed:
            return (left_by(life.computed[0], self), life.limit)
        return (None if life.shown is None else self.points[life.shown].number, life.limit)

    def judge(self, life):
        if life.kind != 0:
            return
        sight, quality = "returned", 0
        truth = evaluate(life.when, self)
        if truth:
            sight = "violated"
        elif truth is False and life.process == ACTIVE and life.returned is not None:
            back = evaluate(life.returned, self)
            sight = "blind" if back is None else "returned" if back else "within"
        elif truth is None:
            sight = "blind"
        if sight == "blind":
            classes = {self.points[point].cls for point in life.points()}
            quality = 3 if GOOD in classes or not classes else 1 if STALE in classes else 2
        life.see(sight, quality, self.now, self.face(life))
        self.arm(life)

    def step(self, kind, what, at):
        self.elapse(at)
        if kind == "reading":
            self.read(what)
        elif kind == "command":
            if what[3][0] == 0:
                self.acknowledge(what)
            elif what[3][0] not in (6, 20, 21, 22):
                # Resets, pauses and permits are not re-computed here; closures, keys and configurations change nothing
                # for these rules (another plan begins with its epoch).
                self.beyond = True

    def read(self, reading):
        if reading.point >= len(self.points):
            return
        point = self.points[reading.point]
        changed = point.eat(reading, self.now)
        if changed is None:
            return
        self.arm_stale(reading.point, point)
        self.feed_windows(reading.point, True)
        if reading.quality < 3:
            for slot in self.absences[reading.point]:
                life = self.lives[slot]
                if life.is_open():
                    life.clear(0, self.now, self.face(life))
                life.enter(NORMAL, self.now + life.after, self.now)
                self.arm(life)
        if changed or self.over[reading.point]:
            for slot in self.conditions[reading.point]:
                self.judge(self.lives[slot])

    def acknowledge(self, command):
        number, fields = tagged(command[3])
        alert, event = tuple(fields[0]), fields[1]
        for life in self.lives.values():
            face = self.face(life)
            here = life.occurrence
            if here is not None and here.alert == alert:
                if life.ack and here.event == event:
                    life.ack = 0
                    life.say([2, []], self.now, face)
                return
            for branch in life.unacked:
                if branch.alert == alert:
                    if branch.event == event:
                        life.unacked.remove(branch)
                        life.say([2, []], self.now, face, branch, process=NORMAL, ack=0)
                        if life.latch and life.occurrence is None:
                            life.occurrence = branch
                    return

    def start(self, start):
        before, downtime = self.now, field(start, 5)
        self.now = max(before, start[0])
        gap = downtime is None or downtime > TOLERANCE_MS
        for life in self.lives.values():
            if gap:
                if life.is_open():
                    life.say([4, []], self.now, self.face(life), since=before)
                life.due = None
            elif life.due is not None:
                life.due = max(life.due, self.now)
            if life.kind == 1 and not life.is_open():
                if life.due is None:
                    life.enter(NORMAL, self.now + life.after, self.now)
                else:
                    life.due = max(life.due, self.now + min(life.after, TOLERANCE_MS))
        for slot in range(len(self.points)):
            self.refresh(slot)
        for window in self.windows:
            value = self.points[window.point].believed() if window.point < len(self.points) else None
            if gap or not window.watched():
                window.begin(self.now, value)
            else:
                window.hold(self.now, value)
        for slot in range(len(self.windows)):
            self.arm_window(slot)
        for life in self.lives.values():
            self.judge(life)
            self.arm(life)

    def concluded(self):
        """What was concluded since the last call, by rule."""
        for slot, life in self.lives.items():
            for one in life.out:
                yield slot, one
            life.out = []


def raw_number(raw):
    kind, fields = tagged(raw)
    if kind == 0:
        return float(fields[0])
    if kind == 1:
        return struct.unpack("<f", struct.pack("<I", fields[0]))[0]
    if kind == 2:
        return struct.unpack("<d", struct.pack("<Q", fields[0]))[0]
    mantissa, exponent = fields
    result = 1.0
    for _ in range(abs(exponent)):
        result *= 10.0
    return mantissa / result if exponent < 0 else mantissa * result


class Fingerprint:
    """FNV-1a over what a rule says (section 11.4)."""

    def __init__(self):
        self.hash = 0xCBF29CE484222325

    def bytes(self, data):
        for byte in data:
            self.hash = (self.hash ^ byte) * 0x100000001B3 & MASK

    def number(self, number):
        self.bytes((number & MASK).to_bytes(8, "little"))

    def float(self, number):
        self.bytes(struct.pack("<d", number))

    def text(self, text):
        data = text.encode()
        self.number(len(data))
        self.bytes(data)

    def program(self, program, plan):
        self.number(len(program))
        for number, fields in map(tagged, program):
            if number == 0:
                self.float(fields[0])
            elif number in (2, 3):
                self.text(plan[3][fields[0]][0])
            elif number == 22:
                known = field(field(plan, 9) or [], 0) or []
                self.text(plan[3][fields[1]][0])
                self.number(known[fields[0]][1] if fields[0] < len(known) else 0)
                number += fields[2] << 8
            self.number(1 + (int(fields[0]) << 8) if number == 1 else number)

    def handling(self, handling, plan):
        """Of one that `plain` lets pass."""
        for number in (0, 0, -1):
            self.number(number)
        escalate, chatter = field(handling, 5), field(handling, 6)
        if escalate is not None:
            after, repeated = field(escalate, 0), field(escalate, 2) or (0, 0)
            for number in (-1 if after is None else after, int(bool(escalate[1])), *repeated):
                self.number(number)
        if chatter is not None:
            self.number(chatter[0])
            self.number(chatter[1])
        patience = field(handling, 12)
        if patience is not None:
            self.program(patience[0], plan)
            self.number(patience[1])


def fingerprint(plan, rule):
    """None for rules that are not re-computed here."""
    if not computed(rule):
        return None
    kind, fields = tagged(rule[3])
    mark = Fingerprint()
    mark.number(int(bool(rule[7])))
    mark.number(kind)
    if kind == 0:
        mark.program(fields[0], plan)
        returned, shown, limit = field(fields, 1), field(fields, 4), field(fields, 5)
        mark.number(int(returned is not None))
        if returned is not None:
            mark.program(returned, plan)
        mark.number(fields[2])
        mark.number(fields[3])
        mark.text("" if shown is None else plan[3][shown][0])
        mark.number(int(limit is not None))
        mark.float(0.0 if limit is None else limit)
    else:
        mark.text(plan[3][fields[0]][0])
        mark.number(fields[1])
    handling = field(rule, 10)
    if handling is not None:
        mark.handling(handling, plan)
    return mark.hash
