//! Starts a device and does one job after the other.

use super::health::{Health, Watchdog, judge};
use super::info::{SlotInfo, state_name};
use super::{Device, Identity, Info, Job, Maybe, Status, Watch};
use crate::event::{Event, Observer, Phase};
use crate::fetch::{Fetcher, Resource};
use crate::guard::{self, Boot};
use crate::layout::{Layout, SlotId};
use crate::path::Path;
use crate::platform::{Clock, InTime as _, Platform, Random, within};
use crate::store::{self, SlotRelease, Store};
use crate::update::{self, Running, Wishes};
use crate::{Buffers, Failure};
use airlift_wire::state::{Cause, End, LastUpdate};
use airlift_wire::{Digest, ErrorCode};

/// How long the host may take to answer before anything is erased.
const REACH_MS: u32 = 5_000;
/// How long the device waits before it asks again.
const RETRY_MS: u32 = 200;
/// How long the last line may take to leave before the device restarts.
const LAST_LINE_MS: u32 = 250;

const UNREACHABLE: Failure = Failure::new(
    ErrorCode::HostUnreachable,
    "the device cannot reach the chunk server of the host",
);

/// Settings of the updater.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long after its start a trial may confirm at the latest.
    pub confirm_ms: u32,
    /// How long it must have been up before it confirms: what crashes earlier is rolled back.
    pub min_uptime_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            confirm_ms: 120_000,
            min_uptime_ms: 5_000,
        }
    }
}

/// Why [`Runner::run`] ended: in both cases the device restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A new release is selected.
    Switched(SlotId),
    /// The trial was given up; the old slot is selected.
    WentBack,
}

/// Owns flash, files and network of a device.
pub struct Runner<'d, P: Platform> {
    device: &'d Device,
    identity: Identity,
    config: Config,
    flash: P::Flash,
    files: P::Files,
    net: P::Net,
    clock: P::Clock,
    random: P::Random,
    buffers: &'d mut Buffers,
    layout: Layout,
    store: Store,
    boot: Boot,
    running: Running,
}

/// What a device is made of.
pub struct Parts<P: Platform> {
    /// The whole flash.
    pub flash: P::Flash,
    /// The file system.
    pub files: P::Files,
    /// Outgoing connections.
    pub net: P::Net,
    /// Time.
    pub clock: P::Clock,
    /// Randomness.
    pub random: P::Random,
}

impl<'d, P: Platform> Runner<'d, P> {
    /// Looks at what is in flash after the guard has let the image run (`boot` is its word), and
    /// tells `device`. Call [`guard::run`] before anything else, then this.
    pub async fn start(
        device: &'d Device,
        identity: Identity,
        config: Config,
        parts: Parts<P>,
        layout: Layout,
        boot: Boot,
        buffers: &'d mut Buffers,
    ) -> Result<Self, Failure> {
        let Parts {
            mut flash,
            files,
            net,
            clock,
            mut random,
        } = parts;
        let mut secret = [0; 32];
        random.fill(&mut secret);
        device.with_freshness(|freshness| freshness.start(secret));
        let mut store = Store::load(&mut flash, &layout).await?;
        if let Boot::Trial {
            bootloader_rollback,
        } = boot
            && store.state.bootloader_rollback != bootloader_rollback
        {
            let state = airlift_wire::state::State {
                bootloader_rollback,
                ..store.state
            };
            // A note only: the trial matters more.
            let _ = store.save(&mut flash, &state).await;
        }
        let running = Running {
            chip: identity.chip,
            release: None,
            app: None,
            files: None,
        };
        let mut runner = Self {
            device,
            identity,
            config,
            flash,
            files,
            net,
            clock,
            random,
            buffers,
            layout,
            store,
            boot,
            running,
        };
        let partition = runner
            .layout
            .partition(runner.layout.running)
            .ok_or(Failure::LAYOUT)?;
        runner.running.app = update::app_digest(
            &mut runner.flash,
            partition.offset,
            partition.size,
            runner.buffers,
        )
        .await?;
        if runner.layout.vfs.is_some() {
            let root = Path::slot(runner.layout.running);
            // A folder that no release can have has no digest; updates that carry files still work.
            runner.running.files = update::read_files(&mut runner.files, root, runner.buffers)
                .await
                .ok();
        }
        runner.refresh().await?;
        Ok(runner)
    }

