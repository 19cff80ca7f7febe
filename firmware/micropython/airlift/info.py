"""What the device says of itself: the JSON of `GET /v1/device`."""

import json
from binascii import hexlify

from . import state as s
from .envelope import Envelope, key_id
from .guard import reset_cause
from .image import CHIPS
from .manifest import Manifest
from .release import digest_of
from .slots import NAMES, state_name


def _hex(digest):
    return hexlify(digest).decode() if digest else None


def _version(n):
    """Of a folder that no release was written to."""
    try:
        with open("/{}/VERSION".format(NAMES[n])) as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return None


def slot(n, slots, store, running, trial):
    """One slot's row."""
    row = {"slot": NAMES[n], "state": "empty", "release": None, "version": None}
    row["sequence"] = row["app_sha256"] = row["files_sha256"] = None
    data = store.envelope(n)
    if data:
        manifest = Manifest(Envelope(data))
        row["release"] = _hex(store.release(n))
        row["version"] = manifest.version
        row["sequence"] = manifest.sequence
        row["app_sha256"] = _hex(digest_of(manifest.app))
        row["files_sha256"] = _hex(digest_of(manifest.files))
    state = slots.state(n)
    name = "valid" if state is None else state_name(state)
    if n != slots.running:
        row["state"] = name if data else "empty"
        return row
    if name == "undefined":
        # A firmware without rollback leaves this open; the guard's own record knows.
        name = "pending" if trial else "valid"
    row["state"] = name
    if not data:
        row["version"] = _version(n)
    # Computed from flash: evidence, not a claim.
    row["app_sha256"] = _hex(running.app and running.app[0])
    row["files_sha256"] = _hex(running.files)
    return row


def describe(device):
    """All that changes only with a start or an update, as JSON without its closing
    brace: the rest follows in `answer`."""
    slots, store, running = device.slots, device.store, device.running
    state = store.state
    rows = [
        slot(n, slots, store, running, device.trial)
        for n in range(len(NAMES))
        if slots.parts[n] is not None
    ]
    own = [row for row in rows if row["slot"] == NAMES[slots.running]][0]
    trust = last = None
    if state.trust:
        epoch, root, release = state.trust
        keys = [_hex(key_id(key)) for key in release]
        trust = {"epoch": epoch, "root": _hex(key_id(root)), "keys": keys}
    if state.end != s.NONE:
        last = {"release": _hex(state.last_release), "end": s.ENDS[state.end]}
        last["cause"] = s.CAUSES[state.cause] if state.cause < len(s.CAUSES) else "none"
        last["boots"] = state.boots
        if state.detail:
            last["detail"] = state.detail
    text = json.dumps(
        {
            "schema": 1,
            "id": device.id,
            "name": state.name,
            "product": state.product,
            "chip": CHIPS.get(running.chip, "unknown"),
            "flash_size": device.flash_size,
            "running": own,
            "slots": rows,
            "trust": trust,
            "bootloader_rollback": state.bootloader_rollback,
            "last_update": last,
            "reset_reason": s.CAUSES[reset_cause()],
        }
    )
    return text[:-1].encode()
