//! Whether a port can be opened.

use serialport::ErrorKind;

use crate::error::Error;
use crate::line::is_there;

/// Why a port could not be opened.
pub(crate) fn open_error(path: &str, error: &serialport::Error) -> Error {
    let path = path.to_string();
    match error.kind() {
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) if cfg!(windows) => {
            // Windows opens a port once, and says no more than this.
            Error::PortBusy { path, holder: None }
        }
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => denied(&path),
        _ if !is_there(&path) => Error::NoSuchPort { path },
        // What serialport says when another program has it for itself, or has it locked.
        ErrorKind::NoDevice => {
            let holder = holder(&path);
            Error::PortBusy { path, holder }
        }
        _ => Error::Io {
            path,
            why: error.to_string(),
        },
    }
}

/// Why a port cannot be opened, as far as can be seen without opening it.
#[cfg(unix)]
pub(super) fn problem(path: &str) -> Option<Error> {
    use rustix::fs::{Access, access};
    if !is_there(path) {
        return Some(Error::NoSuchPort { path: path.into() });
    }
    if access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
        return Some(denied(path));
    }
    let holder = lock_holder(path)?;
    Some(Error::PortBusy {
        path: path.into(),
        holder: Some(holder),
    })
}

#[cfg(not(unix))]
pub(super) fn problem(path: &str) -> Option<Error> {
    // A name that is listed is there, and opening is the only way to know more.
    let _ = path;
    None
}

#[cfg(unix)]
fn denied(path: &str) -> Error {
    use std::os::unix::fs::MetadataExt as _;
    let group = std::fs::metadata(path).ok().and_then(|port| {
        // Only a group whose members may read and write is worth joining.
        (port.mode() & 0o060 == 0o060).then(|| group_name(port.gid()))?
    });
    let path = path.into();
    Error::PortDenied { path, group }
}

#[cfg(not(unix))]
fn denied(path: &str) -> Error {
    Error::PortDenied {
        path: path.into(),
        group: None,
    }
}

#[cfg(unix)]
fn group_name(id: u32) -> Option<String> {
    find_group(&std::fs::read_to_string("/etc/group").ok()?, id)
}

/// The name of a group in `/etc/group`: `name:password:id:members`.
#[cfg(unix)]
fn find_group(groups: &str, id: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_string())
    })
}

/// The program that has locked a port, as most do.
#[cfg(target_os = "linux")]
fn lock_holder(path: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let port = std::fs::metadata(path).ok()?;
    let device = (rustix::fs::major(port.dev()), rustix::fs::minor(port.dev()));
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = find_lock(&locks, device, port.ino())?;
    (process != std::process::id()).then(|| program(process))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn lock_holder(_path: &str) -> Option<String> {
    None
}

/// The process that has a lock on a file, in `/proc/locks` (proc(5)):
/// `1: FLOCK  ADVISORY  WRITE 812 00:05:632 0 EOF`.
#[cfg(target_os = "linux")]
fn find_lock(locks: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let file = format!("{:02x}:{:02x}:{inode}", device.0, device.1);
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(4);
        let process = words.next()?;
        (words.next()? == file).then(|| process.parse().ok())?
    })
}

#[cfg(target_os = "linux")]
fn program(process: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("process {process}"),
        name => name.to_string(),
    }
}

/// The program that has a port open, as far as this user may know: it need not have locked it.
#[cfg(target_os = "linux")]
fn holder(path: &str) -> Option<String> {
    lock_holder(path).or_else(|| {
        let port = std::fs::canonicalize(path).ok()?;
        let us = std::process::id();
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| *id != us)
            .find(|id: &u32| {
                let Ok(files) = std::fs::read_dir(format!("/proc/{id}/fd")) else {
                    return false;
                };
                let mut files = files.flatten();
                files.any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == port))
            })
            .map(program)
    })
}

#[cfg(not(target_os = "linux"))]
fn holder(_path: &str) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_id() {
        let groups = "root:x:0:\nuucp:x:10:uucp\ndialout:x:20:ada,grace\n";
        assert_eq!(find_group(groups, 20).as_deref(), Some("dialout"));
        assert_eq!(find_group(groups, 2), None);
    }

    #[test]
    fn who_has_locked_a_port_is_in_the_list_of_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:2f:12 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 812 00:05:632 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 99 00:05:632 0 EOF\n";
        assert_eq!(find_lock(locks, (0, 5), 632), Some(812));
        assert_eq!(find_lock(locks, (0, 5), 63), None);
    }

    #[test]
    fn what_is_not_there_is_no_port() {
        let path = "/dev/no-such-port";
        let missing = Error::NoSuchPort { path: path.into() };
        assert_eq!(problem(path), Some(missing.clone()));
        let error = serialport::Error::new(ErrorKind::Unknown, "gone");
        assert_eq!(open_error(path, &error), missing);
    }

    #[test]
    fn a_port_that_another_has_open_is_busy() {
        let error = serialport::Error::new(ErrorKind::NoDevice, "locked");
        let open = open_error("/dev/null", &error);
        assert!(matches!(open, Error::PortBusy { .. }), "{open:?}");
    }

    #[test]
    fn a_port_of_others_names_their_group() {
        // Everybody may open it, but if nobody might, this is what would be said.
        let error = denied("/dev/null");
        assert_eq!(error.code(), airlift_wire::ErrorCode::PortDenied);
    }
}
