"""The real window, driven as a person would: sentences about what it shows and what it does.

    tests/window/run.sh APP CLI [TEST...]

What a device runs is asked of the device itself, over plain HTTP, past the app.
"""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tarfile
import time
import unittest
import urllib.request

from harness import FIXTURES, T, Desk, css, get_json
from webdriver import ARROW_DOWN, CONTROL, ENTER, ESCAPE, SPACE

APP, CLI = None, None
DESK = None

# An update of a virtual device takes a few seconds; a busy machine may need many times as long.
UPDATE_SECONDS = 180


class WindowTest(unittest.TestCase):
    """A window on a home of its own, kept open for all tests of the class."""

    args = ()

    @classmethod
    def setUpClass(cls):
        cls.home = DESK.dir / cls.__name__
        cls.home.mkdir()
        cls.prepare()
        cls.window = DESK.open(cls.home, cls.args)
        try:
            cls.arrange()
        except BaseException:
            DESK.picture(DESK.dir / f"{cls.__name__}.png")
            DESK.close()
            raise

    @classmethod
    def tearDownClass(cls):
        DESK.close()

    @classmethod
    def prepare(cls):
        """What is there before the window opens."""

    @classmethod
    def arrange(cls):
        """What is done in the window before the first test."""

    # What is on the screen.

    @classmethod
    def find(cls, name, more="", seconds=10):
        """An element by its test id, as soon as it is there."""
        return cls.window.find(css(name, more), seconds)

    @classmethod
    def all(cls, name, more=""):
        """All elements of a test id."""
        return cls.window.all(css(name, more))

    @classmethod
    def wait(cls, condition, what, seconds=10):
        """Waits for something about the page."""
        return cls.window.wait(condition, what, seconds)

    @classmethod
    def wait_text(cls, name, part, seconds=10):
        """Waits for an element whose text contains something, and returns it."""

        def found():
            return next((each for each in cls.all(name) if part in each.text), None)

        try:
            return cls.wait(found, f"{T[name]} with “{part}”", seconds)
        except AssertionError as error:
            texts = [each.text for each in cls.all(name)]
            raise AssertionError(f"{error}; there is {texts}") from None

    @classmethod
    def gone(cls, name, seconds=10):
        """Waits until no element of a test id is left."""
        cls.wait(lambda: not cls.all(name), f"an end of {T[name]}", seconds)

    @classmethod
    def show(cls, view):
        """Goes to a view by the sidebar."""
        cls.find(f"nav{view}").click()

    # Devices and releases.

    @classmethod
    def snapshot(cls):
        """What the app tells the page."""
        return cls.window.run("return window.__TAURI_INTERNALS__.invoke('snapshot')")

    @classmethod
    def row(cls, device, more="", seconds=10):
        """The row of a device."""
        return cls.find("deviceRow", f'[data-device="{device}"]{more}', seconds)

    @classmethod
    def try_virtual_devices(cls):
        """Clicks the button of the first start; returns id and base URL of each device."""
        cls.find("tryVirtual").click()
        cls.wait(lambda: len(cls.all("deviceRow")) >= 2, "two devices", 60)
        return cls.virtual_devices(2)

    @classmethod
    def virtual_devices(cls, count):
        """Id and base URL of the app's virtual devices, once so many are online."""

        def online():
            devices = [each for each in cls.snapshot()["devices"] if each["simulated"]]
            return len(devices) == count and all(each["online"] for each in devices) and devices

        devices = cls.wait(online, f"{count} virtual devices online", 60)
        return {each["id"]: f"http://{each['address']}" for each in devices}

    @classmethod
    def pack(cls, name, product, version, sequence, key=None, app="demo-1.1.0.bin", files="1.1.0"):
        """Makes a release file with the command line."""
        path = DESK.dir / f"{cls.__name__}-{name}.airlift"
        args = ["pack", "--product", product, "--version", version, "--sequence", sequence]
        args += ["--key", key or cls.signing_key(), "-o", path]
        if app:
            # An absolute path stays as it is.
            args += ["--app", FIXTURES / app]
        if files:
            args += ["--files", FIXTURES / "files" / files]
        DESK.airlift(cls.home, *args)
        return path

    @classmethod
    def signing_key(cls):
        """The private key in the home."""
        keys = [path for path in (cls.home / "keys").glob("*.pem") if ".pub." not in path.name]
        if len(keys) != 1:
            raise AssertionError(f"one private key is expected, not {keys}")
        return keys[0]

    @classmethod
    def simulate(cls, *options, product, count=1):
        """Starts devices of the command line that trust a new key; returns the process.

        They are a process of their own: the window can be killed and they go on, and they die when
        a test wants it.
        """
        cls.key = DESK.dir / f"{product}.pem"
        DESK.airlift(cls.home, "key", "new", cls.key)
        trust = cls.key.with_suffix(".pub.pem")
        DESK.airlift(cls.home, "key", "trust", trust)
        cls.product = product
        command = [CLI, "simulate", "--dir", DESK.dir / product, "--count", count]
        command += ["--trust", trust, "--product", product, *options]
        return DESK.start(product, command, env=DESK.environment(cls.home))

    @classmethod
    def simulated(cls, seconds=30):
        """Id and base URL of the one device of `simulate`, once it is online."""
        row = cls.find("deviceRow", '[data-online="true"]', seconds)
        cls.device = row.attribute("data-device")
        cls.url = f"http://{cls.known(cls.device)['address']}"

    @classmethod
    def known(cls, device):
        """What the app knows of a device."""
        return next(each for each in cls.snapshot()["devices"] if each["id"] == device)

    @classmethod
    def update(cls, version):
        """Drops a new release and clicks Update in the device's row."""
        DESK.drop(cls.pack(version, cls.product, version, 2, key=cls.key))
        cls.wait_text("notice", version)
        cls.row(cls.device).find(css("deviceName")).click()
        cls.find("deviceUpdate", seconds=10).click()

    @classmethod
    def job(cls, device=None):
        """The newest job of a device."""
        device = device or cls.device
        jobs = [each for each in cls.snapshot()["jobs"] if each["device"] == device]
        return max(jobs, key=lambda each: each["id"], default=None)

    @classmethod
    def fetched(cls):
        """How many chunks of the newest job have been fetched."""
        job = cls.job()
        return sum(part["fetched"] for part in job["parts"]) if job else 0

    @classmethod
    def end_of_job(cls, seconds=UPDATE_SECONDS):
        """Waits until the pane shows the end of the job and returns the job."""
        cls.find("jobSummary", "[data-end]", seconds)
        return cls.job()

    @classmethod
    def choose_release(cls, version):
        """Picks a release in the head of the device list."""
        cls.find("releasePicker").click()
        cls.wait_text("releaseOption", version).click()


