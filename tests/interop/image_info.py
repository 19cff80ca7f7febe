#!/usr/bin/env python3
"""What esptool says about ESP app images, as JSON, one line for each image.

Airlift reads an image before it packs it, and a device reads it before it
boots it. esptool is what everyone else uses, so its verdict is the one to
compare with: an image that one accepts and the other refuses is a bug in one
of them.

    image_info.py [--esptool PATH] [--break-into FOLDER] IMAGE_OR_FOLDER...

``--break-into`` also writes broken copies of every image into FOLDER and
judges those. They are made on the fly: nothing broken is kept in the tree.
esptool is the command of that name from PyPI, given by ``--esptool`` or the
variable ``ESPTOOL``.

A line holds:

    schema    1
    image     the file's name
    accepted  whether checksum and hash hold, and all that was declared is there
    chip      from the image's header, as in "esp32c3", or null if unreadable
    checksum  "valid", "invalid" or null
    hash      "valid", "invalid", "absent" or null
    project   from the application descriptor, or null
    version   likewise
    error     what esptool gave up on, or null
    expected  for a broken copy, whether it should be accepted

The exit code is 1 if an original is refused or a broken copy is judged
otherwise than expected, and 2 if esptool cannot be run.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

MAGIC = 0xE9
HEADER = 24
SEGMENT_COUNT_AT = 1
CHIP_ID_AT = 12
HASH_FLAG_AT = 23
HASH_LENGTH = 32
CHIP_ESP32C6 = 13
CHIP_UNKNOWN = 0x7FFE


def main():
    options = arguments()
    images = list(find_images(options.images))
    if not images:
        sys.exit("no images given")
    right = True
    for path in images:
        verdict = judge(options.esptool, path)
        right &= verdict["accepted"]
        print(json.dumps(verdict))
        if options.break_into:
            for broken in write_broken(path, options.break_into):
                verdict = judge(options.esptool, broken.path)
                verdict["expected"] = broken.accepted
                right &= verdict["accepted"] == broken.accepted
                print(json.dumps(verdict))
    sys.exit(0 if right else 1)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--esptool", default=os.environ.get("ESPTOOL", "esptool"))
    parser.add_argument("--break-into", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("images", nargs="+", type=pathlib.Path, metavar="IMAGE_OR_FOLDER")
    return parser.parse_args()


def find_images(paths):
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.bin"))
        else:
            yield path


def judge(esptool, path):
    """Runs ``esptool image-info`` on one image and reads what it prints."""
    try:
        run = subprocess.run(
            [esptool, "image-info", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            # Without a terminal its lines are as wide as this says.
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        )
    except OSError as error:
        print(f"cannot run {esptool}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    text = run.stdout + run.stderr
    verdict = {
        "schema": 1,
        "image": path.name,
        "accepted": False,
        "chip": chip(text),
        "checksum": found(r"^Checksum: 0x[0-9a-f]+ \((valid|invalid)", text),
        "hash": found(r"^Validation hash: [0-9a-f]+ \((valid|invalid)", text),
        "project": found(r"^Project name: (.*)$", text),
        "version": found(r"^App version: (.*)$", text),
        "error": None,
    }
    if run.returncode != 0:
        verdict["error"] = error_of(text, run.returncode)
        return verdict
    # An unknown chip makes esptool fall back to the ESP8266, whose images are another format.
    if verdict["chip"] is not None:
        verdict["hash"] = verdict["hash"] or "absent"
        verdict["accepted"] = verdict["checksum"] == "valid" and verdict["hash"] != "invalid"
    return verdict


def found(pattern, text):
    match = re.search(pattern, text, re.MULTILINE)
    return match.group(1).strip() if match else None


def chip(text):
    name = found(r"^Chip ID: \d+ \((.*)\)$", text)
    return name.lower().replace("-", "") if name else None


def error_of(text, code):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


@dataclasses.dataclass
class Broken:
    """A broken copy, and whether a reader of images should take it anyway."""

    path: pathlib.Path
    accepted: bool


def write_broken(original, folder):
    """Writes every kind of broken copy of an image; yields them."""
    folder.mkdir(parents=True, exist_ok=True)
    image = Image(original.read_bytes())
    for name, (accepted, data) in image.variants().items():
        path = folder / f"{original.stem}.{name}.bin"
        path.write_bytes(data)
        yield Broken(path, accepted)


class Image:
    """The places in an image that a broken copy changes."""

    def __init__(self, data):
        if len(data) < HEADER or data[0] != MAGIC:
            raise ValueError("not an ESP image")
        self.data = data
        self.segments = []
        at = HEADER
        for _ in range(data[SEGMENT_COUNT_AT]):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            self.segments.append((at, size))
            at += 8 + size
        # The checksum is the last byte of a block of 16.
        self.checksum_at = at | 15
        self.hash_at = self.checksum_at + 1
        if len(data) != self.hash_at + HASH_LENGTH or not data[HASH_FLAG_AT]:
            raise ValueError("not an image with its hash at the end")

    def variants(self):
        """Name of each broken copy: whether to accept it, and its bytes."""
        last_at, last_size = self.segments[-1]
        middle = last_at + 8 + last_size // 2
        chip_id = slice(CHIP_ID_AT, CHIP_ID_AT + 2)
        length = slice(last_at + 4, last_at + 8)
        end = self.hash_at
        return {
            "bit-flipped-in-segment": (False, self.changed(middle, self.data[middle] ^ 0x10)),
            "checksum-wrong": (
                False,
                self.rehashed(self.changed(self.checksum_at, self.data[self.checksum_at] ^ 1)),
            ),
            "hash-wrong": (False, self.changed(end, self.data[end] ^ 1)),
            "segment-hashed-but-checksum-stale": (
                False,
                self.rehashed(self.changed(middle, self.data[middle] ^ 0x10)),
            ),
            "magic-wrong": (False, self.changed(0, MAGIC ^ 0xFF)),
            "other-chip": (True, self.rehashed(self.replaced(chip_id, CHIP_ESP32C6))),
            "unknown-chip": (False, self.rehashed(self.replaced(chip_id, CHIP_UNKNOWN))),
            "seventeen-segments": (False, self.rehashed(self.changed(SEGMENT_COUNT_AT, 17))),
            "segment-past-end": (False, self.rehashed(self.replaced(length, len(self.data)))),
            "hash-flag-of-two": (False, self.rehashed(self.changed(HASH_FLAG_AT, 2))),
            # Neither chip nor esptool looks behind the end, as a slot is longer than its image.
            "byte-after-end": (True, self.data + b"\n"),
            "without-hash": (True, self.changed(HASH_FLAG_AT, 0)[:end]),
            "empty": (False, b""),
            "header-only": (False, self.data[:HEADER]),
            "cut-in-segment": (False, self.data[:middle]),
            "cut-before-checksum": (False, self.data[: self.checksum_at]),
            "cut-in-hash": (False, self.data[:-1]),
        }

    def changed(self, at, value):
        data = bytearray(self.data)
        data[at] = value
        return bytes(data)

    def replaced(self, where, value):
        data = bytearray(self.data)
        data[where] = value.to_bytes(where.stop - where.start, "little")
        return bytes(data)

    def rehashed(self, data):
        """The same bytes with a hash that holds, so that only the rest is wrong."""
        body = data[: self.hash_at]
        return body + hashlib.sha256(body).digest()


if __name__ == "__main__":
    main()
