//! Simulated NOR flash.
//!
//! [`NorFlash`] keeps the rules of the flash chip beside an ESP32: an erase sets a 4096-byte sector to
//! ones, a write clears bits and never sets one, and power can go at any moment. A driver that breaks a
//! rule gets an error at once instead of a wrong bit later.
//!
//! A [`Hook`] decides the fate of every operation before it happens: the power goes before, after or in
//! the middle of it, bits go wrong, it fails. Half-done erases and writes are drawn from a seed, so
//! every fault can be repeated.
//!
//! ```
//! use airlift_virtual_device::nor::{AtChange, NorError, NorFlash, Verdict};
//!
//! # fn main() -> Result<(), NorError> {
//! let mut flash = NorFlash::blank(NorFlash::SIZE_MIN)?;
//! flash.set_hook(AtChange::new(1, Verdict::Tear { permille: 500, seed: 7 }));
//! flash.erase(0x1000)?;
//! assert_eq!(flash.write(0x1000, b"half"), Err(NorError::PowerLost));
//! assert_eq!(flash.erase(0x1000), Err(NorError::PowerLost));
//! flash.power_on();
//! flash.erase(0x1000)?;
//! # Ok(())
//! # }
//! ```
//!
//! Bits that a cut left on their way can be [unstable](Verdict::Unsettle): they read differently each
//! time until they are erased or cleared.
//!
//! The cells live in memory or, with [`NorFlash::open`], also in a file: each erase and write is in the
//! file before it returns, so a killed process leaves what a device without power would.
//!
//! Nothing here sleeps: [`timing`](crate::timing) says how long an operation takes, and whoever calls
//! waits.

mod cells;
mod file;
mod hook;
mod journal;
mod sector;
mod shared;
#[cfg(test)]
mod tests;
mod unstable;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub use file::Durability;
pub use hook::{AtChange, Hook, Op, OpKind, Verdict};
pub use journal::Change;
pub use sector::BadSector;
pub use shared::SharedNor;

use file::Backing;
use sector::Worn;
use unstable::Unstable;

/// Bytes that one erase sets to ones.
pub const SECTOR_SIZE: u32 = 4096;
/// Offsets and lengths are multiples of this, as ESP-IDF's `spi_flash` and `esp-storage` want them.
pub const ALIGNMENT: u32 = 4;

/// Why an operation did not happen, or not as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NorError {
    /// The range is not in the flash.
    #[error("{len} bytes at {offset:#x} are outside the flash")]
    OutOfBounds {
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: usize,
    },
    /// The offset or length is not a multiple of [`ALIGNMENT`], or of [`SECTOR_SIZE`] for an erase.
    #[error("{len} bytes at {offset:#x} are not aligned")]
    Misaligned {
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: usize,
    },
    /// One operation would reach over the end of a sector.
    #[error("{len} bytes at {offset:#x} cross the end of a sector")]
    CrossesSector {
        /// First byte.
        offset: u32,
        /// Number of bytes.
        len: usize,
    },
    /// A write has a one where the cell is 0. Nothing was written.
    #[error("a write would set bits at {offset:#x}; the sector was not erased")]
    WouldSetBits {
        /// First byte that is in the way.
        offset: u32,
    },
    /// There is no power: [`NorFlash::power_on`] first.
    #[error("the flash has no power")]
    PowerLost,
    /// The operation was refused by a hook or a bad sector.
    #[error("the flash failed at {offset:#x}")]
    Failed {
        /// First byte of the operation.
        offset: u32,
    },
    /// The size is no multiple of [`SECTOR_SIZE`], or out of bounds.
    #[error("{size} bytes is no size of a flash")]
    Size {
        /// Bytes.
        size: usize,
    },
    /// The file that should hold the flash has another size.
    #[error("the flash file has {found} bytes, expected {expected}")]
    FileSize {
        /// Bytes in the file.
        found: u64,
        /// Bytes of the flash.
        expected: u64,
    },
    /// Another process has the file open.
    #[error("the flash file is in use by another process")]
    InUse,
    /// The file could not be read or written.
    #[error("the flash file: {kind}")]
    File {
        /// What the operating system said.
        kind: io::ErrorKind,
    },
}

/// How often the flash was used. Operations that broke a rule or found no power are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads.
    pub reads: u64,
    /// Erases, each one sector.
    pub erases: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Counters {
    /// Erases and writes.
    pub fn changes(&self) -> u64 {
        self.erases + self.writes
    }
}

/// A flash chip.
pub struct NorFlash {
    image: Vec<u8>,
    backing: Option<Backing>,
    hook: Option<Box<dyn Hook>>,
    powered: bool,
    counters: Counters,
    /// Erases of each sector.
    wear: Vec<u32>,
    bad: BTreeMap<u32, Worn>,
    unstable: Unstable,
    journal: Option<Vec<Change>>,
}

