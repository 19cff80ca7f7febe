//! The driver: the table, with a clock, a network and listeners.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

use crate::browse::Browse;
use crate::interfaces::{Interfaces, Network};
use crate::probe::probe;
use crate::table::{Effect, Input, MAX_ADDRESSES, ProbeToken, Table};
use crate::{Change, DeviceId, DeviceInfo, Error, SeenDevice, Unanswered};

/// How often the host's interfaces are looked at. mDNS daemons do not find their way back after an
/// interface went down and up, so the daemon is replaced then.
pub const INTERFACE_POLL: Duration = Duration::from_secs(3);
/// How often the names among the manual addresses are looked up again, and mDNS is started again
/// where it could not be.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The most addresses a user may give.
pub const MAX_MANUAL: usize = 256;
/// The longest text of a manual address, in bytes.
pub const MAX_MANUAL_TEXT: usize = 300;

/// How long a name may take to be looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many changes a listener may lag behind before it misses some.
const CHANGES: usize = 1024;

/// Where to look.
#[derive(Debug, Clone)]
pub struct Config {
    /// The interfaces to listen on.
    pub interfaces: Interfaces,
    /// Whether to listen for announcements. Without them there are the addresses below.
    pub mdns: bool,
    /// The devices known from earlier runs.
    pub remembered: Vec<Remembered>,
    /// Addresses the user gave, each a `HOST:PORT`. One that cannot be looked up is tried again.
    pub manual: Vec<String>,
    /// Decides the jitter of the probes.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::All,
            mdns: true,
            remembered: Vec::new(),
            manual: Vec::new(),
            seed: RandomState::new().hash_one(0),
        }
    }
}

/// A device known from an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Who it is.
    pub id: DeviceId,
    /// What it said last; without it the device is listed once it answers.
    pub info: Option<DeviceInfo>,
    /// Where it was, best first.
    pub addresses: Vec<SocketAddr>,
    /// When it answered last, in Unix seconds.
    pub last_seen_unix: Option<u64>,
}

/// A running search for devices. It stops when this is dropped.
///
/// To follow the devices without missing a change: [`subscribe`](Self::subscribe) first, then take
/// [`devices`](Self::devices), then read the changes; on `RecvError::Lagged` take `devices` again.
pub struct Discovery {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    interfaces: Interfaces,
    origin: Instant,
    table: Mutex<Table>,
    manual: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    mdns_error: Mutex<Option<Error>>,
    changes: broadcast::Sender<Change>,
    control: mpsc::UnboundedSender<Control>,
}

enum Control {
    Probe {
        token: ProbeToken,
        addr: SocketAddr,
    },
    /// The time of the next wake may have changed.
    Wake,
    Rescan,
}

impl Discovery {
    /// Starts looking. mDNS that does not work is no error: see [`mdns_error`](Self::mdns_error).
    ///
    /// Must be called within a tokio runtime with time and I/O.
    pub fn start(config: Config) -> Self {
        let Config {
            interfaces,
            mdns,
            remembered,
            manual,
            seed,
        } = config;
        let (control, inbox) = mpsc::unbounded_channel();
        let manual = manual
            .into_iter()
            .filter(|text| text.len() <= MAX_MANUAL_TEXT);
        let shared = Arc::new(Shared {
            interfaces,
            origin: Instant::now(),
            table: Mutex::new(Table::new(seed)),
            manual: Mutex::new(
                manual
                    .take(MAX_MANUAL)
                    .map(|text| (text, Vec::new()))
                    .collect(),
            ),
            mdns_error: Mutex::new(None),
            changes: broadcast::Sender::new(CHANGES),
            control,
        });
        for Remembered {
            id,
            info,
            mut addresses,
            last_seen_unix,
        } in remembered
        {
            addresses.retain(|addr| shared.interfaces.permits(addr.ip()));
            let info = info.map(Box::new);
            shared.apply(Input::Remembered {
                id,
                info,
                addresses,
                last_seen_unix,
            });
        }
        let task = tokio::spawn(run(shared.clone(), inbox, mdns));
        Self { shared, task }
    }

    /// Every device that ever answered, by id, online or not.
    pub fn devices(&self) -> Vec<SeenDevice> {
        self.shared.table().devices()
    }

    /// One of them.
    pub fn device(&self, id: &str) -> Option<SeenDevice> {
        self.shared.table().device(id)
    }

