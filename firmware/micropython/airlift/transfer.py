"""Chunks from the network into flash or folder, each checked before it is stored.

While a chunk is stored the network goes on: what arrives waits in the TCP window.
"""

from binascii import hexlify
from hashlib import sha256

from micropython import const

from .failure import Failure
from .fetch import FetchError

_CHUNK = const(4096)
_DIGEST = const(32)
_PAGE_CHUNKS = const(128)

_REQUEST_CHUNKS = const(64)  # chunks that one request asks for at most
_MAX_TRIES = const(8)


def _wrong_hash():
    return Failure("bad_chunk", "a chunk arrived with a wrong hash eight times in a row")


class Transfer:
    """Fetches one part. `page` holds the hashes of the page that was fetched last,
    `chunk` the chunk."""

    def __init__(self, job, host, name, part):
        self.job = job
        self.host = host
        self.name = name
        self.part = part
        self.hex = hexlify(part.digest).decode()
        self.page = memoryview(job.page)
        self.chunk = memoryview(job.chunk)

    def length(self, n):
        """Bytes of chunk `n`."""
        return min(_CHUNK, self.part.size - n * _CHUNK)

    def hash(self, n):
        """The hash of chunk `n`, which is in the page."""
        start = n % _PAGE_CHUNKS * _DIGEST
        return bytes(self.page[start : start + _DIGEST])

    async def fetch_page(self, n):
        """Returns the chunks that page `n` has hashes for: first, end."""
        first = n * _PAGE_CHUNKS
        end = min(first + _PAGE_CHUNKS, self.part.chunks)
        start, stop = first * _DIGEST, end * _DIGEST
        view = self.page[: stop - start]
        expected = self.part.page(n)
        tries = 0
        self.host.waits()
        while True:
            self.job.go_on()
            try:
                await self.host.get("/v1/indexes/" + self.hex, start, stop - 1)
                await self.host.read(view)
            except FetchError as error:
                await self.host.back_off(error)
                continue
            if sha256(view).digest() == expected:
                self.host.waits()
                return first, end
            tries += 1
            if tries == _MAX_TRIES:
                raise _wrong_hash()
            self.host.close()

    async def fetch(self, first, end, store, done):
        """Fetches chunks first..end of the page; `store(n, data, hash)` takes each that has
        the right one, and `done` is what it then is. One that `store` could not keep is
        fetched again."""
        n = first
        tries = 0
        self.host.waits()
        while n < end:
            stop = min(end, n + _REQUEST_CHUNKS)
            await self.job.chunk_event(self.name, n, stop - n, "fetching")
            try:
                last = (stop - 1) * _CHUNK + self.length(stop - 1) - 1
                await self.host.get("/v1/blobs/" + self.hex, n * _CHUNK, last)
                while n < stop:
                    self.job.go_on()
                    data = self.chunk[: self.length(n)]
                    await self.host.read(data)
                    computed, expected = sha256(data).digest(), self.hash(n)
                    if computed != expected:
                        tries += 1
                        await self.job.refused(self.name, n, tries, expected, computed)
                        if tries == _MAX_TRIES:
                            raise _wrong_hash()
                        self.host.close()
                        break
                    self.host.waits()
                    if not store(n, data, expected):
                        self.host.close()
                        break
                    tries = 0
                    await self.job.stored(self.name, n, done)
                    n += 1
            except FetchError as error:
                await self.host.back_off(error)
