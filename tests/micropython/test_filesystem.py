"""The virtual device's file system mounts in MicroPython, and the other way round."""

import json
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import board
from board import CLI, Host, canonical_tar, run_script
from lab import tree

PRODUCT = "mpy-filesystem"
FILES = {
    "main.py": "print('hello')\n",
    "lib/small.py": "S = 1\n",
    "lib/big.py": "B = 1\n" * 4000,
    "empty.txt": "",
    "deep/er/still/file.bin": bytes(range(256)) * 30,
}


class FileSystem(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="airlift-mpy-fs-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.host = Host(self.folder / "host")
        self.files = tree(self.folder / "files", FILES)
        self.release = self.host.pack(
            "installed", PRODUCT, 1, board.app_image(40_000, 1), self.files
        )

    def virtual(self, inspect):
        """Runs the virtual device, gives its JSON to `inspect`, and stops it; its flash file."""
        home = self.folder / "devices"
        child = subprocess.Popen(
            [
                str(CLI), "simulate", "--dir", home, "--product", PRODUCT, "--no-mdns", "--json",
                "--trust", self.host.public(), "--installed", self.release,
            ],
            env=self.host.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        said = []
        try:
            for line in child.stdout:
                if line.startswith("{") and "address" in (started := json.loads(line)):
                    break
                said.append(line)
            else:
                self.fail("no device: " + "".join(said))
            inspect(self.ask(started["address"]))
        finally:
            child.terminate()
            child.wait()
            child.stdout.close()
        return next(home.rglob("flash.bin"))

    def ask(self, address):
        for _ in range(100):
            try:
                with urllib.request.urlopen("http://%s/v1/device" % address, timeout=5) as answer:
                    return json.load(answer)
            except OSError:
                time.sleep(0.1)
        self.fail("the virtual device does not answer")

    def expect(self, folder):
        expected = board.hashlib.sha256(canonical_tar(folder)).hexdigest()

        def inspect(info):
            self.assertEqual(info["running"]["files_sha256"], expected, info["running"])
            self.slot = info["running"]["slot"]

        return inspect

    def test_each_mounts_what_the_other_wrote(self):
        flash = self.virtual(self.expect(self.files))
        # MicroPython reads what littlefs in the virtual device wrote.
        found = {}
        for line in run_script("dump.py", flash).splitlines():
            path, digest, _ = json.loads(line)
            found[path] = digest
        for path, data in FILES.items():
            data = data.encode() if isinstance(data, str) else data
            name = "/%s/%s" % (self.slot, path)
            self.assertEqual(found.get(name), board.hashlib.sha256(data).hexdigest(), name)
        # It writes into it; the virtual device reads that.
        more = {"new/from_micropython.py": "X = 1\n" * 900, "main.py": "print('changed')\n"}
        in_slot = {self.slot + "/" + path: data for path, data in more.items()}
        run_script("fill.py", flash, tree(self.folder / "more", in_slot))
        tree(self.files, more)
        self.virtual(self.expect(self.files))
        # And the virtual device mounts what MicroPython formatted.
        whole = self.folder / "whole"
        shutil.copytree(self.files, whole / self.slot)
        (whole / self.slot / "VERSION").write_text("installed\n")
        run_script("fill.py", flash, whole, "format")
        self.virtual(self.expect(self.files))
