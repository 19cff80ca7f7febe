#!/usr/bin/env python3
"""What the updater weighs and how much memory it needs: report.py PLAIN.elf LITTLEFS.elf [-o FILE]

Reads the ELF files of firmware/size, runs them under qemu-riscv32, and prints tables. With -o, writes
them between the markers of FILE. Fails when a budget is exceeded.

Every byte of .text belongs to a function by the symbol table; code that the compiler inlined counts
as its caller's. Every byte of .rodata belongs to whatever refers to it, by the relocations that the
linker keeps (--emit-relocs): to one part only, the first of the table that does.
"""

import argparse
import bisect
import re
import struct
import subprocess
import sys
from collections import defaultdict

# What is aimed at: code with Ed25519 and without littlefs; memory with buffers and stack.
CODE_AIM = 64 * 1024
RAM_AIM = 16 * 1024
# What must not be exceeded: a little more than it is. Lower them when it gets less.
CODE_LIMIT = 140 * 1024
RAM_LIMIT = 48 * 1024
LITTLEFS_CODE_LIMIT = 32 * 1024

# Parts of the code: the first pattern that matches the start of a demangled name decides.
PARTS = [
    ("harness", r"airlift_size::(?!connection|program|life|platform|littlefs::Files)|_start$|rust_begin_unwind|__rustc"),
    (
        "Ed25519 signature, with SHA-512",
        r"(ed25519\w*|curve25519_dalek|subtle|signature|sha2::sha512|sha2::Sha512)\b"
        r"|airlift_wire::envelope::Envelope>?::verify",
    ),
    (
        "SHA-256",
        r"(sha2|digest|block_buffer|hybrid_array|crypto_common|airlift_wire::digest)\b",
    ),
    (
        "HTTP: requests, answers, JSON, ranges",
        r"airlift_updater::(fetch|event|device::(http|request|answer|json|info|freshness))\b"
        r"|airlift_size::connection|core::net\b|embassy_sync::pubsub|heapless",
    ),
    (
        "tar: unpack, re-emit, copy",
        r"airlift_(updater::(emit|unpack|path|update::(files|copy))|wire::tar)\b",
    ),
    ("CBOR, COSE, manifest", r"airlift_wire::(cbor|envelope|manifest|keys|index|freshness|code)\b"),
    (
        "flash formats: partition table, otadata, image, state",
        r"airlift_wire::(partition|otadata|image|state|crc)\b|airlift_updater::(store|layout)\b|md5\b",
    ),
    ("littlefs, C", r"lfs_\w+$"),
    ("littlefs, wrapper", r"(airlift_littlefs|littlefs2_sys|tinyrlibc|airlift_size::littlefs)\b"),
    ("updater: jobs, order, guard", r"(airlift_updater|airlift_wire|embassy_\w+|airlift_size)\b"),
    ("core: text, numbers, slices", r"(core|byteorder|alloc|str|char|bool|[ui](8|16|32|64|size))\b"),
    ("compiler: memcpy, division, shared tails", r"compiler_builtins|OUTLINED|mem\w+$|bcmp$|str\w+$|__\w+$"),
]
NOT_COUNTED = "harness"
INITIAL = "initial content of `Device`, copied at the start"
LITTLEFS = ("littlefs, C", "littlefs, wrapper")

SHT_SYMTAB, SHT_RELA = 2, 4
STT_OBJECT, STT_FUNC = 1, 2
R_RISCV_32, R_RISCV_CALL, R_RISCV_CALL_PLT = 1, 18, 19
R_RISCV_PCREL_HI20, R_RISCV_HI20, R_RISCV_LO12_I, R_RISCV_LO12_S = 23, 26, 27, 28
DATA_REFERENCES = {R_RISCV_32, R_RISCV_PCREL_HI20, R_RISCV_HI20, R_RISCV_LO12_I, R_RISCV_LO12_S}


