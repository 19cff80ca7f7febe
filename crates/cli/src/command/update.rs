//! `airlift update`

mod outcome;
mod show;
pub(super) mod targets;

use super::signer;
use crate::args::Update;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::dto::{Event, Job, Numbered};
use airlift_app::{Airlift, RawLine, Secret};
use airlift_wire::ErrorCode;
use outcome::Outcome;
use show::Show;
use std::collections::BTreeMap;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::mpsc::UnboundedReceiver;

pub async fn run(args: Update) -> Result<u8, Failure> {
    let app = super::open(!args.no_mdns).await?;
    let result = update(&app, &args).await;
    app.close().await;
    result
}

async fn update(app: &Airlift, args: &Update) -> Result<u8, Failure> {
    let release = app.add_release(&args.release).await?;
    open_key(app, args).await?;
    let mut interrupts = Interrupts::new()?;
    let devices = tokio::select! {
        found = targets::find(app, &release, args) => found?,
        () = interrupts.next() => {
            return Err(Failure::new(ErrorCode::Cancelled, "cancelled before anything was sent"));
        }
    };
    if devices.is_empty() {
        if !args.json {
            let version = &release.version;
            output::line(&format!(
                "Nothing to do: every device runs {version} already."
            ))?;
        }
        return Ok(exit::DONE);
    }

    let listening = Listening::to(app);
    let ids = app.start_update(&devices, &release.id, args.retry).await?;
    follow(app, ids, listening, interrupts, args.json).await
}

/// Opens the key that states which release is the newest, for devices that ask.
async fn open_key(app: &Airlift, args: &Update) -> Result<(), Failure> {
    if let Some(key) = &args.key {
        return Ok(app.use_key(signer::open(key, &args.passphrase)?).await?);
    }
    let Some(passphrase) = args.passphrase.read()? else {
        return Ok(());
    };
    let passphrase = Secret::from(passphrase.as_str());
    let keys = app.keys().await?;
    let locked = keys
        .iter()
        .filter(|key| key.can_sign && key.needs_passphrase);
    let message = "no key of this computer has a passphrase";
    let mut refused = Failure::new(ErrorCode::BadKey, message);
    for key in locked {
        match app.unlock_key(&key.id, &passphrase).await {
            Ok(_) => return Ok(()),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

/// What jobs say. Made before they start, so that nothing is missed.
pub(super) struct Listening {
    events: Receiver<Numbered>,
    lines: UnboundedReceiver<RawLine>,
}

impl Listening {
    pub(super) fn to(app: &Airlift) -> Self {
        Self {
            events: app.subscribe(),
            lines: app.raw_lines(),
        }
    }
}

/// Shows jobs until all of them have ended; the exit code says how.
pub(super) async fn follow(
    app: &Airlift,
    ids: Vec<u32>,
    listening: Listening,
    mut interrupts: Interrupts,
    json: bool,
) -> Result<u8, Failure> {
    let Listening { mut events, lines } = listening;
    let mut watch = Watch {
        jobs: ids.into_iter().map(|id| (id, None)).collect(),
        lines,
        show: Show::new(json),
    };
    let mut interrupted = false;
    while watch.is_running() {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                if interrupted {
                    return Ok(exit::CANCELLED);
                }
                interrupted = true;
                watch.show.note("Cancelling. Ctrl-C again leaves at once.");
                app.cancel_all();
            }
            Some(line) = watch.lines.recv() => watch.line(&line)?,
            event = events.recv() => match event {
                Ok(numbered) => watch.event(app, numbered.event).await?,
                Err(RecvError::Lagged(_)) => watch.look(app).await?,
                Err(RecvError::Closed) => break,
            },
        }
    }
    let outcomes: Vec<_> = watch.jobs.values().flatten().map(Outcome::of).collect();
    watch.show.summary(&outcomes)?;
    Ok(outcome::exit_code(&outcomes, interrupted))
}

/// What is known of the jobs.
struct Watch {
    /// Each job as it was last told; `None` before its first word.
    jobs: BTreeMap<u32, Option<Job>>,
    lines: UnboundedReceiver<RawLine>,
    show: Show,
}

impl Watch {
    fn is_running(&self) -> bool {
        let ended = |job: &Option<Job>| job.as_ref().is_some_and(|job| job.end.is_some());
        !self.jobs.values().all(ended)
    }

    fn line(&mut self, line: &RawLine) -> Result<(), Failure> {
        if self.jobs.contains_key(&line.job) {
            self.show.device_line(line)?;
        }
        Ok(())
    }

    async fn event(&mut self, app: &Airlift, event: Event) -> Result<(), Failure> {
        match event {
            // It is told before it is stored, and this process may be gone the moment after.
            Event::Job(job) if job.end.is_some() && self.jobs.contains_key(&job.id) => {
                let job = app.wait_for(job.id).await?;
                self.job(&job)
            }
            Event::Job(job) => self.job(&job),
            Event::Chunks { job, refused, .. } => {
                let job = self.jobs.get(&job).and_then(Option::as_ref);
                let name = job.map_or("", |job| job.device_name.as_str());
                for chunk in &refused {
                    self.show.refused(name, chunk)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn job(&mut self, job: &Job) -> Result<(), Failure> {
        let Some(known) = self.jobs.get_mut(&job.id) else {
            return Ok(());
        };
        if known.as_ref().is_some_and(|known| known.end.is_some()) {
            return Ok(());
        }
        if job.end.is_some() {
            // The end is the last word: what the device said before it comes first.
            while let Ok(line) = self.lines.try_recv() {
                if line.job == job.id || self.show.is_json() {
                    self.show.device_line(&line)?;
                }
            }
        }
        self.show.job(known.as_ref(), job)?;
        *known = Some(job.clone());
        Ok(())
    }

    /// Asks for every job: events were missed.
    async fn look(&mut self, app: &Airlift) -> Result<(), Failure> {
        let ids: Vec<u32> = self.jobs.keys().copied().collect();
        for id in ids {
            let mut job = app.job(id).await?;
            if job.end.is_some() {
                job = app.wait_for(id).await?;
            }
            self.job(&job)?;
        }
        Ok(())
    }
}
