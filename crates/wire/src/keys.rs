//! Public keys and their short names.

use crate::digest::{Digest, parse_hex, write_hex};
use core::fmt;
use core::str::FromStr;
use ed25519_dalek::VerifyingKey;

/// A raw Ed25519 public key (RFC 8032), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// The key's short name: the first 8 bytes of the SHA-256 of its raw bytes.
    pub fn id(&self) -> KeyId {
        let [a, b, c, d, e, f, g, h, ..] = Digest::of(&self.0).0;
        KeyId([a, b, c, d, e, f, g, h])
    }

    /// Whether a signature of this key can prove anything: the bytes are the one encoding (RFC 8032
    /// section 5.1.3) of a point of the curve, and not of one of the points of small order, under
    /// which anybody can sign. A device that took another key as its root could never be given
    /// new keys again.
    pub fn is_usable(&self) -> bool {
        self.is_reduced() && VerifyingKey::from_bytes(&self.0).is_ok_and(|point| !point.is_weak())
    }

    /// Whether the y coordinate is below the field's prime, 2^255 - 19; the library takes the others
    /// as well. (The sign bit has a second encoding only where x is 0, and those points are weak.)
    fn is_reduced(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        !(*first >= 0xED && middle.iter().all(|b| *b == 0xFF) && last & 0x7F == 0x7F)
    }

    /// Reads a key from exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// The short name of a key (`kid`), 8 bytes; shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        parse_hex(text).map(Self).ok_or(NotAKeyId)
    }
}

/// The text is not 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKeyId;

impl fmt::Display for NotAKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 16 lower-case hexadecimal digits")
    }
}

impl core::error::Error for NotAKeyId {}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    /// The eight points whose order divides 8, each in its one encoding.
    const WEAK: [&str; 8] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];

    #[test]
    fn a_point_of_small_order_is_no_usable_key() {
        for hex in WEAK {
            let key = PublicKey(parse_hex(hex).unwrap());
            assert!(key.is_reduced() && !key.is_usable(), "{hex}");
        }
    }

    #[test]
    fn bytes_that_are_no_point_are_no_usable_key() {
        let mut found = 0;
        for first in 0..=u8::MAX {
            let mut bytes = [9; 32];
            bytes[0] = first;
            if VerifyingKey::from_bytes(&bytes).is_err() {
                assert!(!PublicKey(bytes).is_usable());
                found += 1;
            }
        }
        assert!(found > 0, "about half of all bytes are no point");
    }

    #[test]
    fn a_second_encoding_of_a_point_is_no_usable_key() {
        let mut taken_by_the_library = 0;
        for low in 0xED..=0xFF {
            for last in [0x7F, 0xFF] {
                let mut bytes = [0xFF; 32];
                (bytes[0], bytes[31]) = (low, last);
                let strong = VerifyingKey::from_bytes(&bytes).is_ok_and(|p| !p.is_weak());
                taken_by_the_library += u32::from(strong);
                assert!(!PublicKey(bytes).is_usable(), "{low:02x}");
            }
        }
        assert!(taken_by_the_library > 0, "the check is not for nothing");
    }

    proptest! {
        #[test]
        fn a_key_that_can_sign_is_usable(seed: [u8; 32]) {
            let key = SigningKey::from_bytes(&seed).verifying_key();
            prop_assert!(PublicKey(key.to_bytes()).is_usable());
        }
    }
}
