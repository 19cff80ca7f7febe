//! What an updater needs of the device it runs on.
//!
//! One thread runs everything, so no future is `Send`. A method that takes long (an erase, a
//! network read) awaits; others return at once.

use airlift_wire::limits::MAX_PATH;
use core::net::SocketAddr;
use embassy_futures::select::{Either, Select, select};

/// All that a device gives the updater, as one type.
pub trait Platform {
    /// The whole flash, from offset 0.
    type Flash: Flash;
    /// The file system in partition `vfs`.
    type Files: Files;
    /// Outgoing connections.
    type Net: Net;
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Random: Random;
}

/// An operation of the flash did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError {
    /// Byte of the flash.
    pub offset: u32,
}

/// NOR flash: erase sets a sector of 4096 bytes to `FF`, a write only clears bits.
pub trait Flash {
    /// Reads any bytes.
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError>;
    /// Erases the sector that starts at `offset`.
    async fn erase(&mut self, offset: u32) -> Result<(), FlashError>;
    /// Writes inside one sector; `offset` and length are multiples of 4.
    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError>;
}

/// Why a file operation did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesError {
    /// No such file or folder.
    NotFound,
    /// No free block.
    NoSpace,
    /// A name longer than the formats allow, or not UTF-8; a folder that would take the place of a
    /// file.
    BadName,
    /// The file system is damaged, missing, or the flash failed.
    Broken,
}

/// One child of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry {
    name: [u8; MAX_PATH],
    len: u8,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Bytes of a file.
    pub size: u32,
}

impl DirEntry {
    /// An entry; `None` when the name is longer than [`MAX_PATH`].
    pub fn new(name: &str, is_folder: bool, size: u32) -> Option<Self> {
        let mut bytes = [0; MAX_PATH];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(Self {
            name: bytes,
            len: name.len() as u8,
            is_folder,
            size,
        })
    }

    /// An entry to be overwritten.
    pub const fn empty() -> Self {
        Self {
            name: [0; MAX_PATH],
            len: 0,
            is_folder: false,
            size: 0,
        }
    }

    /// Its name, without `/`.
    pub fn name(&self) -> &str {
        core::str::from_utf8(&self.name[..usize::from(self.len)]).unwrap_or("")
    }
}

/// The file system. Paths are absolute (`/ota_0/lib/x.py`), without a `/` at the end.
///
/// One file at a time is open for writing. What was written counts after [`Files::close`] or
/// [`Files::sync`]; a power cut before loses only what came since.
pub trait Files {
    /// The child of `folder` with the smallest key above `after`, where the key of a folder is its
    /// name and `/` and of a file its name, compared as bytes: the order of the canonical tar. An
    /// empty `after` gives the first. A missing folder has no children.
    async fn next_entry(
        &mut self,
        folder: &str,
        after: &[u8],
    ) -> Result<Option<DirEntry>, FilesError>;
    /// Reads from a file; fewer bytes than asked for only at its end.
    async fn read(&mut self, path: &str, offset: u32, buf: &mut [u8]) -> Result<usize, FilesError>;
    /// Creates or empties a file and opens it for writing.
    async fn create(&mut self, path: &str) -> Result<(), FilesError>;
    /// Opens a file, cut to `len` bytes, for writing at its end.
    async fn reopen(&mut self, path: &str, len: u32) -> Result<(), FilesError>;
    /// Appends to the open file.
    async fn append(&mut self, data: &[u8]) -> Result<(), FilesError>;
    /// Makes what was appended durable.
    async fn sync(&mut self) -> Result<(), FilesError>;
    /// Makes it durable and closes the open file; nothing happens when none is open.
    async fn close(&mut self) -> Result<(), FilesError>;
    /// Makes a folder; an existing one is fine.
    async fn make_folder(&mut self, path: &str) -> Result<(), FilesError>;
    /// Removes a file or an empty folder; a missing one is fine.
    async fn remove(&mut self, path: &str) -> Result<(), FilesError>;
    /// Removes the children of a folder that no release can have brought, with all that is in them: what
    /// [`Files::next_entry`] answers with [`FilesError::BadName`], and what has a path of more than
    /// [`crate::path::CAPACITY`] bytes. Without it, such a name in a slot's folder refuses updates.
    async fn remove_unnamed(&mut self, folder: &str) -> Result<(), FilesError> {
        let _ = folder;
        Err(FilesError::BadName)
    }
    /// Blocks of 4 KiB that are free.
    async fn free_blocks(&mut self) -> Result<u32, FilesError>;
}

/// A connection is gone, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetError;

/// Outgoing TCP connections.
pub trait Net {
    /// A connection.
    type Connection: Connection;
    /// Connects; the caller bounds the time.
    async fn connect(&mut self, peer: SocketAddr) -> Result<Self::Connection, NetError>;
}

/// A TCP connection. Dropping it closes it.
pub trait Connection {
    /// Reads at least one byte; 0 means that the other side has ended.
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError>;
    /// Writes all bytes and sends them.
    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError>;
}

/// Time since the start of the device.
pub trait Clock {
    /// Milliseconds.
    fn now_ms(&self) -> u64;
    /// Waits.
    async fn sleep_ms(&self, ms: u32);
}

/// Randomness that an attacker cannot guess.
pub trait Random {
    /// Fills `buf`.
    fn fill(&mut self, buf: &mut [u8]);
}

/// Runs `future` for at most `ms` milliseconds; [`InTime::in_time`] tells which of the two ended.
///
/// Not an `async fn`: that would keep `future` twice, and all that waits for the network is in one.
pub fn within<T, F: Future<Output = T>>(
    clock: &impl Clock,
    ms: u32,
    future: F,
) -> Select<F, impl Future<Output = ()>> {
    select(future, clock.sleep_ms(ms))
}

/// What [`within`] came to.
pub trait InTime<T> {
    /// The value; `None` when the time is over.
    fn in_time(self) -> Option<T>;
}

impl<T> InTime<T> for Either<T, ()> {
    fn in_time(self) -> Option<T> {
        match self {
            Self::First(value) => Some(value),
            Self::Second(()) => None,
        }
    }
}
