//! Make, sign, open and check an Airlift release.
//!
//! Bytes in, bytes out: no network, no clock. What a release is made from and when is given by the
//! caller, so the same inputs give the same bytes. The formats themselves are in [`airlift_wire`].
//!
//! | Want | Use |
//! | --- | --- |
//! | a key | [`SigningKey::generate`], [`SigningKey::to_pem`], [`keys::write_private`] |
//! | a release from an image and a folder | [`pack()`] with [`PackOptions`] |
//! | a file from a release | [`Release::to_file`] |
//! | a release from a file | [`UnverifiedRelease::read`], then [`UnverifiedRelease::verify`] |
//! | a look at a file whose signer is not known | [`inspect()`] |
//! | an old release under a new sequence | [`resign()`] |
//! | other keys on devices | [`keys::key_set`], then [`change_keys()`], [`resign_with_keys()`] or [`PackOptions::new_keys`] |
//! | what an image holds | [`image::inspect`] |
//! | what somebody dropped on the window | [`FileKind::of`] |
//!
//! Trust is in the types: a [`Release`] was either made here or came through
//! [`UnverifiedRelease::verify`]; what [`inspect()`] returns can be shown and nothing else.
//!
//! ```
//! use airlift_release::{PackOptions, SigningKey, UnverifiedRelease, files::FilesInput, pack};
//!
//! # fn main() -> Result<(), airlift_release::Error> {
//! let key = SigningKey::generate()?;
//! let mut options = PackOptions::new("demo", 1, &key);
//! options.version = Some("1.0.0");
//! options.files = Some(FilesInput::from_iter([("main.py", "print('hello')\n")]));
//! let packed = pack(options)?;
//!
//! let file = packed.release.to_file();
//! let release = UnverifiedRelease::read(file)?.verify(&[key.public()])?;
//! assert_eq!(release.id(), packed.release.id());
//! # Ok(())
//! # }
//! ```
//!
//! # Non-goals
//!
//! Which keys a host trusts, where releases are stored, serving them: see the crates `app` and
//! `serve`. Secrecy: a release is signed, not encrypted.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod files;
pub mod image;
mod inspect;
pub mod keys;
mod kind;
mod open;
mod pack;
mod part;
mod release;
mod resign;
mod summary;
pub mod write;

pub use error::Error;
pub use files::{Files, FilesInput};
pub use image::ImageInfo;
pub use inspect::{Inspection, SignatureState, inspect};
pub use keys::SigningKey;
pub use kind::FileKind;
pub use open::{MAX_RELEASE_FILE, UnverifiedRelease, read_bounded};
pub use pack::{PackOptions, Packed, Warning, pack};
pub use part::{Part, PartKind};
pub use release::{OwnedManifest, PartState, Release};
pub use resign::{KeyChange, change_keys, resign, resign_with_keys};
pub use summary::{KeySetSummary, PartSummary, Summary};

pub use airlift_wire as wire;
