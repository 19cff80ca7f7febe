//! Gives a board its Wi-Fi.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`improv`] | Improv Serial: a browser or a tool on the other end of USB hands over name and password |
//! | [`scan`] | the networks that a board hears, for whoever has to choose one |
//! | [`record`] | the bytes in flash that remember them |
//!
//! `no_std`, no allocation, no hardware: bytes in, bytes out, so that all of it runs on a host.
//!
//! # Non-goals
//!
//! Improv over Bluetooth. Keeping a password secret from whoever holds the board: it lies in flash
//! as it is, unless the chip encrypts its flash.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

pub mod improv;
pub mod record;
pub mod scan;

/// Longest network name (IEEE 802.11: an SSID has up to 32 bytes).
pub const MAX_SSID: usize = 32;
/// Longest password: WPA passphrases have up to 63 bytes, keys in hexadecimal 64.
pub const MAX_PASSWORD: usize = 64;

/// The network that a board joins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    ssid: [u8; MAX_SSID],
    ssid_len: u8,
    password: [u8; MAX_PASSWORD],
    password_len: u8,
}

impl Credentials {
    /// From name and password; `None` when one is too long or the name is empty. An empty password
    /// is an open network.
    pub fn new(ssid: &[u8], password: &[u8]) -> Option<Self> {
        let mut credentials = Self {
            ssid: [0; MAX_SSID],
            ssid_len: u8::try_from(ssid.len()).ok().filter(|len| *len > 0)?,
            password: [0; MAX_PASSWORD],
            password_len: u8::try_from(password.len()).ok()?,
        };
        credentials
            .ssid
            .get_mut(..ssid.len())?
            .copy_from_slice(ssid);
        credentials
            .password
            .get_mut(..password.len())?
            .copy_from_slice(password);
        Some(credentials)
    }

    /// Name of the network: bytes, usually UTF-8.
    pub fn ssid(&self) -> &[u8] {
        self.ssid
            .get(..usize::from(self.ssid_len))
            .unwrap_or_default()
    }

    /// Password.
    pub fn password(&self) -> &[u8] {
        self.password
            .get(..usize::from(self.password_len))
            .unwrap_or_default()
    }
}

/// Says the name and keeps the password to itself.
impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Credentials({})", self.ssid().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_up_to_their_limits_fit() {
        let long = Credentials::new(&[b'n'; 32], &[b'p'; 64]).unwrap();
        assert_eq!((long.ssid().len(), long.password().len()), (32, 64));
        assert_eq!(Credentials::new(&[b'n'; 33], b""), None);
        assert_eq!(Credentials::new(b"n", &[b'p'; 65]), None);
        assert_eq!(Credentials::new(b"", b"p"), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials::new(b"home", b"secret").unwrap();
        assert_eq!(std::format!("{credentials:?}"), "Credentials(home)");
    }
}
