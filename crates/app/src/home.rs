//! Where everything is kept: one folder, shared by every Airlift that runs on it.
//!
//! ```text
//! AIRLIFT_HOME/
//!   airlift.db                jobs, history, remembered devices, settings (SQLite)
//!   releases/ID.airlift       the library
//!   keys/NAME.pem             private keys, 0600; NAME.pub.pem beside each
//!   trusted/KEYID.pub.pem     public keys whose releases are accepted here
//!   run/PROCESS.lock          held by each running Airlift: tells its jobs from orphans
//!   virtual-devices/          flash files of the virtual devices of the window
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

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

    /// Opens a folder, and makes it if it is not there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let home = Self {
            root: root.to_owned(),
        };
        for dir in [home.releases(), home.trusted(), home.run()] {
            fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        }
        private_dir(&home.keys())?;
        Ok(home)
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

    /// Flash files of the window's virtual devices.
    pub fn virtual_devices(&self) -> PathBuf {
        self.root.join("virtual-devices")
    }
}

#[cfg(unix)]
fn private_dir(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.map_err(|e| Error::io(dir, e))
}

#[cfg(not(unix))]
fn private_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))
}

/// Writes a file so that a reader, and a power cut, sees all of it or none of it.
pub(crate) fn write_atomically(path: &Path, pieces: &[&[u8]]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        // A name with a leading dot: listings skip one that a crash left behind.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        sync_dir(dir)
    };
    write().map_err(|e| Error::io(path, e))
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> std::io::Result<()> {
    Ok(())
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
    /// Takes a name that no other process has.
    pub fn start(home: &Home) -> Result<Self, Error> {
        let dir = home.run();
        let pid = std::process::id();
        // A number that was left behind is taken over; one that is held is another instance in
        // this very process, or a reused process id.
        for n in 0..1000 {
            let id = format!("{pid}-{n}");
            let path = dir.join(format!("{id}.lock"));
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let lock = lock.map_err(|e| Error::io(&path, e))?;
            match lock.try_lock() {
                // Whoever had it before may have removed it between the two lines above.
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
        Err(Error::Internal(format!(
            "{} is full of held locks",
            dir.display()
        )))
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
        let path = home.run().join(format!("{id}.lock"));
        let Ok(file) = OpenOptions::new().write(true).open(&path) else {
            return false;
        };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomically(&path, &[b"old"]).unwrap();
        write_atomically(&path, &[b"new ", b"content"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new content");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

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

    #[cfg(unix)]
    #[test]
    fn the_key_folder_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("deep/home")).unwrap();
        let mode = fs::metadata(home.keys()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
