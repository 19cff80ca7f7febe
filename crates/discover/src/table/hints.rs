//! Where to ask: what mDNS, the user and earlier runs say about addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{
    Device, HINT_GAP, Instance, MAX_ADDRESSES, MAX_DEVICES, MAX_INSTANCE_NAME, MAX_INSTANCES,
    MAX_INSTANCES_PER_TARGET, MAX_TARGETS, Table,
};
use crate::{DeviceId, DeviceInfo};

impl Table {
    pub(super) fn remember(
        &mut self,
        id: DeviceId,
        info: Option<Box<DeviceInfo>>,
        addresses: &[SocketAddr],
        last_seen_unix: Option<u64>,
    ) {
        let info = info.filter(|info| info.id == id);
        if let Some(info) = info
            && !self.devices.contains_key(&id)
            && self.devices.len() < MAX_DEVICES
        {
            let device = Device {
                info: *info,
                owned: Default::default(),
                best: None,
                online: false,
                last_answer: None,
                last_seen_unix,
                asked_since: None,
                remembered: true,
                told: None,
            };
            self.devices.insert(id.clone(), device);
        }
        for addr in addresses
            .iter()
            .copied()
            .filter(is_askable)
            .take(MAX_ADDRESSES)
        {
            if !self.ensure_target(addr) {
                continue;
            }
            let Some(target) = self.targets.get_mut(&addr) else {
                continue;
            };
            target.remembered.get_or_insert_with(|| id.clone());
            if target.owner.is_none()
                && let Some(device) = self.devices.get_mut(&id)
                && device.owned.len() < MAX_ADDRESSES
            {
                target.owner = Some(id.clone());
                device.owned.insert(addr);
                device.best.get_or_insert(addr);
            }
            self.schedule(addr, self.now);
        }
        self.touched.insert(id);
    }

    pub(super) fn add_manual(&mut self, addr: SocketAddr) {
        if is_askable(&addr) && self.ensure_target(addr) {
            if let Some(target) = self.targets.get_mut(&addr) {
                target.manual = true;
                self.touched.extend(target.owner.clone());
            }
            self.schedule(addr, self.now);
        }
    }

    pub(super) fn remove_manual(&mut self, addr: SocketAddr) {
        if let Some(target) = self.targets.get_mut(&addr) {
            target.manual = false;
            self.touched.extend(target.owner.clone());
            self.drop_unwanted(addr);
        }
    }

    pub(super) fn announced(&mut self, instance: String, addresses: Vec<SocketAddr>) {
        if instance.len() > MAX_INSTANCE_NAME {
            return;
        }
        let name: Arc<str> = instance.into();
        let mut fresh: Vec<SocketAddr> = addresses;
        fresh.retain(is_askable);
        fresh.sort_unstable();
        fresh.dedup();
        fresh.truncate(MAX_ADDRESSES);
        if !self.instances.contains_key(&name) {
            if fresh.is_empty() || !self.room_for_instance() {
                return;
            }
            let new = Instance {
                addresses: Default::default(),
                seen: self.now,
            };
            self.instances.insert(name.clone(), new);
        }
        for addr in &fresh {
            self.link(&name, *addr, &fresh);
            self.hint(*addr);
        }
        if let Some(instance) = self.instances.get_mut(&name) {
            instance.seen = self.now;
            if instance.addresses.is_empty() {
                self.instances.remove(&name);
            }
        }
    }

    pub(super) fn withdrawn(&mut self, instance: &str) {
        let Some((name, gone)) = self.instances.remove_entry(instance) else {
            return;
        };
        for addr in gone.addresses {
            self.unlink(&name, addr);
            // A goodbye is a hint too: ask, rather than believe it.
            self.hint_now(addr);
        }
    }

    pub(super) fn probe_now(&mut self, id: &DeviceId) {
        let owned = self.devices.get(id).map(|device| device.owned.clone());
        for addr in owned.into_iter().flatten() {
            self.schedule(addr, self.now);
        }
        let looked_for = self
            .targets
            .iter()
            .filter(|(_, t)| t.remembered.as_ref() == Some(id));
        for addr in looked_for.map(|(addr, _)| *addr).collect::<Vec<_>>() {
            self.schedule(addr, self.now);
        }
    }

    pub(super) fn interfaces_changed(&mut self) {
        for (name, instance) in std::mem::take(&mut self.instances) {
            for addr in instance.addresses {
                self.unlink(&name, addr);
            }
        }
        for addr in self.targets.keys().copied().collect::<Vec<_>>() {
            self.hint_now(addr);
        }
    }

