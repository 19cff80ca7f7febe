//! What can go wrong while looking for devices.

use std::net::SocketAddr;

/// Why a device could not be found, reached or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be opened, or broke.
    #[error("no device can be reached at {addr}: {reason}; check its power and its network")]
    Unreachable {
        /// The address that was probed.
        addr: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// Nothing, or not everything, came within the time a probe has.
    #[error("{addr} did not answer in time; check that nothing between blocks the connection")]
    TimedOut {
        /// The address that was probed.
        addr: SocketAddr,
    },
    /// Something answers there, and it is not a device.
    #[error("{addr} is not an airlift device: {reason}; check the address and the port")]
    NotADevice {
        /// The address that was probed.
        addr: SocketAddr,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A device description breaks the rules of [`crate::DeviceInfo`].
    #[error("the device describes itself wrongly: {reason}; update its firmware over USB")]
    BadDevice {
        /// The rule that is broken, with the field.
        reason: String,
    },
    /// Text that is not a `host:port`, or a name that leads nowhere.
    #[error("`{text}` is not an address: {reason}; give HOST:PORT")]
    BadAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Multicast DNS does not work on this host.
    #[error("mDNS is not available: {reason}; add devices by address")]
    Mdns {
        /// What the resolver said.
        reason: String,
    },
    /// The discovery was stopped.
    #[error("the discovery has stopped; start it again")]
    Stopped,
    /// A table that is bounded has no room left.
    #[error("there are too many {what} already (at most {limit}); forget some")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
}

impl Error {
    /// The stable code: scripts and the window depend on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "device_unreachable",
            Self::TimedOut { .. } => "device_timed_out",
            Self::NotADevice { .. } => "not_a_device",
            Self::BadDevice { .. } => "bad_device_info",
            Self::BadAddress { .. } => "bad_address",
            Self::Mdns { .. } => "mdns_unavailable",
            Self::Stopped => "discovery_stopped",
            Self::Full { .. } => "too_many",
        }
    }
}
