"""Whether a release fits this device, before anything is erased."""

import os
from hashlib import sha256

from . import state as s
from .envelope import Envelope
from .failure import Failure, bad_layout
from .limits import CHUNK, SPARE_BLOCKS
from .manifest import ANY_CHIP, Manifest, Part, first_root_sequence
from .slots import NAMES
from .walk import blocks, blocks_for, blocks_freed


class Accepted:
    """A release whose signature was checked, and that fits."""

    def __init__(self, data, release, manifest, slots):
        self.data = data
        self.release = release
        self.manifest = manifest
        self.slots = slots
        self.target = slots.target
        self.part = slots.parts[slots.target]
        self.folder = "/" + NAMES[slots.target]
        self.running_folder = "/" + NAMES[slots.running]


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
    key = await envelope.verify(trust.all())
    manifest = Manifest(envelope)
    _keys(manifest, key, trust)
    _identity(manifest, release, running, state, store)
    if state.end == s.TRIAL:
        raise Failure("trial_running", "the running version has not confirmed yet")
    if state.rolled_back == release and not retry:
        raise Failure("rolled_back_before", "this release was tried and rolled back before")
    accepted = Accepted(data, release, manifest, slots)
    _room(accepted, running)
    return accepted


def _keys(manifest, key, trust):
    keys = manifest.keys
    if keys is None or keys == trust:
        if key not in trust.release:
            raise Failure("unknown_key", "the root key signs changes of keys only")
    else:
        from .ed25519 import is_usable

        if not all(is_usable(each) for each in keys.all()):
            raise Failure("bad_manifest", "the manifest of the release cannot be read")
        if key != trust.root or keys.epoch <= trust.epoch:
            message = "the new keys are not signed by the root, or not newer"
            raise Failure("bad_key_set", message)
    if manifest.sequence >= first_root_sequence(trust.epoch) and key != trust.root:
        raise Failure("sequence_too_high", "only the root key gives a sequence that high")


def _identity(manifest, release, running, state, store):
    if manifest.product != state.product:
        raise Failure("wrong_product", "the release is for another product")
    if manifest.chip != ANY_CHIP and manifest.chip != running.chip:
        raise Failure("wrong_chip", "the release is for another chip")
    if manifest.sequence < state.sequence:
        raise Failure("lower_sequence", "the device has confirmed a newer release")
    if manifest.sequence == state.sequence and state.confirmed not in (None, release):
        raise Failure("sequence_conflict", "another release has the same sequence")


def _room(accepted, running):
    app, files = accepted.manifest.app, accepted.manifest.files
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
        needed = files.blocks or (files.size + CHUNK - 1) // CHUNK
    else:
        if running.files is None or (files is not None and files != running.files):
            message = "the release needs files that the device does not have or cannot copy"
            raise Failure("wrong_base", message)
        needed = blocks(accepted.running_folder, blocks_for)
    stat = os.statvfs("/")
    free = stat[3] * stat[0] // CHUNK
    if needed + SPARE_BLOCKS > free + blocks(accepted.folder, blocks_freed):
        raise Failure("too_big", "the file system has no room for the files")
