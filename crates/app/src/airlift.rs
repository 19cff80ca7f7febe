//! The one door for fronts: every use case is a method of [`Airlift`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlift_discover::{Change, Config, DeviceId, DeviceInfo, Discovery, SeenDevice};
use airlift_release::SigningKey;
use airlift_serve::{PlainOffer, observer};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::devices;
use crate::dto::{self, ErrorInfo, Event, Numbered, Settings, Snapshot};
use crate::events::Events;
use crate::home::{Home, Instance};
use crate::job::driver::Live;
use crate::keys::Keys;
use crate::library::Library;
use crate::plain::PlainBoards;
use crate::server::ChunkServer;
use crate::simulate::VirtualDevices;
use crate::store::{Mended, Store, blocking};
use crate::usb::boards::Boards;
use crate::usb::driver::Usb;
use crate::usb::system::SystemBoards;
use crate::{Error, job::preflight};

mod build;
mod freshness;
mod keys;
mod notices;
mod plain;
mod rekey;
mod releases;
mod updates;
mod usb;
mod virtual_devices;
mod watch;

pub use build::Build;
pub use rekey::{NewKeys, Uses};
pub use releases::created;

/// How many devices are updated at once; more wait for their turn. A device takes its chunks as
/// fast as its flash can be written, so this bounds the network and not the devices.
pub const UPDATES_AT_ONCE: usize = 16;
/// How often what follows from many changes is done.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// How many ended jobs a snapshot carries.
const RECENT_JOBS: u32 = 50;

/// How an [`Airlift`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The folder that keeps everything, see [`Home::locate`].
    pub home: PathBuf,
    /// Whether devices are looked for with mDNS. Without it there are remembered and given ones.
    pub mdns: bool,
    /// Whether the devices of earlier runs are looked for.
    pub remembered: bool,
    /// Whether this is the window: it picks up jobs that an ended process left unfinished, listens
    /// before the first job, and notices what other processes change in the folder.
    pub stay: bool,
    /// How long a job waits for a device that went away before its turn. Without it, as long as it
    /// takes: the window shows that it waits, and a script must end.
    pub patience: Option<Duration>,
    /// Whether serial ports are listed and watched from the start.
    pub usb: bool,
}

/// [`Options::patience`] of a command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

impl Options {
    /// What the window uses, on this folder.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            mdns: true,
            remembered: true,
            stay: true,
            patience: None,
            usb: true,
        }
    }

    /// What one command on a command line uses, on this folder.
    pub fn command(home: impl Into<PathBuf>) -> Self {
        Self {
            stay: false,
            patience: Some(COMMAND_PATIENCE),
            usb: false,
            ..Self::new(home)
        }
    }
}

/// A running Airlift on one folder. Cheap to clone; must live inside a tokio runtime.
#[derive(Clone)]
pub struct Airlift {
    pub(crate) shared: Arc<Shared>,
}

/// A line of progress as a device sent it.
#[derive(Clone, Debug)]
pub struct RawLine {
    /// Job.
    pub job: u32,
    /// Device id.
    pub device: String,
    /// The JSON object.
    pub line: serde_json::Value,
}

/// What all parts of a running Airlift share.
pub(crate) struct Shared {
    pub(crate) home: Home,
    pub(crate) instance: Instance,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) library: Library,
    pub(crate) keys: Keys,
    pub(crate) server: Arc<ChunkServer>,
    plain_offer: PlainOffer,
    plain: Mutex<PlainBoards>,
    /// The boards of the plain protocol as they were told last.
    told_plain: Mutex<dto::Plain>,
    pub(crate) discovery: Discovery,
    pub(crate) events: Events,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) virtual_devices: VirtualDevices,
    pub(crate) usb: Arc<Usb>,
    pub(crate) jobs: Mutex<BTreeMap<u32, Arc<Live>>>,
    settings: Mutex<Settings>,
    /// The ids of all keys, so that a device that changes costs no look into a folder.
    key_ids: Mutex<Arc<BTreeSet<String>>>,
    /// The ids of the keys that can sign now, without a passphrase.
    signer_ids: Mutex<Arc<BTreeSet<String>>>,
    /// Keys that were opened with their passphrase, by id; gone with this process.
    unlocked: Mutex<BTreeMap<String, Arc<SigningKey>>>,
    /// The releases as they were told last.
    told_releases: Mutex<Vec<dto::Release>>,
    /// Devices that changed and are to be stored, by id.
    to_remember: Mutex<BTreeMap<String, SeenDevice>>,
    /// Whether a device changed, and with it perhaps what runs where.
    may_run_another: AtomicBool,
    /// Jobs that ended because their device was not seen again, by device.
    missing: Mutex<BTreeMap<String, u32>>,
    taps: Mutex<Vec<mpsc::UnboundedSender<RawLine>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// What was found damaged when the folder was opened.
    notices: Vec<ErrorInfo>,
    stay: bool,
    pub(crate) patience: Option<Duration>,
}