    /// The state in flash.
    pub fn state(&self) -> &airlift_wire::state::State {
        &self.store.state
    }

    /// Gives the parts back, for the next start.
    pub fn into_parts(self) -> Parts<P> {
        let Self {
            flash,
            files,
            net,
            clock,
            random,
            ..
        } = self;
        Parts {
            flash,
            files,
            net,
            clock,
            random,
        }
    }

    /// Confirms a trial, then does jobs until the device must restart. `watchdog` resets the device
    /// when a trial hangs; `&mut ()` is none.
    pub async fn run(
        &mut self,
        health: &mut impl Health,
        watchdog: &mut impl Watchdog,
    ) -> Result<Exit, Failure> {
        if let Boot::Trial { .. } = self.boot {
            let Config {
                confirm_ms,
                min_uptime_ms,
            } = self.config;
            let verdict = judge(health, watchdog, &self.clock, min_uptime_ms, confirm_ms).await;
            if let Err((cause, detail)) = verdict {
                guard::abort(&mut self.flash, &self.layout, cause, detail).await?;
                return Ok(Exit::WentBack);
            }
            guard::confirm(
                &mut self.flash,
                &self.layout,
                self.buffers.chunks.as_flattened_mut(),
            )
            .await?;
            self.boot = Boot::Confirmed;
            self.store = Store::load(&mut self.flash, &self.layout).await?;
            self.refresh().await?;
        }
        // Armed before it was known whether there is a trial; from here on nobody feeds it.
        watchdog.release();
        loop {
            self.device.submitted.wait().await;
            let outcome = self.job().await;
            let last = match &outcome {
                Ok(slot) => Event::Rebooting { slot: slot.name() },
                Err(failure) => {
                    self.refresh().await?;
                    Event::Failed(*failure)
                }
            };
            Watch {
                device: self.device,
                clock: &self.clock,
            }
            .event(last)
            .await;
            match outcome {
                Ok(slot) => {
                    self.clock.sleep_ms(LAST_LINE_MS).await;
                    return Ok(Exit::Switched(slot));
                }
                // Nothing is awaited since the last line was queued: whoever answers it with the
                // same envelope starts a new job and cannot attach to the one that has ended.
                Err(_) => self.device.job.borrow_mut().status = Status::Idle,
            }
        }
    }

    /// One update, from the envelope in the inbox to the switch.
    #[allow(clippy::await_holding_refcell_ref)]
    // Nobody else writes the inbox while a job runs: `Claim` sees to it.
    async fn job(&mut self) -> Result<SlotId, Failure> {
        let device = self.device;
        let Job {
            len,
            host,
            by,
            retry,
            ..
        } = *device.job.borrow();
        let inbox = device.inbox.borrow();
        let envelope = inbox.get(..len).ok_or(Failure::LAYOUT)?;
        let Self {
            flash,
            files,
            net,
            clock,
            layout,
            store,
            buffers,
            running,
            ..
        } = self;
        let mut watch = Watch { device, clock };
        let mut accepted = update::accept(
            envelope,
            Wishes { retry },
            running,
            layout,
            store,
            flash,
            files,
            buffers.chunks.as_flattened_mut(),
        )
        .await?;
        let manifest = accepted.manifest();
        device.with_freshness(|freshness| {
            let required = store.state.freshness_required;
            freshness.judge(
                accepted.id(),
                manifest.sequence,
                by.ip().to_canonical(),
                required,
                clock.now_ms(),
            )
        })?;
        let chunks = |part: Option<airlift_wire::Part<'_>>| part.map_or(0, |p| p.chunks());
        let (app, in_files) = (
            chunks(manifest.app.carried()),
            chunks(manifest.files.carried()),
        );
        let (release, sequence) = (accepted.id(), manifest.sequence);
        let mut token = [0; 8];
        self.random.fill(&mut token);
        device.job.borrow_mut().token = token;
        watch
            .event(Event::Started {
                token,
                release,
                app,
                files: in_files,
            })
            .await;
        watch.event(Event::Phase(Phase::Preflight)).await;
        let mut fetcher = Fetcher::new(net, clock, host);
        reach(&mut fetcher, clock, release, envelope, buffers).await?;
        watch.event(Event::Phase(Phase::Signature)).await;
        let result = async {
            let opened = accepted.open(layout, flash).await?;
            let written = opened
                .fill(layout, flash, files, &mut fetcher, buffers, &mut watch)
                .await?;
            fetcher.close();
            let checked = written
                .check(layout, flash, files, buffers, &mut watch)
                .await?;
            watch.event(Event::Phase(Phase::Switch)).await;
            let committed = checked.commit(layout, flash).await?;
            committed.switch(layout, flash, store).await
        }
        .await;
        match result {
            Ok(switched) => Ok(switched.slot),
            Err(failure) => {
                let cancelled = failure.code == ErrorCode::Cancelled;
                let end = if cancelled {
                    End::Cancelled
                } else {
                    End::Failed
                };
                let mut state = self.store.state;
                state.last = LastUpdate {
                    release,
                    sequence,
                    end,
                    cause: Cause::None,
                    boots: 0,
                };
                // The failure itself matters more than a note of it.
                let _ = self.store.save(&mut self.flash, &state).await;
                Err(failure)
            }
        }
    }

