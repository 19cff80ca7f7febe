//! Carrying out a plan: compare, save, write, verify, restart; and on after an unplug.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airlift_flash::{Depth, Segment};
use airlift_usb::write::BackupTo;
use airlift_wire::ErrorCode;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::airlift::{Airlift, Shared};
use crate::dto::{ErrorInfo, UsbActivity as A, UsbEnd, UsbJob, UsbJobKind, UsbPhase, UsbRecord};
use crate::usb::backup;
use crate::usb::boards::{Session, Step, Write};
use crate::usb::bound::Bound;
use crate::usb::driver::on_flash;
use crate::usb::lane::Lane;
use crate::usb::table::{JobEnd, Progress};
use crate::usb::view;

mod elsewhere;

/// How often a port that went away is looked for when the system does not say that it is back.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Until a port that is back, and cannot be used yet, is tried again.
const SETTLES: Duration = Duration::from_millis(100);

impl Airlift {
    /// Carries out a plan, and returns the number of the job; the port says how it goes. An unplugged
    /// board is waited for, and the job goes on when the same one is back.
    ///
    /// # Errors
    /// `plan_stale` when it is not the last one made for this port, `not_connected`, `busy`, and why
    /// the plan is blocked. That something changed since it was made ends the job.
    pub async fn usb_carry_out(&self, port: &str, plan: u32) -> Result<u32, Error> {
        let usb = &self.shared.usb;
        let lane = usb.lane(port);
        let bound = lane.plan().filter(|bound| bound.id == plan);
        let id = usb.edit(|table| table.start_job(port, plan))?;
        let cancel = lane.begin();
        lane.set_plan(None);
        let job = Job {
            shared: self.shared.clone(),
            port: port.to_owned(),
            lane,
            id,
            cancel,
        };
        // Not one of the tasks that the end of the program aborts: it stops between two segments.
        tokio::spawn(job.run(bound));
        Ok(id)
    }

    /// Waits for the end of a job, on the port where it was started or where its board came back.
    ///
    /// # Errors
    /// `no_such_port`; `no_such_job` when another one has been started there since.
    pub async fn usb_wait(&self, port: &str, job: u32) -> Result<UsbJob, Error> {
        let usb = &self.shared.usb;
        let now = usb.table().job(job).map(|(path, _)| path.to_owned());
        let Some(now) = now else {
            usb.table().view(port)?;
            return Err(Error::NoSuchJob(job));
        };
        let lane = usb.lane(&now);
        // The sender lives as long as the lane.
        let _ = lane.ended.subscribe().wait_for(|ended| *ended >= job).await;
        let table = usb.table();
        let (_, job) = table.job(job).ok_or(Error::NoSuchJob(job))?;
        Ok(job.clone())
    }
}

struct Job {
    shared: Arc<Shared>,
    /// Where its board is, or was last.
    port: String,
    lane: Arc<Lane>,
    id: u32,
    cancel: CancellationToken,
}

/// How far a job came, over all its attempts.
#[derive(Default)]
struct Reached {
    /// Bytes that were written and verified.
    bytes: u32,
    /// Something may have been written: the flash is not what the plan was made for any more.
    wrote: Arc<AtomicBool>,
}

impl Job {
    async fn run(mut self, bound: Option<Arc<Bound>>) {
        let Some(bound) = bound else {
            let message = "the plan is not there any more".to_owned();
            let error = Error::refused(ErrorCode::PlanStale, message);
            return self.end(A::Connected, JobEnd::of(&error), None, 0).await;
        };
        let lane = self.lane.clone();
        let turn = lane.turn().await;
        let mut reached = Reached::default();
        let result = self.attempts(&bound, &mut reached).await;
        let bytes = reached.bytes;
        let (activity, end) = match result {
            Ok(()) => self.restart(&bound, bytes).await,
            Err(error) => {
                let gone = matches!(
                    error.code(),
                    ErrorCode::Unplugged
                        | ErrorCode::NoAnswer
                        | ErrorCode::LinkLost
                        | ErrorCode::WrongBoard
                );
                if gone {
                    self.lane.set_session(None);
                }
                if reached.wrote.load(Ordering::Relaxed) {
                    self.look_again().await;
                }
                let open = self.lane.session().is_ok();
                let activity = if open { A::Connected } else { A::Idle };
                (activity, JobEnd::of(&error))
            }
        };
        drop(turn);
        self.end(activity, end, Some(&bound), bytes).await;
    }

    /// Tries until it is done, or there is a reason not to go on.
    async fn attempts(&mut self, bound: &Arc<Bound>, reached: &mut Reached) -> Result<(), Error> {
        let mut session = self.lane.session()?;
        let backup = self.backup_to(bound);
        loop {
            let attempt = self.attempt(&session, bound, backup.as_ref(), reached);
            let error = match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.code() != ErrorCode::Unplugged || self.cancel.is_cancelled() {
                return Err(error);
            }
            drop(session);
            self.lane.set_session(None);
            self.shared
                .usb
                .edit(|table| table.fail(&self.port, A::Unplugged, &error));
            session = self.comes_back(bound, &error).await?;
            bound.is_for(session.board())?;
            self.lane.set_session(Some(session.clone()));
            self.shared.usb.edit(|table| table.resume(&self.port));
        }
    }

