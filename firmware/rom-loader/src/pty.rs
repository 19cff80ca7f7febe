//! The terminal that a host opens, and the link that stays where it is.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};

/// Both ends of a pseudo-terminal. The host opens the path; we hold that end open too, so that our
/// end lives while no host is there. Dropping it hangs up on the host.
#[derive(Debug)]
pub(crate) struct Pty {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Pty {
    /// Opens one and links `link` to it.
    pub(crate) fn open(link: &Path) -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(path, flags, Mode::empty())?;
        // A terminal echoes and edits until it is told not to.
        let mut settings = tcgetattr(&theirs)?;
        settings.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        replace_link(path, link)?;
        Ok(Self { ours, theirs })
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.ours, buffer)?)
    }

    /// Writes what fits; `WouldBlock` when nothing does.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.ours, bytes)?)
    }

    /// The baud rate that the host set.
    pub(crate) fn baud(&self) -> u32 {
        tcgetattr(&self.theirs).map_or(0, |settings| settings.output_speed())
    }

    /// A host that wants the port for itself says so to the terminal, which remembers it for as long
    /// as we hold it: without this the next host could not open it.
    pub(crate) fn allow_all(&self) {
        let _ = ioctl_tiocnxcl(&self.theirs);
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

/// Where the host finds the terminal: gone while the board is unplugged.
#[derive(Debug)]
pub(crate) struct Link {
    path: PathBuf,
    /// The folder to remove with it.
    folder: Option<PathBuf>,
}

impl Link {
    /// At `path`, or in a folder of its own.
    pub(crate) fn new(path: Option<&Path>) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(path) = path {
            return Ok(Self {
                path: path.to_path_buf(),
                folder: None,
            });
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("airlift-rom-loader-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            path: folder.join("tty"),
            folder: Some(folder),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Unplugged.
    pub(crate) fn remove(&self) {
        // What is no link was not made here.
        if self.path.is_symlink() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.remove();
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// The link changes at once: no moment at which it is half there.
fn replace_link(target: &Path, link: &Path) -> io::Result<()> {
    if link.exists() && !link.is_symlink() {
        let message = format!("{} exists and is no link", link.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let mut new = link.as_os_str().to_owned();
    new.push(".new");
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(target, &new)?;
    std::fs::rename(&new, link)
}
