//! The updater and boot guard that run on a device.
//!
//! `no_std`, no allocation, no hardware, no executor: the same code runs on a board, in a virtual
//! device, and in tests that step it by hand. What it needs of the world are the small traits of
//! [`platform`]; all its memory is [`Buffers`] and a few hundred bytes of state.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`platform`] | the traits that a device implements |
//! | [`layout`] | which partitions there are and which slot is next |
//! | [`store`] | the state and the envelopes in partition `airlift` |
//! | [`guard`] | the boot guard, and confirming a trial |
//! | [`update`] | one update, its order carried by types |
//! | [`fetch`] | the HTTP client: ranges of chunks from the host |
//! | [`emit`], [`unpack`] | the canonical tar out of a folder and into one |
//! | [`device`] | all of it together: jobs, progress, the device's HTTP API |
//!
//! # Order is safety
//!
//! [`update::Accepted`] → [`update::Opened`] → [`update::Written`] → [`update::Checked`] →
//! [`update::Committed`] → [`update::Switched`]: each step consumes the one before, and each type
//! can be made in one place only. A slot cannot be selected that was not read back, and cannot be
//! opened for a manifest that was not verified.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(async_fn_in_trait)] // one thread runs all of a device; no future needs `Send`

#[cfg(test)]
extern crate std;

pub mod device;
pub mod emit;
pub mod event;
pub mod failure;
pub mod fetch;
mod field;
mod firm;
pub mod guard;
pub mod layout;
pub mod path;
pub mod platform;
pub mod store;
pub mod unpack;
pub mod update;

pub use event::{Event, Observer, PartName, Phase};
pub use failure::Failure;
pub use layout::{Layout, SlotId};

use airlift_wire::limits::{CHUNK_SIZE, PAGE_SIZE};

/// The memory that an update works in: 12 KiB. The envelope is a fourth buffer, see
/// [`device::Device`].
pub struct Buffers {
    /// One index page.
    pub page: [u8; PAGE_SIZE],
    /// Two chunks: one is received while the other is written.
    pub chunks: [[u8; CHUNK_SIZE]; 2],
}

impl Buffers {
    /// Zeroed buffers; `const`, so that a board can keep them in a static.
    pub const fn new() -> Self {
        Self {
            page: [0; PAGE_SIZE],
            chunks: [[0; CHUNK_SIZE]; 2],
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}
