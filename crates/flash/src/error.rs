//! Why flash cannot be made or looked at.

use crate::{ReadError, SegmentError};
use airlift_release::{FileKind, PartKind};
use airlift_updater::Failure;
use airlift_wire::image::{ImageError, chip_name};
use airlift_wire::partition::PartitionError;
use airlift_wire::{ErrorCode, KeyId};

/// Why flash cannot be made or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No bootloader for the chip is known here.
    #[error("there is no bootloader for {} here", chip(*.0))]
    NoBootloader(u16),
    /// Something else was given where an image is wanted.
    #[error("{what} is {}, not {wanted}", .found.describe())]
    WrongKind {
        /// Which file or part.
        what: String,
        /// What it is.
        found: FileKind,
        /// What is wanted, with its article.
        wanted: &'static str,
    },
    /// An image is damaged.
    #[error("{what} is damaged: {error}")]
    Image {
        /// Which file or part.
        what: String,
        /// How.
        error: ImageError,
    },
    /// An image is for another chip.
    #[error("{what} is for {}, but the board has {}", chip(*.found), chip(*.wanted))]
    WrongChip {
        /// Which file or part.
        what: String,
        /// `chip_id` that it has.
        found: u16,
        /// `chip_id` of the board.
        wanted: u16,
    },
    /// An image is for other revisions of the chip.
    #[error("{what} runs on {} {} {}, and the board has {}", chip(*.chip_id), revision(*.limit), if *.newer { "and newer" } else { "and older" }, revision(*.found))]
    Revision {
        /// Which file or part.
        what: String,
        /// `chip_id` of both.
        chip_id: u16,
        /// Revision of the board, major * 100 + minor.
        found: u16,
        /// The lowest or the highest that the image runs on.
        limit: u16,
        /// Whether it is the lowest.
        newer: bool,
    },
    /// Something does not fit where it goes.
    #[error("{what} needs {size} bytes, and there is room for {limit}")]
    TooBig {
        /// Which file or part.
        what: String,
        /// Bytes.
        size: u64,
        /// The most that fit.
        limit: u64,
    },
    /// Flash of this size cannot hold what is wanted.
    #[error("a flash of {0} bytes is none that partitions for updates can be laid out in")]
    FlashSize(u32),
    /// A release does not carry what a board needs to start with.
    #[error("the release does not carry its {0}, and a board that is made from nothing needs it")]
    Missing(PartKind),
    /// The board would not trust the release that it starts with.
    #[error("the release is signed by {0}, which is not among the keys that the board will trust")]
    UnknownSigner(KeyId),
    /// A name that a board does not take.
    #[error("a name has at most 32 bytes of text that can be shown")]
    Name,
    /// Nothing says which product the board is.
    #[error("nothing says which product the board is, so it could trust nobody's releases for it")]
    NoProduct,
    /// What was asked for does not go together.
    #[error("{0}")]
    Layout(&'static str),
    /// The partition table is damaged, or does not fit the flash.
    #[error("{0}")]
    Table(PartitionError),
    /// A part that says nothing.
    #[error("{0} is empty")]
    Empty(String),
    /// Two parts want the same sectors.
    #[error("{first} and {second} overlap at {at:#x}")]
    Overlap {
        /// The one that starts first.
        first: String,
        /// The other.
        second: String,
        /// Where they begin to.
        at: u32,
    },
    /// More parts than anybody needs.
    #[error("{found} parts are given, and {limit} is the limit")]
    TooManyParts {
        /// How many.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// An offset that cannot be written to.
    #[error("{what} cannot be written: {error}")]
    Segment {
        /// Which part.
        what: String,
        /// Why.
        error: SegmentError,
    },
    /// The file system is damaged, full, or none.
    #[error("the file system: {0}")]
    Files(airlift_littlefs::Error),
    /// The file system is one that no device leaves: looking at it does not end.
    #[error("the file system leads in circles")]
    Endless,
    /// Files cannot be put into the file system, or not be read from it.
    #[error(transparent)]
    Update(Failure),
    /// The flash cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn chip(id: u16) -> String {
    chip_name(id).map_or_else(|| format!("chip {id}"), str::to_owned)
}

fn revision(full: u16) -> String {
    format!("v{}.{}", full / 100, full % 100)
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoBootloader(_) | Self::WrongChip { .. } | Self::Revision { .. } => {
                ErrorCode::WrongChip
            }
            Self::WrongKind { .. } | Self::Image { .. } => ErrorCode::BadImage,
            Self::TooBig { .. } => ErrorCode::TooBig,
            Self::FlashSize(_) | Self::Layout(_) | Self::Table(_) => ErrorCode::BadLayout,
            Self::Name
            | Self::NoProduct
            | Self::Empty(_)
            | Self::Overlap { .. }
            | Self::TooManyParts { .. }
            | Self::Segment { .. } => ErrorCode::Usage,
            Self::Files(airlift_littlefs::Error::NoSpace) => ErrorCode::TooBig,
            Self::Files(_) | Self::Endless => ErrorCode::FlashFault,
            Self::Update(failure) => failure.code,
            Self::Missing(_) => ErrorCode::WrongBase,
            Self::UnknownSigner(_) => ErrorCode::UnknownKey,
            Self::Read(ReadError::OutOfRange { .. }) => ErrorCode::FlashUnreadable,
            // Whoever has the link knows better what became of it.
            Self::Read(_) => ErrorCode::LinkLost,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NoBootloader(_) => "Give a bootloader for this chip as a file.",
            Self::WrongKind { .. } => {
                "Give the file that the build makes for this place, or another offset."
            }
            Self::Image { .. } => "Build it again, or get the file again.",
            Self::WrongChip { .. } => "Build for the chip of this board, or choose another board.",
            Self::Revision { .. } => {
                "Build for the revision of this board's chip, or choose another board."
            }
            Self::TooBig { .. } => {
                "Make it smaller, or use a board with more flash; without a factory slot each slot is \
                 larger."
            }
            Self::FlashSize(_) => "Use a board with at least 4 MiB of flash.",
            Self::Table(_) => "Give a partition table for this size of flash.",
            Self::Name => "Give a shorter name.",
            Self::NoProduct => {
                "Make a release of the app, which names its product: airlift pack --product NAME."
            }
            Self::Empty(_) => "Give a file that has content, or leave it out.",
            Self::Overlap { .. } => {
                "Give each part an offset of its own, 4096 bytes at least apart."
            }
            Self::TooManyParts { .. } => "Put them together into one image first.",
            Self::Segment { .. } => {
                "Give an offset that is a multiple of 4096 and inside the flash."
            }
            Self::Files(_) | Self::Endless => "Make the file system anew.",
            Self::UnknownSigner(_) => {
                "Let the board trust that key as well, or choose a release signed by one of its keys."
            }
            Self::Missing(_) | Self::Layout(_) | Self::Update(_) | Self::Read(_) => {
                self.code().help()
            }
        }
    }
}
