//! Every serial port, what is known of the board behind it and the job on it, without I/O.
//!
//! What fronts see of a port is its whole state here, except for how fast a job is. Whoever drives a
//! port says what it did; [`Table::due`] says what to tell, at most ten times a second a port.

use std::collections::BTreeMap;
use std::time::Duration;

use airlift_wire::ErrorCode;

use crate::Error;
use crate::dto::{
    Diagnosis, ErrorInfo, Event, FlashPlan, UsbActivity, UsbBoard, UsbEnd, UsbJob, UsbJobKind,
    UsbLogLine, UsbPhase, UsbPort,
};
use crate::job::rate::Rate;

mod moved;
mod pace;

pub(crate) use moved::Came;
use pace::Pace;

/// How often a port is told about at most.
pub(crate) const TELL_EVERY: Duration = Duration::from_millis(100);
/// How many lines of a log wait for the next time that something is told; older ones are only kept.
const LINES_AT_ONCE: usize = 2_000;

/// A port as the system lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) vendor_id: Option<u16>,
    pub(crate) product_id: Option<u16>,
    pub(crate) adapter: String,
    pub(crate) serial_number: Option<String>,
    pub(crate) likely: Option<String>,
    pub(crate) problem: Option<ErrorInfo>,
    pub(crate) named: bool,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) phase: UsbPhase,
    pub(crate) step: u32,
    pub(crate) bytes: u32,
    pub(crate) total: u32,
    pub(crate) skipped: u32,
}

/// Every port.
#[derive(Debug, Default)]
pub(crate) struct Table {
    ports: BTreeMap<String, Port>,
    gone: Vec<String>,
    jobs: u32,
    plans: u32,
    /// How often ports were listed.
    lists: u64,
}

#[derive(Debug)]
struct Port {
    view: UsbPort,
    rates: BTreeMap<UsbPhase, Rate>,
    pace: Pace,
    lines: Vec<UsbLogLine>,
    told: Option<Duration>,
    pending: bool,
    /// The list with which it came, or went.
    turned: u64,
}

impl Port {
    fn new(found: Found, turned: u64) -> Self {
        Self {
            view: UsbPort {
                path: found.path,
                vendor_id: found.vendor_id,
                product_id: found.product_id,
                adapter: found.adapter,
                serial_number: found.serial_number,
                likely: found.likely,
                present: true,
                named: found.named,
                problem: found.problem,
                activity: UsbActivity::Idle,
                board: None,
                diagnosis: None,
                plan: None,
                job: None,
                error: None,
                label: None,
            },
            rates: BTreeMap::new(),
            pace: Pace::default(),
            lines: Vec::new(),
            told: None,
            pending: true,
            turned,
        }
    }

    /// It is listed again, perhaps as another adapter than before.
    fn found(&mut self, found: Found, list: u64) {
        let view = &mut self.view;
        let other = view.serial_number != found.serial_number
            || (view.vendor_id, view.product_id) != (found.vendor_id, found.product_id);
        if other && view.activity == UsbActivity::Idle {
            // What was known is of another board.
            *self = Self::new(found, list);
            return;
        }
        if other || !view.present {
            self.turned = list;
        }
        let before = view.clone();
        view.vendor_id = found.vendor_id;
        view.product_id = found.product_id;
        view.adapter = found.adapter;
        view.serial_number = found.serial_number;
        view.likely = found.likely;
        view.problem = found.problem;
        view.named |= found.named;
        view.present = true;
        self.pending |= before != self.view;
    }
}

