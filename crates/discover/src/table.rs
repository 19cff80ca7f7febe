//! The table of devices as a pure state machine: inputs and the time go in, effects come out.
//!
//! An address is only a place to ask (a *target*). Every target is probed, each at its own pace,
//! and an answer alone makes a device, keeps it online, and says whose address that is. So an
//! announcement can neither invent a device nor keep a dead one alive.
//!
//! Paces, fastest first: the address a device is reached at, every [`PROBE_INTERVAL`]; its other
//! addresses, every [`SPARE_INTERVAL`]; an address that does not answer, after 1 s and then twice as
//! long each time, up to [`RECENT_BACKOFF`] while its device was online lately (it may be
//! rebooting) and [`MAX_BACKOFF`] later. A device is offline after two failures in a row with no
//! other address answering, or [`MAX_SILENCE`] without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::{Change, DeviceId, DeviceInfo, Error, SeenDevice, Unanswered};

mod answer;
mod hints;
mod lanes;
mod target;
#[cfg(test)]
mod tests;

use lanes::Lanes;
use target::Target;

/// How often a device that is online is probed, before jitter.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(3);
/// How often the other addresses of a device that is online are probed, before jitter.
pub const SPARE_INTERVAL: Duration = Duration::from_secs(15);
/// How soon after its first failure the address of an online device is probed again.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);
/// The longest a probe takes, connecting and reading.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a device without any answer counts as online.
pub const MAX_SILENCE: Duration = Duration::from_secs(8);
/// The longest pause between two probes of an address that does not answer, before jitter.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The same for a device that answered within [`RECENT`].
pub const RECENT_BACKOFF: Duration = Duration::from_secs(4);
/// How long a device that went offline is expected back: a reboot with a trial takes up to 120 s.
pub const RECENT: Duration = Duration::from_secs(150);
/// Jitter is below this, and always the same for an address.
pub const MAX_JITTER: Duration = Duration::from_millis(500);
/// The shortest pause between two probes of an address that announcements ask for.
pub const HINT_GAP: Duration = Duration::from_secs(1);

/// The most devices in the table.
pub const MAX_DEVICES: usize = 1024;
/// The most addresses that are probed at all.
pub const MAX_TARGETS: usize = 4096;
/// The most addresses of one device, and of one mDNS instance.
pub const MAX_ADDRESSES: usize = 8;
/// The most mDNS instances that are remembered.
pub const MAX_INSTANCES: usize = 2048;
/// The most instances that may announce one address.
pub const MAX_INSTANCES_PER_TARGET: usize = 16;
/// The longest name of an mDNS instance, in bytes (RFC 1035 section 2.3.4).
pub const MAX_INSTANCE_NAME: usize = 255;
/// The most probes at a time; a macOS process has 256 file descriptors unless it asks for more.
pub const MAX_PROBES: usize = 128;

/// An address without any other reason to be kept is dropped after this many failures in a row.
const STALE_FAILURES: u32 = 8;
/// How far apart two estimates of one boot time may be: clocks drift, answers take time.
const BOOT_TOLERANCE_MS: i128 = 5_000;

/// Names one probe; the answer to a probe that nobody waits for any more is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeToken(u64);

/// Something that happened outside.
#[derive(Debug, Clone)]
pub enum Input {
    /// A device known from an earlier run. Without `info` it is looked for, and listed once found.
    Remembered {
        /// Who it is.
        id: DeviceId,
        /// What it said last; ignored when it is another device's.
        info: Option<Box<DeviceInfo>>,
        /// Where it was, best first; at most [`MAX_ADDRESSES`] are used.
        addresses: Vec<SocketAddr>,
        /// When it answered last, in Unix seconds.
        last_seen_unix: Option<u64>,
    },
    /// An address the user gave.
    Manual(SocketAddr),
    /// The user takes such an address back.
    RemoveManual(SocketAddr),
    /// An mDNS instance was resolved, perhaps to some of its addresses only.
    Announced {
        /// Its full name.
        instance: String,
        /// Its addresses as far as known.
        addresses: Vec<SocketAddr>,
    },
    /// An mDNS instance said goodbye, or its records expired.
    Withdrawn {
        /// Its full name.
        instance: String,
    },
    /// The end of a probe that an [`Effect::Probe`] asked for.
    Probed {
        /// Which one.
        token: ProbeToken,
        /// What came of it.
        result: Result<Box<Answer>, Error>,
    },
    /// Look at this device now.
    ProbeNow(DeviceId),
    /// Drop this device and what is remembered of it. One that still answers where it is announced
    /// comes back.
    Forget(DeviceId),
    /// The host's interfaces changed, and browsing started over: what was announced before counts no
    /// more, and everything known is probed.
    InterfacesChanged,
    /// Time passed.
    Tick,
}

