//! What a device remembers between updates: partition `airlift` (data, 32 KiB).
//!
//! | Sector | Content |
//! | --- | --- |
//! | 0, 1 | two copies of the state, written in turn; the valid one with the higher counter counts |
//! | 2, 3, 4 | the envelope of the release in `factory`, `ota_0`, `ota_1`: u32 length, bytes, or erased |
//!
//! The state is one record at the start of its sector, little endian:
//!
//! ```text
//!   0  "ALS1"              4  counter u32          8  confirmed sequence u32
//!  12  end, cause, boots, tries (u8 each)         16  update sequence u32     20  update release id
//!  52  rolled back release id                     84  epoch u32               88  root key
//! 120  release key count u8, product length u8, name length u8, flags u8 (bit 0: has keys,
//!      bit 1: the bootloader has rollback, bit 2: a release needs a statement of freshness)
//! 124  four release keys                         252  product (64)           316  name (32)
//! 348  confirmed release id                      380  reserved, zero         396  CRC-32 of 0..396
//! ```
//!
//! Behind it, at byte 400 of the sector, may stand a note: what the application said about why its
//! trial failed. A state without a valid note that carries its counter has none.
//!
//! ```text
//!   0  "ALN1"              4  counter u32 of the state        8  length u8, three zeros
//!  12  text (48)          60  CRC-32 of 0..60
//! ```

use crate::crc::crc32;
use crate::digest::Digest;
use crate::keys::PublicKey;
use crate::limits::{MAX_DETAIL, MAX_NAME, MAX_PRODUCT, MAX_RELEASE_KEYS};
use crate::manifest::{KeySet, is_product};
use crate::text::is_printable;

/// Bytes of a state record.
pub const STATE_LEN: usize = 400;
const CRC_AT: usize = 396;
const MAGIC: &[u8; 4] = b"ALS1";
/// Bytes of a note, which follows the state in its sector.
pub const NOTE_LEN: usize = 64;
const NOTE_CRC_AT: usize = 60;
const NOTE_MAGIC: &[u8; 4] = b"ALN1";
/// Sector of the `airlift` partition that holds the first slot's envelope.
pub const FIRST_ENVELOPE_SECTOR: u32 = 2;
/// Label of the partition.
pub const PARTITION_LABEL: &str = "airlift";

/// How the last update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was none.
    None,
    /// The new release is written and selected; it has not confirmed.
    Trial,
    /// It confirmed.
    Done,
    /// The device went back to the old one.
    RolledBack,
    /// It failed before the switch.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl End {
    const ALL: [Self; 6] = [
        Self::None,
        Self::Trial,
        Self::Done,
        Self::RolledBack,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name that the device's JSON uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Trial => "trial",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why the last update ended as it did, or why the device restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing to say.
    None,
    /// It restarted on purpose.
    Software,
    /// Power came back.
    PowerOn,
    /// A watchdog fired: the trial hung, or did not confirm in time.
    Watchdog,
    /// The program panicked.
    Panic,
    /// The supply voltage dropped.
    Brownout,
    /// The application's own check failed.
    HealthCheck,
    /// The trial did not confirm within its time.
    NotConfirmed,
    /// The bootloader refused the image.
    ImageRefused,
    /// The switch was interrupted before the new release ran.
    Interrupted,
    /// The trial ran and did not reach the network in time.
    NoNetwork,
}

impl Cause {
    const ALL: [Self; 11] = [
        Self::None,
        Self::Software,
        Self::PowerOn,
        Self::Watchdog,
        Self::Panic,
        Self::Brownout,
        Self::HealthCheck,
        Self::NotConfirmed,
        Self::ImageRefused,
        Self::Interrupted,
        Self::NoNetwork,
    ];

    /// The name that the device's JSON uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Software => "software",
            Self::PowerOn => "power_on",
            Self::Watchdog => "watchdog",
            Self::Panic => "panic",
            Self::Brownout => "brownout",
            Self::HealthCheck => "health_check",
            Self::NotConfirmed => "not_confirmed",
            Self::ImageRefused => "image_refused",
            Self::Interrupted => "interrupted",
            Self::NoNetwork => "no_network",
        }
    }
}

