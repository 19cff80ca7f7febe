"""What is known of a release once it was accepted."""

from micropython import const

_CHUNK = const(4096)
_PAGE_CHUNKS = const(128)
_STRIDE = const(34)  # in CBOR a hash is two bytes of head and 32 of hash


class Part:
    """A part that the release carries."""

    def __init__(self, size, digest, hashes, blocks):
        self.size = size
        self.digest = digest
        self.blocks = blocks  # of the file system, unpacked; or None
        self.chunks = (size + _CHUNK - 1) // _CHUNK
        self.pages = (self.chunks + _PAGE_CHUNKS - 1) // _PAGE_CHUNKS
        self._hashes = hashes

    def page(self, n):
        """SHA-256 of index page `n`."""
        start = n * _STRIDE + 2
        return bytes(self._hashes[start : start + 32])


def digest_of(part):
    """The digest that a part must have, if the release names one."""
    return part.digest if isinstance(part, Part) else part


class Accepted:
    """A release whose signature was checked, and that fits. `app` and `files` are as in
    the manifest."""

    def __init__(self, data, release, manifest, slots):
        from .slots import NAMES

        self.data = data
        self.release = release
        self.version = manifest.version
        self.sequence = manifest.sequence
        self.app = manifest.app
        self.files = manifest.files
        self.slots = slots
        self.target = slots.target
        self.part = slots.parts[slots.target]
        self.folder = "/" + NAMES[slots.target]
        self.running_folder = "/" + NAMES[slots.running]
