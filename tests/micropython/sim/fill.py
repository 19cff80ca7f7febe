"""Writes a tree of the host into the file system of the flash file, formatting it if asked:
fill.py TREE [format]"""

import os
import sys

sys.path[:] = [sys.path[0], ".frozen"]
import vfs

import esp32

_part = esp32.Partition("vfs")
if "format" in sys.argv:
    vfs.VfsLfs2.mkfs(_part)
vfs.mount(vfs.VfsLfs2(_part), "/flash")


def copy(source, target):
    for name, kind, *_ in os.ilistdir(source):
        if kind == 0x4000:
            try:
                os.mkdir(target + "/" + name)
            except OSError:
                pass
            copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as there:
                with open(target + "/" + name, "wb") as here:
                    while True:
                        data = there.read(512)
                        if not data:
                            break
                        here.write(data)


copy(sys.argv[1], "/flash")
