"""App only, files only, both: with the real command line, and what is in flash afterwards."""

from board import MAIN, app_image, canonical_tar, envelope_of
from lab import APP_1, PRODUCT, Lab
from made import sha256

APP_2 = app_image(70_001, 2)


class Updates(Lab):
    def check(self, info, slot, app, folder, version, sequence):
        running = info["running"]
        self.assertEqual(running["slot"], "ota_%d" % slot)
        self.assertEqual(running["state"], "valid")
        self.assertEqual(running["app_sha256"], sha256(app).hex())
        self.assertEqual(running["files_sha256"], sha256(canonical_tar(folder)).hex())
        self.assertEqual((running["version"], running["sequence"]), (version, sequence))
        self.assertEqual(info["last_update"]["end"], "done")
        self.assert_slot(slot, app, folder, version)

    def test_app_and_files_are_updated_together(self):
        files = self.tree(
            "files-2",
            {
                "main.py": MAIN,
                "lib/two.py": "TWO = 2\n" * 2000,
                "lib/deep/er/three.py": "",
                "data/a-b": b"\0" * 512,
                "data/a/b": "sorted after a-b",
                "data.txt": bytes(range(256)) * 40,
            },
        )
        release = self.host.pack("both", PRODUCT, 2, APP_2, files)
        self.board.start().settled()
        self.update(release)
        self.check(self.board.settled(), 1, APP_2, files, "both", 2)

    def test_app_only_copies_the_files(self):
        release = self.host.pack("app-only", PRODUCT, 2, APP_2)
        self.board.start().settled()
        self.update(release)
        self.check(self.board.settled(), 1, APP_2, self.files_1, "app-only", 2)

    def test_files_only_copies_the_app(self):
        files = self.tree("files-only", {"main.py": MAIN, "new.py": "NEW = True\n"})
        release = self.host.pack("files-only", PRODUCT, 2, files=files, more=("--chip", "esp32c3"))
        self.board.start().settled()
        self.update(release)
        self.check(self.board.settled(), 1, APP_1, files, "files-only", 2)

    def test_slots_take_turns_and_what_is_there_is_not_fetched_again(self):
        files = self.tree("turns", {"main.py": MAIN, "n.py": "N = 2\n"})
        second = self.host.pack("turn-2", PRODUCT, 2, APP_2, files)
        third = self.host.pack("turn-3", PRODUCT, 3, APP_1, self.files_1)
        self.board.start().settled()
        self.update(second)
        # The old slot still holds all that the third release carries. It has no envelope, as
        # after an interruption: its last sector is not trusted.
        lines = self.board.post(envelope_of(third), self.host.serve(third))
        fetched = [(x["part"], x["n"], x["count"]) for x in lines if x.get("state") == "fetching"]
        self.assertEqual(fetched, [("app", (len(APP_1) - 1) // 4096, 1)])
        self.check(self.board.settled(), 0, APP_1, self.files_1, "turn-3", 3)

    def test_the_client_itself_is_updated_with_the_files(self):
        from board import CLIENT, compiled_client

        files = self.tree("with-client", {"main.py": MAIN})
        compiled_client(files / "lib" / "airlift")
        source = (CLIENT / "airlift" / "__init__.py").read_text()
        (files / "lib" / "airlift" / "__init__.mpy").unlink()
        (files / "lib" / "airlift" / "__init__.py").write_text(source + "\nprint('CLIENT NEW')\n")
        release = self.host.pack("with-client", PRODUCT, 2, files=files, more=("--chip", "esp32c3"))
        self.board.start().settled()
        self.update(release)
        self.check(self.board.settled(), 1, APP_1, files, "with-client", 2)
        self.assertIn("CLIENT NEW", self.board.tail())

    def test_the_running_release_is_refused_as_such(self):
        release = self.host.pack("again", PRODUCT, 2, APP_2)
        self.board.start().settled()
        self.update(release)
        self.assertIn("already", (self.update(release, code=None).stdout).lower())

    def test_keys_change_once_the_release_that_brings_them_has_confirmed(self):
        new = self.host.public("next")
        more = ("--new-root", new, "--new-release-key", new, "--epoch", "1")
        change = self.host.pack("keys", PRODUCT, 2, APP_2, more=more)
        before = self.board.start().settled()["trust"]
        self.update(change)
        after = self.board.settled()["trust"]
        self.assertEqual((before["epoch"], after["epoch"]), (0, 1))
        self.assertNotEqual(before["root"], after["root"])
        old_key = self.host.pack("old-key", PRODUCT, 3, APP_1)
        refused = self.update(old_key, code=None)
        self.assertIn("unknown_key", refused.stdout + refused.stderr)
        self.update(self.host.pack("new-key", PRODUCT, 3, APP_1, key="next"))


class PlainBootloader(Updates):
    """The same with a firmware that knows no rollback."""

    bootloader = "plain"
