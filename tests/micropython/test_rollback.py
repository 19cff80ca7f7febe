"""Versions that are not fit to stay: the board goes back, and says why."""

import os
import time

from board import MAIN, WATCHDOG, app_image, envelope_of
from lab import PRODUCT, Lab

APP_2 = app_image(60_000, 2)


class Rollback(Lab):
    @staticmethod
    def is_back(info):
        return (info["last_update"] or {}).get("end") == "rolled_back"

    def rolled_back(self, main, cause, detail=None, code=5, timer_ms=None):
        files = self.tree("bad-%d" % time.monotonic_ns(), {"main.py": main})
        name = "bad-%d" % time.monotonic_ns()
        release = self.host.pack(name, PRODUCT, 2, APP_2, files)
        self.board.timer_ms = timer_ms
        before = self.board.start().settled()["running"]
        port = self.host.serve(release)
        lines = self.board.post(envelope_of(release), port)
        self.assertEqual(lines[-1].get("event"), "rebooting", lines[-1])
        info = self.board.settled(until=self.is_back)
        self.assertEqual(info["running"]["app_sha256"], before["app_sha256"])
        self.assertEqual(info["running"]["slot"], "ota_0")
        self.assertEqual(info["running"]["state"], "valid")
        last = info["last_update"]
        self.assertEqual((last["cause"], last.get("detail")), (cause, detail), last)
        # It is not taken again, unless somebody insists.
        again = self.board.post(envelope_of(release), port)[-1]
        self.assertEqual(again["code"], "rolled_back_before")
        self.board.timer_ms = None
        return release

    def test_a_main_that_raises(self):
        main = "import nothing_of_that_name\n"
        self.rolled_back(main, "panic", "ImportError: no module named 'nothing_of_that_na")

    def test_a_main_with_a_mistake_in_its_syntax(self):
        self.rolled_back("def broken(:\n", "panic", "SyntaxError: invalid syntax")

    def test_a_main_that_hangs(self):
        self.rolled_back("while True:\n    pass\n", "software", timer_ms=300)

    def test_a_check_that_fails(self):
        check = "def check():\n    raise OSError('no sensor')\n"
        main = MAIN.replace("import airlift\n", "import airlift\n" + check)
        main = main.replace("min_uptime_ms=0", "min_uptime_ms=0, check=check")
        self.rolled_back(main, "health_check", "no sensor")

    def test_a_check_that_never_says_yes_until_the_time_is_over(self):
        main = MAIN.replace("min_uptime_ms=0", "min_uptime_ms=0, check=lambda: False")
        self.rolled_back(main, "software", timer_ms=700)

    def test_power_that_goes_on_every_trial(self):
        slow = MAIN.replace("min_uptime_ms=0", "min_uptime_ms=60000")
        files = self.tree("slow", {"main.py": slow})
        release = self.host.pack("slow", PRODUCT, 2, APP_2, files)
        self.board.start().settled()
        self.board.post(envelope_of(release), self.host.serve(release))
        info = self.board.settled(30, lambda i: i["updater"]["state"] == "trial")
        self.assertEqual(info["running"]["slot"], "ota_1")
        self.board.stop()
        self.board.cause = WATCHDOG
        info = self.board.start().settled()
        self.assertEqual(info["running"]["slot"], "ota_0")
        last = info["last_update"]
        found = (last["end"], last["cause"], last["boots"])
        self.assertEqual(found, ("rolled_back", "watchdog", 1))

    def test_the_command_line_says_that_it_went_back(self):
        main = MAIN.replace("import airlift\n", "import airlift\nraise ValueError('bad day')\n")
        files = self.tree("cli-bad", {"main.py": main})
        release = self.host.pack("cli-bad", PRODUCT, 2, APP_2, files)
        self.board.start().settled()
        done = self.update(release, code=5)
        self.assertIn("rolled_back", done.stdout + done.stderr)

    def test_a_release_that_was_rolled_back_is_taken_with_retry(self):
        once = "import os\nif not os.getenv('AIRLIFT_RETRY'):\n    raise ValueError('once')\n"
        main = once + MAIN
        release = self.rolled_back(main, "panic", "ValueError: once")
        os.environ["AIRLIFT_RETRY"] = "1"
        self.addCleanup(os.environ.pop, "AIRLIFT_RETRY")
        self.board.stop()
        self.board.start().settled()
        self.update(release, more=("--retry",))
        self.assertEqual(self.board.settled()["running"]["slot"], "ota_1")


class PlainBootloader(Rollback):
    """The same with a firmware that knows no rollback: only the guard goes back."""

    bootloader = "plain"
