"""What every test has: a computer with a key, and a board that it may copy."""

import shutil
import tempfile
import threading
import unittest
from pathlib import Path

import board
from board import MAIN, Board, Host, app_image
from made import load_key

PRODUCT = "mpy-tests"
APP_1 = app_image(50_000, 1)


def tree(folder, files):
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


class Lab(unittest.TestCase):
    """`self.board` runs app 1 and files 1 from ota_0, without an envelope."""

    bootloader = "rollback"

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="airlift-mpy-"))
        cls.host = Host(cls.folder / "host")
        cls.key = load_key(cls.host.key())
        cls.files_1 = tree(cls.folder / "files-1", {"main.py": MAIN, "lib/one.py": "ONE = 1\n"})
        cls.base = Board(cls.folder / "base")
        cls.base.make(APP_1, cls.files_1, cls.host.public(), PRODUCT)

    @classmethod
    def tearDownClass(cls):
        cls.host.close()
        shutil.rmtree(cls.folder, ignore_errors=True)

    def setUp(self):
        self.board = self.new_board()

    def new_board(self, name=None, **options):
        options.setdefault("bootloader", self.bootloader)
        made = Board(self.folder / (name or self._testMethodName), **options).like(self.base)
        self.addCleanup(made.stop)
        return made

    def tree(self, name, files):
        return tree(self.folder / name, files)

    def update(self, release, code=0, more=()):
        """`airlift update` with the real command line, and the board restarted meanwhile."""
        alive = threading.Event()

        def power():
            while not alive.wait(0.02):
                self.board.keep_alive()

        thread = threading.Thread(target=power)
        thread.start()
        try:
            address = "127.0.0.1:%d" % self.board.port
            return self.host.cli(
                "update", release, "--device", address, "--no-mdns", *more, code=code
            )
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, self.board.tail())) from None
        finally:
            alive.set()
            thread.join()

    def offer(self, server, envelope, retry=False):
        """The last line of progress that the board gives for an envelope."""
        lines = self.board.post(envelope, server.port, retry)
        self.assertTrue(lines, self.board.tail())
        return lines[-1]

    def assert_slot(self, n, app, folder, version):
        """The bytes of a slot, and its folder, to the last file."""
        self.board.stop()
        self.assertEqual(self.board.slot(n, len(app)), app)
        found = self.board.files()
        root = "/ota_%d/" % n
        expected = {root: None}
        for path in folder.rglob("*"):
            name = root + path.relative_to(folder).as_posix()
            expected[name + "/" * path.is_dir()] = (
                None if path.is_dir() else board.hashlib.sha256(path.read_bytes()).hexdigest()
            )
        expected[root + "VERSION"] = board.hashlib.sha256(version.encode() + b"\n").hexdigest()
        self.assertEqual({k: v for k, v in found.items() if k.startswith(root)}, expected)
        return found
