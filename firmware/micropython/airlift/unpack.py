"""A canonical tar into a folder, while it streams.

Every byte that arrives here was checked against the signed index. What the tar
says is checked strictly all the same: signers make mistakes, and no path may
leave the folder of the slot.
"""

import os

from micropython import const

from .failure import bad_tar
from .tar import TRAILER, VERSION, read_header
from .walk import CONTENT, END, HEADER, PADDING, next_entry, reading

_BLOCK = const(512)
_MAX_ENTRIES = const(4096)


def make_folder(path):
    try:
        os.mkdir(path)
    except OSError:
        if os.stat(path)[0] & 0xF000 != 0x4000:
            raise bad_tar()  # a file has that name


def remove(path):
    """Removes a file, or a folder with all that is in it."""
    try:
        os.remove(path)
        return
    except OSError:
        pass
    try:
        os.stat(path)
    except OSError:
        return
    entry = next_entry(path, "")
    while entry:
        remove(path + "/" + entry[0].rstrip("/"))
        entry = next_entry(path, entry[0])
    os.rmdir(path)


def _remove_children(folder, after):
    entry = next_entry(folder, after)
    while entry:
        remove(folder + "/" + entry[0].rstrip("/"))
        entry = next_entry(folder, entry[0])


def write_version(root, version):
    """The last file of an update."""
    with open(root + "/" + VERSION, "wb") as file:
        file.write(version.encode() + b"\n")


class Unpacker:
    """Goes on where a cursor stands in the folder: what it has passed stays, all
    after it is removed, a file that it stands in is written on from there."""

    def __init__(self, root, cursor):
        reading.close()
        make_folder(root)
        remove(root + "/" + VERSION)
        if cursor.is_folder:
            _remove_children(cursor.path, "")
        folder = cursor.path
        is_folder = cursor.is_folder
        while folder != root:
            folder, after = folder.rsplit("/", 1)
            _remove_children(folder, after + "/" if is_folder else after)
            is_folder = True
        self.root = root
        self.last = cursor.name()
        self.at = cursor.at
        self.left = cursor.left
        self.size = cursor.size
        self.file = None
        self.entries = 0
        self.spare = bytearray(_BLOCK)
        if self.at == CONTENT:
            self.file = open(cursor.path, "r+b")
            self.file.seek(self.size - self.left)

    def feed(self, data):
        """Takes the next bytes, a memoryview: whole blocks, or the last ones."""
        at = 0
        while at < len(data):
            if self.at == HEADER:
                block = data[at : at + _BLOCK]
                if len(block) != _BLOCK:
                    raise bad_tar()
                self._header(block)
                at += _BLOCK
                continue
            n = min(self.left, len(data) - at)
            if not n:
                raise bad_tar()  # bytes after the end
            if self.at == CONTENT:
                self.file.write(data[at : at + n])
            elif any(data[at : at + n]):
                raise bad_tar()
            at += n
            self.left -= n
            if self.left:
                continue
            if self.at == CONTENT:
                self.close()
                self.left = -self.size % _BLOCK
                self.at = PADDING if self.left else HEADER
            elif self.at == PADDING:
                self.at = HEADER

    def _header(self, block):
        if not block[0]:
            if any(block):
                raise bad_tar()
            self.at = END
            self.left = TRAILER - _BLOCK
            return
        path, is_folder, size = read_header(block, self.spare)
        # In the order of the tar an entry's folder, with all that is in it, comes just
        # before: it is the last entry, or a folder of the last entry.
        body = path[:-1] if is_folder else path
        parent = body[: body.rfind("/") + 1]
        if path <= self.last or not self.last.startswith(parent):
            raise bad_tar()
        self.entries += 1
        if self.entries > _MAX_ENTRIES:
            raise bad_tar()
        self.last = path
        if is_folder:
            make_folder(self.root + "/" + body)
            return
        self.file = open(self.root + "/" + body, "wb")
        self.size = self.left = size
        if size:
            self.at = CONTENT
        else:
            self.close()

    def sync(self):
        """Makes durable what is written, so that a power cut loses only what comes."""
        if self.file:
            self.file.flush()

    def close(self):
        if self.file:
            self.file.close()
            self.file = None

    def finish(self):
        """The tar must have ended."""
        self.close()
        if self.at != END or self.left:
            raise bad_tar()
