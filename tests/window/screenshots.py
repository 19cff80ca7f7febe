"""Pictures of the real window in every state: screenshots.py APP CLI OUTDIR [devices] [usb]

Six devices of the command line, one key, releases made of the images and files under
tests/fixtures, and boards on pseudo-terminals. Every state is shown light and dark, large and small: OUTDIR/STATE-THEME-SIZE.png.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from board import Board
from harness import FIXTURES, Desk, css
from webdriver import ESCAPE

SIZES = ((1440, 900), (800, 600))
# As it opens, for the README.
README = (1100, 720)
THEMES = ("light", "dark")
PRODUCT = "fieldlog"


class Album:
    """The window, a home, devices, and a folder for the pictures."""

    def __init__(self, desk, out):
        self.desk = desk
        self.out = out
        self.home = desk.dir / "home"
        self.key = self.home / "keys" / "workshop.pem"
        self.simulation = None
        self.window = None
        self.boards = {}

    # What there is.

    def airlift(self, *args):
        """Runs the command line on the home."""
        return self.desk.airlift(self.home, *args)

    def pack(self, version, sequence, of="1.1.0", files=None):
        """Makes a release and returns its file."""
        path = self.desk.dir / f"{PRODUCT}-{version}.airlift"
        args = ["pack", "--product", PRODUCT, "--version", version, "--sequence", sequence]
        args += ["--app", FIXTURES / f"demo-{of}.bin", "--files", FIXTURES / "files" / (files or of)]
        self.airlift(*args, "--key", self.key, "-o", path)
        return path

    def devices(self, count, *options):
        """Starts devices; those that run already stop, and keep their flash."""
        self.no_devices()
        command = [self.desk.cli, "simulate", "--dir", self.desk.dir / "devices"]
        command += ["--count", count, "--trust", self.key.with_suffix(".pub.pem")]
        command += ["--product", PRODUCT, "--installed", self.old, *options]
        self.simulation = self.desk.start("simulate", command, env=self.desk.environment(self.home))

    def no_devices(self):
        """Stops the devices."""
        if self.simulation:
            self.desk.stop(self.simulation)
            self.simulation = None

    def online(self, count, seconds=60):
        """Waits until so many devices are online, and no more."""
        row = css("deviceRow", '[data-online="true"]')
        self.window.wait(
            lambda: len(self.window.all(row)) == count, f"{count} devices online", seconds
        )

    # What is done in the window.

    def find(self, name, more="", seconds=20):
        """An element by its test id."""
        return self.window.find(css(name, more), seconds)

    def show(self, view):
        """Goes to a view."""
        self.find(f"nav{view}").click()

    def row(self, name):
        """The row of a device by its name."""

        def found():
            rows = self.window.all(css("deviceRow"))
            return next((r for r in rows if r.find(css("deviceName")).text == name), None)

        return self.window.wait(found, f"a device {name}", 30)

    def select(self, name, tab=None):
        """Shows a device in the pane."""
        self.row(name).find(css("deviceName")).click()
        if tab:
            self.find("pane", f' [data-tab="{tab}"]').click()

    def drop(self, *paths):
        """Drops files and waits until they have been dealt with."""
        self.desk.drop(*paths)
        self.window.wait(lambda: not self.window.all(css("dropOverlay")), "an end of the drop")

    def clear_notices(self):
        """Waits for a message and closes all."""
        self.find("noticeDismiss")
        for button in self.window.all(css("noticeDismiss")):
            button.click()

    def choose(self, version):
        """Picks a release in the head of the list."""
        self.find("releasePicker").click()
        options = self.window.all(css("releaseOption"))
        next(each for each in options if version in each.text).click()

    def wait_for_ends(self, seconds=240):
        """Waits until no job runs, for the page too."""
        running = css("deviceRow", ' [role="progressbar"]')
        self.window.wait(lambda: not self.window.all(running), "an end of all jobs", seconds)

    # Pictures.

    def look(self, theme, size):
        """Gives the window a theme and a size."""
        self.window.run(
            """const invoke = window.__TAURI_INTERNALS__.invoke;
            return invoke('snapshot').then(({settings}) =>
                invoke('set_settings', {settings: {...settings, theme: arguments[0]}}))""",
            theme,
        )
        self.window.resize(*size)
        # No tooltip, and nothing under the pointer.
        self.window.point(1, size[1] - 1)
        self.window.wait(
            lambda: self.window.run(
                "return [innerWidth, innerHeight, document.documentElement.dataset.theme]"
            )
            == [*size, theme],
            f"a {theme} window of {size}",
        )
        # What was drawn by hand is drawn again in the next frames.
        frame = "return new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        self.window.run(frame)

    def take(self, state, moving=False, sizes=SIZES):
        """Pictures of a state: each theme, each size."""
        for size in sizes:
            for theme in THEMES:
                self.look(theme, size)
                path = self.out / f"{state}-{theme}-{size[0]}x{size[1]}.png"
                self.desk.picture(path, size)
                end = time.monotonic() + 3
                while not moving and time.monotonic() < end:
                    before = path.read_bytes()
                    self.desk.picture(path, size)
                    if path.read_bytes() == before:
                        break
        self.look("light", SIZES[0])
        print(state, flush=True)

    def devices_album(self):
        """Updates over the network, in the order in which somebody would see it."""
        self.window = self.desk.open(self.home)
        self.take("first-start")

        self.home.joinpath("keys").mkdir(exist_ok=True)
        self.airlift("key", "new", self.key)
        self.airlift("key", "trust", self.key.with_suffix(".pub.pem"))
        self.old, new = self.pack("1.0.0", 1, of="1.0.0"), self.pack("1.1.0", 2)
        bad = self.pack("1.2.0", 3, files="1.0.0")

        slow = ["--rate", 16_000]
        self.devices(6, *slow)
        self.online(6)
        self.drop(self.old)
        self.clear_notices()
        self.desk.drag("enter", [new])
        self.take("drop")
        self.desk.drag("drop", [new])
        self.clear_notices()
        self.devices(5, *slow, "--flips", 4)
        self.online(5)
        rows = self.window.all(css("deviceRow", '[data-online="true"]'))
        names = [row.find(css("deviceName")).text for row in rows]
        self.choose("1.1.0")
        self.select(names[0])
        self.take("devices")

        for name in names[1:3]:
            self.row(name).find(css("deviceCheck")).click()
        self.take("devices-checked")
        self.find("updateSelected").click()
        self.find("deviceRow", '[data-online="false"] ' + css("deviceUpdate")).click()
        self.select(names[1])
        self.find("chunkMap")
        enough = lambda: int(self.find("chunkMap").attribute("data-done")) > 16
        self.window.wait(enough, "a third of the chunks", 60)
        self.take("updating", moving=True, sizes=(README, *SIZES))
        self.find("deviceRow", '[data-online="false"] ' + css("deviceCancel")).click()
        self.wait_for_ends()
        self.select(names[1])
        self.take("done")
        refused = css("pane", ' [data-tab="refused"]')
        if self.window.all(refused):
            self.select(names[1], "refused")
            self.take("refused")
        self.select(names[1], "log")
        self.take("log")

        self.drop(bad)
        self.clear_notices()
        self.devices(5, "--never-confirms", "1.2.0", "--confirm-within", 3)
        self.online(5)
        self.choose("1.2.0")
        self.select(names[0])
        self.row(names[0]).find(css("deviceUpdate")).click()
        self.find("jobSummary", "[data-end]", 120)
        self.take("rolled-back")

        # Too slow for a chunk in 30 seconds.
        self.devices(5, "--rate", 120)
        self.online(5)
        self.select(names[4])
        self.row(names[4]).find(css("deviceUpdate")).click()
        self.find("jobSummary", "[data-end]", 120)
        self.take("failed")

        web = self.desk.dir / "web"
        shutil.copytree(FIXTURES / "files" / "1.1.0", web)
        self.drop(FIXTURES / "demo-1.1.0.bin", web)
        self.find("sheet")
        self.take("new-release")
        self.window.keys(ESCAPE)
        self.find("addDevice").click()
        self.take("add-device")
        self.window.keys(ESCAPE)

        self.show("Releases")
        self.find("releaseRow", " .version").click()
        self.take("releases")
        for box in self.window.all(css("releaseCompare"))[:2]:
            if not box.property("checked"):
                box.click()
        self.take("compare")
        self.show("History")
        self.find("historyRow")
        self.take("history")
        self.show("Settings")
        self.take("settings")

    # Boards on USB.

    def plug(self, name, *options):
        """A board on a port of that name."""
        # A short name, as a port has.
        folder = Path(tempfile.gettempdir()) / "usb"
        folder.mkdir(exist_ok=True)
        for old in (folder / name, folder / f"{name}.bin"):
            old.unlink(missing_ok=True)
        number = len(self.boards) + 1
        mac = ("--mac", f"7c:df:a1:0e:15:b{number}")
        program = self.desk.cli.with_name("airlift-rom-loader")
        self.boards[name] = Board(self.desk, program, folder, name, *mac, *options)
        return self.boards[name]

    def port(self, name):
        """Shows a board's port."""
        self.find("usbPort", f'[data-port="{self.boards[name].port}"]').click()

    def connect(self, name):
        """Connects a board and waits for a full look."""
        self.port(name)
        self.find("usbConnect").click()
        self.window.wait(lambda: not self.window.all(css("usbConnect")), "a start", 10)
        self.find("usbPort", f'[data-port="{self.boards[name].port}"][data-activity="connected"]', 60)
        self.find("usbDiagnosis", '[data-complete="true"]', 60)

    def flash(self, name):
        """Plans what the sheet offers."""
        self.find("usbFlash").click()
        self.find("flashSubmit").click()
        self.find("usbPlan", '[data-kind="flash"]', 60)

    def carry_out(self):
        """The one button, to the end."""
        self.find("usbCarryOut").click()
        self.find("usbJobEnd", '[data-end="done"]', 180)

    def usb_album(self):
        """A bench of boards."""
        self.home = self.desk.dir / "usb-home"
        self.key = self.home / "keys" / "workshop.pem"
        self.boards = {}
        self.window = self.desk.open(self.home)
        self.show("Usb")
        self.take("usb-empty")
        self.desk.close()

        self.key.parent.mkdir(exist_ok=True)
        self.airlift("key", "new", self.key)
        self.airlift("key", "trust", self.key.with_suffix(".pub.pem"))
        release = self.pack("1.1.0", 2)
        shed = self.plug("ttyS1")
        self.plug("ttyS2", "--mode", "application")
        self.plug("ttyS3", "--secure-boot", "--flash-encryption")
        self.plug("ttyS4", "--timing")
        ports = [str(board.port) for board in self.boards.values()]
        self.desk.variables = {"AIRLIFT_USB_PORTS": ":".join(ports)}
        self.window = self.desk.open(self.home)
        self.drop(release)
        self.clear_notices()
        self.show("Usb")
        self.find("usbPort")
        self.take("usb-ports")

        self.connect("ttyS1")
        self.take("usb-blank")
        self.find("usbFlash").click()
        self.find("flashName").type("shed")
        self.take("usb-flash")
        self.find("flashSubmit").click()
        self.find("usbPlan", '[data-kind="flash"]', 60)
        self.take("usb-flash-plan")
        self.carry_out()
        self.take("usb-flashed")

        at, size = shed.partition("otadata")
        shed.end()
        shed.damage(at, bytes(size))
        shed.start("--mac", "7c:df:a1:0e:15:b1")
        self.connect("ttyS1")
        self.find("usbPlan", '[data-kind="repair"]', 60)
        self.take("usb-dead", sizes=(README, *SIZES))
        self.carry_out()
        self.take("usb-repaired")

        self.find("usbLogOpen").click()
        self.find("usbLogStop").click()
        self.find("usbPort", '[data-activity="monitoring"]')
        shed.order("reset")
        for line in (
            "I (271) airlift: fieldlog 1.1.0, ota_0 runs after power_on: Confirmed",
            "W (1840) wifi: weak signal, -81 dBm",
            "E (4012) sensor: no answer on i2c 0x44",
            "Guru Meditation Error: Core  0 panic'ed (Load access fault). Exception was unhandled.",
            "MEPC    : 0x4200a1c2  RA      : 0x4200a1b0  SP      : 0x3fc91e20",
        ):
            shed.order(f"print {line}")
        shed.order("reset")
        time.sleep(1)
        self.take("usb-log")
        self.find("usbLogStop").click()
        self.find("usbLogOpen").click()

        self.port("ttyS2")
        self.find("usbConnect").click()
        self.find("usbHoldBoot", seconds=30)
        self.take("usb-hold-boot")
        self.find("usbConnectCancel").click()

        self.port("ttyS3")
        self.find("usbConnect").click()
        self.find("usbRefused", seconds=60)
        self.take("usb-secured")

        self.connect("ttyS4")
        self.flash("ttyS4")
        # Slow enough that it is being written until all pictures are made.
        self.boards["ttyS4"].order("fault flash_defl_data:*:delay=1200")
        self.find("usbCarryOut").click()
        self.find("usbJob", '[data-phase="write"]', 60)
        time.sleep(4)
        self.take("usb-writing", moving=True)
        self.boards["ttyS4"].order("unplug")
        self.find("usbUnplugged")
        self.take("usb-unplugged", moving=True)
        self.boards["ttyS4"].order("no-faults")
        self.boards["ttyS4"].order("plug")
        self.find("usbJobEnd", '[data-end="done"]', 240)

        self.boards["ttyS2"].order("download")
        self.boards["ttyS4"].order("download")
        for name in ("ttyS2", "ttyS4"):
            path = self.boards[name].port
            self.window.run(
                "document.querySelector(`[data-testid=usb-port][data-port='${arguments[0]}']`)"
                ".parentElement.querySelector('input').click()",
                str(path),
            )
        self.find("usbFlash").click()
        self.find("flashSubmit").click()
        self.find("usbManyGo", seconds=120)
        self.take("usb-many")
        self.find("usbRecords").click()
        self.find("usbRecord")
        self.take("usb-records")
        self.window.keys(ESCAPE)

    def end(self):
        """Ends the boards."""
        for board in self.boards.values():
            board.end()
            board.flash.unlink(missing_ok=True)


def main():
    """Makes the pictures."""
    app, cli, out = (Path(each).resolve() for each in sys.argv[1:4])
    wanted = sys.argv[4:] or ["devices", "usb"]
    out.mkdir(parents=True, exist_ok=True)
    desk = Desk(app, cli)
    album = Album(desk, out)
    done = False
    try:
        for each in wanted:
            getattr(album, f"{each}_album")()
        done = True
    finally:
        album.end()
        if not done:
            desk.picture(out / "where-it-stopped.png")
            print(f"Logs: {desk.dir}", file=sys.stderr)
        desk.end(keep=not done)


if __name__ == "__main__":
    main()
