//! The flash behind the loader: NOR rules, a journal of what was done to it, kept in a file.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

/// Smallest unit of erasing, in bytes.
pub const SECTOR: u32 = 4096;
/// Unit of the faster erase, in bytes.
pub const BLOCK: u32 = 64 * 1024;
/// Most bytes that are programmed at once.
pub const PAGE: u32 = 256;
/// Largest flash that is emulated: a file of any length is not read into memory.
pub const MAX_SIZE: u32 = 128 * 1024 * 1024;

/// What was done to a range of flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Read, and sent to the host.
    Read,
    /// Read by the loader itself, for an MD5.
    Digest,
    /// Set to ones.
    Erase,
    /// Bits cleared.
    Write,
}

/// An operation on the flash. Those that continue the one before are one with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// What.
    pub kind: Kind,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// How much work the flash had, as far as it takes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Sectors of 4 KiB erased one by one.
    pub sectors: u32,
    /// Blocks of 64 KiB erased at once.
    pub blocks: u32,
    /// Pages programmed, whole or in part.
    pub pages: u32,
    /// Bytes read.
    pub read: u32,
    /// Bytes hashed.
    pub digested: u32,
}

/// The operation reaches beyond the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// NOR flash: erasing sets a sector to ones, writing only clears bits.
#[derive(Debug)]
pub struct Flash {
    bytes: Vec<u8>,
    file: Option<File>,
    journal: Vec<Operation>,
    work: Work,
    /// Sectors that keep what they hold, whatever is erased or written.
    pub bad_sectors: BTreeSet<u32>,
    /// Nothing is erased or written, and no error says so.
    pub write_protected: bool,
}

impl Flash {
    /// An erased flash of `size` bytes in memory.
    pub fn new(size: u32) -> Self {
        Self {
            bytes: vec![0xFF; size as usize],
            file: None,
            journal: Vec::new(),
            work: Work::default(),
            bad_sectors: BTreeSet::new(),
            write_protected: false,
        }
    }

    /// The flash in a file. A missing file is made, a short one is followed by erased flash, and of
    /// a longer one only the first `size` bytes are used.
    pub fn open(path: &Path, size: u32) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut flash = Self::new(size);
        let mut bytes = Vec::new();
        (&mut file).take(size.into()).read_to_end(&mut bytes)?;
        flash.bytes[..bytes.len()].copy_from_slice(&bytes);
        if bytes.len() < flash.bytes.len() {
            file.write_all(&flash.bytes[bytes.len()..])?;
        }
        flash.file = Some(file);
        Ok(flash)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// All of it, as it is now; not in the journal.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was done to it since the start or since the journal was taken.
    pub fn journal(&self) -> &[Operation] {
        &self.journal
    }

