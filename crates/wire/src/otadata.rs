//! ESP-IDF's `otadata`: two sectors, each with one entry that selects an app
//! (ESP-IDF: `esp_flash_partitions.h`, `esp_ota_select_entry_t`; "Over The Air Updates").
//!
//! An entry is 32 bytes, little endian: `ota_seq` u32, label (20 bytes), `ota_state` u32, CRC-32 of
//! `ota_seq` alone. The valid entry with the highest sequence selects `ota_((seq - 1) % count)`.
//! The CRC does not cover label or state: a torn write of them is not noticed by it, so only an
//! exact *valid* counts as confirmed here.

use crate::crc::crc32;
use core::fmt;

/// Bytes of an entry.
pub const ENTRY_LEN: usize = 32;
/// Bytes of an entry before its CRC word.
pub const BODY_LEN: usize = 28;

/// The state of an entry (`esp_ota_img_states_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// Written, not booted yet.
    New,
    /// Booted once by a bootloader with rollback; not confirmed.
    PendingVerify,
    /// Confirmed.
    Valid,
    /// Marked as bad by the application.
    Invalid,
    /// Did not confirm.
    Aborted,
    /// Never set, or bits that are no state.
    Undefined(u32),
}

impl ImageState {
    /// From the word in flash.
    pub const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::New,
            1 => Self::PendingVerify,
            2 => Self::Valid,
            3 => Self::Invalid,
            4 => Self::Aborted,
            other => Self::Undefined(other),
        }
    }

    /// The word in flash.
    pub const fn word(self) -> u32 {
        match self {
            Self::New => 0,
            Self::PendingVerify => 1,
            Self::Valid => 2,
            Self::Invalid => 3,
            Self::Aborted => 4,
            Self::Undefined(other) => other,
        }
    }

    /// The name that the device's JSON uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::PendingVerify => "pending",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Aborted => "aborted",
            Self::Undefined(_) => "undefined",
        }
    }
}

impl fmt::Display for ImageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One entry as it stands in flash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Raw sequence; 1 selects `ota_0`.
    pub sequence: u32,
    /// Unused by ESP-IDF. Airlift clears one bit of it to mark that a trial has begun.
    pub label: [u8; 20],
    /// State.
    pub state: ImageState,
    /// CRC word as found.
    pub crc: u32,
}

impl Entry {
    /// An entry with its right CRC and an unmarked label.
    pub fn new(sequence: u32, state: ImageState) -> Self {
        Self {
            sequence,
            label: [0xFF; 20],
            state,
            crc: sequence_crc(sequence),
        }
    }

