//! What has to outlive a process, in SQLite: jobs and history, remembered devices, settings.
//!
//! One file for all processes on a home: WAL, a busy timeout, and every statement its own
//! transaction. Calls run on tokio's blocking threads, one at a time.
//!
//! The file gets its name once its tables are in it. One that is found damaged is kept under another
//! name and what can be read of it goes into a new one; see [`Mended`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};

use crate::Error;
use crate::home::Home;

mod devices;
mod jobs;
mod mend;
mod usb;

pub use jobs::{HISTORY_ROWS, Unfinished, end_name};
pub use mend::Mended;
pub use usb::USB_RECORDS;
pub(crate) use usb::{usb_end_name, usb_kind_name};

/// Changes of the tables, oldest first; `user_version` counts those that were made.
const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    CREATE TABLE usb_records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL,             -- when it ended
        port TEXT NOT NULL,
        serial_number TEXT,
        chip TEXT NOT NULL,
        mac TEXT,
        label TEXT,
        kind TEXT NOT NULL,             -- repair, flash, restore
        what TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        end TEXT NOT NULL,              -- done, failed, cancelled
        code TEXT
    ) STRICT;
    CREATE TABLE usb_labels (mac TEXT PRIMARY KEY, label TEXT NOT NULL) STRICT;
",
];

/// How long a statement waits for another process.
const BUSY: Duration = Duration::from_secs(10);
/// How long the first of them pauses before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The database of a home. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    home: Home,
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    /// Shared with every process that uses the database: who replaces it holds it alone.
    _in_use: Arc<File>,
}

impl Store {
    /// Opens the database of a home, makes it if it is not there, and brings its tables up to date.
    /// One that is damaged is mended first, and the second value says so.
    ///
    /// # Errors
    /// `database` when it is newer than this version, or damaged while another process uses it; then
    /// it stays as it is.
    pub async fn open(home: &Home) -> Result<(Self, Option<Mended>), Error> {
        let home = home.clone();
        blocking(move || {
            let path = home.database();
            let (connection, in_use, mended) = mend::open(&home)?;
            let store = Self {
                home,
                path,
                connection: Arc::new(Mutex::new(connection)),
                _in_use: Arc::new(in_use),
            };
            Ok((store, mended))
        })
        .await
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
}

/// Brings the tables up to date.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let known = MIGRATIONS.len() as i64;
    let migrate = |connection: &mut Connection| -> rusqlite::Result<i64> {
        let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |r| r.get(0));
        // Nothing is written when there is nothing to do: that works on a full disk too.
        let found: i64 = version(connection)?;
        if found >= known {
            return Ok(found);
        }
        // Immediate: of two processes that start at once, one migrates and one waits.
        let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: i64 = version(&tx)?;
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
    let found = migrate(connection).map_err(|e| database(path, e))?;
    if found > known {
        return Err(Error::NewerDatabase {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
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

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Internal(format!("cannot write JSON: {e}")))
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let json: String = row.get(column)?;
    serde_json::from_str(&json).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into())
    })
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