def device_of(url):
    """What a device says about itself."""
    return get_json(f"{url}/v1/device")


def resealed(image, chip=None, more=0):
    """An ESP image for another chip, or with a segment of zeros more, valid again.

    Layout: 24 bytes of header (segment count at 1, chip at 12), segments (address, size, data),
    padding whose last byte is a checksum over the data (zeros do not change it), a SHA-256 of all
    of it (ESP-IDF Programming Guide, "App image format").
    """
    body = bytearray(image[:-32])
    if chip is not None:
        body[12:14] = struct.pack("<H", chip)
    if more:
        end = 24
        for _ in range(body[1]):
            end += 8 + struct.unpack_from("<I", body, end + 4)[0]
        checksum = body[-1]
        body = body[:end] + struct.pack("<II", 0x3FC80000, more) + bytes(more)
        body[1] += 1
        body += bytes(15 - len(body) % 16) + bytes([checksum])
    return bytes(body) + hashlib.sha256(body).digest()


class FirstStart(WindowTest):
    """An empty home."""

    def test_the_window_has_its_title(self):
        self.assertEqual(self.window.title, "Airlift")

    def test_three_lines_and_two_buttons_say_how_to_begin(self):
        first = self.find("firstStart")
        self.assertEqual(len(first.all("p")), 3)
        buttons = [button.text for button in first.all("button")]
        self.assertEqual(
            buttons, ["Drop a release, or choose a file…", "Try with two virtual devices"]
        )

    def test_the_content_security_policy_is_in_force_and_the_page_keeps_it(self):
        # Listens for violations, then proves that it would hear one.
        self.window.run(
            """window.violations = [];
            document.addEventListener('securitypolicyviolation', (event) =>
                window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));"""
        )
        for view in ("Releases", "History", "Settings", "Devices"):
            self.show(view)
            self.window.run("return new Promise(requestAnimationFrame)")
        self.assertEqual(self.window.run("return window.violations"), [])
        self.window.run(
            """const script = document.createElement('script');
            script.textContent = 'window.inlineRan = true';
            document.head.append(script);
            const style = document.createElement('div');
            style.innerHTML = '<p style="color: red">';
            document.body.append(style);
            style.remove();
            return fetch('http://127.0.0.1:1/').catch(() => null).then(() => undefined);"""
        )
        heard = self.wait(
            lambda: len(self.window.run("return window.violations")) >= 3
            and self.window.run("return window.violations"),
            "three violations that are made on purpose",
        )
        directives = {each.split()[0] for each in heard}
        self.assertEqual(directives, {"script-src-elem", "style-src-attr", "connect-src"})
        self.assertIsNone(self.window.run("return window.inlineRan ?? null"))

    def test_its_styles_are_applied(self):
        # A policy that blocks the style sheet would leave the browser's own margins.
        margin = self.window.run("return getComputedStyle(document.body).margin")
        self.assertEqual(margin, "0px")
        self.assertGreater(self.window.run("return document.styleSheets.length"), 0)

    def test_the_page_holds_no_global_door_to_the_shell(self):
        self.assertTrue(self.window.run("return window.__TAURI__ === undefined"))

    def test_a_command_that_is_not_granted_is_refused(self):
        for command in ("plugin:event|emit", "plugin:window|close", "plugin:dialog|message"):
            said = self.window.run(
                """return window.__TAURI_INTERNALS__.invoke(arguments[0], {})
                    .then(() => 'granted', (refusal) => String(refusal))""",
                command,
            )
            self.assertIn("not allowed", said, command)

    def test_the_window_does_not_leave_its_own_page(self):
        self.window.run("location.href = 'http://127.0.0.1:1/elsewhere'; return null")
        time.sleep(0.3)
        self.assertEqual(self.window.title, "Airlift")
        self.find("firstStart")

    def test_a_second_start_on_the_same_home_ends_and_leaves_the_first_alone(self):
        second = DESK.start("second", [APP], env=DESK.environment(self.home))
        self.assertEqual(second.popen.wait(30), 0)
        DESK.stop(second)
        self.find("firstStart")

    def test_what_cannot_be_used_is_refused_while_it_is_held_over_the_window(self):
        path = DESK.dir / "notes.txt"
        path.write_text("Buy milk.\n")
        DESK.drag("enter", [path])
        overlay = self.find("dropOverlay", '[data-kind="refuse"]')
        self.assertNotIn("undefined", overlay.text)
        DESK.drag("leave")
        self.gone("dropOverlay")
        self.assertEqual(self.all("notice"), [])


