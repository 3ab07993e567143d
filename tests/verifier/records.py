"""Records: header and body, and every reading of an inputs record (docs/records.md sections 3 to 6)."""

import struct

import zstandard

from strict import Envelope, Fault, field, head, item, loads, sha256

KINDS = ["start", "config", "inputs", "conclusions", "checkpoint", "gap", "part"]
PARTED = ["config", "checkpoint"]
CONTENT_MAX = 16 << 20
WHOLE_MAX = 64 << 20
WHOLE_ITEMS_MAX = 16 << 20
PARTS_MAX = 1024
ITEMS_MAX = 65536
MASK = (1 << 64) - 1


def wrap(number):
    """Arithmetic modulo 2^64, read as signed."""
    number &= MASK
    return number - (1 << 64) if number >> 63 else number


class Record:
    """A record whose structure is in order. Its signature is for `envelope.check`."""

    def __init__(self, data):
        if len(data) > 1 << 20:
            raise Fault("a record of more than 1 MiB")
        self.data = data
        self.envelope = Envelope(data, "application/nonsite-record")
        payload = self.envelope.payload
        if item(payload) != len(payload):
            raise Fault("bytes after the end")
        major, length, at = head(payload, 0)
        if (major, length) != (4, 8):
            raise Fault("not an array of eight")
        parts = loads(payload)
        self.gateway, self.epoch, self.seq, self.prev, self.config, self.t0, span, self.body = parts
        if not isinstance(self.gateway, bytes) or len(self.gateway) != 16 or not isinstance(self.prev, bytes) or len(self.prev) != 32:
            raise Fault("gateway or prev has another length")
        for number in (self.epoch, self.seq, self.config):
            if not isinstance(number, int) or number < 0:
                raise Fault("epoch, seq and config are numbers")
        if not isinstance(self.t0, int) or not isinstance(span, int):
            raise Fault("times are numbers")
        self.t1 = wrap(self.t0 + span)
        if not isinstance(self.body, list) or len(self.body) not in (3, 4) or not all(
                isinstance(number, int) and number >= 0 for number in self.body[:2]):
            raise Fault("not an array of kind, version and content")
        for _ in range(7):
            at = item(payload, at, 1)
        self.raw_body = payload[at:]

    @property
    def at(self):
        return (self.epoch, self.seq)

    def content(self):
        """Kind and content, or Fault where it is not understood. The head of a content in parts is of the kind "head"."""
        kind, version = self.body[:2]
        head = kind < len(KINDS) and KINDS[kind] in PARTED and version == 2
        if kind >= len(KINDS) or not (version == 1 or head):
            raise Fault("a kind or version of a later release")
        content = self.unpacked()
        if head:
            parts, length, digest = content[:3]
            if not 1 <= parts <= PARTS_MAX or not 0 <= length <= WHOLE_MAX or len(digest) != 32:
                raise Fault("a head of more parts or bytes than a whole may have")
            return "head", [parts, length, digest, KINDS[kind]]
        return KINDS[kind], content

    def unpacked(self):
        if len(self.body) == 3:
            return self.body[2]
        length, packed = self.body[2:]
        if not isinstance(length, int) or length > CONTENT_MAX or not isinstance(packed, bytes):
            raise Fault("content that is too long")
        try:
            content = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
        except zstandard.ZstdError as error:
            raise Fault(f"zstd: {error}") from None
        if len(content) != length:
            raise Fault("content of another length than said")
        return loads(content)


class Joiner:
    """Puts contents in parts together again (section 3.1), from records in their order."""

    def __init__(self):
        self.head = self.at = None
        self.parts = []

    def take(self, record, kind, content):
        """Kind and content as they are, but for the last part: in its place the whole comes."""
        if kind == "head":
            self.head, self.at, self.parts = content, record.at, []
        elif kind != "part":
            self.head = None
        else:
            head, self.head = self.head, None
            place = (self.at[0], self.at[1] + 1 + len(self.parts)) if head else None
            n, data = content[:2]
            if head is None or record.at != place or n != len(self.parts) or not isinstance(data, bytes):
                raise Fault("a part without the head and the parts that belong before it")
            self.parts.append(data)
            if sum(map(len, self.parts)) > head[1]:
                raise Fault("a part with more bytes than its head names")
            if len(self.parts) < head[0]:
                self.head = head
            else:
                whole = b"".join(self.parts)
                if len(whole) != head[1] or sha256(whole) != head[2]:
                    raise Fault("parts that are not those of their head")
                return head[3], loads(whole, WHOLE_ITEMS_MAX)
        return kind, content


