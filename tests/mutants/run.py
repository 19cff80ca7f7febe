#!/usr/bin/env python3
"""Takes defences out, one at a time, and requires that a test notices.

A mutant is a small edit of the sources that removes one defence. Each is written down in a *.toml
file beside this program:

    [[mutant]]
    name = "signature-is-not-checked"           # unique over all files
    what = "The device takes any signature."    # the defence taken out, one sentence
    file = "crates/wire/src/envelope.rs"        # or: edits = [{ file, find, replace }, ...]
    find = "text that stands exactly once in the file"
    replace = "what stands there instead"
    package = "airlift-virtual-device"          # whose tests must notice
    test = "adversary"                          # an integration test, or "lib"
    filter = ["a_test_that_must_fail"]          # one name or several: parts of test names, as for
                                                # `cargo test`; each must have a test that fails
    profile = "dev"                             # optional

or, in place of package, test and filter, `command = ["cargo", "run", ...]`, which must end with
exit code 0 without the mutant and with 1 under it.

The sources are copied below the target directory and edited there: the tree that you work in is
only read. A run fails if a mutant survives, no longer applies, or does not compile.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A test that takes longer hangs; none that is named here takes ten seconds.
PATIENCE = 180
COMMAND_PATIENCE = 1800
TAIL = 25
KEYS = {
    "name", "what", "file", "find", "replace", "edits", "package", "test", "filter", "profile",
    "command",
}  # fmt: skip


class Bad(Exception):
    """Something that ends one mutant, or the run, with a sentence."""


@dataclass(frozen=True)
class Edit:
    file: str
    find: str
    replace: str


@dataclass(frozen=True)
class Binary:
    """One executable with tests."""

    package: str
    test: str
    profile: str

    def __str__(self) -> str:
        return f"{self.package} {self.test}"


@dataclass
class Mutant:
    name: str
    what: str
    source: str
    edits: list[Edit]
    binary: Binary | None = None
    filters: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def order(self) -> tuple[str, str]:
        # Neighbours that edit the same file cost one rebuild less.
        return (str(self.binary), self.edits[0].file)


def read_mutants() -> list[Mutant]:
    mutants: list[Mutant] = []
    for path in sorted(HERE.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text()).get("mutant", [])
        except tomllib.TOMLDecodeError as error:
            raise Bad(f"{path.name}: {error}") from error
        mutants += [one_mutant(path.name, table) for table in tables]
    names = [mutant.name for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise Bad(f"two mutants are called {name}")
    return mutants


def one_mutant(source: str, table: dict) -> Mutant:
    name = table.get("name")
    where = f"{source}: {name}"
    if not name or not str(table.get("what", "")).endswith("."):
        raise Bad(f"{where}: a mutant needs a name and a sentence `what`")
    if unknown := set(table) - KEYS:
        raise Bad(f"{where}: unknown keys {sorted(unknown)}")
    try:
        rows = table["edits"] if "edits" in table else [table]
        edits = [Edit(row["file"], row["find"], row["replace"]) for row in rows]
        if not edits or any(edit.find == edit.replace for edit in edits):
            raise Bad(f"{where}: edits nothing")
        if "command" in table:
            return Mutant(name, table["what"], source, edits, command=table["command"])
        binary = Binary(table["package"], table["test"], table.get("profile", "dev"))
        filters = table["filter"]
    except KeyError as error:
        raise Bad(f"{where}: {error} is missing") from error
    filters = [filters] if isinstance(filters, str) else filters
    if not filters or not all(filters):
        raise Bad(f"{where}: names no test")
    return Mutant(name, table["what"], source, edits, binary, filters)


class Copy:
    """The sources, where they may be changed, and their builds."""

    def __init__(self, target: Path, jobs: int):
        self.jobs = jobs
        self.root = target / "mutants" / "src"
        self.target = target / "mutants" / "target"
        self.root.mkdir(parents=True, exist_ok=True)
        self.lock = open(target / "mutants" / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Bad(f"another run uses {self.root.parent}") from error

    def refresh(self) -> None:
        """Makes the copy the same as the tree; a file that is the same keeps its time."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        answer = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
        names = {name for name in answer.stdout.decode().split("\0") if name}
        names = {name for name in names if (ROOT / name).is_file()}
        for path in self.root.rglob("*"):
            if path.is_file() and str(path.relative_to(self.root)) not in names:
                path.unlink()
        for name in names:
            source = ROOT / name
            content = source.read_bytes()
            copy = self.root / name
            if not copy.is_file() or copy.read_bytes() != content:
                self.write(name, content)
            copy.chmod(source.stat().st_mode & 0o777)

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def apply(self, edits: list[Edit]) -> dict[str, bytes]:
        """Edits the copy; returns what stood there before."""
        before: dict[str, bytes] = {}
        after: dict[str, str] = {}
        for edit in edits:
            if edit.file not in after:
                path = self.root / edit.file
                if not path.is_file():
                    raise Bad(f"no longer applies: there is no {edit.file}")
                before[edit.file] = path.read_bytes()
                after[edit.file] = before[edit.file].decode()
            found = after[edit.file].count(edit.find)
            if found != 1:
                raise Bad(f"no longer applies: its text stands {found} times in {edit.file}")
            after[edit.file] = after[edit.file].replace(edit.find, edit.replace)
        for name, text in after.items():
            self.write(name, text.encode())
        return before

    def environment(self, **more: str) -> dict[str, str]:
        # Incremental builds are what makes a mutant cheap; nobody debugs one.
        ours = {
            "CARGO_TARGET_DIR": str(self.target),
            "CARGO_INCREMENTAL": "1",
            "CARGO_PROFILE_DEV_DEBUG": "0",
        }
        return {**os.environ, **ours, "RUST_BACKTRACE": "0", **more}

    def build(self, binary: Binary) -> Path:
        which = ["--lib"] if binary.test == "lib" else ["--test", binary.test]
        build = ["cargo", "test", "--no-run", "--locked", f"-j{self.jobs}", "-p", binary.package]
        build += ["--profile", binary.profile, *which]
        build += ["--message-format=json-render-diagnostics"]
        answer = subprocess.run(
            build, cwd=self.root, env=self.environment(), capture_output=True, text=True
        )
        if answer.returncode != 0:
            raise Bad(f"does not compile\n{tail(answer.stderr)}")
        for line in answer.stdout.splitlines():
            message = json.loads(line) if line.startswith("{") else {}
            if message.get("executable") and message.get("profile", {}).get("test"):
                self.folder = Path(message["manifest_path"]).parent
                return Path(message["executable"])
        raise Bad(f"{binary} has no tests")

    def run_tests(self, executable: Path, names: list[str], *, exact: bool) -> dict[str, bool]:
        """Runs tests; for each, whether it passed."""
        call = [str(executable), "--color=never", *(["--exact"] if exact else []), *names]
        env = self.environment(CARGO_MANIFEST_DIR=str(self.folder))
        try:
            answer = subprocess.run(
                call, cwd=self.folder, env=env, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired as error:
            raise Bad(f"its tests did not end within {PATIENCE} s") from error
        ends = re.findall(
            r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED)$", answer.stdout, re.MULTILINE
        )
        results = {name: end == "ok" for name, end in ends}
        expected = 0 if all(results.values()) else 101
        if answer.returncode != expected:
            raise Bad(
                f"the tests ended with {answer.returncode}, not by an assertion\n"
                + tail(answer.stdout + answer.stderr)
            )
        return results

    def list_tests(self, executable: Path) -> list[str]:
        call = [str(executable), "--list", "--format=terse"]
        answer = subprocess.run(call, capture_output=True, text=True, check=True)
        return re.findall(r"^(.+): test$", answer.stdout, re.MULTILINE)

    def run_command(self, command: list[str]) -> tuple[int, str]:
        try:
            answer = subprocess.run(
                command,
                cwd=self.root,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_PATIENCE,
            )
        except subprocess.TimeoutExpired as error:
            raise Bad(f"the command did not end within {COMMAND_PATIENCE} s") from error
        return answer.returncode, answer.stdout


