//! The use cases of Airlift: library, devices, jobs, history, settings.
//!
//! Knows nothing of Tauri or clap: the command line and the desktop shell are thin fronts on
//! [`Airlift`]. What they see is in [`dto`]; what can go wrong is in [`Error`], which turns into the
//! one sentence, code and advice of [`dto::ErrorInfo`].
//!
//! | Module | What it keeps |
//! | --- | --- |
//! | [`home`] | the folder that all running Airlifts share, and who of them is alive |
//! | [`library`], [`keys`] | releases and keys, as files |
//! | [`store`] | jobs, history, remembered devices and settings, in SQLite |
//! | [`job`] | one device's update to one release, as a state machine without I/O |
//! | [`mpy`] | the Python of a release, compiled |
//! | `usb` | boards on serial ports: what is known of each, and what is done to it |
//! | [`plain`] | boards that check no signature, as far as they show what they do |
//! | [`events`] | numbered events for whoever listens |
//!
//! Non-goals: formats (`wire`), making and opening releases (`release`), serving them (`serve`),
//! finding devices (`discover`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod airlift;
pub mod clock;
mod csv;
pub mod demo;
pub mod devices;
mod draft;
pub mod dto;
pub mod elf;
mod error;
pub mod events;
pub mod home;
pub mod job;
pub mod keys;
pub mod library;
mod link;
mod log;
pub mod mpy;
pub mod plain;
pub mod sample;
mod secret;
pub mod server;
mod simulate;
pub mod store;
mod usb;

pub use airlift::{Airlift, Build, NewKeys, Options, RawLine, UPDATES_AT_ONCE, Uses, created};
pub use error::Error;
pub use secret::Secret;
