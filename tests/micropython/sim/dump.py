"""Prints what the file system of the flash file holds, a line of JSON a file: path, SHA-256,
size; folders end in /."""

import json
import os
import sys
from binascii import hexlify
from hashlib import sha256

sys.path[:] = [sys.path[0], ".frozen"]
import vfs

import esp32

vfs.mount(vfs.VfsLfs2(esp32.Partition("vfs")), "/flash")


def walk(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            print(json.dumps([path[6:] + "/", None, 0]))
            walk(path)
        else:
            hasher = sha256()
            size = 0
            with open(path, "rb") as file:
                while True:
                    data = file.read(1024)
                    if not data:
                        break
                    hasher.update(data)
                    size += len(data)
            print(json.dumps([path[6:], hexlify(hasher.digest()).decode(), size]))


walk("/flash")
