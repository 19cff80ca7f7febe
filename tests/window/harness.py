"""What the window needs to run without a desktop: a display, a driver, a home of its own.

Everything started here is ended here, by the process that was started. run.sh gives all of it a
D-Bus session of its own.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from webdriver import Session

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


def testids():
    """The names by which the window's elements are found, from the window's own source."""
    names = {}
    for line in (ROOT / "ui" / "src" / "testids.ts").read_text().splitlines():
        name, colon, value = line.strip().rstrip(",").partition(": ")
        if colon and value.startswith("'"):
            names[name] = value.strip("'")
    return names


T = testids()


def css(name, more=""):
    """A selector for a test id."""
    return f'[data-testid="{T[name]}"]{more}'


def get_json(url, seconds=5):
    """Plain HTTP, past the app."""
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return json.load(answer)


class Process:
    """A child in a process group of its own, so that ending it ends what it started."""

    def __init__(self, command, log, env=None, **options):
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(
            [str(each) for each in command],
            env=env,
            stdin=subprocess.DEVNULL,
            stderr=self.log,
            stdout=options.pop("stdout", self.log),
            start_new_session=True,
            **options,
        )

    def end(self, sent=signal.SIGTERM, seconds=10):
        """Ends the group; what does not listen is killed."""
        for each in (sent, signal.SIGKILL):
            try:
                os.killpg(self.popen.pid, each)
            except ProcessLookupError:
                pass
            try:
                self.popen.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        self.log.close()

    def line(self, seconds=20):
        """The next line of its output (needs stdout=PIPE)."""
        ready, _, _ = select.select([self.popen.stdout], [], [], seconds)
        if not ready:
            raise AssertionError(f"{self.popen.args[0]} said nothing for {seconds} s")
        return self.popen.stdout.readline().decode()


class Desk:
    """A display, a driver and a folder; the window is started on it as often as wanted."""

    def __init__(self, app, cli, size=(2400, 1500)):
        # Large enough that the pointer, in the middle, is beside the window: without a window
        # manager the window under the pointer has the focus.
        self.app = Path(app).resolve()
        self.cli = Path(cli).resolve()
        self.dir = Path(tempfile.mkdtemp(prefix="airlift-window-"))
        self.running = []
        self.session = None
        self.starts = 0
        # What the next window sees of its environment besides.
        self.variables = {}
        try:
            self._display(size)
        except BaseException:
            self.end()
            raise

    def start(self, name, command, **options):
        """Starts a process that ends with this desk."""
        process = Process(command, self.dir / f"{name}.log", **options)
        self.running.append(process)
        return process

    def stop(self, process, **options):
        """Ends one of them now."""
        self.running.remove(process)
        process.end(**options)

    def _display(self, size):
        # Xvfb finds a free number itself and says which.
        screen = f"{size[0]}x{size[1]}x24"
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", screen, "-nolisten", "tcp"]
        xvfb = self.start("xvfb", command, stdout=subprocess.PIPE)
        self.display = f":{int(xvfb.line())}"

    def environment(self, home):
        """What the window's process sees."""
        return {
            **os.environ,
            "DISPLAY": self.display,
            "WAYLAND_DISPLAY": "",
            "GDK_BACKEND": "x11",
            "AIRLIFT_HOME": str(home),
            "AIRLIFT_TEST_DROP": str(self.dir / "drop"),
            # Window size, web view data and so on of each home are its own too.
            "XDG_CONFIG_HOME": str(home / "xdg" / "config"),
            "XDG_DATA_HOME": str(home / "xdg" / "data"),
            "XDG_CACHE_HOME": str(home / "xdg" / "cache"),
            "RUST_LOG": os.environ.get("RUST_LOG", "info"),
            "RUST_BACKTRACE": "1",
            "LANG": "C.UTF-8",
            "NO_AT_BRIDGE": "1",
            # A software-rendered X server has no buffers to share with the GPU.
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
            "TAURI_AUTOMATION": "true",
            "TAURI_WEBVIEW_AUTOMATION": "true",
            # Boards that are plugged into this machine are none of the tests' business.
            "AIRLIFT_USB_PORTS": "",
            **self.variables,
        }

    def open(self, home, args=()):
        """Starts the window on a home and waits until its page is there."""
        self.close()
        home.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        self.port = free_port()
        command = ["WebKitWebDriver", f"--port={self.port}", "--host=127.0.0.1"]
        name = f"app-{self.starts}"
        self.driver = self.start(name, command, env=self.environment(home))
        wait_for_port(self.port)
        (self.dir / "drop").unlink(missing_ok=True)
        self.session = Session(self.port, self.app, args)
        self.session.find("#app nav", seconds=30)
        self._wait_for_ears()
        return self.session

    def _wait_for_ears(self):
        """The page listens for drops a moment after it is shown, for the end of one last."""
        overlay = '[data-testid="drop-overlay"]'

        def held(kind, wanted):
            try:
                self.drag(kind)
            except OSError:
                return False
            return bool(self.session.all(overlay)) == wanted

        self.session.wait(lambda: held("enter", True), "an overlay for a drag")
        self.session.wait(lambda: held("leave", False), "no overlay after it")

    def close(self, kill=False):
        """Ends the window: politely, or as a crash would."""
        if self.session is None:
            return
        if not kill:
            try:
                self.session.end()
            except OSError:
                pass
        self.session = None
        self.stop(self.driver, sent=signal.SIGKILL if kill else signal.SIGTERM)

    def drag(self, kind, paths=()):
        """What a file manager does over the window: enter, over, drop, leave."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(10)
            link.connect(str(self.dir / "drop"))
            line = {"kind": kind, "paths": [str(path) for path in paths]}
            link.sendall(json.dumps(line).encode() + b"\n")
            answer = link.makefile().readline()
        if answer != "ok\n":
            raise AssertionError(f"the drop was not passed on: {answer!r}")

    def drop(self, *paths):
        """Drags files in and lets them go."""
        self.drag("enter", paths)
        self.drag("over")
        self.drag("drop", paths)

    def picture(self, path, size=(1440, 900)):
        """The screen as a picture, from its upper left corner."""
        crop = f"{size[0]}x{size[1]}+0+0"
        command = ["import", "-display", self.display, "-window", "root", "-crop", crop, str(path)]
        subprocess.run(command, check=True, timeout=60)

    def airlift(self, home, *args, check=True):
        """Runs the command line on a home."""
        env = {**os.environ, "AIRLIFT_HOME": str(home)}
        command = [str(self.cli), *(str(arg) for arg in args)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
        return done

    def end(self, keep=False):
        """Ends everything. The folder with the logs stays if asked."""
        try:
            self.close()
        finally:
            for process in reversed(self.running):
                process.end()
            self.running = []
            if not keep:
                shutil.rmtree(self.dir, ignore_errors=True)


def free_port():
    """A port that was free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, seconds=20):
    """Returns once somebody listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise AssertionError(f"nobody listens on port {port}") from None
            time.sleep(0.05)
