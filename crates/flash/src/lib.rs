//! What is in the flash of a board: make it, look at it, plan its repair. Bytes in, bytes out.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`bootloader`] | second-stage bootloaders for chips and sizes of flash |
//! | [`contents`] | what is put on a board from nothing, in steps |
//! | [`factory`] | the whole flash of a board from nothing |
//! | [`littlefs`] | the file system of a board, in memory or where it is |
//! | [`diagnosis`] | what is in it, what is wrong with it, what it will do |
//! | [`plan`] | how to mend it: the smallest steps that work |
//! | [`read`] | how flash is read, wherever it is |
//! | [`mod@write`] | what is to be written to flash |
//!
//! Non-goals: serial ports and loaders (`airlift-usb`), running what is in flash
//! (`airlift-virtual-device`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod bootloader;
pub mod contents;
pub mod diagnosis;
mod error;
pub mod factory;
pub mod littlefs;
pub mod plan;
pub mod read;
pub mod write;

pub use bootloader::{Bootloader, Rollback, Target};
pub use contents::{Contents, Setup};
pub use diagnosis::{Depth, Diagnosis, Known, diagnose};
pub use error::Error;
pub use factory::Factory;
pub use plan::{How, Plan, repair};
pub use read::{ReadError, ReadFlash};
pub use write::{Segment, SegmentError};
