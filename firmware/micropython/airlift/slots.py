"""Slots: app partitions, and which of them otadata selects."""

from binascii import crc32
from struct import unpack_from

from esp32 import Partition
from micropython import const

from .failure import bad_layout

FACTORY = const(0)
NAMES = ("factory", "ota_0", "ota_1")

# States of an entry (esp_ota_img_states_t).
NEW = const(0)
PENDING = const(1)
VALID = const(2)
STATES = ("new", "pending", "valid", "invalid", "aborted")
_UNDEFINED = const(0xFFFFFFFF)

_SUBTYPES = (0x00, 0x10, 0x11)


def state_name(state):
    return STATES[state] if state < len(STATES) else "undefined"


class Slots:
    """`parts` has a Partition or None for each of NAMES; `running` is a place in it."""

    def __init__(self):
        self.parts = [None, None, None]
        for part in Partition.find(Partition.TYPE_APP):
            subtype = part.info()[1]
            if subtype == 0x12:
                raise bad_layout()  # a third slot: another cycle than ours
            if subtype in _SUBTYPES:
                self.parts[_SUBTYPES.index(subtype)] = part
        found = Partition.find(Partition.TYPE_DATA, subtype=0x00)
        subtype = Partition(Partition.RUNNING).info()[1]
        if not found or None in self.parts[1:] or subtype not in _SUBTYPES:
            raise bad_layout()
        self._otadata = found[0]
        self.running = _SUBTYPES.index(subtype)
        # factory, then ota_0 and ota_1 in turn; factory is never written.
        self.target = 2 if self.running == 1 else 1

    def entries(self):
        """Slot, sequence and state of both entries; slot None in a blank or torn one."""
        found = []
        entry = bytearray(32)
        for n in range(2):
            self._otadata.readblocks(n, entry, 0)
            sequence, crc = unpack_from("<I", entry)[0], unpack_from("<I", entry, 28)[0]
            whole = sequence not in (0, _UNDEFINED)
            whole = whole and crc == crc32(entry[:4], _UNDEFINED)
            slot = (sequence - 1) % 2 + 1 if whole else None
            found.append((slot, sequence, unpack_from("<I", entry, 24)[0]))
        return found

    def _last(self, entries):
        last = None
        for entry in entries:
            if entry[0] and (last is None or entry[1] > last[1]):
                last = entry
        return last

    def selected(self):
        """The slot that starts next, unless the bootloader finds its image bad."""
        last = self._last(e for e in self.entries() if e[2] not in (3, 4))
        return last[0] if last else FACTORY if self.parts[FACTORY] else 1

    def state(self, slot):
        """State of the slot's last entry; None without one."""
        last = self._last(e for e in self.entries() if e[0] == slot)
        return last[2] if last else None

    def is_trial_state(self):
        """Whether the running slot's entry is one that a bootloader with rollback gives
        up at the next start."""
        return self.state(self.running) in (NEW, PENDING)

    def select(self, slot):
        """ESP-IDF checks the image, then writes an entry for the slot."""
        self.parts[slot].set_boot()

    def keep(self):
        """Tells the bootloader that the running slot works."""
        try:
            Partition.mark_app_valid_cancel_rollback()
        except OSError:
            pass  # a firmware without rollback: nothing waits for this

    def pin(self):
        """Makes otadata select the running slot for certain, confirmed."""
        if self.selected() != self.running:
            self.select(self.running)
        if self.is_trial_state():
            self.keep()
