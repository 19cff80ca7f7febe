//! The second-stage bootloader: which app starts.
//!
//! Behaves like ESP-IDF's (`bootloader_utility.c`, "App Rollback"): the entries of otadata select a
//! slot, its image is checked as a whole, and when it is bad the slots before it are tried down to
//! `factory`, then those behind it. With rollback, an entry that is still *pending* from the boot
//! before is made *aborted*, and a *new* one that is selected becomes *pending* before its image is
//! looked at. Everything goes through the flash and its hook, so power can go in the middle.
//!
//! Not here: secure boot, flash encryption, anti-rollback, the test app, factory reset by a pin.

use crate::nor::{NorError, SECTOR_SIZE, SharedNor};
use airlift_updater::SlotId;
use airlift_wire::image::Checker;
use airlift_wire::otadata::{self, Entry, ImageState};
use airlift_wire::partition::{
    Partition, PartitionError, SUBTYPE_FACTORY, SUBTYPE_OTA_0, SUBTYPE_OTADATA, TABLE_LEN,
    TABLE_OFFSET, TYPE_APP, TYPE_DATA, Table,
};
use std::fmt;

/// How the bootloader was configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootloader {
    /// Without rollback, as the one that espflash brings.
    #[default]
    Plain,
    /// With `CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE`.
    Rollback,
}

/// Why nothing starts. A board resets and tries again, with the same result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dead {
    /// The partition table is damaged.
    Table(PartitionError),
    /// No app partition holds an image that passes its checks.
    NoApp,
    /// The flash failed.
    Flash {
        /// First byte of the operation.
        offset: u32,
    },
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(error) => error.fmt(f),
            Self::NoApp => f.write_str("no app partition holds a bootable image"),
            Self::Flash { offset } => write!(f, "the flash failed at {offset:#x}"),
        }
    }
}

/// Why the bootloader did not start an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// There is nothing to start.
    Dead(Dead),
    /// The power went.
    PowerLost,
}

impl From<NorError> for Halt {
    fn from(error: NorError) -> Self {
        match error {
            NorError::PowerLost => Self::PowerLost,
            NorError::Failed { offset } => Self::Dead(Dead::Flash { offset }),
            _ => Self::Dead(Dead::Flash { offset: 0 }),
        }
    }
}

/// Chooses the slot and checks its image.
///
/// # Errors
/// [`Halt`].
pub fn boot(nor: &SharedNor, bootloader: Bootloader, chip: u16) -> Result<SlotId, Halt> {
    let mut bytes = vec![0; TABLE_LEN];
    read(nor, TABLE_OFFSET, &mut bytes)?;
    let table = Table::parse(&bytes, nor.size()).map_err(|e| Halt::Dead(Dead::Table(e)))?;
    let apps = Apps {
        factory: table.find(TYPE_APP, SUBTYPE_FACTORY),
        ota: (0..table.ota_count() as u8)
            .filter_map(|n| table.find(TYPE_APP, SUBTYPE_OTA_0 + n))
            .collect(),
    };
    let (start, initial) = match table.find(TYPE_DATA, SUBTYPE_OTADATA) {
        Some(partition) => select(nor, bootloader, partition, &apps)?,
        None => (FACTORY, None),
    };
    let down = (FACTORY..=start).rev();
    let up = start + 1..apps.ota.len() as i32;
    for index in down.chain(up) {
        let Some(partition) = apps.at(index) else {
            continue;
        };
        if is_bootable(nor, partition, chip)? {
            if let (Some(otadata), 0..) = (initial, index) {
                let entry = Entry::new(index as u32 + 1, ImageState::Valid);
                write_entry(nor, otadata.offset, &entry)?;
            }
            return slot(index).ok_or(Halt::Dead(Dead::NoApp));
        }
    }
    Err(Halt::Dead(Dead::NoApp))
}

/// Index of the factory app; OTA slots count from 0.
const FACTORY: i32 = -1;

struct Apps {
    factory: Option<Partition>,
    ota: Vec<Partition>,
}

impl Apps {
    fn at(&self, index: i32) -> Option<Partition> {
        match usize::try_from(index) {
            Ok(n) => self.ota.get(n).copied(),
            Err(_) => self.factory,
        }
    }
}

fn slot(index: i32) -> Option<SlotId> {
    match index {
        FACTORY => Some(SlotId::Factory),
        0 => Some(SlotId::Ota0),
        1 => Some(SlotId::Ota1),
        _ => None,
    }
}

/// The app to start with, and otadata if it still has its initial content: without a factory app
/// the bootloader then records the slot that it started.
fn select(
    nor: &SharedNor,
    bootloader: Bootloader,
    partition: Partition,
    apps: &Apps,
) -> Result<(i32, Option<Partition>), Halt> {
    let offsets = [partition.offset, partition.offset + SECTOR_SIZE];
    let mut entries = [read_entry(nor, offsets[0])?, read_entry(nor, offsets[1])?];
    if bootloader == Bootloader::Rollback {
        for (entry, offset) in entries.iter_mut().zip(offsets) {
            if entry.state == ImageState::PendingVerify {
                entry.state = ImageState::Aborted;
                write_entry(nor, offset, entry)?;
            }
        }
    }
    let fallback = if apps.factory.is_some() { FACTORY } else { 0 };
    let count = apps.ota.len() as u32;
    let Some(n) = otadata::active(&entries).filter(|_| count > 0) else {
        let untouched = |e: &Entry| e.sequence == u32::MAX || e.has_right_crc();
        let initial = entries.iter().all(is_given_up) && entries.iter().all(untouched);
        let record = initial && apps.factory.is_none();
        return Ok((fallback, record.then_some(partition)));
    };
    let index = entries[n].slot(count).map_or(fallback, |slot| slot as i32);
    if bootloader == Bootloader::Rollback && entries[n].state == ImageState::New {
        entries[n].state = ImageState::PendingVerify;
        write_entry(nor, offsets[n], &entries[n])?;
    }
    Ok((index, None))
}

fn is_given_up(entry: &Entry) -> bool {
    entry.sequence == u32::MAX || matches!(entry.state, ImageState::Invalid | ImageState::Aborted)
}

fn read_entry(nor: &SharedNor, offset: u32) -> Result<Entry, Halt> {
    let mut bytes = [0; otadata::ENTRY_LEN];
    nor.read(offset, &mut bytes)?;
    Ok(Entry::decode(&bytes))
}

/// As the bootloader does it: erase, then the whole entry at once.
fn write_entry(nor: &SharedNor, offset: u32, entry: &Entry) -> Result<(), Halt> {
    nor.erase(offset)?;
    nor.write(offset, &entry.encode())?;
    Ok(())
}

fn is_bootable(nor: &SharedNor, partition: Partition, chip: u16) -> Result<bool, Halt> {
    let mut checker = Checker::new();
    let mut sector = vec![0; SECTOR_SIZE as usize];
    let mut at = 0;
    while at < partition.size && !checker.is_done() {
        let len = (partition.size - at).min(SECTOR_SIZE) as usize;
        read(nor, partition.offset + at, &mut sector[..len])?;
        if checker.update(&sector[..len]).is_err() {
            return Ok(false);
        }
        at += len as u32;
    }
    Ok(checker
        .finish()
        .is_ok_and(|image| image.header.chip_id == chip))
}

fn read(nor: &SharedNor, offset: u32, buf: &mut [u8]) -> Result<(), NorError> {
    let mut at = offset;
    for piece in buf.chunks_mut(SECTOR_SIZE as usize) {
        nor.read(at, piece)?;
        at += piece.len() as u32;
    }
    Ok(())
}
