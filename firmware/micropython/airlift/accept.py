"""Whether a release fits this device, before anything is erased."""

import os
from hashlib import sha256

from micropython import const

from . import forget, state as s
from .envelope import Envelope
from .failure import Failure, bad_layout

_CHUNK = const(4096)
_SPARE_BLOCKS = const(4)  # file-system blocks that stay free


async def accept(data, retry, running, slots, store):
    """Steps 1 and 2 of the design; nothing is written.

    `running` has chip, release, app (digest and size, or None) and files (digest or
    None) of what runs.
    """
    state = store.state
    trust = state.trust
    if trust is None:
        raise Failure("no_trust", "the device was given no keys")
    release = sha256(data).digest()
    if running.release == release:
        raise Failure("already_current", "the device already runs this release")
    envelope = Envelope(data)
    key = await envelope.verify(trust[2] + [trust[1]])
    forget("ed25519", "sha512")
    from .manifest import Manifest
    from .release import Accepted

    manifest = Manifest(envelope)
    _keys(manifest, key, trust)
    _identity(manifest, release, running, state)
    if state.end == s.TRIAL:
        raise Failure("trial_running", "the running version has not confirmed yet")
    if state.freshness_required:
        # This client cannot tell what is fresh, and must not act as if it could.
        message = "this device takes a release only after a statement which one is the newest"
        raise Failure("freshness_required", message)
    if state.rolled_back == release and not retry:
        raise Failure("rolled_back_before", "this release was tried and rolled back before")
    accepted = Accepted(data, release, manifest, slots)
    _room(accepted, running)
    return accepted


def _keys(manifest, key, trust):
    from .manifest import first_root_sequence

    keys = manifest.keys
    epoch, root, release = trust
    if keys is None or keys == trust:
        if key not in release:
            raise Failure("unknown_key", "the root key signs changes of keys only")
    else:
        from .ed25519 import is_usable

        if not all(is_usable(each) for each in keys[2] + [keys[1]]):
            raise Failure("bad_manifest", "the manifest of the release cannot be read")
        if key != root or keys[0] <= epoch:
            message = "the new keys are not signed by the root, or not newer"
            raise Failure("bad_key_set", message)
    if manifest.sequence >= first_root_sequence(epoch) and key != root:
        raise Failure("sequence_too_high", "only the root key gives a sequence that high")


def _identity(manifest, release, running, state):
    from .manifest import ANY_CHIP

    if manifest.product != state.product:
        raise Failure("wrong_product", "the release is for another product")
    if manifest.chip != ANY_CHIP and manifest.chip != running.chip:
        raise Failure("wrong_chip", "the release is for another chip")
    if manifest.sequence < state.sequence:
        raise Failure("lower_sequence", "the device has confirmed a newer release")
    if manifest.sequence == state.sequence and state.confirmed not in (None, release):
        raise Failure("sequence_conflict", "another release has the same sequence")


def _room(accepted, running):
    from .release import Part
    from .walk import blocks, blocks_for, blocks_freed

    app, files = accepted.app, accepted.files
    if isinstance(app, Part):
        size = app.size
    elif running.app is None or (app is not None and app != running.app[0]):
        raise Failure("wrong_base", "the release needs an app that does not run")
    else:
        size = running.app[1]
    if accepted.part is None:
        raise bad_layout()
    if size > accepted.part.info()[3]:
        raise Failure("too_big", "the app does not fit its partition")
    if isinstance(files, Part):
        needed = files.blocks or (files.size + _CHUNK - 1) // _CHUNK
    else:
        if running.files is None or (files is not None and files != running.files):
            message = "the release needs files that the device does not have or cannot copy"
            raise Failure("wrong_base", message)
        needed = blocks(accepted.running_folder, blocks_for)
    stat = os.statvfs("/")
    free = stat[3] * stat[0] // _CHUNK
    if needed + _SPARE_BLOCKS > free + blocks(accepted.folder, blocks_freed):
        raise Failure("too_big", "the file system has no room for the files")
