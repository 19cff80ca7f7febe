"""A client of the plain protocol, written from its description: 512 bytes a request, no
signature. It asks /updatemeta, fetches app and tar, checks their hashes, selects the other slot.

Like the clients in the field it never looks at the status of an answer."""

import json
import os
import socket
from binascii import hexlify
from hashlib import sha256

import machine
from esp32 import Partition

CHUNK = 512


def get(host, port, path):
    """The content of an answer: what follows the empty line."""
    s = socket.socket()
    try:
        s.connect(socket.getaddrinfo(host, port)[0][-1])
        s.write("GET {} HTTP/1.0\r\nHost: {}:{}\r\n\r\n".format(path, host, port).encode())
        answer = s.read()
    finally:
        s.close()
    return answer[answer.find(b"\r\n\r\n") + 4 :]


def fetch(host, port, part, store):
    """Gives each chunk to `store`; the last one has size % 512 bytes."""
    path = "/" + part["url"].split("/", 3)[3].rstrip("/")
    hasher = sha256()
    for n in range(part["size"] // CHUNK + 1):
        want = CHUNK if n < part["size"] // CHUNK else part["size"] % CHUNK
        data = get(host, port, "{}/{}".format(path, n))[:want]
        hasher.update(data)
        store(data)
    return hexlify(hasher.digest()).decode() == part["hash"]


class App:
    def __init__(self, partition):
        self.partition = partition
        self.block = bytearray()
        self.n = 0

    def store(self, data):
        self.block += data
        if len(self.block) >= 4096:
            self.flush()

    def flush(self):
        if self.block:
            self.partition.writeblocks(self.n, self.block + b"\xff" * (4096 - len(self.block)))
            self.n += 1
            self.block = bytearray()


class Tar:
    """Plain ustar, an entry for each folder, no folder in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.left = 0
        self.file = None
        try:
            os.mkdir(folder)
        except OSError:
            pass

    def store(self, data):
        while len(data) >= 512 or (self.left and data):
            if self.left:
                n = min(self.left, 512)
                self.file.write(data[:n])
                self.left -= n
                if not self.left:
                    self.file.close()
                data = data[512:]
                continue
            head, data = data[:512], data[512:]
            name = head[: head.find(b"\0")].decode()
            if not name:
                continue
            if head[156:157] == b"5":
                try:
                    os.mkdir(self.folder + "/" + name.rstrip("/"))
                except OSError:
                    pass
                continue
            self.file = open(self.folder + "/" + name, "wb")
            self.left = int(head[124:135], 8)
            if not self.left:
                self.file.close()


def copy_app(source, target):
    buf = bytearray(4096)
    for n in range(source.info()[3] // 4096):
        source.readblocks(n, buf)
        target.writeblocks(n, buf)


def update(host, port):
    meta = json.loads(get(host, port, "/updatemeta"))
    running = Partition(Partition.RUNNING)
    other = "ota_1" if running.info()[4] == "ota_0" else "ota_0"
    target = Partition(other)
    if "partition" in meta:
        app = App(target)
        right = fetch(host, port, meta["partition"], app.store)
        app.flush()
    else:
        right = True
        copy_app(running, target)
    if right and "vfs" in meta:
        right = fetch(host, port, meta["vfs"], Tar("/" + other).store)
    if right:
        target.set_boot()
        machine.reset()
    print("PLAIN: a hash is wrong")
