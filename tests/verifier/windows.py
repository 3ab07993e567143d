"""Windows over a point once more (docs/records.md section 11.6)."""

STEPS = 60
STEP_MIN_MS = 1_000
KNOWN_PERMILLE = 800
HOUR_MS = 3_600_000.0
AVERAGE, MINIMUM, MAXIMUM, SUM, COUNT, RATE, LAST, AGE, MEDIAN = range(9)
NEVER = (1 << 63) - 1


def widen(span, value):
    if span is None:
        return (value, value)
    low, high = span
    return (value if value < low else low, value if value > high else high)


class Bucket:
    """One step: its number, how long a number was believed, number × time, what held, readings, their sum, what it rose by."""

    def __init__(self, n, known=0, weighted=0.0, span=None, count=0, total=0.0, rise=0.0):
        self.n, self.known, self.weighted, self.span = n, known, weighted, span
        self.count, self.total, self.rise = count, total, rise


class Window:
    def __init__(self, plan):
        self.point = plan[0]
        self.span = max(plan[1], STEP_MIN_MS)
        self.step = max(self.span // STEPS, STEP_MIN_MS)
        self.since, self.upto, self.value, self.counter, self.buckets = NEVER, 0, None, None, []
        self.look = None

    def restore(self, state):
        self.since, self.upto, self.value, self.counter = state[2], state[3], state[4], state[5]
        self.buckets = [
            Bucket(one[0], one[1], float(one[2]), None if one[3] is None else (float(one[3][0]), float(one[3][1])),
                   one[4], float(one[5]), float(one[6]))
            for one in state[6]
        ]
        self.look = state[7] if len(state) > 7 else None

    def watched(self):
        return self.since < NEVER

    def begin(self, now, value):
        self.since = self.upto = now
        self.value = self.counter = value
        self.buckets = []

    def hold(self, now, value):
        """The believed number may be another from now on."""
        if value == self.value:
            return
        self.count_up_to(now)
        self.value = value
        if value is not None:
            bucket = self.bucket(now)
            bucket.span = widen(bucket.span, value)

    def read(self, now, value):
        """A reading with a believed number."""
        self.count_up_to(now)
        self.hold(now, value)
        before, self.counter = self.counter, value
        rise = 0.0
        if before is not None:
            rise = value - before if value >= before else max(value, 0.0)
        bucket = self.bucket(now)
        bucket.count += 1
        bucket.total += value
        bucket.rise += rise

    def cutoff(self, now):
        return -((self.span - now) // self.step) * self.step

    def bucket(self, at):
        n, first = at // self.step, self.cutoff(at) // self.step
        while self.buckets and self.buckets[0].n < first:
            self.buckets.pop(0)
        if not self.buckets or self.buckets[-1].n < n:
            self.buckets.append(Bucket(n))
        return self.buckets[-1]

    def count_up_to(self, now):
        at = max(self.upto, self.cutoff(now))
        self.upto = max(self.upto, now)
        if self.value is None:
            return
        while at < now:
            end = min((at // self.step + 1) * self.step, now)
            bucket = self.bucket(at)
            bucket.known += end - at
            bucket.weighted += self.value * float(end - at)
            bucket.span = widen(bucket.span, self.value)
            at = end

    def content(self, now):
        """All steps of the window added up, the oldest first, and what holds since."""
        cutoff = self.cutoff(now)
        whole = Bucket(0)
        for bucket in self.buckets:
            if bucket.n < cutoff // self.step:
                continue
            whole.known += bucket.known
            whole.weighted += bucket.weighted
            whole.count += bucket.count
            whole.total += bucket.total
            whole.rise += bucket.rise
            for bound in bucket.span or ():
                whole.span = widen(whole.span, bound)
        if self.value is not None:
            held = max(now - max(self.upto, cutoff), 0)
            whole.known += held
            whole.weighted += self.value * float(held)
            whole.span = widen(whole.span, self.value)
        return whole, now - cutoff, self.since <= cutoff

    def next_look(self, now):
        whole, length, watched = self.content(now)
        same = whole.span is None or whole.span[0] >= whole.span[1]
        idle = self.value is not None and whole.count == 0 and whole.known == length and same
        empty = whole.count == 0 and whole.known == 0 and self.value is None
        if watched and (idle or empty):
            return None
        return (now // self.step + 1) * self.step

    def ask(self, now, function):
        whole, length, watched = self.content(now)
        if not watched or length <= 0:
            return None
        if function == SUM:
            return whole.total
        if function == COUNT:
            return float(whole.count)
        if function == RATE:
            return whole.rise * HOUR_MS / float(length)
        if whole.known * 1000 < length * KNOWN_PERMILLE or whole.span is None:
            return None
        if function == AVERAGE:
            return whole.weighted / float(whole.known)
        if function == MEDIAN:
            return self.median(now, whole.span)
        return whole.span[0] if function == MINIMUM else whole.span[1]

    def median(self, now, span):
        """The lowest mean of a step such that steps with no higher one make up half of the time."""
        if span[0] >= span[1]:
            return span[0]
        cutoff = self.cutoff(now)
        steps = [(one.weighted / float(one.known), one.known) for one in self.buckets if one.n >= cutoff // self.step and one.known > 0]
        held = max(now - max(self.upto, cutoff), 0)
        if self.value is not None and held > 0:
            steps.append((self.value, held))
        known = sum(ms for _, ms in steps)
        below = 0
        for value, ms in sorted(steps):
            below += ms
            if below >= known - known // 2:
                return value
        return None


def look_again(now, since, least):
    """When to look again at how long ago something was: to a 1,024th of it."""
    age = max(now - since, 0)
    first = least * 1024
    if age < first:
        step, end = least, first
    else:
        band = first << ((age // first).bit_length() - 1)
        step, end = band // 1024, band * 2
    moment = since + min((age // step + 1) * step, end)
    return moment if moment > now else NEVER
