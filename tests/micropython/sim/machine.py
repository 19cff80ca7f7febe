"""Stands in for MicroPython's `machine` module."""

import os

import flash

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = range(1, 6)


def reset_cause():
    return int(os.getenv("AIRLIFT_RESET_CAUSE") or PWRON_RESET)


def reset():
    flash.signal("USR1")


def unique_id():
    return bytes(int(os.getenv("AIRLIFT_ID") or "7cdfa1000001", 16).to_bytes(6, "big"))


class Timer:
    """Ends the process like a reset when its time is over."""

    ONE_SHOT = 0

    def __init__(self, _):
        pass

    def init(self, mode, period, callback):
        if os.getenv("AIRLIFT_TIMER_MS"):
            seconds = int(os.getenv("AIRLIFT_TIMER_MS")) / 1000
            os.system("(sleep {}; kill -USR1 $PPID) >/dev/null 2>&1 &".format(seconds))

    def deinit(self):
        pass
