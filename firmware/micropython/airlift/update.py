"""One update. The order of its steps is what makes it safe:

accept, pin otadata, forget the target's envelope, app, files, check both by
reading all of it again, store the envelope, select the slot. Whatever is cut
short leaves the running slot selected, or a target that is whole.
"""

from os import stat

from . import state as s
from .failure import Failure, flash_fault
from .image import chip_of, digest as app_digest, length
from .limits import CHUNK
from .manifest import Part
from .tar import VERSION
from .transfer import Transfer
from .unpack import Unpacker, write_version
from .walk import Cursor, digest as files_digest, no_space, reading

_SYNC_CHUNKS = 8  # after so many chunks a long file is made durable


class Update:
    """`job` has the buffers `page`, `chunk` and `back`, and takes the progress."""

    def __init__(self, accepted, running, store, job):
        self.accepted = accepted
        self.running = running
        self.store = store
        self.job = job
        self.part = accepted.part
        self.resumed = False

    async def run(self, host):
        """Everything but the restart."""
        accepted, job = self.accepted, self.job
        accepted.slots.pin()
        self.resumed = self.store.envelope(accepted.target) is None
        self.store.erase_envelope(accepted.target)
        await job.phase("app")
        app, size = await self._app(host)
        await job.phase("files")
        try:
            files = await self._files(host)
            write_version(accepted.folder, accepted.manifest.version)
        except OSError as error:
            raise no_space(error)
        finally:
            reading.close()
        host.close()
        await job.phase("check")
        await self._check("app", app, lambda: app_digest(self.part, size, job.view, job.pause))
        if length(self.part, size) != size or self._chip() != self.running.chip:
            raise Failure("bad_image", "the app is no whole image for this chip")
        await self._check("files", files, lambda: files_digest(accepted.folder, job.view, job.pause))
        await job.phase("switch")
        self._switch()

    async def _app(self, host):
        """Digest and size of the app that is in the target now."""
        app = self.accepted.manifest.app
        if not isinstance(app, Part):
            app, size = self.running.app
            await self._copy_app(size)
            return app, size
        transfer = Transfer(self.job, host, "app", app)
        for page in range(app.pages):
            first, end = await transfer.fetch_page(page)
            n = first
            while n < end:
                stop, kept = await self._kept(transfer, n, end)
                if kept:
                    await self.job.chunk_event("app", n, stop - n, "kept")
                else:
                    await transfer.fetch(n, stop, self._write, "read_back")
                n = stop
        return app.digest, app.size

    async def _kept(self, transfer, n, end):
        """Where a run of chunks that are in flash, or are not, ends, and which it is.

        After an interruption the sector before a gap may read right only by chance; so it
        counts as missing."""
        first = self._matches(transfer, n)
        stop = n + 1
        while stop < end and self._matches(transfer, stop) == first:
            self.job.go_on()
            await self.job.pause()
            stop += 1
        if first and self.resumed:
            if stop - n == 1:
                return stop, False
            stop -= 1
        return stop, first

    def _matches(self, transfer, n):
        data = self.job.view[: transfer.length(n)]
        self.part.readblocks(n, data, 0)
        from hashlib import sha256

        return sha256(data).digest() == transfer.hash(n)

    def _write(self, n, data):
        """Erases a sector, writes it and reads it back; a second try when it differs."""
        if n == 0 and chip_of(data) != self.running.chip:
            message = "the app does not start with an image header for this chip"
            raise Failure("bad_image", message)
        block = self.job.chunk
        for place in range(len(data), CHUNK):
            block[place] = 0xFF
        for _ in range(2):
            self.part.writeblocks(n, block)
            self.part.readblocks(n, self.job.back)
            if self.job.back == block:
                return
        raise flash_fault("a sector does not keep what is written to it")

    async def _copy_app(self, size):
        slots = self.accepted.slots
        running = slots.parts[slots.running]
        for n in range((size + CHUNK - 1) // CHUNK):
            self.job.go_on()
            await self.job.pause()
            running.readblocks(n, self.job.chunk)
            self.part.readblocks(n, self.job.back)
            used = min(CHUNK, size - n * CHUNK)
            data = memoryview(self.job.chunk)[:used]
            # What an interrupted update left may read right only by chance.
            if self.resumed or memoryview(self.job.back)[:used] != data:
                self._write(n, data)

    async def _files(self, host):
        """Digest of the files that are in the target's folder now, but for VERSION."""
        files = self.accepted.manifest.files
        root = self.accepted.folder
        if not isinstance(files, Part):
            return await self._copy_files(root, files)
        transfer = Transfer(self.job, host, "files", files)
        cursor = Cursor(root)
        unpacker = None
        look = self.resumed
        for page in range(files.pages):
            n, end = await transfer.fetch_page(page)
            if unpacker is None:
                first = n
                n = await self._keep(transfer, cursor, n, end)
                if n < end and look:
                    look = False
                    if await self._find_partial(transfer, cursor, n):
                        n = await self._keep(transfer, cursor, n, end)
                if n > first:
                    await self.job.chunk_event("files", first, n - first, "kept")
                if n == end and end < files.chunks:
                    continue
                unpacker = Unpacker(root, cursor)
            try:
                await transfer.fetch(n, end, self._feed(unpacker), "written")
            except BaseException:
                unpacker.close()
                raise
        unpacker.finish()
        return files.digest

    def _feed(self, unpacker):
        def store(n, data):
            unpacker.feed(data)
            if n % _SYNC_CHUNKS == _SYNC_CHUNKS - 1:
                unpacker.sync()

        return store

    async def _keep(self, transfer, cursor, n, end):
        """The first chunk that the folder does not re-emit with the right hash; the
        cursor is left before it."""
        from hashlib import sha256

        ahead = cursor.copy()
        while n < end:
            self.job.go_on()
            await self.job.pause()
            data = self.job.view[: transfer.length(n)]
            try:
                whole = ahead.fill(data) == len(data)
            except (OSError, Failure):
                return n  # no such folder, a name that no release has, or a file in part
            if not whole or sha256(data).digest() != transfer.hash(n):
                return n
            cursor.set(ahead)
            n += 1
        return n

    async def _find_partial(self, transfer, cursor, n):
        """Whether the last file of the folder is there in part: its header, which names
        the whole size, is fetched with chunk `n`."""
        last = cursor.copy()
        try:
            found = False
            while last.step():
                found = not last.is_folder and last.size > 0
        except OSError:
            return False
        if not found:
            return False
        name, there = last.name(), last.size
        sizes = []

        def look(_, data):
            from .tar import read_header

            spare = bytearray(512)
            for at in range(0, len(data) - 511, 512):
                try:
                    path, is_folder, size = read_header(data[at : at + 512], spare)
                except Failure:
                    continue
                if path == name and not is_folder and size > there:
                    sizes.append(size)

        await transfer.fetch(n, n + 1, look, "checked")
        if not sizes:
            return False
        cursor.partial = (last.path, sizes[0])
        return True

    async def _copy_files(self, root, named):
        """Copies the running slot's folder through its tar; a folder that is equal stays."""
        view, pause = self.job.view, self.job.pause
        wanted = await files_digest(self.accepted.running_folder, view, pause)
        if named is not None and named != wanted:
            message = "the files that the release needs were changed on the device"
            raise Failure("wrong_base", message)
        try:
            if await files_digest(root, view, pause) == wanted:
                return wanted
        except Failure:
            pass  # no such folder, or one that no release has
        unpacker = Unpacker(root, Cursor(root))
        cursor = Cursor(self.accepted.running_folder)
        while not cursor.is_done():
            self.job.go_on()
            await pause()
            n = cursor.fill(view)
            unpacker.feed(view[:n])
        unpacker.finish()
        return wanted

    async def _check(self, name, expected, compute):
        """Reads all of a part again; it must match, with one retry."""
        computed = await compute()
        if computed != expected:
            computed = await compute()
        await self.job.part(name, expected, computed)
        if computed != expected:
            raise flash_fault("the {} reads back with another hash".format(name))

    def _chip(self):
        header = bytearray(24)
        self.part.readblocks(0, header, 0)
        return chip_of(header)

    def _switch(self):
        """Stores the envelope, records the trial, selects the slot."""
        accepted, store = self.accepted, self.store
        stat(accepted.folder + "/" + VERSION)
        store.write_envelope(accepted.target, accepted.data)
        state = store.state
        state.last(accepted.release, accepted.manifest.sequence, s.TRIAL)
        state.previous = accepted.slots.running
        if state.rolled_back == accepted.release:
            state.rolled_back = None
        store.save()
        try:
            accepted.slots.select(accepted.target)
        except OSError:
            # ESP-IDF looks at the whole image before it selects it.
            store.erase_envelope(accepted.target)
            raise Failure("bad_image", "the app is no whole image for this chip")
