//! Opening a database, and what is done about a damaged one.
//!
//! A damaged database and its log are copied aside first, byte by byte. What SQLite can still read of
//! a second copy goes, row by row, into a new database, which then takes the name. All of it happens
//! alone: every process that uses the database holds a shared lock on `run/database`.
//!
//! The new one, once whole, is `run/database-mended` until it has its name: the log of the old one has
//! to go before that, and who is cut off in between must not open the old one without its log. Who
//! finds a mended one puts it in place first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use airlift_release::write::sync_dir;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{connect, database, migrate};
use crate::Error;
use crate::dto::ErrorInfo;
use crate::error::info;
use crate::home::Home;

mod salvage;

use salvage::{Saved, make_openable, save};

/// The lock in `run/`.
const LOCK: &str = "database";
/// How long to wait until nobody else uses a damaged database: others that start at the same time
/// find it damaged too, and let go.
const ALONE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
/// Above this many bytes a database is not read through at every start; SQLite still notices damage
/// where it reads.
const CHECKED: u64 = 64 << 20;
/// What belongs to a database file: itself, its log, and the index of the log.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

/// A database was damaged, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Where the damaged one is now, as it was found.
    pub aside: PathBuf,
    /// What SQLite said about it.
    pub damage: String,
    /// How many jobs were saved.
    pub jobs: usize,
    /// How many remembered devices were saved.
    pub devices: usize,
    /// Whether settings were saved.
    pub settings: bool,
}

impl Mended {
    fn new(aside: PathBuf, damage: &str, saved: &Saved) -> Self {
        Self {
            aside,
            damage: damage.to_owned(),
            jobs: saved.jobs,
            devices: saved.devices,
            settings: saved.settings > 0,
        }
    }

    /// What to tell the user.
    pub fn notice(&self) -> ErrorInfo {
        let saved = match (self.jobs, self.devices) {
            (0, 0) => "nothing could be read from it".to_owned(),
            (jobs, devices) => {
                format!("{jobs} updates and {devices} devices could be read from it")
            }
        };
        let settings = if self.settings {
            ""
        } else {
            "; the settings are the usual ones"
        };
        let message = format!("the database was damaged, and {saved}{settings}");
        let mut info = info(airlift_wire::ErrorCode::Database, message);
        info.help = format!(
            "Releases and keys are not affected. The damaged file is kept as {}; a backup of it would \
         bring the history back.",
            self.aside.display()
        );
        info
    }
}

/// Opens the database of a home. The file holds the shared lock.
pub(super) fn open(home: &Home) -> Result<(Connection, File, Option<Mended>), Error> {
    let path = home.database();
    let (lock_path, lock) = home.lock_file(LOCK)?;
    let io = |e| Error::io(&lock_path, e);
    let mut mended = None;
    let mut in_use = false;
    for last in [false, false, true] {
        lock.lock_shared().map_err(io)?;
        let damage = match opened(home) {
            Ok(Some(mut connection)) => {
                migrate(&mut connection, &path)?;
                return Ok((connection, lock, mended));
            }
            Ok(None) => None,
            Err(error) if is_damage(&error) && (in_use || !last) => Some(error),
            Err(error) => return Err(database(&path, error)),
        };
        if in_use {
            return Err(match damage {
                Some(source) => Error::DamagedInUse { path, source },
                None => Error::Internal("the database is gone while it is in use".into()),
            });
        }
        lock.unlock().map_err(io)?;
        in_use = !alone(&lock).map_err(io)?;
        if in_use {
            // By somebody who was quicker, perhaps: then it is whole now, and another look tells.
            continue;
        }
        if let Some(put) = put_mended(home)? {
            mended = Some(put);
            lock.unlock().map_err(io)?;
            continue;
        }
        match opened(home) {
            Ok(Some(_)) => {}
            Ok(None) => new(home)?,
            Err(error) if is_damage(&error) => mended = Some(mend(home, &error)?),
            Err(error) => return Err(database(&path, error)),
        }
        lock.unlock().map_err(io)?;
    }
    Err(Error::Internal("the database comes and goes".into()))
}

/// The database, whole as far as can be told; none when it is not there, or not in place yet.
fn opened(home: &Home) -> rusqlite::Result<Option<Connection>> {
    let path = &home.database();
    if mended_file(home).exists() {
        return Ok(None);
    }
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // A database has its tables before it has its name, so an empty one was emptied. SQLite
        // would take it for new, and throw its log away.
        Ok(metadata) if metadata.len() == 0 || metadata.is_dir() => {
            let what = if metadata.is_dir() {
                "it is a folder"
            } else {
                "it is empty"
            };
            return Err(damage(what));
        }
        _ => {}
    }
    let connection = connect(path)?;
    let size: u64 = connection.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0).map(|size| size.unsigned_abs()),
    )?;
    if size <= CHECKED {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(damage(&found));
        }
    }
    Ok(Some(connection))
}

