"""Starts with something missing or damaged."""

from board import OTADATA, app_image, otadata_entry, run_script
from lab import APP_1, PRODUCT, Lab

APP_2 = app_image(60_000, 2)


class Boot(Lab):
    def put(self, name, files):
        run_script("fill.py", self.board.flash, self.tree(name, files))

    def flash(self, at, data):
        with open(self.board.flash, "r+b") as file:
            file.seek(at)
            file.write(data)

    def update_twice(self):
        self.board.start().settled()
        self.update(self.host.pack(self.id()[-20:] + "-2", PRODUCT, 2, APP_2))
        self.update(self.host.pack(self.id()[-20:] + "-3", PRODUCT, 3, APP_1))
        info = self.board.settled()
        self.board.stop()
        return info

    def test_an_app_that_was_flashed_without_a_folder_gets_the_last_good_one(self):
        self.flash(0x70000, APP_1)
        self.flash(OTADATA + 4096, otadata_entry(2, 2))
        info = self.board.start().settled()
        self.assertEqual(info["running"]["slot"], "ota_1")
        self.assertIn("airlift: /ota_0 1.0.0", self.board.tail())

    def test_an_application_runs_when_the_client_is_damaged(self):
        self.put("damaged", {"lib/airlift/guard.mpy": b"no bytecode"})
        self.put("main", {"ota_0/main.py": "print('THE APPLICATION RUNS')\n"})
        self.board.start()
        for _ in range(100):
            if "THE APPLICATION RUNS" in self.board.tail():
                return
            self.board.ended(0.05)
        self.fail(self.board.tail())

    def test_the_older_copy_of_the_state_counts_when_the_newer_is_damaged(self):
        info = self.update_twice()
        for name in ("state.0", "state.1"):
            with self.subTest(name):
                self.put("hurt-" + name, {".airlift/" + name: b"ALS1" + b"\xff" * 472})
                found = self.board.start().settled()
                self.board.stop()
                self.assertEqual(found["trust"], info["trust"])
                self.assertEqual(found["running"]["release"], info["running"]["release"])
                # What runs says which sequence is confirmed; the next save mends the copy.
                lower = self.host.pack("low-" + name, PRODUCT, 2, app_image(50_000, 7))
                self.board.start().settled()
                refused = self.update(lower, code=None)
                self.assertIn("lower_sequence", refused.stdout + refused.stderr)
                self.update(self.host.pack("up-" + name, PRODUCT, 4 + int(name[-1]), APP_2))
                info = self.board.settled()
                self.board.stop()

    def test_a_damaged_envelope_is_none(self):
        info = self.update_twice()
        slot = info["running"]["slot"]
        self.put("hurt-envelope", {".airlift/%s.cose" % slot: b"\xd2\x84" + bytes(300)})
        found = self.board.start().settled()
        self.assertIsNone(found["running"]["release"])
        self.assertEqual(found["running"]["app_sha256"], info["running"]["app_sha256"])

    def test_without_a_state_no_release_is_taken(self):
        gone = {".airlift/state.0": b"", ".airlift/state.1": b""}
        self.put("gone", gone)
        self.board.start()
        info = self.board.settled()
        self.assertIsNone(info["trust"])
        release = self.host.pack("no-keys", "unknown", 2, APP_2)
        refused = self.update(release, code=None)
        self.assertIn("no_trust", refused.stdout + refused.stderr)

    def test_a_board_with_keys_keeps_them(self):
        with self.assertRaisesRegex(AssertionError, "has keys already"):
            run_script("provision.py", self.board.flash, "other", self.host.public().read_text())

    def test_a_main_that_ends_is_not_run_twice_on_trial(self):
        files = self.tree("ends", {"main.py": "print('MAIN RAN')\n"})
        self.board.timer_ms = 300
        release = self.host.pack("ends", PRODUCT, 2, files=files, more=("--chip", "esp32c3"))
        self.board.start().settled()
        done = self.update(release, code=5)
        self.assertIn("rolled_back", done.stdout + done.stderr)
        self.assertEqual(self.board.log.read_text().count("MAIN RAN"), 1)