impl Airlift {
    /// Opens the folder and starts looking for devices.
    ///
    /// # Errors
    /// `io` and `database`, when the folder or its database cannot be used.
    pub async fn open(options: Options) -> Result<Self, Error> {
        Self::open_with(options, Arc::new(SystemBoards::default())).await
    }

    /// As [`Airlift::open`], with other boards than those on serial ports.
    pub(crate) async fn open_with(
        options: Options,
        boards: Arc<dyn Boards>,
    ) -> Result<Self, Error> {
        let clock = Clock::system();
        let root = options.home.clone();
        let (home, instance) = blocking(move || {
            let home = Home::open(&root)?;
            let instance = Instance::start(&home)?;
            Ok((home, instance))
        })
        .await?;
        let (store, mended) = Store::open(&home).await?;
        let mut notices: Vec<ErrorInfo> = mended.iter().map(Mended::notice).collect();
        let settings = match store.settings().await {
            Err(error) if error.is_unreadable_row() => {
                notices.push(notices::settings());
                None
            }
            settings => settings?,
        };
        let settings = settings.unwrap_or_else(default_settings);
        let remembered = if options.remembered {
            store.remembered().await?
        } else {
            Vec::new()
        };
        let discovery = Discovery::start(Config {
            mdns: options.mdns,
            remembered,
            ..Config::default()
        });
        let missing = store.not_seen_again().await?.into_iter().collect();
        let events = Events::default();
        let (plain_observer, plain_heard) = observer(plain::REPORTS);
        let plain_offer = PlainOffer::observed(plain_observer);
        let (library, keys) = (Library::new(&home), Keys::new(home.clone()));
        let (library, keys, damaged) = blocking(move || {
            library.refresh(&keys.trusted()?)?;
            let mut damaged = library.damaged();
            damaged.extend(keys.damaged()?);
            Ok((library, keys, damaged))
        })
        .await?;
        notices.extend(
            damaged
                .iter()
                .map(|(path, error)| notices::file(path, error)),
        );
        let shared = Arc::new(Shared {
            library,
            keys,
            server: Arc::new(ChunkServer::new(events.clone(), plain_offer.clone())),
            plain_offer,
            plain: Mutex::default(),
            told_plain: Mutex::default(),
            virtual_devices: VirtualDevices::default(),
            usb: Arc::new(Usb::new(boards, clock)),
            home,
            instance,
            clock,
            store,
            discovery,
            events,
            turns: Arc::new(Semaphore::new(UPDATES_AT_ONCE)),
            jobs: Mutex::default(),
            settings: Mutex::new(settings),
            key_ids: Mutex::default(),
            signer_ids: Mutex::default(),
            unlocked: Mutex::default(),
            told_releases: Mutex::default(),
            to_remember: Mutex::default(),
            may_run_another: AtomicBool::new(false),
            missing: Mutex::new(missing),
            taps: Mutex::default(),
            tasks: Mutex::default(),
            notices,
            stay: options.stay,
            patience: options.patience,
        });
        shared.read_keys().await?;
        let this = Self { shared };
        this.follow_devices();
        this.settle_now_and_then();
        this.follow_usb();
        this.follow_plain(plain_heard);
        if options.usb
            && let Err(e) = this.usb_look().await
        {
            tracing::warn!("serial ports cannot be listed: {e}");
        }
        if options.stay {
            this.follow_home();
            this.pick_up_jobs().await?;
        }
        Ok(this)
    }

    /// Stops everything that runs here. Jobs that have not ended can be picked up by the next
    /// start; devices go on by themselves.
    pub async fn close(&self) {
        self.shared.usb.stop().await;
        let tasks = std::mem::take(&mut *lock(&self.shared.tasks));
        for task in tasks {
            task.abort();
            // Its end is what matters, and it was asked for.
            let _ = task.await;
        }
        // What was heard last may not have been followed yet.
        for seen in self.shared.discovery.devices() {
            if seen.online && !self.shared.virtual_devices.has(seen.id.as_str()) {
                lock(&self.shared.to_remember).insert(seen.id.to_string(), seen);
            }
        }
        self.shared.virtual_devices.stop(&self.shared).await;
        self.shared.server.stop().await;
        self.shared.settle().await;
        self.shared.instance.end();
    }

