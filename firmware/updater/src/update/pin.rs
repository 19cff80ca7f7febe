//! Otadata that selects the running slot for certain.

use crate::Failure;
use crate::layout::{FLASH, Layout, write_entry};
use crate::platform::Flash;
use airlift_wire::otadata::{self, Entry, ImageState};

/// Makes otadata select the running slot for certain.
pub(super) async fn pin<F: Flash>(layout: &Layout, flash: &mut F) -> Result<(), Failure> {
    let entries = layout.read_otadata(flash).await?;
    let active = otadata::active(&entries);
    // Each switch counts up; shortly before the end, the count starts anew.
    let last = u32::MAX - 8;
    let is_full = entries
        .iter()
        .any(|e| e.has_right_crc() && e.sequence > last);
    let Some(slot) = layout.running.ota() else {
        if is_full {
            for n in 0..2 {
                let erased = flash.erase(layout.otadata_offset(n)).await;
                erased.map_err(|_| FLASH)?;
            }
            return Ok(());
        }
        // Without a selectable entry the bootloader starts the factory app.
        for (n, entry) in entries.iter().enumerate() {
            if entry.is_selectable() {
                let aborted = Entry {
                    state: ImageState::Aborted,
                    ..*entry
                };
                write_entry(flash, layout.otadata_offset(n), &aborted).await?;
            }
        }
        return Ok(());
    };
    if is_full {
        // The entry that counts goes last: until then it does, and then the new one.
        let n = active.unwrap_or(1);
        for (n, state) in [(1 - n, ImageState::Valid), (n, ImageState::Aborted)] {
            let entry = Entry::new(slot + 1, state);
            write_entry(flash, layout.otadata_offset(n), &entry).await?;
        }
        return Ok(());
    }
    if let Some(n) = layout.running_entry(&entries)
        && entries[n].state == ImageState::Valid
    {
        return Ok(());
    }
    if let Some(n) = active {
        let own = entries[1 - n];
        if own.is_selectable() && own.slot(2) == Some(slot) && own.state == ImageState::Valid {
            // The own entry counts as soon as the other one goes. Not the other way round: a bootloader
            // with rollback gives a *pending* entry up, and would find none.
            let aborted = Entry::new(entries[n].sequence, ImageState::Aborted);
            return write_entry(flash, layout.otadata_offset(n), &aborted).await;
        }
    }
    let sequence = otadata::next_sequence(&entries, slot, 2).ok_or(FLASH)?;
    // Never over the active entry: until the new one is whole, the old one counts.
    let n = active.map_or(0, |n| 1 - n);
    let entry = Entry::new(sequence, ImageState::Valid);
    write_entry(flash, layout.otadata_offset(n), &entry).await
}
