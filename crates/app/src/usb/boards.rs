//! Where boards are: serial ports in earnest, memory in tests.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use airlift_flash::{ReadFlash, Segment};
use airlift_usb::Board;
use airlift_usb::write::BackupTo;
use tokio_util::sync::CancellationToken;

use super::table::Found;
use crate::dto::{UsbLogLine, UsbPhase};
use crate::{Error, Secret};

/// A future in a box.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
/// What becomes of writing.
pub(crate) type Writing<'a> =
    Pin<Box<dyn Future<Output = (Written, Result<(), Error>)> + Send + 'a>>;
/// What reads flash, on the thread of its port.
pub(crate) type Reading = Box<dyn FnOnce(&mut dyn ReadFlash) + Send>;

/// All boards that this computer reaches.
pub(crate) trait Boards: Send + Sync {
    /// The ports that are there now. Blocks.
    fn ports(&self) -> Result<Vec<Found>, Error>;

    /// A port that the system does not list, if it is there. Blocks.
    fn named(&self, path: &str) -> Option<Found>;

    /// Calls `on_change` whenever a port comes or goes, until the result is dropped.
    fn watch(&self, on_change: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Watching>, Error>;

    /// Gets the loader of a board to answer.
    fn connect(&self, how: Connect) -> Boxed<'static, Box<dyn Session>>;

    /// Starts to read the log of a board that runs.
    fn monitor(&self, how: Monitor) -> Boxed<'static, Box<dyn Monitoring>>;
}

/// Ports are watched as long as this lives.
pub(crate) trait Watching: Send + Sync {}

/// How a board is connected.
pub(crate) struct Connect {
    pub(crate) path: String,
    pub(crate) cancel: CancellationToken,
    /// How long somebody may take to hold BOOT and press RESET; without, as long as it takes.
    pub(crate) patience: Option<Duration>,
    /// Called when nothing resets the board and somebody has to hold BOOT.
    pub(crate) on_waiting: Box<dyn Fn() + Send>,
    /// Called when the board is gone while nothing is asked of it.
    pub(crate) on_lost: Box<dyn Fn(Error) + Send>,
}

/// How a log is read.
pub(crate) struct Monitor {
    pub(crate) path: String,
    /// The ELF file that the board runs.
    pub(crate) elf: Option<PathBuf>,
    /// Takes lines as they come, without numbers.
    pub(crate) on_line: Box<dyn FnMut(UsbLogLine) + Send>,
}

/// A board whose loader answers. Dropping it lets go of the port.
pub(crate) trait Session: Send + Sync {
    /// What it said of itself.
    fn board(&self) -> &Board;

    /// Runs what only reads.
    fn read(&self, work: Reading) -> Boxed<'_, ()>;

    /// Compares, saves, writes and verifies: what was done, and why not all of it.
    fn write(&self, write: Write) -> Writing<'_>;

    /// Starts what is in the flash, and lets go of the port.
    fn start(&self) -> Boxed<'_, ()>;

    /// Starts what is in the flash, and reads its log from the first byte on.
    fn monitor(&self, how: Monitor) -> Boxed<'_, Box<dyn Monitoring>>;
}

/// A log that is being read. Dropping it lets go of the port, a moment later.
pub(crate) trait Monitoring: Send + Sync {
    /// Lets go of the port.
    fn stop(&self) -> Boxed<'_, ()>;

    /// Starts the board anew.
    fn reset(&self) -> Boxed<'_, ()>;

    /// Tells the board which network to join; where it is reached then.
    fn wifi<'a>(&'a self, ssid: &'a str, password: &'a Secret) -> Boxed<'a, String>;
}

/// What is to be in a board's flash.
pub(crate) struct Write {
    pub(crate) segments: Vec<Segment>,
    /// Where what will be overwritten is saved. One that is there already is added to.
    pub(crate) backup: Option<BackupTo>,
    pub(crate) cancel: CancellationToken,
    pub(crate) on_progress: Box<dyn FnMut(Step) + Send>,
}

/// How far writing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) phase: UsbPhase,
    /// Where in the flash it is.
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) total: u32,
    pub(crate) skipped: u32,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of flash that were written and verified.
    pub(crate) bytes: u32,
    /// Whether something had to be saved.
    pub(crate) saved: bool,
}
