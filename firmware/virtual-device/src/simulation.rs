//! Many virtual devices in one process, on this computer only.
//!
//! [`Simulation::start`] makes what is missing in a folder and starts the devices in it. Each has a
//! folder of its own:
//!
//! ```text
//! DIR/device-1/flash.bin     the whole flash; every erase and write is in the file at once
//! DIR/device-1/device.json   {"schema":1,"id":"c3-7cdfa1b2c3d4","name":"kitchen","port":49152}
//! ```
//!
//! A device that is there already is started as it is, with the product, keys and software in its
//! flash: to start anew, remove its folder. Devices listen and are announced on 127.0.0.1 and
//! nowhere else.

mod record;
mod runtime;

use crate::boot::Dead;
use crate::nor::{Counters, Durability, NorError, NorFlash, SECTOR_SIZE, SharedNor};
use crate::process::bind;
use crate::settings::Settings;
use crate::{Error, Factory};
use airlift_release::Release;
use airlift_updater::SlotId;
use airlift_wire::KeySet;
use airlift_wire::partition::TABLE_OFFSET;
use airlift_wire::state::Text;
use record::Record;
use runtime::{Command, Runtime, Start};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most devices of one simulation.
pub const MAX_DEVICES: usize = 1000;

/// What to simulate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimulationConfig {
    /// Folder of the devices; made if it is not there.
    pub dir: PathBuf,
    /// How many devices.
    pub count: usize,
    /// Product of devices that are made.
    pub product: String,
    /// Whom devices trust that are made.
    pub trust: KeySet,
    /// `chip_id`; what is in the image header.
    pub chip: u16,
    /// Bytes of flash.
    pub flash_size: usize,
    /// What is in devices that are made.
    pub software: Software,
    /// Whether devices that are made take a release only after a statement which one is the newest.
    pub require_fresh: bool,
    /// How all of them behave.
    pub settings: Settings,
    /// Whether they are announced with mDNS, on loopback.
    pub announce: bool,
}

/// What is in a device that is made.
#[derive(Clone, Debug)]
pub enum Software {
    /// An app that no release describes, in `factory`.
    App(Vec<u8>),
    /// A release, installed and confirmed in `factory`.
    Release(Box<Release>),
}

impl SimulationConfig {
    /// `count` devices in `dir` with the chip of an ESP32-C3 and 4 MiB of flash, announced.
    pub fn new(
        dir: impl Into<PathBuf>,
        count: usize,
        product: impl Into<String>,
        trust: KeySet,
        software: Software,
    ) -> Self {
        Self {
            dir: dir.into(),
            count,
            product: product.into(),
            trust,
            chip: 5,
            flash_size: NorFlash::SIZE_MIN,
            software,
            require_fresh: false,
            settings: Settings::default(),
            announce: true,
        }
    }
}

/// One device of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimulatedDevice {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its API listens.
    pub address: SocketAddr,
    /// The port that it had before, if that was taken: tell the user.
    pub moved_from: Option<u16>,
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not answered yet since its last start.
    Starting,
    /// It answers.
    Running,
    /// It has no power.
    Off,
    /// Nothing in its flash boots.
    Dead(Dead),
}

/// Devices that run until this is stopped or dropped.
pub struct Simulation {
    runtime: Runtime,
    devices: Vec<Arc<Mutex<Seat>>>,
    flashes: Vec<SharedNor>,
}

/// What is known of a device outside its thread.
struct Seat {
    record: Record,
    path: PathBuf,
    moved_from: Option<u16>,
    status: Status,
    settings: Settings,
}

impl Seat {
    /// A device listens elsewhere than before.
    fn set_port(&mut self, port: u16) {
        if self.record.port != port {
            self.moved_from = Some(self.record.port);
            self.record.port = port;
            if let Err(error) = self.record.save(&self.path) {
                tracing::warn!(%error, "a device has a port that it will not remember");
            }
        }
    }
}

