"""A window that stays open for the tests of a class, and what is asked of it.

What a device runs is asked of the device itself, over plain HTTP, past the app.
"""

import unittest

from harness import FIXTURES, T, css, get_json
from webdriver import ESCAPE

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
