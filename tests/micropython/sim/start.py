"""Power on: the second-stage bootloader, then what the ESP32 port does: mount the file
system, run boot.py, then main.py."""

import gc
import os
import sys

sys.path[:] = [sys.path[0], ".frozen"]
import vfs

import esp32
import flash
import machine  # before the board has its own path


def choose():
    """The bootloader: marks and gives up trials if it knows rollback."""
    apps = {row[1]: row for row in esp32.TABLE if row[0] == 0}
    n = esp32.active()
    if n is not None and esp32.ROLLBACK:
        raw = esp32.entries()[n]
        state = raw[24]
        if state == esp32.PENDING:
            esp32.put(n, esp32.sequence(raw), esp32.ABORTED)
            n = esp32.active()
        elif state == esp32.NEW:
            esp32.put(n, esp32.sequence(raw), esp32.PENDING)
    order = []
    if n is not None:
        slot = (esp32.sequence(esp32.entries()[n]) - 1) % 2
        order = [0x10 + slot, 0x11 - slot]
    for subtype in order + [0x00, 0x10, 0x11]:
        if subtype in apps and esp32.is_image(apps[subtype]):
            return apps[subtype]
    flash.fault("no app boots")


def run(path):
    with open(path) as file:
        source = file.read()
    code = compile(source, path, "exec")
    del source
    gc.collect()
    exec(code, globals_of_main)


esp32.Partition.running = choose()
_files = vfs.VfsLfs2(esp32.Partition("vfs"))
vfs.umount("/")
vfs.mount(_files, "/")
sys.path[:] = ["", ".frozen", "/lib"]
gc.collect()
globals_of_main = {"__name__": "__main__"}
print("BOOT", esp32.Partition.running[4], "heap", gc.mem_alloc())
try:
    run("boot.py")
except Exception as error:
    sys.print_exception(error)
else:
    try:
        run("main.py")
    except Exception as error:
        sys.print_exception(error)
print("REPL", flash.operations)
while True:
    os.system("sleep 60")