/// The last update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUpdate {
    /// Its release.
    pub release: Digest,
    /// Its sequence.
    pub sequence: u32,
    /// How it ended.
    pub end: End,
    /// Why.
    pub cause: Cause,
    /// How often the new release was booted.
    pub boots: u8,
}

/// A short text with a fixed place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const fn empty() -> Self {
        Self {
            len: 0,
            bytes: [0; N],
        }
    }

    /// The text, cut at a character that does not fit.
    pub fn new(text: &str) -> Self {
        let mut len = text.len().min(N);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; N];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self {
            len: len as u8,
            bytes,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl<const N: usize> core::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// All that a device remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Grows with each write; the higher of two valid copies counts.
    pub counter: u32,
    /// Highest sequence that was ever confirmed; 0 before the first.
    pub sequence: u32,
    /// The release that confirmed with that sequence.
    pub confirmed: Option<Digest>,
    /// The last update.
    pub last: LastUpdate,
    /// A release that was rolled back; taken again only when asked for explicitly.
    pub rolled_back: Option<Digest>,
    /// Whom the device trusts; `None` on a board that was given no keys.
    pub trust: Option<KeySet>,
    /// Whether the bootloader turned *new* into *pending* at the last trial: it has rollback.
    pub bootloader_rollback: bool,
    /// Which product the device is.
    pub product: Text<MAX_PRODUCT>,
    /// What people call it.
    pub name: Text<MAX_NAME>,
    /// Whether a release is taken only after a statement of which is the newest, see
    /// [`crate::freshness`].
    pub freshness_required: bool,
}

const NO_DIGEST: Digest = Digest([0; 32]);

impl State {
    /// The state of a board that was just flashed.
    pub fn new(product: &str, name: &str, trust: Option<KeySet>) -> Self {
        Self {
            counter: 0,
            sequence: 0,
            confirmed: None,
            last: LastUpdate {
                release: NO_DIGEST,
                sequence: 0,
                end: End::None,
                cause: Cause::None,
                boots: 0,
            },
            rolled_back: None,
            trust,
            bootloader_rollback: false,
            product: Text::new(product),
            name: Text::new(name),
            freshness_required: false,
        }
    }

