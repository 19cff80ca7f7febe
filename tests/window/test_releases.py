"""Releases: those that are refused, those that are made, the key that signs them."""

import hashlib
import shutil
import struct

import case
from case import WindowTest, device_of
from harness import FIXTURES, css
from webdriver import ENTER


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
        case.DESK.drag("enter", [path])
        self.find("dropOverlay", '[data-kind="refuse"]')
        case.DESK.drag("drop", [path])
        code = self.find("errorCode").text
        for button in self.all("noticeDismiss"):
            button.click()
        self.gone("notice")
        return code

    def test_a_release_signed_by_an_unknown_key_is_refused(self):
        key = case.DESK.dir / "stranger.pem"
        case.DESK.airlift(self.home, "key", "new", key)
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
        case.DESK.drop(self.pack("other", "another-product", "3.0.0", 30))
        self.wait_text("notice", "3.0.0")
        self.choose_release("3.0.0")
        off = self.row(self.device).find(css("deviceOff"))
        self.assertIn("product", off.property("textContent"))
        self.assertEqual(self.row(self.device).all(css("deviceUpdate")), [])

    def in_the_library(self, path, version):
        """Drops a release and returns its id."""
        case.DESK.drop(path)

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
        image = case.DESK.dir / "s3.bin"
        image.write_bytes(resealed((FIXTURES / "demo-1.1.0.bin").read_bytes(), chip=9))
        path = self.pack("chip", self.product, "3.2.0", 32, app=image)
        release = self.in_the_library(path, "3.2.0")
        self.assertEqual(self.start(release), ("failed", "wrong_chip"))

    def test_the_app_refuses_what_is_too_big_for_the_slot_by_itself(self):
        image = case.DESK.dir / "big.bin"
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
        case.DESK.drop(high)
        self.wait_text("notice", "8.1.0")
        case.DESK.drop(low)
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
        web = case.DESK.dir / "web"
        shutil.copytree(FIXTURES / "files" / "1.1.0", web)
        cls.paths = [FIXTURES / "demo-1.1.0.bin", web]

    def test_an_image_and_a_folder_become_a_signed_release(self):
        case.DESK.drag("enter", self.paths)
        self.wait_text("dropSentence", "New release from demo-1.1.0.bin and web/")
        case.DESK.drag("drop", self.paths)
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
        case.DESK.airlift(self.home, "inspect", path)

    def test_a_damaged_image_is_a_problem_of_the_app_and_cannot_be_signed(self):
        image = bytearray(self.paths[0].read_bytes())
        image[len(image) // 2] ^= 1
        path = case.DESK.dir / "damaged.bin"
        path.write_bytes(image)
        case.DESK.drop(path)
        self.find("sheet")
        self.assertIn("damaged", self.find("sheetProblem", '[data-field="app"]').text)
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        self.find("sheetClose").click()
        self.gone("sheet")

    def test_a_problem_is_shown_at_the_field_that_causes_it(self):
        case.DESK.drop(*self.paths)
        self.find("sheet")
        product = self.find("sheetProduct")
        product.clear()
        product.type("Not A Product")
        self.find("sheetProblem", '[data-field="product"]')
        self.assertEqual(self.find("sheetSubmit").attribute("aria-disabled"), "true")
        self.find("sheetClose").click()
        self.gone("sheet")


class FirstKey(WindowTest):
    """A new release where there is no key yet."""

    def test_the_sheet_makes_a_key_and_insists_on_a_copy(self):
        case.DESK.drop(FIXTURES / "demo-1.1.0.bin", FIXTURES / "files" / "1.1.0")
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
