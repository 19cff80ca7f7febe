//! A device: boot, guard, updater, API, restart, for ever.

use crate::boot::{self, Dead, Halt};
use crate::files::ChipFiles;
use crate::flash::ChipFlash;
use crate::net::{FaultyNet, Medium};
use crate::nor::SharedNor;
use crate::pace::Pace;
use crate::power::Power;
use crate::settings::{Behaviour, BitErrors, Settings};
use airlift_littlefs::Storage;
use airlift_updater::device::{Config, Device, Exit, Health, Identity, Info, Parts, Runner};
use airlift_updater::guard::{self, Boot};
use airlift_updater::platform::{Clock, Connection, Net, Platform, Random};
use airlift_updater::store::{self, SlotRelease, Store};
use airlift_updater::{Buffers, Failure, Layout};
use airlift_wire::state::Cause;
use embassy_futures::join::join_array;
use embassy_futures::select::{Either, select};
use std::cell::RefCell;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Connections that are answered at once: all that may watch an update, and two that ask.
const CONNECTIONS: usize = airlift_updater::device::MAX_WATCHERS + 2;
/// Bytes of memory that a device says are free: about what an ESP32-C3 with Wi-Fi has.
const FREE_MEMORY: u32 = 180_000;
/// Memory of the boot guard.
const GUARD_SCRATCH: usize = 8192;
/// How long a device waits that cannot go on, before it tries from the start.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Where a device is: everything that is not inside its case.
pub trait Environment {
    /// Outgoing connections.
    type Net: Net;
    /// Time since the device started.
    type Clock: Clock + Pace + Clone;
    /// Randomness.
    type Random: Random;
    /// Accepts connections to the API.
    type Listener: Listener;

    /// The way to the network.
    fn net(&self) -> Self::Net;
    /// A clock that starts now.
    fn clock(&self) -> Self::Clock;
    /// Randomness.
    fn random(&self) -> Self::Random;
    /// Opens the port of the API; the port is the same after each restart if it can be had.
    async fn listen(&self) -> Self::Listener;
    /// The updater runs and says this about the device.
    fn started(&self, info: &Info);
}

/// Accepts connections. Dropping it closes the port.
pub trait Listener {
    /// A connection.
    type Connection: Connection;
    /// Waits for the next connection; several callers may wait at once.
    async fn accept(&self) -> (Self::Connection, SocketAddr);
}

/// How one life of a device ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It restarts, for this reason.
    Restart(Cause),
    /// The updater could not go on; it restarts.
    Fault(Failure),
    /// Its power went.
    PowerLost,
    /// Nothing boots.
    Dead(Dead),
}

/// A device and where it is.
pub struct VirtualDevice<E> {
    nor: SharedNor,
    identity: Identity,
    settings: Rc<RefCell<Settings>>,
    environment: E,
}

struct Hardware<'s, E>(PhantomData<(&'s (), E)>);

impl<'s, E: Environment> Platform for Hardware<'s, E> {
    type Flash = ChipFlash<E::Clock>;
    type Files = ChipFiles<'s, E::Clock>;
    type Net = FaultyNet<E::Net, E::Clock>;
    type Clock = E::Clock;
    type Random = E::Random;
}

struct Check(Behaviour);

impl Health for Check {
    async fn ready(&mut self) -> Result<(), Cause> {
        match self.0 {
            Behaviour::FailsCheck => Err(Cause::HealthCheck),
            Behaviour::NeverConfirms => std::future::pending().await,
            // The API listens: the port was opened before.
            Behaviour::Normal | Behaviour::Hangs | Behaviour::Panics => Ok(()),
        }
    }
}

impl<E: Environment> VirtualDevice<E> {
    /// A device around a flash; see [`crate::factory`] for what has to be in it.
    pub fn new(nor: SharedNor, identity: Identity, settings: Settings, environment: E) -> Self {
        {
            let mut flash = nor.lock();
            for (offset, bad) in &settings.bad_sectors {
                flash.set_bad(*offset, *bad);
            }
            if settings.bit_errors_ppm > 0 {
                flash.set_hook(BitErrors::new(settings.seed, settings.bit_errors_ppm));
            }
        }
        Self {
            nor,
            identity,
            settings: Rc::new(RefCell::new(settings)),
            environment,
        }
    }

    /// Its flash.
    pub fn nor(&self) -> &SharedNor {
        &self.nor
    }

