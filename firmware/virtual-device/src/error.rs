//! What can go wrong around virtual devices.

use crate::nor::NorError;
use airlift_wire::ErrorCode;
use std::path::PathBuf;

/// Why a virtual device could not be made or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the device should get at the factory does not go together.
    #[error(transparent)]
    Factory(#[from] airlift_flash::Error),
    /// The flash.
    #[error(transparent)]
    Nor(#[from] NorError),
    /// A folder or file of the simulation.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `device.json` that says something else than was written there.
    #[error("{path}: {reason}")]
    Record {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process simulates the devices of the folder.
    #[error("the devices in {path} are running in another process")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// No port, no thread, no randomness.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why it cannot be had.
        source: std::io::Error,
    },
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Factory(error) => error.code(),
            Self::Nor(_) => ErrorCode::FlashFault,
            Self::InUse { .. } => ErrorCode::Busy,
            Self::Io { .. } | Self::Record { .. } => ErrorCode::Io,
            Self::System { .. } => ErrorCode::CannotListen,
        }
    }
}
