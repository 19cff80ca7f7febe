"""The log: printed, and its last bytes kept for `GET /v1/log`."""

from micropython import const

from .clock import uptime_ms

_SIZE = const(1024)

_kept = bytearray(_SIZE)
_written = 0  # bytes since the start


def log(text, *values):
    """Logs a line; values take the place of its {}."""
    global _written
    line = "{:>8} {}".format(uptime_ms(), text.format(*values))
    print(line)
    for byte in line.encode() + b"\n":
        _kept[_written % _SIZE] = byte
        _written += 1


def read(start):
    """Where the kept bytes from `start` on begin, and the bytes."""
    first = max(start, _written - _SIZE)
    if first >= _written:
        return start, b""
    a, b = first % _SIZE, _written % _SIZE
    kept = memoryview(_kept)
    return first, bytes(kept[a:b]) if a < b else bytes(kept[a:]) + bytes(kept[:b])
