//! What will start: ESP-IDF's bootloader (`bootloader_utility.c`, "App Rollback"), then the boot guard.

use super::slot::Slot;
use airlift_wire::otadata::{self, Entry, ImageState};

/// Most starts that are followed: one for each slot, and one more.
const STARTS: usize = 4;

/// What the next start comes to. Slots are places in the list of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct NextBoot {
    /// The one that otadata selects, if an entry of it counts.
    pub selected: Option<usize>,
    /// The one that the bootloader starts first.
    pub started: Option<usize>,
    /// The one that runs in the end: the boot guard may have gone back.
    pub runs: Option<usize>,
    /// The entry of otadata that counts.
    pub active: Option<usize>,
    /// What it says of its slot at that start.
    pub state: Option<ImageState>,
    /// Whether the trial of the slot that is started first has ended badly.
    pub died: bool,
}

/// What a bootloader and a boot guard do with these entries. `guarded`: the apps run the boot guard.
pub(crate) fn next(
    slots: &[Slot],
    entries: Option<&[Entry; 2]>,
    rollback: bool,
    guarded: bool,
) -> NextBoot {
    let count = slots.iter().filter(|slot| slot.ota.is_some()).count() as u32;
    let mut boot = NextBoot::default();
    let Some(mut entries) = entries.copied() else {
        boot.started = start(slots, fallback(slots));
        boot.runs = boot.started;
        return boot;
    };
    boot.active = otadata::active(&entries).filter(|_| count > 0);
    boot.state = boot.active.map(|n| entries[n].state);
    boot.selected = boot
        .active
        .and_then(|n| selected(slots, &entries[n], count));
    for turn in 0..STARTS {
        if rollback {
            for entry in &mut entries {
                if entry.state == ImageState::PendingVerify {
                    entry.state = ImageState::Aborted;
                    boot.died |= turn == 0 && boot.active.is_some();
                }
            }
        }
        let active = otadata::active(&entries).filter(|_| count > 0);
        let wanted = active.and_then(|n| selected(slots, &entries[n], count));
        let started = start(slots, wanted.or_else(|| fallback(slots)));
        if turn == 0 {
            boot.started = started;
        }
        boot.runs = started;
        match active {
            Some(n) if guarded && started == wanted && died(&entries[n]) => {
                boot.died |= turn == 0;
                entries[n].state = ImageState::Aborted;
            }
            _ => break,
        }
    }
    boot
}

/// Whether the boot guard goes back from the slot of an entry.
fn died(entry: &Entry) -> bool {
    is_trial(entry.state) && entry.is_marked()
}

/// Whether a state is that of a trial. All ones is what tools write that know no trials.
pub(crate) fn is_trial(state: ImageState) -> bool {
    match state {
        ImageState::New | ImageState::PendingVerify => true,
        ImageState::Undefined(word) => word != u32::MAX,
        ImageState::Valid | ImageState::Invalid | ImageState::Aborted => false,
    }
}

fn selected(slots: &[Slot], entry: &Entry, count: u32) -> Option<usize> {
    let ota = entry.slot(count)?;
    slots.iter().position(|slot| slot.ota == Some(ota))
}

/// Without an entry: `factory`, or else the first.
fn fallback(slots: &[Slot]) -> Option<usize> {
    (!slots.is_empty()).then_some(0)
}

/// From the wanted slot down to `factory`, then up: the first that starts.
fn start(slots: &[Slot], wanted: Option<usize>) -> Option<usize> {
    let wanted = wanted?;
    let down = (0..=wanted).rev();
    let up = wanted + 1..slots.len();
    down.chain(up).find(|n| slots[*n].image.may_start())
}
