#!/usr/bin/env python3
"""Updates a board in the emulator, as a user would. Started by run.sh, in its own network."""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import dhcp
from board import ADDRESS, HOST, TAP, Board
from images import with_version

HERE = pathlib.Path(__file__).resolve().parent
FILES = HERE.parents[2] / "tests" / "fixtures" / "files"
# Unique to this test: it can never reach a real device.
PRODUCT = "emulated-board"
IN_A_ROW = 20


@dataclasses.dataclass
class Row:
    """One update, as the table shows it."""

    scenario: str
    what: str
    end: str
    seconds: float
    kept: int
    fetched: int
    slot: str


class Bench:
    """Tools, keys and images of one run."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.work = options.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.key = self.work / "key.pem"
        self.rows: list[Row] = []
        self.sequence = 0
        self.env = os.environ | {"AIRLIFT_HOME": str(self.work / "home")}
        self.cli("key", "new", self.key)
        self.cli("key", "trust", self.key.with_suffix(".pub.pem"))

    def cli(self, *args: object) -> str:
        command = [self.options.airlift, *map(str, args)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def image(self, kind: str = "good") -> bytes:
        return (self.options.images / f"{kind}.bin").read_bytes()

    def release(self, version: str, kind: str = "good", files: str = "1.0.0") -> pathlib.Path:
        """A release with the next sequence."""
        self.sequence += 1
        app = self.work / f"app-{self.sequence}.bin"
        app.write_bytes(with_version(self.image(kind), version))
        out = self.work / f"{version}-{self.sequence}.airlift"
        self.cli(
            *("pack", "--product", PRODUCT, "--version", version),
            *("--sequence", self.sequence, "--app", app, "--files", FILES / files),
            *("--key", self.key, "-o", out),
        )
        return out

    def board(self, name: str, bootloader: pathlib.Path | None = None) -> Board:
        """A board with 1.0.0 in its factory slot."""
        release = self.release("1.0.0")
        flash = self.work / f"{name}.bin"
        command = [
            *(self.options.factory, release, "--trust", self.key.with_suffix(".pub.pem")),
            *("--name", name, "-o", flash),
            *(("--bootloader", bootloader) if bootloader else ()),
        ]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        return Board(self.options.qemu, flash)

    def discover(self) -> dict:
        """The board, found by mDNS."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = self.cli("devices", "--json", "--wait", 3).splitlines()
            found = [json.loads(line) for line in lines]
            for device in found:
                if device["product"] == PRODUCT and device["online"]:
                    return device
        raise TimeoutError("the board was not found by mDNS")

    def start_update(self, release: pathlib.Path, *more: str) -> subprocess.Popen:
        command = [self.options.airlift, "update", str(release), "--json", *more]
        command += ["--device", f"{ADDRESS}:80"]
        return subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def update(self, scenario: str, what: str, release: pathlib.Path, board: Board) -> dict:
        """Updates the board and notes the end; the job's last line."""
        begin = time.monotonic()
        process = self.start_update(release)
        out, errors = process.communicate(timeout=400)
        seconds = time.monotonic() - begin
        lines = [json.loads(line) for line in out.splitlines()]
        jobs = [line for line in lines if line.get("event") == "job"]
        if not jobs:
            raise RuntimeError(f"no job: {out}{errors}")
        job = jobs[-1]
        slot = board.info()["running"]["slot"]
        end = job["end"] if job["code"] is None else f"{job['end']} ({job['code']})"
        row = Row(scenario, what, end, seconds, job["kept"], job["fetched"], slot)
        self.rows.append(row)
        print(show(row), flush=True)
        return job


