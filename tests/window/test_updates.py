"""Updates: what the window shows of them and what comes of them."""

import json
import shutil
import signal
import subprocess
import tarfile
import urllib.request

import case
from case import WindowTest, device_of
from harness import T, css


class LogOfADevice(WindowTest):
    """What a device says of itself, and its log over the network."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()
        cls.device = next(iter(cls.devices))
        cls.row(cls.device).find(css("deviceName")).click()

    def tab(self, name):
        self.window.find(f'[role="tab"][data-tab="{name}"]').click()

    def test_1_the_details_say_memory_signal_restart_and_slots(self):
        self.tab("device")
        details = self.find("deviceDetails").text
        for words in ("ESP32-C3", "176 KB", "no radio", "after power came on", "ota_0", "ota_1"):
            self.assertIn(words, details)

    def test_2_the_log_comes_over_the_network(self):
        self.tab("device-log")
        self.wait_text("deviceLogLine", f"{self.device} is ready")
        first = self.all("deviceLogLine")[0].text
        self.assertIn("runs after power_on", first)
        url = f"{self.devices[self.device]}/v1/log?from=0"
        with urllib.request.urlopen(url, timeout=10) as answer:
            self.assertIn(first.encode(), answer.read())
        case.DESK.picture(case.DESK.dir / "device-log.png")

    def test_3_it_is_searched_and_cleared(self):
        search = self.find("deviceLogSearch")
        search.type("ready")
        self.wait(lambda: len(self.all("deviceLogLine")) == 1, "one line that matches")
        self.find("deviceLogClear").click()
        self.wait(lambda: not self.all("deviceLogLine"), "no line")


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
        case.DESK.drag("enter", [cls.release])
        cls.held = cls.wait_text("dropSentence", cls.version).text
        case.DESK.drag("over")
        case.DESK.drag("drop", [cls.release])
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
        cls.wait(cls.ended, "the end of both jobs", case.UPDATE_SECONDS)
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


class OfflineDevice(WindowTest):
    """A device that dies while the window is open."""

    @classmethod
    def prepare(cls):
        cls.simulation = cls.simulate(product="offline")

    @classmethod
    def arrange(cls):
        cls.simulated()

    def test_a_device_that_dies_is_greyed_within_ten_seconds_and_stays(self):
        case.DESK.stop(self.simulation, sent=signal.SIGKILL)
        grey = self.row(self.device, '[data-online="false"]', seconds=10)
        self.assertIn("off", (grey.attribute("class") or "").split())


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
        case.DESK.stop(cls.simulation)

    def test_an_update_by_the_command_line_shows_in_the_window(self):
        release = self.pack("cli", self.product, "2.0.0", 2, key=self.key)
        done = case.DESK.airlift(self.home, "update", release, "--device", self.device, "--json")
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
        done = case.DESK.airlift(self.home, "devices", "--json", "--wait", 5)
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
        case.DESK.stop(cls.simulation)

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
        case.DESK.stop(cls.simulation)

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
        case.DESK.stop(cls.simulation)

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
            case.DESK.drop(path)
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
        case.DESK.stop(cls.simulation)

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
        case.DESK.stop(cls.simulation)

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
        case.DESK.close(kill=True)
        type(self).window = case.DESK.open(self.home)
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
        cls.monitor = case.DESK.start("notify", command)

    @classmethod
    def arrange(cls):
        cls.simulated()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        case.DESK.stop(cls.simulation)
        case.DESK.stop(cls.monitor)

    def told(self):
        """What the session bus has heard."""
        return (case.DESK.dir / "notify.log").read_text()

    def test_the_end_of_a_job_is_told_to_the_system_if_the_settings_say_so(self):
        # The pointer is beside the window, which without a window manager means no focus.
        name = self.known(self.device)["name"]
        self.update("2.0.0")
        self.assertEqual(self.end_of_job()["end"], "done")
        self.wait(lambda: f"{name}: updated" in self.told(), "a notification", 15)
        self.assertIn("Running 2.0.0 from ota_0", self.told())
