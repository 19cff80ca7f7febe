"""The manifest: what a release is. crates/wire/src/manifest.rs specifies it."""

from .cbor import ARRAY, BYTES, NULL, UINT, Reader
from .failure import Failure
from .limits import CHUNK, DIGEST, MAX_PART, PAGE_CHUNKS

ANY_CHIP = 0xFFFF
_PRODUCT = b"abcdefghijklmnopqrstuvwxyz0123456789._-"
# Marks that change the direction of what follows, and line ends.
_HIDDEN = ((0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0xFEFF, 0xFEFF))


def is_product(text):
    return 1 <= len(text) <= 64 and all(byte in _PRODUCT for byte in text.encode())


def is_printable(text):
    for character in text:
        point = ord(character)
        if point < 0x20 or 0x7F <= point < 0xA0:
            return False
        if any(low <= point <= high for low, high in _HIDDEN):
            return False
    return True


def first_root_sequence(epoch):
    """The first sequence that a release key may not give."""
    return min(0x80000000 + (epoch << 16), 0xFFFFFFFF - 0x10000)


class Part:
    """A part that the release carries."""

    def __init__(self, r, is_files):
        size = self.digest = pages = self.blocks = None
        for key in r.keys(4 if is_files else 3):
            if key == 0:
                size = r.expect(UINT)
            elif key == 1:
                self.digest = _digest(r)
            elif key == 2:
                pages = r.expect(ARRAY)
                start = r.at
                for _ in range(min(pages, 1 << 16)):
                    _digest(r)
                # Each hash is two bytes of head and 32 of hash.
                self._pages = memoryview(r.data)[start : r.at]
            else:
                self.blocks = r.expect(UINT)
        if not size or size > MAX_PART or self.digest is None:
            raise ValueError("a part's size or digest")
        self.size = size
        self.chunks = (size + CHUNK - 1) // CHUNK
        self.pages = (self.chunks + PAGE_CHUNKS - 1) // PAGE_CHUNKS
        if pages != self.pages or (self.blocks or 0) > 0xFFFFFFFF:
            raise ValueError("a part's pages or blocks")

    def page(self, n):
        """SHA-256 of index page `n`."""
        start = n * (DIGEST + 2) + 2
        return bytes(self._pages[start : start + DIGEST])


class KeySet:
    """The keys that a device trusts."""

    def __init__(self, epoch, root, release):
        if not 1 <= len(release) <= 4 or not 0 <= epoch <= 0xFFFFFFFF:
            raise ValueError("keys")
        if any(len(key) != 32 for key in [root] + release):
            raise ValueError("keys")
        self.epoch = epoch
        self.root = root
        self.release = release

    def __eq__(self, other):
        if other is None:
            return False
        mine = (self.epoch, self.root, self.release)
        return mine == (other.epoch, other.root, other.release)

    def all(self):
        return self.release + [self.root]


def _digest(r):
    start, end = r.span(BYTES)
    if end - start != DIGEST:
        raise ValueError("a digest is not 32 bytes")
    return bytes(r.data[start:end])


def _part(r, is_files):
    first = r.peek()
    if first == NULL:
        r.skip()
        return None
    if first >> 5 == BYTES:
        return _digest(r)
    return Part(r, is_files)


def _keys(r):
    epoch = root = release = None
    for key in r.keys(3):
        if key == 0:
            epoch = r.expect(UINT)
        elif key == 1:
            root = r.bytes()
        else:
            count = r.expect(ARRAY)
            if not 1 <= count <= 4:
                raise ValueError("keys")
            release = [r.bytes() for _ in range(count)]
    if None in (epoch, root, release):
        raise ValueError("keys")
    return KeySet(epoch, root, release)


class Manifest:
    """`app` and `files` are a Part that is carried, the digest (bytes) of the one
    that must already run, or None for whatever runs."""

    def __init__(self, envelope):
        start, end = envelope.payload
        try:
            self._decode(Reader(envelope.data, start, end))
        except ValueError:
            raise Failure("bad_manifest", "the manifest of the release cannot be read")

    def _decode(self, r):
        seen = 0
        self.keys = None
        for key in r.keys(9):
            seen |= 1 << key
            if key == 0:
                if r.expect(UINT) != 1:
                    raise ValueError("format")
            elif key == 1:
                self.product = r.text()
            elif key == 2:
                self.chip = r.expect(UINT)
            elif key == 3:
                start, end = r.span(3)
                if not 1 <= end - start <= 64:
                    raise ValueError("version")
                self.version = str(r.data[start:end], "utf-8")
            elif key == 4:
                self.sequence = r.expect(UINT)
            elif key == 5:
                r.expect(UINT)
            elif key == 6:
                self.app = _part(r, False)
            elif key == 7:
                self.files = _part(r, True)
            else:
                self.keys = _keys(r)
        r.end()
        if seen & 0xFF != 0xFF:
            raise ValueError("a field is missing")
        if not is_product(self.product) or not is_printable(self.version):
            raise ValueError("product or version")
        if self.chip > ANY_CHIP or self.sequence > 0xFFFFFFFF:
            raise ValueError("chip or sequence")
        if self.chip == ANY_CHIP and isinstance(self.app, Part):
            raise ValueError("chip")


def digest_of(part):
    """The digest that a part must have, if the release names one."""
    return part.digest if isinstance(part, Part) else part