def show(row: Row) -> str:
    return (
        f"{row.scenario:<10} {row.what:<36} {row.end:<24} {row.seconds:6.1f} s"
        f"  kept {row.kept:>3}  fetched {row.fetched:>3}  runs {row.slot}"
    )


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def main_job(bench: Bench) -> None:
    """Discovery, then app and files over the network, restart, confirmation."""
    with bench.board("main") as board:
        device = bench.discover()
        expect(device["address"] == f"{ADDRESS}:80", f"found at {device['address']}")
        before = board.info()
        expect(before["running"]["slot"] == "factory", "1.0.0 runs from factory")
        release = bench.release("1.1.0", files="1.1.0")
        job = bench.update("main", "1.0.0 -> 1.1.0, app and files", release, board)
        expect(job["end"] == "done", f"ended as {job}")
        after = board.info()
        expect(after["running"]["slot"] == "ota_0", "1.1.0 runs from ota_0")
        expect(after["running"]["state"] == "valid", "1.1.0 has confirmed")
        expect(after["running"]["version"] == "1.1.0", "the version is 1.1.0")
        expect(after["reset_reason"] == "software", f"it restarted by {after['reset_reason']}")
        expect(f"{after['id']} is ready" in board.log(), "the log is read over the network")
        for digest in ("app_sha256", "files_sha256"):
            expect(after["running"][digest] != before["running"][digest], f"{digest} is new")


def ways_back(bench: Bench, bootloader: pathlib.Path | None = None) -> None:
    """Releases that must not stay: each ends with the board back on 1.1.0."""
    scenario = "rollback" if bootloader is None else "rollback+"
    with bench.board(scenario, bootloader) as board:
        bench.discover()
        bench.update(scenario, "1.0.0 -> 1.1.0", bench.release("1.1.0"), board)
        for kind, cause in BAD.items():
            release = bench.release(f"1.2.0-{kind}", kind)
            job = bench.update(scenario, kind.replace("_", " "), release, board)
            expect(job["end"] == "rolled_back", f"{kind}: ended as {job}")
            info = board.info()
            expect(info["running"]["version"] == "1.1.0", f"{kind}: {info['running']}")
            expect(info["running"]["state"] == "valid", f"{kind}: {info['running']}")
            expect(info["last_update"]["end"] == "rolled_back", f"{kind}: {info['last_update']}")
            expect(info["last_update"]["cause"] == cause, f"{kind}: {info['last_update']}")
            with_rollback = bootloader is not None
            expect(info["bootloader_rollback"] == with_rollback, "what the bootloader can do")
        job = bench.update(scenario, "and a good one", bench.release("1.3.0"), board)
        expect(job["end"] == "done", f"ended as {job}")


# What each bad image does, and what the device gives as the cause.
BAD = {
    "panics": "panic",
    "hangs": "watchdog",
    "fails_check": "health_check",
    "never_confirms": "not_confirmed",
}


def rollback(bench: Bench) -> None:
    """The ways back, under the bootloader that espflash carries, which has no rollback."""
    ways_back(bench)


def rollback_bootloader(bench: Bench) -> None:
    """The ways back, under a bootloader with rollback."""
    given = os.environ.get("ROLLBACK_BOOTLOADER")
    if not given:
        print("rollback+  skipped: no bootloader in ROLLBACK_BOOTLOADER")
        return
    ways_back(bench, pathlib.Path(given))


def resume(bench: Bench) -> None:
    """Power goes in the middle of the download; the same update again keeps what was written."""
    with bench.board("resume") as board:
        bench.discover()
        release = bench.release("1.1.0")
        for share in (0.3, 0.7):
            begin = time.monotonic()
            process = bench.start_update(release)
            written, total = 0, None
            for line in process.stdout:
                event = json.loads(line)
                if event.get("event") == "started":
                    total = event["parts"]["app"]
                if event.get("event") == "chunk" and event["part"] == "app":
                    if event["state"] in ("read_back", "kept"):
                        written = event["n"] + event.get("count", 1)
                if total and written >= share * total:
                    break
            board.power_off()
            process.kill()
            process.wait()
            row = Row("resume", f"power cut at {written} of {total}", "cut",
                      time.monotonic() - begin, 0, written, "-")
            bench.rows.append(row)
            print(show(row), flush=True)
            board.power_on()
            info = board.info()
            expect(info["running"]["version"] == "1.0.0", "the old version still runs")
        job = bench.update("resume", "the same update again", release, board)
        expect(job["end"] == "done", f"ended as {job}")
        expect(job["kept"] >= 0.6 * total, f"kept only {job['kept']} of {total}")


