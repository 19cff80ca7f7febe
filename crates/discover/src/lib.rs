//! Who is on the LAN.
//!
//! A device is known by the `id` in its own answer to `GET /v1/device`, never by an address and
//! never by what mDNS says about it.
//!
//! Main types: [`DeviceInfo`], what a device says about itself; [`table::Table`], the table of devices as
//! a pure state machine.

pub mod device;
mod error;
mod seen;
pub mod table;

pub use device::{DeviceId, DeviceInfo};
pub use error::Error;
pub use seen::{Change, SeenDevice, Source, Unanswered};