impl Table {
    /// Takes over what the system lists. What is not there any more goes, unless something is known of
    /// it or it was named by hand. Returns the ports that went away while they were in use.
    pub(crate) fn list(&mut self, found: Vec<Found>) -> Vec<String> {
        self.lists += 1;
        let list = self.lists;
        let paths: Vec<String> = found.iter().map(|found| found.path.clone()).collect();
        for found in found {
            match self.ports.get_mut(&found.path) {
                Some(port) => port.found(found, list),
                None => {
                    self.ports
                        .insert(found.path.clone(), Port::new(found, list));
                }
            }
        }
        let mut lost = Vec::new();
        let mut gone = Vec::new();
        for (path, port) in &mut self.ports {
            if paths.contains(path) {
                continue;
            }
            let view = &mut port.view;
            if view.activity == UsbActivity::Idle && view.job.is_none() && !view.named {
                gone.push(path.clone());
                continue;
            }
            if view.present {
                view.present = false;
                view.problem = None;
                port.pending = true;
                port.turned = list;
                if view.activity != UsbActivity::Idle {
                    lost.push(path.clone());
                }
            }
        }
        for path in gone {
            self.ports.remove(&path);
            self.gone.push(path);
        }
        lost
    }

    /// Adds a port that was named by hand.
    pub(crate) fn add(&mut self, found: Found) {
        let (path, list) = (found.path.clone(), self.lists);
        self.ports
            .entry(path)
            .or_insert_with(|| Port::new(found, list));
    }

    /// Every port, by path.
    pub(crate) fn views(&self) -> Vec<UsbPort> {
        self.ports.values().map(|port| port.view.clone()).collect()
    }

    /// A port.
    ///
    /// # Errors
    /// `no_such_port`.
    pub(crate) fn view(&self, path: &str) -> Result<UsbPort, Error> {
        let port = self.ports.get(path).ok_or_else(|| no_such_port(path))?;
        Ok(port.view.clone())
    }

    /// Starts something on a port that is not busy with something else.
    ///
    /// # Errors
    /// `no_such_port`; `busy`, with what it is busy with.
    pub(crate) fn begin(
        &mut self,
        path: &str,
        activity: UsbActivity,
        from: &[UsbActivity],
    ) -> Result<UsbPort, Error> {
        let port = self.port(path)?;
        if !from.contains(&port.view.activity) {
            return Err(busy(path, port.view.activity));
        }
        port.view.error = None;
        port.view.activity = activity;
        port.pending = true;
        Ok(port.view.clone())
    }

    /// Changes what a port is busy with, if it is listed.
    pub(crate) fn set_activity(&mut self, path: &str, activity: UsbActivity) {
        self.edit(path, |view| view.activity = activity);
    }

    /// The thing that was asked of it did not work, and it is busy with `activity` from now on.
    pub(crate) fn fail(&mut self, path: &str, activity: UsbActivity, error: &Error) {
        self.edit(path, |view| {
            view.activity = activity;
            view.error = Some(error.into());
        });
    }

    /// A board answered.
    pub(crate) fn connected(&mut self, path: &str, board: UsbBoard, label: Option<String>) {
        self.edit(path, |view| {
            let known = view.board.take();
            let same = |known: &UsbBoard| known.mac.is_some() && known.mac == board.mac;
            if !known.as_ref().is_some_and(same) {
                view.diagnosis = None;
                view.job = None;
                // What was given before any board answered is meant for the one that does.
                view.label = view.label.take().filter(|_| known.is_none()).or(label);
            }
            view.plan = None;
            view.board = Some(board);
            view.error = None;
            view.activity = UsbActivity::Connected;
        });
    }

    /// Its flash was looked at.
    pub(crate) fn diagnosed(&mut self, path: &str, diagnosis: Diagnosis) {
        self.edit(path, |view| view.diagnosis = Some(diagnosis));
    }

    /// What was seen in its flash is not what is there now.
    pub(crate) fn undiagnosed(&mut self, path: &str) {
        self.edit(path, |view| view.diagnosis = None);
    }

    /// A plan was made for it: numbers it, and says how long it takes by how long the last job took.
    pub(crate) fn planned(&mut self, path: &str, mut plan: FlashPlan) -> FlashPlan {
        self.plans = self.plans.saturating_add(1);
        plan.id = self.plans;
        if let Ok(port) = self.port(path) {
            port.pace.reckon(&mut plan);
        }
        self.edit(path, |view| view.plan = Some(plan.clone()));
        plan
    }

