//! The partition table, and which one it was when it is damaged.

use super::reader::Reader;
use crate::read::ReadError;
use airlift_updater::{Layout, SlotId};
use airlift_wire::image::Header;
use airlift_wire::limits::{MAX_PARTITIONS, SECTOR_SIZE};
use airlift_wire::otadata::Entry;
use airlift_wire::partition::{
    self, ENTRY_LEN, Partition, PartitionError, TABLE_LEN, TABLE_OFFSET, TYPE_APP, Table,
};
use airlift_wire::state::{STATE_LEN, State};
use md5::{Digest as _, Md5};

const SECTOR: u32 = SECTOR_SIZE as u32;
/// Label of the partition that only Airlift's boards have.
const LABEL: &str = "airlift";
/// Smallest flash that the default partitions are for.
const SMALLEST: u32 = 4 << 20;
/// What a table that is only guessed must have found of itself in the flash: a state, or two images,
/// or a file system and an image.
const ENOUGH: u32 = 4;

/// What stands where the table belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableState {
    /// A table that is right.
    Right,
    /// A table that a bootloader accepts and the updater refuses.
    Loose(PartitionError),
    /// Nothing.
    Erased,
    /// Something else.
    Other,
    /// A table that is not right.
    Damaged(PartitionError),
    /// A table for a larger flash.
    TooLarge {
        /// Bytes of flash that it needs.
        needs: u32,
    },
}

impl TableState {
    /// Whether a bootloader accepts it.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Right | Self::Loose(_))
    }
}

/// Where the partitions are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The table.
    Table,
    /// What a damaged table still says, and the flash agrees with.
    Remains,
    /// The default layout, and the flash agrees with it.
    Default,
}

/// The partitions.
#[derive(Clone, Debug)]
pub(crate) struct Partitions {
    pub state: TableState,
    /// In table order; empty when nothing says where they are.
    pub list: Vec<Partition>,
    pub source: Source,
    /// When they allow updates.
    pub layout: Option<Layout>,
    /// Whether an entry, be it of a damaged table, is labelled `airlift`.
    pub names_airlift: bool,
}

impl Partitions {
    /// Where the last one ends.
    pub fn end(&self) -> u32 {
        self.list.iter().map(Partition::end).max().unwrap_or(0)
    }
}

pub(crate) fn look(reader: &mut Reader<'_>, chip: u16) -> Result<Partitions, ReadError> {
    let bytes: [u8; TABLE_LEN] = reader.array(TABLE_OFFSET)?;
    let size = reader.size();
    let error = match Table::parse(&bytes, size) {
        Ok(table) => {
            let list: Vec<_> = table.iter().collect();
            return Ok(Partitions {
                state: TableState::Right,
                source: Source::Table,
                layout: layout(&list, size),
                names_airlift: names_airlift(&list),
                list,
            });
        }
        Err(error) => error,
    };
    let entries = entries(&bytes);
    let names_airlift = names_airlift(&entries);
    let needs = entries.iter().map(Partition::end).max().unwrap_or(0);
    let is_whole = Table::parse_lenient(&bytes, u32::MAX).is_ok();
    let loose = Table::parse_lenient(&bytes, size);
    let loose = loose.map(|table| table.iter().collect::<Vec<_>>());
    if let Ok(list) = &loose
        && layout(list, size).is_some()
    {
        return Ok(as_it_is(list.clone(), error, size));
    }
    let state = match error {
        _ if bytes.iter().all(|byte| *byte == 0xFF) => TableState::Erased,
        PartitionError::Layout | PartitionError::Md5 if is_whole && needs > size => {
            TableState::TooLarge { needs }
        }
        PartitionError::Magic if entries.is_empty() => TableState::Other,
        error => TableState::Damaged(error),
    };
    let known = match vouched(&bytes, size) {
        Some(known) => Some(known),
        None => guess(reader, entries, chip)?,
    };
    // A table that lost its end is one without an MD5 too: what is in the flash decides.
    if let (None, Ok(list)) = (&known, loose) {
        return Ok(as_it_is(list, error, size));
    }
    let (list, source) = known.unwrap_or((Vec::new(), Source::Table));
    let layout = layout(&list, size);
    Ok(Partitions {
        state,
        list,
        source,
        layout,
        names_airlift,
    })
}

/// A table that is read as a bootloader reads it.
fn as_it_is(list: Vec<Partition>, error: PartitionError, size: u32) -> Partitions {
    Partitions {
        state: TableState::Loose(error),
        source: Source::Table,
        layout: layout(&list, size),
        names_airlift: names_airlift(&list),
        list,
    }
}

fn names_airlift(list: &[Partition]) -> bool {
    list.iter().any(|partition| partition.label() == LABEL)
}

/// All entries with the right magic, whatever else is wrong.
fn entries(bytes: &[u8; TABLE_LEN]) -> Vec<Partition> {
    let (chunks, _) = bytes.as_chunks::<ENTRY_LEN>();
    let chunks = chunks.iter().take(MAX_PARTITIONS);
    chunks
        .filter(|entry| entry.starts_with(&[0xAA, 0x50]))
        .map(Partition::decode)
        .collect()
}

/// What partitions allow, if they can be a table and leave bootloader and table alone.
pub(crate) fn layout(list: &[Partition], flash_size: u32) -> Option<Layout> {
    if list.iter().any(|p| p.offset < TABLE_OFFSET + SECTOR) {
        return None;
    }
    let mut bytes = [0xFF; TABLE_LEN];
    partition::encode(list, &mut bytes).ok()?;
    let table = Table::parse(&bytes, flash_size).ok()?;
    Layout::from_table(&table, flash_size, SlotId::Ota0)
}

