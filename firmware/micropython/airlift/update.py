"""One update. The order of its steps is what makes it safe: pin otadata, forget the
target's envelope, app, files, check both by reading all of it again, store the
envelope, select the slot. Whatever is cut short leaves the running slot selected, or a
target that is whole.

`job` has the buffers and takes the progress; modules are loaded for their step only.
"""

from . import forget
from .failure import Failure, flash_fault


async def update(accepted, running, store, job, host):
    """Everything from the signature to the restart."""
    accepted.slots.pin()
    # Without an envelope the target may hold an interrupted update.
    resumed = store.envelope(accepted.target) is None
    store.erase_envelope(accepted.target)
    await job.phase("app")
    from .app import fill

    app, size = await fill(accepted, running, resumed, job, host)
    del fill
    forget("app")
    await job.phase("files")
    from .files import fill

    files = await fill(accepted, resumed, job, host)
    del fill
    forget("files", "unpack", "transfer")
    host.close()
    await job.phase("check")
    await _check(accepted, running, app, size, files, job)
    forget("app", "image", "walk", "tar")
    await job.phase("switch")
    _switch(accepted, store)


async def _check(accepted, running, app, size, files, job):
    """Reads everything again; both digests must match."""
    from . import image, walk

    part = accepted.part

    async def read_app():
        return await image.digest(part, size, job.view, job.pause)

    async def read_files():
        return await walk.digest(accepted.folder, job.view, job.pause)

    await _compare("app", app, read_app, job)
    header = memoryview(bytearray(24))
    part.readblocks(0, header, 0)
    if image.length(part, size) != size or image.chip_of(header) != running.chip:
        raise Failure("bad_image", "the app is no whole image for this chip")
    await _compare("files", files, read_files, job)


async def _compare(name, expected, read, job):
    computed = await read()
    if computed != expected:
        computed = await read()
    await job.part(name, expected, computed)
    if computed != expected:
        raise flash_fault("the {} read back with another hash".format(name))


def _switch(accepted, store):
    """Stores the envelope, records the trial, selects the slot."""
    store.write_envelope(accepted.target, accepted.data)
    state = store.state
    state.last_trial(accepted.release, accepted.sequence, accepted.slots.running)
    store.save()
    try:
        accepted.slots.select(accepted.target)
    except OSError:
        # ESP-IDF looks at the whole image before it selects it.
        store.erase_envelope(accepted.target)
        raise Failure("bad_image", "the app is no whole image for this chip")