def tail(text: str) -> str:
    return "\n".join("    " + line for line in text.rstrip().splitlines()[-TAIL:])


def matching(filters: list[str], names: list[str]) -> dict[str, list[str]]:
    """The tests that each filter means: the one of that very name, else all that contain it."""
    found = {}
    for wanted in filters:
        exact = [name for name in names if name == wanted or name.endswith("::" + wanted)]
        found[wanted] = exact or [name for name in names if wanted in name]
        if not found[wanted]:
            raise Bad(f"no test is called {wanted}")
    return found


def check_unmutated(copy: Copy, mutants: list[Mutant]) -> None:
    """Without a mutant all that is named must exist and pass."""
    wanted: dict[Binary, set[str]] = {}
    commands: list[list[str]] = []
    for mutant in mutants:
        if mutant.binary:
            wanted.setdefault(mutant.binary, set()).update(mutant.filters)
        elif mutant.command not in commands:
            commands.append(mutant.command)
    for binary, filters in wanted.items():
        start = time.monotonic()
        try:
            executable = copy.build(binary)
            found = matching(sorted(filters), copy.list_tests(executable))
            names = sorted({name for names in found.values() for name in names})
            results = copy.run_tests(executable, names, exact=True)
        except Bad as error:
            raise Bad(f"{binary}, unchanged: {error}") from error
        failed = [name for name in names if not results.get(name)]
        if failed:
            raise Bad(f"{binary}, unchanged: {', '.join(failed)} did not pass")
        say(f"ok        {binary}: {len(names)} tests pass unchanged", start)
    for command in commands:
        start = time.monotonic()
        code, output = copy.run_command(command)
        if code != 0:
            raise Bad(f"{' '.join(command)}, unchanged: exit code {code}\n{tail(output)}")
        say(f"ok        {' '.join(command)}", start)


