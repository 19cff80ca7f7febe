"""Boards on USB: the window, and a board's ROM loader on a pseudo-terminal.

What was written is read from the board's flash file, past the app.
"""

import time
from pathlib import Path

import case
from board import OTADATA_SIZE, SECTOR, Board, wait_for
from case import WindowTest
from harness import FIXTURES, css

# A board that is slow to answer on a busy machine.
LOOK_SECONDS = 60
JOB_SECONDS = 180
PRODUCT = "usb-demo"
# Kinds of the journal that change the flash.
WRITES = ("erase", "write")


class UsbTest(WindowTest):
    """A window, a release of the library and a board that is named by hand."""

    boards = ("board",)
    options = ()

    @classmethod
    def prepare(cls):
        folder = case.DESK.dir / f"{cls.__name__}-ports"
        folder.mkdir()
        program = Path(case.CLI).with_name("airlift-rom-loader")
        cls.plugged = []
        for number, name in enumerate(cls.boards):
            mac = ("--mac", f"7c:df:a1:00:00:{number + 1:02x}")
            cls.plugged.append(Board(case.DESK, program, folder, name, *mac, *cls.options))
        cls.board = cls.plugged[0]
        case.DESK.variables = {
            "AIRLIFT_USB_PORTS": ":".join(str(each.port) for each in cls.plugged)
        }
        key = cls.home / "keys" / "workshop.pem"
        key.parent.mkdir()
        case.DESK.airlift(cls.home, "key", "new", key)
        case.DESK.airlift(cls.home, "key", "trust", key.with_suffix(".pub.pem"))
        cls.release = cls.pack("usb", PRODUCT, "1.1.0", 1, key=key)

    @classmethod
    def arrange(cls):
        case.DESK.drop(cls.release)
        cls.wait_text("notice", "1.1.0")
        cls.show("Usb")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for board in cls.plugged:
            board.end()
        case.DESK.variables = {}

    @classmethod
    def port(cls):
        """What the app says of the board's port."""
        path = str(cls.board.port)
        return next(each for each in cls.snapshot()["usbPorts"] if each["path"] == path)

    @classmethod
    def connect(cls):
        """Clicks Connect and waits until all of the flash was looked at."""
        cls.find("usbConnect").click()
        cls.gone("usbConnect")
        cls.looked()

    @classmethod
    def looked(cls):
        """Waits until all of the flash was looked at."""

        def done():
            port = cls.port()
            return port["activity"] == "connected" and port["diagnosis"]["complete"]

        cls.wait(done, "a full look at the flash", LOOK_SECONDS)
        cls.find("usbDiagnosis", '[data-complete="true"]')

    @classmethod
    def carry_out(cls):
        """Clicks the button of the plan and waits for the end of the job."""
        before = (cls.port()["job"] or {"id": 0})["id"]
        cls.find("usbCarryOut").click()

        def done():
            job = cls.port()["job"]
            return job and job["id"] > before and job["end"]

        end = cls.wait(done, "an end of the job", JOB_SECONDS)
        if end != "done":
            raise AssertionError(cls.port()["job"]["error"])
        cls.find("usbJobEnd", '[data-end="done"]')

    @classmethod
    def flash(cls):
        """Plans the release of the library as the sheet offers it."""
        cls.find("usbFlash").click()
        cls.find("flashSubmit").click()
        cls.gone("flashSheet", LOOK_SECONDS)
        cls.find("usbPlan", '[data-kind="flash"]', LOOK_SECONDS)


