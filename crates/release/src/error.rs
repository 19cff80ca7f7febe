//! Everything that can go wrong, with its stable code and what to do.

use crate::kind::FileKind;
use airlift_wire::envelope::EnvelopeError;
use airlift_wire::freshness::FreshnessError;
use airlift_wire::image::{ImageError, chip_name};
use airlift_wire::manifest::ManifestError;
use airlift_wire::tar::TarError;
use airlift_wire::{ErrorCode, KeyId};
use std::path::{Path, PathBuf};

/// Why a release, a key or an input is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The envelope is damaged, signed by an unknown key, or its signature does not match.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The manifest cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A statement of freshness cannot be made.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    /// The release file is not what its manifest says.
    #[error("the release file is damaged: {0}")]
    Release(String),
    /// Something else was given where a release file is wanted.
    #[error("this is {}, not a release", .0.describe())]
    NotARelease(FileKind),
    /// Something else was given where an app image is wanted.
    #[error("this is {}, not an app image", .0.describe())]
    NotAnImage(FileKind),
    /// The app image is damaged.
    #[error("the app image is damaged: {0}")]
    Image(#[from] ImageError),
    /// Something else was given where a tar of files is wanted.
    #[error("this is {}, not a folder or a tar of files", .0.describe())]
    NotATar(FileKind),
    /// An entry of the files part cannot be taken.
    #[error("{path}: {problem}")]
    Entry {
        /// The entry's path, as found.
        path: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The files part is not a canonical tar; the byte is where the offending block starts.
    #[error("the files part is not a canonical tar: {error} (byte {at})")]
    Tar {
        /// What is wrong.
        error: TarError,
        /// Offset of the block in the tar.
        at: usize,
    },
    /// A part, a file or a count is over its limit.
    #[error("{what} has {size} {unit}, and {limit} is the limit")]
    TooBig {
        /// What is too big.
        what: String,
        /// How big it is, in `unit`.
        size: u64,
        /// The most it may have.
        limit: u64,
        /// `bytes` or `entries`.
        unit: &'static str,
    },
    /// The image or the base is for another chip.
    #[error("the {of} is for {}, but the release is for {}", chip(*.found), chip(*.wanted))]
    WrongChip {
        /// `image` or `base`.
        of: &'static str,
        /// `chip_id` that it has.
        found: u16,
        /// `chip_id` that the manifest has, or that was asked for.
        wanted: u16,
    },
    /// The base is a release of another product.
    #[error("the base is a release of {base}, but this one is for {wanted}")]
    WrongProduct {
        /// Product of the base.
        base: String,
        /// Product that was asked for.
        wanted: String,
    },
    /// A re-signed release needs a higher sequence than the one it is made from.
    #[error("sequence {wanted} is not above {old}, the sequence of the release to re-sign")]
    LowerSequence {
        /// Sequence of the old release.
        old: u32,
        /// Sequence that was asked for.
        wanted: u32,
    },
    /// A set of new keys cannot be used.
    #[error("the new keys cannot be used: {0}")]
    KeySet(String),
    /// A key file cannot be used.
    #[error("{0}")]
    Key(String),
    /// The key is encrypted and no passphrase was given.
    #[error("the key has a passphrase, and none was given")]
    PassphraseMissing,
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the key")]
    PassphraseWrong,
    /// An option is missing or out of range.
    #[error("{0}")]
    Usage(String),
    /// A file exists that would have to be overwritten, and keys never are.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// What is wrong with an entry of a folder or tar that is to become a files part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// Not a plain relative path that a device's file system takes.
    #[error(
        "its path is absolute, climbs out of the folder, or has characters that are not allowed"
    )]
    Path,
    /// Longer than 100 bytes.
    #[error("its path is longer than 100 bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// A symbolic link.
    #[error("it is a symbolic link, and a release holds files and folders only")]
    Symlink,
    /// A hard link.
    #[error("it is a hard link, and a release holds files and folders only")]
    HardLink,
    /// A device, a pipe or a socket.
    #[error("it is a device, a pipe or a socket, and a release holds files and folders only")]
    Special,
    /// A sparse file.
    #[error("it is a sparse file, which is not read; pack the folder itself")]
    Sparse,
    /// A kind of tar entry that is not known.
    #[error("it is a kind of tar entry that is not read")]
    UnknownKind,
    /// There twice, perhaps written in two ways.
    #[error("it is there twice")]
    Duplicate,
    /// A file and a folder at once.
    #[error("it is a file and a folder at once")]
    FileAndFolder,
    /// A folder named `VERSION` at the top.
    #[error("VERSION at the top is written by the updater itself")]
    Reserved,
    /// Its tar header is damaged or contradicts itself.
    #[error("its tar header is damaged")]
    Header,
    /// The tar ends inside it.
    #[error("the tar ends inside it")]
    Truncated,
    /// Something stands after the end mark.
    #[error("bytes follow it, perhaps a second tar")]
    BytesAfterEnd,
    /// An extended header says what cannot be taken over.
    #[error("its extended header changes its size, which is not read")]
    ExtendedSize,
}

