//! Devices, jobs and history.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airlift_wire::ErrorCode;

use super::{Airlift, device_id, lock};
use crate::Error;
use crate::csv;
use crate::dto::{Device, Event, HistoryRow, Job, JobDetail, Release, Settings};
use crate::home::{Instance, write_atomically};
use crate::job::JobState;
use crate::job::driver::{self, Live};
use crate::store::{Unfinished, end_name};

/// How long a given address may take to answer: two probes and the pause between them.
const ADD_WAIT: Duration = Duration::from_secs(5);

/// What the history says of a job whose process ended before it did.
const INTERRUPTED: &str = "Interrupted: Airlift ended while this ran. To go on where it was, update it again or open the window.";

impl Airlift {
    /// Starts a job for each device and returns their numbers, in the order of the devices. An
    /// offline device's job waits for it. With `retry`, a release that was rolled back before is
    /// sent again.
    ///
    /// # Errors
    /// `no_such_device`, `no_such_release`, or `busy` when a job runs on one of them already; then
    /// none is started.
    pub async fn start_update(
        &self,
        devices: &[String],
        release: &str,
        retry: bool,
    ) -> Result<Vec<u32>, Error> {
        let wanted = devices.iter().map(|id| (id.clone(), release.to_owned()));
        let mut started = Vec::new();
        self.start_updates(wanted.collect(), retry, &mut started)
            .await?;
        Ok(started)
    }

    /// Starts a job for each device, all of them or, when it is known that one cannot be, none.
    /// `started` gets the numbers, also of those that were started before an error.
    pub(super) async fn start_updates(
        &self,
        wanted: Vec<(String, String)>,
        retry: bool,
        started: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let mut free = Vec::new();
        for (id, release) in wanted {
            let release = self.shared.library.get(&release)?;
            let name = self.free(&id)?;
            free.push((id, name, release));
        }
        let unfinished = self.shared.store.unfinished().await?;
        for (id, name, _) in &free {
            self.free_elsewhere(id, name, &unfinished)?;
        }
        // Whoever picks a job up after this process must know where its device was.
        self.shared.settle().await;
        for (id, name, release) in free {
            let orphans = unfinished.iter().filter(|job| job.device == id);
            let mut taken_up = None;
            for orphan in orphans {
                if orphan.release.id == release.id && taken_up.is_none() {
                    taken_up = self.take_up(orphan).await?;
                } else {
                    self.give_up(orphan).await?;
                }
            }
            started.push(match taken_up {
                Some(job) => job,
                None => self.start_job(&id, &name, &release, retry).await?,
            });
        }
        Ok(())
    }

    /// Fails with `busy` when a job runs on one of these devices, here or elsewhere.
    pub(super) async fn all_free(&self, devices: &[String]) -> Result<(), Error> {
        let names = devices.iter().map(|id| self.free(id));
        let names: Vec<_> = names.collect::<Result<_, _>>()?;
        let unfinished = self.shared.store.unfinished().await?;
        let mut devices = devices.iter().zip(&names);
        devices.try_for_each(|(id, name)| self.free_elsewhere(id, name, &unfinished))
    }

    /// The name of a device that no job of this process is on.
    fn free(&self, id: &str) -> Result<String, Error> {
        let device = self.shared.device(id);
        let device = device.ok_or_else(|| Error::NoSuchDevice(id.to_owned()))?;
        match device.job {
            Some(job) => Err(busy(&device.name, job)),
            None => Ok(device.name),
        }
    }

    /// Fails when another running process has a job on a device.
    fn free_elsewhere(&self, id: &str, name: &str, jobs: &[Unfinished]) -> Result<(), Error> {
        let mut jobs = jobs.iter();
        match jobs.find(|job| job.device == id && self.is_foreign(job)) {
            Some(job) => Err(busy(name, job.id)),
            None => Ok(()),
        }
    }

    /// Cancels a job of this process. Its end comes as an event.
    pub async fn cancel_job(&self, id: u32) -> Result<(), Error> {
        let live = lock(&self.shared.jobs).get(&id).cloned();
        let live = live
            .filter(|live| !live.is_over())
            .ok_or(Error::NoSuchJob(id))?;
        if !live.state().can_cancel() {
            let message = "the device has already selected the new version";
            return Err(Error::refused(ErrorCode::NoSuchJob, message));
        }
        live.cancel();
        Ok(())
    }

    /// Cancels every job of this process that can still be cancelled.
    pub fn cancel_all(&self) {
        for live in lock(&self.shared.jobs).values() {
            live.cancel();
        }
    }

    /// Starts an ended job again, as a new one; a release that was rolled back is sent again.
    pub async fn retry_job(&self, id: u32) -> Result<u32, Error> {
        let job = self.job(id).await?;
        if job.end.is_none() {
            return Err(busy(&job.device_name, id));
        }
        let started = self.start_update(&[job.device], &job.release, true).await?;
        started.first().copied().ok_or(Error::NoSuchJob(id))
    }

