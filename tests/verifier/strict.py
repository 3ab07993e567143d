"""Reads Nonsite's bytes strictly: tar container, CBOR, signed envelopes (docs/records.md sections 1, 2 and 9)."""

import hashlib

import cbor2
import nacl.exceptions
import nacl.signing

BLOCK = 512


class Fault(Exception):
    """Bytes that are not what they have to be; `at` is the offset where it shows."""

    def __init__(self, text, at=0):
        super().__init__(text)
        self.at = at


def sha256(data):
    return hashlib.sha256(data).digest()


def header_of(name, size):
    """The only tar header that a file of this name and size may have (section 9.1)."""
    header = bytearray(BLOCK)
    fields = [(0, name[:99]), (100, b"0000644"), (108, b"0000000"), (116, b"0000000"), (124, b"%011o" % size),
              (136, b"00000000000"), (148, b"        "), (156, b"0"), (257, b"ustar"), (263, b"00")]
    for at, text in fields:
        header[at:at + len(text)] = text
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def files(data):
    """The files up to the first fault, and that fault or None."""
    found, at = [], 0
    try:
        while True:
            header = data[at:at + BLOCK]
            if len(header) < BLOCK:
                raise Fault("the archive ends too early", at)
            if not any(header):
                if len(data) - at != 2 * BLOCK or any(data[at:]):
                    raise Fault("the end is not two empty blocks", at)
                return found, None
            name = header[:100].split(b"\0")[0]
            digits = header[124:135]
            if not digits or any(digit not in b"01234567" for digit in digits):
                raise Fault("a size that is no number", at)
            size = int(digits, 8)
            if header != header_of(name, size):
                raise Fault("not the header that belongs to this name and size", at)
            start, end = at + BLOCK, at + BLOCK + size
            padded = start + -(-size // BLOCK) * BLOCK
            if padded > len(data):
                raise Fault("the archive ends too early", at)
            if any(data[end:padded]):
                raise Fault("padding that is not zero", end)
            text = name.decode("utf-8")
            if any(text == known for known, _ in found):
                raise Fault("a file for the second time", at)
            if len(found) == 1000:
                raise Fault("too many files", at)
            found.append((text, data[start:end]))
            at = padded
    except UnicodeDecodeError:
        return found, Fault("a name that is not UTF-8", at)
    except Fault as fault:
        return found, fault


def head(data, at):
    """Major type, argument and end of the head at `at` (section 1)."""
    if at >= len(data):
        raise Fault("ends in the middle of an item", at)
    major, info = data[at] >> 5, data[at] & 31
    if info > 27:
        raise Fault("an indefinite or reserved length", at)
    width = 0 if info < 24 else 1 << (info - 24)
    end = at + 1 + width
    if end > len(data):
        raise Fault("ends in the middle of an item", at)
    argument = int.from_bytes(data[at + 1:end], "big") if width else info
    if major == 7:
        if info not in (20, 21, 22, 25, 26, 27):
            raise Fault("a simple value that is not used here", at)
        return major, argument, end
    if width and argument < {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}[width]:
        raise Fault("a number not in its shortest form", at)
    return major, argument, end


def item(data, at=0, depth=0, left=None):
    """Checks one item and says where it ends."""
    left = left if left is not None else [1 << 20]
    left[0] -= 1
    if left[0] < 0:
        raise Fault("too many items", at)
    major, argument, end = head(data, at)
    if major in (0, 1, 7):
        return end
    if major in (2, 3):
        if end + argument > len(data):
            raise Fault("longer than the bytes that are there", at)
        if major == 3:
            try:
                data[end:end + argument].decode("utf-8")
            except UnicodeDecodeError:
                raise Fault("text that is not UTF-8", at) from None
        return end + argument
    if major == 6:
        raise Fault("a tag where none belongs", at)
    if depth >= 16:
        raise Fault("nested too deep", at)
    keys = set()
    if major == 5 and argument > 32:
        raise Fault("a map with too many entries", at)
    for _ in range(argument):
        begin = end
        end = item(data, end, depth + 1, left)
        if major == 5:
            key = data[begin:end]
            if key in keys:
                raise Fault("a map key for the second time", begin)
            keys.add(key)
            end = item(data, end, depth + 1, left)
    return end


def loads(data, items_max=1 << 20):
    """One strict item that is all there is."""
    end = item(data, left=[items_max])
    if end != len(data):
        raise Fault("bytes after the end", end)
    return cbor2.loads(data)


def field(array, index):
    """An element of a structure; one that was left out is null."""
    return array[index] if index < len(array) else None


def sequence(data, limit):
    """A CBOR sequence of byte strings."""
    found, at = [], 0
    while at < len(data):
        major, argument, end = head(data, at)
        if major != 2 or end + argument > len(data):
            raise Fault("not a byte string", at)
        if argument > 1 << 20 or len(found) == limit:
            raise Fault("too large", at)
        found.append(data[end:end + argument])
        at = end + argument
    return found


class Envelope:
    """A tagged COSE_Sign1 whose structure is in order (section 2); `check` looks at the signature."""

    def __init__(self, data, content_type):
        if not data or data[0] != 0xD2:
            raise Fault("not a tagged COSE_Sign1")
        parts = loads(data[1:])
        if not isinstance(parts, list) or len(parts) != 4:
            raise Fault("not an array of four")
        self.protected, unprotected, self.payload, self.signature = parts
        if not all(isinstance(part, bytes) for part in (self.protected, self.payload, self.signature)):
            raise Fault("protected header, payload and signature are byte strings")
        header = loads(self.protected)
        if unprotected != {} or not isinstance(header, dict) or set(header) != {1, 3, 4}:
            raise Fault("a header parameter that does not belong there")
        if header[1] != -8 or header[3] != content_type or not isinstance(header[4], bytes):
            raise Fault("another algorithm or content type")
        self.kid = header[4]

    def check(self, key):
        """Is it signed with this public key?"""
        if self.kid != sha256(key)[:8]:
            raise Fault("signed with another key")
        signed = cbor2.dumps(["Signature1", self.protected, b"", self.payload])
        try:
            nacl.signing.VerifyKey(key).verify(signed, self.signature)
        except (nacl.exceptions.BadSignatureError, ValueError, nacl.exceptions.TypeError):
            raise Fault("the signature does not belong to these bytes and this key") from None
