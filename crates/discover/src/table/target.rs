//! One address that is probed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::lanes::Lane;
use super::{Answer, BOOT_TOLERANCE_MS, ProbeToken};
use crate::{DeviceId, Error, Source};

#[derive(Debug, Default)]
pub(super) struct Target {
    /// Who answered here last.
    pub(super) owner: Option<DeviceId>,
    /// The mDNS instances that announce it.
    pub(super) announced_by: BTreeSet<Arc<str>>,
    pub(super) manual: bool,
    /// The device that was remembered to be here.
    pub(super) remembered: Option<DeviceId>,
    /// Where its next probe waits; `None` exactly while one is under way.
    pub(super) queued: Option<(Lane, Duration)>,
    pub(super) in_flight: Option<ProbeToken>,
    /// When its latest probe started.
    pub(super) started: Option<Duration>,
    /// Probes in a row without a device's answer.
    pub(super) failures: u32,
    pub(super) error: Option<Error>,
    pub(super) local_addr: Option<IpAddr>,
    pub(super) round_trip: Option<Duration>,
    boot: Option<Boot>,
}

/// What an address showed about the running time of the device behind it.
#[derive(Debug, Clone, Copy)]
struct Boot {
    /// When that device booted by its own account, on the table's clock.
    at_ms: i128,
    /// It has been running since then for sure: the first answer of this boot.
    since: Duration,
    /// And until then: the start of the probe with the latest answer.
    until: Duration,
}

impl Boot {
    fn is_same(&self, other: &Self) -> bool {
        (self.at_ms - other.at_ms).abs() <= BOOT_TOLERANCE_MS
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.since < other.until && other.since < self.until
    }
}

impl Target {
    pub(super) fn answers(&self) -> bool {
        self.boot.is_some() && self.failures == 0
    }

    pub(super) fn take_answer(&mut self, answer: &Answer, now: Duration) {
        let millis = |d: Duration| i128::try_from(d.as_millis()).unwrap_or(i128::MAX);
        let started = self.started.unwrap_or(now);
        let at_ms = millis(now) - i128::from(answer.info.uptime_ms);
        let fresh = Boot {
            at_ms,
            since: now,
            until: started,
        };
        self.boot = Some(match self.boot {
            Some(boot) if boot.is_same(&fresh) => Boot {
                since: boot.since,
                ..fresh
            },
            _ => fresh,
        });
        self.failures = 0;
        self.error = None;
        self.local_addr = Some(answer.local_addr);
        self.round_trip = Some(answer.round_trip);
    }

    /// Forgets whose address it is.
    pub(super) fn disown(&mut self) {
        self.owner = None;
        self.boot = None;
        self.local_addr = None;
        self.round_trip = None;
    }

    /// Whether both may be the same device, reached by two ways.
    pub(super) fn is_same_boot(&self, other: &Self) -> bool {
        match (&self.boot, &other.boot) {
            (Some(one), Some(two)) => one.is_same(two),
            _ => true,
        }
    }

    /// Whether the two cannot be one device: different boots, and both were running at one time.
    /// Different boots one after the other are a reboot.
    pub(super) fn is_rival(&self, other: &Self) -> bool {
        match (&self.boot, &other.boot) {
            (Some(one), Some(two)) => !one.is_same(two) && one.overlaps(two),
            _ => false,
        }
    }

    /// Whether anybody still says that a device might be here.
    pub(super) fn is_wanted(&self) -> bool {
        self.owner.is_some()
            || self.manual
            || self.remembered.is_some()
            || !self.announced_by.is_empty()
    }

    pub(super) fn source(&self) -> Source {
        if self.manual {
            Source::Manual
        } else if self.announced_by.is_empty() {
            Source::Remembered
        } else {
            Source::Mdns
        }
    }

    pub(super) fn lane(&self, owner_online: bool) -> Lane {
        if owner_online {
            Lane::Online
        } else if self.owner.is_some() || self.manual || self.remembered.is_some() {
            Lane::Known
        } else {
            Lane::Announced
        }
    }
}