    /// One attempt, on a board that is there. What was written by an earlier one is found to be right
    /// and skipped.
    async fn attempt(
        &self,
        session: &Arc<dyn Session>,
        bound: &Arc<Bound>,
        backup: Option<&BackupTo>,
        reached: &mut Reached,
    ) -> Result<(), Error> {
        bound.is_for(session.board())?;
        session.board().writable()?;
        let wrote = reached.wrote.load(Ordering::Relaxed);
        if !wrote {
            let basis = bound.clone();
            let fits = on_flash(&**session, self.cancel.clone(), move |flash| {
                basis.basis.still_fits(flash)
            });
            if !fits.await? {
                let message = "what is in the flash has changed since the plan was made";
                return Err(Error::refused(ErrorCode::PlanStale, message));
            }
        }
        let write = Write {
            segments: bound.segments(),
            backup: backup.cloned(),
            cancel: self.cancel.clone(),
            on_progress: self.on_progress(bound, reached.wrote.clone()),
        };
        let (written, result) = session.write(write).await;
        reached.bytes = reached.bytes.saturating_add(written.bytes);
        if let Some(id) = backup.filter(|_| written.saved).and_then(id_of) {
            let usb = &self.shared.usb;
            usb.edit(|table| table.backed_up(&self.port, &id));
        }
        result
    }

    /// Where what is overwritten is saved, in all attempts the same.
    fn backup_to(&self, bound: &Bound) -> Option<BackupTo> {
        if !bound.backup {
            return None;
        }
        let time = self.shared.clock.unix() as u64;
        let id = backup::free_id(&self.shared.home, &bound.board, time);
        Some(BackupTo {
            path: backup::path(&self.shared.home, &id),
            time,
            summary: match bound.kind {
                UsbJobKind::Repair => format!("Before this repair: {}.", bound.what),
                UsbJobKind::Flash => format!("Before {} was written.", bound.what),
                UsbJobKind::Restore => "Before another backup was put back.".to_owned(),
            },
        })
    }

    fn on_progress(
        &self,
        bound: &Arc<Bound>,
        wrote: Arc<AtomicBool>,
    ) -> Box<dyn FnMut(Step) + Send> {
        let (usb, port, bound) = (self.shared.usb.clone(), self.port.clone(), bound.clone());
        Box::new(move |step| {
            if step.phase >= UsbPhase::Write && step.total > 0 {
                wrote.store(true, Ordering::Relaxed);
            }
            let progress = Progress {
                phase: step.phase,
                step: u32::try_from(bound.step_at(step.offset)).unwrap_or(u32::MAX),
                bytes: step.bytes,
                total: step.total,
                skipped: step.skipped,
            };
            let now = usb.now();
            usb.edit(|table| table.progress(&port, progress, now));
        })
    }