class Elf:
    """Sections, symbols and relocations of a 32-bit little-endian ELF file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        shoff, = struct.unpack_from("<I", data, 0x20)
        shentsize, shnum, shstrndx = struct.unpack_from("<HHH", data, 0x2E)
        headers = [struct.unpack_from("<10I", data, shoff + n * shentsize) for n in range(shnum)]

        def text(table, at):
            start = headers[table][4] + at
            return data[start:data.index(b"\0", start)].decode()

        self.sections = {text(shstrndx, h[0]): (h[3], h[5]) for h in headers}
        names = [text(shstrndx, h[0]) for h in headers]
        self.symbols, self.relocations = [], []
        for header in headers:
            if header[1] == SHT_SYMTAB:
                for at in range(header[4], header[4] + header[5], 16):
                    name, value, size, info, _, shndx = struct.unpack_from("<IIIBBH", data, at)
                    section = names[shndx] if shndx < shnum else ""
                    symbol = (text(header[6], name), value, size, info & 15, section)
                    self.symbols.append(symbol)
        for header in headers:
            if header[1] == SHT_RELA:
                for at in range(header[4], header[4] + header[5], 12):
                    offset, info, addend = struct.unpack_from("<IIi", data, at)
                    target = self.symbols[info >> 8]
                    self.relocations.append((offset, info & 0xFF, target[1] + addend))


def demangle(names):
    names = sorted(set(names))
    filtered = subprocess.run(
        ["c++filt", "-s", "rust"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    plain = (re.sub(r"\[[0-9a-f]+\]", "", line) for line in filtered.stdout.splitlines())
    return dict(zip(names, plain))


def part_of(name):
    # `<T as Trait>::method` and `drop_in_place::<T>` belong to T.
    name = re.sub(r"^core::ptr::drop_(in_place|glue)::<", "", name)
    name = re.sub(r"^[<&(\[*]*(mut |const )?[<&(\[*]*", "", name)
    for part, pattern in PARTS:
        if re.match(pattern, name):
            return part
    return "unknown: " + name


class Ranges:
    """Which part owns an address."""

    def __init__(self, ranges):
        self.ranges = sorted(ranges)
        self.starts = [r[0] for r in self.ranges]

    def at(self, address):
        n = bisect.bisect_right(self.starts, address) - 1
        if n >= 0 and address < self.ranges[n][1]:
            return self.ranges[n][2]
        return None


def weigh(elf):
    """Bytes of each part: {part: [text, rodata, data]}; and the statics: {name: bytes}."""
    names = demangle([s[0] for s in elf.symbols if s[3] in (STT_OBJECT, STT_FUNC)])
    weights = defaultdict(lambda: [0, 0, 0])
    base, size = elf.sections[".text"]
    functions = {}
    for name, value, length, kind, section in elf.symbols:
        if section == ".text" and kind == STT_FUNC and length:
            functions[value] = (value, value + length, part_of(names[name]))
    code = Ranges(functions.values())
    at = base
    # Assembly without a size, and the padding between functions, belong to what stands before.
    for start, end, part in code.ranges + [(base + size, base + size, None)]:
        if start > at:
            weights[NOT_COUNTED if at == base else previous][0] += start - at
        if part:
            weights[part][0] += end - max(start, at)
            previous = part
        at = max(at, end)

    # Which parts refer to which constants; constants refer to others.
    order = {part: n for n, (part, _) in enumerate(PARTS)}
    order[NOT_COUNTED] = len(order)
    base, size = elf.sections[".rodata"]
    inside = lambda address: base <= address < base + size
    owner_of = {}
    pieces = {base}
    for name, value, length, kind, section in elf.symbols:
        if section == ".rodata" and length:
            pieces.add(value)
            if kind == STT_OBJECT and not names[name].startswith(".L"):
                owner = part_of(names[name])
                if not owner.startswith("unknown"):
                    owner_of[value] = owner
    references = []
    for offset, kind, target in elf.relocations:
        if kind in DATA_REFERENCES and inside(target):
            pieces.add(target)
            references.append((offset, target))
    starts = sorted(pieces)
    piece_at = lambda address: starts[bisect.bisect_right(starts, address) - 1]
    links = defaultdict(list)
    wanted = defaultdict(set)
    for offset, target in references:
        if inside(offset):
            links[piece_at(offset)].append(piece_at(target))
        else:
            # Only the world has constants in .data.
            wanted[piece_at(target)].add(code.at(offset) or NOT_COUNTED)
    for piece, owner in owner_of.items():
        wanted[piece].add(owner)
    work = list(wanted)
    while work:
        piece = work.pop()
        for target in links[piece]:
            if not wanted[piece] <= wanted[target]:
                wanted[target] |= wanted[piece]
                work.append(target)
    previous = NOT_COUNTED
    for start, end in zip(starts, starts[1:] + [base + size]):
        if wanted[start]:
            previous = owner_of.get(start) or min(wanted[start], key=lambda part: order.get(part, 99))
        weights[previous][1] += end - start

    for column, section in enumerate((".text", ".rodata")):
        assert sum(w[column] for w in weights.values()) == elf.sections[section][1], section

    statics = {}
    for name, value, length, kind, section in elf.symbols:
        if section in (".data", ".bss") and kind == STT_OBJECT:
            plain = names[name]
            board = re.search(r"::(DEVICE|BUFFERS|STORAGE)$", plain)
            if board or part_of(plain) != NOT_COUNTED:
                statics[board[1] if board else plain] = length
                if section == ".data":
                    weights[INITIAL][2] += length
    return weights, statics


def play(path):
    """Runs a program: sizes by name, and the deepest stack of each phase."""
    run = subprocess.run(["qemu-riscv32", path], capture_output=True, text=True, timeout=120)
    if run.returncode != 0 or not run.stdout.endswith("ok\n"):
        sys.exit(f"{path}: ended with {run.returncode}: {run.stdout}{run.stderr}")
    sizes, stacks = {}, {}
    for line in run.stdout.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, number = rest.rpartition(" ")
        if kind == "size":
            sizes[name] = int(number)
        elif kind == "stack":
            stacks[name] = max(stacks.get(name, 0), int(number))
    return sizes, stacks


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else cell for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def code_table(weights, littlefs):
    """The table of the code, and its total without littlefs."""
    rows, total = [], [0, 0]
    order = [part for part, _ in PARTS] + [INITIAL]
    for part in order + sorted(set(weights) - set(order)):
        text, rodata, data = weights[part]
        if part != NOT_COUNTED and part not in LITTLEFS and text + rodata + data:
            rows.append((part, text, rodata + data, text + rodata + data))
            total[0] += text
            total[1] += rodata + data
    rows.append(("**without littlefs**", *total, sum(total)))
    if littlefs:
        for part in LITTLEFS:
            text, rodata, data = littlefs[part]
            rows.append((part, text, rodata + data, text + rodata + data))
        with_it = [sum(w[0] for p, w in littlefs.items() if p != NOT_COUNTED)]
        with_it.append(sum(w[1] + w[2] for p, w in littlefs.items() if p != NOT_COUNTED))
        rows.append(("**with littlefs**", *with_it, sum(with_it)))
    return table(["part", "code", "constants", "together"], rows), sum(total)


def ram_table(sizes, stacks, littlefs_sizes, littlefs_stacks):
    """The table of the memory, and its total without littlefs."""
    deepest = max(stacks.values())
    count = sizes["connections"]
    rows = [
        ("`Buffers`: an index page and two chunks of 4,096", sizes["Buffers"]),
        ("`Device`: the inbox of 4,096, the queue of events, what it says of itself", sizes["Device"]),
        (f"the task of the updater, with its `Runner` of {sizes['Runner']:,}", sizes["program"]),
        (f"{count} tasks of connections, {sizes['connection']:,} each", count * sizes["connection"]),
        ("statics besides", 0),
        ("the deepest stack", deepest),
    ]
    total = sum(row[1] for row in rows)
    rows.append(("**without littlefs**", total))
    if littlefs_sizes:
        more = max(littlefs_stacks.values()) - deepest
        tasks = littlefs_sizes["program"] - sizes["program"]
        rows.append(("littlefs: `Storage`", littlefs_sizes["Storage"]))
        rows.append(("littlefs: what its files add to the task", tasks))
        rows.append(("littlefs: deeper stack", more))
        rows.append(("**with littlefs**", total + littlefs_sizes["Storage"] + tasks + more))
    return table(["memory", "bytes"], rows), total


PHASES = {
    "signature": "the Ed25519 signature alone, with 4,144 bytes of scratch",
    "guard": "boot guard, with the signature of what runs",
    "start": "`Runner::start`: reading the running slot, `GET /v1/device` prepared",
    "serve": "the API asked, requests refused, a trial confirmed",
    "freshness": "a nonce, and a statement whose signature is checked",
    "refusals": "updates that are refused",
    "update": "an update of app and files: cancelled, resumed, lied to, watched by two",
    "copy": "an update that copies the app and brings new keys",
    "again": "an update that was rolled back before",
}


def stack_table(stacks, littlefs_stacks):
    head = ["phase", "stack"] + (["with littlefs"] if littlefs_stacks else [])
    rows = []
    for name, depth in stacks.items():
        row = [PHASES.get(name, name), depth]
        rows.append(row + ([littlefs_stacks[name]] if littlefs_stacks else []))
    return table(head, rows)


def write_between(path, text):
    begin, end = "<!-- size: begin -->", "<!-- size: end -->"
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(begin)
    _, after = rest.split(end)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("plain")
    arguments.add_argument("littlefs", nargs="?")
    arguments.add_argument("-o", dest="output", metavar="FILE")
    arguments.add_argument("--names", metavar="PART", help="list the functions of a part")
    options = arguments.parse_args()

    elf = Elf(options.plain)
    if options.names is not None:
        names = demangle([s[0] for s in elf.symbols if s[3] == STT_FUNC])
        rows = [(s[2], names[s[0]]) for s in elf.symbols if s[3] == STT_FUNC and s[2]]
        for size, name in sorted(rows, reverse=True):
            if part_of(name).startswith(options.names):
                print(f"{size:6} {name}")
        return
    weights, statics = weigh(elf)
    sizes, stacks = play(options.plain)
    littlefs, littlefs_sizes, littlefs_stacks = None, None, None
    if options.littlefs:
        littlefs, _ = weigh(Elf(options.littlefs))
        littlefs_sizes, littlefs_stacks = play(options.littlefs)
    code, code_total = code_table(weights, littlefs)
    ram, ram_total = ram_table(sizes, stacks, littlefs_sizes, littlefs_stacks)
    strange = set(statics) - {"DEVICE", "BUFFERS"}
    if strange:
        sys.exit(f"statics that no row counts: {strange}")
    lines = [
        f"Code: {code_total:,} bytes (aim {CODE_AIM:,}, limit {CODE_LIMIT:,}). "
        f"Memory: {ram_total:,} bytes (aim {RAM_AIM:,}, limit {RAM_LIMIT:,}).",
        code,
        ram,
        stack_table(stacks, littlefs_stacks),
    ]
    text = "\n\n".join(lines)
    print(text)
    if options.output:
        write_between(options.output, text)
    exceeded = []
    if code_total > CODE_LIMIT:
        exceeded.append(f"{code_total:,} bytes of code, at most {CODE_LIMIT:,}")
    if ram_total > RAM_LIMIT:
        exceeded.append(f"{ram_total:,} bytes of memory, at most {RAM_LIMIT:,}")
    if littlefs and sum(sum(littlefs[part]) for part in LITTLEFS) > LITTLEFS_CODE_LIMIT:
        exceeded.append(f"littlefs has more than {LITTLEFS_CODE_LIMIT:,} bytes of code")
    if exceeded:
        sys.exit("over the limit: " + "; ".join(exceeded))


if __name__ == "__main__":
    main()
