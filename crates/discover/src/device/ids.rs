//! Who a device is.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MAX_ID;
use super::text::bounded;
use crate::Error;

/// Who a device is: 1 to [`MAX_ID`] bytes of `[a-z0-9-]`, chosen by the device and kept for life.
///
/// Safe to show, to put in a URL path and to use as a file name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > MAX_ID || !text.bytes().all(letter) {
            let reason = format!("an id is 1 to {MAX_ID} characters of a-z, 0-9 and -");
            return Err(Error::BadDevice { reason });
        }
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = bounded(from, MAX_ID)?;
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "id: expected 1 to {MAX_ID} characters of a-z, 0-9 and -"
            ))
        })
    }
}
