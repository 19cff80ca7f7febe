"""A board in the emulator: its flash is a file, its power a process."""

import json
import pathlib
import time
import urllib.request

from machine import Machine

ADDRESS = "10.42.0.2"
HOST = "10.42.0.1"
TAP = "tap0"


class Board:
    """One emulated board. Its console is `console`, all starts one after the other."""

    def __init__(self, qemu: str, flash: pathlib.Path):
        self.qemu = qemu
        self.flash = flash
        self.console = flash.with_suffix(".console.txt")
        self.machine: Machine | None = None
        self.console.write_bytes(b"")

    def power_on(self) -> None:
        self.machine = Machine(self.qemu, self.flash, self.console, TAP)

    def power_off(self) -> None:
        """Power goes, whatever the board is doing."""
        if self.machine:
            self.machine.kill()
            self.machine = None

    def info(self, patience: float = 60.0) -> dict:
        """What the board says of itself."""
        deadline = time.monotonic() + patience
        while True:
            try:
                url = f"http://{ADDRESS}/v1/device"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return json.load(answer)
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def log(self) -> str:
        """All that the board logged since its start and still keeps, read over the network."""
        text, at = b"", 0
        while True:
            url = f"http://{ADDRESS}/v1/log?from={at}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                at = int(answer.headers["Airlift-Log-Start"])
                piece = answer.read()
            if not piece:
                return text.decode(errors="replace")
            text += piece
            at += len(piece)

    def post(self, path: str) -> dict:
        """Posts nothing to `path`; the answer."""
        request = urllib.request.Request(f"http://{ADDRESS}{path}", data=b"", method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def wait_for(self, text: str, patience: float = 60.0) -> None:
        """Waits until the console says `text`."""
        deadline = time.monotonic() + patience
        while text not in self.console.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the console did not say {text!r}")
            time.sleep(0.05)

    def __enter__(self) -> "Board":
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