    /// Starts the job that carries out a plan.
    ///
    /// # Errors
    /// `no_such_port`, `busy`; `plan_stale` when the plan is not the last one that was made for this
    /// port; the reason why the plan cannot be carried out, if it says one.
    pub(crate) fn start_job(&mut self, path: &str, plan: u32) -> Result<u32, Error> {
        let id = self.jobs.saturating_add(1);
        let port = self.port(path)?;
        let view = &mut port.view;
        if view.activity != UsbActivity::Connected {
            return Err(busy(path, view.activity));
        }
        let Some(planned) = view.plan.as_ref().filter(|made| made.id == plan) else {
            let message = format!("plan {plan} is not the last one made for {path}");
            return Err(Error::refused(ErrorCode::PlanStale, message));
        };
        if let Some(blocked) = &planned.blocked {
            let code = ErrorCode::parse(&blocked.code).unwrap_or(ErrorCode::Internal);
            return Err(Error::refused(code, blocked.message.clone()));
        }
        view.job = Some(job(id, planned.kind, planned.steps.len()));
        view.activity = UsbActivity::Working;
        view.error = None;
        port.rates.clear();
        port.pace.begin();
        port.pending = true;
        self.jobs = id;
        Ok(id)
    }

    /// A job got on.
    pub(crate) fn progress(&mut self, path: &str, progress: Progress, now: Duration) {
        let Ok(port) = self.port(path) else { return };
        let Some(job) = port.view.job.as_mut().filter(|job| job.end.is_none()) else {
            return;
        };
        // Writing and verifying take turns, and each goes on where it was.
        let rate = port.rates.entry(progress.phase).or_default();
        if job.phase == progress.phase {
            rate.add(progress.bytes.saturating_sub(job.bytes), now);
        }
        port.pace.add(progress.phase, progress.bytes, now);
        job.phase = progress.phase;
        job.step = progress.step.min(job.steps.saturating_sub(1));
        job.bytes = progress.bytes;
        job.total = progress.total;
        job.skipped = progress.skipped;
        job.rate = rate.per_second(now);
        let left = f64::from(progress.total.saturating_sub(progress.bytes));
        job.seconds_left = job.rate.map(|rate| (left / rate).ceil() as u32);
        port.pending = true;
    }

    /// Everything is written and verified.
    pub(crate) fn restarting(&mut self, path: &str) {
        self.edit_job(path, |job| {
            job.phase = UsbPhase::Restart;
            (job.rate, job.seconds_left) = (None, None);
        });
    }

    /// A job goes on: its board is back.
    pub(crate) fn resume(&mut self, path: &str) {
        if let Ok(port) = self.port(path) {
            port.rates.clear();
            port.pace.begin();
        }
        self.edit(path, |view| {
            view.activity = UsbActivity::Working;
            view.error = None;
        });
    }

    /// Names the backup that the job took.
    pub(crate) fn backed_up(&mut self, path: &str, backup: &str) {
        self.edit_job(path, |job| job.backup = Some(backup.to_owned()));
    }

    /// Ends a job. The board is connected no more when `activity` says so.
    pub(crate) fn end_job(&mut self, path: &str, activity: UsbActivity, end: &JobEnd) {
        self.edit_job(path, |job| {
            job.phase = UsbPhase::Ended;
            job.end = Some(end.end);
            job.error = end.error.clone();
            job.summary = end.summary.clone();
            (job.rate, job.seconds_left) = (None, None);
        });
        self.edit(path, |view| {
            view.activity = activity;
            view.plan = None;
        });
    }

    /// What the user calls the board.
    pub(crate) fn set_label(
        &mut self,
        path: &str,
        label: Option<String>,
    ) -> Result<UsbPort, Error> {
        let port = self.port(path)?;
        port.view.label = label;
        port.pending = true;
        Ok(port.view.clone())
    }

