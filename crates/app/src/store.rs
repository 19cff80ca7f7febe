//! What has to outlive a process, in SQLite: jobs and history, remembered devices, settings.
//!
//! One file for all processes on a home: WAL, a busy timeout, and every statement its own
//! transaction. Calls run on tokio's blocking threads, one at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airlift_discover::{DeviceInfo, Remembered, SeenDevice};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::Error;
use crate::dto::{End, HistoryRow, Job, JobDetail, Release, Settings};
use crate::job::{JobState, Resume};

/// Changes of the tables, oldest first; `user_version` counts those that were made.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device TEXT NOT NULL,
        device_name TEXT NOT NULL,
        release_id TEXT NOT NULL,
        release TEXT NOT NULL,          -- JSON: the release may be deleted from the library
        retry INTEGER NOT NULL,
        started REAL NOT NULL,
        owner TEXT NOT NULL,            -- the process that runs it, see home::Instance
        resume TEXT,                    -- JSON, once begun
        from_version TEXT,
        ended REAL,
        end TEXT,                       -- done, rolled_back, failed, cancelled
        code TEXT,
        summary TEXT NOT NULL DEFAULT '',
        note TEXT,                      -- what happened after the end
        kept INTEGER NOT NULL DEFAULT 0,
        fetched INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        detail TEXT                     -- JSON of the last JobDetail, for recent jobs
    ) STRICT;
    CREATE INDEX jobs_unfinished ON jobs (id) WHERE end IS NULL;
    CREATE TABLE devices (
        id TEXT PRIMARY KEY,
        info TEXT NOT NULL,             -- JSON: what it said last
        addresses TEXT NOT NULL,        -- JSON, best first
        last_seen REAL
    ) STRICT;
    CREATE TABLE settings (only INTEGER PRIMARY KEY CHECK (only = 1), value TEXT NOT NULL) STRICT;
"];

/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(10);
/// How long the first of them pauses before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How many ended jobs keep their chunk map and log.
const DETAILS_KEPT: u32 = 200;
/// How many rows of history are read at most.
pub const HISTORY_ROWS: u32 = 10_000;

