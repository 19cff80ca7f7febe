//! A device: boot, guard, updater, API, restart, for ever.

use crate::boot::{self, Dead, Halt};
use crate::files::{self, ChipFiles};
use crate::flash::ChipFlash;
use crate::journal::{Board, Journal};
use crate::net::{FaultyNet, Medium};
use crate::nor::SharedNor;
use crate::pace::Pace;
use crate::power::Power;
use crate::settings::{Behaviour, BitErrors, CHECK_FAILED, NOT_READY, Settings};
use airlift_littlefs::Storage;
use airlift_updater::device::{
    Config, Device, Exit, Health, Identity, Info, Parts, Reach, Runner, Verdict, Watchdog,
};
use airlift_updater::guard::{self, Boot};
use airlift_updater::platform::{Clock, Connection, Net, Platform, Random};
use airlift_updater::store::{self, SlotRelease, Store};
use airlift_updater::{Buffers, Failure, Layout};
use airlift_wire::state::Cause;
use embassy_futures::join::join_array;
use embassy_futures::select::{Either, Either3, select, select3};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Connections that are answered at once, as many as a board answers.
const CONNECTIONS: usize = 4;
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

struct Check<C> {
    behaviour: Behaviour,
    journal: Journal,
    clock: C,
    /// What was logged last: it is asked again and again.
    said: &'static str,
}

impl<C: Clock> Check<C> {
    fn say(&mut self, what: &'static str) {
        if self.said != what {
            self.said = what;
            let now_ms = self.clock.now_ms();
            self.journal.info(now_ms, format_args!("check: {what}"));
        }
    }
}

impl<C: Clock> Health for Check<C> {
    fn network(&mut self) -> Reach {
        match self.behaviour {
            Behaviour::NoNetwork => Reach::NoAddress,
            // The port was opened before.
            _ => Reach::Listening,
        }
    }

    async fn check(&mut self) -> Verdict {
        match self.behaviour {
            Behaviour::FailsCheck => {
                self.say(CHECK_FAILED);
                Verdict::failed(CHECK_FAILED)
            }
            Behaviour::NeverReady => Verdict::not_yet(NOT_READY),
            Behaviour::NeverConfirms => std::future::pending().await,
            _ => {
                self.say("ready");
                Verdict::Ready
            }
        }
    }
}

/// A watchdog: when it was fed last, and nothing once it belongs to the application.
#[derive(Clone)]
struct Dog<C> {
    clock: C,
    fed_ms: Rc<Cell<Option<u64>>>,
}

impl<C: Clock> Dog<C> {
    fn armed(clock: C) -> Self {
        let fed_ms = Rc::new(Cell::new(Some(clock.now_ms())));
        Self { clock, fed_ms }
    }

    /// Nobody feeds it from now on, neither the updater nor the application.
    fn starve(&self) {
        if self.fed_ms.get().is_none() {
            self.fed_ms.set(Some(self.clock.now_ms()));
        }
    }

    /// Resolves when it was not fed for so long.
    async fn bites(&self, after_ms: u32) {
        while let Some(fed) = self.fed_ms.get() {
            let since = self.clock.now_ms().saturating_sub(fed);
            let left = u64::from(after_ms).saturating_sub(since);
            if left == 0 {
                return;
            }
            self.clock.sleep_ms(left as u32).await;
        }
        std::future::pending().await
    }
}

impl<C: Clock> Watchdog for Dog<C> {
    fn feed(&mut self) {
        self.fed_ms.set(Some(self.clock.now_ms()));
    }

    fn release(&mut self) {
        self.fed_ms.set(None);
    }
}

/// How long a program works that goes wrong later.
const LATER_MS: u32 = 1_000;

impl<E: Environment> VirtualDevice<E> {
    /// A device around a flash; see [`crate::Factory`] for what has to be in it.
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
        let journal = Journal::default();
        let (runs, after) = (layout.running.name(), cause.name());
        journal.info(
            clock.now_ms(),
            format_args!("{runs} runs after {after}: {boot:?}"),
        );
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
        let files = files::mount_powered(
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
            min_uptime_ms: settings.min_uptime_ms,
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
        let mut check = Check {
            behaviour,
            journal: journal.clone(),
            clock: clock.clone(),
            said: "",
        };
        let dog = Dog::armed(clock.clone());
        let mut feeder = dog.clone();
        if behaviour == Behaviour::NoNetwork {
            // Nobody reaches it, and nobody hears that it started.
            let exit = runner.run(&mut check, &mut feeder).await?;
            return Ok(restart_after(exit));
        }
        let listener = self.environment.listen().await;
        self.environment.started(&device.info());
        let id = self.identity.id.as_str();
        journal.info(clock.now_ms(), format_args!("{id} is ready"));
        let board = Board {
            reset: cause,
            journal,
        };
        let answering = async || -> Infallible {
            loop {
                let (connection, peer) = listener.accept().await;
                let mut connection = medium.incoming(connection);
                device
                    .serve_with(&mut connection, peer, &clock, &board)
                    .await;
            }
        };
        let serving = join_array::<_, CONNECTIONS>(std::array::from_fn(|_| answering()));
        let later = async {
            match behaviour {
                Behaviour::Blocks | Behaviour::PanicsLater => clock.sleep_ms(LATER_MS).await,
                _ => std::future::pending().await,
            }
        };
        let working = select(runner.run(&mut check, &mut feeder), serving);
        match select3(working, later, dog.bites(settings.watchdog_ms)).await {
            Either3::First(Either::First(exit)) => Ok(restart_after(exit?)),
            Either3::First(Either::Second([never, ..])) => match never {},
            Either3::Second(()) if behaviour == Behaviour::PanicsLater => {
                Ok(Ending::Restart(Cause::Panic))
            }
            Either3::Second(()) => {
                // Nothing but the watchdog runs any more.
                dog.starve();
                dog.bites(settings.watchdog_ms).await;
                Ok(Ending::Restart(Cause::Watchdog))
            }
            Either3::Third(()) => Ok(Ending::Restart(Cause::Watchdog)),
        }
    }
}

fn restart_after(exit: Exit) -> Ending {
    match exit {
        Exit::Switched(_) | Exit::WentBack => Ending::Restart(Cause::Software),
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
