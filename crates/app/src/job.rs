//! One device's update to one release, as a state machine: what happened and the time go in, what
//! to do next comes out. It does no I/O; [`driver`] does what it asks for.
//!
//! ```text
//!              begin                    Started            Rebooting            runs the target
//!  Waiting ───────────▶ Detached ◀─────────────▶ Attached ───────────▶ Restarting ────────▶ Trial
//!     │ refused, current    │  connection lost     │ Failed                 │                  │ valid
//!     ▼                     ▼                      ▼                        ▼                  ▼
//!                                        Over: exactly one end
//! ```
//!
//! *Done* means: seen after the restart, running the expected digests from the target slot, state
//! valid. A line of progress or an HTTP status never makes a job done.

use std::collections::VecDeque;
use std::time::Duration;

use airlift_discover::DeviceInfo;
use airlift_discover::device::{Slot, SlotState, UpdateEnd, UpdaterState};
use airlift_wire::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::dto::{self, ChunkState, End, ErrorInfo, Phase, RefusedChunk, Release};
use crate::error::{info, info_named};

pub(crate) mod driver;
pub mod line;
pub mod map;
pub mod preflight;
mod rate;
mod sentence;

use line::DeviceLine;
use map::ChunkMap;
use preflight::Plan;
use rate::Rate;

/// How long a job goes without any progress before it is stalled.
pub const STALL: Duration = Duration::from_secs(30);
/// How long a device that was never reached is tried.
pub const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How long a device may stay away after the restart.
pub const NOT_SEEN: Duration = Duration::from_secs(120);
/// How long a trial may last: longer than the 120 s that a device gives itself.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(180);
/// How long a device that came back on the old version may take to say why.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long a device may take to confirm that it stopped.
pub const CANCEL_WAIT: Duration = Duration::from_secs(10);
/// Pauses before the connection is opened again; the last one repeats.
const BACK_OFF: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How often a device is asked about itself while its restart is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many lines of log a job keeps.
const LOG_LINES: usize = 200;

/// What the device ran before: decides the target slot and what "back on the old version" is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Version.
    pub version: Option<String>,
    /// Slot.
    pub slot: Slot,
    /// Digest of the app, if the device knows it.
    pub app: Option<String>,
    /// Digest of the files, if the device knows it.
    pub files: Option<String>,
    /// Whether its record of the last update already was "this release was rolled back".
    pub rolled_back: bool,
}

impl Before {
    fn of(device: &DeviceInfo, release: &Release) -> Self {
        let running = &device.running;
        Self {
            version: running.version.clone(),
            slot: running.slot,
            app: running.app_sha256.map(|d| d.to_string()),
            files: running.files_sha256.map(|d| d.to_string()),
            rolled_back: rolled_back_record(device, release),
        }
    }

    /// The slot that an update goes to: factory → ota_0 → ota_1 → ota_0.
    pub fn target(&self) -> Slot {
        match self.slot {
            Slot::Factory | Slot::Ota1 => Slot::Ota0,
            Slot::Ota0 => Slot::Ota1,
        }
    }
}

