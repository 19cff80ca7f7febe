"""The canonical tar: one tar, byte for byte, for one set of files.

crates/wire/src/tar.rs specifies it.
"""

from micropython import const

from .failure import bad_tar
from .text import is_utf8

_BLOCK = const(512)
_MAX_PART = const(16777216)
_MAX_PATH = const(100)

VERSION = "VERSION"
TRAILER = 2 * _BLOCK


def check_path(path, is_folder):
    """Refuses a path that is not plain and relative."""
    body = path
    if is_folder:
        if not path.endswith("/"):
            raise bad_tar()
        body = path[:-1]
    if len(path.encode()) > _MAX_PATH or body == VERSION:
        raise bad_tar()
    for character in body:
        point = ord(character)
        if point < 0x20 or 0x7F <= point < 0xA0 or character == "\\":
            raise bad_tar()
    for name in body.split("/"):
        if name in ("", ".", ".."):
            raise bad_tar()


def padding(size):
    """Zero bytes after content of `size` bytes."""
    return -size % _BLOCK


def _octal(block, start, end, value):
    block[end - 1] = 0
    for n in range(end - 2, start - 1, -1):
        block[n] = 0x30 + (value & 7)
        value >>= 3


def write_header(block, path, is_folder, size):
    """Writes the one header of an entry to a block of 512 bytes."""
    check_path(path, is_folder)
    if size > _MAX_PART:
        raise bad_tar()
    for n in range(_BLOCK):
        block[n] = 0
    name = path.encode()
    block[: len(name)] = name
    _octal(block, 100, 108, 0o755 if is_folder else 0o644)
    _octal(block, 108, 116, 0)
    _octal(block, 116, 124, 0)
    _octal(block, 124, 136, size)
    _octal(block, 136, 148, 0)
    block[148:156] = b"        "
    block[156] = 0x35 if is_folder else 0x30
    block[257:265] = b"ustar\x0000"
    _octal(block, 148, 155, sum(block))


def read_header(block, spare):
    """Path, whether it is a folder, and size. The block must be, byte for byte, the
    canonical header of what it says; `spare` is another block."""
    end = 0
    while end < 100 and block[end]:
        end += 1
    kind = block[156]
    if kind not in b"05" or not is_utf8(block, 0, end):
        raise bad_tar()
    size = 0
    for digit in block[124:135]:
        if not 0x30 <= digit <= 0x37:
            raise bad_tar()
        size = size << 3 | digit & 7
    is_folder = kind == 0x35
    if is_folder and size:
        raise bad_tar()
    path = str(block[:end], "utf-8")
    write_header(spare, path, is_folder, size)
    if spare != block:
        raise bad_tar()
    return path, is_folder, size
