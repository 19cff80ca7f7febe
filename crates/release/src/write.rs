//! Files that are whole or not there, whatever ends the process or the power.
//!
//! Content goes to a file beside the target, to the disk, and only then to its name; then the folder
//! goes to the disk too. What a killed process leaves is such a file beside the target, and the next
//! one that writes into the folder takes it away: whoever writes holds a lock on it, and a lock ends
//! with its process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// What the names of unfinished files begin with. Listings skip names with a leading dot.
const UNFINISHED: &str = ".airlift-new-";
/// Another name is tried when one is taken or swept away in the moment between two steps.
const TRIES: usize = 16;

/// What happens to a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced, in one step.
    Replace,
    /// It stays, and the write fails with [`ErrorKind::AlreadyExists`].
    Keep,
}

/// Who may read a new file, on Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whom the process's umask lets.
    Usual,
    /// Its owner alone (mode 0600).
    Owner,
}

/// Writes `pieces`, one after the other, as the file at `path`. When it returns, file and name are
/// on the disk. When it fails, nothing is there that was not there before.
///
/// # Errors
/// What the operating system says, of which [`ErrorKind::AlreadyExists`] is that of
/// [`Existing::Keep`].
pub fn write_file(
    path: &Path,
    pieces: &[&[u8]],
    existing: Existing,
    access: Access,
) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(ErrorKind::InvalidInput.into());
    }
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    sweep(dir);
    let (temporary, mut file) = unfinished(dir, access)?;
    let written = fill(&mut file, pieces).and_then(|()| match existing {
        Existing::Replace => fs::rename(&temporary, path),
        Existing::Keep => match fs::hard_link(&temporary, path) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists && !is_final(e.kind()) => {
                // A file system without links, as on many sticks.
                in_place(path, pieces, access)
            }
            linked => linked,
        },
    });
    if written.is_err() || existing == Existing::Keep {
        // What cannot be removed now is swept later.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_dir(dir)
}

/// Removes what killed processes left in a folder, and says how many files that were. What cannot
/// be read or removed stays.
pub fn sweep(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let ours = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    entries
        .flatten()
        .filter(ours)
        .filter(|entry| remove_unheld(&entry.path()))
        .count()
}

/// Makes the names in a folder last.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file.
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

fn remove_unheld(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    file.try_lock().is_ok() && fs::remove_file(path).is_ok()
}

/// A new file under a name of its own, held.
fn unfinished(dir: &Path, access: Access) -> io::Result<(PathBuf, File)> {
    for _ in 0..TRIES {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = dir.join(format!("{UNFINISHED}{:016x}", u64::from_le_bytes(random)));
        let file = match new(&path, access) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        match file.try_lock() {
            // Somebody who swept may have been between making it and this line.
            Ok(()) if path.exists() => return Ok((path, file)),
            // Without locks nobody sweeps either.
            Err(TryLockError::Error(_)) => return Ok((path, file)),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn new(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

fn fill(file: &mut File, pieces: &[&[u8]]) -> io::Result<()> {
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()
}

fn in_place(path: &Path, pieces: &[&[u8]], access: Access) -> io::Result<()> {
    let mut file = new(path, access)?;
    fill(&mut file, pieces).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// Whether trying it another way leads to the same end.
fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_written_file_is_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for content in ["old", "new"] {
            let pieces = [content.as_bytes(), b" content"];
            write_file(&path, &pieces, Existing::Replace, Access::Usual).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"new content");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_file_that_is_kept_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_file(&path, &[b"first"], Existing::Keep, Access::Usual).unwrap();
        let error = write_file(&path, &[b"second"], Existing::Keep, Access::Usual).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn of_many_that_want_one_name_one_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let write = |n: u8| write_file(&path, &[&[n]], Existing::Keep, Access::Usual).is_ok();
        let won = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|n| scope.spawn(move || write(n))).collect();
            writers
                .into_iter()
                .filter_map(|w| w.join().ok())
                .filter(|won| *won)
                .count()
        });
        assert_eq!(won, 1);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{UNFINISHED}0123456789abcdef"));
        fs::write(&left, "half").unwrap();
        let (held, file) = unfinished(dir.path(), Access::Usual).unwrap();
        let path = dir.path().join("a");
        write_file(&path, &[b"content"], Existing::Replace, Access::Usual).unwrap();
        assert!(!left.exists());
        assert!(held.exists());
        drop(file);
        assert_eq!(sweep(dir.path()), 1);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for existing in [Existing::Replace, Existing::Keep] {
            let path = dir.path().join("gone/a");
            let error = write_file(&path, &[b"x"], existing, Access::Usual).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_for_its_owner_is_readable_by_nobody_else_at_any_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (path, _file) = unfinished(dir.path(), Access::Owner).unwrap();
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
