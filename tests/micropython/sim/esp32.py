"""Stands in for MicroPython's `esp32` module: partitions of the flash file.

set_boot and mark_app_valid_cancel_rollback do to otadata what ESP-IDF 5 does
(esp_ota_ops.c: an entry is erased, then written as one), with rollback or without.
"""

import os
from binascii import crc32
from hashlib import sha256
from struct import pack, unpack_from

import flash

ROLLBACK = os.getenv("AIRLIFT_BOOTLOADER") != "plain"
NEW, PENDING, VALID, INVALID, ABORTED = range(5)
UNDEFINED = 0xFFFFFFFF


def _table():
    rows = []
    entry = bytearray(32)
    for n in range(95):
        flash.read(0x8000 + 32 * n, entry)
        if entry[:2] != b"\xaa\x50":
            return rows
        kind, subtype = entry[2], entry[3]
        at, size = unpack_from("<II", entry, 4)
        label = str(entry[12:28], "utf-8").rstrip("\0")
        rows.append((kind, subtype, at, size, label, False))


def entries():
    found = []
    for n in range(2):
        raw = bytearray(32)
        flash.read(_OTADATA + 4096 * n, raw)
        found.append(raw)
    return found


def sequence(raw):
    """Of an entry that a bootloader would consider; 0 otherwise."""
    number, state = unpack_from("<I", raw)[0], unpack_from("<I", raw, 24)[0]
    if unpack_from("<I", raw, 28)[0] != crc32(raw[:4], UNDEFINED):
        return 0
    return 0 if number == UNDEFINED or state in (INVALID, ABORTED) else number


def active():
    numbers = [sequence(raw) for raw in entries()]
    return None if not any(numbers) else 1 if numbers[1] > numbers[0] else 0


def put(n, number, state):
    body = pack("<I", number)
    raw = body + b"\xff" * 20 + pack("<II", state, crc32(body, UNDEFINED))
    flash.erase(_OTADATA + 4096 * n)
    flash.write(_OTADATA + 4096 * n, raw)


def is_image(row):
    """As the second-stage bootloader judges an image; the appended hash decides."""
    head = bytearray(24)
    flash.read(row[2], head)
    if head[0] != 0xE9 or not 1 <= head[1] <= 16:
        return False
    at = 24
    for _ in range(head[1]):
        segment = bytearray(8)
        flash.read(row[2] + at, segment)
        at += 8 + unpack_from("<I", segment, 4)[0]
        if at > row[3]:
            return False
    at += 16 - at % 16
    hasher = sha256()
    buf = memoryview(bytearray(1024))
    for start in range(0, at, 1024):
        piece = buf[: min(1024, at - start)]
        flash.read(row[2] + start, piece)
        hasher.update(piece)
    appended = bytearray(32)
    flash.read(row[2] + at, appended)
    return appended == hasher.digest()


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1
    running = None  # set by the bootloader

    def __init__(self, which, block_size=4096):
        if which == Partition.RUNNING:
            self._row = Partition.running
        elif isinstance(which, tuple):
            self._row = which
        else:
            self._row = [row for row in TABLE if row[4] == which][0]

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=4096):
        return [
            Partition(row)
            for row in TABLE
            if row[0] == type and subtype in (0xFF, row[1]) and label in (None, row[4])
        ]

    def info(self):
        return self._row

    def _place(self, at, length):
        if at < 0 or at + length > self._row[3]:
            raise OSError(22)
        return self._row[2] + at

    def readblocks(self, n, buf, offset=0):
        at = n * 4096 + offset
        flash.read(self._place(at, len(buf)), buf)

    def writeblocks(self, n, buf, offset=None):
        at = self._place(n * 4096 + (offset or 0), len(buf))
        if self._row[0] == Partition.TYPE_APP and self._row == Partition.running:
            flash.fault("a write to the running app")
        if offset is None:
            for sector in range(0, len(buf), 4096):
                flash.erase(at + sector)
        flash.write(at, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self._row[3] // 4096
        if op == 5:
            return 4096
        if op == 6:
            flash.erase(self._place(arg * 4096, 4096))
        return 0

    def set_boot(self):
        if not is_image(self._row):
            raise OSError(-5379)  # ESP_ERR_OTA_VALIDATE_FAILED
        if self._row[1] == 0:
            for n in range(2):
                flash.erase(_OTADATA + 4096 * n)
            return
        slot = self._row[1] - 0x10
        n = active()
        state = NEW if ROLLBACK else UNDEFINED
        if n is None:
            put(0, slot + 1, state)
            return
        number = sequence(entries()[n])
        following = slot + 1
        while following <= number:
            following += 2
        put(1 - n, following, state)

    @staticmethod
    def mark_app_valid_cancel_rollback():
        if not ROLLBACK:
            raise OSError(-261)
        n = active()
        if n is not None:
            raw = entries()[n]
            if unpack_from("<I", raw, 24)[0] != VALID:
                put(n, sequence(raw), VALID)


TABLE = _table()
_OTADATA = [row[2] for row in TABLE if row[:2] == (1, 0)][0]