    /// Asks soon at an address that does not answer at the moment.
    fn hint(&mut self, addr: SocketAddr) {
        let Some(target) = self.targets.get(&addr) else {
            return;
        };
        if !(self.is_online(target) && target.answers()) {
            self.hint_now(addr);
        }
    }

    fn hint_now(&mut self, addr: SocketAddr) {
        let Some(target) = self.targets.get(&addr) else {
            return;
        };
        let online = self.is_online(target);
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        if !online {
            // Back off from the start again: a device that just booted announces itself before it
            // listens. Not while it counts as online: a hint must not undo its failures.
            target.failures = target.failures.min(1);
        }
        let earliest = target
            .started
            .map_or(self.now, |at| at.saturating_add(HINT_GAP));
        let due = earliest.max(self.now);
        if target.queued.is_some_and(|(_, queued)| queued > due) {
            self.schedule(addr, due);
        }
    }

    /// Notes that `name` announces `addr`. When it announces too many, one that is not among the
    /// `fresh` ones goes.
    fn link(&mut self, name: &Arc<str>, addr: SocketAddr, fresh: &[SocketAddr]) {
        let Some(instance) = self.instances.get(name) else {
            return;
        };
        if instance.addresses.contains(&addr) {
            return;
        }
        if instance.addresses.len() >= MAX_ADDRESSES {
            let Some(old) = instance
                .addresses
                .iter()
                .find(|a| !fresh.contains(a))
                .copied()
            else {
                return;
            };
            if let Some(instance) = self.instances.get_mut(name) {
                instance.addresses.remove(&old);
            }
            self.unlink(name, old);
        }
        if !self.ensure_target(addr) {
            return;
        }
        let Some(target) = self.targets.get_mut(&addr) else {
            return;
        };
        if target.announced_by.len() < MAX_INSTANCES_PER_TARGET
            && let Some(instance) = self.instances.get_mut(name)
        {
            target.announced_by.insert(name.clone());
            instance.addresses.insert(addr);
            self.touched.extend(target.owner.clone());
        }
        self.drop_unwanted(addr);
    }

    fn unlink(&mut self, name: &Arc<str>, addr: SocketAddr) {
        if let Some(target) = self.targets.get_mut(&addr) {
            target.announced_by.remove(name);
            self.touched.extend(target.owner.clone());
            self.drop_unwanted(addr);
        }
    }

    /// Makes sure that `addr` is probed; `false` when there is no room for it.
    fn ensure_target(&mut self, addr: SocketAddr) -> bool {
        if self.targets.contains_key(&addr) {
            return true;
        }
        if self.targets.len() >= MAX_TARGETS {
            let strangers = self.targets.iter().filter(|(_, target)| {
                target.owner.is_none() && !target.manual && target.remembered.is_none()
            });
            let Some(worst) = strangers
                .max_by_key(|(_, t)| t.failures)
                .map(|(addr, _)| *addr)
            else {
                return false;
            };
            self.drop_target(worst);
        }
        self.targets.insert(addr, Default::default());
        self.schedule(addr, self.now);
        true
    }

    fn room_for_instance(&mut self) -> bool {
        if self.instances.len() < MAX_INSTANCES {
            return true;
        }
        let unproven = self.instances.iter().filter(|(_, instance)| {
            let owner = |addr| {
                self.targets
                    .get(addr)
                    .and_then(|target| target.owner.as_ref())
            };
            !instance.addresses.iter().any(|addr| owner(addr).is_some())
        });
        let oldest = unproven
            .min_by_key(|(_, instance)| instance.seen)
            .map(|(n, _)| n.clone());
        let Some(oldest) = oldest else { return false };
        if let Some(instance) = self.instances.remove(&oldest) {
            for addr in instance.addresses {
                self.unlink(&oldest, addr);
            }
        }
        true
    }

    pub(super) fn drop_unwanted(&mut self, addr: SocketAddr) {
        if self
            .targets
            .get(&addr)
            .is_some_and(|target| !target.is_wanted())
        {
            self.drop_target(addr);
        }
    }

    /// Takes an address that no device owns out of the table. A probe under way ends unheard.
    fn drop_target(&mut self, addr: SocketAddr) {
        let Some(target) = self.targets.remove(&addr) else {
            return;
        };
        if let Some(queued) = target.queued {
            self.lanes.remove(addr, queued);
        }
        for name in target.announced_by {
            if let Some(instance) = self.instances.get_mut(&name) {
                instance.addresses.remove(&addr);
                if instance.addresses.is_empty() {
                    self.instances.remove(&name);
                }
            }
        }
    }
}

/// Whether a device can be at such an address at all.
fn is_askable(addr: &SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}
