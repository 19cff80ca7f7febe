"""App images with another version, from one build: a release is another one, the code the same."""

import hashlib
import struct

HEADER = 24
SEGMENT = 8
CHECKSUM_SEED = 0xEF
# In the application descriptor, which starts the first segment.
VERSION_AT = HEADER + SEGMENT + 16
VERSION_LEN = 32


def with_version(image: bytes, version: str) -> bytes:
    """The image with another version in its descriptor, checksum and appended hash made anew."""
    text = version.encode()
    if len(text) >= VERSION_LEN:
        raise ValueError(f"a version has at most {VERSION_LEN - 1} bytes: {version}")
    new = bytearray(image)
    new[VERSION_AT : VERSION_AT + VERSION_LEN] = text.ljust(VERSION_LEN, b"\0")
    at, checksum = HEADER, CHECKSUM_SEED
    for _ in range(new[1]):
        (length,) = struct.unpack_from("<I", new, at + 4)
        at += SEGMENT
        for byte in new[at : at + length]:
            checksum ^= byte
        at += length
    # The checksum is the last byte of a 16-byte row, the hash follows.
    end = (at // 16 + 1) * 16
    new[end - 1] = checksum
    new[end : end + 32] = hashlib.sha256(new[:end]).digest()
    return bytes(new)
