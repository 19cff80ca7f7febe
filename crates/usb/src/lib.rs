//! Boards on a serial port: find them, read and write their flash, show their log.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`ports`](mod@ports) | which serial ports there are, what is behind them, and why one cannot be opened |
//! | [`watch`] | says so when that changes |
//! | [`session`] | a board in its loader, on a thread of its own |
//! | [`link`] | what can be asked of it there: read, digest, write, erase, reset |
//! | [`write`](mod@write) | puts bytes into flash: only those that differ, saved before, checked after |
//! | [`backup`] | the file that what is overwritten is saved in |
//! | [`monitor`] | a board that runs: its log line by line, and its Wi-Fi by Improv Serial |
//!
//! Connecting, the reset lines, the stub and the chips are [`espflash`]'s. Once its stub runs, the
//! requests are made and the responses are read here: every wait has an end, memory is bounded
//! whatever the line says, progress is in bytes of flash, and a write can be cancelled inside a long
//! segment.
//!
//! A board works through the stub or not at all: what makes an upload of the stub fail is a bad line,
//! which would be as bad for the few and slow commands of the ROM alone. Connecting is tried again
//! instead.
//!
//! # Non-goals
//!
//! What the bytes in flash mean (`airlift-flash`). Boards with secure boot, flash encryption or
//! secure download: they are recognized and left alone.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod backup;
mod board;
mod cancel;
mod connect;
mod error;
mod exchange;
mod improv;
mod line;
pub mod link;
mod loader;
pub mod monitor;
mod packet;
pub mod ports;
pub mod session;
mod slip;
pub mod watch;
pub mod write;

pub use board::{Board, Security};
pub use cancel::Cancel;
pub use error::Error;
pub use link::{After, Flash, Link};
pub use monitor::{Monitor, MonitorOptions};
pub use ports::{PortInfo, ports};
pub use session::{ConnectOptions, Reset, Session, State};
pub use watch::Watch;
pub use write::{Report, WriteOptions, apply};
