//! What probes found: whose address it is, who is online, who is gone.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    Answer, Device, MAX_ADDRESSES, MAX_BACKOFF, MAX_DEVICES, MAX_SILENCE, PROBE_INTERVAL,
    ProbeToken, RECENT, RECENT_BACKOFF, RETRY_AFTER, SPARE_INTERVAL, STALE_FAILURES, Table,
};
use crate::{Change, DeviceId, Error};

use super::Effect;

impl Table {
    pub(super) fn probed(&mut self, token: ProbeToken, result: Result<Box<Answer>, Error>) {
        let Some(addr) = self.lanes.finish(token) else {
            return;
        };
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        if target.in_flight != Some(token) {
            // The address was dropped and came back while this probe was under way.
            return;
        }
        target.in_flight = None;
        match result {
            Ok(answer) => self.answered(addr, *answer),
            Err(error) => self.failed(addr, error),
        }
    }

    fn answered(&mut self, addr: SocketAddr, answer: Answer) {
        let id = answer.info.id.clone();
        let previous = self
            .targets
            .get(&addr)
            .and_then(|target| target.owner.clone());
        if previous.is_some_and(|previous| previous != id) {
            self.disown(addr);
        }
        if !self.adopt(&id, addr, &answer) {
            // There is no room for it. Ask again later; there may be then.
            if let Some(target) = self.targets.get_mut(&addr) {
                target.failures = 0;
                target.error = None;
            }
            self.schedule_in(addr, MAX_BACKOFF);
            return;
        }
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        target.take_answer(&answer, self.now);
        let Some(device) = self.devices.get_mut(&id) else {
            return;
        };
        let was_online = std::mem::replace(&mut device.online, true);
        device.last_answer = Some(self.now);
        device.last_seen_unix = Some(answer.unix);
        device.asked_since = None;
        let silence_ends = self.now.saturating_add(MAX_SILENCE);
        self.sweep_at = Some(
            self.sweep_at
                .map_or(silence_ends, |at| at.min(silence_ends)),
        );
        let former = device.best.filter(|best| *best != addr && was_online);
        self.touched.insert(id.clone());
        if !was_online {
            self.reschedule_owned(&id);
        }

        let pair = former.and_then(|b| Some((b, self.targets.get(&b)?, self.targets.get(&addr)?)));
        let Some((best, leading, target)) = pair else {
            return self.lead(&id, addr, answer);
        };
        let same = leading.is_same_boot(target);
        let rival = leading.is_rival(target);
        // A rival takes over only after two failures: one lost packet must not swap two devices.
        let leads = leading.answers() || (rival && leading.failures < 2);
        if !leads {
            return self.lead(&id, addr, answer);
        }
        if same {
            if let Some(device) = self.devices.get_mut(&id) {
                device.info = answer.info;
            }
            self.schedule_in(addr, SPARE_INTERVAL);
        } else if rival {
            self.schedule_in(addr, SPARE_INTERVAL);
        } else {
            // It rebooted, or moved, or there are two: the leading address knows.
            self.schedule(best, self.now);
            self.schedule_in(addr, PROBE_INTERVAL);
        }
    }

    /// Makes `addr` the address that the device is used at, and described by.
    fn lead(&mut self, id: &DeviceId, addr: SocketAddr, answer: Answer) {
        let Some(device) = self.devices.get_mut(id) else {
            return;
        };
        device.info = answer.info;
        device.best = Some(addr);
        self.schedule_in(addr, PROBE_INTERVAL);
    }

    /// Moves the waiting probes of a device's other addresses to the lane they now belong to.
    fn reschedule_owned(&mut self, id: &DeviceId) {
        let Some(device) = self.devices.get(id) else {
            return;
        };
        for addr in device.owned.clone() {
            let waiting = self.targets.get(&addr).and_then(|target| target.queued);
            if let Some((_, due)) = waiting {
                self.schedule(addr, due);
            }
        }
    }

    /// Makes the device and gives it the address; `false` when there is no room.
    fn adopt(&mut self, id: &DeviceId, addr: SocketAddr, answer: &Answer) -> bool {
        if !self.devices.contains_key(id) {
            // Making room forgets a device, and with it perhaps the reason to ask here.
            if !self.room_for_device() || !self.targets.contains_key(&addr) {
                return false;
            }
            let device = Device {
                info: answer.info.clone(),
                owned: Default::default(),
                best: None,
                online: false,
                last_answer: None,
                last_seen_unix: None,
                asked_since: None,
                remembered: false,
                told: None,
            };
            self.devices.insert(id.clone(), device);
        }
        let Some(device) = self.devices.get(id) else {
            return false;
        };
        if !device.owned.contains(&addr) && device.owned.len() >= MAX_ADDRESSES {
            let silent = |addr: &&SocketAddr| {
                Some(**addr) != device.best
                    && self
                        .targets
                        .get(*addr)
                        .is_none_or(|target| !target.answers())
            };
            let Some(old) = device.owned.iter().find(silent).copied() else {
                return false;
            };
            self.disown(old);
            self.drop_unwanted(old);
        }
        let Some(target) = self.targets.get_mut(&addr) else {
            return false;
        };
        target.owner = Some(id.clone());
        if let Some(device) = self.devices.get_mut(id) {
            device.owned.insert(addr);
        }
        true
    }