fn chip(id: u16) -> String {
    match chip_name(id) {
        Some(name) => name.to_owned(),
        None if id == airlift_wire::manifest::ANY_CHIP => "any chip".to_owned(),
        None => format!("chip {id}"),
    }
}

impl Error {
    pub(crate) fn entry(path: impl Into<String>, problem: EntryProblem) -> Self {
        let path = printable(&path.into());
        Self::Entry { path, problem }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, source }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Release(what.into())
    }

    pub(crate) fn too_many_bytes(what: impl Into<String>, size: u64, limit: u64) -> Self {
        let what = what.into();
        Self::TooBig {
            what,
            size,
            limit,
            unit: "bytes",
        }
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Envelope(error) => error.code(),
            Self::Manifest(_) => ErrorCode::BadManifest,
            Self::Release(_) | Self::NotARelease(_) => ErrorCode::BadRelease,
            Self::NotAnImage(_) | Self::Image(_) => ErrorCode::BadImage,
            Self::NotATar(_) | Self::Entry { .. } | Self::Tar { .. } => ErrorCode::BadTar,
            Self::TooBig { .. } => ErrorCode::TooBig,
            Self::WrongChip { .. } => ErrorCode::WrongChip,
            Self::WrongProduct { .. } => ErrorCode::WrongProduct,
            Self::LowerSequence { .. } => ErrorCode::LowerSequence,
            Self::KeySet(_) => ErrorCode::BadKeySet,
            Self::Freshness(error) => error.code(),
            Self::Key(_) => ErrorCode::BadKey,
            Self::PassphraseMissing | Self::PassphraseWrong => ErrorCode::BadPassphrase,
            Self::Usage(_) => ErrorCode::Usage,
            Self::Exists(_) | Self::Io { .. } => ErrorCode::Io,
            Self::Random(_) => ErrorCode::Internal,
        }
    }

    /// The key that signed, when the error is that it is not trusted.
    pub fn unknown_key(&self) -> Option<KeyId> {
        match self {
            Self::Envelope(EnvelopeError::UnknownKey(kid)) => Some(*kid),
            _ => None,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotARelease(kind) => kind.help_for_release(),
            Self::NotAnImage(kind) => kind.help_for_image(),
            Self::NotATar(FileKind::Gzip) => "Unpack it first (gunzip), or give the folder.",
            Self::NotATar(_) => "Give a folder, or an uncompressed tar of it.",
            Self::Entry { problem, .. } => match problem {
                EntryProblem::Symlink | EntryProblem::HardLink => {
                    "Replace the link by a copy of the file, or take it out."
                }
                EntryProblem::Reserved => "Rename the folder; the updater keeps the version there.",
                EntryProblem::Header | EntryProblem::Truncated => {
                    "Make the tar again, or give the folder itself."
                }
                _ => "Rename it or take it out, then pack again.",
            },
            Self::WrongChip { .. } => {
                "Leave --chip out (the image knows its chip), or build the image for that chip."
            }
            Self::LowerSequence { .. } => {
                "Give a sequence above every one that the devices have confirmed."
            }
            Self::KeySet(_) => {
                "Give a root key and one to four release keys, all Ed25519 public keys."
            }
            Self::PassphraseMissing => {
                "Type the passphrase, or name the variable that holds it with --passphrase-env."
            }
            Self::Exists(_) => {
                "Choose another name, or move that file away; keys stay as they are."
            }
            Self::Random(_) => {
                "Start again; if it stays, the operating system's random source is broken."
            }
            _ => self.code().help(),
        }
    }
}

/// Text from a file, safe for a terminal: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    const MOST: usize = 120;
    let mut out: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}
