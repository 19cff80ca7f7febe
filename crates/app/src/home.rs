//! Where everything is kept: one folder, shared by every Airlift that runs on it.
//!
//! ```text
//! AIRLIFT_HOME/
//!   airlift.db                jobs, history, remembered devices, settings (SQLite)
//!   releases/ID.airlift       the library
//!   keys/NAME.pem             private keys, 0600; NAME.pub.pem beside each
//!   trusted/KEYID.pub.pem     public keys whose releases are accepted here
//!   run/PROCESS.lock          held by each running Airlift: tells its jobs from orphans
//!   run/{database,…}          held while something is done that one process at a time may do
//!   virtual-devices/          flash files of the virtual devices of the window
//!   backups/                  flash that was overwritten over USB, 0600: it may hold credentials
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use airlift_release::write::{self, Access, Existing};

use crate::Error;

/// The variable that names the folder.
pub const HOME_VARIABLE: &str = "AIRLIFT_HOME";

/// The folder and what is where in it.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The folder that `AIRLIFT_HOME` names, else the platform's data folder.
    ///
    /// # Errors
    /// [`Error::Usage`] when neither is there.
    pub fn locate() -> Result<PathBuf, Error> {
        if let Some(path) = std::env::var_os(HOME_VARIABLE).filter(|path| !path.is_empty()) {
            return std::path::absolute(&path).map_err(|e| Error::io(Path::new(&path), e));
        }
        directories::ProjectDirs::from("", "", "airlift")
            .map(|dirs| dirs.data_dir().to_owned())
            .ok_or_else(|| Error::Usage(format!("no home folder is known; set {HOME_VARIABLE}")))
    }

    /// Opens a folder, makes it if it is not there, and takes away what killed processes left
    /// half-written in it.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let home = Self::at(root);
        for dir in [home.releases(), home.trusted(), home.run()] {
            fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        }
        for dir in [home.keys(), home.backups()] {
            private_dir(&dir)?;
        }
        for dir in [home.releases(), home.trusted(), home.keys(), home.backups()] {
            write::sweep(&dir);
        }
        Ok(home)
    }

    /// A folder to look into: nothing is made or changed.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Waits until no other process holds `what`, then holds it until the result is dropped or the
    /// process ends, however it ends. Blocks.
    pub(crate) fn hold(&self, what: &str) -> Result<Held, Error> {
        let (path, file) = self.lock_file(what)?;
        file.lock().map_err(|e| Error::io(&path, e))?;
        Ok(Held { _file: file })
    }

    /// The file in `run/` that is locked by who does `what`.
    pub(crate) fn lock_file(&self, what: &str) -> Result<(PathBuf, File), Error> {
        let path = self.run().join(what);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        Ok((path, file))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.root.join("airlift.db")
    }

    /// The library.
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// Private keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Trusted public keys.
    pub fn trusted(&self) -> PathBuf {
        self.root.join("trusted")
    }

    /// Lock files of running processes.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Flash that was overwritten over USB.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// Flash files of the window's virtual devices.
    pub fn virtual_devices(&self) -> PathBuf {
        self.root.join("virtual-devices")
    }
}

/// Makes a folder for its owner only. One that is there already and is open to others, as after a
/// copy or from a backup, is closed to them.
#[cfg(unix)]
fn private_dir(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|e| Error::io(dir, e))?;
    let metadata = fs::metadata(dir).map_err(|e| Error::io(dir, e))?;
    let mut permissions = metadata.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(permissions.mode() & !0o077);
        if let Err(e) = fs::set_permissions(dir, permissions) {
            // On a disk without permissions, or in a folder of somebody else's, keys still sign.
            tracing::warn!(dir = %dir.display(), "others can look into it: {e}");
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn private_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))
}

/// Something that one process at a time does in a home; see [`Home::hold`].
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

/// Writes a file so that a reader, and a power cut, sees all of it or none of it.
pub(crate) fn write_atomically(path: &Path, pieces: &[&[u8]]) -> Result<(), Error> {
    let written = write::write_file(path, pieces, Existing::Replace, Access::Usual);
    written.map_err(|e| Error::io(path, e))
}

