"""Power cuts: SIGKILL in the middle of a random flash operation, and then on.

A share of 12 points by default; AIRLIFT_KILLS=200 for all. AIRLIFT_SEED gives other points.
"""

import os
import random

from board import MAIN, app_image, envelope_of
from lab import PRODUCT, Lab
from made import sha256

KILLS = int(os.environ.get("AIRLIFT_KILLS", "12"))
SEED = int(os.environ.get("AIRLIFT_SEED", "20"))
APP_2 = app_image(45_001, 2)


class Resume(Lab):
    def setUp(self):
        super().setUp()
        self.files = self.tree(
            "files-2",
            {
                "main.py": MAIN,
                "big.bin": random.Random(1).randbytes(40_000),
                "lib/a.py": "A = 1\n" * 300,
                "lib/b.py": "",
                "z/y/x.txt": "deep",
            },
        )
        self.release = self.host.pack("resumed", PRODUCT, 2, APP_2, self.files)
        self.envelope = envelope_of(self.release)
        self.port = self.host.serve(self.release)

    def operations(self):
        """How many flash operations a whole update has: until the restart, and the trial."""
        board = self.new_board("counted").start()
        board.settled()
        board.post(self.envelope, self.port)
        self.assertEqual(board.ended(30), "reset")
        first = board.operations()
        board.start()
        board.settled(until=self.is_confirmed)
        return first, board.operations()

    @staticmethod
    def is_confirmed(info):
        return info["running"]["slot"] == "ota_1" and info["running"]["state"] == "valid"

    def finish(self, board):
        """Goes on until the release runs and is confirmed; how many chunks were kept."""
        kept = 0
        for _ in range(4):
            info = board.settled()
            if self.is_confirmed(info):
                return kept
            # What it was doing when power went may count as a trial that died.
            last = (info["last_update"] or {}).get("end")
            lines = board.post(self.envelope, self.port, retry=last == "rolled_back")
            kept += sum(x["count"] for x in lines if x.get("state") == "kept")
            self.assertIn(lines[-1]["event"] if lines else None, ("rebooting",), lines[-1:])
        raise AssertionError("it never ends\n" + board.tail())

    def check(self, board):
        info = board.settled()
        self.assertEqual(info["running"]["release"], sha256(self.envelope).hex())
        self.assertEqual(info["running"]["state"], "valid")
        self.assertEqual(info["last_update"]["end"], "done")
        self.board = board
        found = self.assert_slot(1, APP_2, self.files, "resumed")
        # The slot that it came from is untouched.
        untouched = self.base.files()
        for path, digest in untouched.items():
            if path.startswith(("/ota_0/", "/boot.py", "/lib/")):
                self.assertEqual(found.get(path), digest, path)
        self.assertEqual(board.slot(0, 50_000), self.base.slot(0, 50_000))

    def test_a_slot_that_is_being_written_is_not_whole(self):
        """Its old envelope is gone before the first of its bytes is."""
        self.board.start().settled()
        self.update(self.release)
        self.update(self.host.pack("third", PRODUCT, 3, app_image(30_000, 3)))
        self.assertEqual(self.state_of("ota_1"), "valid")
        self.board.stop()
        third = self.board.flash.read_bytes()
        fourth = self.host.pack("fourth", PRODUCT, 4, app_image(100_000, 4))
        port = self.host.serve(fourth)
        for operation in (10, 30):
            self.board.flash.write_bytes(third)
            self.board.start((operation, 128)).settled()
            lines = self.board.post(envelope_of(fourth), port)
            self.assertEqual(self.board.ended(30), "killed", lines[-1:])
            self.assertNotEqual(self.board.slot(1, 30_000), third[0x70000 : 0x70000 + 30_000])
            self.board.start()
            self.assertEqual(self.state_of("ota_1"), "empty")
            self.board.stop()

    def state_of(self, slot):
        rows = self.board.settled()["slots"]
        return [row["state"] for row in rows if row["slot"] == slot][0]

    def test_an_update_goes_on_after_power_was_cut_at_any_point(self):
        update, trial = self.operations()
        points = random.Random(SEED)
        # The few operations of a trial get a tenth of the cuts.
        cuts = [
            (n % 10 == 9, points.randrange(trial if n % 10 == 9 else update), points.randrange(257))
            for n in range(KILLS)
        ]
        ends = {"old": 0, "new": 0}
        all_kept = 0
        for n, cut in enumerate(cuts):
            with self.subTest(cut=cut):
                board = self.new_board("cut-%d" % n, bootloader=("rollback", "plain")[n % 2])
                try:
                    self.cut(board, cut)
                    # At every instant some whole slot boots.
                    board.start()
                    slot = board.settled()["running"]["slot"]
                    ends["new" if slot == "ota_1" else "old"] += 1
                    all_kept += self.finish(board)
                    self.check(board)
                except AssertionError:
                    print(board.tail())
                    raise
                finally:
                    board.stop()
                    board.flash.unlink()
        print(
            "%d cuts in %d operations of an update and %d of a trial: %d started the old release, "
            "%d the new one; %d chunks were kept"
            % (len(cuts), update, trial, ends["old"], ends["new"], all_kept),
            flush=True,
        )
        self.assertGreater(all_kept, 0)

    def cut(self, board, cut):
        """Updates until the process is killed, before the restart or in the trial after it."""
        in_trial, operation, share = cut
        board.start(None if in_trial else (operation, share))
        for _ in range(200):
            if board.ended(0.02) or board.device():
                break
        if not board.ended():
            board.post(self.envelope, self.port)
        how = board.ended(30)
        self.assertEqual(how, "reset" if in_trial else how)
        if in_trial:
            board.start((operation, share))
            for _ in range(200):
                if board.ended(0.02) or (board.device() or {}).get("updater") == {"state": "idle"}:
                    break
        board.stop()
