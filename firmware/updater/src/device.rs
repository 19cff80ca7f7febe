//! A whole device: the job that runs, its progress, and the HTTP API.
//!
//! [`Device`] is what connections and the updater share; all of it lives on one thread.
//! [`Runner`] owns flash, files and network and does one job after the other. A board spawns one
//! task that runs [`Runner::run`] and a few that accept connections and call [`Device::serve`];
//! a virtual device does the same on a single-threaded runtime.

mod answer;
mod freshness;
mod health;
mod http;
mod info;
mod json;
mod maybe;
mod request;
mod runner;
mod vitals;

pub use freshness::{FRESH_MS, NONCE_MS, Newest, StaleOffer};
pub use health::{Health, Reach, Verdict, Watchdog};
pub use info::{Identity, Info, SlotInfo};
pub use request::MAX_REQUEST_HEAD;
pub use runner::{Config, Exit, Parts, Runner};
pub use vitals::Vitals;

use crate::event::{ChunkState, Event, Observer, PartName, Phase};
use crate::platform::{Clock, InTime as _, within};
use airlift_wire::Digest;
use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::pubsub::PubSubChannel;
use embassy_sync::signal::Signal;
use freshness::Freshness;
use maybe::Maybe;

/// Events that a slow reader may be behind: four chunks.
const EVENT_QUEUE: usize = 8;
/// Connections that may watch a job at once. A board answers more than that (four): whoever watches,
/// one is left to ask, and one to cancel. A host that is turned away asks, and tries again.
pub const MAX_WATCHERS: usize = 2;
/// How long a job waits for a slow watcher before that one loses lines.
const WATCHER_MS: u32 = 2_000;
/// How long a job waits for slow watchers altogether: one that reads just enough to stay must not
/// make the job slow.
const WATCHERS_MS: u32 = 10_000;
/// Signatures of releases that are checked in a minute.
const CHECKS_A_MINUTE: usize = 10;
/// Signatures of statements that are checked in a minute. Not from the same ten: false statements,
/// which cost their sender nothing, must not keep a device from its updates.
const STATEMENTS_A_MINUTE: usize = 5;
/// Port of the host's chunk server unless the request names another.
const HOST_PORT: u16 = 7410;

type Events = PubSubChannel<NoopRawMutex, Event, EVENT_QUEUE, MAX_WATCHERS, 1>;

/// What connections and the updater share.
pub struct Device {
    /// The envelope of the job, or the one that is just being received.
    inbox: RefCell<[u8; 4096]>,
    info: RefCell<Maybe<Info>>,
    job: RefCell<Job>,
    events: Events,
    submitted: Signal<NoopRawMutex, ()>,
    checks: Cell<[Option<u64>; CHECKS_A_MINUTE]>,
    statement_checks: Cell<[Option<u64>; STATEMENTS_A_MINUTE]>,
    freshness: Cell<Maybe<Freshness>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// No job.
    Idle,
    /// A connection is sending an envelope.
    Receiving,
    /// A job waits or runs.
    Running,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    status: Status,
    release: Digest,
    len: usize,
    host: SocketAddr,
    by: SocketAddr,
    retry: bool,
    token: [u8; 8],
    cancelled: bool,
    started: Maybe<Event>,
    phase: Maybe<Phase>,
    /// Chunks of app and files that are done, counted from the first.
    done: [u32; 2],
    /// How long the job has waited for slow watchers.
    waited_ms: u32,
}

impl Device {
    /// A device that has not started.
    pub const fn new() -> Self {
        let nobody = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
        Self {
            inbox: RefCell::new([0; 4096]),
            info: RefCell::new(Maybe::Nothing),
            job: RefCell::new(Job {
                status: Status::Idle,
                release: Digest([0; 32]),
                len: 0,
                host: nobody,
                by: nobody,
                retry: false,
                token: [0; 8],
                cancelled: false,
                started: Maybe::Nothing,
                phase: Maybe::Nothing,
                done: [0; 2],
                waited_ms: 0,
            }),
            events: PubSubChannel::new(),
            submitted: Signal::new(),
            checks: Cell::new([None; CHECKS_A_MINUTE]),
            statement_checks: Cell::new([None; STATEMENTS_A_MINUTE]),
            freshness: Cell::new(Maybe::Nothing),
        }
    }

    /// What `GET /v1/device` says, as of now.
    pub fn info(&self) -> Info {
        self.info.borrow().get().unwrap_or(Info::new())
    }

    /// Which release of its product is the newest, if that was stated and still counts.
    pub fn newest(&self, now_ms: u64) -> Option<Newest> {
        self.freshness.get().get()?.newest(now_ms)
    }