    /// The journal, and a new one from now on.
    pub fn take_journal(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.journal)
    }

    /// The work since this was asked last.
    pub fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Sets bytes without erasing, as a test prepares a board; not in the journal.
    pub fn put(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfRange> {
        let range = self.range(offset, bytes.len() as u64)?;
        self.bytes[range.clone()].copy_from_slice(bytes);
        self.save(range);
        Ok(())
    }

    /// Reads for the host, or for an MD5.
    pub fn read(&mut self, kind: Kind, offset: u32, length: u32) -> Result<&[u8], OutOfRange> {
        let range = self.range(offset, length.into())?;
        self.note(kind, offset, length);
        match kind {
            Kind::Digest => self.work.digested += length,
            _ => self.work.read += length,
        }
        Ok(&self.bytes[range])
    }

    /// Whether a sector holds nothing but ones. The loader looks by itself: not in the journal.
    pub fn is_blank(&mut self, sector: u32) -> Result<bool, OutOfRange> {
        let range = self.range(sector, SECTOR.into())?;
        self.work.read += SECTOR;
        Ok(self.bytes[range].iter().all(|byte| *byte == 0xFF))
    }

    /// Erases `length` bytes, [`SECTOR`] or [`BLOCK`], at a multiple of that.
    pub fn erase(&mut self, offset: u32, length: u32) -> Result<(), OutOfRange> {
        self.range(offset, length.into())?;
        self.note(Kind::Erase, offset, length);
        if length == BLOCK {
            self.work.blocks += 1;
        } else {
            self.work.sectors += length.div_ceil(SECTOR);
        }
        for sector in (offset..offset + length).step_by(SECTOR as usize) {
            if self.keeps(sector) {
                continue;
            }
            let range = sector as usize..(sector + SECTOR) as usize;
            self.bytes[range.clone()].fill(0xFF);
            self.save(range);
        }
        Ok(())
    }

    /// Clears the bits that are zero in `data`.
    pub fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), OutOfRange> {
        let range = self.range(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u32;
        self.note(Kind::Write, offset, length);
        self.work.pages += (offset + length).div_ceil(PAGE) - offset / PAGE;
        let mut at = offset;
        let mut left = data;
        while !left.is_empty() {
            let sector = at - at % SECTOR;
            let here = left.len().min((sector + SECTOR - at) as usize);
            let (now, later) = left.split_at(here);
            if !self.keeps(sector) {
                let cells = &mut self.bytes[at as usize..][..here];
                cells
                    .iter_mut()
                    .zip(now)
                    .for_each(|(cell, byte)| *cell &= byte);
            }
            at += here as u32;
            left = later;
        }
        self.save(range);
        Ok(())
    }

    fn keeps(&self, sector: u32) -> bool {
        self.write_protected || self.bad_sectors.contains(&sector)
    }

    fn range(&self, offset: u32, length: u64) -> Result<Range<usize>, OutOfRange> {
        let end = u64::from(offset) + length;
        if end > self.bytes.len() as u64 {
            return Err(OutOfRange);
        }
        Ok(offset as usize..end as usize)
    }

    fn note(&mut self, kind: Kind, offset: u32, length: u32) {
        if length == 0 {
            return;
        }
        match self.journal.last_mut() {
            Some(last) if last.kind == kind && last.offset + last.length == offset => {
                last.length += length;
            }
            _ => self.journal.push(Operation {
                kind,
                offset,
                length,
            }),
        }
    }

    /// The file is written through, so that what a test reads after a kill is what the flash held.
    fn save(&mut self, range: Range<usize>) {
        let Some(file) = &mut self.file else { return };
        let written = file
            .seek(SeekFrom::Start(range.start as u64))
            .and_then(|_| file.write_all(&self.bytes[range]));
        if let Err(error) = written {
            eprintln!("flash file: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_only_clears_bits_and_erasing_sets_them() {
        let mut flash = Flash::new(2 * SECTOR);
        flash.write(10, &[0x0F]).unwrap();
        flash.write(10, &[0xF8]).unwrap();
        assert_eq!(flash.bytes()[10], 0x08);
        flash.erase(0, SECTOR).unwrap();
        assert_eq!(flash.bytes()[10], 0xFF);
    }

    #[test]
    fn beyond_the_end_nothing_happens() {
        let mut flash = Flash::new(SECTOR);
        assert_eq!(flash.write(SECTOR - 1, &[0, 0]), Err(OutOfRange));
        assert_eq!(flash.erase(SECTOR, SECTOR), Err(OutOfRange));
        assert_eq!(flash.read(Kind::Read, u32::MAX, 2), Err(OutOfRange));
        assert!(flash.journal().is_empty());
        assert!(flash.bytes().iter().all(|byte| *byte == 0xFF));
    }

    #[test]
    fn operations_that_continue_each_other_are_one_in_the_journal() {
        let mut flash = Flash::new(4 * SECTOR);
        flash.erase(0, SECTOR).unwrap();
        flash.erase(SECTOR, SECTOR).unwrap();
        flash.write(0, &[1; 256]).unwrap();
        flash.write(256, &[2; 256]).unwrap();
        flash.write(1024, &[3]).unwrap();
        let operation = |kind, offset, length| Operation {
            kind,
            offset,
            length,
        };
        assert_eq!(
            flash.take_journal(),
            [
                operation(Kind::Erase, 0, 2 * SECTOR),
                operation(Kind::Write, 0, 512),
                operation(Kind::Write, 1024, 1),
            ]
        );
        assert_eq!(flash.take_work().pages, 3);
    }

    #[test]
    fn a_bad_sector_keeps_what_it_holds() {
        let mut flash = Flash::new(2 * SECTOR);
        flash.bad_sectors.insert(SECTOR);
        flash.write(SECTOR - 1, &[0, 0]).unwrap();
        assert_eq!(flash.bytes()[SECTOR as usize - 1..][..2], [0, 0xFF]);
    }

    #[test]
    fn the_file_holds_what_the_flash_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let mut flash = Flash::open(&path, 2 * SECTOR).unwrap();
        flash.write(5000, b"kept").unwrap();
        flash.erase(0, SECTOR).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), flash.bytes());
        drop(flash);
        let flash = Flash::open(&path, 4 * SECTOR).unwrap();
        assert_eq!(&flash.bytes()[5000..5004], b"kept");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 * 4096);
    }
}
