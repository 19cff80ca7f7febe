//! What a power cut left between 0 and 1, decided once and for all.
//!
//! A write that was cut can leave bits that read differently each time. A record with such bits is
//! valid now and damaged at the next start, so one reading is no ground to act on. After a cut, before
//! anything is decided: a record that reads as valid is written again over itself, which drives the
//! bits that are 0 all the way down; what reads as damaged is cleared until it cannot be valid. Neither
//! needs an erase, so a cut in here leaves nothing worse.
//!
//! It is done at every start, whatever the reason for it. A start that follows a cut may die before the
//! guard runs, and the next one is then a watchdog's; and a bootloader that reads nothing it can start
//! restarts the chip by software, as an update does. Nor does it help to read twice: bits that were
//! equal twice need not be so the third time. Two writes of 32 bytes and one of 400 that change no bit
//! take about a millisecond and wear nothing, as nothing is erased.

use crate::Failure;
use crate::layout::{FLASH, Layout};
use crate::platform::Flash;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::otadata::{BODY_LEN, ENTRY_LEN, Entry, ImageState};
use airlift_wire::state::{STATE_LEN, State, newest};

/// Decides both entries of otadata. Whether one was damaged and is cleared now.
pub(crate) async fn otadata(flash: &mut impl Flash, layout: &Layout) -> Result<bool, Failure> {
    let mut cleared = false;
    for n in 0..2 {
        let offset = layout.otadata_offset(n);
        let mut bytes = [0; ENTRY_LEN];
        flash.read(offset, &mut bytes).await.map_err(|_| FLASH)?;
        let entry = Entry::decode(&bytes);
        // The CRC does not vouch for the state: a bootloader writes both at once, and its cut may have
        // left a word that is no state, and another one the next time.
        let is_state = matches!(
            entry.state,
            ImageState::New
                | ImageState::PendingVerify
                | ImageState::Valid
                | ImageState::Invalid
                | ImageState::Aborted
                | ImageState::Undefined(u32::MAX)
        );
        if entry.has_right_crc() && is_state {
            flash.write(offset, &bytes).await.map_err(|_| FLASH)?;
        } else if bytes != [0xFF; ENTRY_LEN] && (entry.sequence, entry.crc) != (0, 0) {
            // Sequence 0 selects nothing, and 0 is not its CRC.
            let zeros = [0; 4];
            flash.write(offset, &zeros).await.map_err(|_| FLASH)?;
            let crc = offset + BODY_LEN as u32;
            flash.write(crc, &zeros).await.map_err(|_| FLASH)?;
            cleared = true;
        }
    }
    Ok(cleared)
}

/// Decides both copies of the state.
pub(crate) async fn state(flash: &mut impl Flash, layout: &Layout) -> Result<(), Failure> {
    let mut copies = [[0; STATE_LEN]; 2];
    let offset = |n: usize| layout.airlift.offset + (n * SECTOR_SIZE) as u32;
    for (n, copy) in copies.iter_mut().enumerate() {
        flash.read(offset(n), copy).await.map_err(|_| FLASH)?;
    }
    let decoded = [State::decode(&copies[0]), State::decode(&copies[1])];
    let Some((n, _)) = newest(decoded) else {
        return Ok(());
    };
    flash
        .write(offset(n), &copies[n])
        .await
        .map_err(|_| FLASH)?;
    let other = 1 - n;
    let is_blank = copies[other] == [0xFF; STATE_LEN];
    if decoded[other].is_none() && !is_blank && copies[other][..4] != [0; 4] {
        // Without its magic it is no state.
        flash
            .write(offset(other), &[0; 4])
            .await
            .map_err(|_| FLASH)?;
    }
    Ok(())
}