    /// A job with its chunk map and log.
    pub async fn job_detail(&self, id: u32) -> Result<JobDetail, Error> {
        let live = lock(&self.shared.jobs).get(&id).cloned();
        if let Some(live) = live {
            let now = self.shared.clock.monotonic();
            return Ok(live.state().detail(self.shared.events.seq(), now));
        }
        self.shared
            .store
            .detail(id)
            .await?
            .ok_or(Error::NoSuchJob(id))
    }

    /// Waits for the end of a job of this process.
    pub async fn wait_for(&self, id: u32) -> Result<Job, Error> {
        let live = lock(&self.shared.jobs).get(&id).cloned();
        if let Some(live) = live {
            live.wait().await;
        }
        self.job(id).await
    }

    /// A job as it is now.
    pub async fn job(&self, id: u32) -> Result<Job, Error> {
        Ok(self.job_detail(id).await?.job)
    }

    /// Adds a device by `HOST:PORT` (port 80 when none is given) and waits until it answers.
    ///
    /// # Errors
    /// `usage` when it is no address, `no_such_device` when no device answers there.
    pub async fn add_device(&self, address: &str) -> Result<Device, Error> {
        let address = with_port(address.trim());
        let found = self.shared.discovery.add_manual(&address).await?;
        let discovery = &self.shared.discovery;
        let mut changes = discovery.subscribe();
        let answering = || {
            let devices = discovery.devices();
            let here = |a: &std::net::SocketAddr| found.contains(a);
            let mut online = devices.into_iter().filter(|d| d.online);
            online.find(|d| d.addresses.iter().any(here) || d.rivals.iter().any(here))
        };
        let wait = async {
            loop {
                if let Some(seen) = answering() {
                    return seen;
                }
                let _ = changes.recv().await;
            }
        };
        let Ok(seen) = tokio::time::timeout(ADD_WAIT, wait).await else {
            discovery.remove_manual(&address);
            let why = discovery
                .unanswered()
                .into_iter()
                .find(|u| found.contains(&u.addr));
            return Err(match why {
                Some(unanswered) => unanswered.error.into(),
                None => Error::NoSuchDevice(address),
            });
        };
        let id = seen.id.to_string();
        self.shared.device(&id).ok_or(Error::NoSuchDevice(id))
    }

    /// Forgets a device. One that is announced and answers comes back.
    pub async fn forget_device(&self, id: &str) -> Result<(), Error> {
        let device = device_id(id)?;
        self.shared.discovery.forget(&device);
        self.shared.store.forget(id).await
    }

    /// All jobs, newest first. One whose process ended before it did says so, and what to do.
    pub async fn history(&self) -> Result<Vec<HistoryRow>, Error> {
        let mut history = self.shared.store.history().await?;
        if history.iter().any(|row| row.end.is_none()) {
            let unfinished = self.shared.store.unfinished().await?;
            let home = &self.shared.home;
            let orphans = unfinished
                .iter()
                .filter(|job| !Instance::is_alive(home, &job.owner));
            let orphans: Vec<u32> = orphans.map(|job| job.id).collect();
            for row in history.iter_mut().filter(|row| orphans.contains(&row.job)) {
                row.code = Some(ErrorCode::ConnectionLost.as_str().to_owned());
                row.summary = INTERRUPTED.to_owned();
            }
        }
        Ok(history)
    }

    /// Writes the history as CSV (RFC 4180).
    pub async fn export_history(&self, path: &Path) -> Result<(), Error> {
        let csv = csv(&self.history().await?);
        let path = path.to_owned();
        crate::store::blocking(move || write_atomically(&path, &[csv.as_bytes()])).await
    }

