"""Gives lines of JSON [what, hex, ...] from standard input to the client, and prints what it
says of each."""

import asyncio
import json
import sys
from binascii import hexlify, unhexlify
from time import ticks_diff, ticks_ms

sys.path.insert(0, sys.argv[1])
from airlift import ed25519
from airlift.envelope import Envelope
from airlift.failure import Failure
from airlift.manifest import Manifest
from airlift.sha512 import Sha512
from airlift.tar import read_header


def bstr(data):
    size = len(data)
    return (bytes((0x59, size >> 8, size & 255)) if size > 255 else bytes((0x58, size))) + data


async def say(what, *data):
    if what == "sha512":
        hasher = Sha512()
        for at in range(0, len(data[0]), 100):
            hasher.update(data[0][at : at + 100])
        return hexlify(hasher.digest()).decode()
    if what == "verify":
        return await ed25519.verify(*data[:2], [data[2]])
    if what == "usable":
        return ed25519.is_usable(data[0])
    if what == "seconds":
        start = ticks_ms()
        await ed25519.verify(*data[:2], [data[2]])
        return ticks_diff(ticks_ms(), start)
    try:
        if what == "manifest":
            head = b"\xd2\x84\x4d\xa2\x01\x27\x04\x48" + bytes(8) + b"\xa0"
            Manifest(Envelope(head + bstr(data[0]) + b"\x58\x40" + bytes(64)))
        elif what == "envelope":
            Envelope(data[0])
        elif what == "header":
            return read_header(bytearray(data[0]), bytearray(512))
    except Failure as failure:
        return failure.code
    return "ok"


async def main():
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        what, *data = json.loads(line)
        print(json.dumps(await say(what, *[unhexlify(each) for each in data])))


asyncio.run(main())
