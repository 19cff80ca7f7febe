"""The app part: chunk by chunk into its partition; what is right there is kept."""

from hashlib import sha256

from micropython import const

from .failure import Failure, flash_fault
from .image import chip_of
from .release import Part

_CHUNK = const(4096)


async def fill(accepted, running, resumed, job, host):
    """Digest and size of the app that is in the target now."""
    sectors = _Sectors(accepted.part, running.chip, job)
    app = accepted.app
    if not isinstance(app, Part):
        digest, size = running.app
        source = accepted.slots.parts[accepted.slots.running]
        for n in range((size + _CHUNK - 1) // _CHUNK):
            job.go_on()
            await job.pause()
            sectors.copy(source, n, min(_CHUNK, size - n * _CHUNK), resumed)
        return digest, size
    from .transfer import Transfer

    transfer = Transfer(job, host, "app", app)
    for page in range(app.pages):
        n, end = await transfer.fetch_page(page)
        while n < end:
            stop, kept = await _run(sectors, transfer, n, end, resumed, job)
            if kept:
                await job.chunk_event("app", n, stop - n, "kept")
            else:
                await transfer.fetch(n, stop, sectors.write, "read_back")
            n = stop
    return app.digest, app.size


async def _run(sectors, transfer, n, end, resumed, job):
    """Where the run of chunks ends that are in flash like chunk `n`, or are not, and
    which it is.

    After an interruption the last sector of a run may read right only by chance, so it
    counts as missing."""
    right = sectors.is_right(transfer, n)
    stop = n + 1
    while stop < end and sectors.is_right(transfer, stop) == right:
        job.go_on()
        await job.pause()
        stop += 1
    if right and resumed:
        if stop - n == 1:
            return stop, False
        stop -= 1
    return stop, right


class _Sectors:
    def __init__(self, part, chip, job):
        self._part = part
        self._chip = chip
        self._chunk = job.chunk
        self._view = job.view
        self._faults = 0

    def is_right(self, transfer, n):
        data = self._view[: transfer.length(n)]
        self._part.readblocks(n, data, 0)
        return sha256(data).digest() == transfer.hash(n)

    def write(self, n, data, expected):
        """Erases a sector, writes the chunk and reads it back. False if it differs, so that
        it is brought again; the second time that ends the update. `data` is the start of
        the chunk buffer."""
        if n == 0 and chip_of(data) != self._chip:
            message = "the app does not start with an image header for this chip"
            raise Failure("bad_image", message)
        for place in range(len(data), _CHUNK):
            self._chunk[place] = 0xFF
        self._part.writeblocks(n, self._chunk)
        self._part.readblocks(n, data, 0)
        if sha256(data).digest() == expected:
            self._faults = 0
            return True
        self._faults += 1
        if self._faults == 2:
            raise flash_fault("a sector does not keep what is written to it")
        return False

    def copy(self, source, n, size, resumed):
        data = self._view[:size]
        source.readblocks(n, data, 0)
        expected = sha256(data).digest()
        self._part.readblocks(n, data, 0)
        # What an interrupted update left may read right only by chance.
        while resumed or sha256(data).digest() != expected:
            source.readblocks(n, data, 0)
            if self.write(n, data, expected):
                return
