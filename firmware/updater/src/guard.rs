//! The boot guard: the first thing that every image runs, and confirming a trial.
//!
//! It works with bootloaders that have rollback and with those that do not, and finds out which:
//! a bootloader with rollback turns *new* into *pending* before the first trial.
//!
//! | Entry of the running slot | What happens |
//! | --- | --- |
//! | unconfirmed, label unmarked | first trial: one label bit is cleared, the watchdog runs |
//! | unconfirmed, label marked | the trial died: *aborted* is written, the device restarts |
//! | *valid* | the slot is confirmed: sequence and keys are brought up to date |
//! | none, or one that never had a state | nothing is on trial, and nothing is confirmed |
//! | none any more: it was torn | as if the trial had died |
//!
//! Unconfirmed is *new*, *pending*, and any word that is no state: a bootloader writes its entries
//! in one go, and the CRC, which covers the sequence only, does not notice a state that was torn.
//!
//! What a power cut left of entries and state may read differently the next time. It is decided first,
//! for this start and all that follow.

use crate::Failure;
use crate::firm;
use crate::layout::{FLASH, Layout, write_entry};
use crate::platform::Flash;
use crate::store::{self, Store};
use airlift_wire::otadata::{self, Entry, ImageState};
use airlift_wire::state::{Cause, Detail, End};
use airlift_wire::{Digest, KeySet, Verified};

/// What the guard found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The running slot is confirmed.
    Confirmed,
    /// The running slot is on its first trial: arm the watchdog, confirm in time.
    Trial {
        /// Whether the bootloader has rollback of its own.
        bootloader_rollback: bool,
    },
    /// The trial died before: restart now, the other slot is selected.
    GoBack,
}

/// Runs the guard. `cause` says why the device restarted.
///
/// `scratch` holds at least 8 KiB: one envelope and [`airlift_wire::envelope::SCRATCH`].
pub async fn run(
    flash: &mut impl Flash,
    layout: &Layout,
    cause: Cause,
    scratch: &mut [u8],
) -> Result<Boot, Failure> {
    // What cannot be written is taken as it reads.
    let torn = firm::otadata(flash, layout).await.unwrap_or(false);
    let _ = firm::state(flash, layout).await;
    let entries = layout.read_otadata(flash).await?;
    let mut store = Store::load(flash, layout).await?;
    let is_trial = store.state.last.end == End::Trial && layout.running.ota().is_some();
    if is_trial
        && layout.running_entry(&entries).is_none()
        && (torn || runs_the_trial(flash, layout, &store, scratch).await?)
    {
        // The entry read as whole when the bootloader looked, and does no more.
        note_rollback(flash, &mut store, cause, Detail::empty()).await;
        if store.state.last.end != End::Trial {
            return Ok(Boot::GoBack);
        }
    }
    if let Some(n) = layout.running_entry(&entries) {
        let entry = entries[n];
        if is_unconfirmed(entry.state) {
            let offset = layout.otadata_offset(n);
            if entry.is_marked() {
                return go_back(flash, &mut store, offset, entry, cause, Detail::empty()).await;
            }
            let mut word = entry.encode()[4..8].try_into().unwrap_or([0xFF; 4]);
            word[0] &= 0xFE;
            flash.write(offset + 4, &word).await.map_err(|_| FLASH)?;
            let mut state = store.state;
            state.last.boots = state.last.boots.saturating_add(1);
            // A count that is lost is no reason to give the trial up.
            let _ = store.save(flash, &state).await;
            return Ok(Boot::Trial {
                bootloader_rollback: entry.state != ImageState::New,
            });
        }
    }
    // A confirmed slot runs even when its state cannot be written; the next start tries again.
    let _ = settle(flash, layout, &mut store, &entries, cause, scratch).await;
    Ok(Boot::Confirmed)
}

/// Whether the power may have gone before this start.
fn power_was_gone(cause: Cause) -> bool {
    matches!(cause, Cause::PowerOn | Cause::Brownout | Cause::None)
}

/// Whether the running slot holds the release that is on trial.
async fn runs_the_trial(
    flash: &mut impl Flash,
    layout: &Layout,
    store: &Store,
    scratch: &mut [u8],
) -> Result<bool, Failure> {
    let out = scratch.get_mut(..4096).ok_or(FLASH)?;
    let stored = store::read_envelope(flash, layout, layout.running, out).await?;
    Ok(stored.is_some_and(|envelope| Digest::of(envelope) == store.state.last.release))
}

/// Whether an active entry is on trial. All ones is what ESP-IDF and `otatool` write that know no
/// trials.
fn is_unconfirmed(state: ImageState) -> bool {
    match state {
        ImageState::New | ImageState::PendingVerify => true,
        ImageState::Undefined(word) => word != u32::MAX,
        ImageState::Valid | ImageState::Invalid | ImageState::Aborted => false,
    }
}

/// Gives a trial up: records why, then makes the entry *aborted* so that the other slot boots.
/// The caller restarts the device. `detail` is what the application says of it, and may be empty.
pub async fn abort(
    flash: &mut impl Flash,
    layout: &Layout,
    cause: Cause,
    detail: Detail,
) -> Result<Boot, Failure> {
    let entries = layout.read_otadata(flash).await?;
    let mut store = Store::load(flash, layout).await?;
    match layout.running_entry(&entries) {
        Some(n) if entries[n].state != ImageState::Valid => {
            let offset = layout.otadata_offset(n);
            go_back(flash, &mut store, offset, entries[n], cause, detail).await
        }
        _ => Ok(Boot::Confirmed),
    }
}

