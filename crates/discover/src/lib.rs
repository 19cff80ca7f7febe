//! Who is on the LAN.
//!
//! A device is known by the `id` in its own answer to `GET /v1/device`, never by an address and
//! never by what mDNS says about it.
//!
//! Main types: [`DeviceInfo`], what a device says about itself.

pub mod device;
mod error;

pub use device::{DeviceId, DeviceInfo};
pub use error::Error;