/// A device's answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it says about itself.
    pub info: DeviceInfo,
    /// The local address of the connection.
    pub local_addr: IpAddr,
    /// How long it took, from connecting to its last byte.
    pub round_trip: Duration,
    /// When it came, in Unix seconds.
    pub unix: u64,
}

/// Something to do outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Probe this address, and report the end with [`Input::Probed`] within [`PROBE_TIMEOUT`].
    Probe {
        /// Goes back with the result.
        token: ProbeToken,
        /// Where.
        addr: SocketAddr,
    },
    /// Tell whoever listens.
    Change(Box<Change>),
}

/// The table.
#[derive(Debug)]
pub struct Table {
    seed: u64,
    now: Duration,
    targets: BTreeMap<SocketAddr, Target>,
    devices: BTreeMap<DeviceId, Device>,
    instances: BTreeMap<Arc<str>, Instance>,
    lanes: Lanes,
    next_token: u64,
    /// No online device's silence ends before this.
    sweep_at: Option<Duration>,
    /// Devices that may look different from what was told last.
    touched: BTreeSet<DeviceId>,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Device {
    info: DeviceInfo,
    /// The addresses whose last answer had this id.
    owned: BTreeSet<SocketAddr>,
    /// The one of them that is used; always there while online.
    best: Option<SocketAddr>,
    online: bool,
    last_answer: Option<Duration>,
    last_seen_unix: Option<u64>,
    /// Since when it has been asked without an answer.
    asked_since: Option<Duration>,
    /// Given at the start: never dropped to make room for a stranger.
    remembered: bool,
    /// What was told last.
    told: Option<SeenDevice>,
}

#[derive(Debug)]
struct Instance {
    addresses: BTreeSet<SocketAddr>,
    seen: Duration,
}

impl Table {
    /// An empty table. `seed` decides the jitter, so two hosts do not probe in step.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            targets: BTreeMap::new(),
            devices: BTreeMap::new(),
            instances: BTreeMap::new(),
            lanes: Lanes::default(),
            next_token: 0,
            sweep_at: None,
            touched: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// Takes one input. `now` is monotonic, from any origin; a step back counts as no step.
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Remembered {
                id,
                info,
                addresses,
                last_seen_unix,
            } => {
                self.remember(id, info, &addresses, last_seen_unix);
            }
            Input::Manual(addr) => self.add_manual(addr),
            Input::RemoveManual(addr) => self.remove_manual(addr),
            Input::Announced {
                instance,
                addresses,
            } => self.announced(instance, addresses),
            Input::Withdrawn { instance } => self.withdrawn(&instance),
            Input::Probed { token, result } => self.probed(token, result),
            Input::ProbeNow(id) => self.probe_now(&id),
            Input::Forget(id) => self.forget(&id),
            Input::InterfacesChanged => self.interfaces_changed(),
            Input::Tick => {}
        }
        self.sweep();
        self.tell();
        self.start_due();
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Tick`] is due at the latest; `None` while nothing is to come.
    pub fn next_wake(&self) -> Option<Duration> {
        [self.lanes.next_due(), self.sweep_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Every device, by id.
    pub fn devices(&self) -> Vec<SeenDevice> {
        self.devices
            .iter()
            .map(|(id, device)| self.view(id, device))
            .collect()
    }

    /// One device.
    pub fn device(&self, id: &str) -> Option<SeenDevice> {
        self.devices
            .get_key_value(id)
            .map(|(id, device)| self.view(id, device))
    }

    /// The addresses at which no device answers.
    pub fn unanswered(&self) -> Vec<Unanswered> {
        let unowned = self
            .targets
            .iter()
            .filter(|(_, target)| target.owner.is_none());
        unowned
            .filter_map(|(addr, target)| {
                Some(Unanswered {
                    addr: *addr,
                    source: target.source(),
                    instance: target.announced_by.first().map(|name| name.to_string()),
                    failures: target.failures,
                    error: target.error.clone()?,
                })
            })
            .collect()
    }

    fn view(&self, id: &DeviceId, device: &Device) -> SeenDevice {
        let best = device
            .best
            .and_then(|addr| Some((addr, self.targets.get(&addr)?)));
        let mut answering = Vec::new();
        let mut silent = Vec::new();
        let mut rivals = Vec::new();
        for addr in device
            .owned
            .iter()
            .filter(|addr| Some(**addr) != device.best)
        {
            let Some(target) = self.targets.get(addr) else {
                continue;
            };
            let rival = best.is_some_and(|(_, best)| target.is_rival(best));
            match (device.online && target.answers(), rival) {
                (true, true) => rivals.push(*addr),
                (true, false) => answering.push(*addr),
                (false, _) => silent.push(*addr),
            }
        }
        let addresses = device
            .best
            .into_iter()
            .chain(answering)
            .chain(silent)
            .collect();
        SeenDevice {
            id: id.clone(),
            info: device.info.clone(),
            addresses,
            rivals,
            online: device.online,
            last_seen_unix: device.last_seen_unix,
            source: best.map_or(crate::Source::Remembered, |(_, best)| best.source()),
            local_addr: best.and_then(|(_, best)| best.local_addr),
            round_trip: best.and_then(|(_, best)| best.round_trip),
        }
    }

    /// Emits a change for each touched device that looks different from what was told last.
    fn tell(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(device) = self.devices.get(&id) else {
                continue;
            };
            let view = self.view(&id, device);
            let change = match &device.told {
                None if view.online => Some(Change::Appeared(view.clone())),
                // Given at the start: it is in the snapshot, and nothing happened to it yet.
                None => None,
                Some(told) if !told.online && view.online => Some(Change::Appeared(view.clone())),
                Some(told) if told.online && !view.online => Some(Change::Gone(view.clone())),
                Some(told) if !told.same_news(&view) => Some(Change::Changed(view.clone())),
                Some(_) => continue,
            };
            self.effects
                .extend(change.map(Box::new).map(Effect::Change));
            if let Some(device) = self.devices.get_mut(&id) {
                device.told = Some(view);
            }
        }
    }

    /// Marks the devices offline that were asked and said nothing for too long.
    fn sweep(&mut self) {
        if self.sweep_at.is_none_or(|at| at > self.now) {
            return;
        }
        let mut next = None;
        let mut silent = Vec::new();
        for (id, device) in self.devices.iter().filter(|(_, device)| device.online) {
            let quiet = device
                .last_answer
                .unwrap_or_default()
                .saturating_add(MAX_SILENCE);
            // Silence is only silence once a question had the time to be answered: a host that
            // was asleep has not asked.
            let asked = device
                .asked_since
                .unwrap_or(self.now)
                .saturating_add(PROBE_TIMEOUT);
            let deadline = quiet.max(asked);
            if deadline <= self.now {
                silent.push(id.clone());
            } else {
                next = Some(next.map_or(deadline, |next: Duration| next.min(deadline)));
            }
        }
        self.sweep_at = next;
        for id in silent {
            self.go_offline(&id);
        }
    }

    fn start_due(&mut self) {
        while let Some(addr) = self.lanes.pop_due(self.now) {
            let Some(target) = self.targets.get_mut(&addr) else {
                continue;
            };
            let Some((lane, _)) = target.queued.take() else {
                continue;
            };
            let token = ProbeToken(self.next_token);
            self.next_token += 1;
            target.in_flight = Some(token);
            target.started = Some(self.now);
            if let Some(device) = target
                .owner
                .as_ref()
                .and_then(|id| self.devices.get_mut(id))
            {
                device.asked_since.get_or_insert(self.now);
            }
            self.lanes.start(token, addr, lane);
            self.effects.push(Effect::Probe { token, addr });
        }
    }

    /// Puts the next probe of `addr` at `due`. One that is under way is left alone: its end decides
    /// about the next.
    fn schedule(&mut self, addr: SocketAddr, due: Duration) {
        let Some(target) = self.targets.get(&addr).filter(|t| t.in_flight.is_none()) else {
            return;
        };
        let lane = target.lane(self.is_online(target));
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        if let Some(queued) = target.queued.replace((lane, due)) {
            self.lanes.remove(addr, queued);
        }
        self.lanes.insert(addr, (lane, due));
    }

    fn is_online(&self, target: &Target) -> bool {
        let owner = target.owner.as_ref();
        owner
            .and_then(|id| self.devices.get(id))
            .is_some_and(|device| device.online)
    }

    fn schedule_in(&mut self, addr: SocketAddr, pause: Duration) {
        let due = self
            .now
            .saturating_add(pause)
            .saturating_add(self.jitter(addr));
        self.schedule(addr, due);
    }

    /// Always the same for an address: FNV-1a over the seed and its bytes.
    fn jitter(&self, addr: SocketAddr) -> Duration {
        let port = addr.port().to_le_bytes();
        let seed = self.seed.to_le_bytes();
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let hash = seed
            .iter()
            .chain(&ip)
            .chain(&port)
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
                (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
            });
        // The high bits are the mixed ones.
        let spread = u64::try_from(MAX_JITTER.as_millis()).unwrap_or(1).max(1);
        Duration::from_millis((hash >> 32) % spread)
    }
}
