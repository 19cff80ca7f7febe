//! A whole device as a library and a host process.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`nor`] | NOR flash with its rules, faults at every operation, kept in a file |
//! | [`timing`] | how long a common flash part takes for an operation |
//! | [`Factory`] | the flash of a device as it leaves the factory |
//! | [`boot`] | the second-stage bootloader: which app starts |
//! | [`device`] | boot, guard, updater, API, restart, for ever |
//! | [`settings`] | what a device does besides working well |
//! | [`simulation`] | many devices in a process, on this computer only |
//! | [`deterministic`] | the same devices without threads, sockets and real time |
//!
//! A [`VirtualDevice`] is the updater and boot guard that boards run, over a flash with the rules and
//! the formats of a real one, in an [`Environment`](device::Environment) that is either this
//! computer's loopback interface or a test's own. [`Simulation`] runs many in a process,
//! [`Bench`](deterministic::Bench) one on virtual time. What goes wrong is a setting:
//! [`Settings`] for bad images, slow flash and lossy networks, a [`Hook`](nor::Hook) for a power cut
//! or a bit error at any operation of the flash.
//!
//! # Non-goals
//!
//! Running the code of an image: a virtual device does not execute what is in its slots, it behaves
//! as [`Settings`] say a new image does. A bootloader in flash, flash encryption, secure boot, Wi-Fi.
//! Being reached from another computer.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(async_fn_in_trait)] // one thread runs all of a device; no future needs `Send`

pub mod boot;
pub mod deterministic;
pub mod device;
mod error;
mod files;
mod flash;
mod journal;
mod net;
pub mod nor;
mod pace;
mod power;
mod process;
mod seeded;
pub mod settings;
pub mod simulation;
pub mod timing;

pub use airlift_flash::Factory;
pub use boot::Bootloader;
pub use device::{Ending, VirtualDevice};
pub use error::Error;
pub use files::{ChipFiles, mount_files};
pub use flash::ChipFlash;
pub use pace::Pace;
pub use seeded::Seeded;
pub use settings::{Behaviour, Settings};
pub use simulation::{Simulation, SimulationConfig, Software};