    fn room_for_device(&mut self) -> bool {
        if self.devices.len() < MAX_DEVICES {
            return true;
        }
        let strangers = self
            .devices
            .iter()
            .filter(|(_, d)| !d.online && !d.remembered);
        let oldest = strangers
            .min_by_key(|(_, d)| d.last_answer)
            .map(|(id, _)| id.clone());
        oldest.is_some_and(|id| {
            self.forget(&id);
            true
        })
    }

    fn failed(&mut self, addr: SocketAddr, error: Error) {
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        target.failures = target.failures.saturating_add(1);
        target.error = Some(error);
        let failures = target.failures;
        let stale = failures >= STALE_FAILURES && !target.manual && target.announced_by.is_empty();
        let owner = target.owner.clone();
        let device = owner.as_ref().and_then(|id| self.devices.get(id));
        let (Some(id), Some(device)) = (owner, device) else {
            self.schedule_in(addr, self.backoff(addr));
            return;
        };
        self.touched.insert(id.clone());
        if stale && device.online && device.best != Some(addr) {
            if let Some(target) = self.targets.get_mut(&addr) {
                target.remembered = None;
            }
            self.disown(addr);
            self.drop_unwanted(addr);
            return;
        }
        if device.online && device.best == Some(addr) {
            let others = device.owned.iter().copied().filter(|other| *other != addr);
            for other in others.collect::<Vec<_>>() {
                self.schedule(other, self.now);
            }
            if failures == 1 {
                self.schedule(addr, self.now.saturating_add(RETRY_AFTER));
            } else {
                self.schedule_in(addr, self.backoff(addr));
            }
        } else {
            self.schedule_in(addr, self.backoff(addr));
        }
        if self.is_dead(&id) {
            self.go_offline(&id);
        }
    }

    /// Two failures in a row where it was, and no answer anywhere else.
    fn is_dead(&self, id: &DeviceId) -> bool {
        let Some(device) = self.devices.get(id).filter(|device| device.online) else {
            return false;
        };
        let target = |addr| self.targets.get(addr);
        let failed_twice = device
            .best
            .as_ref()
            .and_then(target)
            .is_none_or(|t| t.failures >= 2);
        failed_twice
            && device
                .owned
                .iter()
                .filter_map(target)
                .all(|target| !target.answers())
    }

    pub(super) fn go_offline(&mut self, id: &DeviceId) {
        let Some(device) = self.devices.get_mut(id) else {
            return;
        };
        device.online = false;
        device.asked_since = None;
        for addr in device.owned.clone() {
            let Some(target) = self.targets.get_mut(&addr) else {
                continue;
            };
            // Silence counts as a failure of every address, so that none seems to answer still.
            target.failures = target.failures.max(1);
            let pause = self.backoff(addr);
            self.schedule_in(addr, pause);
        }
        self.touched.insert(id.clone());
    }

    /// Takes an address away from the device that had it.
    fn disown(&mut self, addr: SocketAddr) {
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        let Some(id) = target.owner.clone() else {
            return;
        };
        target.disown();
        let waiting = target.queued;
        let Some(device) = self.devices.get_mut(&id) else {
            return;
        };
        device.owned.remove(&addr);
        if device.best == Some(addr) {
            let answers = |addr: &&SocketAddr| self.targets.get(addr).is_some_and(|t| t.answers());
            let next = device.owned.iter().find(answers);
            let lost = next.is_none() && device.online;
            device.best = next.or(device.owned.first()).copied();
            // It was last heard where another device is now. The rest is asked at once.
            for other in device.owned.clone() {
                self.schedule(other, self.now);
            }
            if lost {
                self.go_offline(&id);
                self.probe_now(&id);
            }
        }
        if let Some((_, due)) = waiting {
            self.schedule(addr, due);
        }
        self.touched.insert(id);
    }

    pub(super) fn forget(&mut self, id: &DeviceId) {
        for target in self.targets.values_mut() {
            if target.remembered.as_ref() == Some(id) {
                target.remembered = None;
            }
        }
        if let Some(device) = self.devices.remove(id) {
            for addr in device.owned {
                if let Some(target) = self.targets.get_mut(&addr) {
                    target.disown();
                    target.manual = false;
                    if let Some((_, due)) = target.queued {
                        self.schedule(addr, due);
                    }
                }
            }
            self.effects
                .push(Effect::Change(Box::new(Change::Forgotten(id.clone()))));
        }
        for addr in self.targets.keys().copied().collect::<Vec<_>>() {
            self.drop_unwanted(addr);
        }
    }

    fn backoff(&self, addr: SocketAddr) -> Duration {
        let Some(target) = self.targets.get(&addr) else {
            return MAX_BACKOFF;
        };
        let device = target.owner.as_ref().and_then(|id| self.devices.get(id));
        let heard = device.and_then(|device| device.last_answer);
        let recent = heard.is_some_and(|at| self.now.saturating_sub(at) < RECENT);
        let cap = if recent { RECENT_BACKOFF } else { MAX_BACKOFF };
        let doublings = target.failures.saturating_sub(1).min(5);
        Duration::from_secs(1 << doublings).min(cap)
    }
}
