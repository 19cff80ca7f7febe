"""Airlift on MicroPython: signed updates that survive power cuts and bad releases.

    import airlift
    asyncio.create_task(airlift.serve())

docs/micropython.md has the whole way.
"""

import gc
import sys

VERSION = "0.1.0"


async def serve(**options):
    """Serves this device for ever; the options are those of device.Device."""
    from .device import Device

    await Device(**options).run()


def forget(*names):
    """Drops modules that are not needed for now; importing them again brings them back."""
    for name in names:
        if sys.modules.pop(__name__ + "." + name, None):
            globals().pop(name, None)
    gc.collect()
