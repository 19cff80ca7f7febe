"""A board on a pseudo-terminal: its ROM loader, its flash in a file, a cable that can be pulled."""

import json
import os
import select
import subprocess
import time

SECTOR = 4096
FLASH_SIZE = 4 * 1024 * 1024
# Of the layout that Airlift writes and of every ESP32-C3.
TABLE, OTADATA_SIZE = 0x8000, 0x2000


class Board:
    """`airlift-rom-loader` as a process; a name in `folder` is its port."""

    def __init__(self, desk, program, folder, name, *options):
        self.desk = desk
        self.program = program
        self.port = folder / name
        self.flash = folder / f"{name}.bin"
        self.process = None
        self.start(*options)

    def start(self, *options):
        """Plugs it in; with options, such as `--mode application`."""
        command = [self.program, "--flash", self.flash, "--link", self.port, *options]
        log = open(self.desk.dir / f"{self.port.name}.log", "ab")
        self.process = subprocess.Popen(
            [str(each) for each in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        log.close()
        self.said = b""
        self._line()

    def _line(self, seconds=10):
        """The next line that it says."""
        out = self.process.stdout.fileno()
        while b"\n" not in self.said:
            ready, _, _ = select.select([out], [], [], seconds)
            more = os.read(out, 65536) if ready else b""
            if not more:
                raise AssertionError("the board says nothing")
            self.said += more
        line, _, self.said = self.said.partition(b"\n")
        return line.decode()

    def order(self, order):
        """Gives an order and returns what it answers before its `ok`."""
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()
        answer = []
        while True:
            line = self._line()
            if line == "ok":
                return answer
            if line.startswith("error"):
                raise AssertionError(line)
            answer.append(line)

    def journal(self):
        """What was done to the flash."""
        return [json.loads(line) for line in self.order("journal")]

    def end(self):
        """Pulls the cable for good."""
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None

    # Its flash, past everything.

    def bytes(self):
        """All of it."""
        return self.flash.read_bytes()

    def partition(self, label):
        """Offset and size of a partition, from the table in the flash."""
        table = self.bytes()[TABLE : TABLE + 0xC00]
        for at in range(0, len(table), 32):
            entry = table[at : at + 32]
            if entry[:2] != b"\xaa\x50":
                break
            if entry[12:28].rstrip(b"\0").decode() == label:
                return int.from_bytes(entry[4:8], "little"), int.from_bytes(entry[8:12], "little")
        raise AssertionError(f"there is no partition {label}")

    def damage(self, offset, data):
        """Changes its flash while it is not plugged in."""
        assert self.process is None
        with open(self.flash, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def changed(self, before):
        """The sectors that are not as they were, as offsets."""
        after = self.bytes()
        starts = range(0, len(after), SECTOR)
        return [at for at in starts if before[at : at + SECTOR] != after[at : at + SECTOR]]


def wait_for(condition, what, seconds=10):
    """Waits for something that is not on the page."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s there is not: {what}")
        time.sleep(0.05)
