//! Backups of flash that was overwritten: `backups/ID.backup`.

use std::fs;
use std::path::PathBuf;

use airlift_usb::Board;
use airlift_usb::backup::Backup;
use airlift_wire::ErrorCode;

use crate::Error;
use crate::dto::UsbBackup;
use crate::home::Home;

const ENDING: &str = ".backup";

/// A name for a backup of a board that none has yet.
pub(crate) fn free_id(home: &Home, board: &Board, time: u64) -> String {
    let mac = board.mac.as_deref().unwrap_or("board").replace(':', "");
    let named = |n: u32| match n {
        0 => format!("{time}-{mac}"),
        n => format!("{time}-{mac}-{n}"),
    };
    let mut n = 0;
    while path(home, &named(n)).exists() {
        n += 1;
    }
    named(n)
}

/// The file of a backup.
pub(crate) fn path(home: &Home, id: &str) -> PathBuf {
    home.backups().join(format!("{id}{ENDING}"))
}

/// Every whole backup, newest first.
pub(crate) fn list(home: &Home) -> Result<Vec<UsbBackup>, Error> {
    let dir = home.backups();
    let mut backups = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|e| Error::io(&dir, e))? {
        let path = entry.map_err(|e| Error::io(&dir, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(|name| name.strip_suffix(ENDING)) else {
            continue;
        };
        match Backup::open(&path) {
            Ok(backup) => backups.push(UsbBackup {
                id: id.to_owned(),
                time: u32::try_from(backup.time).unwrap_or(u32::MAX),
                bytes: backup.size(),
                mac: backup.mac,
                chip: backup.chip,
                summary: backup.summary,
            }),
            Err(error) => tracing::warn!("left out: {error}"),
        }
    }
    backups.sort_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
    Ok(backups)
}

/// Reads a backup.
///
/// # Errors
/// `no_such_backup`; `bad_backup` for one that is damaged.
pub(crate) fn find(home: &Home, id: &str) -> Result<Backup, Error> {
    // A name and no path: what is outside the folder is none of ours.
    let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let path = path(home, id);
    if !plain || !path.is_file() {
        let id = crate::error::printable(id);
        let message = format!("there is no backup {id}");
        return Err(Error::refused(ErrorCode::NoSuchBackup, message));
    }
    Ok(Backup::open(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_the_board_and_never_one_that_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let board = crate::usb::fake::board(1);
        let first = free_id(&home, &board, 7);
        assert_eq!(first, "7-020000000001");
        fs::write(path(&home, &first), "x").unwrap();
        assert_eq!(free_id(&home, &board, 7), "7-020000000001-1");
    }

    #[test]
    fn a_damaged_file_is_left_out_and_says_so_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        fs::write(path(&home, "7-a"), "no backup").unwrap();
        assert!(list(&home).unwrap().is_empty());
        let error = find(&home, "7-a").unwrap_err();
        assert_eq!(error.code(), ErrorCode::BadBackup);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        fs::write(dir.path().join("x.backup"), "x").unwrap();
        for id in ["../x", "", ".", "7-7cdfa1b2c3d4"] {
            let error = find(&home, id).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NoSuchBackup, "{id}");
        }
    }
}
