"""An application that Airlift keeps up to date: it blinks.

A new version of it must join the network and blink once before it may stay.
"""

import asyncio
import json
import time

import network
from machine import Pin

import airlift

blinked = False


def join():
    """Joins the network that /wifi.json names: outside the slot's folder, so that it stays."""
    with open("/wifi.json") as file:
        wifi = json.load(file)
    station = network.WLAN(network.WLAN.IF_STA)
    station.active(True)
    station.connect(wifi["ssid"], wifi["password"])
    for _ in range(60):
        if station.isconnected():
            print("http://" + station.ifconfig()[0])
            return
        time.sleep(1)
    raise OSError("no network")


async def blink():
    global blinked
    led = Pin(2, Pin.OUT)
    while True:
        led.value(not led.value())
        blinked = True
        await asyncio.sleep(1)


async def main():
    asyncio.create_task(blink())
    await airlift.serve(check=lambda: blinked)


join()
asyncio.run(main())
