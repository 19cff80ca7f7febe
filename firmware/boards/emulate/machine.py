"""The emulator, and what has to be done for it at every reset.

Espressif's QEMU translates code as it runs, and keeps the translation when another flash page is
mapped to the same address (espressif/qemu#102): after an update the board would run pieces of the old
image. So a reset stops the emulator, everything translated from flash is thrown away through its
debugger, and only then the board goes on. It keeps its memory and the reason for the reset.
"""

import json
import pathlib
import socket
import subprocess
import threading
import time

# Where flash is mapped, and how much of it the biggest slot can take.
MAPPED_AT = 0x3C00_0000
MAPPED_LEN = 0x16_0000
# Bytes of one write: twice as many digits fit the debugger's packets.
STEP = 0x700


class Machine:
    """A running emulator."""

    def __init__(self, qemu: str, flash: pathlib.Path, console: pathlib.Path, tap: str):
        self.qmp_path = flash.with_suffix(".qmp")
        self.gdb_path = flash.with_suffix(".gdb")
        for path in (self.qmp_path, self.gdb_path):
            path.unlink(missing_ok=True)
        command = [
            qemu,
            *("-machine", "esp32c3", "-display", "none", "-monitor", "none"),
            *("-drive", f"file={flash},if=mtd,format=raw"),
            *("-nic", f"tap,ifname={tap},script=no,downscript=no,model=open_eth"),
            *("-chardev", f"file,id=console,path={console},append=on"),
            *("-serial", "chardev:console"),
            *("-qmp", f"unix:{self.qmp_path},server=on,wait=off"),
            *("-chardev", f"socket,id=gdb,path={self.gdb_path},server=on,wait=off"),
            *("-gdb", "chardev:gdb"),
            *("-action", "reboot=shutdown,shutdown=pause"),
        ]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        self.qmp = connect(self.qmp_path).makefile("rw")
        self.qmp.readline()
        self.send("qmp_capabilities")
        threading.Thread(target=self.watch, daemon=True).start()

    def send(self, command: str, **arguments: str) -> None:
        self.qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp.flush()

    def watch(self) -> None:
        """Carries out the resets of the board."""
        try:
            for line in self.qmp:
                if json.loads(line).get("event") != "SHUTDOWN":
                    continue
                forget_translations(self.gdb_path)
                self.send("set-action", reboot="reset")
                self.send("system_reset")
                self.send("set-action", reboot="shutdown")
                self.send("cont")
        except (OSError, ValueError):
            # The emulator was ended: power went.
            return

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def connect(path: pathlib.Path) -> socket.socket:
    """Connects to a socket that the emulator is about to open."""
    deadline = time.monotonic() + 10
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            return connection
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def forget_translations(path: pathlib.Path) -> None:
    """Writes to all of the mapped flash: what it was translated to is not valid any more. What is
    written does not matter, the bootloader maps every page anew."""
    with connect(path) as gdb:
        replies = gdb.makefile("rb")
        for at in range(0, MAPPED_LEN, STEP):
            length = min(STEP, MAPPED_LEN - at)
            exchange(gdb, replies, f"M{MAPPED_AT + at:x},{length:x}:{'00' * length}")
        exchange(gdb, replies, "D")


def exchange(gdb: socket.socket, replies, packet: str) -> None:
    """Sends a packet of the GDB remote protocol and waits for its answer."""
    data = packet.encode()
    gdb.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xFF))
    while replies.read(1) not in (b"#", b""):
        pass
    replies.read(2)
    gdb.sendall(b"+")
