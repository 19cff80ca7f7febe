//! The window's own virtual devices: real devices in all but the hardware, on this computer only.

use std::collections::BTreeSet;
use std::sync::Mutex;

use airlift_release::Release;
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{Settings, Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;

use crate::airlift::{Shared, lock};
use crate::sample::{self, Sample};
use crate::store::blocking;
use crate::{Airlift, Error};

/// The most virtual devices that the window starts.
pub const MOST: u32 = 16;
/// The key that signs for them; made when they are first started.
pub(crate) const KEY: &str = "virtual-devices";

/// The virtual devices of this process.
#[derive(Default)]
pub(crate) struct VirtualDevices {
    running: Mutex<Option<Simulation>>,
    ids: Mutex<BTreeSet<String>>,
    addresses: Mutex<Vec<String>>,
}

impl VirtualDevices {
    /// Starts devices that run the older sample, and puts both samples into the library. Devices
    /// of an earlier start go on with what is in their flash.
    pub(crate) async fn start(&self, airlift: &Airlift, count: u32) -> Result<(), Error> {
        if self.are_running() {
            return Ok(());
        }
        let shared = airlift.shared.clone();
        let simulation = blocking(move || start(&shared, count.clamp(1, MOST))).await?;
        let devices = simulation.devices();
        *lock(&self.ids) = devices.iter().map(|device| device.id.clone()).collect();
        *lock(&self.addresses) = devices
            .iter()
            .map(|device| device.address.to_string())
            .collect();
        *lock(&self.running) = Some(simulation);
        for device in &devices {
            airlift
                .shared
                .discovery
                .add_manual(&device.address.to_string())
                .await?;
        }
        Ok(())
    }

    /// Stops them and returns their ids.
    pub(crate) async fn stop(&self, shared: &Shared) -> Vec<String> {
        // The lock is let go before the wait.
        let running = lock(&self.running).take();
        if let Some(simulation) = running {
            // Waits for their threads.
            let _ = tokio::task::spawn_blocking(move || simulation.stop()).await;
        }
        for address in lock(&self.addresses).drain(..) {
            shared.discovery.remove_manual(&address);
        }
        std::mem::take(&mut *lock(&self.ids)).into_iter().collect()
    }

    pub(crate) fn are_running(&self) -> bool {
        lock(&self.running).is_some()
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        lock(&self.ids).contains(id)
    }
}

fn start(shared: &Shared, count: u32) -> Result<Simulation, Error> {
    let keys = shared.keys.list()?;
    if !keys.iter().any(|key| key.name == KEY && key.can_sign) {
        shared.keys.create(KEY, None)?;
    }
    let key = shared.keys.signing(KEY, None)?;
    // Of this folder alone: no other device is of this product, and none trusts this key.
    let product = format!("virtual-{}", key.id());
    let release = |sample: &Sample| -> Result<Release, Error> {
        let known = shared.library.list().into_iter();
        let same = |r: &crate::dto::Release| {
            r.product == product
                && r.sequence == sample.sequence
                && r.key_id == key.id().to_string()
        };
        if let Some(known) = known.into_iter().find(same) {
            return shared.library.open(&known.id, &[key.public()]);
        }
        let release = sample.pack(&product, crate::created(shared.clock.unix()), &key)?;
        shared.library.add(&release)?;
        Ok(release)
    };
    let old = release(&sample::OLD)?;
    release(&sample::NEW)?;
    let trust = KeySet::new(1, key.public(), &[key.public()])
        .ok_or_else(|| Error::Internal("a key set of one key".into()))?;
    let mut config = SimulationConfig::new(
        shared.home.virtual_devices(),
        count as usize,
        product,
        trust,
        Software::Release(Box::new(old)),
    );
    // Real flash times: an update takes as long as on a board, and can be watched.
    let mut settings = Settings::default();
    settings.timing = Timing::Typical;
    config.settings = settings;
    // They are added by address, so that nobody else on the network hears of them.
    config.announce = false;
    Simulation::start(&config).map_err(|e| Error::refused(e.code(), e.to_string()))
}