async fn go_back(
    flash: &mut impl Flash,
    store: &mut Store,
    offset: u32,
    entry: Entry,
    cause: Cause,
    detail: Detail,
) -> Result<Boot, Failure> {
    if store.state.last.end == End::Trial {
        note_rollback(flash, store, cause, detail).await;
    }
    // A cut after the erase leaves a blank entry, which selects the other slot just as well.
    let aborted = Entry::new(entry.sequence, ImageState::Aborted);
    write_entry(flash, offset, &aborted).await?;
    Ok(Boot::GoBack)
}

/// Records the end of a trial.
async fn note_rollback(flash: &mut impl Flash, store: &mut Store, cause: Cause, detail: Detail) {
    let mut state = store.state;
    state.last.end = End::RolledBack;
    state.last.cause = cause;
    state.rolled_back = Some(state.last.release);
    // Going back matters more than the reason for it.
    let _ = store.save_with(flash, &state, &detail).await;
}

/// On a confirmed slot: the end of the last update is recorded if it is not yet, and sequence and
/// keys are raised to what the running release says. Repeated at every boot, so that a cut after
/// *valid* was written loses neither.
async fn settle(
    flash: &mut impl Flash,
    layout: &Layout,
    store: &mut Store,
    entries: &[Entry; 2],
    cause: Cause,
    scratch: &mut [u8],
) -> Result<(), Failure> {
    let (envelope, scratch) = scratch.split_at_mut_checked(4096).ok_or(FLASH)?;
    let (keys, n) = store.keys();
    let running =
        store::read_verified(flash, layout, layout.running, &keys[..n], envelope, scratch).await?;
    let mut state = store.state;
    let confirmed = layout.running_state(entries) == ImageState::Valid;
    if let Some(verified) = running.filter(|_| confirmed) {
        raise(&mut state, &verified);
    }
    if state.last.end == End::Trial {
        if confirmed && running.is_some_and(|v| v.id() == state.last.release) {
            state.last.end = End::Done;
            state.last.cause = Cause::None;
        } else if let Some(n) = elsewhere(layout, entries) {
            // The new entry is still selected, yet the bootloader started this slot. It must not come
            // back at another start: what is recorded now is the end.
            let aborted = Entry::new(entries[n].sequence, ImageState::Aborted);
            write_entry(flash, layout.otadata_offset(n), &aborted).await?;
            let refused = state.last.boots == 0 && !power_was_gone(cause);
            state.last.end = End::RolledBack;
            state.last.cause = if refused { Cause::ImageRefused } else { cause };
            state.rolled_back = Some(state.last.release);
        } else if state.last.boots > 0 {
            state.last.end = End::RolledBack;
            state.last.cause = cause;
            state.rolled_back = Some(state.last.release);
        } else {
            state.last.end = End::Failed;
            state.last.cause = Cause::Interrupted;
        }
    }
    if state != store.state {
        store.save(flash, &state).await?;
    }
    Ok(())
}

/// The active entry, if it selects another slot than the running one.
fn elsewhere(layout: &Layout, entries: &[Entry; 2]) -> Option<usize> {
    otadata::active(entries).filter(|_| layout.running_entry(entries).is_none())
}

/// Raises sequence and keys to what a release says that is confirmed.
fn raise(state: &mut airlift_wire::state::State, verified: &Verified<'_>) {
    let Ok(manifest) = verified.manifest() else {
        return;
    };
    if manifest.sequence > state.sequence
        || (manifest.sequence == state.sequence && state.confirmed.is_none())
    {
        state.sequence = manifest.sequence;
        state.confirmed = Some(verified.id());
    }
    if let Some(keys) = manifest.keys
        && changes_keys(state.trust.as_ref(), &keys, verified)
    {
        state.trust = Some(keys);
    }
}

/// Whether a set of keys may replace the one that is trusted: signed by its root, higher epoch.
pub(crate) fn changes_keys(trust: Option<&KeySet>, keys: &KeySet, verified: &Verified<'_>) -> bool {
    trust.is_some_and(|t| *verified.key() == t.root && keys.epoch > t.epoch)
}

/// Confirms the running slot: *valid*, then sequence, keys and the end of the update. Call it when
/// the link is up, the API listens and the application's own check has passed.
///
/// `scratch` as for [`run`].
pub async fn confirm(
    flash: &mut impl Flash,
    layout: &Layout,
    scratch: &mut [u8],
) -> Result<(), Failure> {
    let mut entries = layout.read_otadata(flash).await?;
    if let Some(n) = layout.running_entry(&entries)
        && entries[n].state != ImageState::Valid
    {
        // A new entry, without the mark: ESP-IDF's own functions keep the label of an entry that
        // they write over, and the next trial there would look as if it had died.
        let valid = Entry::new(entries[n].sequence, ImageState::Valid);
        write_entry(flash, layout.otadata_offset(n), &valid).await?;
        entries[n] = valid;
    }
    let mut store = Store::load(flash, layout).await?;
    settle(flash, layout, &mut store, &entries, Cause::None, scratch).await
}