/// What the hook left to do.
enum Fate {
    Whole,
    WholeThenCut,
    Torn { permille: u16, seed: u64 },
    Unsettled { permille: u16, seed: u64 },
    Wrong { bits: u32, seed: u64 },
}

impl NorFlash {
    /// The smallest flash: 4 MiB.
    pub const SIZE_MIN: usize = 4 << 20;
    /// The largest flash: 16 MiB, what 24-bit addresses reach.
    pub const SIZE_MAX: usize = 16 << 20;

    /// A blank flash in memory.
    ///
    /// # Errors
    /// [`NorError::Size`].
    pub fn blank(size: usize) -> Result<Self, NorError> {
        check_size(size)?;
        Self::from_image(vec![0xFF; size])
    }

    /// A flash in memory with this content.
    ///
    /// # Errors
    /// [`NorError::Size`].
    pub fn from_image(image: Vec<u8>) -> Result<Self, NorError> {
        check_size(image.len())?;
        let sectors = image.len() / SECTOR_SIZE as usize;
        Ok(Self {
            image,
            backing: None,
            hook: None,
            powered: true,
            counters: Counters::default(),
            wear: vec![0; sectors],
            bad: BTreeMap::new(),
            unstable: Unstable::default(),
            journal: None,
        })
    }

    /// A flash kept in a file, which is made, blank, if it is not there or empty. The file stays locked
    /// while this lives.
    ///
    /// # Errors
    /// [`NorError::Size`], [`NorError::FileSize`], [`NorError::InUse`], [`NorError::File`].
    pub fn open(path: &Path, size: usize, durability: Durability) -> Result<Self, NorError> {
        check_size(size)?;
        let (backing, image) = Backing::open(path, size, durability)?;
        let mut flash = Self::from_image(image)?;
        flash.backing = Some(backing);
        Ok(flash)
    }

    /// Bytes in the flash.
    pub fn size(&self) -> u32 {
        // At most `SIZE_MAX`.
        self.image.len() as u32
    }

    /// The cells as they are, whatever the power.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// A copy of the cells, for [`from_image`](Self::from_image).
    pub fn snapshot(&self) -> Vec<u8> {
        self.image.clone()
    }

    /// Set cells from outside, as a programmer on the bench does: any range, any bits, no hook, not
    /// counted.
    ///
    /// # Errors
    /// [`NorError::OutOfBounds`], [`NorError::File`].
    pub fn overwrite(&mut self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        let start = offset as usize;
        let len = data.len();
        let cells = start
            .checked_add(len)
            .and_then(|end| self.image.get_mut(start..end))
            .ok_or(NorError::OutOfBounds { offset, len })?;
        cells.copy_from_slice(data);
        self.unstable.settle(offset, len);
        self.keep(offset, len)
    }

