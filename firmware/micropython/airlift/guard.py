"""The boot guard: runs before everything else, from boot.py.

It works with firmware that has ESP-IDF's rollback and with firmware that has
not: a trial gets one start, counted in the state, whatever the bootloader does.

| Last update, running slot | What happens |
| --- | --- |
| trial, this slot, first start | counted; a timer goes back if nothing confirms |
| trial, this slot, started before | it died: the slot before it is selected, restart |
| trial, this slot, entry valid | it was confirmed when power went: recorded now |
| trial, another slot | it is over, or never began: recorded |
| no trial | an entry that waits for a confirmation gets one |
"""

import machine
from micropython import const

from . import state as s
from .slots import NEW, PENDING, VALID, Slots

_CONFIRM_MS = const(120000)
_TIMER = const(0)
_timer = None


def reset_cause():
    """Why the device restarted, as the state records it."""
    cause = machine.reset_cause()
    if cause == machine.PWRON_RESET:
        return s.POWER_ON
    return s.WATCHDOG if cause == machine.WDT_RESET else s.SOFTWARE


def run():
    """Slot that runs, and whether it is on trial. Restarts the device if a trial died."""
    slots = Slots()
    store = s.Store()
    state = store.state
    if state.end != s.TRIAL:
        if slots.is_trial_state():
            slots.keep()
        settle(slots, store)
        return slots.running, False
    if store.release(slots.running) == state.last_release:
        found = slots.state(slots.running)
        if found == VALID:
            settle(slots, store)
            return slots.running, False
        if state.boots:
            go_back(slots, store, reset_cause())
        state.boots = 1
        # A bootloader with rollback has turned *new* into *pending*.
        if found in (NEW, PENDING):
            state.bootloader_rollback = found == PENDING
        store.save()
        arm()
        return slots.running, True
    cause = reset_cause()
    if slots.selected() != slots.running:
        # The new slot is still selected, yet the bootloader started this one.
        slots.pin()
        refused = not state.boots and cause != s.POWER_ON
        state.rollback(s.IMAGE_REFUSED if refused else cause)
    elif state.boots:
        state.rollback(cause)
    else:
        state.end = s.FAILED
        state.cause = s.INTERRUPTED
    if slots.is_trial_state():
        slots.keep()
    store.save()
    settle(slots, store)
    return slots.running, False


def arm():
    """Starts the time in which a trial must confirm."""
    global _timer
    _timer = machine.Timer(_TIMER)
    _timer.init(mode=machine.Timer.ONE_SHOT, period=_CONFIRM_MS, callback=_expired)


def disarm():
    machine.Timer(_TIMER).deinit()


def _expired(_):
    abort(s.WATCHDOG, "")


def abort(cause, detail):
    """Gives the trial up and restarts."""
    go_back(Slots(), s.Store(), cause, detail)


def go_back(slots, store, cause, detail=""):
    state = store.state
    state.rollback(cause, detail)
    try:
        store.save()
    except Exception:
        pass  # going back matters more than the reason for it
    previous = state.previous
    if previous == slots.running or slots.parts[previous] is None:
        previous = slots.target
    slots.select(previous)
    machine.reset()


def confirm():
    """The running slot works: told to the bootloader first, then recorded."""
    slots = Slots()
    store = s.Store()
    slots.keep()
    settle(slots, store)
    disarm()


def settle(slots, store):
    """On a confirmed slot: raises sequence and keys to what its release says, and ends
    its trial. Repeated at every start, so that a power cut loses neither."""
    state = store.state
    data = store.envelope(slots.running)
    if data is None:
        return
    from hashlib import sha256

    release = sha256(data).digest()
    trial = state.end == s.TRIAL and state.last_release == release
    if state.confirmed == release and not trial:
        return
    from .envelope import Envelope, key_id
    from .manifest import Manifest

    envelope = Envelope(data)
    manifest = Manifest(envelope)
    changed = trial
    if trial:
        state.end = s.DONE
        state.cause = 0
    if manifest.sequence > state.sequence or (
        manifest.sequence == state.sequence and state.confirmed is None
    ):
        state.sequence = manifest.sequence
        state.confirmed = release
        changed = True
    keys, trust = manifest.keys, state.trust
    if keys and trust and keys[0] > trust[0] and envelope.kid == key_id(trust[1]):
        state.trust = keys
        changed = True
    if changed:
        store.save()
    if trial:
        # In both copies: without rollback in the firmware, only they say that it is confirmed.
        store.save()
