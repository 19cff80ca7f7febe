//! The table against a network that is a map and a clock that is a number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::Source;

mod invariants;
mod scenarios;

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn id(text: &str) -> DeviceId {
    text.parse().unwrap()
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A description of a device that booted `uptime` ago.
pub(super) fn info(id: &str, uptime: Duration) -> DeviceInfo {
    static EXAMPLE: LazyLock<DeviceInfo> = LazyLock::new(|| {
        DeviceInfo::parse(crate::device::tests::example().to_string().as_bytes()).unwrap()
    });
    let uptime_ms = u64::try_from(uptime.as_millis()).unwrap();
    DeviceInfo {
        id: self::id(id),
        uptime_ms,
        ..EXAMPLE.clone()
    }
}

/// What is at an address.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// A device that booted at that time.
    Device(&'static str, Duration),
    /// A host whose port is closed: the refusal comes at once.
    Closed,
    /// Something else answers.
    Garbage,
}

/// A table and the network around it. An address that is not in `places` never answers.
pub(super) struct Lan {
    pub(super) table: Table,
    pub(super) places: BTreeMap<SocketAddr, Place>,
    pub(super) now: Duration,
    pub(super) changes: Vec<(Duration, Change)>,
    /// Every probe: when, where.
    pub(super) probes: Vec<(Duration, SocketAddr)>,
    pub(super) most_at_once: usize,
    /// Whether the invariants are checked after each input: slow on a full table.
    pub(super) checked: bool,
    pending: BTreeMap<(Duration, ProbeToken), SocketAddr>,
}

impl Lan {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(7),
            places: BTreeMap::new(),
            now: secs(1000),
            changes: Vec::new(),
            probes: Vec::new(),
            most_at_once: 0,
            checked: true,
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn put(&mut self, at: &str, device: &'static str) {
        self.places
            .insert(addr(at), Place::Device(device, self.now));
    }

    pub(super) fn input(&mut self, input: Input) {
        let effects = self.table.handle(input, self.now);
        for effect in effects {
            match effect {
                Effect::Change(change) => self.changes.push((self.now, *change)),
                Effect::Probe { token, addr } => {
                    self.probes.push((self.now, addr));
                    let takes = match self.places.get(&addr) {
                        None => PROBE_TIMEOUT,
                        Some(_) => Duration::from_millis(20),
                    };
                    self.pending.insert((self.now + takes, token), addr);
                }
            }
        }
        self.most_at_once = self.most_at_once.max(self.pending.len());
        if self.checked {
            self.table.check();
        }
    }

    pub(super) fn announce(&mut self, instance: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| addr(text)).collect();
        self.input(Input::Announced {
            instance: instance.into(),
            addresses,
        });
    }

    /// Lets the time pass, and everything happen that is due in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let answer = self.pending.keys().next().map(|(at, _)| *at);
            let wake = self.table.next_wake();
            let Some(next) = [answer, wake]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if answer == Some(next)
                && let Some(((_, token), at)) = self.pending.pop_first()
            {
                let result = self.reply(at);
                self.input(Input::Probed { token, result });
            } else {
                self.input(Input::Tick);
            }
        }
        self.now = end;
    }

    fn reply(&self, at: SocketAddr) -> Result<Box<Answer>, Error> {
        match self.places.get(&at) {
            Some(Place::Device(id, boot)) => Ok(Box::new(Answer {
                info: info(id, self.now - *boot),
                local_addr: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
                round_trip: Duration::from_millis(20),
                unix: 1_800_000_000 + self.now.as_secs(),
            })),
            Some(Place::Closed) => Err(Error::Unreachable {
                addr: at,
                reason: "connection refused".into(),
            }),
            Some(Place::Garbage) => Err(Error::NotADevice {
                addr: at,
                reason: "404".into(),
            }),
            None => Err(Error::TimedOut { addr: at }),
        }
    }

    pub(super) fn device(&self, id: &str) -> SeenDevice {
        self.table
            .device(id)
            .unwrap_or_else(|| panic!("{id} is not in the table"))
    }

    /// The changes since the last call, as words: `+id`, `~id`, `-id`, `xid`.
    pub(super) fn news(&mut self) -> Vec<String> {
        let word = |(_, change): (Duration, Change)| match change {
            Change::Appeared(seen) => format!("+{}", seen.id),
            Change::Changed(seen) => format!("~{}", seen.id),
            Change::Gone(seen) => format!("-{}", seen.id),
            Change::Forgotten(id) => format!("x{id}"),
        };
        std::mem::take(&mut self.changes)
            .into_iter()
            .map(word)
            .collect()
    }
}

impl Table {
    /// What is true between any two inputs.
    pub(super) fn check(&self) {
        assert!(self.targets.len() <= MAX_TARGETS);
        assert!(self.devices.len() <= MAX_DEVICES);
        assert!(self.instances.len() <= MAX_INSTANCES);
        assert!(self.lanes.in_flight() <= MAX_PROBES);
        assert!(self.touched.is_empty() && self.effects.is_empty());

        let queued: BTreeMap<_, _> = self.lanes.queued().collect();
        assert_eq!(
            queued.len(),
            self.lanes.queued().count(),
            "an address waits once"
        );
        for (addr, target) in &self.targets {
            assert_eq!(queued.get(addr).copied(), target.queued, "{addr}");
            assert!(
                target.queued.is_some() != target.in_flight.is_some(),
                "{addr} waits or is under way, and never neither"
            );
            assert!(target.is_wanted(), "{addr} has a reason");
            assert!(target.announced_by.len() <= MAX_INSTANCES_PER_TARGET);
            for name in &target.announced_by {
                assert!(self.instances[name].addresses.contains(addr));
            }
            if let Some(owner) = &target.owner {
                let device = &self.devices[owner];
                assert!(device.owned.contains(addr), "{addr} belongs to {owner}");
                if let Some((lane, _)) = target.queued {
                    assert_eq!(lane == lanes::Lane::Online, device.online, "{addr}");
                }
            }
        }
        assert!(queued.keys().all(|addr| self.targets.contains_key(addr)));
        for (id, device) in &self.devices {
            assert_eq!(device.info.id, *id);
            assert!(device.owned.len() <= MAX_ADDRESSES);
            for addr in &device.owned {
                assert_eq!(self.targets[addr].owner.as_ref(), Some(id));
            }
            assert!(device.best.is_none_or(|best| device.owned.contains(&best)));
            assert!(
                !device.online || device.best.is_some(),
                "an online device has an address"
            );
            if let Some(told) = &device.told {
                assert_eq!(told.online, device.online, "who listens knows");
            }
        }
        for (name, instance) in &self.instances {
            assert!(!instance.addresses.is_empty() && instance.addresses.len() <= MAX_ADDRESSES);
            for addr in &instance.addresses {
                assert!(self.targets[addr].announced_by.contains(name));
            }
        }
        let views: BTreeSet<_> = self.devices().into_iter().map(|seen| seen.id).collect();
        assert_eq!(views.len(), self.devices.len());
    }
}
