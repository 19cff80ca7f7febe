"""What the device remembers: files under /.airlift.

`state.0` and `state.1` hold the record in turn; the whole one with the higher
counter counts. It is the record of crates/wire/src/state.rs, the note behind it
included, and then the slot that ran before the trial. `factory.cose`,
`ota_0.cose` and `ota_1.cose` are the envelopes of what is in the slots; a slot
without one is not whole. Each ends in its CRC-32. Every file is written beside its place
and renamed.

An envelope is stored only after its signature was checked, and whoever can
write here can change the keys as well; so stored envelopes are not checked again.
"""

import os
from binascii import crc32
from hashlib import sha256
from struct import pack, pack_into, unpack_from

from micropython import const

from .failure import flash_fault
from .slots import NAMES

_MAX_ENVELOPE = const(4080)

FOLDER = "/.airlift"

NONE = const(0)
TRIAL = const(1)
DONE = const(2)
ROLLED_BACK = const(3)
FAILED = const(4)
CANCELLED = const(5)
ENDS = ("none", "trial", "done", "rolled_back", "failed", "cancelled")

SOFTWARE = const(1)
POWER_ON = const(2)
WATCHDOG = const(3)
PANIC = const(4)
HEALTH_CHECK = const(6)
NOT_CONFIRMED = const(7)
IMAGE_REFUSED = const(8)
INTERRUPTED = const(9)
NO_NETWORK = const(10)
CAUSES = (
    "none",
    "software",
    "power_on",
    "watchdog",
    "panic",
    "brownout",
    "health_check",
    "not_confirmed",
    "image_refused",
    "interrupted",
    "no_network",
)

_CRC_AT = const(396)
_NOTE = const(400)
_PREVIOUS = const(464)
_LENGTH = const(476)
_NO_DIGEST = bytes(32)


def _digest(data, at):
    found = bytes(data[at : at + 32])
    return None if found == _NO_DIGEST else found


class State:
    def __init__(self):
        self.counter = 0
        self.product = "unknown"
        self.name = ""
        self.trust = None  # epoch, root key, release keys
        self.freshness_required = False
        self.bootloader_rollback = False
        self.sequence = 0
        self.confirmed = None  # id of the release with that sequence
        self.rolled_back = None
        self.last_release = None
        self.last_sequence = 0
        self.end = NONE
        self.cause = 0
        self.boots = 0
        self.detail = ""
        self.previous = 0  # the slot that ran before the trial

    def last(self, release, sequence, end):
        """A new last update."""
        self.last_release = release
        self.last_sequence = sequence
        self.end = end
        self.cause = self.boots = 0
        self.detail = ""

    def last_trial(self, release, sequence, previous):
        """The new release is selected next, in place of the slot `previous`."""
        self.last(release, sequence, TRIAL)
        self.previous = previous
        if self.rolled_back == release:
            self.rolled_back = None

    def rollback(self, cause, detail=""):
        self.end = ROLLED_BACK
        self.cause = cause
        self.rolled_back = self.last_release
        self.detail = detail

    def encode(self):
        b = bytearray(_LENGTH)
        b[:4] = b"ALS1"
        pack_into("<IIBBB", b, 4, self.counter, self.sequence, self.end, self.cause, self.boots)
        pack_into("<I", b, 16, self.last_sequence)
        b[20:52] = self.last_release or _NO_DIGEST
        b[52:84] = self.rolled_back or _NO_DIGEST
        b[123] = self.bootloader_rollback << 1 | self.freshness_required << 2
        if self.trust:
            epoch, root, release = self.trust
            pack_into("<I", b, 84, epoch)
            b[88:120] = root
            b[120] = len(release)
            b[123] |= 1
            for n, key in enumerate(release):
                b[124 + 32 * n : 156 + 32 * n] = key
        for at, place, text in ((121, 252, self.product), (122, 316, self.name)):
            text = text.encode()
            b[at] = len(text)
            b[place : place + len(text)] = text
        b[348:380] = self.confirmed or _NO_DIGEST
        pack_into("<I", b, _CRC_AT, crc32(b[:_CRC_AT]))
        if self.detail:
            text = self.detail.encode()[:48]
            pack_into("<4sIB", b, _NOTE, b"ALN1", self.counter, len(text))
            b[_NOTE + 12 : _NOTE + 12 + len(text)] = text
            pack_into("<I", b, _NOTE + 60, crc32(b[_NOTE : _NOTE + 60]))
        pack_into("<IB", b, _PREVIOUS, self.counter, self.previous)
        pack_into("<I", b, _PREVIOUS + 8, crc32(b[_PREVIOUS : _PREVIOUS + 8]))
        return b

    @staticmethod
    def decode(b):
        """None unless magic and CRC are right."""
        right = len(b) >= _NOTE and b[:4] == b"ALS1"
        if not right or unpack_from("<I", b, _CRC_AT)[0] != crc32(b[:_CRC_AT]):
            return None
        state = State()
        fields = unpack_from("<IIBBB", b, 4)
        state.counter, state.sequence, state.end, state.cause, state.boots = fields
        state.last_sequence = unpack_from("<I", b, 16)[0]
        state.last_release = _digest(b, 20)
        state.rolled_back = _digest(b, 52)
        state.confirmed = _digest(b, 348)
        state.bootloader_rollback = bool(b[123] & 2)
        state.freshness_required = bool(b[123] & 4)
        if b[120] > 4 or state.end >= len(ENDS):
            return None
        try:
            if b[123] & 1:
                release = [bytes(b[124 + 32 * n : 156 + 32 * n]) for n in range(b[120])]
                state.trust = unpack_from("<I", b, 84)[0], bytes(b[88:120]), release
            state.product = str(b[252 : 252 + b[121]], "utf-8")
            state.name = str(b[316 : 316 + b[122]], "utf-8")
        except ValueError:
            return None
        if len(b) == _LENGTH:
            state._decode_more(b)
        return state

    def _decode_more(self, b):
        note = b[_NOTE:_PREVIOUS]
        if unpack_from("<I", note, 4)[0] == self.counter:
            if unpack_from("<I", note, 60)[0] == crc32(note[:60]) and note[:4] == b"ALN1":
                self.detail = str(note[12 : 12 + min(note[8], 48)], "utf-8")
        more = b[_PREVIOUS:]
        if unpack_from("<I", more)[0] == self.counter and more[4] < len(NAMES):
            if unpack_from("<I", more, 8)[0] == crc32(more[:8]):
                self.previous = more[4]