    /// The last release that was refused for its age since the device started.
    pub fn stale_offer(&self) -> Option<StaleOffer> {
        self.freshness.get().get()?.stale
    }

    /// Changes what is known of freshness; nothing is awaited meanwhile.
    fn with_freshness<T>(&self, change: impl FnOnce(&mut Freshness) -> T) -> T {
        let mut freshness = self.freshness.get().get().unwrap_or(Freshness::new());
        let result = change(&mut freshness);
        self.freshness.set(Maybe::Just(freshness));
        result
    }

    /// Whether a job is running.
    pub fn is_updating(&self) -> bool {
        self.job.borrow().status == Status::Running
    }

    /// Cancels the running job, as the API does.
    pub fn cancel(&self) {
        self.job.borrow_mut().cancelled = true;
    }
}

/// Allows a signature check, in a minute as many as there are places.
fn may_check<const N: usize>(checks: &Cell<[Option<u64>; N]>, now_ms: u64) -> bool {
    let mut taken = checks.get();
    let free = taken
        .iter_mut()
        .find(|at| at.is_none_or(|at| now_ms.saturating_sub(at) >= 60_000));
    match free {
        Some(slot) => {
            *slot = Some(now_ms);
            checks.set(taken);
            true
        }
        None => false,
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

/// Watches the job for all connections.
struct Watch<'d, C> {
    device: &'d Device,
    clock: &'d C,
}

impl<C: Clock> Observer for Watch<'_, C> {
    async fn event(&mut self, event: Event) {
        {
            let mut job = self.device.job.borrow_mut();
            match event {
                Event::Started { .. } => job.started = Maybe::Just(event),
                Event::Phase(phase) => job.phase = Maybe::Just(phase),
                Event::Chunk {
                    part,
                    n,
                    count,
                    state,
                } => {
                    let done = matches!(
                        state,
                        ChunkState::Kept | ChunkState::ReadBack | ChunkState::Written
                    );
                    if done {
                        job.done[part as usize] = n + count;
                    }
                }
                _ => {}
            }
        }
        let Ok(publisher) = self.device.events.publisher() else {
            return;
        };
        let left = WATCHERS_MS.saturating_sub(self.device.job.borrow().waited_ms);
        let before = self.clock.now_ms();
        if within(self.clock, left.min(WATCHER_MS), publisher.publish(event))
            .await
            .in_time()
            .is_none()
        {
            publisher.publish_immediate(event);
        }
        let waited = self.clock.now_ms().saturating_sub(before);
        let mut job = self.device.job.borrow_mut();
        job.waited_ms = job
            .waited_ms
            .saturating_add(u32::try_from(waited).unwrap_or(u32::MAX));
    }

    fn is_cancelled(&self) -> bool {
        self.device.job.borrow().cancelled
    }
}

impl Job {
    /// The lines that bring a new watcher up to date.
    fn so_far(&self) -> impl Iterator<Item = Event> + use<> {
        let chunk = |part: PartName, state| {
            let count = self.done[part as usize];
            (count > 0).then_some(Event::Chunk {
                part,
                n: 0,
                count,
                state,
            })
        };
        [
            self.started.get(),
            self.phase.get().map(Event::Phase),
            chunk(PartName::App, ChunkState::ReadBack),
            chunk(PartName::Files, ChunkState::Written),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embassy_futures::block_on;

    /// A clock whose sleeps are over at once.
    #[derive(Default)]
    pub(super) struct Hasty(Cell<u64>);

    impl Clock for Hasty {
        fn now_ms(&self) -> u64 {
            self.0.get()
        }

        async fn sleep_ms(&self, ms: u32) {
            self.0.set(self.0.get() + u64::from(ms));
        }
    }

    #[test]
    fn a_watcher_that_reads_too_slowly_delays_a_job_only_so_much() {
        let (device, clock) = (Device::new(), Hasty::default());
        let mut watcher = device.events.subscriber().unwrap();
        let mut watch = Watch {
            device: &device,
            clock: &clock,
        };
        for n in 0..1000 {
            let event = Event::Chunk {
                part: PartName::App,
                n,
                count: 1,
                state: ChunkState::ReadBack,
            };
            block_on(watch.event(event));
            if n % 10 == 0 {
                // It takes a line now and then, so it is never quite given up.
                let _ = watcher.try_next_message();
            }
        }
        assert!(clock.now_ms() <= u64::from(WATCHERS_MS));
        // And what it missed, it is told.
        let summary: std::vec::Vec<_> = device.job.borrow().so_far().collect();
        assert!(matches!(
            summary[..],
            [Event::Chunk {
                n: 0,
                count: 1000,
                ..
            }]
        ));
    }
}
