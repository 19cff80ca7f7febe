//! A board's serial ROM loader on a pseudo-terminal, for tests.
//!
//! [`RomLoader::start`] gives a terminal that tools take for the serial port of an ESP32, S2, S3, C3
//! or C6 in its loader: they upload a stub (which is accepted, and imitated), read and write flash,
//! compare MD5s. Behind it is a [`Flash`] with the rules of NOR and a journal of every read, erase
//! and write, so that a test can say "8 KiB were written, and nothing else". What goes wrong is a
//! list of [`Faults`], how long it takes is a [`Timing`].
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`slip`], [`packet`] | frames, requests and responses |
//! | [`flash`] | flash in a file or in memory |
//! | [`faults`] | what goes wrong, at which command |
//! | [`timing`] | what the wire and the flash take |
//!
//! ```no_run
//! use airlift_rom_loader::{Config, Faults, RomLoader};
//!
//! let board = RomLoader::start(Config {
//!     faults: Faults::rule("flash_defl_data:3:drop_response").unwrap(),
//!     ..Config::default()
//! })?;
//! println!("{}", board.path().display());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Non-goals
//!
//! Running code: neither the stub that is uploaded nor the application in flash. The lines DTR and
//! RTS: a pseudo-terminal has none, so tools must be told not to reset, and [`Running::reset`] does
//! it. Encrypted writes. Being the judge of a tool alone: an emulated ROM and real boards are.

#![cfg_attr(test, allow(clippy::unwrap_used))]
// Without terminals nothing starts a board.
#![cfg_attr(not(unix), allow(dead_code, unused_imports))]

#[cfg(unix)]
mod board;
mod boot;
mod chip;
mod config;
pub mod faults;
pub mod flash;
mod loader;
pub mod packet;
#[cfg(unix)]
mod pty;
#[cfg(unix)]
mod running;
pub mod slip;
pub mod timing;

pub use chip::{Chip, MAGIC_REGISTER};
pub use config::{Application, Config, Improv, Mode, Security};
pub use faults::{Action, Faults, Rule, When};
pub use flash::{Flash, Kind, Operation};
pub use packet::Command;
#[cfg(unix)]
pub use running::{RomLoader, Running};
pub use timing::Timing;