/// The database of a home. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

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
    /// Opens the database, makes it if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// `database` when it is damaged or newer than this version. It is never replaced.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        blocking(move || {
            let connection = connect(&path).map_err(|e| database(&path, e))?;
            let store = Self {
                path,
                connection: Arc::new(Mutex::new(connection)),
            };
            store.migrate()?;
            Ok(store)
        })
        .await
    }

    /// Adds a job and returns its number.
    pub async fn add_job(
        &self,
        device: &str,
        device_name: &str,
        release: &Release,
        retry: bool,
        started: f64,
        owner: &str,
    ) -> Result<u32, Error> {
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
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
            )?
            .query_row(
                params![device, name, release, json, retry, started, owner],
                |r| r.get(0),
            )
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
        let sum = |of: fn(&crate::dto::PartProgress) -> u32| job.parts.iter().map(of).sum::<u32>();
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

    /// Jobs without an end, whoever runs them.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        self.call(|db| {
            let mut query = db.prepare_cached(
                "SELECT id, device, device_name, release, retry, started, owner, resume
                 FROM jobs WHERE end IS NULL ORDER BY id",
            )?;
            let rows = query.query_map([], |r| {
                let resume: Option<String> = r.get(7)?;
                Ok(Unfinished {
                    id: r.get(0)?,
                    device: r.get(1)?,
                    device_name: r.get(2)?,
                    release: parsed(r, 3)?,
                    retry: r.get(4)?,
                    started: r.get(5)?,
                    owner: r.get(6)?,
                    resume: resume.and_then(|json| serde_json::from_str(&json).ok()),
                })
            })?;
            rows.collect()
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
                let release: Release = parsed(r, 3)?;
                let end: Option<String> = r.get(8)?;
                Ok(HistoryRow {
                    job: r.get(0)?,
                    device: r.get(1)?,
                    device_name: r.get(2)?,
                    product: release.product,
                    from_version: r.get(5)?,
                    to_version: release.version,
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
            db.query_row(sql, [job], |r| parsed(r, 0)).optional()
        })
        .await
    }

    /// The last ended jobs, newest first.
    pub async fn recent(&self, count: u32) -> Result<Vec<Job>, Error> {
        self.call(move |db| {
            let mut query = db.prepare_cached(
                "SELECT detail FROM jobs WHERE detail IS NOT NULL ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = query.query_map([count], |r| parsed::<JobDetail>(r, 0).map(|d| d.job))?;
            rows.collect()
        })
        .await
    }

    /// Remembers devices and where they were, all or none of them.
    pub async fn remember(&self, devices: Vec<SeenDevice>) -> Result<(), Error> {
        self.call(move |db| {
            let tx = db.transaction()?;
            {
                let mut insert = tx.prepare_cached(
                    "INSERT INTO devices (id, info, addresses, last_seen) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET info = ?2, addresses = ?3,
                         last_seen = coalesce(?4, last_seen)",
                )?;
                for seen in devices {
                    let text = (
                        serde_json::to_string(&seen.info),
                        serde_json::to_string(&seen.addresses),
                    );
                    // What came as JSON goes as JSON.
                    let (Ok(info), Ok(addresses)) = text else {
                        continue;
                    };
                    let last_seen = seen.last_seen_unix.map(|unix| unix as f64);
                    insert.execute(params![seen.id.as_str(), info, addresses, last_seen])?;
                }
            }
            tx.commit()
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

    /// Forgets a device.
    pub async fn forget(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.call(move |db| db.execute("DELETE FROM devices WHERE id = ?1", [id]))
            .await
            .map(drop)
    }

    /// The devices of earlier runs. A row that this version cannot read is left out.
    pub async fn remembered(&self) -> Result<Vec<Remembered>, Error> {
        self.call(|db| {
            let mut query = db.prepare("SELECT id, info, addresses, last_seen FROM devices")?;
            let rows = query.query_map([], |r| {
                let (id, info): (String, String) = (r.get(0)?, r.get(1)?);
                let (addresses, seen): (String, Option<f64>) = (r.get(2)?, r.get(3)?);
                Ok((id, info, addresses, seen))
            })?;
            let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let remembered = rows.into_iter().filter_map(|(id, info, addresses, seen)| {
                Some(Remembered {
                    id: id.parse().ok()?,
                    info: DeviceInfo::parse(info.as_bytes()).ok(),
                    addresses: serde_json::from_str(&addresses).ok()?,
                    last_seen_unix: seen.map(|seen| seen as u64),
                })
            });
            Ok(remembered.collect())
        })
        .await
    }

    /// The settings, if they were ever changed.
    pub async fn settings(&self) -> Result<Option<Settings>, Error> {
        let sql = "SELECT value FROM settings";
        self.call(move |db| db.query_row(sql, [], |r| parsed(r, 0)).optional())
            .await
    }

    /// Keeps the settings.
    pub async fn set_settings(&self, settings: &Settings) -> Result<(), Error> {
        let json = json(settings)?;
        self.call(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO settings (only, value) VALUES (1, ?1)",
                [json],
            )
        })
        .await
        .map(drop)
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        blocking(move || {
            let mut connection = this
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|e| database(&this.path, e))
        })
        .await
    }

    fn migrate(&self) -> Result<(), Error> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = MIGRATIONS.len() as i64;
        let migrate = |connection: &mut Connection| -> rusqlite::Result<i64> {
            // Immediate: of two processes that start at once, one migrates and one waits.
            let tx =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let found: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0))?;
            for migration in MIGRATIONS
                .iter()
                .skip(usize::try_from(found).unwrap_or(usize::MAX))
            {
                tx.execute_batch(migration)?;
            }
            if found < known {
                tx.pragma_update(None, "user_version", known)?;
            }
            tx.commit()?;
            Ok(found)
        };
        let found = migrate(&mut connection).map_err(|e| database(&self.path, e))?;
        if found > known {
            return Err(Error::NewerDatabase {
                path: self.path.clone(),
                found,
                known,
            });
        }
        Ok(())
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    // The first statement that reads the file: a damaged one fails here. The busy timeout does not
    // cover it: of two processes that make the file at once, one is told so right away.
    let deadline = Instant::now() + BUSY;
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        let busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
        if !busy || Instant::now() >= deadline {
            return Err(error);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    Ok(connection)
}

fn database(path: &Path, source: rusqlite::Error) -> Error {
    Error::Database {
        path: path.to_owned(),
        source,
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Internal(format!("cannot write JSON: {e}")))
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let json: String = row.get(column)?;
    serde_json::from_str(&json).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into())
    })
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

/// Runs work that blocks where it does not hold anybody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::Internal(format!("a task ended early: {e}"))),
    }
}

#[cfg(test)]
mod tests;
