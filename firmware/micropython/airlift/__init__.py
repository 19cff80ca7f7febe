"""Airlift on MicroPython: signed updates that survive power cuts and bad releases.

    import airlift
    asyncio.create_task(airlift.serve())

docs/micropython.md has the whole way.
"""

VERSION = "0.1.0"


async def serve(**options):
    """Serves this device for ever; the options are those of device.Device."""
    from .device import Device

    await Device(**options).run()
