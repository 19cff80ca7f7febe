//! The file that a flash is kept in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::NorError;

/// How much a finished erase or write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of this process, however sudden: everything is handed to the operating system.
    #[default]
    Process,
    /// The end of the host's power too: everything is flushed to its disk. Slow.
    Host,
}

/// An open file, locked for this process.
pub(super) struct Backing {
    file: File,
    durability: Durability,
}

impl Backing {
    /// Open or make the file of `size` bytes; a new one is blank flash.
    pub(super) fn open(
        path: &Path,
        size: usize,
        durability: Durability,
    ) -> Result<(Self, Vec<u8>), NorError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NorError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The size first: the file may be anything.
        let found = file.metadata()?.len();
        let blank = vec![0xFF; size];
        if found == 0 {
            file.write_all(&blank)?;
            let mut backing = Self { file, durability };
            backing.flush()?;
            return Ok((backing, blank));
        }
        if found != size as u64 {
            return Err(NorError::FileSize {
                found,
                expected: size as u64,
            });
        }
        let mut image = blank;
        file.read_exact(&mut image)?;
        Ok((Self { file, durability }, image))
    }

    /// Keep `cells`, which are at `offset`. One write, so a killed process has done it or not.
    pub(super) fn keep(&mut self, offset: u32, cells: &[u8]) -> Result<(), NorError> {
        self.file.seek(SeekFrom::Start(u64::from(offset)))?;
        self.file.write_all(cells)?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), NorError> {
        if self.durability == Durability::Host {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl From<io::Error> for NorError {
    fn from(error: io::Error) -> Self {
        Self::File { kind: error.kind() }
    }
}
