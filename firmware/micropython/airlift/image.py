"""ESP-IDF's app image: how long it is and for which chip."""

from hashlib import sha256
from struct import unpack_from

from micropython import const

_CHUNK = const(4096)


CHIPS = {
    0: "esp32",
    2: "esp32s2",
    5: "esp32c3",
    9: "esp32s3",
    12: "esp32c2",
    13: "esp32c6",
    16: "esp32h2",
    18: "esp32p4",
    20: "esp32c61",
    23: "esp32c5",
}
HEADER = 24


def chip_of(header):
    """The chip id in an image header; None if it is none."""
    if len(header) < HEADER or header[0] != 0xE9 or not 1 <= header[1] <= 16:
        return None
    return unpack_from("<H", header, 12)[0]


def _read(part, at, buf):
    """Reads a few bytes that may lie across two blocks."""
    n = min(len(buf), _CHUNK - at % _CHUNK)
    view = memoryview(buf)
    part.readblocks(at // _CHUNK, view[:n], at % _CHUNK)
    if n < len(buf):
        part.readblocks(at // _CHUNK + 1, view[n:], 0)


def length(part, limit):
    """Bytes of the image that a partition starts with; None if it is no image.

    Only its outline is read. The hashes say whether it is the right one, and
    Partition.set_boot has ESP-IDF check the rest.
    """
    header = bytearray(HEADER)
    _read(part, 0, header)
    if chip_of(header) is None:
        return None
    segment = bytearray(8)
    at = HEADER
    for _ in range(header[1]):
        if at + 8 > limit:
            return None
        _read(part, at, segment)
        at += 8 + unpack_from("<I", segment, 4)[0]
    at += 16 - at % 16  # the checksum ends a block of 16 bytes
    at += 32 if header[23] == 1 else 0
    return at if at <= limit else None


async def digest(part, size, buffer, pause):
    """SHA-256 of the first `size` bytes of a partition."""
    hasher = sha256()
    at = 0
    while at < size:
        n = min(_CHUNK, size - at)
        part.readblocks(at // _CHUNK, buffer[:n], 0)
        hasher.update(buffer[:n])
        at += n
        await pause()
    return hasher.digest()
