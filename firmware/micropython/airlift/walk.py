"""The canonical tar of a folder, byte for byte, without storing it.

A cursor walks the folder in the order of the tar. It can be copied: where it
stands is all that is needed to go on from there.
"""

from hashlib import sha256
from os import ilistdir

from micropython import const

from .failure import Failure, bad_tar, flash_fault
from .tar import TRAILER, VERSION, padding, write_header

_BLOCK = const(512)
_CHUNK = const(4096)
_MAX_PART = const(16777216)

HEADER = const(0)
CONTENT = const(1)
PADDING = const(2)
END = const(3)

_FOLDER = const(0x4000)
_ENOSPC = const(28)  # not in every port's errno


class _File:
    """The file that is being read; one at a time stays open."""

    path = None
    file = None
    at = 0

    def read(self, path, offset, view):
        if path != self.path:
            self.close()
            self.file = open(path, "rb")
            self.path = path
            self.at = 0
        if self.at != offset:
            self.file.seek(offset)
        n = self.file.readinto(view) or 0
        self.at = offset + n
        return n

    def close(self):
        if self.file:
            self.file.close()
        self.path = self.file = None


reading = _File()


def next_entry(folder, after):
    """Name, kind and size of the first entry whose key is above `after`. The key of
    a folder ends in `/`: that is how a tar sorts."""
    found = None
    for entry in ilistdir(folder):
        is_folder = entry[1] == _FOLDER
        key = entry[0] + "/" if is_folder else entry[0]
        if key > after and (found is None or key < found[0]):
            found = (key, is_folder, entry[3])
    return found


class Cursor:
    def __init__(self, root):
        self.root = root
        self.path = root  # of the current entry
        self.is_folder = True
        self.at = HEADER
        self.size = 0
        self.left = 0
        self.emitted = 0
        self.partial = None  # path and whole size of a file that is there in part

    def copy(self):
        other = Cursor(self.root)
        other.set(self)
        return other

    def set(self, other):
        self.path = other.path
        self.is_folder = other.is_folder
        self.at = other.at
        self.size = other.size
        self.left = other.left
        self.emitted = other.emitted
        self.partial = other.partial

    def is_done(self):
        return self.at == END and not self.left

    def name(self):
        """The current entry as the tar has it."""
        name = self.path[len(self.root) + 1 :]
        return name + "/" if name and self.is_folder else name

    def step(self):
        """Moves to the next entry; False at the end."""
        folder = self.path
        after = ""
        if not self.is_folder:
            folder, after = folder.rsplit("/", 1)
        while True:
            entry = next_entry(folder, after)
            if entry is not None:
                key, is_folder, size = entry
                if key == VERSION and folder == self.root:
                    after = key
                    continue
                self.path = folder + "/" + (key[:-1] if is_folder else key)
                self.is_folder = is_folder
                self.size = 0 if is_folder else size
                if self.partial and self.partial[0] == self.path:
                    self.size = self.partial[1]
                return True
            if folder == self.root:
                return False
            folder, after = folder.rsplit("/", 1)
            after += "/"

    def fill(self, out):
        """Fills `out`, a memoryview, with the next bytes; fewer only at the end. Pieces
        are whole blocks, so a header is never split."""
        filled = 0
        while filled < len(out) and not self.is_done():
            rest = out[filled:]
            if self.at == HEADER:
                if not self.step():
                    self.at = END
                    self.left = TRAILER
                    continue
                if len(rest) < _BLOCK:
                    raise flash_fault()
                write_header(rest[:_BLOCK], self.name(), self.is_folder, self.size)
                n = _BLOCK
                if self.size:
                    self.at = CONTENT
                    self.left = self.size
            elif self.at == CONTENT:
                n = min(len(rest), self.left)
                n = reading.read(self.path, self.size - self.left, rest[:n])
                if not n:
                    raise bad_tar() if self.partial else flash_fault()
                self.left -= n
                if not self.left:
                    self.after_content()
            else:
                n = min(len(rest), self.left)
                for place in range(n):
                    rest[place] = 0
                self.left -= n
                if not self.left and self.at == PADDING:
                    self.at = HEADER
            filled += n
        self.emitted += filled
        if self.emitted > _MAX_PART:
            raise bad_tar()
        return filled

    def after_content(self):
        self.left = padding(self.size)
        self.at = PADDING if self.left else HEADER


async def digest(root, buffer, pause):
    """SHA-256 of the canonical tar of a folder."""
    cursor = Cursor(root)
    hasher = sha256()
    try:
        while not cursor.is_done():
            n = cursor.fill(buffer)
            hasher.update(buffer[:n])
            await pause()
    except OSError:
        raise flash_fault("the file system does not answer as it should")
    finally:
        reading.close()
    return hasher.digest()


def blocks(root, count):
    """File-system blocks of a folder, each entry as `count` counts it."""
    cursor = Cursor(root)
    total = 0
    try:
        while cursor.step():
            total += count(cursor.name(), cursor.is_folder, cursor.size)
    except OSError:
        pass  # no such folder, or no more of it
    return total


def blocks_for(name, is_folder, size):
    """What an entry takes at most on littlefs."""
    if is_folder:
        return 2 + len(name) // 64
    return max(1, (size + 16 + _CHUNK - 17) // (_CHUNK - 16))


def blocks_freed(_, is_folder, size):
    """What is free for certain once an entry is removed."""
    if is_folder:
        return 2
    # Small files may lie in the metadata of their folder.
    return 0 if size <= 512 else (size + _CHUNK - 1) // _CHUNK


def no_space(error):
    """The failure that an error of the file system stands for."""
    if error.errno == _ENOSPC:
        return Failure("too_big", "the file system has no room for the files")
    return flash_fault("the file system does not answer as it should")