fn lock(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulation {
    /// Makes the devices that are missing and starts all. Their ports are open when this returns;
    /// they answer after [`Settings::boot_ms`].
    ///
    /// # Errors
    /// [`Error`]; nothing runs then.
    pub fn start(config: &SimulationConfig) -> Result<Self, Error> {
        let count = config.count.min(MAX_DEVICES);
        let mut devices = Vec::with_capacity(count);
        let mut flashes = Vec::with_capacity(count);
        let mut starts = Vec::with_capacity(count);
        for n in 0..count {
            let dir = config.dir.join(format!("device-{}", n + 1));
            let io = |source| Error::Io {
                path: dir.clone(),
                source,
            };
            std::fs::create_dir_all(&dir).map_err(io)?;
            let path = dir.join("device.json");
            let (mut record, nor) = open(config, n, &dir, &path)?;
            let (listener, moved_from) = match bind(record.port) {
                Ok(listener) => (listener, None),
                Err(_) if record.port != 0 => (bind(0).map_err(no_port)?, Some(record.port)),
                Err(error) => return Err(no_port(error)),
            };
            record.port = listener.local_addr().map_err(no_port)?.port();
            record.save(&path)?;
            let nor = SharedNor::new(nor);
            let id = Text::new(&record.id);
            let seat = Arc::new(Mutex::new(Seat {
                record,
                path,
                moved_from,
                status: Status::Starting,
                settings: config.settings.clone(),
            }));
            starts.push(Start {
                seat: Arc::clone(&seat),
                nor: nor.clone(),
                id,
                chip: config.chip,
                listener: Some(listener),
            });
            devices.push(seat);
            flashes.push(nor);
        }
        let runtime = Runtime::start(starts, config.announce)?;
        Ok(Self {
            runtime,
            devices,
            flashes,
        })
    }

    /// The devices.
    pub fn devices(&self) -> Vec<SimulatedDevice> {
        let describe = |seat: &Arc<Mutex<Seat>>| {
            let seat = lock(seat);
            SimulatedDevice {
                id: seat.record.id.clone(),
                name: seat.record.name.clone(),
                address: (Ipv4Addr::LOCALHOST, seat.record.port).into(),
                moved_from: seat.moved_from,
            }
        };
        self.devices.iter().map(describe).collect()
    }

    /// What device `n`, counted from 0, does; `None` when there is none.
    pub fn status(&self, n: usize) -> Option<Status> {
        self.devices.get(n).map(|seat| lock(seat).status)
    }

    /// Cuts the power of device `n`, at once, and returns when it is off.
    pub fn kill(&self, n: usize) {
        // First the flash: whatever the device is doing, nothing more is written.
        if let Some(flash) = self.flashes.get(n) {
            flash.power_off();
            self.runtime.tell(|done| Command::Kill(n, done));
        }
    }

    /// Gives device `n` its power back; nothing happens if it has it.
    pub fn start_device(&self, n: usize) {
        if self.flashes.get(n).is_some() {
            self.runtime.tell(|done| Command::Start(n, done));
        }
    }

    /// How device `n` behaves from its next start on.
    pub fn set_settings(&self, n: usize, settings: Settings) {
        if let Some(seat) = self.devices.get(n) {
            lock(seat).settings = settings;
        }
        self.runtime.tell(|done| Command::Settings(n, done));
    }

    /// The flash of device `n`, for looking at it and for faults.
    pub fn flash(&self, n: usize) -> Option<SharedNor> {
        self.flashes.get(n).cloned()
    }

    /// A copy of the cells of device `n`.
    pub fn flash_image(&self, n: usize) -> Option<Vec<u8>> {
        self.flashes.get(n).map(SharedNor::snapshot)
    }

    /// How often the flash of device `n` was used since the simulation started.
    pub fn counters(&self, n: usize) -> Option<Counters> {
        self.flashes.get(n).map(SharedNor::counters)
    }

    /// Cuts the power of all devices and returns when they are off.
    pub fn stop(self) {
        drop(self);
    }
}

fn no_port(source: std::io::Error) -> Error {
    Error::System {
        what: "no port for a device",
        source,
    }
}

/// The device of a folder, made if there is none.
fn open(
    config: &SimulationConfig,
    n: usize,
    dir: &Path,
    path: &Path,
) -> Result<(Record, NorFlash), Error> {
    let record = match Record::load(path)? {
        Some(record) => record,
        None => Record::new(n)?,
    };
    let size = config.flash_size;
    let in_use = |error| match error {
        NorError::InUse => Error::InUse {
            path: config.dir.clone(),
        },
        other => Error::Nor(other),
    };
    let mut nor =
        NorFlash::open(&dir.join("flash.bin"), size, Durability::Process).map_err(in_use)?;
    let behind_table = TABLE_OFFSET + SECTOR_SIZE;
    let table = &nor.image()[TABLE_OFFSET as usize..behind_table as usize];
    if table.iter().all(|byte| *byte == 0xFF) {
        let mut factory = Factory::new(&config.product, &record.name, config.trust);
        factory.flash_size = size;
        factory.freshness_required = config.require_fresh;
        match &config.software {
            Software::App(app) => factory.app = Some(app),
            Software::Release(release) => factory.installed = Some((SlotId::Factory, release)),
        }
        let image = factory.build()?;
        // The partition table last: until it is there, the device is not made.
        let (start, rest) = image.split_at(behind_table as usize);
        nor.overwrite(behind_table, rest)?;
        nor.overwrite(0, start)?;
    }
    Ok((record, nor))
}