    /// Events from now on. Subscribe before asking for the snapshot, so that nothing falls between
    /// the two.
    pub fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.shared.events.subscribe()
    }

    /// Everything a window needs at its start or after a reload.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let shared = &self.shared;
        let seq = shared.events.seq();
        let mut jobs: Vec<dto::Job> = shared.store.recent(RECENT_JOBS).await?;
        let now = shared.clock.monotonic();
        let live: Vec<_> = lock(&shared.jobs).values().cloned().collect();
        let live: Vec<_> = live.iter().map(|live| live.state().view(now)).collect();
        jobs.retain(|job| live.iter().all(|other| other.id != job.id));
        jobs.extend(live);
        jobs.sort_by_key(|job| job.id);
        let keys = self.keys().await?;
        Ok(Snapshot {
            seq,
            devices: shared.devices(),
            releases: shared.releases(),
            jobs,
            keys,
            server: shared.server.view(),
            settings: shared.settings(),
            virtual_devices: shared.virtual_devices.are_running(),
            usb_ports: self.usb_ports(),
            plain: lock(&shared.plain).view(shared.clock.unix()),
            notices: shared.notices.clone(),
        })
    }

    /// What was found damaged when the folder was opened, and what became of it. Nothing of it keeps
    /// Airlift from working; the user wants to know.
    pub fn notices(&self) -> &[ErrorInfo] {
        &self.shared.notices
    }

    /// Every known device.
    pub fn devices(&self) -> Vec<dto::Device> {
        self.shared.devices()
    }

    /// Every line that devices send from now on, in order and none lost: for `--json`.
    pub fn raw_lines(&self) -> mpsc::UnboundedReceiver<RawLine> {
        let (sender, receiver) = mpsc::unbounded_channel();
        lock(&self.shared.taps).push(sender);
        receiver
    }

    /// Follows the devices: tells about them, remembers them, listens where they can be reached.
    fn follow_devices(&self) {
        let shared = self.shared.clone();
        let mut changes = shared.discovery.subscribe();
        self.spawn(async move {
            loop {
                match changes.recv().await {
                    Ok(change) => shared.device_changed(&change).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        for seen in shared.discovery.devices() {
                            shared.device_changed(&Change::Changed(seen)).await;
                        }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    /// Does what follows from many changes at once, not for each of them: a thousand devices that
    /// appear together are one transaction and one event of the library.
    fn settle_now_and_then(&self) {
        let shared = self.shared.clone();
        self.spawn(async move {
            let mut tick = interval(SETTLE_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                shared.settle().await;
            }
        });
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.shared.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task));
    }
}

impl Shared {
    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// Passes a device's line on to whoever wants them as they are.
    pub(crate) fn tap(&self, job: u32, device: &str, line: &[u8]) {
        let mut taps = lock(&self.taps);
        if taps.is_empty() {
            return;
        }
        let Ok(line) = serde_json::from_slice(line) else {
            return;
        };
        let line = RawLine {
            job,
            device: device.to_owned(),
            line,
        };
        taps.retain(|tap| tap.send(line.clone()).is_ok());
    }

    /// All devices as the window sees them.
    pub(crate) fn devices(&self) -> Vec<dto::Device> {
        let keys = self.key_ids();
        self.discovery
            .devices()
            .iter()
            .map(|seen| self.device_view(seen, &keys))
            .collect()
    }

    pub(crate) fn device(&self, id: &str) -> Option<dto::Device> {
        let seen = self.discovery.device(id)?;
        Some(self.device_view(&seen, &self.key_ids()))
    }

    fn device_view(&self, seen: &SeenDevice, keys: &Arc<BTreeSet<String>>) -> dto::Device {
        let id = seen.id.as_str();
        let context = devices::Context {
            keys: keys.clone(),
            signers: self.signer_ids(),
            job: self.job_on(id),
            simulated: self.virtual_devices.has(id),
        };
        let mut view = devices::view(seen, &context);
        if let Some(offer) = &seen.info.stale_offer {
            view.stale_offer = Some(devices::stale_offer(offer, seen, &self.library.list()));
        }
        view
    }

    /// The job of this process that runs on a device.
    pub(crate) fn job_on(&self, device: &str) -> Option<u32> {
        let jobs = lock(&self.jobs);
        jobs.values()
            .find(|live| live.device == device && !live.is_over())
            .map(|live| live.id)
    }

    /// Keys that a device should trust for its Update button to make sense: those that can sign
    /// here, and those whose releases are accepted. As of [`Shared::read_keys`].
    fn key_ids(&self) -> Arc<BTreeSet<String>> {
        lock(&self.key_ids).clone()
    }

    /// Keys that can state now which release is the newest. As of [`Shared::read_keys`].
    fn signer_ids(&self) -> Arc<BTreeSet<String>> {
        lock(&self.signer_ids).clone()
    }

    /// Reads the keys from their folders.
    pub(crate) async fn read_keys(self: &Arc<Self>) -> Result<Vec<dto::Key>, Error> {
        let shared = self.clone();
        let keys = blocking(move || shared.keys.list()).await?;
        *lock(&self.key_ids) = Arc::new(keys.iter().map(|key| key.id.clone()).collect());
        let open = keys
            .iter()
            .filter(|key| key.can_sign && !key.needs_passphrase);
        let open = open.map(|key| key.id.clone());
        let unlocked: Vec<_> = lock(&self.unlocked).keys().cloned().collect();
        *lock(&self.signer_ids) = Arc::new(open.chain(unlocked).collect());
        Ok(keys)
    }

    pub(crate) fn tell_device(&self, id: &str) {
        if let Some(device) = self.device(id) {
            self.events.send(Event::Device(device));
        }
    }

    async fn device_changed(&self, change: &Change) {
        let seen = match change {
            Change::Forgotten(id) => {
                self.events.send(Event::DeviceForgotten(id.to_string()));
                return;
            }
            Change::Appeared(seen) | Change::Changed(seen) | Change::Gone(seen) => seen,
        };
        self.tell_device(seen.id.as_str());
        self.may_run_another.store(true, Ordering::Relaxed);
        if !self.virtual_devices.has(seen.id.as_str()) {
            lock(&self.to_remember).insert(seen.id.to_string(), seen.clone());
        }
        if !seen.online {
            return;
        }
        self.device_proves_plain(seen);
        if let (true, Some(local)) = (self.stay, seen.local_addr) {
            // A listener that is open before the first update shows its address, and its error.
            if let Err(e) = self.server.ensure(local, &self.settings()) {
                tracing::warn!("{e}");
            }
        }
        let missed = lock(&self.missing).remove(seen.id.as_str());
        if let Some(job) = missed {
            let version = seen
                .info
                .running
                .version
                .as_deref()
                .unwrap_or("an unknown version");
            let note = format!("It came back later, running {version}.");
            if let Err(e) = self.store.add_note(job, &note).await {
                tracing::warn!("{e}");
            }
        }
    }

    /// Stores the devices that changed, and tells what runs where if that changed.
    async fn settle(&self) {
        let devices = std::mem::take(&mut *lock(&self.to_remember));
        if !devices.is_empty()
            && let Err(e) = self.store.remember(devices.into_values().collect()).await
        {
            tracing::warn!("{e}");
        }
        if self.may_run_another.swap(false, Ordering::Relaxed) {
            self.releases_told_if_changed();
        }
        self.tell_plain();
    }

    /// A job of this process has ended and is stored.
    pub(crate) fn job_ended(&self, live: &Live, not_seen_again: bool) {
        if not_seen_again {
            lock(&self.missing).insert(live.device.clone(), live.id);
        }
        self.tell_device(&live.device);
    }

    /// The library as the window sees it.
    pub(crate) fn releases(&self) -> Vec<dto::Release> {
        let mut running: BTreeMap<String, Vec<(String, DeviceInfo)>> = BTreeMap::new();
        for seen in self.discovery.devices() {
            let product = seen.info.product.clone();
            running
                .entry(product)
                .or_default()
                .push((seen.id.to_string(), seen.info));
        }
        let mut releases = self.library.list();
        for release in &mut releases {
            let of_product = running.get(&release.product).into_iter().flatten();
            let current = of_product.filter(|(_, info)| preflight::is_current(release, info));
            release.running_on = current.map(|(id, _)| id.clone()).collect();
        }
        releases
    }

    /// Reads the library's folder; true when it has changed.
    pub(crate) async fn refresh_library(self: &Arc<Self>) -> Result<bool, Error> {
        let shared = self.clone();
        blocking(move || shared.library.refresh(&shared.keys.trusted()?)).await
    }
}

pub(crate) fn default_settings() -> Settings {
    Settings {
        theme: "system".into(),
        port: airlift_serve::DEFAULT_PORT,
        interfaces: Vec::new(),
        notify: true,
    }
}

pub(crate) fn device_id(id: &str) -> Result<DeviceId, Error> {
    id.parse().map_err(|_| Error::NoSuchDevice(id.to_owned()))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing inside is left half-changed where a panic could come.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
