"""Boards with the plain protocol: served as they are, slower, and moved to the signed one."""

import os
import shutil
import time

from board import CLIENT, HERE, MAIN, app_image, compiled_client, envelope_of, run_script
from delay import Relay
from lab import APP_1, PRODUCT, Lab

# What such a board has: it picks the folder by the running partition.
PLAIN_BOOT = """\
import os, sys
from esp32 import Partition
os.chdir("/" + Partition(Partition.RUNNING).info()[4])
sys.path[:] = ["", ".frozen", "/lib"]
"""
PLAIN_MAIN = """\
import os, plain
plain.update("127.0.0.1", int(os.getenv("AIRLIFT_PLAIN")))
"""
IDLE_MAIN = "print('PLAIN IDLE')\n"
# The one release that the plain protocol brings: it turns the board into a device.
MOVING_MAIN = """\
import machine
from airlift import setup
if setup.move("{product}", "root.pub.pem", version="moving"):
    machine.reset()
"""
APP_2 = app_image(100_000, 2)


class Plain(Lab):
    def plain_board(self, name):
        """Not a device: the plain client's files, and no keys."""
        board = self.new_board(name)
        top = self.tree(
            name + "-top", {"boot.py": PLAIN_BOOT, "ota_0/main.py": PLAIN_MAIN, "lib/x.py": ""}
        )
        shutil.copy(HERE / "sim" / "plain.py", top / "ota_0" / "plain.py")
        run_script("fill.py", board.flash, top, "format")
        return board

    def start_plain(self, board, port):
        os.environ["AIRLIFT_PLAIN"] = str(port)
        self.addCleanup(os.environ.pop, "AIRLIFT_PLAIN", None)
        started = time.monotonic()
        board.start()
        self.assertEqual(board.ended(120), "reset", board.tail())
        return time.monotonic() - started

    def test_a_plain_client_is_updated_from_an_odd_size_and_a_tar_with_folders(self):
        self.assertTrue(len(APP_2) % 512)
        files = self.tree("plain-files", {"main.py": IDLE_MAIN, "a/b.txt": "B" * 700, "c.py": ""})
        release = self.host.pack("plain", PRODUCT, 2, APP_2, files)
        board = self.plain_board("plain-board")
        self.start_plain(board, self.host.serve(release, "--plain"))
        board.stop()
        self.assertEqual(board.slot(1, len(APP_2)), APP_2)
        found = board.files()
        self.assertLessEqual({"/ota_1/main.py", "/ota_1/a/b.txt", "/ota_1/c.py"}, set(found))

    def test_the_signed_client_is_faster_over_a_slow_way(self):
        """20 ms more for each request; both do the same update in this one run."""
        files = self.tree("slow-files", {"main.py": MAIN, "a/b.txt": "B" * 7000})
        release = self.host.pack("slow-way", PRODUCT, 2, APP_2, files)
        relay = Relay(self.host.serve(release, "--plain"), 0.02)
        self.addCleanup(relay.close)
        plain = self.start_plain(self.plain_board("slow-plain"), relay.port)
        plain_requests, relay.requests = relay.requests, 0
        self.board.start().settled()
        started = time.monotonic()
        lines = self.board.post(envelope_of(release), relay.port)
        signed = time.monotonic() - started
        self.assertEqual(lines[-1]["event"], "rebooting")
        print(
            "20 ms a request: plain %.2f s in %d requests, signed %.2f s in %d: %.1f times as fast"
            % (plain, plain_requests, signed, relay.requests, plain / signed),
            flush=True,
        )
        self.assertLess(relay.requests * 10, plain_requests)
        self.assertLess(signed * 2, plain)

    def test_a_board_moves_from_the_plain_protocol_to_the_signed_one_over_the_air(self):
        files = self.tree("moving", {"main.py": MOVING_MAIN.format(product=PRODUCT) + MAIN})
        compiled_client(files / "airlift")
        shutil.copy(CLIENT / "boot.py", files / "boot.py")
        shutil.copy(self.host.public(), files / "root.pub.pem")
        moving = self.host.pack("moving", PRODUCT, 1, APP_2, files)
        self.board = self.plain_board("moving-board")
        self.start_plain(self.board, self.host.serve(moving, "--plain"))
        # The release runs, makes the board a device, and restarts it.
        self.board.start()
        self.assertEqual(self.board.ended(30), "reset", self.board.tail())
        info = self.board.start().settled()
        running = info["running"]
        self.assertEqual((running["slot"], running["version"]), ("ota_1", "moving"))
        self.assertEqual(info["product"], PRODUCT)
        # From now on it is a device like any other, whose old slot is the next target.
        release = self.host.pack("moved", PRODUCT, 2, APP_1, self.files_1)
        self.update(release)
        info = self.board.settled()
        self.assertEqual(info["running"]["slot"], "ota_0")
        self.assert_slot(0, APP_1, self.files_1, "moved")
