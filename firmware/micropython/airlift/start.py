"""What a device is and runs, found out from flash at its start."""

from asyncio import sleep_ms
from binascii import hexlify

import machine

from . import image, walk
from .failure import Failure
from .slots import NAMES
from .state import TRIAL


class Running:
    """What runs: chip id, release id, app (digest and size) and digest of the files;
    None where there is none."""


async def look(slots, store, buffer):
    """Id, size of the flash, what runs, and whether it is on trial."""
    buffer = memoryview(buffer)
    part = slots.parts[slots.running]
    running = Running()
    part.readblocks(0, buffer[:24], 0)
    running.chip = image.chip_of(buffer[:24])
    running.release = store.release(slots.running)
    running.app = running.files = None
    size = image.length(part, part.info()[3])
    if size:
        running.app = (await image.digest(part, size, buffer, _turn), size)
    try:
        running.files = await walk.digest("/" + NAMES[slots.running], buffer, _turn)
    except Failure:
        pass  # a folder that no release can have; updates that carry files still work
    chip = image.CHIPS.get(running.chip, "unknown")
    name = "{}-{}".format(chip, hexlify(machine.unique_id()).decode())
    trial = store.state.end == TRIAL and running.release == store.state.last_release
    return name, _flash_size(slots), running, trial


def _flash_size(slots):
    try:
        import esp

        return esp.flash_size()
    except (ImportError, AttributeError):
        return max(part.info()[2] + part.info()[3] for part in slots.parts if part)


async def _turn():
    await sleep_ms(0)
