//! One device's update to one release, as a state machine: what happened and the time go in, what
//! to do next comes out. It does no I/O; its driver does what it asks for.
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
use airlift_discover::device::Slot;

use crate::dto::{End, ErrorInfo, Phase, Release};

mod before;
pub(crate) mod driver;
pub mod line;
pub mod map;
pub mod preflight;
pub(crate) mod rate;
mod sentence;
mod transitions;
mod view;

pub use before::{Before, Resume};
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
    /// Whether it waits for the device to be online, and not for its turn.
    away: bool,
    cancelling: Option<Duration>,
    ending: Option<Ending>,
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
            away: false,
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

    /// Notes whether the device is offline. Says whether that is news.
    pub fn set_away(&mut self, away: bool) -> bool {
        std::mem::replace(&mut self.away, away) != away
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
}
#[cfg(test)]
pub(crate) mod tests;
