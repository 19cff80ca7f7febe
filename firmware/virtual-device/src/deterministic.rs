//! The same devices without threads, sockets and real time.
//!
//! Everything runs in one [`Scheduler`] whose clock moves only when all wait, so two minutes of
//! waiting take no time and every run with the same seed is the same. A [`Network`] connects
//! devices, a [`ReleaseHost`] and a [`Client`] in memory.
//!
//! ```
//! use airlift_release::SigningKey;
//! use airlift_virtual_device::deterministic::{Bench, sample_app};
//! use airlift_virtual_device::{Factory, Settings};
//! use airlift_wire::KeySet;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SigningKey::from_seed(&[7; 32]).public();
//! let app = sample_app(5, "1.0.0", 10_000);
//! let mut factory = Factory::new("demo", "kitchen", KeySet::new(1, key, &[key]).ok_or("keys")?);
//! factory.app = Some(&app);
//! let bench = Bench::new(1);
//! bench.add_device(factory.build()?, Settings::default())?;
//! let answer = bench.run(async { bench.client().get("/v1/device").await })?;
//! let answer = answer.map_err(|_| "no answer")?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```

mod bench;
mod client;
mod host;
mod network;
mod sample;
mod scheduler;

pub use bench::{Bench, DEVICE, HOST};
pub use client::{Answer, Client, Lines};
pub use host::{Fate, Piece, ReleaseHost, Request, Step};
pub use network::{Interface, MemoryConnection, MemoryListener, Network};
pub use sample::sample_app;
pub use scheduler::{Scheduler, Stalled, TaskId};
