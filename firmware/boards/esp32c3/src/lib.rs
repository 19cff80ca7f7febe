//! Airlift on a board: the updater, for programs that use esp-hal and embassy.
//!
//! A program calls [`Airlift::start`] first, brings its network up, and spawns a task that runs
//! [`Airlift::run`]. From then on the board is announced on its network, takes signed releases over
//! HTTP, and goes back by itself when a new one does not confirm. `examples/own_application.rs` is
//! such a program; `src/main.rs` is the one that boards are flashed with.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`Airlift`] | the boot guard, then the updater with its API |
//! | `flash`, `files`, `net`, `clock` | the updater's traits, over esp-storage, littlefs and embassy-net |
//! | `server`, `mdns` | the API on port 80, and its announcement |
//! | `thread` | keeps littlefs off the network's path |
//! | `log`, `console` | what `log::info!` says: kept for `GET /v1/log`, on the UART and on USB |
//! | `watchdog`, `reset` | what ends a trial that hangs, and how the next start knows |
//! | [`Settings`], `usb`, `wifi` | the network: kept, set over USB, joined |
//! | [`memory`] | how much is left |
//!
//! The updater itself is the crate `airlift-updater`, the same source that virtual devices run. Nothing
//! of it allocates; the Wi-Fi driver needs a heap of its own.
#![no_std]
#![allow(async_fn_in_trait)] // one executor runs all of it; no future needs `Send`

mod clock;
mod console;
#[cfg(feature = "emulator")]
pub mod emulator;
mod files;
mod flash;
mod log;
mod mdns;
pub mod memory;
mod net;
mod reset;
mod run;
mod server;
mod settings;
mod start;
pub mod status;
#[cfg(feature = "rtos")]
mod thread;
#[cfg(feature = "wifi")]
pub mod usb;
mod watchdog;
#[cfg(feature = "wifi")]
pub mod wifi;

pub use airlift_updater::device::Verdict;
pub use airlift_updater::{Failure, SlotId};
pub use airlift_wire::state::{Cause, Text};
pub use clock::{BoardClock, BoardRandom};
pub use console::Console;
pub use files::BoardFiles;
pub use flash::BoardFlash;
pub use net::{BoardNet, Outgoing};
pub use reset::note_panic;
pub use run::{Application, SOCKETS};
pub use server::PORT;
pub use settings::Settings;
pub use start::{Airlift, Hardware};