/// The partitions that the MD5 in a damaged table is of: default ones, or those that are there but
/// for one bit. Evidence in the flash says nothing of `nvs`, and a wrong entry costs what is in it.
fn vouched(bytes: &[u8; TABLE_LEN], size: u32) -> Option<(Vec<Partition>, Source)> {
    let (chunks, _) = bytes.as_chunks::<ENTRY_LEN>();
    let mut chunks = chunks.iter().take(MAX_PARTITIONS + 1);
    let is_md5 = |entry: &[u8; ENTRY_LEN]| entry[..2] == [0xEB; 2] && entry[2..16] == [0xFF; 14];
    let at = chunks.position(is_md5)? * ENTRY_LEN;
    let md5 = &bytes[at + 16..at + ENTRY_LEN];
    let is_right = |entries: &[u8]| Md5::digest(entries).as_slice() == md5;
    if is_right(&bytes[..at]) {
        return None;
    }
    for list in defaults(size) {
        let mut table = [0xFF; TABLE_LEN];
        partition::encode(&list, &mut table).ok()?;
        if is_right(&table[..list.len() * ENTRY_LEN]) {
            return Some((list, Source::Default));
        }
    }
    let mut table = *bytes;
    for bit in 0..at * 8 {
        let flip = 1 << (bit % 8);
        table[bit / 8] ^= flip;
        if is_right(&table[..at]) {
            let list = entries(&table);
            return layout(&list, size).map(|_| (list, Source::Remains));
        }
        table[bit / 8] ^= flip;
    }
    None
}

/// The default partitions for flashes up to a size.
fn defaults(size: u32) -> impl Iterator<Item = Vec<Partition>> {
    let sizes = (0..5).map(|n| SMALLEST << n);
    let sizes = sizes.take_while(move |smaller| *smaller <= size);
    sizes.flat_map(|smaller| {
        [true, false].map(|factory| {
            let (list, n) = partition::default_layout(smaller, factory);
            list[..n].to_vec()
        })
    })
}

/// The partitions that the flash itself speaks for.
fn guess(
    reader: &mut Reader<'_>,
    mut entries: Vec<Partition>,
    chip: u16,
) -> Result<Option<(Vec<Partition>, Source)>, ReadError> {
    let size = reader.size();
    // A table for a larger flash: what reaches over the end is cut there.
    for entry in &mut entries {
        if entry.offset < size && entry.end() > size {
            entry.size = (size - entry.offset) / SECTOR * SECTOR;
        }
    }
    entries.retain(|entry| entry.end() <= size && entry.size > 0);
    let mut candidates = vec![(entries, Source::Remains)];
    candidates.extend(defaults(size).map(|list| (list, Source::Default)));
    let mut best: Option<(u32, Vec<Partition>, Source)> = None;
    for (list, source) in candidates {
        let Some(layout) = layout(&list, size) else {
            continue;
        };
        let found = evidence(reader, &layout, chip)?;
        if found >= ENOUGH && best.as_ref().is_none_or(|(most, ..)| found > *most) {
            best = Some((found, list, source));
        }
    }
    Ok(best.map(|(_, list, source)| (list, source)))
}

/// How much of what a layout says is in the flash.
fn evidence(reader: &mut Reader<'_>, layout: &Layout, chip: u16) -> Result<u32, ReadError> {
    let mut found = 0;
    for sector in [0, SECTOR] {
        let bytes: [u8; STATE_LEN] = reader.array(layout.airlift.offset + sector)?;
        found += 4 * u32::from(State::decode(&bytes).is_some());
    }
    for n in [0, 1] {
        let entry = Entry::decode(&reader.array(layout.otadata_offset(n))?);
        found += u32::from(entry.has_right_crc());
    }
    for slot in SlotId::ALL {
        let Some(app) = layout.partition(slot) else {
            continue;
        };
        let head: [u8; 24] = reader.array(app.offset)?;
        let fits = Header::parse(&head).is_ok_and(|header| header.chip_id == chip);
        found += 2 * u32::from(fits && app.kind == TYPE_APP);
    }
    if let Some(vfs) = layout.vfs {
        let blocks = super::files::superblock(reader, vfs)?.map(|found| found.blocks);
        found += 2 * u32::from(blocks == Some(vfs.size / SECTOR));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 4 << 20;

    fn table(list: &[Partition]) -> [u8; TABLE_LEN] {
        let mut bytes = [0xFF; TABLE_LEN];
        partition::encode(list, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn any_one_bit_of_the_entries_is_put_right() {
        let default = defaults(SIZE).next().unwrap();
        let mut own = default.clone();
        own[0] = Partition::new("settings", 1, 2, 0x9000, 0x4000);
        for (list, source) in [(default, Source::Default), (own, Source::Remains)] {
            let right = table(&list);
            // What costs most: magic, type, subtype, place, size, label and flags of `nvs`.
            for bit in (0..ENTRY_LEN * 8)
                .step_by(3)
                .chain([list.len() * ENTRY_LEN * 8 - 1])
            {
                let mut bytes = right;
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(vouched(&bytes, SIZE), Some((list.clone(), source)), "{bit}");
            }
        }
    }

    #[test]
    fn nothing_vouches_for_two_bits_of_a_table_of_ones_own() {
        let mut list = defaults(SIZE).next().unwrap();
        list[0] = Partition::new("settings", 1, 2, 0x9000, 0x4000);
        let mut bytes = table(&list);
        assert_eq!(vouched(&bytes, SIZE), None, "it is right");
        bytes[4] ^= 1;
        bytes[40] ^= 1;
        assert_eq!(vouched(&bytes, SIZE), None);
    }
}
