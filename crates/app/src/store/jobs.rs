//! Jobs and history.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, json, parsed};
use crate::Error;
use crate::dto::{End, HistoryRow, Job, JobDetail, PartProgress, Release};
use crate::home::Instance;
use crate::job::{JobState, Resume};

/// How many ended jobs keep their chunk map and log.
const DETAILS_KEPT: u32 = 200;
/// The summary of a job whose row is damaged.
const UNREADABLE: &str = "What it was to bring cannot be read any more.";
/// How many rows of history are read at most.
pub const HISTORY_ROWS: u32 = 10_000;

/// A job that has no end yet.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Number.
    pub id: u32,
    /// Device id.
    pub device: String,
    /// Device name at the start.
    pub device_name: String,
    /// What it brings.
    pub release: Release,
    /// Whether a release that was rolled back is sent again.
    pub retry: bool,
    /// When it started.
    pub started: f64,
    /// The process that runs it, or ran it.
    pub owner: String,
    /// Where it was, once begun.
    pub resume: Option<Resume>,
}

impl Store {
    /// Adds a job and returns its number; none when a job without an end is on that device.
    pub async fn add_job(
        &self,
        device: &str,
        device_name: &str,
        release: &Release,
        retry: bool,
        started: f64,
        owner: &str,
    ) -> Result<Option<u32>, Error> {
        let json = json(release)?;
        let values = (
            device.to_owned(),
            device_name.to_owned(),
            release.id.clone(),
        );
        let owner = owner.to_owned();
        self.call(move |db| {
            let (device, name, release) = values;
            db.prepare_cached(
                "INSERT INTO jobs (device, device_name, release_id, release, retry, started, owner)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
                 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE device = ?1 AND end IS NULL)
                 RETURNING id",
            )?
            .query_row(
                params![device, name, release, json, retry, started, owner],
                |r| r.get(0),
            )
            .optional()
        })
        .await
    }

    /// Notes where a job is, so that another process can pick it up.
    pub async fn progress(&self, job: &JobState) -> Result<(), Error> {
        let Some(resume) = job.to_resume() else {
            return Ok(());
        };
        let (id, from, resume) = (job.id, resume.before.version.clone(), json(&resume)?);
        self.call(move |db| {
            db.execute(
                "UPDATE jobs SET resume = ?2, from_version = ?3 WHERE id = ?1",
                params![id, resume, from],
            )
        })
        .await
        .map(drop)
    }

    /// Notes how a job ended, with its map and log.
    pub async fn finish(&self, detail: &JobDetail) -> Result<(), Error> {
        let job = detail.job.clone();
        let Some(end) = job.end else { return Ok(()) };
        let code = job.error.as_ref().map(|e| e.code.clone());
        let sum = |of: fn(&PartProgress) -> u32| job.parts.iter().map(of).sum::<u32>();
        let (kept, fetched, refused) = (sum(|p| p.kept), sum(|p| p.fetched), sum(|p| p.refused));
        let detail = json(detail)?;
        self.call(move |db| {
            db.execute(
                "UPDATE jobs SET ended = ?2, end = ?3, code = ?4, summary = ?5, kept = ?6,
                     fetched = ?7, refused = ?8, detail = ?9, from_version = ?10 WHERE id = ?1",
                params![
                    job.id,
                    job.ended,
                    end_name(end),
                    code,
                    job.summary,
                    kept,
                    fetched,
                    refused,
                    detail,
                    job.from_version
                ],
            )?;
            db.execute(
                "UPDATE jobs SET detail = NULL
                 WHERE detail IS NOT NULL AND id <= (SELECT max(id) FROM jobs) - ?1",
                [DETAILS_KEPT],
            )
        })
        .await
        .map(drop)
    }

    /// Adds a sentence to a job that has ended: the device came back later.
    pub async fn add_note(&self, job: u32, note: &str) -> Result<(), Error> {
        let note = note.to_owned();
        self.call(move |db| {
            db.execute(
                "UPDATE jobs SET note = ?2 WHERE id = ?1",
                params![job, note],
            )
        })
        .await
        .map(drop)
    }

    /// Jobs without an end, whoever runs them. One that cannot be read is left out. When its process
    /// has ended it is ended here: nobody could go on with it, and its device would never be free. A
    /// process that runs may be a newer version, which can read what it wrote.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let home = self.home.clone();
        self.call(move |db| {
            let mut unreadable = Vec::new();
            let mut query = db.prepare_cached(
                "SELECT id, device, device_name, release, retry, started, owner, resume
                 FROM jobs WHERE end IS NULL ORDER BY id",
            )?;
            let rows = query.query_map([], |r| {
                let resume: Option<String> = r.get(7)?;
                let Ok(release) = parsed(r, 3) else {
                    unreadable.push((r.get::<_, u32>(0)?, r.get::<_, String>(6)?));
                    return Ok(None);
                };
                Ok(Some(Unfinished {
                    id: r.get(0)?,
                    device: r.get(1)?,
                    device_name: r.get(2)?,
                    release,
                    retry: r.get(4)?,
                    started: r.get(5)?,
                    owner: r.get(6)?,
                    resume: resume.and_then(|json| serde_json::from_str(&json).ok()),
                }))
            })?;
            let unfinished: rusqlite::Result<Vec<_>> = rows.filter_map(Result::transpose).collect();
            drop(query);
            unreadable.retain(|(_, owner)| !Instance::is_alive(&home, owner));
            for (id, owner) in unreadable {
                // Another process may have adopted it since.
                db.execute(
                    "UPDATE jobs SET ended = started, end = 'failed', code = ?3, summary = ?4
                     WHERE id = ?1 AND owner = ?2 AND end IS NULL",
                    params![
                        id,
                        owner,
                        airlift_wire::ErrorCode::Database.as_str(),
                        UNREADABLE
                    ],
                )?;
            }
            unfinished
        })
        .await
    }

    /// The job without an end that is on a device, also one that cannot be read here.
    pub async fn job_on(&self, device: &str) -> Result<Option<u32>, Error> {
        let device = device.to_owned();
        self.call(move |db| {
            let sql = "SELECT id FROM jobs WHERE device = ?1 AND end IS NULL";
            db.query_row(sql, [device], |r| r.get(0)).optional()
        })
        .await
    }

    /// Takes over a job from a process that has ended; false when another one was quicker.
    pub async fn adopt(&self, job: u32, from: &str, to: &str) -> Result<bool, Error> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.call(move |db| {
            db.execute(
                "UPDATE jobs SET owner = ?3 WHERE id = ?1 AND owner = ?2 AND end IS NULL",
                params![job, from, to],
            )
        })
        .await
        .map(|changed| changed == 1)
    }

    /// The history, newest first, at most [`HISTORY_ROWS`].
    pub async fn history(&self) -> Result<Vec<HistoryRow>, Error> {
        self.call(|db| {
            let mut query = db.prepare_cached(
                "SELECT id, device, device_name, release, release_id, from_version, started,
                     ended, end, code, concat_ws(' ', summary, note), kept, fetched, refused
                 FROM jobs ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = query.query_map([HISTORY_ROWS], |r| {
                let release: Option<Release> = parsed(r, 3).ok();
                let (product, version) = match release {
                    Some(release) => (release.product, release.version),
                    None => ("?".to_owned(), "?".to_owned()),
                };
                let end: Option<String> = r.get(8)?;
                Ok(HistoryRow {
                    job: r.get(0)?,
                    device: r.get(1)?,
                    device_name: r.get(2)?,
                    product,
                    from_version: r.get(5)?,
                    to_version: version,
                    release: r.get(4)?,
                    started: r.get(6)?,
                    ended: r.get(7)?,
                    end: end.as_deref().and_then(end_named),
                    code: r.get(9)?,
                    summary: r.get(10)?,
                    kept: r.get(11)?,
                    fetched: r.get(12)?,
                    refused: r.get(13)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// An ended job with its map and log, if it is recent enough to still have them.
    pub async fn detail(&self, job: u32) -> Result<Option<JobDetail>, Error> {
        self.call(move |db| {
            let sql = "SELECT detail FROM jobs WHERE id = ?1 AND detail IS NOT NULL";
            let detail = db.query_row(sql, [job], |r| Ok(parsed(r, 0).ok()));
            Ok(detail.optional()?.flatten())
        })
        .await
    }

    /// The last ended jobs, newest first.
    pub async fn recent(&self, count: u32) -> Result<Vec<Job>, Error> {
        self.call(move |db| {
            let mut query = db.prepare_cached(
                "SELECT detail FROM jobs WHERE detail IS NOT NULL ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = query.query_map([count], |r| Ok(parsed::<JobDetail>(r, 0).ok()))?;
            let details: rusqlite::Result<Vec<_>> = rows.filter_map(Result::transpose).collect();
            Ok(details?.into_iter().map(|detail| detail.job).collect())
        })
        .await
    }

    /// The last job of each device that ended because it was not seen again, as far as it has not
    /// come back since.
    pub async fn not_seen_again(&self) -> Result<Vec<(String, u32)>, Error> {
        self.call(|db| {
            let mut query = db.prepare(
                "SELECT device, id FROM jobs WHERE id IN (SELECT max(id) FROM jobs GROUP BY device)
                 AND code = ?1 AND note IS NULL",
            )?;
            let code = airlift_wire::ErrorCode::NotSeenAgain.as_str();
            let rows = query.query_map([code], |r| Ok((r.get(0)?, r.get(1)?)))?;
            rows.collect()
        })
        .await
    }
}

/// The name of an end, the same in the database, in `--json` and in CSV.
pub fn end_name(end: End) -> &'static str {
    match end {
        End::Done => "done",
        End::RolledBack => "rolled_back",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
    }
}

fn end_named(name: &str) -> Option<End> {
    [End::Done, End::RolledBack, End::Failed, End::Cancelled]
        .into_iter()
        .find(|end| end_name(*end) == name)
}
