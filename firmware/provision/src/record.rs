//! The bytes in flash that remember a network.
//!
//! Sectors 5 and 6 of partition `airlift` hold two copies that are written in turn; the valid one with
//! the higher counter counts, so a cut in the middle of a write leaves the old one. Little endian:
//!
//! ```text
//!   0  "ALW1"        4  counter u32       8  name length u8     9  password length u8
//!  10  zero (2)     12  name (32)        44  password (64)    108  CRC-32 of 0..108
//! ```

use crate::{Credentials, MAX_PASSWORD, MAX_SSID};
use airlift_wire::crc::crc32;

/// Bytes of a record.
pub const RECORD_LEN: usize = 112;
/// Sector of partition `airlift` that holds the first copy; the second follows.
pub const FIRST_SECTOR: u32 = 5;

const MAGIC: &[u8; 4] = b"ALW1";
const SSID_AT: usize = 12;
const PASSWORD_AT: usize = SSID_AT + MAX_SSID;
const CRC_AT: usize = PASSWORD_AT + MAX_PASSWORD;

/// A copy as it stands in flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Grows with every write.
    pub counter: u32,
    /// The network; `None` when it was forgotten on purpose.
    pub network: Option<Credentials>,
}

impl Record {
    /// The record's bytes.
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&self.counter.to_le_bytes());
        if let Some(network) = &self.network {
            bytes[8] = network.ssid_len;
            bytes[9] = network.password_len;
            bytes[SSID_AT..PASSWORD_AT].copy_from_slice(&network.ssid);
            bytes[PASSWORD_AT..CRC_AT].copy_from_slice(&network.password);
        }
        let crc = crc32(0, &bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// A record; `None` for bytes that are none.
    pub fn decode(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let (body, crc) = bytes.split_at(CRC_AT);
        if body.get(..4)? != MAGIC || crc32(0, body).to_le_bytes() != *crc {
            return None;
        }
        let counter = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
        let (ssid_len, password_len) = (usize::from(bytes[8]), usize::from(bytes[9]));
        let ssid = body.get(SSID_AT..PASSWORD_AT)?.get(..ssid_len)?;
        let password = body.get(PASSWORD_AT..)?.get(..password_len)?;
        let network = match ssid_len {
            0 => None,
            _ => Some(Credentials::new(ssid, password)?),
        };
        Some(Self { counter, network })
    }
}

/// The copy that counts, and which of the two it is.
pub fn newest(copies: [Option<Record>; 2]) -> Option<(usize, Record)> {
    let [first, second] = copies;
    match (first, second) {
        (Some(a), Some(b)) if b.counter > a.counter => Some((1, b)),
        (Some(a), _) => Some((0, a)),
        (None, Some(b)) => Some((1, b)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(counter: u32, ssid: &[u8]) -> Record {
        Record {
            counter,
            network: Credentials::new(ssid, b"password"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for record in [record(7, b"home"), record(u32::MAX, b"")] {
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn an_erased_or_torn_copy_does_not_count() {
        assert_eq!(Record::decode(&[0xFF; RECORD_LEN]), None);
        let whole = record(1, b"home").encode();
        for len in 0..RECORD_LEN {
            let mut torn = [0xFF; RECORD_LEN];
            torn[..len].copy_from_slice(&whole[..len]);
            assert_eq!(Record::decode(&torn), None, "cut after {len} bytes");
        }
    }

    #[test]
    fn the_copy_with_the_higher_counter_counts() {
        let (old, new) = (record(1, b"old"), record(2, b"new"));
        assert_eq!(newest([Some(old), Some(new)]), Some((1, new)));
        assert_eq!(newest([Some(new), Some(old)]), Some((0, new)));
        assert_eq!(newest([None, Some(old)]), Some((1, old)));
        assert_eq!(newest([None, None]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), RECORD_LEN)) {
            let mut bytes: [u8; RECORD_LEN] = bytes.try_into().unwrap();
            let _ = Record::decode(&bytes);
            // With a right checksum the lengths inside are what is left to get wrong.
            bytes[..4].copy_from_slice(MAGIC);
            let crc = crc32(0, &bytes[..CRC_AT]);
            bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }
    }
}