class BoardFromNothing(UsbTest):
    """A blank board: what it is, a first flash, its log, its Wi-Fi, a repair of otadata."""

    options = ("--improv", "workshop:correct horse")

    def test_1_the_port_is_listed_and_nothing_is_done_to_it(self):
        port = self.find("usbPort")
        self.assertEqual(port.attribute("data-port"), str(self.board.port))
        self.assertEqual(port.attribute("data-activity"), "idle")
        self.assertEqual(self.board.journal(), [])

    def test_2_connecting_says_what_the_board_is_and_that_it_is_blank(self):
        self.connect()
        facts = self.find("usbFacts").text
        for words in ("ESP32-C3", "7c:df:a1:00:00:01", "4 MiB", "nothing is locked"):
            self.assertIn(words, facts)
        self.find("usbDiagnosis", '[data-code="blank_flash"][data-verdict="foreign"]')
        written = [each for each in self.board.journal() if each["kind"] in WRITES]
        self.assertEqual(written, [], "looking changes nothing")

    def test_2_dropping_a_file_on_the_page_offers_to_flash_it(self):
        case.DESK.drag("enter", [self.release])
        self.assertIn("Flash", self.wait_text("dropSentence", self.release.name).text)
        case.DESK.drag("drop", [self.release])
        self.assertIn(self.release.name, self.find("flashSheet").text)
        self.window.keys(case.ESCAPE)
        self.gone("flashSheet")

    def test_3_a_flash_shows_its_plan_and_writes_what_it_says(self):
        self.flash()
        steps = {
            each.attribute("data-region"): int(each.attribute("data-bytes"))
            for each in self.all("usbPlanStep")
        }
        for region in ("bootloader", "partition table", "ota_0", "airlift", "vfs"):
            self.assertIn(region, steps)
        before = self.board.bytes()
        self.carry_out()
        flash = self.board.bytes()
        self.assertEqual(flash[0], 0xE9, "a bootloader")
        self.assertEqual(flash[0x8000:0x8002], b"\xaa\x50", "a partition table")
        app = (FIXTURES / "demo-1.1.0.bin").read_bytes()
        at, _ = self.board.partition("ota_0")
        self.assertEqual(flash[at : at + len(app)], app)
        self.assertLessEqual(len(self.board.changed(before)) * SECTOR, sum(steps.values()))
        self.find("usbDiagnosis", '[data-verdict="healthy"]')

    def test_4_what_was_flashed_on_what_is_listed(self):
        self.find("usbRecords").click()
        self.assertIn("7c:df:a1:00:00:01", self.find("usbRecord").text)
        self.window.keys(case.ESCAPE)
        self.gone("usbRecordsDialog")

    def test_5_its_log_is_shown_and_searched(self):
        self.find("usbLogOpen").click()
        self.find("usbLogStop").click()
        self.wait(lambda: self.port()["activity"] == "monitoring", "the monitor", 20)
        self.board.order("reset")
        self.wait_text("usbLogLine", "boot", 20)
        self.board.order("print E (512) sensor: no answer")
        self.board.order("print Guru Meditation Error: Core  0 panic'ed (Load access fault)")
        self.wait_text("usbLogLine", "sensor: no answer", 20)
        self.wait_text("usbLogLine", "Guru Meditation", 20)
        kinds = {each.attribute("data-kind") for each in self.all("usbLogLine")}
        self.assertLessEqual({"error", "panic", "reset"}, kinds)
        self.find("usbLogSearch").type("sensor")
        self.wait(lambda: len(self.all("usbLogLine")) == 1, "one line that matches")
        self.find("usbLogStop").click()
        self.wait(lambda: self.port()["activity"] == "idle", "an end of the monitor", 20)
        self.find("usbLogOpen").click()

    def test_6_a_network_is_sent_over_the_cable_and_the_address_comes_back(self):
        self.find("usbWifi").click()
        self.find("usbWifiSsid").type("workshop")
        self.find("usbWifiPassword").type("correct horse")
        self.find("usbWifiSend").click()
        self.assertIn("192.0.2.1", self.find("usbWifiAddress", seconds=60).text)
        self.window.keys(case.ESCAPE)
        self.gone("usbWifiDialog")
        said = (case.DESK.dir / f"app-{case.DESK.starts}.log").read_text(errors="replace")
        said += (self.home / "airlift.log").read_text()
        self.assertNotIn("correct horse", said, "a password stays out of logs")

    def test_7_a_board_that_cannot_be_reset_is_put_into_its_loader_by_hand(self):
        # It runs its application, and a pseudo-terminal has no lines to reset it by.
        self.find("usbConnect").click()
        hint = self.find("usbHoldBoot", seconds=30).text
        self.assertIn("Hold BOOT, press RESET", hint)
        self.find("usbAttention")
        self.board.order("download")
        self.gone("usbHoldBoot", LOOK_SECONDS)
        self.looked()

    def test_8_broken_otadata_is_mended_with_8_kib_and_nothing_else(self):
        at, size = self.board.partition("otadata")
        self.assertEqual(size, OTADATA_SIZE)
        self.find("usbStart").click()
        self.wait(lambda: self.port()["activity"] == "idle", "a port that is free", 20)
        self.board.end()
        self.board.damage(at, bytes(size))
        self.board.start("--mac", "7c:df:a1:00:00:01", *self.options)
        whole = self.board.bytes()
        self.connect()
        self.find("usbDiagnosis", '[data-code="otadata_lost"]')
        self.find("usbRegion", '[data-region="otadata"][data-health="damaged"]')
        plan = self.find("usbPlan", '[data-kind="repair"]', LOOK_SECONDS)
        self.assertEqual(plan.attribute("data-bytes"), "8192")
        self.assertEqual(self.find("usbCarryOut").text, "Repair: rewrite 8 KiB")
        self.carry_out()
        written = [each for each in self.board.journal() if each["kind"] in WRITES]
        for each in written:
            self.assertGreaterEqual(each["offset"], at)
            self.assertLessEqual(each["offset"] + each["length"], at + size)
        self.assertTrue(self.board.changed(whole))
        self.assertLessEqual(set(self.board.changed(whole)), {at, at + SECTOR})
        self.find("usbDiagnosis", '[data-verdict="healthy"]')

    def test_9_what_was_overwritten_is_put_back(self):
        at, size = self.board.partition("otadata")
        self.board.order("download")
        self.find("usbPutBack").click()
        self.find("usbPlan", '[data-kind="restore"]', LOOK_SECONDS)
        self.carry_out()
        self.assertEqual(self.board.bytes()[at : at + size], bytes(size))