    /// The addresses at which no device answers, and why.
    pub fn unanswered(&self) -> Vec<Unanswered> {
        self.shared.table().unanswered()
    }

    /// Every change from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// Why announcements cannot be heard, if they cannot.
    pub fn mdns_error(&self) -> Option<Error> {
        lock(&self.shared.mdns_error).clone()
    }

    /// Adds a `HOST:PORT` and probes where it leads. Names are looked up again from time to time.
    ///
    /// # Errors
    /// [`Error::BadAddress`] when it is none or the name is not known, [`Error::Full`] when there are
    /// [`MAX_MANUAL`] already. That nothing answers there is no error.
    pub async fn add_manual(&self, text: &str) -> Result<Vec<SocketAddr>, Error> {
        let found = resolve(text, &self.shared.interfaces).await?;
        {
            let mut manual = lock(&self.shared.manual);
            if !manual.contains_key(text) && manual.len() >= MAX_MANUAL {
                return Err(Error::Full {
                    what: "addresses",
                    limit: MAX_MANUAL,
                });
            }
            manual.entry(text.to_owned()).or_default();
        }
        self.shared.resolved(text, found.clone());
        Ok(found)
    }

    /// Takes a `HOST:PORT` back. What answered there stays a device.
    pub fn remove_manual(&self, text: &str) {
        let mut manual = lock(&self.shared.manual);
        let gone = manual.remove(text).unwrap_or_default();
        let still: BTreeSet<SocketAddr> = manual.values().flatten().copied().collect();
        drop(manual);
        for addr in gone.into_iter().filter(|addr| !still.contains(addr)) {
            self.shared.apply(Input::RemoveManual(addr));
        }
    }

    /// Drops a device and the addresses it was remembered at or given by the user for. One that is still
    /// announced and answers comes back.
    pub fn forget(&self, id: &DeviceId) {
        if let Some(device) = self.device(id.as_str()) {
            let here =
                |found: &Vec<SocketAddr>| found.iter().any(|addr| device.addresses.contains(addr));
            lock(&self.shared.manual).retain(|_, found| !here(found));
        }
        self.shared.apply(Input::Forget(id.clone()));
    }

    /// Probes a device now.
    pub fn probe_now(&self, id: &DeviceId) {
        self.shared.apply(Input::ProbeNow(id.clone()));
    }

    /// Listens from the start again and probes everything that is known.
    pub fn rescan(&self) {
        self.shared.send(Control::Rescan);
    }

    /// Stops, and waits until nothing runs any more.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    fn send(&self, control: Control) {
        // The task is gone only when this is being dropped.
        let _ = self.control.send(control);
    }

    fn apply(&self, input: Input) {
        let mut table = self.table();
        for effect in table.handle(input, self.origin.elapsed()) {
            match effect {
                Effect::Probe { token, addr } => self.send(Control::Probe { token, addr }),
                // Under the lock, so that the changes come in the order in which they happened.
                // Nobody listening is fine.
                Effect::Change(change) => drop(self.changes.send(*change)),
            }
        }
        drop(table);
        self.send(Control::Wake);
    }

    /// Notes where a manual address leads now.
    fn resolved(&self, text: &str, found: Vec<SocketAddr>) {
        let mut manual = lock(&self.manual);
        let Some(known) = manual.get_mut(text) else {
            return;
        };
        let before = std::mem::replace(known, found.clone());
        let still: BTreeSet<SocketAddr> = manual.values().flatten().copied().collect();
        drop(manual);
        for addr in found.into_iter().filter(|addr| !before.contains(addr)) {
            self.apply(Input::Manual(addr));
        }
        for addr in before.into_iter().filter(|addr| !still.contains(addr)) {
            self.apply(Input::RemoveManual(addr));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is left whole at every point where a panic could come.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks up a `HOST:PORT`.
async fn resolve(text: &str, interfaces: &Interfaces) -> Result<Vec<SocketAddr>, Error> {
    let bad = |reason: &str| Error::BadAddress {
        text: text.into(),
        reason: reason.into(),
    };
    if text.len() > MAX_MANUAL_TEXT {
        let text = text.chars().take(32).collect();
        return Err(Error::BadAddress {
            text,
            reason: "it is too long".into(),
        });
    }
    let port = text
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        return Err(bad("it has no port"));
    }
    let mut found: Vec<SocketAddr> =
        match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(text)).await {
            Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
            Ok(Err(e)) => return Err(bad(&e.to_string())),
            Err(_) => return Err(bad("the name was not found in time")),
        };
    found.retain(|addr| interfaces.permits(addr.ip()));
    if found.is_empty() {
        Err(bad("it leads to no address that may be used"))
    } else {
        Ok(found)
    }
}