    /// Fill `buf` from `offset`, within one sector.
    ///
    /// # Errors
    /// [`NorError::OutOfBounds`], [`NorError::Misaligned`], [`NorError::CrossesSector`],
    /// [`NorError::PowerLost`], [`NorError::Failed`].
    pub fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), NorError> {
        let start = self.check(OpKind::Read, offset, buf.len())?;
        let fate = self.decide(OpKind::Read, offset, buf.len())?;
        buf.copy_from_slice(&self.image[start..start + buf.len()]);
        self.unstable.read(offset, buf);
        match fate {
            Fate::Whole => Ok(()),
            Fate::Wrong { bits, seed } => {
                cells::flip(buf, bits, seed);
                Ok(())
            }
            Fate::WholeThenCut | Fate::Torn { .. } | Fate::Unsettled { .. } => {
                // A caller without power has no memory either.
                buf.fill(0);
                self.lose_power()
            }
        }
    }

    /// Set the sector at `offset` to ones.
    ///
    /// # Errors
    /// [`NorError::OutOfBounds`], [`NorError::Misaligned`], [`NorError::PowerLost`],
    /// [`NorError::Failed`], [`NorError::File`].
    pub fn erase(&mut self, offset: u32) -> Result<(), NorError> {
        let len = SECTOR_SIZE as usize;
        let start = self.check(OpKind::Erase, offset, len)?;
        let fate = self.decide(OpKind::Erase, offset, len)?;
        if let Some(wear) = self.wear.get_mut(start / len) {
            *wear = wear.saturating_add(1);
        }
        self.note(OpKind::Erase, offset, &[]);
        self.unstable.settle(offset, len);
        self.change(offset, len, fate, |cells, unstable, fate| match *fate {
            Fate::Torn { permille, seed } => cells::tear_erase(cells, permille, seed),
            Fate::Unsettled { permille, seed } => {
                let bits = unstable::unsettle_erase(cells, permille, seed);
                unstable.add(offset, &bits, seed);
            }
            _ => cells.fill(0xFF),
        })
    }

    /// Clear the bits that are 0 in `data`, within one sector.
    ///
    /// # Errors
    /// [`NorError::WouldSetBits`] if a bit of `data` is 1 and the cell is 0; [`NorError::OutOfBounds`],
    /// [`NorError::Misaligned`], [`NorError::CrossesSector`], [`NorError::PowerLost`],
    /// [`NorError::Failed`], [`NorError::File`].
    pub fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        self.check(OpKind::Write, offset, data.len())?;
        self.check_bits(offset, data)?;
        let fate = self.decide(OpKind::Write, offset, data.len())?;
        self.note(OpKind::Write, offset, data);
        self.change(offset, data.len(), fate, |cells, unstable, fate| {
            match *fate {
                Fate::Torn { permille, seed } => {
                    cells::tear_write(cells, offset, data, permille, seed);
                }
                Fate::Unsettled { permille, seed } => {
                    let bits = unstable::unsettle_write(cells, offset, data, permille, seed);
                    unstable.add(offset, &bits, seed);
                }
                _ => cells
                    .iter_mut()
                    .zip(data)
                    .for_each(|(cell, byte)| *cell &= byte),
            }
            // Of an unstable bit that was cleared, nothing is left to chance.
            unstable.keep_ones(offset, cells);
        })
    }

    /// What every operation does from now on. Replaces the hook before.
    pub fn set_hook(&mut self, hook: impl Hook + 'static) {
        self.hook = Some(Box::new(hook));
    }

    /// From now on, operations just happen.
    pub fn clear_hook(&mut self) {
        self.hook = None;
    }

    /// Cut the power between two operations.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Give the power back. Cells, counters and hook stay as they are.
    pub fn power_on(&mut self) {
        self.powered = true;
    }

    /// Whether there is power: not after a cut, until [`power_on`](Self::power_on).
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// The unstable bits of the sector that holds `offset`, as masks of its bytes; `None` when all of
    /// them are stable. In [`image`](Self::image) an unstable bit is 1.
    pub fn unstable_in(&self, offset: u32) -> Option<&[u8]> {
        self.unstable.sector(offset)
    }

    /// Make bits of the sector that holds `offset` unstable, as masks of its bytes, and all others of
    /// it stable. Bits that are 0 stay 0.
    pub fn set_unstable_in(&mut self, offset: u32, masks: &[u8]) {
        let start = offset - offset % SECTOR_SIZE;
        self.unstable.settle(start, SECTOR_SIZE as usize);
        let Some(cells) = self
            .image
            .get(start as usize..(start + SECTOR_SIZE) as usize)
        else {
            return;
        };
        let bits: Vec<u8> = masks.iter().zip(cells).map(|(m, c)| m & c).collect();
        self.unstable.set(start, &bits);
    }

    /// What unstable bits read as from now on is drawn from this seed.
    pub fn set_noise(&mut self, seed: u64) {
        self.unstable.set_noise(seed);
    }

    /// Write down every erase and write from now on, until [`take_journal`](Self::take_journal).
    pub fn start_journal(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// What was written down since [`start_journal`](Self::start_journal).
    pub fn take_journal(&mut self) -> Vec<Change> {
        self.journal.take().unwrap_or_default()
    }

    /// How often the flash was used since it was made or [`reset_counters`](Self::reset_counters).
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Start counting anew; [`Op::index`] and [`Op::change`] start at 0 again.
    pub fn reset_counters(&mut self) {
        self.counters = Counters::default();
    }

    /// How often the sector that holds `offset` was erased by this flash; 0 outside of it.
    pub fn erases_at(&self, offset: u32) -> u32 {
        let sector = offset / SECTOR_SIZE;
        self.wear.get(sector as usize).copied().unwrap_or_default()
    }

    /// Wear out the sector that holds `offset`. Its cells change with the next erase or write.
    pub fn set_bad(&mut self, offset: u32, bad: BadSector) {
        self.bad.insert(offset / SECTOR_SIZE, Worn::new(bad));
    }

    /// The rules that do not depend on the cells.
    fn check(&self, kind: OpKind, offset: u32, len: usize) -> Result<usize, NorError> {
        let start = offset as usize;
        let in_bounds = start
            .checked_add(len)
            .is_some_and(|end| end <= self.image.len());
        if !in_bounds || len == 0 {
            return Err(NorError::OutOfBounds { offset, len });
        }
        let alignment = match kind {
            OpKind::Erase => SECTOR_SIZE,
            OpKind::Read | OpKind::Write => ALIGNMENT,
        };
        if !offset.is_multiple_of(alignment) || !len.is_multiple_of(alignment as usize) {
            return Err(NorError::Misaligned { offset, len });
        }
        let sector = SECTOR_SIZE as usize;
        if start / sector != (start + len - 1) / sector {
            return Err(NorError::CrossesSector { offset, len });
        }
        if !self.powered {
            return Err(NorError::PowerLost);
        }
        Ok(start)
    }

    /// That `data` sets no bit, but for the ones that are stuck: those fail silently.
    fn check_bits(&self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        let start = offset as usize;
        let able = self.able(offset, data.len());
        let cells = &self.image[start..start + data.len()];
        for (i, (cell, byte)) in cells.iter().zip(data).enumerate() {
            let able = able.and_then(|able| able.get(i)).copied().unwrap_or(0xFF);
            if !cell & byte & able != 0 {
                return Err(NorError::WouldSetBits {
                    offset: offset + i as u32,
                });
            }
        }
        Ok(())
    }

    fn able(&self, offset: u32, len: usize) -> Option<&[u8]> {
        self.bad
            .get(&(offset / SECTOR_SIZE))?
            .able((offset % SECTOR_SIZE) as usize, len)
    }

    /// Count the operation and ask the hook.
    fn decide(&mut self, kind: OpKind, offset: u32, len: usize) -> Result<Fate, NorError> {
        let op = Op {
            index: self.counters.reads + self.counters.changes(),
            change: self.counters.changes(),
            kind,
            offset,
            len: len as u32,
        };
        match kind {
            OpKind::Read => {
                self.counters.reads += 1;
                self.counters.bytes_read += len as u64;
            }
            OpKind::Erase => self.counters.erases += 1,
            OpKind::Write => {
                self.counters.writes += 1;
                self.counters.bytes_written += len as u64;
            }
        }
        let verdict = match &mut self.hook {
            Some(hook) => hook.before(&op),
            None => Verdict::Proceed,
        };
        let refuses = kind.is_change()
            && matches!(self.bad.get(&(offset / SECTOR_SIZE)), Some(Worn::Refuses));
        match verdict {
            Verdict::CutBefore => {
                self.powered = false;
                Err(NorError::PowerLost)
            }
            Verdict::Fail => Err(NorError::Failed { offset }),
            _ if refuses => Err(NorError::Failed { offset }),
            Verdict::Proceed => Ok(Fate::Whole),
            Verdict::CutAfter => Ok(Fate::WholeThenCut),
            Verdict::Tear { permille, seed } => Ok(Fate::Torn { permille, seed }),
            Verdict::Unsettle { permille, seed } => Ok(Fate::Unsettled { permille, seed }),
            Verdict::BitError { bits, seed } => Ok(Fate::Wrong { bits, seed }),
        }
    }

    /// Do `apply` to the cells, spoil them as decided, keep them.
    fn change(
        &mut self,
        offset: u32,
        len: usize,
        fate: Fate,
        apply: impl FnOnce(&mut [u8], &mut Unstable, &Fate),
    ) -> Result<(), NorError> {
        let start = offset as usize;
        let cells = &mut self.image[start..start + len];
        apply(cells, &mut self.unstable, &fate);
        if let Fate::Wrong { bits, seed } = fate {
            cells::flip(cells, bits, seed);
        }
        if let Some(worn) = self.bad.get(&(offset / SECTOR_SIZE)) {
            let able = worn.able((offset % SECTOR_SIZE) as usize, len);
            for (cell, able) in cells.iter_mut().zip(able.unwrap_or_default()) {
                *cell &= able;
            }
        }
        self.keep(offset, len)?;
        match fate {
            Fate::Whole | Fate::Wrong { .. } => Ok(()),
            Fate::WholeThenCut | Fate::Torn { .. } | Fate::Unsettled { .. } => self.lose_power(),
        }
    }

    fn note(&mut self, kind: OpKind, offset: u32, data: &[u8]) {
        if let Some(journal) = &mut self.journal {
            journal.push(Change::new(kind, offset, data));
        }
    }

    fn keep(&mut self, offset: u32, len: usize) -> Result<(), NorError> {
        match &mut self.backing {
            Some(backing) => backing.keep(offset, &self.image[offset as usize..][..len]),
            None => Ok(()),
        }
    }

    fn lose_power(&mut self) -> Result<(), NorError> {
        self.powered = false;
        Err(NorError::PowerLost)
    }
}

fn check_size(size: usize) -> Result<(), NorError> {
    let bounds = NorFlash::SIZE_MIN..=NorFlash::SIZE_MAX;
    if bounds.contains(&size) && size.is_multiple_of(SECTOR_SIZE as usize) {
        Ok(())
    } else {
        Err(NorError::Size { size })
    }
}