    /// The record.
    pub fn encode(&self) -> [u8; STATE_LEN] {
        let mut b = [0; STATE_LEN];
        b[..4].copy_from_slice(MAGIC);
        b[4..8].copy_from_slice(&self.counter.to_le_bytes());
        b[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        b[12] = self.last.end as u8;
        b[13] = self.last.cause as u8;
        b[14] = self.last.boots;
        b[16..20].copy_from_slice(&self.last.sequence.to_le_bytes());
        b[20..52].copy_from_slice(&self.last.release.0);
        b[52..84].copy_from_slice(&self.rolled_back.unwrap_or(NO_DIGEST).0);
        b[123] = u8::from(self.bootloader_rollback) << 1 | u8::from(self.freshness_required) << 2;
        if let Some(trust) = &self.trust {
            b[84..88].copy_from_slice(&trust.epoch.to_le_bytes());
            b[88..120].copy_from_slice(&trust.root.0);
            b[120] = trust.release_keys().len() as u8;
            b[123] |= 1;
            for (to, key) in b[124..252].chunks_exact_mut(32).zip(trust.release_keys()) {
                to.copy_from_slice(&key.0);
            }
        }
        b[121] = self.product.len;
        b[122] = self.name.len;
        b[252..316].copy_from_slice(&self.product.bytes);
        b[316..348].copy_from_slice(&self.name.bytes);
        b[348..380].copy_from_slice(&self.confirmed.unwrap_or(NO_DIGEST).0);
        let crc = crc32(0, &b[..CRC_AT]);
        b[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads a record; `None` unless magic, CRC and every field are right.
    pub fn decode(b: &[u8; STATE_LEN]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let digest = |at: usize| Digest::from_slice(&b[at..at + 32]);
        if b[..4] != *MAGIC || word(CRC_AT) != crc32(0, &b[..CRC_AT]) {
            return None;
        }
        let trust = if b[123] & 1 == 1 {
            let count = usize::from(b[120]);
            let mut keys = [PublicKey([0; 32]); MAX_RELEASE_KEYS];
            for (key, from) in keys.iter_mut().zip(b[124..252].chunks_exact(32)) {
                *key = PublicKey::from_slice(from)?;
            }
            Some(KeySet::new(
                word(84),
                PublicKey::from_slice(&b[88..120])?,
                keys.get(..count)?,
            )?)
        } else {
            None
        };
        let known = |d: &Digest| *d != NO_DIGEST;
        let product = core::str::from_utf8(b[252..316].get(..usize::from(b[121]))?).ok()?;
        let name = core::str::from_utf8(b[316..348].get(..usize::from(b[122]))?).ok()?;
        if !is_product(product) {
            return None;
        }
        // A name that cannot be shown is no reason to forget whom the device trusts.
        let name = if name.chars().all(is_printable) {
            name
        } else {
            ""
        };
        Some(Self {
            counter: word(4),
            sequence: word(8),
            confirmed: digest(348).filter(known),
            last: LastUpdate {
                release: digest(20)?,
                sequence: word(16),
                end: *End::ALL.get(usize::from(b[12]))?,
                // A later version may know more causes; what it wrote counts all the same.
                cause: *Cause::ALL.get(usize::from(b[13])).unwrap_or(&Cause::None),
                boots: b[14],
            },
            rolled_back: digest(52).filter(known),
            trust,
            bootloader_rollback: b[123] & 2 != 0,
            product: Text::new(product),
            name: Text::new(name),
            freshness_required: b[123] & 4 != 0,
        })
    }
}

/// Why the last update ended as it did, in the words of the application.
pub type Detail = Text<MAX_DETAIL>;

impl Detail {
    /// A reason of printable ASCII; any other character becomes `?`, so that it can be shown
    /// anywhere.
    pub fn printable(reason: &str) -> Self {
        let mut bytes = [0; MAX_DETAIL];
        let mut len = 0;
        for (to, c) in bytes.iter_mut().zip(reason.chars()) {
            *to = if matches!(c, ' '..='~') {
                c as u8
            } else {
                b'?'
            };
            len += 1;
        }
        Self { len, bytes }
    }

    /// The note beside the state with this counter.
    pub fn encode_note(&self, counter: u32) -> [u8; NOTE_LEN] {
        let mut b = [0; NOTE_LEN];
        b[..4].copy_from_slice(NOTE_MAGIC);
        b[4..8].copy_from_slice(&counter.to_le_bytes());
        b[8] = self.len;
        b[12..12 + MAX_DETAIL].copy_from_slice(&self.bytes);
        let crc = crc32(0, &b[..NOTE_CRC_AT]);
        b[NOTE_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Reads the note beside the state with this counter; empty unless magic, counter and CRC are
    /// right.
    pub fn decode_note(b: &[u8; NOTE_LEN], counter: u32) -> Self {
        let crc = crc32(0, &b[..NOTE_CRC_AT]).to_le_bytes();
        let right = b[..4] == *NOTE_MAGIC && b[4..8] == counter.to_le_bytes();
        let text = b[12..12 + MAX_DETAIL].get(..usize::from(b[8]));
        match text.and_then(|text| core::str::from_utf8(text).ok()) {
            Some(text) if right && b[NOTE_CRC_AT..] == crc => Self::printable(text),
            _ => Self::empty(),
        }
    }
}

/// Which of the two copies counts: the valid one with the higher counter.
pub fn newest(copies: [Option<State>; 2]) -> Option<(usize, State)> {
    match copies {
        [Some(a), Some(b)] if b.counter > a.counter => Some((1, b)),
        [Some(a), _] => Some((0, a)),
        [None, Some(b)] => Some((1, b)),
        [None, None] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> State {
        let keys = KeySet::new(
            2,
            PublicKey([1; 32]),
            &[PublicKey([2; 32]), PublicKey([3; 32])],
        );
        let mut state = State::new("demo", "kitchen", keys);
        state.counter = 7;
        state.sequence = 41;
        state.confirmed = Some(Digest([5; 32]));
        state.last.end = End::RolledBack;
        state.last.cause = Cause::Watchdog;
        state.freshness_required = true;
        state
    }

    #[test]
    fn a_cause_of_a_later_version_does_not_cost_the_rest_of_the_state() {
        let mut bytes = state().encode();
        bytes[13] = 200;
        let crc = crc32(0, &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let mut expected = state();
        expected.last.cause = Cause::None;
        assert_eq!(State::decode(&bytes), Some(expected));
    }

    #[test]
    fn a_note_counts_only_whole_and_beside_its_state() {
        let note = Detail::printable("sensor \u{1b}[2J missing \u{e9}");
        assert_eq!(note.as_str(), "sensor ?[2J missing ?");
        let bytes = note.encode_note(7);
        assert_eq!(Detail::decode_note(&bytes, 7), note);
        assert_eq!(Detail::decode_note(&bytes, 8), Detail::empty());
        assert_eq!(
            Detail::decode_note(&[0xFF; NOTE_LEN], u32::MAX),
            Detail::empty()
        );
        for bit in 0..NOTE_LEN * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Detail::decode_note(&bad, 7), Detail::empty(), "bit {bit}");
        }
        let long = Detail::printable(&"\u{e9}".repeat(60));
        assert_eq!(
            Detail::decode_note(&long.encode_note(1), 1).as_str(),
            "?".repeat(48)
        );
    }

    #[test]
    fn a_state_reads_back_and_a_flipped_bit_does_not() {
        let bytes = state().encode();
        assert_eq!(State::decode(&bytes), Some(state()));
        for bit in 0..STATE_LEN * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_blank_sector_is_no_state() {
        assert_eq!(State::decode(&[0xFF; STATE_LEN]), None);
        assert_eq!(State::decode(&[0; STATE_LEN]), None);
    }

    #[test]
    fn the_copy_with_the_higher_counter_counts() {
        let old = State {
            counter: 6,
            ..state()
        };
        assert_eq!(newest([Some(old), Some(state())]), Some((1, state())));
        assert_eq!(newest([Some(state()), Some(old)]), Some((0, state())));
        assert_eq!(newest([None, Some(old)]), Some((1, old)));
        assert_eq!(newest([None, None]), None);
    }

    #[test]
    fn a_name_that_cannot_be_shown_is_none() {
        for name in ["a\0b", "line\n", "left \u{202e}thgir"] {
            let named = State {
                name: Text::new(name),
                ..state()
            };
            let read = State::decode(&named.encode()).unwrap();
            let nameless = State {
                name: Text::empty(),
                ..state()
            };
            assert_eq!(read, nameless, "{name:?}");
        }
    }

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(Text::<4>::new("aéé").as_str(), "aé");
    }

    proptest! {
        #[test]
        fn any_record_with_a_right_crc_is_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), STATE_LEN)) {
            bytes[..4].copy_from_slice(MAGIC);
            let crc = crc32(0, &bytes[..CRC_AT]);
            bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            let _ = State::decode(bytes.as_slice().try_into().unwrap());
        }

        #[test]
        fn any_note_with_a_right_crc_is_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), NOTE_LEN)) {
            bytes[..4].copy_from_slice(NOTE_MAGIC);
            bytes[4..8].copy_from_slice(&7u32.to_le_bytes());
            let crc = crc32(0, &bytes[..NOTE_CRC_AT]);
            bytes[NOTE_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            let note = Detail::decode_note(bytes.as_slice().try_into().unwrap(), 7);
            prop_assert!(note.as_str().bytes().all(|b| matches!(b, b' '..=b'~')));
        }
    }
}
