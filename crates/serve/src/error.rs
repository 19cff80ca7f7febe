//! What can go wrong outside a request.

use std::{io, net::SocketAddr};

use airlift_wire::ErrorCode;

/// Why a server did not start, or a store did not take a release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The port and all the ones tried after it are taken.
    #[error("ports {first} to {last} are all in use")]
    NoFreePort {
        /// The first port tried.
        first: u16,
        /// The last port tried.
        last: u16,
    },
    /// The thread or the runtime of a server did not start.
    #[error("the server did not start: {0}")]
    Start(#[source] io::Error),
    /// An envelope is longer than a device can keep.
    #[error("an envelope of {len} bytes is longer than {limit}")]
    EnvelopeTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most it can be.
        limit: usize,
    },
    /// A part is larger than a release can carry.
    #[error("a part of {len} bytes is larger than {limit}")]
    PartTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most it can be.
        limit: usize,
    },
    /// The store would hold more than it was given room for.
    #[error(
        "{needed} bytes more do not fit beside the {held} that are offered, the limit is {limit}"
    )]
    StoreFull {
        /// Bytes that the release adds.
        needed: usize,
        /// Bytes already held.
        held: usize,
        /// The store's limit.
        limit: usize,
    },
}

impl Error {
    /// The stable code, for scripts and for what to do about it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Bind { .. } | Self::NoFreePort { .. } => ErrorCode::CannotListen,
            Self::Start(_) => ErrorCode::Internal,
            Self::EnvelopeTooLong { .. } => ErrorCode::BadEnvelope,
            Self::PartTooLarge { .. } => ErrorCode::TooBig,
            // What fills it are releases that other updates are fetching.
            Self::StoreFull { .. } => ErrorCode::Busy,
        }
    }
}