class UpdateOfTwoDevices(WindowTest):
    """The main job: two devices appear, a release is dropped, a click updates both."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()
        cls.before = {each: device_of(url) for each, url in cls.devices.items()}
        product = next(iter(cls.before.values()))["product"]
        sequence = 1 + max(
            [each["sequence"] for each in cls.snapshot()["releases"]]
            + [each["running"]["sequence"] for each in cls.before.values()]
        )
        cls.version = "9.1.0-window"
        cls.release = cls.pack("dropped", product, cls.version, sequence)
        DESK.drag("enter", [cls.release])
        cls.held = cls.wait_text("dropSentence", cls.version).text
        DESK.drag("over")
        DESK.drag("drop", [cls.release])
        cls.gone("dropOverlay")
        cls.notice = cls.wait_text("notice", cls.version).text
        cls.choose_release(cls.version)
        for device in cls.devices:
            cls.row(device).find(css("deviceCheck")).click()
        cls.button = cls.find("updateSelected").text
        first = next(iter(cls.devices))
        cls.row(first).find(css("deviceName")).click()
        cls.find("updateSelected").click()
        cls.filled = []
        cls.wait(cls.ended, "the end of both jobs", UPDATE_SECONDS)
        cls.find("jobSummary", "[data-end]")
        cls.announced = cls.find("announcer").property("textContent")
        cls.jobs = {each["device"]: each for each in cls.snapshot()["jobs"]}
        cls.after = {each: device_of(url) for each, url in cls.devices.items()}

    @classmethod
    def ended(cls):
        """Watches the chunk map while the jobs run."""
        for each in cls.all("chunkMap"):
            cls.filled.append((int(each.attribute("data-done")), int(each.attribute("data-total"))))
        jobs = [each for each in cls.snapshot()["jobs"] if each["device"] in cls.devices]
        return len(jobs) == 2 and all(each["end"] for each in jobs)

    def select(self, device):
        """Shows a device's job in the pane."""
        self.row(device).find(css("deviceName")).click()
        self.wait_text("jobTitle", self.before[device]["name"])

    def test_what_is_held_over_the_window_is_named_before_it_is_let_go(self):
        product = next(iter(self.before.values()))["product"]
        self.assertEqual(self.held, f"Add release {product} {self.version}")

    def test_the_dropped_release_appears(self):
        self.assertIn("Added", self.notice)
        self.show("Releases")
        rows = [row.text for row in self.all("releaseRow")]
        self.assertTrue(any(self.version in row for row in rows), rows)
        self.show("Devices")

    def test_the_button_says_how_many_it_updates(self):
        self.assertEqual(self.button, "Update 2")

    def test_both_jobs_are_done(self):
        ends = {device: self.jobs[device]["end"] for device in self.devices}
        self.assertEqual(set(ends.values()), {"done"}, ends)

    def test_the_chunk_map_filled_and_every_chunk_was_read_back(self):
        self.assertTrue(any(0 < done < total for done, total in self.filled), self.filled[-5:])
        for device in self.devices:
            self.select(device)
            chunks = sum(part["chunks"] for part in self.jobs[device]["parts"])
            chart = self.find("chunkMap", f'[data-done="{chunks}"]')
            self.assertEqual(int(chart.attribute("data-total")), chunks)
            self.assertEqual(int(chart.attribute("data-read-back")), chunks)
            self.assertGreater(chunks, 40)

    def test_the_chunk_map_is_painted(self):
        self.select(next(iter(self.devices)))
        colours = self.window.run(
            """const canvas = document.querySelector(arguments[0]);
            const pixels = new Uint32Array(canvas.getContext('2d')
                .getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            return pixels.reduce((painted, pixel) => painted + (pixel ? 1 : 0), 0);""",
            css("chunkMap", " canvas"),
        )
        self.assertGreater(colours, 1000)

    def test_no_chunk_was_refused_and_each_was_kept_or_fetched(self):
        for device in self.devices:
            self.select(device)
            counts = self.find("jobCounts")
            self.assertEqual(counts.attribute("data-refused"), "0")
            kept, fetched = (int(counts.attribute(f"data-{each}")) for each in ("kept", "fetched"))
            chunks = sum(part["chunks"] for part in self.jobs[device]["parts"])
            self.assertEqual(kept + fetched, chunks)
            self.assertGreater(fetched, 0)

    def test_both_hashes_are_shown_and_match_in_words(self):
        for device in self.devices:
            self.select(device)
            expected = [each.attribute("data-hash") for each in self.all("hashExpected")]
            computed = [each.attribute("data-hash") for each in self.all("hashComputed")]
            self.assertEqual(len(expected), 2, "app and files")
            self.assertEqual(expected, computed)
            running = self.after[device]["running"]
            self.assertEqual(expected, [running["app_sha256"], running["files_sha256"]])
            for verdict in self.all("hashMatch"):
                self.assertEqual(verdict.attribute("data-verdict"), "match")
                self.assertTrue(verdict.text.strip())

    def test_the_job_ends_with_its_sentence(self):
        for device in self.devices:
            self.select(device)
            summary = self.find("jobSummary", '[data-end="done"]').text
            slot = self.after[device]["running"]["slot"]
            self.assertRegex(summary, f"^Running {self.version} from {slot}, confirmed .+ start\\.$")

    def test_every_phase_is_behind_it(self):
        self.select(next(iter(self.devices)))
        states = {
            each.attribute("data-phase"): each.attribute("data-state")
            for each in self.all("jobPhase")
        }
        self.assertEqual(list(states), ["preflight", "signature", "app", "files", "check", "switch", "confirm"])
        self.assertEqual(set(states.values()), {"past"}, states)

    def test_the_rows_say_the_new_version_and_that_it_is_up_to_date(self):
        for device in self.devices:
            row = self.row(device)
            version = self.wait_text_in(row, "deviceVersion", self.version)
            self.assertIn("up to date", version)
            slot = row.find(css("deviceSlot")).text
            self.assertEqual(slot, self.after[device]["running"]["slot"])

    def wait_text_in(self, row, name, part):
        """Waits for a text within a row."""
        found = lambda: part in row.find(css(name)).text
        self.wait(found, f"{part} in {T[name]}")
        return row.find(css(name)).text

    def test_the_devices_themselves_run_the_release_from_the_other_slot_confirmed(self):
        for device, url in self.devices.items():
            before, after = self.before[device]["running"], device_of(url)["running"]
            self.assertNotEqual(after["slot"], before["slot"])
            self.assertEqual(after["version"], self.version)
            self.assertEqual(after["state"], "valid")
            self.assertNotEqual(after["app_sha256"], before["app_sha256"])

    def test_the_history_has_a_row_for_each(self):
        self.show("History")
        self.find("historyRow")
        rows = [row for row in self.all("historyRow") if self.version in row.text]
        self.assertEqual([row.attribute("data-end") for row in rows], ["done", "done"])
        for device in self.before.values():
            self.assertTrue(any(device["name"] in row.text for row in rows), device["name"])
        self.show("Devices")

    def test_an_end_is_announced_to_screen_readers(self):
        self.assertIn(f"Running {self.version}", self.announced)


