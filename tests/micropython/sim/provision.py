"""Gives the board in the flash file its keys, with the client's own setup:
provision.py PRODUCT PUBLIC_KEY_TEXT"""

import sys

sys.path[:] = [sys.path[0], ".frozen"]
import vfs

import esp32
import machine

product, key = sys.argv[1:3]
_files = vfs.VfsLfs2(esp32.Partition("vfs"))
vfs.umount("/")
vfs.mount(_files, "/")
sys.path[:] = ["", ".frozen", "/lib"]

from airlift import setup

setup.provision(product, key)