    /// Waits until the port is there again and a loader answers on it, or until the board answers on
    /// another port.
    async fn comes_back(&mut self, bound: &Bound, lost: &Error) -> Result<Arc<dyn Session>, Error> {
        let cancelled = || Error::refused(ErrorCode::Cancelled, "it was cancelled");
        let deadline = self.shared.patience.map(|wait| Instant::now() + wait);
        let mut left_alone = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(cancelled()),
                _ = timeout(LOOK_EVERY, self.shared.usb.listed.notified()) => {}
            }
            self.shared.usb.list().await?;
            let view = self.shared.usb.table().view(&self.port)?;
            if view.present {
                match self.shared.open_session(&view, self.cancel.clone()).await {
                    Ok(session) => return Ok(session),
                    Err(error) if error.code() == ErrorCode::Cancelled => return Err(error),
                    // It may not have settled yet, or it is gone again.
                    Err(_) => sleep(SETTLES).await,
                }
                self.shared
                    .usb
                    .edit(|table| table.set_activity(&self.port, A::Unplugged));
            } else if let Some(session) = self.elsewhere(bound, &mut left_alone).await? {
                return Ok(session);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::refused(lost.code(), lost.to_string()));
            }
        }
    }

    /// A job that ended early leaves something else in the flash than what was seen before, and the
    /// next plan is made from what was seen last.
    async fn look_again(&self) {
        self.lane.set_looked(None);
        let usb = &self.shared.usb;
        usb.edit(|table| table.undiagnosed(&self.port));
        if self.lane.session().is_err() {
            return;
        }
        let cancel = self.lane.begin();
        let looked = self
            .shared
            .look_into(&self.port, &self.lane, Depth::Quick, cancel);
        if let Err(error) = looked.await {
            tracing::debug!(port = self.port, "not looked at: {error}");
        }
    }

    /// Says what is there now, and starts it.
    async fn restart(&self, bound: &Bound, bytes: u32) -> (A, JobEnd) {
        let usb = &self.shared.usb;
        usb.edit(|table| table.restarting(&self.port));
        let wrote = match bytes {
            0 => "Everything was right already.".to_owned(),
            bytes => format!("Wrote and verified {} KiB.", bytes / 1024),
        };
        let next = match &bound.after {
            Some(after) => {
                self.lane.set_looked(None);
                let seen = view::diagnosis(after, 0);
                let next = seen.next_boot.clone();
                usb.edit(|table| table.diagnosed(&self.port, seen));
                Ok(next)
            }
            None => {
                // What was seen before is not there any more, also if this look does not work.
                self.lane.set_looked(None);
                usb.edit(|table| table.undiagnosed(&self.port));
                let looked = self.shared.look_into(
                    &self.port,
                    &self.lane,
                    Depth::Quick,
                    self.cancel.clone(),
                );
                looked.await.map(|seen| seen.next_boot)
            }
        };
        let session = self.lane.session();
        let started = match session {
            Ok(session) => session.start().await,
            Err(error) => Err(error),
        };
        self.lane.set_session(None);
        let mut summary = wrote;
        if let Ok(next) = &next {
            summary.push(' ');
            summary.push_str(next);
        }
        if let Err(error) = started {
            // It is written and verified: that is what was asked for.
            tracing::debug!(port = self.port, "not started: {error}");
            summary.push_str(" Press RESET to start it.");
        }
        (A::Idle, JobEnd::done(summary))
    }

    /// Tells the end, and keeps what was done to which board.
    async fn end(&self, activity: A, end: JobEnd, bound: Option<&Bound>, bytes: u32) {
        let usb = &self.shared.usb;
        let view = usb.table().view(&self.port);
        if let (Some(bound), Ok(port)) = (bound, view) {
            let record = UsbRecord {
                time: self.shared.clock.unix(),
                port: port.path,
                serial_number: port.serial_number,
                chip: bound.board.chip.clone(),
                mac: bound.board.mac.clone(),
                label: port.label,
                kind: bound.kind,
                what: bound.what.clone(),
                bytes,
                end: end.end,
                code: code_of(&end),
            };
            if let Err(error) = self.shared.store.add_usb_record(&record).await {
                tracing::warn!("what was done to a board cannot be kept: {error}");
            }
        }
        usb.edit(|table| table.end_job(&self.port, activity, &end));
        self.lane.ended.send_modify(|ended| *ended = self.id);
    }
}

fn code_of(end: &JobEnd) -> Option<String> {
    let failed = end
        .error
        .as_ref()
        .map(|error: &ErrorInfo| error.code.clone());
    failed.filter(|_| end.end == UsbEnd::Failed)
}

/// The id of a backup.
fn id_of(to: &BackupTo) -> Option<String> {
    Some(to.path.file_stem()?.to_str()?.to_owned())
}

/// Bytes of segments.
pub(super) fn size(segments: &[Segment]) -> u32 {
    segments
        .iter()
        .map(Segment::size)
        .fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::airlift::Options;
    use crate::dto::{FlashPart, FlashRequest, FlashSource};
    use crate::usb::fake::{FakeBoards, board};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_job_left_half_done_is_looked_at_again() {
        const PORT: &str = "/dev/a";
        const AT: u32 = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let boards = FakeBoards::default();
        boards.plug(PORT, board(1));
        let mut options = Options::command(dir.path().join("home"));
        options.mdns = false;
        options.usb = true;
        let app = Airlift::open_with(options, Arc::new(boards.clone()));
        let app = app.await.unwrap();
        let file = dir.path().join("blob.bin");
        std::fs::write(&file, [0x40; 3 * 4096]).unwrap();
        let part = FlashPart {
            offset: AT,
            path: file.to_string_lossy().into_owned(),
        };
        let request = FlashRequest {
            source: FlashSource::Parts { parts: vec![part] },
            name: None,
            trusts: Vec::new(),
            wifi: None,
            factory_slot: false,
            bootloader: None,
            keep_nvs: true,
            backup: false,
        };
        let port = app.usb_connect(PORT).await.unwrap();
        assert_eq!(port.diagnosis.unwrap().code, "blank_flash");
        let plan = app.usb_plan_flash(PORT, request).await.unwrap();
        boards.break_sector(PORT, AT + 4096);
        let job = app.usb_carry_out(PORT, plan.id).await.unwrap();
        let job = app.usb_wait(PORT, job).await.unwrap();
        assert_eq!(job.end, Some(UsbEnd::Failed), "{job:?}");
        let port = app.shared.usb.table().view(PORT).unwrap();
        assert_eq!(port.activity, A::Connected);
        // It is not blank any more.
        assert_eq!(port.diagnosis.unwrap().code, "foreign_firmware");
    }
}
