"""Starts and ends, what there is at first and at the next start, keyboard and colours."""

import json
import os
import signal
import sqlite3
import subprocess
import time
import unittest

import case
from case import WindowTest, device_of
from harness import T
from webdriver import ARROW_DOWN, CONTROL, ESCAPE, SPACE


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
        for view in ("Releases", "Usb", "History", "Settings", "Devices"):
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
        second = case.DESK.start("second", [case.APP], env=case.DESK.environment(self.home))
        self.assertEqual(second.popen.wait(30), 0)
        case.DESK.stop(second)
        self.find("firstStart")

    def test_what_cannot_be_used_is_refused_while_it_is_held_over_the_window(self):
        path = case.DESK.dir / "notes.txt"
        path.write_text("Buy milk.\n")
        case.DESK.drag("enter", [path])
        overlay = self.find("dropOverlay", '[data-kind="refuse"]')
        self.assertNotIn("undefined", overlay.text)
        case.DESK.drag("leave")
        self.gone("dropOverlay")
        self.assertEqual(self.all("notice"), [])


class Keyboard(WindowTest):
    """Without a mouse."""

    @classmethod
    def arrange(cls):
        cls.devices = cls.try_virtual_devices()

    def focused(self):
        """Test id of what has the focus."""
        return self.window.run("return document.activeElement?.dataset.testid ?? null")

    def test_views_have_numbers_and_the_search_has_a_key(self):
        views = ((2, "Releases"), (3, "Usb"), (4, "History"), (5, "Settings"), (1, "Devices"))
        for number, view in views:
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
        key = case.DESK.dir / "again.pem"
        case.DESK.airlift(cls.home, "key", "new", key)
        case.DESK.airlift(cls.home, "key", "trust", key.with_suffix(".pub.pem"))
        cls.release = cls.pack("again", "again", "1.0.0-again", 1, key=key)

    def test_the_window_has_the_size_that_it_had(self):
        size = lambda: self.window.run("return [innerWidth, innerHeight]")
        self.wait(lambda: size() == [930, 640], "the size of the last time")

    def test_releases_and_settings_are_kept(self):
        case.DESK.drop(self.release)
        self.wait_text("notice", "1.0.0-again")
        self.show("Settings")
        self.find("settingsNotify").click()
        self.wait(lambda: not self.snapshot()["settings"]["notify"], "no notifications")
        case.DESK.close()
        type(self).window = case.DESK.open(self.home)
        self.show("Releases")
        self.wait_text("releaseRow", "1.0.0-again")
        self.show("Settings")
        self.assertFalse(self.find("settingsNotify").property("checked"))


class Ending(unittest.TestCase):
    """Starts and ends without a driver."""

    def start(self, home, **more):
        """Starts the window and waits until it has put its drop socket up."""
        (case.DESK.dir / "drop").unlink(missing_ok=True)
        env = {**case.DESK.environment(home), "TAURI_WEBVIEW_AUTOMATION": "", **more}
        process = case.DESK.start("plain", [case.APP], env=env)
        end = time.monotonic() + 30
        while not (case.DESK.dir / "drop").exists():
            self.assertIsNone(process.popen.poll(), "it ended by itself")
            self.assertLess(time.monotonic(), end, "it did not start")
            time.sleep(0.05)
        return process

    def test_a_signal_ends_it_in_good_order(self):
        process = self.start(case.DESK.dir / "signal")
        process.popen.send_signal(signal.SIGTERM)
        self.assertEqual(process.popen.wait(20), 0)
        case.DESK.stop(process)
        locks = list((case.DESK.dir / "signal" / "run").glob("*.lock"))
        self.assertEqual(locks, [], "an orderly end leaves no lock behind")
        self.assertIn("width", (case.DESK.dir / "signal" / "window.json").read_text())

    def test_without_a_session_bus_it_starts_all_the_same(self):
        process = self.start(case.DESK.dir / "busless", DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere")
        case.DESK.stop(process)

    def test_the_version_is_printed_without_a_display(self):
        env = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
        done = subprocess.run([case.APP, "--version"], env=env, capture_output=True, text=True)
        self.assertRegex(done.stdout, r"^airlift-desktop \d+\.\d+\.\d+")
        self.assertEqual(done.returncode, 0)

    def test_an_unknown_argument_is_named_and_ends_with_2(self):
        done = subprocess.run([case.APP, "--fast"], capture_output=True, text=True)
        self.assertIn("--fast", done.stderr)
        self.assertEqual(done.returncode, 2)

    def test_a_database_of_a_newer_version_is_left_alone_and_said(self):
        home = case.DESK.dir / "newer"
        home.mkdir()
        with sqlite3.connect(home / "airlift.db") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA user_version = 999")
        database.close()
        before = (home / "airlift.db").read_bytes()
        process = case.DESK.start("newer", [case.APP], env=case.DESK.environment(home))
        try:
            end = time.monotonic() + 30
            log = home / "airlift.log"
            while not (log.exists() and "999" in log.read_text()):
                self.assertLess(time.monotonic(), end, "nothing is said")
                time.sleep(0.05)
            self.assertEqual((home / "airlift.db").read_bytes(), before)
        finally:
            case.DESK.stop(process)
