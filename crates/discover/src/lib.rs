//! Who is on the LAN.
//!
//! A device is known by the `id` in its own answer to `GET /v1/device`, never by an address and
//! never by what mDNS says about it. mDNS, the addresses of earlier runs and those the user gives only
//! say where to ask.
//!
//! ```text
//!  mDNS ──┐
//!  earlier ├─ addresses ─▶ Table ─▶ probe this ─▶ GET /v1/device ─┐
//!  user ──┘                 ▲  └──▶ Appeared, Changed, Gone        │
//!                           └────────── answer or error ◀──────────┘
//! ```
//!
//! [`table::Table`] decides everything and does nothing: no sockets, no clock, so its tests run
//! hours of network in milliseconds. [`Discovery`] is the table with a network and a clock.
//!
//! A device that stops answering is offline within 10 s, whatever the lifetime of its mDNS records;
//! one that answers is online, whatever mDNS says. Everything is bounded: devices, addresses,
//! probes at a time, the size of an answer and its time.
//!
//! Main types: [`Discovery`], [`SeenDevice`] and [`Change`]; [`DeviceInfo`], what a device says about
//! itself; [`probe()`], to ask one address; [`announce`], for devices that are programs on this
//! host.
//!
//! Non-goals: updating devices, remembering them between runs, and looking through networks for
//! devices that do not announce themselves.
//!
//! ```no_run
//! # async fn example() {
//! use airlift_discover::{Change, Config, Discovery};
//!
//! let discovery = Discovery::start(Config::default());
//! let mut changes = discovery.subscribe();
//! while let Ok(change) = changes.recv().await {
//!     if let Change::Appeared(device) = change {
//!         println!("{} at {:?}", device.id, device.address());
//!     }
//! }
//! # }
//! ```

pub mod announce;
mod browse;
pub mod device;
mod discovery;
mod error;
mod interfaces;
mod log;
mod probe;
mod seen;
pub mod table;

pub use browse::SERVICE_TYPE;
pub use device::{DeviceId, DeviceInfo};
pub use discovery::{
    Config, Discovery, INTERFACE_POLL, MAX_MANUAL, MAX_MANUAL_TEXT, RETRY_INTERVAL, Remembered,
};
pub use error::Error;
pub use interfaces::Interfaces;
pub use log::{LogPiece, MAX_LOG, read_log};
#[doc(hidden)]
pub use probe::ask_on;
pub use probe::probe;
pub use seen::{Change, SeenDevice, Source, Unanswered};
