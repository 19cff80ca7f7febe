//! The formats that a host and a device both speak, their limits and their specification.
//!
//! `no_std`, no allocation: the same code runs in the desktop app and on a microcontroller. Every
//! decoder borrows from the bytes it is given, refuses what it does not understand, and never
//! panics on input. Nothing here does I/O.
//!
//! | Module | Format |
//! | --- | --- |
//! | [`manifest`] | the signed statement: product, chip, version, sequence, parts, keys |
//! | [`envelope`] | COSE_Sign1 (RFC 9052) around a manifest; a release's id is its SHA-256 |
//! | [`freshness`] | the signed statement which release of a product is the newest |
//! | [`index`] | chunk hashes and index pages |
//! | [`tar`] | the canonical tar of a `files` part |
//! | [`partition`], [`otadata`], [`image`] | ESP-IDF's partition table, OTA data and app image |
//! | [`state`] | the record that a device keeps: sequence, trust, last update |
//! | [`text`] | what of a text people can be shown |
//! | [`code`] | the stable error codes of device, command line and window |
//!
//! # A release, from the outside in
//!
//! ```text
//! NAME.airlift      ustar: manifest.cose, then app.bin and files.tar, whichever are carried
//! └ manifest.cose   18([ << {1: -8, 4: kid} >>, {}, manifest, signature ])   at most 4080 bytes
//!   └ manifest      {0: 1, 1: product, 2: chip, 3: version, 4: sequence, 5: created, 6: app, 7: files, ?8: keys}
//!     └ part        {0: size, 1: SHA-256 of the part, 2: [SHA-256 of each index page], ?3: blocks}
//!       └ page      up to 128 SHA-256 of 4096-byte chunks, concatenated: covers 512 KiB
//! ```
//!
//! A device verifies the envelope, fetches a page and checks it against the manifest, fetches a
//! chunk and checks it against the page, and only then writes the chunk.
//!
//! # Non-goals
//!
//! Signing, files on disk, sockets: see the crates `release`, `serve` and `updater`.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

mod cbor;
pub mod code;
pub mod crc;
pub mod digest;
pub mod envelope;
pub mod freshness;
pub mod image;
pub mod index;
pub mod keys;
pub mod limits;
pub mod manifest;
pub mod otadata;
pub mod partition;
pub mod state;
pub mod tar;
pub mod text;

pub use code::ErrorCode;
pub use digest::Digest;
pub use envelope::{Envelope, Verified};
pub use keys::{KeyId, PublicKey};
pub use manifest::{KeySet, Manifest, Part, PartRef};