def _read(path):
    try:
        with open(path, "rb") as file:
            size = min(file.seek(0, 2), 4096)
            file.seek(0)
            return file.read(size)
    except OSError:
        return b""


def replace(path, data):
    """Writes a file beside its place, renames it, and reads it back."""
    beside = path + ".new"
    with open(beside, "wb") as file:
        file.write(data)
    os.rename(beside, path)
    if _read(path) != data:
        raise flash_fault()


class Store:
    """Without a state the device knows neither product nor keys and takes no release."""

    def __init__(self, folder=FOLDER):
        self.folder = folder
        self.state = State()
        self._copy = 1
        for n in range(2):
            found = State.decode(_read("{}/state.{}".format(folder, n)))
            if found and (not self.state.counter or found.counter > self.state.counter):
                self.state = found
                self._copy = n

    def save(self):
        """Writes the state over the older copy."""
        try:
            os.mkdir(self.folder)
        except OSError:
            pass
        self.state.counter += 1
        self._copy = 1 - self._copy
        try:
            replace("{}/state.{}".format(self.folder, self._copy), self.state.encode())
        except OSError:
            raise flash_fault()

    def _path(self, slot):
        return "{}/{}.cose".format(self.folder, NAMES[slot])

    def envelope(self, slot):
        """The envelope of what is in a slot; None if the slot is not whole."""
        data = _read(self._path(slot))
        right = 4 < len(data) <= _MAX_ENVELOPE + 4
        if not right or unpack_from("<I", data, len(data) - 4)[0] != crc32(data[:-4]):
            return None
        return data[:-4]

    def release(self, slot):
        """Id of the release in a slot."""
        data = self.envelope(slot)
        return sha256(data).digest() if data else None

    def erase_envelope(self, slot):
        """The slot is not whole any more."""
        try:
            os.remove(self._path(slot))
        except OSError:
            pass
        if _read(self._path(slot)):
            raise flash_fault()

    def write_envelope(self, slot, data):
        """The slot is whole."""
        try:
            replace(self._path(slot), data + pack("<I", crc32(data)))
        except OSError:
            raise flash_fault()