class Column:
    """Numbers off a byte string (section 4)."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def byte(self):
        if self.at >= len(self.data):
            raise Fault("a column ends too early", self.at)
        self.at += 1
        return self.data[self.at - 1]

    def u(self):
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            if number > MASK:
                raise Fault("a number beyond 64 bits", self.at)
            if byte < 128:
                if byte == 0 and shift:
                    raise Fault("a number not in its shortest form", self.at)
                return number
            shift += 7

    def s(self):
        number = self.u()
        return wrap((number >> 1) ^ -(number & 1))

    def count(self):
        number = self.u()
        if number > len(self.data) - self.at:
            raise Fault("a count beyond the bytes", self.at)
        return number

    def end(self):
        if self.at != len(self.data):
            raise Fault("bytes after the last column", self.at)


def power(exponent):
    result = 1.0
    for _ in range(exponent):
        result *= 10.0
    return result


def single(number):
    """The single nearest to a double, as a double; infinite where it is too large for one."""
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def value_of(form, exponent, number):
    """The number that was received: what gain and offset are applied to."""
    if form == 1:
        return float(number)
    if form == 2:
        if not 0 <= number < 1 << 32:
            raise Fault("a single of more than 32 bits")
        return struct.unpack("<f", struct.pack("<I", number))[0]
    if form == 3:
        return struct.unpack("<d", struct.pack("<q", number))[0]
    if form in (4, 5):
        if abs(number) > 1 << 53:
            raise Fault("a scaled number beyond 2^53")
        quotient = number / power(exponent)
        return single(quotient) if form == 4 else quotient
    return number / power(-exponent) if exponent < 0 else number * power(exponent)


class Reading:
    """One reading: point, stamp, quality (0 good, 1-3 uncertain, 4- bad) and the value as received or None."""

    __slots__ = ("at", "point", "quality", "value")

    def __init__(self, point, at, quality, value):
        self.point, self.at, self.quality, self.value = point, at, quality, value


class Tracks:
    """What stays the same between two readings of a point, and what is remembered of it (section 4.1, 4.2)."""

    def __init__(self, data, t0):
        self.list, self.now = [], t0
        if data:
            column = Column(data)
            n = column.count()
            if n == 0 or n > ITEMS_MAX:
                raise Fault("a number of tracks that cannot be")
            point, points = 0, []
            for _ in range(n):
                point += column.u()
                if point > 0xFFFFFFFF:
                    raise Fault("a point out of range")
                points.append(point)
            codes = [column.byte() for _ in range(n)]
            for point, code in zip(points, codes):
                form, quality, exponent = code >> 4, code & 15, 0
                if form > 6:
                    raise Fault("a form of values that is not known")
                if form in (4, 5):
                    exponent = column.byte()
                    if exponent > 9:
                        raise Fault("a scale that is not used")
                elif form == 6:
                    exponent = column.byte()
                    exponent -= 256 if exponent > 127 else 0
                if quality > 12 or (form == 0) != (quality >= 4):
                    raise Fault("a quality that does not go with its value")
                self.list.append([point, quality, form, exponent, 0, 0])
            column.end()
        self.last = len(self.list) - 1

    def run(self, data, room):
        column = Column(data)
        n = column.count()
        if n == 0 or n > room:
            raise Fault("a run of no or too many readings")
        skips = [column.u() for _ in range(n)]
        if any(skip >= len(self.list) for skip in skips):
            raise Fault("a track that is not listed")
        lags = [column.s() for _ in range(n)]
        for skip, lag in zip(skips, lags):
            place = (self.last + 1 + skip) % len(self.list)
            track = self.list[place]
            point, quality, form, exponent, number, usual = track
            if skip == 0:
                lag = wrap(lag + usual)
                track[5] = lag
            self.now = wrap(self.now + lag)
            value = None
            if form:
                track[4] = number = wrap(number + column.s())
                value = value_of(form, exponent, number)
            self.last = place
            yield Reading(point, self.now, quality, value)
        column.end()


def inputs(content, t0):
    """Everything that was eaten, as (kind, what), and the counts: [point, due, answered, within, late, [failed]]."""
    if not isinstance(content, list) or len(content) < 3:
        raise Fault("inputs are an array of tracks, parts and counts")
    tracks, items = Tracks(content[0], t0), []
    for part in content[1]:
        if len(items) >= ITEMS_MAX:
            raise Fault("too many inputs")
        if isinstance(part, bytes):
            items.extend(("reading", reading) for reading in tracks.run(part, ITEMS_MAX - len(items)))
        elif isinstance(part, int):
            tracks.now = wrap(tracks.now + part)
            items.append(("advance", tracks.now))
        else:
            number, fields = part
            if number not in (0, 3, 4, 5, 6, 7):
                raise Fault("an input that is not known")
            kind = {0: "start", 3: "clock", 4: "command", 5: "fact", 6: "stop", 7: "heartbeat"}[number]
            items.append((kind, fields if kind == "stop" else fields[0]))
    return items, counts(content[2], items)


def stamp(kind, what):
    """The stamp of an input."""
    if kind == "reading":
        return what.at
    if kind in ("advance", "heartbeat"):
        return what
    return what[1] if kind == "fact" else what[0]


def counts(data, items):
    """Section 4.3."""
    if not data:
        return []
    kept = {}
    for kind, what in items:
        if kind == "reading" and what.quality < 3:
            kept[what.point] = kept.get(what.point, 0) + 1
    column = Column(data)
    n, due, flags = column.u(), column.u(), column.u()
    if not 0 < n <= 1 << 17 or flags > 63:
        raise Fault("counts that cannot be")
    rows = [[0] * 5 for _ in range(n)]
    for bit in range(5):
        if flags >> bit & 1:
            for row in rows:
                row[bit] = column.s()
    found, point = [], 0
    for step, more_due, more_answered, more_within, late in rows:
        point += step
        if not 0 <= point <= 0xFFFFFFFF:
            raise Fault("a number out of range")
        this_due = due + more_due
        answered = this_due + more_answered
        within = answered - kept.get(point, 0) + more_within
        if min(this_due, answered, within, late) < 0:
            raise Fault("a number out of range")
        found.append([point, this_due, answered, within, late, []])
        point += 1
    if flags >> 5:
        for row in found:
            row[5] = [column.u() for _ in range(column.count())]
            if len(row[5]) > 9:
                raise Fault("more causes than there are")
    column.end()
    return found
