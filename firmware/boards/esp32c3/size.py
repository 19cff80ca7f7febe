#!/usr/bin/env python3
"""What a board's program takes: flash by section, and the memory that is reserved from the start.

    size.py PROGRAM.elf PROGRAM.bin
    size.py PROGRAM.elf --without OTHER.elf     what the first takes more than the second
"""

import pathlib
import re
import subprocess
import sys

# Memory of the ESP32-C3 that a program may use (esp-hal's memory.x).
DRAM = 313 * 1024
SLOT = 960 * 1024
# Sections that are in the image, without the zeros that fill pages; and those in memory.
FLASH = r"\.(rwtext|data|rodata|text)"
RAM = r"\.(data|bss)"
# Statics, each with what it is for: the first match counts.
STATICS = [
    ("updater: page, two chunks", r"airlift_esp::start::BUFFERS"),
    ("updater: device, inbox, events", r"airlift_esp::run::DEVICE"),
    ("updater: its task", r"update::POOL|run::feed::POOL|run::WATCHDOG"),
    ("updater: tasks of the API's 4 connections", r"run::answer::POOL"),
    ("littlefs: caches and files", r"airlift_esp::run::STORAGE"),
    ("littlefs: its thread, besides the stack from the heap", r"airlift_esp::thread::"),
    ("sockets: the API's, 4", r"airlift_esp::run::SERVE_BUFFERS"),
    ("sockets: to the chunk server", r"airlift_esp::run::FETCH"),
    ("announcement: task, socket, packets", r"airlift_esp::run::MDNS|run::announce::POOL"),
    ("network stack", r"RESOURCES|network::POOL"),
    ("log", r"airlift_esp::log::LOGGER"),
    ("heap: the radio's, and the stacks of threads", r"HEAP"),
    ("the emulator's Ethernet", r"open_eth::BUFFERS"),
]


def main() -> int:
    if len(sys.argv) == 4 and sys.argv[2] == "--without":
        return difference(sys.argv[1], sys.argv[3])
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    elf, image = sys.argv[1:]
    size = pathlib.Path(image).stat().st_size
    print(f"image {size:>8} bytes, {100 * size // SLOT} % of a slot of {SLOT // 1024} KiB")
    taken = dict.fromkeys([name for name, _ in STATICS] + ["other statics"], 0)
    stack = 0
    for length, kind, name in symbols(elf):
        if kind not in "bBdD":
            continue
        found = (label for label, pattern in STATICS if re.search(pattern, name))
        taken[next(found, "other statics")] += length
    for name, address, length in sections(elf):
        if name == ".stack":
            stack = length
    for label, length in taken.items():
        if length:
            print(f"ram   {length:>8} bytes  {label}")
    used = sum(taken.values())
    print(f"ram   {used:>8} bytes  together, of {DRAM}; {stack} are left for the stack")
    return 0


def difference(elf: str, without: str) -> int:
    for what, pattern in [("flash", FLASH), ("ram", RAM)]:
        more, less = (
            sum(length for name, _, length in sections(file) if re.match(pattern, name))
            for file in (elf, without)
        )
        print(f"{what:<5} {more - less:>8} bytes more, {more} instead of {less}")
    return 0


def symbols(elf: str):
    """Length, kind and name of every symbol."""
    command = [tool("nm"), "--print-size", "--radix=d", "--demangle", elf]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        match = re.match(r"\d+ (\d+) (\w) (.*)", line)
        if match:
            yield int(match[1]), match[2], match[3]


def sections(elf: str):
    """Name, address and length of every section."""
    command = [tool("size"), "-A", elf]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        match = re.match(r"(\S+)\s+(\d+)\s+(\d+)$", line)
        if match:
            yield match[1], int(match[3]), int(match[2])


def tool(name: str) -> str:
    """An LLVM tool, whatever version the distribution has."""
    for candidate in (f"llvm-{name}", f"llvm-{name}-14", f"llvm-{name}-22"):
        if subprocess.run(["which", candidate], capture_output=True).returncode == 0:
            return candidate
    sys.exit(f"no llvm-{name} (Debian: llvm)")


if __name__ == "__main__":
    sys.exit(main())
