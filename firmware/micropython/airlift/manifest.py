"""The manifest: what a release is. crates/wire/src/manifest.rs specifies it."""

from micropython import const

from .cbor import ARRAY, BYTES, NULL, UINT, Reader
from .failure import Failure
from .release import Part
from .text import is_printable, is_product

ANY_CHIP = const(0xFFFF)
_MAX_PART = const(16777216)


def first_root_sequence(epoch):
    """The first sequence that a release key may not give."""
    return min(0x80000000 + (epoch << 16), 0xFFFFFFFF - 0x10000)


def _carried(r, is_files):
    size = digest = pages = blocks = None
    for key in r.keys(4 if is_files else 3):
        if key == 0:
            size = r.expect(UINT)
        elif key == 1:
            digest = _digest(r)
        elif key == 2:
            pages = r.expect(ARRAY)
            start = r.at
            for _ in range(min(pages, 1 << 16)):
                _digest(r)
            hashes = memoryview(r.data)[start : r.at]
        else:
            blocks = r.expect(UINT)
    if not size or size > _MAX_PART or digest is None or pages is None:
        raise ValueError("a part's size, digest or pages")
    part = Part(size, digest, hashes, blocks)
    if pages != part.pages or (blocks or 0) > 0xFFFFFFFF:
        raise ValueError("a part's pages or blocks")
    return part


def _digest(r):
    start, end = r.span(BYTES)
    if end - start != 32:
        raise ValueError("a digest is not 32 bytes")
    return bytes(r.data[start:end])


def _part(r, is_files):
    first = r.peek()
    if first == NULL:
        r.skip()
        return None
    if first >> 5 == BYTES:
        return _digest(r)
    return _carried(r, is_files)


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
    if None in (epoch, root, release) or epoch > 0xFFFFFFFF:
        raise ValueError("keys")
    if any(len(key) != 32 for key in release + [root]):
        raise ValueError("keys")
    return epoch, root, release


class Manifest:
    """`app` and `files` are a Part that is carried, the digest (bytes) of the one
    that must already run, or None for whatever runs. `keys` is (epoch, root, release
    keys) or None."""

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
