"""Time since the start."""

from time import ticks_diff, ticks_ms

_last = ticks_ms()
_passed = 0


def uptime_ms():
    """Right as long as it is asked once in six days: ticks_ms starts anew after twelve."""
    global _last, _passed
    now = ticks_ms()
    _passed += ticks_diff(now, _last)
    _last = now
    return _passed