    /// Lines to be told with the next events.
    pub(crate) fn logged(&mut self, path: &str, lines: Vec<UsbLogLine>) {
        let Ok(port) = self.port(path) else { return };
        port.lines.extend(lines);
        let too_many = port.lines.len().saturating_sub(LINES_AT_ONCE);
        port.lines.drain(..too_many);
    }

    /// What is to be told now, and when to ask again if something waits.
    pub(crate) fn due(&mut self, now: Duration) -> (Vec<Event>, Option<Duration>) {
        let mut events: Vec<Event> = self.gone.drain(..).map(Event::UsbPortGone).collect();
        let mut next: Option<Duration> = None;
        for (path, port) in &mut self.ports {
            if !port.pending && port.lines.is_empty() {
                continue;
            }
            let at = port.told.map_or(now, |told| told + TELL_EVERY);
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            port.told = Some(now);
            if std::mem::take(&mut port.pending) {
                events.push(Event::UsbPort(port.view.clone()));
            }
            if !port.lines.is_empty() {
                let (port, lines) = (path.clone(), std::mem::take(&mut port.lines));
                events.push(Event::UsbLog { port, lines });
            }
        }
        (events, next)
    }

    fn port(&mut self, path: &str) -> Result<&mut Port, Error> {
        self.ports.get_mut(path).ok_or_else(|| no_such_port(path))
    }

    fn edit(&mut self, path: &str, change: impl FnOnce(&mut UsbPort)) {
        if let Ok(port) = self.port(path) {
            change(&mut port.view);
            port.pending = true;
        }
    }

    fn edit_job(&mut self, path: &str, change: impl FnOnce(&mut UsbJob)) {
        self.edit(path, |view| {
            if let Some(job) = view.job.as_mut().filter(|job| job.end.is_none()) {
                change(job);
            }
        });
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobEnd {
    pub(crate) end: UsbEnd,
    pub(crate) error: Option<ErrorInfo>,
    pub(crate) summary: String,
}

impl JobEnd {
    /// Written and verified; `summary` says what comes next.
    pub(crate) fn done(summary: String) -> Self {
        Self {
            end: UsbEnd::Done,
            error: None,
            summary,
        }
    }

    /// As an error says; a cancelled job is no failure.
    pub(crate) fn of(error: &Error) -> Self {
        let cancelled = error.code() == ErrorCode::Cancelled;
        let error = ErrorInfo::from(error);
        Self {
            end: if cancelled {
                UsbEnd::Cancelled
            } else {
                UsbEnd::Failed
            },
            summary: error.message.clone(),
            error: Some(error).filter(|_| !cancelled),
        }
    }
}

fn job(id: u32, kind: UsbJobKind, steps: usize) -> UsbJob {
    UsbJob {
        id,
        kind,
        phase: UsbPhase::Compare,
        step: 0,
        steps: u32::try_from(steps).unwrap_or(u32::MAX),
        bytes: 0,
        total: 0,
        skipped: 0,
        rate: None,
        seconds_left: None,
        backup: None,
        end: None,
        error: None,
        summary: String::new(),
    }
}

fn no_such_port(path: &str) -> Error {
    let message = format!("there is no serial port {}", crate::error::printable(path));
    Error::refused(ErrorCode::NoSuchPort, message)
}

/// Why nothing else is started on a port now.
fn busy(path: &str, activity: UsbActivity) -> Error {
    let what = match activity {
        UsbActivity::Idle => {
            let message = format!("no board is connected on {path}");
            return Error::refused(ErrorCode::NotConnected, message);
        }
        UsbActivity::Connecting | UsbActivity::WaitingForBoot => "is being connected",
        UsbActivity::Connected => "is connected already",
        UsbActivity::Diagnosing => "is being looked at",
        UsbActivity::Working => "is being written",
        UsbActivity::Monitoring => "shows its log",
        UsbActivity::Unplugged => "is unplugged in the middle of a job",
    };
    Error::refused(ErrorCode::Busy, format!("the board on {path} {what}"))
}

#[cfg(test)]
mod tests;