/// Names this process among those that share the folder. The operating system lets the lock go
/// when the process ends, however it ends.
#[derive(Debug)]
pub struct Instance {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl Instance {
    /// Takes a name that no other process has or had: the jobs of an ended one are never taken for
    /// those of a process that has its number by chance.
    pub fn start(home: &Home) -> Result<Self, Error> {
        let dir = home.run();
        sweep_locks(&dir);
        let pid = std::process::id();
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let id = format!("{pid}-{:x}", now.unwrap_or_default().as_nanos());
            let path = dir.join(format!("{id}{LOCK}"));
            let lock = match OpenOptions::new().create_new(true).write(true).open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                lock => lock.map_err(|e| Error::io(&path, e))?,
            };
            match lock.try_lock() {
                // Who sweeps may have been here between making it and locking it.
                Ok(()) if path.exists() => {
                    return Ok(Self {
                        id,
                        path,
                        _lock: lock,
                    });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(Error::io(&path, e)),
            }
        }
    }

    /// The name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Gives the name back before the process ends: nothing runs under it any more.
    pub fn end(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Whether the process of that name still runs.
    pub fn is_alive(home: &Home, id: &str) -> bool {
        is_held(&home.run().join(format!("{id}{LOCK}")))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the names of the lock files of processes end in.
const LOCK: &str = ".lock";

/// Whether a running process holds this lock. Asked for a shared one, so that two that look at the
/// same time do not take each other for the holder.
fn is_held(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Removes the locks of ended processes. Nothing depends on it.
fn sweep_locks(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if path.to_string_lossy().ends_with(LOCK) && file.try_lock_shared().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_on_one_home_have_two_names_and_an_ended_one_is_not_alive() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let first = Instance::start(&home).unwrap();
        let second = Instance::start(&home).unwrap();
        assert_ne!(first.id(), second.id());
        assert!(Instance::is_alive(&home, second.id()));
        let gone = second.id().to_owned();
        drop(second);
        assert!(!Instance::is_alive(&home, &gone));
        assert!(Instance::is_alive(&home, first.id()));
    }

    #[test]
    fn a_lock_that_was_left_behind_goes_at_the_next_start_and_a_held_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let held = Instance::start(&home).unwrap();
        let left = home.run().join("1-1.lock");
        fs::write(&left, "").unwrap();
        let other = Instance::start(&home).unwrap();
        assert!(!left.exists());
        for instance in [&held, &other] {
            assert!(Instance::is_alive(&home, instance.id()));
        }
    }

    #[test]
    fn two_that_ask_at_once_whether_a_process_runs_are_not_in_each_others_way() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let path = home.run().join("1-1.lock");
        fs::write(&path, "").unwrap();
        let asking = File::open(&path).unwrap();
        asking.try_lock_shared().unwrap();
        assert!(!Instance::is_alive(&home, "1-1"));
    }

    #[test]
    fn half_written_files_go_when_the_home_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let left: Vec<_> = [home.releases(), home.trusted(), home.keys()]
            .iter()
            .map(|dir| dir.join(".airlift-new-0123456789abcdef"))
            .collect();
        for path in &left {
            fs::write(path, "half").unwrap();
        }
        Home::open(dir.path()).unwrap();
        assert!(left.iter().all(|path| !path.exists()));
    }

    #[cfg(unix)]
    #[test]
    fn the_folders_of_keys_and_backups_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("deep/home")).unwrap();
        let private = [home.keys(), home.backups()];
        let modes = || private.each_ref().map(|dir| mode(dir));
        assert_eq!(modes(), [0o700; 2]);
        for dir in &private {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Home::open(home.root()).unwrap();
        assert_eq!(modes(), [0o700; 2], "one that was open is closed");
    }

    #[cfg(unix)]
    fn mode(dir: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(dir).unwrap().permissions().mode() & 0o777
    }
}