    /// Settings that count from the next start on.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.borrow_mut() = settings;
    }

    /// Lives until its power goes or nothing boots any more. `first` says why it starts.
    pub async fn run(&self, first: Cause) -> Ending {
        let mut cause = first;
        loop {
            match self.live(cause).await {
                Ending::Restart(why) => cause = why,
                Ending::Fault(failure) => {
                    tracing::warn!(device = self.identity.id.as_str(), %failure, "restarts");
                    self.environment.clock().pause(FAULT_PAUSE).await;
                    cause = Cause::Panic;
                }
                end @ (Ending::PowerLost | Ending::Dead(_)) => return end,
            }
        }
    }

    /// One life, from the bootloader to the next restart.
    pub async fn live(&self, cause: Cause) -> Ending {
        let power = Power::default();
        let settings = self.settings.borrow().clone();
        // The program first: what it finds out about the power is seen in the same step.
        match select(
            Box::pin(self.program(cause, settings, &power)),
            power.lost(),
        )
        .await
        {
            Either::First(Ok(end)) => end,
            Either::First(Err(failure)) => Ending::Fault(failure),
            Either::Second(()) => Ending::PowerLost,
        }
    }

    async fn program(
        &self,
        cause: Cause,
        settings: Settings,
        power: &Power,
    ) -> Result<Ending, Failure> {
        let Settings {
            timing, bootloader, ..
        } = settings;
        let clock = self.environment.clock();
        clock
            .pause(Duration::from_millis(settings.boot_ms.into()))
            .await;
        let slot = match boot::boot(&self.nor, bootloader, self.identity.chip) {
            Ok(slot) => slot,
            Err(Halt::Dead(reason)) => return Ok(Ending::Dead(reason)),
            Err(Halt::PowerLost) => return Ok(Ending::PowerLost),
        };
        let mut flash = ChipFlash::powered(self.nor.clone(), timing, clock.clone(), power.clone());
        let mut scratch = vec![0; GUARD_SCRATCH];
        let size = self.nor.size();
        let layout = Layout::load(&mut flash, size, slot, &mut scratch).await?;
        let boot = guard::run(&mut flash, &layout, cause, &mut scratch).await?;
        let mut behaviour = Behaviour::Normal;
        match boot {
            Boot::GoBack => return Ok(Ending::Restart(Cause::Software)),
            Boot::Confirmed => {}
            Boot::Trial { .. } => {
                let release = running_release(&mut flash, &layout, &mut scratch).await?;
                if let Some(SlotRelease {
                    version, sequence, ..
                }) = release
                {
                    behaviour = settings.behaviour(version.as_str(), sequence);
                }
            }
        }
        match behaviour {
            Behaviour::Panics => return Ok(Ending::Restart(Cause::Panic)),
            Behaviour::Hangs => {
                clock.sleep_ms(settings.watchdog_ms).await;
                return Ok(Ending::Restart(Cause::Watchdog));
            }
            _ => {}
        }
        let mut storage = Box::new(Storage::new());
        let files = ChipFiles::mount_powered(
            &mut storage,
            self.nor.clone(),
            layout.vfs,
            timing,
            clock.clone(),
            power.clone(),
        );
        let medium = Medium::new(settings.network, settings.seed, clock.clone());
        let net = FaultyNet {
            inner: self.environment.net(),
            medium: medium.clone(),
        };
        let parts: Parts<Hardware<'_, E>> = Parts {
            flash,
            files,
            net,
            clock: clock.clone(),
            random: self.environment.random(),
        };
        let config = Config {
            confirm_ms: settings.confirm_ms,
        };
        let device = Box::new(Device::new());
        let mut buffers = Box::new(Buffers::new());
        let mut runner = Runner::start(
            &device,
            self.identity,
            config,
            parts,
            layout,
            boot,
            &mut buffers,
        )
        .await?;
        let listener = self.environment.listen().await;
        self.environment.started(&device.info());
        let answering = async || -> Infallible {
            loop {
                let (connection, peer) = listener.accept().await;
                let mut connection = medium.incoming(connection);
                device
                    .serve(&mut connection, peer, &clock, FREE_MEMORY)
                    .await;
            }
        };
        let serving = join_array::<_, CONNECTIONS>(std::array::from_fn(|_| answering()));
        let mut check = Check(behaviour);
        match select(runner.run(&mut check), serving).await {
            Either::First(exit) => match exit? {
                Exit::Switched(_) | Exit::WentBack => Ok(Ending::Restart(Cause::Software)),
            },
            Either::Second([never, ..]) => match never {},
        }
    }
}

async fn running_release<C: Pace>(
    flash: &mut ChipFlash<C>,
    layout: &Layout,
    scratch: &mut [u8],
) -> Result<Option<SlotRelease>, Failure> {
    let store = Store::load(flash, layout).await?;
    let (keys, n) = store.keys();
    let (envelope, scratch) = scratch.split_at_mut(GUARD_SCRATCH / 2);
    let running =
        store::read_verified(flash, layout, layout.running, &keys[..n], envelope, scratch).await?;
    Ok(running.and_then(|verified| SlotRelease::of(&verified)))
}
