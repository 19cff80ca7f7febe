//! What can go wrong while looking for devices.

use std::net::SocketAddr;

use airlift_wire::ErrorCode;

/// Why a device could not be found, reached or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be opened, or broke.
    #[error("no device can be reached at {addr}: {reason}")]
    Unreachable {
        /// The address that was probed.
        addr: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// Nothing, or not everything, came within the time a probe has.
    #[error("{addr} did not answer in time")]
    TimedOut {
        /// The address that was probed.
        addr: SocketAddr,
    },
    /// Something answers there, and it is not a device.
    #[error("{addr} is not an airlift device: {reason}")]
    NotADevice {
        /// The address that was probed.
        addr: SocketAddr,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A device description breaks the rules of [`crate::DeviceInfo`].
    #[error("the device describes itself wrongly: {reason}")]
    BadDevice {
        /// The rule that is broken, with the field.
        reason: String,
    },
    /// Text that is not a `host:port`, or a name that leads nowhere.
    #[error("`{text}` is not an address: {reason}")]
    BadAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Multicast DNS does not work on this host.
    #[error("mDNS is not available: {reason}")]
    Mdns {
        /// What the resolver said.
        reason: String,
    },
    /// The discovery was stopped.
    #[error("the discovery has stopped")]
    Stopped,
    /// A table that is bounded has no room left.
    #[error("there are too many {what} already (at most {limit})")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

impl Error {
    /// The stable code: scripts and the window depend on it. Its help says what to do.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::NotADevice { .. } => {
                ErrorCode::NoSuchDevice
            }
            Self::BadDevice { .. } => ErrorCode::BadRequest,
            Self::BadAddress { .. } | Self::Full { .. } => ErrorCode::Usage,
            Self::Mdns { .. } => ErrorCode::Io,
            Self::Stopped => ErrorCode::Internal,
        }
    }
}