def cancel(bench: Bench) -> None:
    """While an update runs, the board answers others, and lets itself be cancelled."""
    with bench.board("cancel") as board:
        bench.discover()
        release = bench.release("1.1.0")
        begin = time.monotonic()
        process = bench.start_update(release)
        token, asked, longest = None, 0, 0.0
        for line in process.stdout:
            event = json.loads(line)
            token = event.get("token", token)
            if event.get("event") != "chunk" or event["part"] != "app":
                continue
            asking = time.monotonic()
            info = board.info()
            longest = max(longest, time.monotonic() - asking)
            expect(info["updater"]["state"] == "updating", f"{info['updater']}")
            asked += 1
            if asked == 10:
                expect(board.post(f"/v1/update/cancel?token={token}") == {"cancelling": True}, "")
                break
        last = [json.loads(line) for line in process.communicate(timeout=60)[0].splitlines()][-1]
        expect(last["end"] == "cancelled", f"ended as {last}")
        expect(board.info()["updater"]["state"] == "idle", "it is idle again")
        what = f"{asked} answers meanwhile, {1000 * longest:.0f} ms at most"
        seconds = time.monotonic() - begin
        row = Row("cancel", what, last["end"], seconds, last["kept"], last["fetched"], "factory")
        bench.rows.append(row)
        print(show(row), flush=True)


def run_a_build(bench: Bench) -> None:
    """What cargo build leaves, to its log over the network: one command, as cargo's runner has it."""
    with bench.board("run") as board:
        bench.discover()
        before = board.info()
        begin = time.monotonic()
        elf = bench.options.images / "shuffled_1.elf"
        command = [bench.options.airlift, "run", elf, "--device", f"{ADDRESS}:80", "--key", bench.key]
        process = subprocess.Popen(
            list(map(str, command)), env=bench.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        said = []
        for line in process.stdout:
            said.append(line)
            # The board's own words, after its restart into the other slot.
            if re.match(r"\d+ INFO .* is ready$", line):
                break
        seconds = time.monotonic() - begin
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        (bench.work / "run.txt").write_text("".join(said))
        expect(any("INFO ota_0 runs after software" in line for line in said), "".join(said[-9:]))
        expect(process.returncode == 0, f"ended with {process.returncode}")
        after = board.info()["running"]
        expect(after["slot"] == "ota_0", f"runs {after}")
        expect(after["files_sha256"] == before["running"]["files_sha256"], "the files are the same")
        row = Row("run", "ELF to log, one command", "done", seconds, 0, 0, after["slot"])
        bench.rows.append(row)
        print(show(row), flush=True)


def row_of(bench: Bench) -> None:
    """Updates in a row, from one slot to the other."""
    with bench.board("row") as board:
        bench.discover()
        for n in range(1, IN_A_ROW + 1):
            kind = VARIANTS[n % len(VARIANTS)]
            files = ("1.0.0", "1.1.0")[n // 2 % 2]
            job = bench.update("row", f"update {n}", bench.release(f"2.{n}.0", kind, files), board)
            expect(job["end"] == "done", f"ended as {job}")
            info = board.info()
            expect(info["running"]["slot"] == f"ota_{(n - 1) % 2}", "the slots take turns")
            expect(info["running"]["version"] == f"2.{n}.0", "the new version runs")


# The same program linked in other orders: an update then has something to fetch.
VARIANTS = ["good", "shuffled_1", "shuffled_2"]

SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "main": main_job,
    "rollback": rollback,
    "rollback+": rollback_bootloader,
    "cancel": cancel,
    "resume": resume,
    "run": run_a_build,
    "row": row_of,
}


def main() -> int:
    lines = [f"  {name:<10} {run.__doc__}" for name, run in SCENARIOS.items()]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(["scenarios:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", help="which; default: all")
    for tool in ("qemu", "airlift", "factory"):
        parser.add_argument(f"--{tool}", required=True)
    for folder in ("images", "work"):
        parser.add_argument(f"--{folder}", required=True, type=pathlib.Path)
    options = parser.parse_args()
    dhcp.serve(TAP, HOST, ADDRESS)
    bench = Bench(options)
    failed = []
    for name in options.scenario or SCENARIOS:
        try:
            SCENARIOS[name](bench)
        except (AssertionError, OSError, RuntimeError, TimeoutError) as error:
            failed.append(name)
            print(f"{name:<10} FAILED: {error}", file=sys.stderr, flush=True)
    table = bench.work / "table.txt"
    table.write_text("".join(f"{show(row)}\n" for row in bench.rows))
    print(f"{len(bench.rows)} updates, table in {table}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
