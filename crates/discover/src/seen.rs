//! What the rest of the program sees of a device.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{DeviceId, DeviceInfo, Error};

/// A device that has answered a probe at some time, in this run or in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDevice {
    /// Who it is.
    pub id: DeviceId,
    /// What it said last.
    pub info: DeviceInfo,
    /// Where it answers, the address to use first. The others answered as the same device, now or
    /// earlier. Empty when its only address now belongs to another device.
    pub addresses: Vec<SocketAddr>,
    /// Where *another* device answers with the same id. Both are alive, and only the one at
    /// `addresses` is described here: one of the two must get another id.
    pub rivals: Vec<SocketAddr>,
    /// Whether it answers.
    pub online: bool,
    /// When it answered last, in Unix seconds; `None` if that is not known.
    pub last_seen_unix: Option<u64>,
    /// How the first of its addresses became known.
    pub source: Source,
    /// The local address of the connection that reached it, to choose where to serve from.
    pub local_addr: Option<IpAddr>,
    /// How long the last answer took, from connecting to its last byte.
    pub round_trip: Option<Duration>,
}

impl SeenDevice {
    /// The address to use.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// Whether nothing worth an event differs: uptime, free memory, time of the last answer and
    /// how long it took are not.
    pub(crate) fn same_news(&self, other: &Self) -> bool {
        self.online == other.online
            && self.addresses == other.addresses
            && self.rivals == other.rivals
            && self.source == other.source
            && self.local_addr == other.local_addr
            && self.info.same_news(&other.info)
    }
}

/// How an address became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Announced by mDNS.
    Mdns,
    /// Known from before: given at the start, or no longer announced.
    Remembered,
    /// Given by the user.
    Manual,
}

/// Something that happened to the table of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It answers: for the first time, or again.
    Appeared(SeenDevice),
    /// Its description or its addresses changed.
    Changed(SeenDevice),
    /// It no longer answers; it stays in the table as offline.
    Gone(SeenDevice),
    /// It is no longer in the table.
    Forgotten(DeviceId),
}

impl Change {
    /// The device it is about.
    pub fn id(&self) -> &DeviceId {
        match self {
            Self::Appeared(seen) | Self::Changed(seen) | Self::Gone(seen) => &seen.id,
            Self::Forgotten(id) => id,
        }
    }
}

/// An address that was probed and at which no device answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The address.
    pub addr: SocketAddr,
    /// How it became known.
    pub source: Source,
    /// The mDNS instance that announces it, if one does: a device that is seen and cannot be
    /// reached is usually behind client isolation or a firewall.
    pub instance: Option<String>,
    /// How many probes in a row had no device's answer.
    pub failures: u32,
    /// Why the last probe had none.
    pub error: Error,
}
