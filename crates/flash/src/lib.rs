//! What is in the flash of a board: make it, look at it, plan its repair. Bytes in, bytes out.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`read`] | how flash is read, wherever it is |
//! | [`write`] | what is to be written to flash |
//!
//! Non-goals: serial ports and loaders (`airlift-usb`), running what is in flash
//! (`airlift-virtual-device`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod read;
pub mod write;

pub use read::{ReadError, ReadFlash};
pub use write::{Segment, SegmentError};