    /// Reads an entry; every 32 bytes are one.
    pub fn decode(bytes: &[u8; ENTRY_LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut label = [0; 20];
        label.copy_from_slice(&bytes[4..24]);
        Self {
            sequence: word(0),
            label,
            state: ImageState::from_word(word(24)),
            crc: word(28),
        }
    }

    /// The 32 bytes of the entry.
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..4].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[4..24].copy_from_slice(&self.label);
        bytes[24..28].copy_from_slice(&self.state.word().to_le_bytes());
        bytes[28..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Whether a bootloader would consider the entry: right CRC, a sequence, not given up
    /// (`bootloader_common_ota_select_valid`).
    pub fn is_selectable(&self) -> bool {
        self.sequence != u32::MAX
            && self.sequence != 0
            && !matches!(self.state, ImageState::Invalid | ImageState::Aborted)
            && self.crc == sequence_crc(self.sequence)
    }

    /// Whether the CRC belongs to the sequence.
    pub fn has_right_crc(&self) -> bool {
        self.sequence != u32::MAX && self.crc == sequence_crc(self.sequence)
    }

    /// Whether the trial mark is set: the first bit of the label is cleared.
    pub fn is_marked(&self) -> bool {
        self.label[0] & 1 == 0
    }

    /// The OTA slot that the entry selects among `count`; `None` when it selects none.
    pub fn slot(&self, count: u32) -> Option<u32> {
        if count == 0 || self.sequence == 0 {
            None
        } else {
            Some((self.sequence - 1) % count)
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crc = if self.has_right_crc() { "" } else { " bad crc" };
        let mark = if self.is_marked() { " marked" } else { "" };
        write!(f, "seq {} {}{mark}{crc}", self.sequence, self.state)
    }
}

/// The CRC word of a sequence.
pub fn sequence_crc(sequence: u32) -> u32 {
    crc32(u32::MAX, &sequence.to_le_bytes())
}

/// Which of the two entries is active: the selectable one with the higher sequence
/// (`bootloader_common_get_active_otadata`); the first when both are equal.
pub fn active(entries: &[Entry; 2]) -> Option<usize> {
    match (entries[0].is_selectable(), entries[1].is_selectable()) {
        (true, true) => Some(usize::from(entries[1].sequence > entries[0].sequence)),
        (true, false) => Some(0),
        (false, true) => Some(1),
        (false, false) => None,
    }
}

/// The smallest sequence above those of both entries that selects `slot` of `count`.
///
/// Only entries with a right CRC count. `None` when no 32-bit sequence is left.
pub fn next_sequence(entries: &[Entry; 2], slot: u32, count: u32) -> Option<u32> {
    let highest = entries
        .iter()
        .filter(|e| e.has_right_crc())
        .map(|e| e.sequence)
        .max()
        .unwrap_or(0);
    if count == 0 || slot >= count {
        return None;
    }
    (1..=count)
        .filter_map(|step| highest.checked_add(step))
        .find(|s| *s != u32::MAX && (s - 1) % count == slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blank() -> Entry {
        Entry::decode(&[0xFF; ENTRY_LEN])
    }

    #[test]
    fn the_first_entry_is_the_golden_vector_read_by_hand() {
        let mut golden = [0xFF; ENTRY_LEN];
        golden[..4].copy_from_slice(&[1, 0, 0, 0]);
        golden[24..28].copy_from_slice(&[0, 0, 0, 0]);
        golden[28..].copy_from_slice(&[0x9A, 0x98, 0x43, 0x47]);
        assert_eq!(Entry::new(1, ImageState::New).encode(), golden);
        assert_eq!(Entry::decode(&golden), Entry::new(1, ImageState::New));
    }

    #[test]
    fn blank_torn_and_aborted_entries_select_nothing() {
        assert_eq!(active(&[blank(), blank()]), None);
        let torn = Entry {
            crc: u32::MAX,
            ..Entry::new(1, ImageState::New)
        };
        assert_eq!(active(&[torn, blank()]), None);
        let aborted = Entry::new(2, ImageState::Aborted);
        assert_eq!(
            active(&[Entry::new(1, ImageState::Valid), aborted]),
            Some(0)
        );
    }

    #[test]
    fn the_higher_sequence_is_active_and_selects_its_slot() {
        let entries = [
            Entry::new(3, ImageState::Valid),
            Entry::new(4, ImageState::New),
        ];
        assert_eq!(active(&entries), Some(1));
        assert_eq!(entries[1].slot(2), Some(1));
        assert_eq!(entries[0].slot(2), Some(0));
    }

    #[test]
    fn the_next_sequence_counts_aborted_entries_too() {
        let entries = [
            Entry::new(1, ImageState::Valid),
            Entry::new(2, ImageState::Aborted),
        ];
        assert_eq!(next_sequence(&entries, 1, 2), Some(4));
        assert_eq!(next_sequence(&entries, 0, 2), Some(3));
        assert_eq!(next_sequence(&[blank(), blank()], 0, 2), Some(1));
        assert_eq!(next_sequence(&[blank(), blank()], 1, 2), Some(2));
        let last = Entry::new(u32::MAX - 1, ImageState::Valid);
        assert_eq!(next_sequence(&[last, blank()], 0, 2), None);
    }

    proptest! {
        #[test]
        fn any_32_bytes_are_an_entry_that_encodes_back(bytes: [u8; 32]) {
            prop_assert_eq!(Entry::decode(&bytes).encode(), bytes);
        }

        #[test]
        fn the_next_sequence_becomes_active_and_selects_the_slot(a: u32, b: u32, slot in 0u32..2) {
            let entries = [Entry::new(a, ImageState::Valid), Entry::new(b, ImageState::Aborted)];
            if let Some(next) = next_sequence(&entries, slot, 2) {
                let new = Entry::new(next, ImageState::New);
                prop_assert_eq!(new.slot(2), Some(slot));
                prop_assert_eq!(active(&[entries[0], new]), Some(1));
            }
        }
    }
}