    /// Tells the device what its slots hold now.
    async fn refresh(&mut self) -> Result<(), Failure> {
        let state = self.store.state;
        let entries = self.layout.read_otadata(&mut self.flash).await?;
        let mut slots = [None; 3];
        for slot in SlotId::ALL {
            if self.layout.partition(slot).is_some() {
                let release = self.slot_release(slot).await?;
                slots[slot.index()] = Some(self.slot_info(slot, release, &entries));
                if slot == self.layout.running {
                    self.running.release = release;
                }
            }
        }
        *self.device.info.borrow_mut() = Maybe::Just(Info {
            id: self.identity.id,
            name: state.name,
            product: state.product,
            chip: self.identity.chip,
            flash_size: self.identity.flash_size,
            running: self.layout.running,
            trial: matches!(self.boot, Boot::Trial { .. }),
            slots,
            trust: state.trust,
            bootloader_rollback: state.bootloader_rollback,
            last: Some(state.last),
            detail: self.store.detail,
            freshness_required: state.freshness_required,
        });
        Ok(())
    }

    async fn slot_release(&mut self, slot: SlotId) -> Result<Option<SlotRelease>, Failure> {
        let (keys, n) = self.store.keys();
        let Buffers { page, chunks } = &mut *self.buffers;
        let stored = store::read_envelope(&mut self.flash, &self.layout, slot, page).await?;
        let confirmed = self.store.state.confirmed;
        let scratch = chunks.as_flattened_mut();
        Ok(stored.and_then(|e| SlotRelease::of_stored(e, &keys[..n], confirmed, scratch)))
    }

    fn slot_info(
        &self,
        slot: SlotId,
        release: Option<SlotRelease>,
        entries: &[airlift_wire::otadata::Entry; 2],
    ) -> SlotInfo {
        let runs = slot == self.layout.running;
        let entry = entries
            .iter()
            .filter(|e| e.has_right_crc() && e.slot(2).is_some() && e.slot(2) == slot.ota())
            .max_by_key(|e| e.sequence);
        let state = if runs {
            Some(self.layout.running_state(entries))
        } else {
            entry.map(|entry| entry.state).filter(|_| release.is_some())
        };
        SlotInfo {
            slot,
            state: state_name(state, release.is_some()),
            release: release.map(|r| r.id),
            version: release.map(|r| r.version),
            sequence: release.map(|r| r.sequence),
            // Of the running slot both digests were computed from flash: evidence, not a claim.
            app: if runs {
                self.running.app.map(|(d, _)| d)
            } else {
                release.and_then(|r| r.app)
            },
            files: if runs {
                self.running.files
            } else {
                release.and_then(|r| r.files)
            },
        }
    }
}

/// Asks the host for the release before anything is erased: a firewall is found now.
async fn reach<N: crate::platform::Net, C: Clock>(
    fetcher: &mut Fetcher<'_, N, C>,
    clock: &C,
    id: Digest,
    envelope: &[u8],
    buffers: &mut Buffers,
) -> Result<(), Failure> {
    let trying = async {
        loop {
            let out = &mut buffers.chunks[0];
            match fetcher.get_whole(Resource::Release(id), out).await {
                Ok(len) if out[..len] == *envelope => return,
                Ok(_) => fetcher.close(),
                Err(_) => {}
            }
            clock.sleep_ms(RETRY_MS).await;
        }
    };
    within(clock, REACH_MS, trying)
        .await
        .in_time()
        .ok_or(UNREACHABLE)?;
    fetcher.progress();
    Ok(())
}
