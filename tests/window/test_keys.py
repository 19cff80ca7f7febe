"""Keys: who trusts them, a spare that this computer does not keep, and other keys for a device."""

import shutil

import case
from case import WindowTest, device_of
from harness import css

PASSPHRASE = "correct horse"


class ChangeOfKeys(WindowTest):
    """A device that trusts one key gets others, and then takes releases from those only."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate(product="rekeyed")
        for end in (".pem", ".pub.pem"):
            shutil.copy(cls.key.with_suffix(end), cls.home / "keys" / f"first{end}")

    @classmethod
    def arrange(cls):
        cls.simulated()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        case.DESK.stop(cls.simulation)

    def keys(self):
        """The keys that the app knows, by name."""
        return {each["name"]: each for each in self.snapshot()["keys"]}

    def invoke(self, command, **args):
        """Asks the app as the page does; file dialogs belong to the system and are not driven."""
        return self.window.run(
            "return window.__TAURI_INTERNALS__.invoke(arguments[0], arguments[1])"
            ".then((good) => ({ good }), (bad) => ({ bad }))",
            command,
            args,
        )

    def send(self, version, sequence, key):
        """Signs a release, drops it, and sends it to the device; returns the ended job."""
        path = self.pack(version, self.product, version, sequence, key=key)
        case.DESK.drop(path)

        def known():
            releases = self.snapshot()["releases"]
            return next((each["id"] for each in releases if each["version"] == version), None)

        release = self.wait(known, f"{version} in the library")
        sent = self.invoke("start_update", devices=[self.device], release=release, retry=False)
        return self.ended(sent["good"][0])

    def ended(self, number):
        """A job, once it has ended."""

        def over():
            jobs = [each for each in self.snapshot()["jobs"] if each["id"] == number]
            return jobs and jobs[0]["end"] and jobs[0]

        return self.wait(over, f"the end of job {number}", case.UPDATE_SECONDS)

    def test_1_each_key_says_which_devices_trust_it_and_as_what(self):
        self.show("Settings")
        first = self.find("keyRow", f'[data-key="{self.keys()["first"]["id"]}"]')
        self.wait(lambda: "root of 1, releases for 1" in first.text, "the device beside its key")

    def test_2_an_offline_key_is_in_its_file_and_its_public_part_here(self):
        stick = case.DESK.dir / "stick"
        stick.mkdir()
        form = {"name": "drawer", "path": str(stick / "drawer.pem"), "passphrase": "short"}
        self.assertEqual(self.invoke("new_offline_key", form=form)["bad"]["code"], "usage")
        self.assertEqual(list(stick.iterdir()), [])
        form["passphrase"] = PASSPHRASE
        self.assertTrue(self.invoke("new_offline_key", form=form)["good"]["offline"])
        private = stick / "drawer.pem"
        self.assertTrue(private.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
        self.assertEqual(private.stat().st_mode & 0o777, 0o600)
        self.assertFalse((self.home / "keys" / "drawer.pem").exists())
        row = self.find("keyRow", f'[data-key="{self.keys()["drawer"]["id"]}"]')
        self.assertIn("offline", row.text)
        self.assertEqual(self.invoke("new_offline_key", form=form)["bad"]["code"], "io")

    def test_3_the_device_gets_an_offline_root_and_a_new_release_key(self):
        self.find("keyNew").click()
        name = self.find("sheetKeyName")
        name.clear()
        name.type("next")
        self.find("sheetMakeKey").click()
        self.wait(lambda: "next" in self.keys(), "the new key", 30)
        keys = self.keys()
        root, old, new = (keys[each]["id"] for each in ("drawer", "first", "next"))
        before = device_of(self.url)
        self.find("keyChangeOpen").click()
        self.find("keyChangeDevice", f'[data-device="{self.device}"]')
        # A list of the system opens on a click; choosing in it is choosing here.
        self.window.run(
            "const list = document.querySelector(arguments[0]); list.value = arguments[1];"
            "list.dispatchEvent(new Event('change', { bubbles: true }));",
            css("keyChangeRoot"),
            root,
        )
        for key in (old, new):
            self.find("keyChangeReleaseKey", f'[data-key="{key}"]').click()
        self.wait_text("keyChangeSentence", "1 device will trust the root “drawer”")
        self.wait_text("keyChangeSentence", "Trusted no more: first.")
        self.find("keyChangeSubmit").click()
        self.find("keyChangeDone", seconds=20)
        self.find("keyChangeShow").click()
        self.gone("keyChange")

        self.wait(self.job, "the job")
        self.assertEqual(self.ended(self.job()["id"])["end"], "done")
        after = device_of(self.url)
        self.assertEqual(after["trust"], {"epoch": 2, "root": root, "keys": [new]})
        self.assertNotEqual(after["running"]["slot"], before["running"]["slot"])
        for part in ("app_sha256", "files_sha256"):
            self.assertEqual(after["running"][part], before["running"][part])

    def test_4_the_old_keys_releases_are_refused_and_the_new_keys_are_taken(self):
        job = self.send("7.0.0-old", 70, self.key)
        self.assertEqual((job["end"], job["error"]["code"]), ("failed", "unknown_key"))
        job = self.send("7.1.0-new", 71, self.home / "keys" / "next.pem")
        self.assertEqual(job["end"], "done", job["summary"])
        self.assertEqual(device_of(self.url)["running"]["version"], "7.1.0-new")

    def test_5_the_offline_root_signs_from_its_file_with_its_passphrase(self):
        keys = self.keys()
        form = {
            "devices": [self.device],
            "signer": keys["drawer"]["id"],
            "signerFile": str(case.DESK.dir / "stick" / "drawer.pem"),
            "passphrase": "wrong horse",
            "root": keys["drawer"]["id"],
            "releaseKeys": [keys["first"]["id"]],
        }
        self.assertEqual(self.invoke("change_keys", form=form)["bad"]["code"], "bad_passphrase")
        form["passphrase"] = PASSPHRASE
        jobs = self.invoke("change_keys", form=form)["good"]
        self.assertEqual(self.ended(jobs[0])["end"], "done")
        self.assertEqual(device_of(self.url)["trust"]["keys"], [keys["first"]["id"]])
        logs = [each for each in self.home.rglob("*") if each.is_file()]
        leaked = [each for each in logs if PASSPHRASE.encode() in each.read_bytes()]
        self.assertEqual(leaked, [], "the passphrase is in no file of the home")