class BoardThatIsUnplugged(UsbTest):
    """The cable is pulled in the middle of a flash, and put back."""

    options = ("--timing",)

    @classmethod
    def arrange(cls):
        super().arrange()
        cls.connect()
        cls.flash()

    def test_it_is_said_within_two_seconds_and_goes_on_when_it_is_back(self):
        self.find("usbCarryOut").click()
        self.find("usbJob", '[data-phase="write"]', 60)
        wait_for(lambda: (self.port()["job"] or {}).get("bytes", 0) > 65536, "some bytes", 60)
        self.board.order("unplug")
        pulled = time.monotonic()
        said = self.find("usbUnplugged", seconds=10)
        self.assertLess(time.monotonic() - pulled, 3, "two seconds, and one to look at the page")
        self.assertIn("Plug it back in", said.text)
        self.board.order("plug")
        self.gone("usbUnplugged", 30)
        self.find("usbJobEnd", '[data-end="done"]', JOB_SECONDS)
        app = (FIXTURES / "demo-1.1.0.bin").read_bytes()
        at, _ = self.board.partition("ota_0")
        self.assertEqual(self.board.bytes()[at : at + len(app)], app)


class LockedBoard(UsbTest):
    """Secure boot and flash encryption are on."""

    options = ("--secure-boot", "--flash-encryption")

    def test_it_is_refused_with_the_reason_and_nothing_is_written(self):
        self.find("usbConnect").click()
        refused = self.find("usbRefused", seconds=LOOK_SECONDS).text
        self.assertIn("secured", refused)
        self.assertEqual(self.find("usbFlash").attribute("aria-disabled"), "true")
        self.assertEqual([each for each in self.board.journal() if each["kind"] in WRITES], [])


class ThreeBoards(UsbTest):
    """Several boards at once, of which one has a bad sector."""

    boards = ("one", "two", "three")

    @classmethod
    def prepare(cls):
        super().prepare()
        cls.plugged[1].order("fault bad_sector=0x30000")

    def test_one_that_fails_does_not_stop_the_others(self):
        self.find("usbCheckAll").click()
        label = self.find("usbLabel")
        label.type("B-0021\t")
        self.find("usbFlash").click()
        self.find("flashSubmit").click()
        self.gone("flashSheet", JOB_SECONDS)
        self.wait_text("usbManyGo", "3 boards", LOOK_SECONDS).click()
        ended = lambda: len(self.all("usbManyRow", "[data-end]")) == 3
        self.wait(ended, "three ends", JOB_SECONDS)
        ends = [each.attribute("data-end") for each in self.all("usbManyRow")]
        self.assertEqual(sorted(ends), ["done", "done", "failed"])
        self.assertIn("bad_flash", self.find("usbMany").text)
        app = (FIXTURES / "demo-1.1.0.bin").read_bytes()
        for board, end in zip(sorted(self.plugged, key=lambda b: str(b.port)), ends):
            if end == "done":
                at, _ = board.partition("ota_0")
                self.assertEqual(board.bytes()[at : at + len(app)], app)
        records = case.DESK.airlift(self.home, "usb", "records", "--json").stdout
        self.assertIn("B-0021", records)