class Refusals(WindowTest):
    """Releases that must not be taken, each with its own code."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()
        cls.device, cls.url = next(iter(cls.devices.items()))
        cls.before = device_of(cls.url)
        cls.product = cls.before["product"]

    def drop_for_error(self, path):
        """Drops a file and returns the code of the error that comes up."""
        DESK.drag("enter", [path])
        self.find("dropOverlay", '[data-kind="refuse"]')
        DESK.drag("drop", [path])
        code = self.find("errorCode").text
        for button in self.all("noticeDismiss"):
            button.click()
        self.gone("notice")
        return code

    def test_a_release_signed_by_an_unknown_key_is_refused(self):
        key = DESK.dir / "stranger.pem"
        DESK.airlift(self.home, "key", "new", key)
        path = self.pack("unknown", self.product, "6.6.6", 66, key=key)
        self.assertEqual(self.drop_for_error(path), "unknown_key")
        self.assertNotIn("6.6.6", [each["version"] for each in self.snapshot()["releases"]])

    def test_a_release_with_one_flipped_bit_is_refused(self):
        path = self.pack("flipped", self.product, "6.6.7", 67)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        code = self.drop_for_error(path)
        self.assertIn(code, ("digest_mismatch", "bad_release", "part_mismatch", "bad_digest"))

    def test_a_release_with_a_broken_signature_is_refused(self):
        path = self.pack("signature", self.product, "6.6.8", 68)
        content = bytearray(path.read_bytes())
        # The envelope is the first file of the tar and ends with the signature.
        size = int(content[124:135], 8)
        content[512 + size - 1] ^= 1
        path.write_bytes(content)
        self.assertEqual(self.drop_for_error(path), "bad_signature")

    def test_a_release_of_another_product_cannot_be_chosen_for_the_device(self):
        DESK.drop(self.pack("other", "another-product", "3.0.0", 30))
        self.wait_text("notice", "3.0.0")
        self.choose_release("3.0.0")
        off = self.row(self.device).find(css("deviceOff"))
        self.assertIn("product", off.property("textContent"))
        self.assertEqual(self.row(self.device).all(css("deviceUpdate")), [])

    def in_the_library(self, path, version):
        """Drops a release and returns its id."""
        DESK.drop(path)

        def known():
            releases = self.snapshot()["releases"]
            return next((each["id"] for each in releases if each["version"] == version), None)

        return self.wait(known, f"{version} in the library")

    # What the row says is a courtesy of the page; these go past it.

    def test_the_app_refuses_another_product_by_itself(self):
        path = self.pack("forced", "yet-another-product", "3.1.0", 31)
        release = self.in_the_library(path, "3.1.0")
        self.assertEqual(self.start(release), ("failed", "wrong_product"))

    def test_the_app_refuses_another_chip_by_itself(self):
        image = DESK.dir / "s3.bin"
        image.write_bytes(resealed((FIXTURES / "demo-1.1.0.bin").read_bytes(), chip=9))
        path = self.pack("chip", self.product, "3.2.0", 32, app=image)
        release = self.in_the_library(path, "3.2.0")
        self.assertEqual(self.start(release), ("failed", "wrong_chip"))

    def test_the_app_refuses_what_is_too_big_for_the_slot_by_itself(self):
        image = DESK.dir / "big.bin"
        image.write_bytes(resealed((FIXTURES / "demo-1.1.0.bin").read_bytes(), more=2 << 20))
        path = self.pack("big", self.product, "3.3.0", 93, app=image)
        release = self.in_the_library(path, "3.3.0")
        self.assertEqual(self.start(release), ("failed", "too_big"))

    def start(self, release):
        """Starts a job past the page; returns how it was refused."""
        said = self.window.run(
            """return window.__TAURI_INTERNALS__.invoke('start_update',
                {devices: [arguments[0]], release: arguments[1], retry: false})
                .then((jobs) => ({jobs}), (error) => ({error}))""",
            self.device,
            release,
        )
        if "error" in said:
            return "failed", said["error"]["code"]
        job = said["jobs"][0]

        def ended():
            jobs = [each for each in self.snapshot()["jobs"] if each["id"] == job]
            return jobs and jobs[0]["end"] and jobs[0]

        job = self.wait(ended, "the end of the job", 60)
        return job["end"], (job["error"] or {}).get("code")

    def test_a_lower_sequence_is_refused(self):
        high = self.pack("high", self.product, "8.1.0", 81)
        low = self.pack("low", self.product, "8.0.0", 80, app="demo-1.0.0.bin", files="1.0.0")
        DESK.drop(high)
        self.wait_text("notice", "8.1.0")
        DESK.drop(low)
        self.wait_text("notice", "8.0.0")
        ids = {each["version"]: each["id"] for each in self.snapshot()["releases"]}
        self.assertEqual(self.start(ids["8.1.0"]), ("done", None))
        self.assertEqual(self.start(ids["8.0.0"]), ("failed", "lower_sequence"))
        running = device_of(self.url)["running"]
        self.assertEqual((running["version"], running["sequence"]), ("8.1.0", 81))

    def test_after_all_refusals_the_other_device_runs_what_it_ran(self):
        other = [url for device, url in self.devices.items() if device != self.device][0]
        self.assertEqual(device_of(other)["running"]["version"], self.before["running"]["version"])


class NewRelease(WindowTest):
    """The sheet that opens when an image and a folder are dropped."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()
        cls.count = len(cls.snapshot()["releases"])
        web = DESK.dir / "web"
        shutil.copytree(FIXTURES / "files" / "1.1.0", web)
        cls.paths = [FIXTURES / "demo-1.1.0.bin", web]

    def test_an_image_and_a_folder_become_a_signed_release(self):
        DESK.drag("enter", self.paths)
        self.wait_text("dropSentence", "New release from demo-1.1.0.bin and web/")
        DESK.drag("drop", self.paths)
        sheet = self.find("sheet")
        self.assertIn("ESP32-C3", sheet.text)
        self.assertIn("demo-1.1.0.bin", sheet.text)
        product, version = self.find("sheetProduct"), self.find("sheetVersion")
        sequence = int(self.find("sheetSequence").property("value"))
        known = [
            each["sequence"]
            for each in self.snapshot()["releases"]
            if each["product"] == product.property("value")
        ]
        self.assertEqual(sequence, max(known, default=0) + 1)
        self.assertEqual(version.property("value"), "1.1.0", "the descriptor's version is offered")
        version.clear()
        version.type("4.2.0-sheet" + ENTER)
        self.gone("sheet", 30)
        self.wait_text("notice", "4.2.0-sheet")
        releases = self.snapshot()["releases"]
        self.assertEqual(len(releases), self.count + 1)
        made = next(each for each in releases if each["version"] == "4.2.0-sheet")
        self.assertEqual((made["app"]["kind"], made["files"]["kind"]), ("carried", "carried"))
        self.assertEqual(made["chip"], "esp32c3")
        path = self.home / "releases" / f"{made['id']}.airlift"
        self.assertTrue(path.is_file())
        DESK.airlift(self.home, "inspect", path)

    def test_a_damaged_image_is_a_problem_of_the_app_and_cannot_be_signed(self):
        image = bytearray(self.paths[0].read_bytes())
        image[len(image) // 2] ^= 1
        path = DESK.dir / "damaged.bin"
        path.write_bytes(image)
        DESK.drop(path)
        self.find("sheet")
        self.assertIn("damaged", self.find("sheetProblem", '[data-field="app"]').text)
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        self.find("sheetClose").click()
        self.gone("sheet")

    def test_a_problem_is_shown_at_the_field_that_causes_it(self):
        DESK.drop(*self.paths)
        self.find("sheet")
        product = self.find("sheetProduct")
        product.clear()
        product.type("Not A Product")
        self.find("sheetProblem", '[data-field="product"]')
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        self.find("sheetClose").click()
        self.gone("sheet")


class OfflineDevice(WindowTest):
    """A device that dies while the window is open."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate(product="offline")

    @classmethod
    def arrange(cls):
        cls.simulated()

    def test_a_device_that_dies_is_greyed_within_ten_seconds_and_stays(self):
        DESK.stop(self.simulation, sent=signal.SIGKILL)
        grey = self.row(self.device, '[data-online="false"]', seconds=10)
        self.assertIn("off", (grey.attribute("class") or "").split())


class FirstKey(WindowTest):
    """A new release where there is no key yet."""

    def test_the_sheet_makes_a_key_and_insists_on_a_copy(self):
        DESK.drop(FIXTURES / "demo-1.1.0.bin", FIXTURES / "files" / "1.1.0")
        sheet = self.find("sheet")
        self.assertIn("USB", sheet.text, "what losing the key means")
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        self.find("sheetMakeKey").click()
        self.find("sheetSaveKey", seconds=20)
        self.find("sheetProblem", '[data-field="key"]')
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        key = self.signing_key()
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.find("sheetClose").click()
        self.gone("sheet")


class CommandLineToo(WindowTest):
    """The command line works on the same home while the window is open."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate(product="shared")

    @classmethod
    def arrange(cls):
        cls.simulated()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def test_an_update_by_the_command_line_shows_in_the_window(self):
        release = self.pack("cli", self.product, "2.0.0", 2, key=self.key)
        done = DESK.airlift(self.home, "update", release, "--device", self.device, "--json")
        last = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual((last["event"], last["end"]), ("job", "done"))
        row = self.row(self.device)
        self.wait(lambda: "2.0.0" in row.find(css("deviceVersion")).text, "the new version", 20)
        self.show("History")
        self.wait(
            lambda: any("2.0.0" in each.text for each in self.all("historyRow")), "its row", 20
        )
        self.show("Devices")

    def test_the_command_line_lists_the_device_while_the_window_is_open(self):
        done = DESK.airlift(self.home, "devices", "--json", "--wait", 5)
        devices = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertIn(self.device, [each["id"] for each in devices])


class HostileNetwork(WindowTest):
    """One arrival in twenty has a flipped bit, one in a hundred breaks the connection."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate("--flips", 5, "--loss", 1, product="hostile")

    @classmethod
    def arrange(cls):
        cls.simulated()
        cls.update("2.0.0")
        cls.ended = cls.end_of_job()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def test_the_update_is_done_all_the_same(self):
        self.assertEqual(self.ended["end"], "done", self.ended)
        running = device_of(self.url)["running"]
        self.assertEqual((running["version"], running["state"]), ("2.0.0", "valid"))

    def test_refused_chunks_are_counted_and_shown_with_both_hashes(self):
        counted = int(self.find("jobCounts").attribute("data-refused"))
        self.assertGreater(counted, 0)
        self.assertIn(f"refused {counted}", self.find("jobCounts").text)
        self.find("pane", ' [data-tab="refused"]').click()
        rows = self.find("refusedList").all("tbody tr")
        self.assertEqual(len(rows), min(counted, 50))
        for row in rows:
            expected, computed = (each.attribute("title") for each in row.all(".hash"))
            self.assertRegex(expected + computed, "^[0-9a-f]{128}$")
            self.assertNotEqual(expected, computed)
        self.find("pane", ' [data-tab="chunks"]').click()


class RolledBack(WindowTest):
    """A version that starts and never confirms."""

    @classmethod
    def prepare(cls):
        options = ["--never-confirms", "6.0.0", "--confirm-within", 2]
        cls.simulation = cls.simulate(*options, product="rolled-back")

    @classmethod
    def arrange(cls):
        cls.simulated()
        cls.before = device_of(cls.url)["running"]
        cls.update("6.0.0")
        cls.ended = cls.end_of_job()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def test_the_job_says_that_it_went_back_and_why(self):
        self.assertEqual(self.ended["end"], "rolled_back")
        summary = self.find("jobSummary", '[data-end="rolled_back"]').text
        self.assertRegex(summary, r"^Went back to .+ did not confirm .+\.$")

    def test_the_device_runs_what_it_ran(self):
        after = device_of(self.url)
        for field in ("slot", "app_sha256", "files_sha256", "version"):
            self.assertEqual(after["running"].get(field), self.before.get(field), field)
        self.assertEqual(after["last_update"]["end"], "rolled_back")

    def test_it_is_offered_again_only_as_a_retry(self):
        self.assertEqual(self.row(self.device).attribute("data-offer"), "again")
        self.assertEqual(self.row(self.device).find(css("deviceUpdate")).text, "Retry")

    def test_the_history_says_rolled_back(self):
        self.show("History")
        self.find("historyRow", '[data-end="rolled_back"]')
        self.show("Devices")


class Unfit(WindowTest):
    """A version whose own check fails."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate("--fails-check", "6.1.0", product="unfit")

    @classmethod
    def arrange(cls):
        cls.simulated()
        cls.update("6.1.0")
        cls.ended = cls.end_of_job()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def test_the_job_says_what_the_check_said(self):
        self.assertEqual(self.ended["end"], "rolled_back")
        summary = self.find("jobSummary", '[data-end="rolled_back"]').text
        words = "6.1.0 was on trial, and its own check said “sensor missing”."
        self.assertIn(words, summary)

    def test_the_device_keeps_it(self):
        last = device_of(self.url)["last_update"]
        self.assertEqual((last["cause"], last["detail"]), ("health_check", "sensor missing"))
        self.find("pane", ' [data-tab="device"]').click()
        said = self.find("deviceCause").text
        self.assertIn("its own check failed: “sensor missing”", said)


class OldRelease(WindowTest):
    """Somebody offers an old release to a device that wants to be told the newest."""

    SECRET = "correct horse battery"

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate("--require-fresh", product="stale")
        # The window has the key, and does not have its passphrase.
        name = str(cls.home / "keys" / "signer.pem")
        seal = ["openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", f"pass:{cls.SECRET}"]
        subprocess.run([*seal, "-in", str(cls.key), "-out", name], check=True, capture_output=True)
        shutil.copy(cls.key.with_suffix(".pub.pem"), cls.home / "keys" / "signer.pub.pem")

    @classmethod
    def arrange(cls):
        cls.simulated()
        cls.old = cls.pack("old", cls.product, "7.0.0", 2, key=cls.key)
        for path in (cls.old, cls.pack("new", cls.product, "7.1.0", 3, key=cls.key)):
            DESK.drop(path)
            cls.wait_text("notice", "7.0.0" if path == cls.old else "7.1.0")
        with tarfile.open(cls.old) as release:
            envelope = release.extractfile("manifest.cose").read()
        head = {"Content-Type": "application/cose"}
        request = urllib.request.Request(f"{cls.url}/v1/update", envelope, head)
        with urllib.request.urlopen(request, timeout=30) as answer:
            cls.refusal = json.loads(answer.read().splitlines()[-1])

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def test_1_the_device_refuses_it_and_its_row_warns(self):
        self.assertEqual(self.refusal["code"], "freshness_required")
        self.wait(lambda: self.all("deviceStale"), "a warning in the row", 30)
        self.assertEqual(self.row(self.device).attribute("data-offer"), "off")
        self.assertIn("key not open", self.find("deviceOff").text)

    def test_2_the_details_say_who_offered_what_and_what_is_the_newest(self):
        self.row(self.device).find(css("deviceName")).click()
        said = self.find("staleOffer").text
        self.assertIn("127.0.0.1 offered it 7.0.0 (sequence 2)", said)
        self.assertIn("The newest one here is 7.1.0 (sequence 3).", said)

    def test_3_with_the_key_open_the_newest_is_sent(self):
        self.find("openKey").click()
        self.find("unlockPassphrase").type("wrong")
        self.find("unlockSubmit").click()
        self.wait_text("errorCode", "bad_passphrase", 30)
        self.find("unlockPassphrase").type(self.SECRET)
        self.find("unlockSubmit").click()
        self.gone("unlockKey", 30)
        self.row(self.device, '[data-offer="update"]').find(css("deviceUpdate")).click()
        self.assertEqual(self.end_of_job()["end"], "done")
        running = device_of(self.url)
        self.assertEqual(running["running"]["version"], "7.1.0")
        self.assertTrue(running["freshness"]["required"])


class SlowDevice(WindowTest):
    """An update that takes long enough to be interrupted."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate("--rate", 40_000, product="slow")

    @classmethod
    def arrange(cls):
        cls.simulated()
        cls.version = 0

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)

    def start(self, version):
        """Starts an update and waits until some chunks have arrived."""
        self.update(version)
        self.wait(lambda: 5 < self.fetched(), "some chunks", 60)

    def test_1_while_it_runs_the_row_shows_progress_rate_and_cancel(self):
        self.start("2.0.0")
        row = self.row(self.device)
        self.assertEqual(row.find(css("deviceCancel")).text, "Cancel")
        self.assertRegex(row.find(css("deviceVersion")).text, r"\d+/58\s+chunks")
        self.wait(lambda: "KB/s" in row.find(css("deviceVersion")).text, "a rate")

    def test_2_cancel_stops_between_chunks_and_the_old_version_goes_on(self):
        self.find("deviceCancel").click()
        job = self.end_of_job(30)
        self.assertEqual(job["end"], "cancelled")
        device = device_of(self.url)
        self.assertEqual((device["updater"]["state"], device["running"]["slot"]), ("idle", "factory"))

    def test_3_a_window_that_is_killed_and_opened_again_goes_on_with_the_job(self):
        self.find("deviceUpdate").click()
        self.wait(lambda: self.fetched() > 5, "some chunks", 60)
        had = self.fetched()
        DESK.close(kill=True)
        type(self).window = DESK.open(self.home)
        self.row(self.device).find(css("deviceName")).click()
        job = self.end_of_job()
        self.assertEqual(job["end"], "done", job)
        self.assertEqual(device_of(self.url)["running"]["version"], "2.0.0")
        kept = sum(part["kept"] for part in job["parts"])
        self.assertGreaterEqual(sum(part["fetched"] for part in job["parts"]) + kept, had)
        self.assertEqual(len(self.snapshot()["jobs"]), 2, "no job was started twice")


class Notifications(WindowTest):
    """What the system is told while nobody looks at the window."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate(product="told")
        command = ["dbus-monitor", "--session", "member='Notify'"]
        cls.monitor = DESK.start("notify", command)

    @classmethod
    def arrange(cls):
        cls.simulated()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        DESK.stop(cls.simulation)
        DESK.stop(cls.monitor)

    def told(self):
        """What the session bus has heard."""
        return (DESK.dir / "notify.log").read_text()

    def test_the_end_of_a_job_is_told_to_the_system_if_the_settings_say_so(self):
        # The pointer is beside the window, which without a window manager means no focus.
        name = self.known(self.device)["name"]
        self.update("2.0.0")
        self.assertEqual(self.end_of_job()["end"], "done")
        self.wait(lambda: f"{name}: updated" in self.told(), "a notification", 15)
        self.assertIn("Running 2.0.0 from ota_0", self.told())


class Keyboard(WindowTest):
    """Without a mouse."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()

    def focused(self):
        """Test id of what has the focus."""
        return self.window.run("return document.activeElement?.dataset.testid ?? null")

    def test_views_have_numbers_and_the_search_has_a_key(self):
        for number, view in ((2, "Releases"), (3, "History"), (4, "Settings"), (1, "Devices")):
            self.window.keys((CONTROL, str(number)))
            self.find(f"nav{view}", '[aria-current="page"]')
        self.window.keys((CONTROL, "k"))
        self.wait(lambda: self.focused() == T["search"], "the focus in the search")

    def test_the_main_job_needs_no_mouse(self):
        self.window.keys((CONTROL, "k"))
        self.wait(lambda: self.focused() == T["search"], "the focus in the search")
        self.window.keys(ARROW_DOWN)
        self.wait(lambda: self.focused() == T["deviceRow"], "the focus in the list")
        self.window.keys(SPACE, ARROW_DOWN, SPACE)
        checked = lambda: [each for each in self.all("deviceCheck") if each.property("checked")]
        self.wait(lambda: len(checked()) == 2, "two checked devices")
        self.assertEqual(self.find("updateSelected").text, "Update 2")

    def test_escape_closes_a_dialog_and_gives_the_focus_back(self):
        self.find("addDevice").click()
        self.find("addDeviceAddress")
        self.window.keys(ESCAPE)
        self.gone("addDeviceAddress")
        self.assertEqual(self.focused(), T["addDevice"])


class Themes(WindowTest):
    """Light and dark."""

    def background(self):
        """Colour behind everything, as red, green, blue."""
        colour = self.window.run("return getComputedStyle(document.body).backgroundColor")
        return [int(each) for each in colour.strip("rgba()").split(",")[:3]]

    def choose(self, theme):
        """Chooses a theme in the settings."""
        self.show("Settings")
        self.find("settingsTheme", f' input[value="{theme}"]').click()
        self.wait(lambda: self.snapshot()["settings"]["theme"] == theme, f"theme {theme}")

    def test_the_dark_theme_is_dark_and_the_light_one_light(self):
        self.choose("dark")
        self.wait(lambda: max(self.background()) < 64, "a dark background")
        self.choose("light")
        self.wait(lambda: min(self.background()) > 192, "a light background")

    def test_the_choice_is_there_again_after_a_reload(self):
        self.choose("dark")
        self.window.reload()
        self.wait(lambda: max(self.background()) < 64, "a dark background")
        self.choose("light")


class Restart(WindowTest):
    """What is there again when the window is opened again."""

    args = ("--try-virtual-devices",)

    @classmethod
    def arrange(cls):
        cls.devices = cls.virtual_devices(2)

    def test_the_argument_starts_two_virtual_devices(self):
        self.assertEqual(len(self.devices), 2)
        for url in self.devices.values():
            self.assertEqual(device_of(url)["running"]["state"], "valid")

    def test_a_reload_of_the_page_shows_the_same_devices(self):
        self.window.reload()
        for device in self.devices:
            self.row(device)


class OpenedAgain(WindowTest):
    """What is there again at the next start."""

    @classmethod
    def prepare(cls):
        # As an orderly end leaves it.
        state = {"width": 930, "height": 640, "x": 0, "y": 0, "prev_x": 0, "prev_y": 0}
        state |= {"maximized": False, "visible": True, "decorated": True, "fullscreen": False}
        (cls.home / "window.json").write_text(json.dumps({"main": state}))
        key = DESK.dir / "again.pem"
        DESK.airlift(cls.home, "key", "new", key)
        DESK.airlift(cls.home, "key", "trust", key.with_suffix(".pub.pem"))
        cls.release = cls.pack("again", "again", "1.0.0-again", 1, key=key)

    def test_the_window_has_the_size_that_it_had(self):
        size = lambda: self.window.run("return [innerWidth, innerHeight]")
        self.wait(lambda: size() == [930, 640], "the size of the last time")

    def test_releases_and_settings_are_kept(self):
        DESK.drop(self.release)
        self.wait_text("notice", "1.0.0-again")
        self.show("Settings")
        self.find("settingsNotify").click()
        self.wait(lambda: not self.snapshot()["settings"]["notify"], "no notifications")
        DESK.close()
        type(self).window = DESK.open(self.home)
        self.show("Releases")
        self.wait_text("releaseRow", "1.0.0-again")
        self.show("Settings")
        self.assertFalse(self.find("settingsNotify").property("checked"))


class Ending(unittest.TestCase):
    """Starts and ends without a driver."""

    def start(self, home, **more):
        """Starts the window and waits until it has put its drop socket up."""
        (DESK.dir / "drop").unlink(missing_ok=True)
        env = {**DESK.environment(home), "TAURI_WEBVIEW_AUTOMATION": "", **more}
        process = DESK.start("plain", [APP], env=env)
        end = time.monotonic() + 30
        while not (DESK.dir / "drop").exists():
            self.assertIsNone(process.popen.poll(), "it ended by itself")
            self.assertLess(time.monotonic(), end, "it did not start")
            time.sleep(0.05)
        return process

    def test_a_signal_ends_it_in_good_order(self):
        process = self.start(DESK.dir / "signal")
        process.popen.send_signal(signal.SIGTERM)
        self.assertEqual(process.popen.wait(20), 0)
        DESK.stop(process)
        locks = list((DESK.dir / "signal" / "run").iterdir())
        self.assertEqual(locks, [], "an orderly end leaves no lock behind")
        self.assertIn("width", (DESK.dir / "signal" / "window.json").read_text())

    def test_without_a_session_bus_it_starts_all_the_same(self):
        process = self.start(DESK.dir / "busless", DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere")
        DESK.stop(process)

    def test_the_version_is_printed_without_a_display(self):
        env = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
        done = subprocess.run([APP, "--version"], env=env, capture_output=True, text=True)
        self.assertRegex(done.stdout, r"^airlift-desktop \d+\.\d+\.\d+")
        self.assertEqual(done.returncode, 0)

    def test_an_unknown_argument_is_named_and_ends_with_2(self):
        done = subprocess.run([APP, "--fast"], capture_output=True, text=True)
        self.assertIn("--fast", done.stderr)
        self.assertEqual(done.returncode, 2)

    def test_a_database_of_a_newer_version_is_left_alone_and_said(self):
        home = DESK.dir / "newer"
        home.mkdir()
        with sqlite3.connect(home / "airlift.db") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA user_version = 999")
        database.close()
        before = (home / "airlift.db").read_bytes()
        process = DESK.start("newer", [APP], env=DESK.environment(home))
        try:
            end = time.monotonic() + 30
            log = home / "airlift.log"
            while not (log.exists() and "999" in log.read_text()):
                self.assertLess(time.monotonic(), end, "nothing is said")
                time.sleep(0.05)
            self.assertEqual((home / "airlift.db").read_bytes(), before)
        finally:
            DESK.stop(process)


class Sentences(unittest.TextTestResult):
    """Prints a line a test, keeps a picture of each failure, and counts."""

    def __init__(self, *args):
        super().__init__(*args)
        self.passed = 0

    def getDescription(self, test):
        name = getattr(test, "_testMethodName", str(test))
        words = name.removeprefix("test_").replace("_", " ")
        return f"{type(test).__name__}: {words}"

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.keep_picture(test)

    def addError(self, test, err):
        super().addError(test, err)
        self.keep_picture(test)

    def keep_picture(self, test):
        """A picture says what a stack trace does not."""
        name = "".join(each if each.isalnum() else "-" for each in test.id())[-80:]
        try:
            DESK.picture(DESK.dir / f"{name}.png")
        except (OSError, subprocess.SubprocessError) as error:
            print(f"no picture: {error}", file=sys.stderr)


def main():
    """Runs all tests, or those that are named (CLASS or CLASS.test)."""
    global APP, CLI, DESK
    APP, CLI = (os.path.abspath(each) for each in sys.argv[1:3])
    names = sys.argv[3:]
    loader = unittest.defaultTestLoader
    module = sys.modules[__name__]
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    DESK = Desk(APP, CLI)
    bad = True
    try:
        runner = unittest.TextTestRunner(
            stream=sys.stdout, verbosity=2, resultclass=Sentences, failfast=False
        )
        result = runner.run(suite)
        bad = not result.wasSuccessful()
        failed = len(result.failures) + len(result.errors)
        print(f"{result.passed} passed, {failed} failed")
        if bad:
            print(f"Logs and pictures: {DESK.dir}")
    finally:
        DESK.end(keep=bad)
    sys.exit(bad)


if __name__ == "__main__":
    main()