fn rolled_back_record(device: &DeviceInfo, release: &Release) -> bool {
    device.last_update.as_ref().is_some_and(|last| {
        last.end == UpdateEnd::RolledBack
            && last.release.is_some_and(|r| r.to_string() == release.id)
    })
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The device answered the envelope with a stream of lines.
    Attached,
    /// A line of that stream, with its text.
    Line(&'a DeviceLine),
    /// The device answered the envelope with an error.
    Refused {
        /// Its code.
        code: &'a str,
        /// Its sentence.
        message: &'a str,
    },
    /// The connection could not be opened, or ended without a last line.
    Detached {
        /// Why.
        reason: &'a str,
    },
    /// The device answered the question about itself.
    Seen(&'a DeviceInfo),
    /// Somebody wants it cancelled.
    Cancel,
    /// Time passed.
    Tick,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for the device to be online, and begin.
    Wait,
    /// At this time: ask the device about itself, then send the envelope if that is still asked for.
    Attach {
        /// When, on the clock of [`JobState::apply`].
        at: Duration,
    },
    /// Read lines.
    Listen,
    /// Ask the device about itself, this often.
    Look {
        /// Pause.
        every: Duration,
    },
    /// Nothing: it has ended.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Detached {
        retry_at: Duration,
    },
    Attached,
    Restarting {
        since: Duration,
        old_since: Option<Duration>,
    },
    Trial {
        since: Duration,
    },
    Over,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which end.
    pub end: End,
    /// Why, when it did not end well.
    pub error: Option<ErrorInfo>,
    /// One plain sentence.
    pub summary: String,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobState {
    /// Number.
    pub id: u32,
    /// Device id.
    pub device: String,
    /// Device name at the start.
    pub device_name: String,
    /// Release.
    pub release: Release,
    /// Whether a release that was rolled back before is sent again.
    pub retry: bool,
    /// When it started, Unix seconds.
    pub started: f64,
    /// When it ended, Unix seconds; kept by the driver.
    pub ended: Option<f64>,
    /// Where the device is told to fetch from, for the sentence when it cannot.
    pub from: Option<String>,
    before: Option<Before>,
    to_slot: Option<Slot>,
    stage: Stage,
    phase: Phase,
    /// The device took the envelope at some time: from then on its own state counts.
    accepted: bool,
    /// The last line was seen: the device selected the new slot.
    switched: bool,
    token: Option<String>,
    map: ChunkMap,
    rate: Rate,
    log: VecDeque<String>,
    last_progress: Duration,
    /// Attempts to attach since the last line.
    failures: usize,
    last_answer: Duration,
    cancelling: Option<Duration>,
    ending: Option<Ending>,
}

/// What has to outlive this process for a job to be picked up by the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// What the device ran before.
    pub before: Before,
    /// Whether the device took the envelope.
    pub accepted: bool,
    /// Whether it said that it restarts.
    pub switched: bool,
}

impl JobState {
    /// A job that waits for its turn.
    pub fn new(
        id: u32,
        device: &str,
        device_name: &str,
        release: Release,
        retry: bool,
        started: f64,
    ) -> Self {
        Self {
            id,
            device: device.to_owned(),
            device_name: device_name.to_owned(),
            map: ChunkMap::new(&release),
            release,
            retry,
            started,
            ended: None,
            from: None,
            before: None,
            to_slot: None,
            stage: Stage::Waiting,
            phase: Phase::Queued,
            accepted: false,
            switched: false,
            token: None,
            rate: Rate::default(),
            log: VecDeque::new(),
            last_progress: Duration::ZERO,
            failures: 0,
            last_answer: Duration::ZERO,
            cancelling: None,
            ending: None,
        }
    }

    /// Takes up where another process stopped. The device's own state then says where it is.
    pub fn resume(&mut self, from: Resume, now: Duration) {
        self.to_slot = Some(from.before.target());
        self.before = Some(from.before);
        self.accepted = from.accepted;
        self.switched = from.switched;
        self.last_progress = now;
        self.last_answer = now;
        if from.switched {
            self.phase = Phase::Confirm;
            self.stage = Stage::Restarting {
                since: now,
                old_since: None,
            };
        } else {
            self.phase = Phase::Preflight;
            self.stage = Stage::Detached { retry_at: now };
        }
        self.note("Picked up again after Airlift was restarted.");
    }

    /// What has to be stored for [`JobState::resume`]; none before [`JobState::begin`].
    pub fn to_resume(&self) -> Option<Resume> {
        let (accepted, switched) = (self.accepted, self.switched);
        self.before.clone().map(|before| Resume {
            before,
            accepted,
            switched,
        })
    }

    /// The device is online and it is the job's turn: preflight.
    pub fn begin(&mut self, device: &DeviceInfo, now: Duration) {
        if self.stage != Stage::Waiting {
            return;
        }
        let before = Before::of(device, &self.release);
        self.phase = Phase::Preflight;
        self.last_progress = now;
        let plan = preflight::preflight(&self.release, device, self.retry);
        let target = before.target();
        self.before = Some(before);
        match plan {
            Ok(Plan::Send) => {
                self.to_slot = Some(target);
                self.stage = Stage::Detached { retry_at: now };
            }
            Ok(Plan::Current) => {
                self.to_slot = Some(device.running.slot);
                self.over(End::Done, None, sentence::current(&self.release));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Takes what happened. `now` is monotonic from any origin.
    pub fn apply(&mut self, input: Input<'_>, now: Duration) {
        if self.stage == Stage::Over {
            return;
        }
        match input {
            // No progress yet: a device that takes connections and says nothing is stalled too.
            Input::Attached => self.stage = Stage::Attached,
            Input::Line(line) => self.line(line, now),
            Input::Refused { code, message } => self.refused(code, message, now),
            Input::Detached { reason } => self.detached(reason, now),
            Input::Seen(device) => self.seen(device, now),
            Input::Cancel => self.cancel(now),
            Input::Tick => {}
        }
        self.check_deadlines(now);
    }

    /// What is to be done now.
    pub fn next(&self) -> Next {
        match self.stage {
            Stage::Waiting => Next::Wait,
            Stage::Detached { retry_at, .. } => Next::Attach { at: retry_at },
            Stage::Attached => Next::Listen,
            Stage::Restarting { .. } | Stage::Trial { .. } => Next::Look { every: LOOK_EVERY },
            Stage::Over => Next::Over,
        }
    }

    /// Ends the job for a reason outside the device, such as a chunk server that does not listen.
    pub fn fail(&mut self, error: ErrorInfo) {
        let summary = error.message.clone();
        self.over(End::Failed, Some(error), summary);
    }

    /// How it ended, once it has.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Cancels it on the device, once known.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether cancelling can still do something: not after the switch.
    pub fn can_cancel(&self) -> bool {
        self.ending.is_none() && !self.switched && self.cancelling.is_none()
    }

    /// Whether somebody wants it cancelled and the device has not confirmed that yet.
    pub fn is_cancelling(&self) -> bool {
        self.cancelling.is_some() && self.stage != Stage::Over
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The chunk map.
    pub fn map(&self) -> &ChunkMap {
        &self.map
    }

    /// The chunk map, to take its changes.
    pub fn map_mut(&mut self) -> &mut ChunkMap {
        &mut self.map
    }

    /// What the window sees of it.
    pub fn view(&self, now: Duration) -> dto::Job {
        let fetching = matches!(self.stage, Stage::Attached);
        let rate = self.rate.per_second(now).filter(|_| fetching);
        let left = rate.map(|rate| self.map.bytes_left() as f64 / rate);
        let error = self.ending.as_ref().and_then(|e| e.error.clone());
        let end = self.ending.as_ref().map(|e| e.end);
        dto::Job {
            id: self.id,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            release: self.release.id.clone(),
            product: self.release.product.clone(),
            from_version: self.before.as_ref().and_then(|b| b.version.clone()),
            to_version: self.release.version.clone(),
            from_slot: self.before.as_ref().map(|b| b.slot.to_string()),
            to_slot: self.to_slot.map(|s| s.to_string()),
            phase: self.phase,
            end,
            error,
            summary: match &self.ending {
                Some(ending) => ending.summary.clone(),
                None => sentence::now(self),
            },
            parts: self.map.progress(),
            rate,
            seconds_left: left.filter(|_| self.phase < Phase::Check),
            started: self.started,
            ended: self.ended,
            can_cancel: self.can_cancel(),
            can_retry: matches!(end, Some(End::Failed | End::RolledBack | End::Cancelled)),
        }
    }

    /// The job with its chunk map and log.
    pub fn detail(&self, seq: u32, now: Duration) -> dto::JobDetail {
        dto::JobDetail {
            seq,
            job: self.view(now),
            chunks: self.map.digits(),
            refused: self.map.refused().to_vec(),
            log: self.log.iter().cloned().collect(),
        }
    }

    fn line(&mut self, line: &DeviceLine, now: Duration) {
        self.last_progress = now;
        self.failures = 0;
        match line {
            DeviceLine::Started { token, release } => {
                if *release != self.release.id {
                    let message = format!("the device started release {release}, not this one");
                    return self.fail(info(ErrorCode::BadRequest, message));
                }
                self.accepted = true;
                self.token = Some(token.clone()).filter(|token| !token.is_empty());
                self.note("The device took the release.");
            }
            DeviceLine::Phase { phase } => self.enter(phase),
            DeviceLine::Chunk {
                part,
                n,
                count,
                state,
                attempt,
                expected,
                computed,
            } => {
                self.at_least(if part == "files" {
                    Phase::Files
                } else {
                    Phase::App
                });
                match map::state(state) {
                    Some(ChunkState::Refused) => {
                        self.note(&format!(
                            "Refused chunk {n} of {part}: it has another hash."
                        ));
                        self.map.refuse(RefusedChunk {
                            part: part.clone(),
                            n: *n,
                            attempt: *attempt,
                            expected: expected.clone(),
                            computed: computed.clone(),
                        });
                    }
                    Some(state) => {
                        let bytes = self.map.set(part, *n, *count, state);
                        self.rate.add(bytes, now);
                    }
                    None => {}
                }
            }
            DeviceLine::Part {
                part,
                expected,
                computed,
            } => {
                let same = if expected == computed {
                    "as signed"
                } else {
                    "not as signed"
                };
                self.note(&format!("Read back {part}: {computed}, {same}."));
                self.map.computed(part, computed);
            }
            DeviceLine::Rebooting { slot } => {
                if let Some(slot) = slot.as_deref().and_then(slot_named) {
                    self.to_slot = Some(slot);
                }
                self.switched = true;
                self.restarting(now);
            }
            DeviceLine::Failed { code, message } => self.device_failed(code, message),
            DeviceLine::Unknown => {}
        }
    }

    fn refused(&mut self, code: &str, message: &str, now: Duration) {
        use ErrorCode::{AlreadyCurrent, Busy, RateLimited, RolledBackBefore, TrialRunning};
        match ErrorCode::parse(code) {
            // It finished while the connection was away: what it runs says how.
            Some(AlreadyCurrent | TrialRunning) if self.accepted => self.restarting(now),
            Some(RolledBackBefore) if self.accepted => self.rolled_back(None, now),
            Some(Busy | RateLimited) if self.accepted => self.detached(message, now),
            _ => self.device_failed(code, message),
        }
    }

    fn device_failed(&mut self, code: &str, message: &str) {
        match ErrorCode::parse(code) {
            Some(ErrorCode::AlreadyCurrent) => {
                self.over(End::Done, None, sentence::current(&self.release));
            }
            Some(ErrorCode::Cancelled) => self.cancelled(None),
            Some(ErrorCode::HostUnreachable) => {
                self.fail(sentence::host_unreachable(
                    &self.device_name,
                    self.from.as_deref(),
                ));
            }
            _ => self.fail(info_named(code, message)),
        }
    }

    fn detached(&mut self, reason: &str, now: Duration) {
        if self.cancelling.is_some() {
            return self.cancelled(Some("the device may need a moment to notice"));
        }
        if !matches!(self.stage, Stage::Detached { .. } | Stage::Attached) {
            return;
        }
        self.note(&format!("The connection is away: {reason}."));
        // The last line may be what was lost: from the check on, the restart can come any time.
        if self.accepted && self.phase >= Phase::Check {
            self.restarting(now);
            return;
        }
        let last = BACK_OFF.len() - 1;
        let pause = BACK_OFF[self.failures.min(last)];
        self.failures += 1;
        self.stage = Stage::Detached {
            retry_at: now + pause,
        };
    }

    fn seen(&mut self, device: &DeviceInfo, now: Duration) {
        let since = match self.stage {
            Stage::Waiting | Stage::Attached | Stage::Over => return,
            Stage::Detached { .. } if !self.accepted => return,
            Stage::Detached { .. } => self.last_progress,
            Stage::Restarting { since, .. } | Stage::Trial { since } => since,
        };
        self.last_answer = now;
        if self.runs_target(device) {
            return self.on_target(device, now);
        }
        // An answer from just before the restart tells nothing, and a record of an earlier try
        // looks the same as one of this try: only a fresh start makes it this one's.
        let uptime = Duration::from_millis(device.uptime_ms);
        let fresh = uptime <= now.saturating_sub(since) + Duration::from_secs(1);
        let idle = matches!(device.updater.state, UpdaterState::Idle);
        let stale_record = self.before.as_ref().is_some_and(|b| b.rolled_back);
        let record = rolled_back_record(device, &self.release);
        if record && idle && (fresh || !stale_record) {
            return self.rolled_back(device.last_update.as_ref(), now);
        }
        let Stage::Restarting { since, old_since } = self.stage else {
            // On trial before, and now on something else without a word: treat it as a restart.
            if matches!(self.stage, Stage::Trial { .. }) {
                self.stage = Stage::Restarting {
                    since,
                    old_since: Some(now),
                };
            }
            return;
        };
        let updating = matches!(device.updater.state, UpdaterState::Updating);
        if !self.switched && (updating || (idle && fresh)) {
            // It never came to the switch: still at it, or cut off and started again.
            self.stage = Stage::Detached { retry_at: now };
            self.last_progress = now;
        } else if idle && fresh {
            let old_since = old_since.unwrap_or(now);
            self.stage = Stage::Restarting {
                since,
                old_since: Some(old_since),
            };
            if now.saturating_sub(old_since) >= GRACE {
                self.rolled_back(None, now);
            }
        }
    }

    fn on_target(&mut self, device: &DeviceInfo, now: Duration) {
        self.switched = true;
        self.phase = Phase::Confirm;
        if device.running.state == SlotState::Valid {
            let summary = sentence::done(&self.release, device);
            self.over(End::Done, None, summary);
        } else if !matches!(self.stage, Stage::Trial { .. }) {
            self.note("The device is back, on trial with the new version.");
            self.stage = Stage::Trial { since: now };
        }
    }

    /// Whether the device runs what the release says, from the slot it was written to.
    fn runs_target(&self, device: &DeviceInfo) -> bool {
        let running = &device.running;
        let kept = |old: fn(&Before) -> &Option<String>| {
            self.before
                .as_ref()
                .and_then(|before| old(before).as_deref())
        };
        let app = preflight::named(&self.release.app).or(kept(|b| &b.app));
        let files = preflight::named(&self.release.files).or(kept(|b| &b.files));
        let is = |want: Option<&str>, have: Option<airlift_wire::Digest>| {
            want.is_none_or(|want| have.is_some_and(|have| have.to_string() == want))
        };
        Some(running.slot) == self.to_slot
            && (app.is_some() || files.is_some())
            && is(app, running.app_sha256)
            && is(files, running.files_sha256)
            && running
                .release
                .is_none_or(|r| r.to_string() == self.release.id)
    }

    fn rolled_back(&mut self, last: Option<&airlift_discover::device::LastUpdate>, _now: Duration) {
        let from = self.before.as_ref().and_then(|b| b.version.as_deref());
        let summary = sentence::rolled_back(from, &self.release.version, last);
        let error = info(ErrorCode::RolledBack, &summary);
        self.over(End::RolledBack, Some(error), summary);
    }

    fn cancel(&mut self, now: Duration) {
        if self.switched || self.cancelling.is_some() {
            return;
        }
        if self.stage == Stage::Attached {
            self.cancelling = Some(now);
            self.note("Cancelling.");
        } else {
            self.cancelled(None);
        }
    }

    fn cancelled(&mut self, but: Option<&str>) {
        let summary = sentence::cancelled(self.accepted, but);
        self.over(
            End::Cancelled,
            Some(info(ErrorCode::Cancelled, &summary)),
            summary,
        );
    }

    fn check_deadlines(&mut self, now: Duration) {
        let name = self.device_name.clone();
        let silent = now.saturating_sub(self.last_progress);
        match self.stage {
            Stage::Attached | Stage::Detached { .. } => {
                if self
                    .cancelling
                    .is_some_and(|at| now.saturating_sub(at) >= CANCEL_WAIT)
                {
                    self.cancelled(Some("the device has not confirmed it"));
                } else if self.stage != Stage::Attached && !self.accepted && silent >= FIRST_CONTACT
                {
                    let message = format!("{name} does not answer");
                    self.fail(info(ErrorCode::ConnectionLost, message));
                } else if silent >= STALL {
                    let message = format!("nothing came from {name} for {} s", STALL.as_secs());
                    self.fail(info(ErrorCode::Stalled, message));
                }
            }
            Stage::Restarting { since, .. } | Stage::Trial { since } => {
                let away = now.saturating_sub(self.last_answer.max(since));
                let trial = matches!(self.stage, Stage::Trial { .. });
                if away >= NOT_SEEN {
                    let message = format!("{name} was not seen again for {} s", NOT_SEEN.as_secs());
                    self.fail(info(ErrorCode::NotSeenAgain, message));
                } else if now.saturating_sub(since) >= LONGEST_TRIAL {
                    let what = if trial {
                        "still runs the new version on trial"
                    } else {
                        "answers, and has neither the new version nor said why not"
                    };
                    self.fail(info(ErrorCode::NotSeenAgain, format!("{name} {what}")));
                }
            }
            Stage::Waiting | Stage::Over => {}
        }
    }

    fn restarting(&mut self, now: Duration) {
        if self.switched {
            self.phase = Phase::Confirm;
        }
        self.last_answer = now;
        self.stage = Stage::Restarting {
            since: now,
            old_since: None,
        };
        self.note("The device restarts.");
    }

    fn enter(&mut self, phase: &str) {
        let known = match phase {
            "preflight" => Phase::Preflight,
            "signature" => Phase::Signature,
            "app" => Phase::App,
            "files" => Phase::Files,
            "check" => Phase::Check,
            "switch" => Phase::Switch,
            _ => return,
        };
        self.at_least(known);
    }

    /// Phases never go back: a device that is attached to again tells the early ones once more.
    fn at_least(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    fn over(&mut self, end: End, error: Option<ErrorInfo>, summary: String) {
        self.stage = Stage::Over;
        self.phase = Phase::Ended;
        self.note(&summary);
        self.ending = Some(Ending {
            end,
            error,
            summary,
        });
    }

    fn note(&mut self, text: &str) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(text.to_owned());
    }
}

fn slot_named(name: &str) -> Option<Slot> {
    [Slot::Factory, Slot::Ota0, Slot::Ota1]
        .into_iter()
        .find(|slot| slot.as_str() == name)
}

#[cfg(test)]
pub(crate) mod tests;