async fn run(shared: Arc<Shared>, mut inbox: mpsc::UnboundedReceiver<Control>, mdns: bool) {
    let mut probes: JoinSet<Result<crate::table::Answer, Error>> = JoinSet::new();
    let mut tokens: HashMap<tokio::task::Id, (ProbeToken, SocketAddr)> = HashMap::new();
    // Lookups end with the set they are in.
    let mut lookups: JoinSet<()> = JoinSet::new();
    let mut networks = list(&shared.interfaces).await.unwrap_or_default();
    let mut browse = mdns.then(|| start_browsing(&shared)).flatten();
    look_up(&shared, &mut lookups);
    let mut poll = tokio::time::interval(INTERFACE_POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = tokio::time::interval_at(Instant::now() + RETRY_INTERVAL, RETRY_INTERVAL);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        let wake = shared.table().next_wake().map(|at| shared.origin + at);
        let mut restart = false;
        tokio::select! {
            control = inbox.recv() => match control {
                Some(Control::Probe { token, addr }) => {
                    tokens.insert(probes.spawn(probe(addr)).id(), (token, addr));
                }
                Some(Control::Wake) => {}
                Some(Control::Rescan) => restart = true,
                None => return,
            },
            Some(done) = probes.join_next_with_id() => {
                let (task, result) = match done {
                    Ok((task, result)) => (task, Some(result)),
                    Err(e) => (e.id(), None),
                };
                if let Some((token, addr)) = tokens.remove(&task) {
                    let broken = || Err(Error::Unreachable { addr, reason: "no end".into() });
                    let result = result.unwrap_or_else(broken).map(Box::new);
                    shared.apply(Input::Probed { token, result });
                }
            }
            Some(()) = async { lookups.join_next().await.map(drop) } => {}
            hint = hear(browse.as_ref(), &shared.interfaces, &networks) => match hint {
                Some(input) => shared.apply(input),
                None => browse = None,
            },
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                shared.apply(Input::Tick);
            }
            _ = poll.tick() => {
                if let Some(now) = list(&shared.interfaces).await && now != networks {
                    tracing::info!("the network interfaces changed");
                    networks = now;
                    restart = true;
                }
            }
            _ = retry.tick() => {
                if mdns && browse.is_none() {
                    browse = start_browsing(&shared);
                }
                look_up(&shared, &mut lookups);
            }
        }
        if restart {
            // The old one ends before the new one begins.
            drop(browse.take());
            browse = mdns.then(|| start_browsing(&shared)).flatten();
            shared.apply(Input::InterfacesChanged);
            look_up(&shared, &mut lookups);
        }
    }
}

async fn hear(
    browse: Option<&Browse>,
    interfaces: &Interfaces,
    networks: &BTreeSet<Network>,
) -> Option<Input> {
    match browse {
        Some(browse) => browse.next(interfaces, networks).await,
        None => std::future::pending().await,
    }
}

fn start_browsing(shared: &Shared) -> Option<Browse> {
    let (browse, error) = match Browse::start(&shared.interfaces) {
        Ok(browse) => (Some(browse), None),
        Err(error) => {
            tracing::warn!(%error, "no announcements will be heard");
            (None, Some(error))
        }
    };
    *lock(&shared.mdns_error) = error;
    browse
}

/// The networks of the host; off the runtime's threads, for on some systems that takes a while.
async fn list(interfaces: &Interfaces) -> Option<BTreeSet<Network>> {
    let interfaces = interfaces.clone();
    tokio::task::spawn_blocking(move || interfaces.networks())
        .await
        .ok()?
        .ok()
}

/// Looks all manual addresses up, unless that is still going on.
fn look_up(shared: &Arc<Shared>, lookups: &mut JoinSet<()>) {
    if !lookups.is_empty() {
        return;
    }
    let shared = shared.clone();
    lookups.spawn(async move {
        let texts: Vec<String> = lock(&shared.manual).keys().cloned().collect();
        for text in texts {
            match resolve(&text, &shared.interfaces).await {
                Ok(found) => shared.resolved(&text, found),
                // Where it led before may still be right.
                Err(error) => tracing::debug!(%error, "a manual address leads nowhere"),
            }
        }
    });
}