def try_mutant(copy: Copy, mutant: Mutant) -> None:
    """Returns if something notices the mutant."""
    before = copy.apply(mutant.edits)
    try:
        if not mutant.binary:
            code, output = copy.run_command(mutant.command)
            if code == 0:
                raise Bad(f"SURVIVED: {' '.join(mutant.command)} found nothing\n{tail(output)}")
            if code != 1:
                raise Bad(f"the command ended with {code}, not with 1\n{tail(output)}")
            return
        executable = copy.build(mutant.binary)
        found = matching(mutant.filters, copy.list_tests(executable))
        names = sorted({name for names in found.values() for name in names})
        results = copy.run_tests(executable, names, exact=True)
        for wanted, tests in found.items():
            if all(results.get(name) for name in tests):
                raise Bad(f"SURVIVED: {wanted} passes all the same")
    finally:
        for name, content in before.items():
            copy.write(name, content)


def say(text: str, start: float) -> None:
    print(f"{text}  {time.monotonic() - start:.1f} s", flush=True)


def share(mutants: list[Mutant], sample: str) -> list[Mutant]:
    match = re.fullmatch(r"(\d+)/(\d+)", sample)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise Bad("--sample is K/N with K from 1 to N")
    return mutants[int(match[1]) - 1 :: int(match[2])]


def run(args: argparse.Namespace) -> int:
    mutants = read_mutants()
    if args.only:
        unknown = set(args.only) - {mutant.name for mutant in mutants}
        if unknown:
            raise Bad(f"no mutant is called {', '.join(sorted(unknown))}")
        mutants = [mutant for mutant in mutants if mutant.name in args.only]
    if args.source:
        mutants = [mutant for mutant in mutants if mutant.source == f"{args.source}.toml"]
    if args.sample:
        mutants = share(mutants, args.sample)
    if args.list:
        for mutant in mutants:
            print(f"{mutant.name:40} {mutant.what}")
        return 0
    if not mutants:
        raise Bad("there is no mutant to try")
    mutants.sort(key=Mutant.order)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    copy = Copy(ROOT / target, args.jobs)
    begin = time.monotonic()
    copy.refresh()
    check_unmutated(copy, mutants)
    failed = []
    for mutant in mutants:
        start = time.monotonic()
        try:
            try_mutant(copy, mutant)
            say(f"noticed   {mutant.name}", start)
        except Bad as error:
            failed.append(mutant.name)
            say(f"FAILED    {mutant.name}: {error}", start)
    seconds = time.monotonic() - begin
    print(f"{len(mutants)} mutants, {len(mutants) - len(failed)} noticed, {seconds:.0f} s")
    if failed:
        print("not noticed: " + ", ".join(failed))
    return 1 if failed else 0


def main() -> int:
    about = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about.add_argument("--only", action="append", metavar="NAME", help="this mutant; repeatable")
    about.add_argument("--from", dest="source", metavar="FILE", help="those of FILE.toml")
    about.add_argument("--sample", metavar="K/N", help="share K of N of the mutants")
    about.add_argument("--list", action="store_true", help="names and sentences, and no run")
    about.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    try:
        return run(about.parse_args())
    except Bad as error:
        print(f"FAILED    {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
