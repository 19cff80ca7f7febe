"""The files part: checked chunk by chunk, unpacked while it streams."""

from hashlib import sha256

from micropython import const

from .failure import Failure
from .release import Part
from .unpack import Unpacker, write_version
from .walk import Cursor, digest, no_space, reading

_SYNC_CHUNKS = const(8)  # after so many chunks a long file is made durable
_BLOCK = const(512)


async def fill(accepted, resumed, job, host):
    """Digest of the files that are in the target's folder now, but for VERSION."""
    files = accepted.files
    try:
        if isinstance(files, Part):
            await _fetch(accepted.folder, files, resumed, job, host)
            found = files.digest
        else:
            found = await _copy(accepted.running_folder, accepted.folder, files, job)
        write_version(accepted.folder, accepted.version)
    except OSError as error:
        raise no_space(error)
    finally:
        reading.close()
    return found


async def _fetch(root, part, resumed, job, host):
    """Keeps the longest run of chunks that the folder re-emits right from its start."""
    from .transfer import Transfer

    transfer = Transfer(job, host, "files", part)
    cursor = Cursor(root)
    unpacker = None
    look = resumed
    for page in range(part.pages):
        n, end = await transfer.fetch_page(page)
        if unpacker is None:
            first = n
            n = await _keep(transfer, cursor, n, end, job)
            if n < end and look:
                look = False
                if await _find_partial(transfer, cursor, n):
                    n = await _keep(transfer, cursor, n, end, job)
            if n > first:
                await job.chunk_event("files", first, n - first, "kept")
            if n == end and end < part.chunks:
                continue
            unpacker = Unpacker(root, cursor)
        try:
            await transfer.fetch(n, end, _feeder(unpacker), "written")
        except BaseException:
            unpacker.close()
            raise
    unpacker.finish()


def _feeder(unpacker):
    def store(n, data, _):
        unpacker.feed(data)
        if n % _SYNC_CHUNKS == _SYNC_CHUNKS - 1:
            unpacker.sync()
        return True

    return store


async def _keep(transfer, cursor, n, end, job):
    """The first chunk that the folder does not re-emit with the right hash; the cursor
    is left before it."""
    ahead = cursor.copy()
    while n < end:
        job.go_on()
        await job.pause()
        data = job.view[: transfer.length(n)]
        try:
            whole = ahead.fill(data) == len(data)
        except (OSError, Failure):
            return n  # no such folder, a name that no release has, or a file in part
        if not whole or sha256(data).digest() != transfer.hash(n):
            return n
        cursor.set(ahead)
        n += 1
    return n


async def _find_partial(transfer, cursor, n):
    """Whether the last file of the folder is there in part: its header, which names the
    whole size, is looked for in chunk `n`.

    What passes for a header inside another file does no harm: what is kept has the
    right hash."""
    from .tar import read_header

    last = cursor.copy()
    is_file = False
    try:
        while last.step():
            is_file = not last.is_folder and last.size > 0
    except OSError:
        return False
    if not is_file:
        return False
    name = last.name()
    there = last.size
    spare = bytearray(_BLOCK)
    found = []

    def look(_, data, __):
        for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
            try:
                path, is_folder, size = read_header(data[at : at + _BLOCK], spare)
            except Failure:
                continue
            if path == name and not is_folder and size > there:
                found.append(size)
        return True

    await transfer.fetch(n, n + 1, look, "checked")
    if found:
        cursor.partial = (last.path, found[0])
    return bool(found)


async def _copy(source, target, named, job):
    """Copies the running slot's folder through its tar; a folder that is equal stays."""
    wanted = await digest(source, job.view, job.pause)
    if named is not None and named != wanted:
        message = "the files that the release needs were changed on the device"
        raise Failure("wrong_base", message)
    try:
        if await digest(target, job.view, job.pause) == wanted:
            return wanted
    except Failure:
        pass  # no such folder, or one that no release has
    unpacker = Unpacker(target, Cursor(target))
    cursor = Cursor(source)
    while not cursor.is_done():
        job.go_on()
        await job.pause()
        n = cursor.fill(job.view)
        unpacker.feed(job.view[:n])
    unpacker.finish()
    return wanted