fn damage(what: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(what.to_owned()))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Holds the lock alone; false when others keep it.
fn alone(lock: &File) -> std::io::Result<bool> {
    let deadline = Instant::now() + ALONE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            // One that holds it alone is making the database whole, and will be done.
            Err(fs::TryLockError::WouldBlock) => match lock.try_lock_shared() {
                Ok(()) => {
                    lock.unlock()?;
                    return Ok(false);
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(fs::TryLockError::Error(e)) => return Err(e),
            },
            Err(fs::TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Where a mended database is until it has its name.
fn mended_file(home: &Home) -> PathBuf {
    home.run().join("database-mended")
}

/// Puts a new, empty database in place where there is none.
fn new(home: &Home) -> Result<(), Error> {
    let (fresh, _) = make(home, None)?;
    put(home, &fresh, None)
}

/// Makes a database beside the old one, whole on the disk, with what can be read of `old`.
fn make(home: &Home, old: Option<&Connection>) -> Result<(PathBuf, Saved), Error> {
    let fresh = home.run().join("database-new");
    let io = |e| Error::io(&fresh, e);
    remove(&fresh).map_err(io)?;
    let saved = {
        let mut connection = connect(&fresh).map_err(|e| database(&fresh, e))?;
        migrate(&mut connection, &fresh)?;
        let saved = old.map(|old| save(old, &mut connection)).transpose();
        saved.map_err(|e| database(&fresh, e))?.unwrap_or_default()
    };
    // Closing it took the log into it, unless there was no room for that.
    if with(&fresh, "-wal").exists() {
        return Err(io(std::io::ErrorKind::StorageFull.into()));
    }
    let file = File::open(&fresh).map_err(io)?;
    file.sync_all().map_err(io)?;
    Ok((fresh, saved))
}

/// Gives a database its name. A folder that has it goes `aside`.
fn put(home: &Home, fresh: &Path, aside: Option<&Path>) -> Result<(), Error> {
    let path = home.database();
    let put = || -> std::io::Result<()> {
        // The log of the old one would be played into the new one.
        for companion in ["-wal", "-shm"] {
            remove_file(&with(&path, companion))?;
        }
        if let Some(aside) = aside.filter(|_| path.is_dir()) {
            fs::rename(&path, aside)?;
        }
        // The log is gone on the disk too before the new one has the name.
        sync_dir(home.root())?;
        fs::rename(fresh, &path)?;
        sync_dir(home.root())
    };
    put().map_err(|e| Error::io(&path, e))
}

/// Puts a mended database in place that somebody made who was cut off before that.
fn put_mended(home: &Home) -> Result<Option<Mended>, Error> {
    let (path, mended) = (home.database(), mended_file(home));
    if !mended.exists() {
        return Ok(None);
    }
    let aside = if path.is_dir() {
        aside(&path)
    } else {
        last_aside(&path)
    };
    let count = |connection: &Connection, table: &str| -> rusqlite::Result<usize> {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: u32 = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(rows as usize)
    };
    let saved = || -> rusqlite::Result<Saved> {
        let connection = Connection::open_with_flags(&mended, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Saved {
            jobs: count(&connection, "jobs")?,
            devices: count(&connection, "devices")?,
            settings: count(&connection, "settings")?,
        })
    };
    // One that was damaged since is mended in its turn, once it is in place.
    let saved = saved().unwrap_or_default();
    put(home, &mended, Some(&aside))?;
    // What looking into it may have left.
    let _ = remove(&mended);
    Ok(Some(Mended::new(aside, "it was damaged", &saved)))
}

/// Copies a damaged database aside and makes a new one of what can be read.
fn mend(home: &Home, damage: &rusqlite::Error) -> Result<Mended, Error> {
    let aside = aside(&home.database());
    let saved = prepare(home, &aside).inspect_err(|_| {
        // The damaged one is still in its place. Each start would leave another copy of it, which a
        // full disk has no room for.
        if !mended_file(home).exists() {
            let _ = remove(&aside);
        }
    })?;
    put(home, &mended_file(home), Some(&aside))?;
    tracing::warn!(damaged = %aside.display(), "the database was damaged: {damage}");
    Ok(Mended::new(aside, &damage.to_string(), &saved))
}

/// All of the mending that leaves the damaged database where it is.
fn prepare(home: &Home, aside: &Path) -> Result<Saved, Error> {
    let path = home.database();
    let scratch = home.run().join("database-scratch");
    let copied = || -> std::io::Result<()> {
        remove(&scratch)?;
        for companion in ["-wal", ""] {
            let from = with(&path, companion);
            if from.is_file() {
                for to in [with(aside, companion), with(&scratch, companion)] {
                    fs::copy(&from, &to)?;
                    File::open(&to)?.sync_all()?;
                }
            }
        }
        sync_dir(home.root())
    };
    copied().map_err(|e| Error::io(&path, e))?;
    make_openable(&scratch).map_err(|e| Error::io(&scratch, e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // What cannot be opened at all has nothing to save.
    let old = Connection::open_with_flags(&scratch, flags).ok();
    let (fresh, saved) = make(home, old.as_ref())?;
    drop(old);
    let _ = remove(&scratch);
    let named = fs::rename(&fresh, mended_file(home)).and_then(|()| sync_dir(&home.run()));
    named.map_err(|e| Error::io(&fresh, e))?;
    Ok(saved)
}

/// What the name of a damaged file has after that of the database, before the time.
const DAMAGED: &str = ".damaged-";

/// The damaged file that was kept last.
fn last_aside(path: &Path) -> PathBuf {
    let prefix = with(path, DAMAGED);
    let files = path.parent().and_then(|dir| fs::read_dir(dir).ok());
    let times = files.into_iter().flatten().flatten().filter_map(|file| {
        let file = file.path();
        let time = file.to_str()?.strip_prefix(prefix.to_str()?)?;
        time.parse::<u64>().ok()
    });
    let last = times.max().unwrap_or_default();
    with(path, &format!("{DAMAGED}{last}"))
}

/// A name for the damaged file that nothing has: `airlift.db.damaged-SECONDS`.
fn aside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut seconds = now.unwrap_or_default().as_secs();
    loop {
        let aside = with(path, &format!("{DAMAGED}{seconds}"));
        if aside.symlink_metadata().is_err() {
            return aside;
        }
        seconds += 1;
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(database: &Path) -> std::io::Result<()> {
    COMPANIONS
        .iter()
        .try_for_each(|ending| remove_file(&with(database, ending)))
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