    /// Changes the settings.
    pub async fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        if !["system", "light", "dark"].contains(&settings.theme.as_str()) {
            return Err(Error::Usage(format!(
                "there is no theme {:?}",
                settings.theme
            )));
        }
        if settings.port == 0 {
            return Err(Error::Usage("the port must be 1 to 65535".into()));
        }
        self.shared.store.set_settings(&settings).await?;
        let before = std::mem::replace(&mut *lock(&self.shared.settings), settings.clone());
        self.shared.events.send(Event::Settings(settings.clone()));
        let moved = before.port != settings.port || before.interfaces != settings.interfaces;
        let busy = lock(&self.shared.jobs).values().any(|live| !live.is_over());
        // While devices fetch, the listeners stay where they are; the next start uses the new ones.
        if moved && !busy {
            self.shared.server.stop().await;
            if self.shared.plain_release().is_some() {
                // Its error is shown with the server.
                let _ = self.shared.server.ensure_all(&settings);
            }
            for seen in self
                .shared
                .discovery
                .devices()
                .iter()
                .filter(|seen| seen.online)
            {
                if let Some(local) = seen.local_addr {
                    let _ = self.shared.server.ensure(local, &settings);
                }
            }
        }
        Ok(())
    }

    /// Picks up what ended processes left unfinished.
    pub(super) async fn pick_up_jobs(&self) -> Result<(), Error> {
        for job in self.shared.store.unfinished().await? {
            if !self.is_foreign(&job) {
                self.take_up(&job).await?;
            }
        }
        Ok(())
    }

    /// Whether another running process has the job.
    fn is_foreign(&self, job: &Unfinished) -> bool {
        job.owner != self.shared.instance.id() && Instance::is_alive(&self.shared.home, &job.owner)
    }

    async fn take_up(&self, job: &Unfinished) -> Result<Option<u32>, Error> {
        let shared = &self.shared;
        if !shared
            .store
            .adopt(job.id, &job.owner, shared.instance.id())
            .await?
        {
            return Ok(None);
        }
        let release = job.release.clone();
        let mut state = JobState::new(
            job.id,
            &job.device,
            &job.device_name,
            release,
            job.retry,
            job.started,
        );
        if let Some(resume) = job.resume.clone() {
            state.resume(resume, shared.clock.monotonic());
        }
        self.run(state);
        Ok(Some(job.id))
    }

    /// Ends an orphan that nobody will pick up: its device gets another release now.
    async fn give_up(&self, job: &Unfinished) -> Result<(), Error> {
        let shared = &self.shared;
        if shared
            .store
            .adopt(job.id, &job.owner, shared.instance.id())
            .await?
        {
            let release = job.release.clone();
            let mut state = JobState::new(
                job.id,
                &job.device,
                &job.device_name,
                release,
                job.retry,
                job.started,
            );
            let message = "Airlift ended while this ran, and the device gets another release now";
            state.fail(crate::error::info(ErrorCode::ConnectionLost, message));
            state.ended = Some(shared.clock.unix());
            shared
                .store
                .finish(&state.detail(0, Duration::ZERO))
                .await?;
        }
        Ok(())
    }

    async fn start_job(
        &self,
        device: &str,
        name: &str,
        release: &Release,
        retry: bool,
    ) -> Result<u32, Error> {
        let shared = &self.shared;
        let started = shared.clock.unix();
        let owner = shared.instance.id();
        let id = shared
            .store
            .add_job(device, name, release, retry, started, owner)
            .await?;
        let Some(id) = id else {
            // Another process was quicker.
            let other = shared.store.job_on(device).await?;
            return Err(busy(name, other.unwrap_or(0)));
        };
        self.run(JobState::new(
            id,
            device,
            name,
            release.clone(),
            retry,
            started,
        ));
        Ok(id)
    }

    fn run(&self, state: JobState) {
        let live = Arc::new(Live::new(state));
        lock(&self.shared.jobs).insert(live.id, live.clone());
        self.shared.tell_device(&live.device);
        self.spawn(driver::run(self.shared.clone(), live));
    }
}

fn busy(name: &str, job: u32) -> Error {
    let message = format!("device {name} is being updated already, by job {job}");
    Error::refused(ErrorCode::Busy, message)
}

/// A device listens on port 80 unless the address says otherwise.
fn with_port(address: &str) -> String {
    let bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (bare_v6, has_port) {
        (true, _) => format!("[{address}]:80"),
        (false, true) => address.to_owned(),
        (false, false) => format!("{address}:80"),
    }
}

fn csv(rows: &[HistoryRow]) -> String {
    let mut text = String::from(
        "job,device,name,product,from,to,release,started,ended,end,code,kept,fetched,refused,summary\r\n",
    );
    for row in rows {
        let ended = row.ended.map(|t| format!("{t:.0}")).unwrap_or_default();
        text.push_str(&csv::line(&[
            &row.job.to_string(),
            &row.device,
            &row.device_name,
            &row.product,
            row.from_version.as_deref().unwrap_or_default(),
            &row.to_version,
            &row.release,
            &format!("{:.0}", row.started),
            &ended,
            row.end.map(end_name).unwrap_or_default(),
            row.code.as_deref().unwrap_or_default(),
            &row.kept.to_string(),
            &row.fetched.to_string(),
            &row.refused.to_string(),
            &row.summary,
        ]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_port_80() {
        let cases = [
            ("10.0.0.21", "10.0.0.21:80"),
            ("porch.local", "porch.local:80"),
            ("127.0.0.1:49152", "127.0.0.1:49152"),
            ("fe80::1", "[fe80::1]:80"),
            ("[::1]:8080", "[::1]:8080"),
        ];
        for (given, wanted) in cases {
            assert_eq!(with_port(given), wanted);
        }
    }
}
