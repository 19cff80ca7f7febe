//! Digests and key ids as lower-case hex, for `#[serde(with)]`.

use std::fmt::Display;

use airlift_wire::digest::parse_hex;
use airlift_wire::{Digest, KeyId};
use serde::de::Error;
use serde::{Deserializer, Serialize, Serializer};

use super::text::bounded;

/// The longest text of a value here: a digest.
const MAX_TEXT: usize = 64;

/// Something that has one form in hex.
pub(super) trait Hex: Display + Sized {
    const EXPECTED: &'static str;

    fn from_hex(text: &str) -> Option<Self>;
}

impl Hex for Digest {
    const EXPECTED: &'static str = "expected 64 lower-case hex digits";

    fn from_hex(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

impl Hex for KeyId {
    const EXPECTED: &'static str = "expected 16 lower-case hex digits";

    fn from_hex(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

pub(super) fn serialize<S: Serializer, T: Hex>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Hex>(from: D) -> Result<T, D::Error> {
    let text = bounded(from, MAX_TEXT)?;
    T::from_hex(&text).ok_or_else(|| D::Error::custom(T::EXPECTED))
}

/// One of them inside a list or an option.
pub(super) struct Item<T>(pub(super) T);

impl<'de, T: Hex> serde::Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from).map(Self)
    }
}

impl<T: Hex> Serialize for Item<&T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, to)
    }
}

/// One that may be `null`.
pub(super) mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Hex, Item};

    pub(in super::super) fn serialize<S: Serializer, T: Hex>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Item).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: Hex>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Item<T>>::deserialize(from)?.map(|item| item.0))
    }
}

/// A device's list of release keys.
pub(super) mod keys {
    use airlift_wire::KeyId;
    use serde::{Deserializer, Serializer};

    use super::Item;
    use crate::device::MAX_KEYS;
    use crate::device::text::AtMost;

    pub(in super::super) fn serialize<S: Serializer>(
        keys: &[KeyId],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().map(Item))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<KeyId>, D::Error> {
        let keys: Vec<Item<KeyId>> = from.deserialize_seq(AtMost::new("keys", MAX_KEYS))?;
        Ok(keys.into_iter().map(|item| item.0).collect())
    }
}
