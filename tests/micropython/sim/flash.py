"""A NOR flash in a file: an erase sets bits, a write only clears them, and power may go
in the middle of either: AIRLIFT_CUT=N:B ends the process by SIGKILL in the N-th operation
after B of its 256ths. AIRLIFT_COUNT names a file for the number of operations so far."""

import os
import sys

SECTOR = 4096
_file = open(os.getenv("AIRLIFT_FLASH"), "r+b")
size = _file.seek(0, 2)
_cut, _share = [int(n) for n in (os.getenv("AIRLIFT_CUT") or "-1:0").split(":")]
_count = os.getenv("AIRLIFT_COUNT") and open(os.getenv("AIRLIFT_COUNT"), "w")
operations = 0


def signal(name):
    """Ends this process as nothing in it can prevent."""
    os.system("kill -{} $PPID".format(name))
    while True:
        pass


def _cuts():
    global operations
    operations += 1
    if _count:
        _count.seek(0)
        _count.write(str(operations))
    return operations - 1 == _cut


def read(at, buf):
    _file.seek(at)
    if _file.readinto(buf) != len(buf):
        raise OSError(5)


def erase(at):
    if at % SECTOR or not 0 <= at < size:
        fault("an erase at {}".format(at))
    cuts = _cuts()
    _file.seek(at)
    blank = b"\xff" * 256
    for _ in range(16 * _share // 256 if cuts else 16):
        _file.write(blank)
    if cuts:
        signal("KILL")


def write(at, buf):
    view = memoryview(buf)
    cuts = _cuts()
    if cuts:
        view = view[: len(view) * _share // 256]
    for start in range(0, len(view), 256):
        piece = view[start : start + 256]
        old = bytearray(len(piece))
        read(at + start, old)
        before = int.from_bytes(old, "little")
        if before | int.from_bytes(piece, "little") != before:
            fault("a write sets bits at {}".format(at + start))
        _file.seek(at + start)
        _file.write(piece)
    if cuts:
        signal("KILL")


def fault(what):
    print("NOR FAULT:", what)
    sys.exit(9)
