//! Runs a job: does what its state machine asks for, and tells the window and the database.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlift_discover::device::UpdaterState;
use airlift_discover::{DeviceId, DeviceInfo, SeenDevice, probe};
use airlift_release::SigningKey;
use airlift_wire::ErrorCode;
use airlift_wire::freshness::Statement;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::line::DeviceLine;
use super::{Input, JobState, Next, Resume, preflight};
use crate::airlift::Shared;
use crate::dto::{ErrorInfo, Event, Release};
use crate::link::{Progress, Taken, ask_nonce, send_cancel, send_statement, send_update};
use crate::server::Offer;
use crate::{Error, store};

/// How often the window is told about a job at most, except of its start and its end.
pub const TELL_EVERY: Duration = Duration::from_millis(100);
/// How long discovery may take to hear what a job already knows.
const SETTLE: Duration = Duration::from_secs(3);
/// At how many of its addresses a device is looked for in one go.
const ADDRESSES: usize = 4;

/// A job of this process, running or ended.
pub(crate) struct Live {
    pub(crate) id: u32,
    pub(crate) device: String,
    state: Mutex<JobState>,
    cancel: CancellationToken,
    ended: watch::Sender<bool>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    /// Something happened since.
    pending: bool,
    resume: Option<Resume>,
}

