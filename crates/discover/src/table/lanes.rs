//! When each address is probed, and how many at a time.
//!
//! Three lanes, because a flood of announcements must not delay the probes that keep a live device
//! online: devices that are online, places known from before or given by the user, and places that
//! were only announced. The last two have limits of their own; the first may use the rest, and what
//! the others leave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::{MAX_PROBES, ProbeToken};

/// The most probes at a time in [`Lane::Known`].
const MAX_KNOWN_PROBES: usize = 48;
/// The most probes at a time in [`Lane::Announced`].
const MAX_ANNOUNCED_PROBES: usize = 32;
// What is left is for the devices that are online.
const _: () = assert!(MAX_KNOWN_PROBES + MAX_ANNOUNCED_PROBES < MAX_PROBES);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Its device is online.
    Online,
    /// A device was there once, or the user says that one is.
    Known,
    /// Announced, and nothing more.
    Announced,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    online: BTreeSet<(Duration, SocketAddr)>,
    known: BTreeSet<(Duration, SocketAddr)>,
    announced: BTreeSet<(Duration, SocketAddr)>,
    in_flight: BTreeMap<ProbeToken, (SocketAddr, Lane)>,
    known_in_flight: usize,
    announced_in_flight: usize,
}

impl Lanes {
    pub(super) fn insert(&mut self, addr: SocketAddr, (lane, due): (Lane, Duration)) {
        self.queue(lane).insert((due, addr));
    }

    pub(super) fn remove(&mut self, addr: SocketAddr, (lane, due): (Lane, Duration)) {
        self.queue(lane).remove(&(due, addr));
    }

    /// Takes the address that is due and may start now.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<SocketAddr> {
        for lane in [Lane::Online, Lane::Known, Lane::Announced] {
            if self.has_room(lane)
                && let Some((due, addr)) = self.queue(lane).first().copied()
                && due <= now
            {
                self.queue(lane).remove(&(due, addr));
                return Some(addr);
            }
        }
        None
    }

    pub(super) fn start(&mut self, token: ProbeToken, addr: SocketAddr, lane: Lane) {
        self.in_flight.insert(token, (addr, lane));
        match lane {
            Lane::Online => {}
            Lane::Known => self.known_in_flight += 1,
            Lane::Announced => self.announced_in_flight += 1,
        }
    }

    /// The address a probe was for; `None` for a probe that is not under way.
    pub(super) fn finish(&mut self, token: ProbeToken) -> Option<SocketAddr> {
        let (addr, lane) = self.in_flight.remove(&token)?;
        match lane {
            Lane::Online => {}
            Lane::Known => self.known_in_flight -= 1,
            Lane::Announced => self.announced_in_flight -= 1,
        }
        Some(addr)
    }

    /// When the next probe can start; a full lane waits for the end of a probe instead.
    pub(super) fn next_due(&self) -> Option<Duration> {
        [
            (Lane::Online, &self.online),
            (Lane::Known, &self.known),
            (Lane::Announced, &self.announced),
        ]
        .into_iter()
        .filter(|(lane, _)| self.has_room(*lane))
        .filter_map(|(_, queue)| queue.first().map(|(due, _)| *due))
        .min()
    }

    fn has_room(&self, lane: Lane) -> bool {
        self.in_flight.len() < MAX_PROBES
            && match lane {
                Lane::Online => true,
                Lane::Known => self.known_in_flight < MAX_KNOWN_PROBES,
                Lane::Announced => self.announced_in_flight < MAX_ANNOUNCED_PROBES,
            }
    }

    fn queue(&mut self, lane: Lane) -> &mut BTreeSet<(Duration, SocketAddr)> {
        match lane {
            Lane::Online => &mut self.online,
            Lane::Known => &mut self.known,
            Lane::Announced => &mut self.announced,
        }
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> impl Iterator<Item = (SocketAddr, (Lane, Duration))> {
        let lane = |lane: Lane, queue: &BTreeSet<(Duration, SocketAddr)>| {
            queue
                .iter()
                .map(move |(due, addr)| (*addr, (lane, *due)))
                .collect::<Vec<_>>()
        };
        lane(Lane::Online, &self.online)
            .into_iter()
            .chain(lane(Lane::Known, &self.known))
            .chain(lane(Lane::Announced, &self.announced))
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}
