"""Chooses the folder of the slot that runs, and makes it the working directory.

The client in /lib decides whether the slot is fit to run: a release on trial gets
one start in which it must confirm. Its main.py runs from here then, so that one
that fails to start is given up at once; at any other start MicroPython runs it.
"""

import os
import sys

NAMES = ("factory", "ota_0", "ota_1")


def is_whole(folder):
    """VERSION is the last file of an update."""
    try:
        os.stat(folder + "/VERSION")
        return True
    except OSError:
        return False


def is_folder(path):
    try:
        return os.stat(path)[0] == 0x4000
    except OSError:
        return False


def choose():
    """The slot's folder, and whether it is on trial."""
    slot = 0
    trial = False
    try:
        from airlift import guard

        slot, trial = guard.run()
    except Exception as error:
        # A client that fails must not keep the application from running.
        sys.print_exception(error)
        from esp32 import Partition

        slot = (0x00, 0x10, 0x11).index(Partition(Partition.RUNNING).info()[1])
    folder = "/" + NAMES[slot]
    if not is_whole(folder):
        # An app that was flashed by itself: the last good folder is better than none.
        others = ["/" + name for name in NAMES if is_whole("/" + name)]
        folder = others[-1] if others else folder
    return folder, trial


def start_trial():
    try:
        with open("main.py") as file:
            exec(compile(file.read(), "main.py", "exec"), {"__name__": "__main__"})
    except Exception as error:
        sys.print_exception(error)
        from airlift import guard, state

        guard.abort(state.PANIC, "{}: {}".format(type(error).__name__, error)[:48])
    # MicroPython would run main.py once more; an error here is how it does not.
    raise RuntimeError("main.py has ended")


FOLDER, TRIAL = choose()
VERSION = ""
if is_whole(FOLDER):
    with open(FOLDER + "/VERSION") as version:
        VERSION = version.read().strip()
    os.chdir(FOLDER)
    sys.path[:] = ["", ".frozen", FOLDER + "/lib", "/lib"]
    if is_folder("airlift") or is_folder("lib/airlift"):
        # The slot has a client of its own.
        for module in list(sys.modules):
            if module.split(".")[0] == "airlift":
                del sys.modules[module]
print("airlift: {} {}{}".format(FOLDER, VERSION, ", on trial" if TRIAL else ""))
if TRIAL:
    start_trial()