impl Live {
    pub(crate) fn new(state: JobState) -> Self {
        Self {
            id: state.id,
            device: state.device.clone(),
            state: Mutex::new(state),
            cancel: CancellationToken::new(),
            ended: watch::Sender::new(false),
            told: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().ending().is_some()
    }

    /// Waits for its end, which is then stored.
    pub(crate) async fn wait(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// Runs a job to its end.
pub(crate) async fn run(shared: Arc<Shared>, live: Arc<Live>) {
    let mut driver = Driver {
        shared,
        live,
        address: None,
        info: None,
        offer: None,
        envelope: None,
    };
    driver.drive().await;
    driver.finish().await;
}

struct Driver {
    shared: Arc<Shared>,
    live: Arc<Live>,
    /// Where the device answered last.
    address: Option<SocketAddr>,
    /// What the device said last.
    info: Option<DeviceInfo>,
    /// Keeps the release served while the job runs.
    offer: Option<Offer>,
    envelope: Option<Bytes>,
}

impl Driver {
    async fn drive(&mut self) {
        self.tell(true).await;
        loop {
            let next = self.live.state().next();
            match next {
                Next::Wait => self.wait().await,
                Next::Attach { at } => {
                    let pause = at.saturating_sub(self.now());
                    if self.pause(pause).await {
                        self.attach().await;
                    }
                }
                Next::Look { every } => {
                    self.look().await;
                    let over = matches!(self.live.state().next(), Next::Over);
                    if !over {
                        // A cancellation comes too late now, and must not make this spin.
                        sleep(every).await;
                    }
                }
                // Listening is part of attaching.
                Next::Listen => {
                    self.apply(Input::Detached {
                        reason: "it was never opened",
                    })
                    .await
                }
                Next::Over => return,
            }
        }
    }

    /// Waits until the device is online and it is the job's turn, then begins.
    async fn wait(&mut self) {
        let mut changes = self.shared.discovery.subscribe();
        let patience = self.shared.patience;
        let patience = async {
            match patience {
                Some(patience) => sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(patience);
        let device = loop {
            let seen = self.seen().filter(|seen| seen.online);
            let news = self.live.state().set_away(seen.is_none());
            if news {
                self.tell(true).await;
            }
            if let Some(seen) = seen {
                break seen;
            }
            tokio::select! {
                // A change, or news that some were missed: look again either way.
                _ = changes.recv() => {}
                () = self.live.cancel.cancelled() => return self.apply(Input::Cancel).await,
                () = &mut patience => {
                    let code = ErrorCode::NotSeenAgain.as_str();
                    let message = "the device went away before its turn";
                    return self.apply(Input::Refused { code, message }).await;
                }
            }
        };
        let turn = tokio::select! {
            turn = self.shared.turns.clone().acquire_owned() => turn,
            () = self.live.cancel.cancelled() => return self.apply(Input::Cancel).await,
        };
        // What the device said some seconds ago may be old by now.
        let Some(info) = self.ask(&device).await else {
            drop(turn);
            sleep(Duration::from_millis(500)).await;
            return;
        };
        let now = self.now();
        self.live.state().begin(&info, now);
        self.tell(true).await;
        self.until_restart().await;
        drop(turn);
    }

    /// The part that takes a turn: up to the restart, which needs nothing of this computer.
    async fn until_restart(&mut self) {
        loop {
            let next = self.live.state().next();
            let Next::Attach { at } = next else { return };
            if self.pause(at.saturating_sub(self.now())).await {
                self.attach().await;
            }
        }
    }

    /// False when it was cancelled meanwhile.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => true,
            () = self.live.cancel.cancelled() => {
                self.cancel().await;
                false
            }
        }
    }

    /// Cancels here, and on the device if it has taken the release.
    async fn cancel(&self) {
        self.apply(Input::Cancel).await;
        let token = self.live.state().token().map(str::to_owned);
        if let Some((device, token)) = self.address.zip(token) {
            // On its own: the answer comes on the progress connection, if one is open.
            tokio::spawn(async move {
                if let Err(e) = send_cancel(device, &token).await {
                    tracing::warn!("{e}");
                }
            });
        }
    }

    async fn attach(&mut self) {
        let Some(seen) = self.seen() else {
            return self
                .apply(Input::Detached {
                    reason: "nobody knows where the device is",
                })
                .await;
        };
        // Ask first: the update may have ended while the connection was away.
        let info = self.ask(&seen).await;
        if let Some(info) = &info {
            self.apply(Input::Seen(info)).await;
            if !matches!(self.live.state().next(), Next::Attach { .. }) {
                return;
            }
        }
        let seen = self.seen().unwrap_or(seen);
        let (Some(address), Some(local)) = (self.address.or(seen.address()), seen.local_addr)
        else {
            return self
                .apply(Input::Detached {
                    reason: "the device does not answer",
                })
                .await;
        };
        let (from, envelope) = match self.serve(local).await {
            Ok(ready) => ready,
            Err(error) => {
                self.live.state().fail(ErrorInfo::from(&error));
                return;
            }
        };
        let retry = {
            let mut state = self.live.state();
            state.from = Some(from.clone());
            state.retry
        };
        // What it said before is good enough for this.
        let info = info.or_else(|| self.info.clone());
        if let Some(info) = info.filter(|info| info.updater.state != UpdaterState::Updating)
            && !self.state_newest(address, &info).await
        {
            return;
        }
        let sent = tokio::select! {
            sent = send_update(address, envelope, &from, retry) => sent,
            () = self.live.cancel.cancelled() => return self.cancel().await,
        };
        match sent {
            Ok(Taken::Progress(progress)) => {
                self.apply(Input::Attached).await;
                self.address = Some(address);
                self.listen(progress).await;
            }
            Ok(Taken::Refused { code, message }) => {
                self.apply(Input::Refused {
                    code: &code,
                    message: &message,
                })
                .await;
            }
            Err(reason) => self.apply(Input::Detached { reason: &reason }).await,
        }
    }

    /// Tells the device that the release is the newest, if it wants to know and somebody here may
    /// say so. False when the release is not to be sent now.
    async fn state_newest(&self, address: SocketAddr, device: &DeviceInfo) -> bool {
        let release = self.live.state().release.clone();
        let newest = self.shared.newest_for(device);
        let signer = match self.shared.signer_for(device).await {
            Ok(signer) => signer,
            Err(e) => {
                tracing::warn!("no statement can be signed: {e}");
                None
            }
        };
        let wanted = preflight::freshness(&release, newest.as_ref(), device, signer.is_some());
        let key = match (wanted, signer) {
            (Ok(true), Some(key)) => key,
            (Ok(_), _) => return true,
            (Err(error), _) => {
                self.live.state().fail(error);
                return false;
            }
        };
        let required = device.freshness.is_some_and(|f| f.required);
        match state_newest(address, &self.live.device, &release, &key).await {
            Ok(Ok(())) => {
                let note = format!("Told the device that {} is the newest.", release.version);
                self.live.state().note(&note);
                true
            }
            Ok(Err((code, message))) if required => {
                let (code, message) = (&*code, &*message);
                self.apply(Input::Refused { code, message }).await;
                false
            }
            // It goes without, as it always did.
            Ok(Err((_, message))) => {
                let note = format!("The device does not take a statement of freshness: {message}.");
                self.live.state().note(&note);
                true
            }
            Err(reason) => {
                self.apply(Input::Detached { reason: &reason }).await;
                false
            }
        }
    }

    /// Opens the chunk server for the device and offers it the release.
    async fn serve(&mut self, local: std::net::IpAddr) -> Result<(String, Bytes), Error> {
        let settings = self.shared.settings();
        if self.offer.is_none() {
            let shared = self.shared.clone();
            let id = self.live.state().release.id.clone();
            let release =
                store::blocking(move || shared.library.open(&id, &shared.keys.trusted()?)).await?;
            self.envelope = Some(release.envelope().clone());
            self.offer = Some(self.shared.server.offer(&release)?);
        }
        let address = self.shared.server.ensure(local, &settings)?;
        let envelope = self.envelope.clone().unwrap_or_default();
        Ok((format!("http://{address}"), envelope))
    }

    async fn listen(&mut self, mut progress: Progress) {
        let mut tick = interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = false;
        while self.live.state().next() == Next::Listen {
            tokio::select! {
                line = progress.next() => match line {
                    Ok(Some(line)) => self.line(&line).await,
                    Ok(None) => {
                        self.apply(Input::Detached { reason: "the device ended its answer" }).await;
                    }
                    Err(reason) => self.apply(Input::Detached { reason: &reason }).await,
                },
                _ = tick.tick() => self.apply(Input::Tick).await,
                () = self.live.cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.cancel().await;
                }
            }
        }
    }

    async fn line(&mut self, line: &Bytes) {
        match DeviceLine::parse(line) {
            Ok(parsed) => {
                self.shared.tap(self.live.id, &self.live.device, line);
                self.apply(Input::Line(&parsed)).await;
            }
            Err(error) => {
                self.apply(Input::Detached {
                    reason: &error.to_string(),
                })
                .await
            }
        }
    }

    /// Looks once for a device that restarts.
    async fn look(&mut self) {
        if self.live.cancel.is_cancelled() && self.live.state().can_cancel() {
            return self.cancel().await;
        }
        let info = match self.seen() {
            Some(seen) => self.ask(&seen).await,
            None => None,
        };
        match &info {
            Some(info) => self.apply(Input::Seen(info)).await,
            None => self.apply(Input::Tick).await,
        }
    }

    /// What the device says now, wherever it answers; none when it does not.
    async fn ask(&mut self, seen: &SeenDevice) -> Option<DeviceInfo> {
        let last = self.address.filter(|a| !seen.addresses.contains(a));
        let addresses = seen.addresses.iter().copied().chain(last);
        for address in addresses.take(ADDRESSES) {
            match probe(address).await {
                // Another device may have the address by now.
                Ok(answer) if answer.info.id.as_str() == self.live.device => {
                    self.address = Some(address);
                    self.info = Some(answer.info.clone());
                    return Some(answer.info);
                }
                _ => {}
            }
        }
        None
    }

    fn seen(&self) -> Option<SeenDevice> {
        self.shared.discovery.device(&self.live.device)
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    async fn apply(&self, input: Input<'_>) {
        let now = self.now();
        let quiet = matches!(input, Input::Tick);
        let phase_changed = {
            let mut state = self.live.state();
            let before = state.phase();
            state.apply(input, now);
            state.phase() != before
        };
        if !quiet {
            self.told().pending = true;
        }
        self.tell(phase_changed).await;
    }

    /// Tells the window, if something happened and it is time, or `now`.
    ///
    /// The end is told by [`Driver::finish`] alone, once it is stored: whoever hears of it may end
    /// this process.
    async fn tell(&self, at_once: bool) {
        if self.live.is_over() {
            return;
        }
        let due = {
            let told = self.told();
            let rested = told.at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
            at_once || (told.pending && rested)
        };
        if !due {
            return;
        }
        let resume = {
            let mut told = self.told();
            (told.at, told.pending) = (Some(Instant::now()), false);
            let resume = self.live.state().to_resume();
            let changed = told.resume != resume;
            told.resume = resume;
            changed
        };
        if resume {
            let state = self.live.state().clone();
            if let Err(e) = self.shared.store.progress(&state).await {
                tracing::warn!("{e}");
            }
        }
        tell(&self.shared, &self.live);
    }

    /// Waits until discovery has heard from the device what this job heard.
    async fn settle(&self) {
        let Ok(id) = self.live.device.parse::<DeviceId>() else {
            return;
        };
        let Some(info) = &self.info else {
            return;
        };
        let discovery = &self.shared.discovery;
        let mut changes = discovery.subscribe();
        discovery.probe_now(&id);
        while !self
            .seen()
            .is_some_and(|seen| seen.online && seen.info.running == info.running)
        {
            let _ = changes.recv().await;
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.live
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn finish(&self) {
        let detail = {
            let mut state = self.live.state();
            state.ended = Some(self.shared.clock.unix());
            state.detail(self.shared.events.seq(), self.now())
        };
        if let Err(e) = self.shared.store.finish(&detail).await {
            tracing::error!("{e}");
        }
        tell(&self.shared, &self.live);
        // Whoever hears of the end finds the device as the job left it.
        let _ = timeout(SETTLE, self.settle()).await;
        let not_seen = detail
            .job
            .error
            .as_ref()
            .is_some_and(|e| ErrorCode::parse(&e.code) == Some(ErrorCode::NotSeenAgain));
        self.shared.job_ended(&self.live, not_seen);
        self.live.ended.send_replace(true);
    }
}

/// Asks for a nonce and states over it, to the device with this id, that a release is the newest; what
/// the device says of it.
async fn state_newest(
    address: SocketAddr,
    device: &str,
    release: &Release,
    key: &SigningKey,
) -> Result<Result<(), (String, String)>, String> {
    let Some(nonce) = ask_nonce(address).await? else {
        let message = "it gives no nonce".to_owned();
        return Ok(Err((ErrorCode::BadRequest.to_string(), message)));
    };
    let statement = Statement {
        product: &release.product,
        newest: release.sequence,
        nonce,
        release: release.id.parse().ok(),
        device,
    };
    let statement = key.state_newest(&statement).map_err(|e| e.to_string())?;
    send_statement(address, statement).await
}

/// Sends what changed of a job.
fn tell(shared: &Shared, live: &Live) {
    let (job, (runs, refused)) = {
        let mut state = live.state();
        let changes = state.map_mut().take_changes();
        (state.view(shared.clock.monotonic()), changes)
    };
    if !runs.is_empty() || !refused.is_empty() {
        shared.events.send(Event::Chunks {
            job: live.id,
            runs,
            refused,
        });
    }
    shared.events.send(Event::Job(job));
}
