//! One device, its host and its user on a network of their own.

use super::client::Client;
use super::host::ReleaseHost;
use super::network::{Interface, MemoryListener, Network};
use super::scheduler::{Scheduler, Stalled, TaskId, VirtualClock};
use crate::Error;
use crate::device::{Ending, Environment, VirtualDevice};
use crate::nor::{NorFlash, SharedNor};
use crate::seeded::Seeded;
use crate::settings::Settings;
use airlift_updater::device::{Identity, Info};
use airlift_wire::image;
use airlift_wire::state::{Cause, Text};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// Where the device listens.
pub const DEVICE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 80);
/// Where the host serves releases, at the port that a device takes when none is named.
pub const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7410);

/// Longest that anything on a bench may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A device on a bench: its flash, its power, and everything around it in one hand.
pub struct Bench {
    scheduler: Scheduler,
    network: Network,
    host: ReleaseHost,
    seed: u64,
    device: RefCell<Option<Mounted>>,
}

struct Mounted {
    nor: SharedNor,
    device: Rc<VirtualDevice<Desk>>,
    task: Option<TaskId>,
    ended: Rc<Cell<Option<Ending>>>,
    starts: Rc<Cell<u32>>,
}

impl Bench {
    /// A bench with a host and no device. `seed` decides everything that is drawn.
    pub fn new(seed: u64) -> Self {
        let scheduler = Scheduler::new();
        let network = Network::new(&scheduler);
        let host = ReleaseHost::new();
        host.start(&scheduler, &network, HOST);
        Self {
            scheduler,
            network,
            host,
            seed,
            device: RefCell::new(None),
        }
    }

    /// Puts a device with this flash on the bench and gives it power.
    ///
    /// # Errors
    /// [`Error::Nor`] for a size that no flash has.
    pub fn add_device(&self, flash: Vec<u8>, settings: Settings) -> Result<SharedNor, Error> {
        let nor = SharedNor::new(NorFlash::from_image(flash)?);
        self.mount(nor.clone(), settings);
        Ok(nor)
    }

    /// As [`Bench::add_device`], with a flash that others hold as well.
    pub fn mount(&self, nor: SharedNor, settings: Settings) {
        self.power_off();
        let identity = Identity {
            id: Text::new("c3-000000000001"),
            chip: image::chip_id("esp32c3").unwrap_or(5),
            flash_size: nor.size(),
        };
        let starts = Rc::new(Cell::new(0));
        let desk = Desk {
            scheduler: self.scheduler.clone(),
            network: self.network.clone(),
            seed: Rc::new(Cell::new(self.seed)),
            starts: Rc::clone(&starts),
        };
        let device = Rc::new(VirtualDevice::new(nor.clone(), identity, settings, desk));
        *self.device.borrow_mut() = Some(Mounted {
            nor,
            device,
            task: None,
            ended: Rc::default(),
            starts,
        });
        self.power_on();
    }

    /// Gives the device power, after a cut or [`Bench::power_off`].
    pub fn power_on(&self) {
        self.restart(Cause::PowerOn);
    }

    /// Starts the device as if `cause` had reset it.
    pub fn restart(&self, cause: Cause) {
        self.power_off();
        if let Some(mounted) = &mut *self.device.borrow_mut() {
            mounted.nor.power_on();
            mounted.ended.set(None);
            let (device, ended) = (Rc::clone(&mounted.device), Rc::clone(&mounted.ended));
            mounted.task = Some(self.scheduler.spawn(async move {
                ended.set(Some(device.run(cause).await));
            }));
        }
    }

    /// Takes the device's power away between two steps.
    pub fn power_off(&self) {
        if let Some(mounted) = &mut *self.device.borrow_mut() {
            if let Some(task) = mounted.task.take() {
                self.scheduler.abort(task);
            }
            mounted.nor.power_off();
        }
    }

    /// How the device ended; `None` while it runs.
    pub fn ended(&self) -> Option<Ending> {
        self.device.borrow().as_ref().and_then(|m| m.ended.get())
    }

    /// How often the updater of the device started.
    pub fn starts(&self) -> u32 {
        self.device.borrow().as_ref().map_or(0, |m| m.starts.get())
    }

    /// Changes how the device behaves, from its next start on.
    pub fn set_settings(&self, settings: Settings) {
        if let Some(mounted) = &*self.device.borrow() {
            mounted.device.set_settings(settings);
        }
    }

    /// Time and tasks.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The chunk server at [`HOST`].
    pub fn host(&self) -> &ReleaseHost {
        &self.host
    }

    /// A user of the device's API, at the host's address.
    pub fn client(&self) -> Client {
        Client::new(self.network.interface(HOST.ip()), DEVICE)
    }

    /// A user at another address.
    pub fn client_at(&self, ip: IpAddr) -> Client {
        Client::new(self.network.interface(ip), DEVICE)
    }

    /// Waits until the device answers, or until it has ended; whether it answers.
    pub async fn wait_until_up(&self) -> bool {
        loop {
            if self.client().get("/v1/device").await.is_ok() {
                return true;
            }
            if self.ended().is_some() {
                return false;
            }
            self.scheduler.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a script while the device runs; it starts when the device answers or has ended. At most
    /// an hour of virtual time.
    ///
    /// # Errors
    /// [`Stalled`].
    pub fn run<T>(&self, script: impl Future<Output = T>) -> Result<T, Stalled> {
        self.scheduler.run_for(PATIENCE, async {
            self.wait_until_up().await;
            script.await
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Tasks hold the scheduler that holds them.
        self.scheduler.abort_all();
    }
}

/// Where the device of a bench is.
struct Desk {
    scheduler: Scheduler,
    network: Network,
    seed: Rc<Cell<u64>>,
    starts: Rc<Cell<u32>>,
}

impl Environment for Desk {
    type Net = Interface;
    type Clock = VirtualClock;
    type Random = Seeded;
    type Listener = MemoryListener;

    fn net(&self) -> Interface {
        self.network.interface(DEVICE.ip())
    }

    fn clock(&self) -> VirtualClock {
        VirtualClock::start(&self.scheduler)
    }

    fn random(&self) -> Seeded {
        // Each start draws other numbers, as a device does.
        self.seed.set(self.seed.get().wrapping_add(1));
        Seeded::new(self.seed.get())
    }

    async fn listen(&self) -> MemoryListener {
        self.network.listen(DEVICE)
    }

    fn started(&self, _: &Info) {
        self.starts.set(self.starts.get() + 1);
    }
}
