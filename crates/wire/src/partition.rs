//! ESP-IDF's partition table, at 0x8000 (ESP-IDF: "Partition Tables", `gen_esp32part.py`).
//!
//! Entries of 32 bytes, little endian: magic `AA 50`, type, subtype, offset u32, size u32, label
//! (16 bytes, zero padded), flags u32. After the last entry an MD5 entry: `EB EB`, fourteen `FF`,
//! the MD5 of all entries before it. Then `FF` to the end of 0xC00 bytes.

use crate::limits::{MAX_PARTITIONS, SECTOR_SIZE};
use core::fmt;
use md5::{Digest as _, Md5};

/// Where the table is in flash by default.
pub const TABLE_OFFSET: u32 = 0x8000;
/// Bytes of the table.
pub const TABLE_LEN: usize = 0xC00;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 32;

/// Type of app partitions.
pub const TYPE_APP: u8 = 0;
/// Type of data partitions.
pub const TYPE_DATA: u8 = 1;
/// Subtype of the `factory` app.
pub const SUBTYPE_FACTORY: u8 = 0x00;
/// Subtype of `ota_0`; `ota_1` is one more.
pub const SUBTYPE_OTA_0: u8 = 0x10;
/// Data subtype of `otadata`.
pub const SUBTYPE_OTADATA: u8 = 0x00;

/// One partition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Type: [`TYPE_APP`], [`TYPE_DATA`] or a custom one.
    pub kind: u8,
    /// Subtype.
    pub subtype: u8,
    /// First byte in flash.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Name, zero padded.
    pub label: [u8; 16],
    /// Flags; bit 0 is "encrypted".
    pub flags: u32,
}

impl Partition {
    /// A partition without flags; a label longer than 16 bytes is cut.
    pub fn new(label: &str, kind: u8, subtype: u8, offset: u32, size: u32) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(label.bytes()) {
            *to = from;
        }
        Self {
            kind,
            subtype,
            offset,
            size,
            label: bytes,
            flags: 0,
        }
    }

    /// The label as text; `?` when it is not UTF-8.
    pub fn label(&self) -> &str {
        let end = self.label.iter().position(|b| *b == 0).unwrap_or(16);
        core::str::from_utf8(&self.label[..end]).unwrap_or("?")
    }

    /// First byte after it.
    pub fn end(&self) -> u32 {
        self.offset.saturating_add(self.size)
    }

    fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut e = [0; ENTRY_LEN];
        e[0] = 0xAA;
        e[1] = 0x50;
        e[2] = self.kind;
        e[3] = self.subtype;
        e[4..8].copy_from_slice(&self.offset.to_le_bytes());
        e[8..12].copy_from_slice(&self.size.to_le_bytes());
        e[12..28].copy_from_slice(&self.label);
        e[28..].copy_from_slice(&self.flags.to_le_bytes());
        e
    }

    /// Reads an entry, whatever its magic is.
    pub fn decode(e: &[u8; ENTRY_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes([e[at], e[at + 1], e[at + 2], e[at + 3]]);
        let mut label = [0; 16];
        label.copy_from_slice(&e[12..28]);
        Self {
            kind: e[2],
            subtype: e[3],
            offset: word(4),
            size: word(8),
            label,
            flags: word(28),
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            subtype,
            offset,
            size,
            ..
        } = self;
        write!(
            f,
            "{}({kind}/{subtype:#x} {offset:#x}+{size:#x})",
            self.label()
        )
    }
}

/// Why bytes are not a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartitionError {
    /// No entry, or an entry with another magic.
    Magic,
    /// The MD5 is missing or does not match.
    Md5,
    /// Two partitions overlap, or one is outside the flash or not aligned to a sector.
    Layout,
    /// A buffer is too small or the table has too many entries.
    TooLong,
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "an entry of the partition table does not start with its magic",
            Self::Md5 => "the partition table's MD5 is missing or does not match",
            Self::Layout => "partitions overlap, are not aligned, or do not fit the flash",
            Self::TooLong => "the partition table has too many entries",
        })
    }
}

impl core::error::Error for PartitionError {}

/// A partition table that was checked; borrows its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    entries: &'a [u8],
}

impl<'a> Table<'a> {
    /// Reads a table as ESP-IDF's bootloader does (`flash_partitions.c`): the MD5 entry may be missing,
    /// partitions may overlap and need not be aligned. One that is there has to match, and all has to
    /// fit `flash_size` bytes. For looking at flash only: who writes uses [`Table::parse`].
    pub fn parse_lenient(bytes: &'a [u8], flash_size: u32) -> Result<Self, PartitionError> {
        let (table, _) = Self::entries(bytes)?;
        let fits = |p: Partition| {
            p.offset
                .checked_add(p.size)
                .is_some_and(|e| e <= flash_size)
        };
        if table.iter().all(fits) {
            Ok(table)
        } else {
            Err(PartitionError::Layout)
        }
    }

    /// Checks magic, MD5, alignment, overlaps and that all fits `flash_size` bytes.
    pub fn parse(bytes: &'a [u8], flash_size: u32) -> Result<Self, PartitionError> {
        let (table, has_md5) = Self::entries(bytes)?;
        if !has_md5 {
            return Err(PartitionError::Md5);
        }
        for (n, a) in table.iter().enumerate() {
            let end = a.offset.checked_add(a.size).ok_or(PartitionError::Layout)?;
            let aligned = a.offset.is_multiple_of(SECTOR_SIZE as u32);
            let apart = table
                .iter()
                .skip(n + 1)
                .all(|b| b.offset >= end || b.end() <= a.offset);
            if !aligned || end > flash_size || !apart || a.size == 0 {
                return Err(PartitionError::Layout);
            }
        }
        Ok(table)
    }

    /// The entries up to the MD5, which has to match, or up to the end, and whether there is an MD5.
    fn entries(bytes: &'a [u8]) -> Result<(Self, bool), PartitionError> {
        let mut count = 0;
        let has_md5 = loop {
            let at = count * ENTRY_LEN;
            let entry = bytes.get(at..at + ENTRY_LEN).ok_or(PartitionError::Md5)?;
            match entry {
                [0xAA, 0x50, ..] => count += 1,
                [0xEB, 0xEB, ..] => {
                    let md5: [u8; 16] = Md5::digest(&bytes[..at]).into();
                    if entry[16..] != md5 || entry[2..16] != [0xFF; 14] {
                        return Err(PartitionError::Md5);
                    }
                    break true;
                }
                [0xFF, 0xFF, ..] if count > 0 => break false,
                _ => return Err(PartitionError::Magic),
            }
            if count > MAX_PARTITIONS {
                return Err(PartitionError::TooLong);
            }
        };
        if count == 0 {
            return Err(PartitionError::Magic);
        }
        let table = Self {
            entries: &bytes[..count * ENTRY_LEN],
        };
        Ok((table, has_md5))
    }

    /// All partitions in table order.
    pub fn iter(&self) -> impl Iterator<Item = Partition> + use<'a> {
        self.entries
            .as_chunks::<ENTRY_LEN>()
            .0
            .iter()
            .map(Partition::decode)
    }

    /// The first partition of a type and subtype.
    pub fn find(&self, kind: u8, subtype: u8) -> Option<Partition> {
        self.iter().find(|p| p.kind == kind && p.subtype == subtype)
    }

    /// The first partition with a label.
    pub fn labelled(&self, label: &str) -> Option<Partition> {
        self.iter().find(|p| p.label() == label)
    }

    /// Number of OTA app partitions: `ota_0`, `ota_1`, … without a gap.
    pub fn ota_count(&self) -> u32 {
        (0..16)
            .take_while(|n| self.find(TYPE_APP, SUBTYPE_OTA_0 + n).is_some())
            .count() as u32
    }
}

/// Writes a table with its MD5 entry and fills the rest with `FF`.
pub fn encode(partitions: &[Partition], out: &mut [u8; TABLE_LEN]) -> Result<(), PartitionError> {
    if partitions.len() > MAX_PARTITIONS {
        return Err(PartitionError::TooLong);
    }
    out.fill(0xFF);
    for (to, from) in out.chunks_exact_mut(ENTRY_LEN).zip(partitions) {
        to.copy_from_slice(&from.encode());
    }
    let at = partitions.len() * ENTRY_LEN;
    let md5: [u8; 16] = Md5::digest(&out[..at]).into();
    out[at..at + 2].copy_from_slice(&[0xEB, 0xEB]);
    out[at + 16..at + 32].copy_from_slice(&md5);
    Ok(())
}

/// The partitions of a device that Airlift flashes from nothing, for a flash of at least 4 MiB.
///
/// `nvs`, `otadata` and `phy_init` stand where ESP-IDF's own two-slot tables have them; the rest of
/// a larger flash goes to `vfs`. With `factory`, three app slots of 960 KiB; without, two of 1.4 MiB.
pub fn default_layout(flash_size: u32, factory: bool) -> ([Partition; 8], usize) {
    const APP: u32 = 0x1_0000;
    let airlift = Partition::new("airlift", TYPE_DATA, 0x40, 0, 0x8000);
    let mut list = [airlift; 8];
    list[0] = Partition::new("nvs", TYPE_DATA, 0x02, 0x9000, 0x4000);
    list[1] = Partition::new("otadata", TYPE_DATA, SUBTYPE_OTADATA, 0xD000, 0x2000);
    list[2] = Partition::new("phy_init", TYPE_DATA, 0x01, 0xF000, 0x1000);
    let mut at = APP;
    let mut n = 3;
    let slot = if factory { 0xF_0000 } else { 0x16_0000 };
    let slots: &[(&str, u8)] = if factory {
        &[
            ("factory", SUBTYPE_FACTORY),
            ("ota_0", SUBTYPE_OTA_0),
            ("ota_1", SUBTYPE_OTA_0 + 1),
        ]
    } else {
        &[("ota_0", SUBTYPE_OTA_0), ("ota_1", SUBTYPE_OTA_0 + 1)]
    };
    for (label, subtype) in slots {
        list[n] = Partition::new(label, TYPE_APP, *subtype, at, slot);
        at += slot;
        n += 1;
    }
    list[n] = Partition {
        offset: at,
        ..airlift
    };
    at += airlift.size;
    n += 1;
    // Subtype 0x81 (fat) is what MicroPython's own tables give its `vfs`, whatever is in it.
    list[n] = Partition::new("vfs", TYPE_DATA, 0x81, at, flash_size.saturating_sub(at));
    (list, n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLASH: u32 = 4 << 20;

    fn table(partitions: &[Partition]) -> [u8; TABLE_LEN] {
        let mut out = [0; TABLE_LEN];
        encode(partitions, &mut out).unwrap();
        out
    }

    #[test]
    fn both_default_layouts_parse_and_fill_the_flash() {
        for factory in [true, false] {
            let (list, n) = default_layout(FLASH, factory);
            let bytes = table(&list[..n]);
            let table = Table::parse(&bytes, FLASH).unwrap();
            assert_eq!(table.iter().count(), n);
            assert_eq!(table.ota_count(), 2);
            assert_eq!(table.find(TYPE_APP, SUBTYPE_FACTORY).is_some(), factory);
            assert_eq!(table.labelled("vfs").unwrap().end(), FLASH);
            for app in table.iter().filter(|p| p.kind == TYPE_APP) {
                assert_eq!(
                    app.offset % 0x1_0000,
                    0,
                    "{app:?}: apps are aligned to 64 KiB"
                );
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_by_the_md5() {
        let (list, n) = default_layout(FLASH, true);
        let mut bytes = table(&list[..n]);
        bytes[6] ^= 0x10;
        assert_eq!(Table::parse(&bytes, FLASH).err(), Some(PartitionError::Md5));
    }

    #[test]
    fn a_blank_flash_and_a_table_without_md5_are_refused() {
        assert_eq!(
            Table::parse(&[0xFF; TABLE_LEN], FLASH).err(),
            Some(PartitionError::Magic)
        );
        let (list, n) = default_layout(FLASH, true);
        let mut bytes = table(&list[..n]);
        bytes[n * ENTRY_LEN..].fill(0xFF);
        assert_eq!(Table::parse(&bytes, FLASH).err(), Some(PartitionError::Md5));
    }

    #[test]
    fn overlaps_and_a_flash_too_small_are_refused() {
        let a = Partition::new("a", TYPE_APP, 0, 0x1_0000, 0x2000);
        let b = Partition::new("b", TYPE_APP, 0x10, 0x1_1000, 0x2000);
        assert_eq!(
            Table::parse(&table(&[a, b]), FLASH).err(),
            Some(PartitionError::Layout)
        );
        assert!(Table::parse(&table(&[a]), FLASH).is_ok());
        assert_eq!(
            Table::parse(&table(&[a]), 0x1_1000).err(),
            Some(PartitionError::Layout)
        );
        let c = Partition {
            offset: u32::MAX - 0xFFF,
            ..a
        };
        assert_eq!(
            Table::parse(&table(&[c]), u32::MAX).err(),
            Some(PartitionError::Layout)
        );
    }

    #[test]
    fn what_a_bootloader_accepts_is_read_leniently() {
        let (list, n) = default_layout(FLASH, true);
        let mut bytes = table(&list[..n]);
        bytes[n * ENTRY_LEN..].fill(0xFF);
        let found = Table::parse_lenient(&bytes, FLASH).unwrap();
        assert!(found.iter().eq(list[..n].iter().copied()));
        assert_eq!(
            Table::parse_lenient(&bytes, FLASH / 2).err(),
            Some(PartitionError::Layout)
        );
        let a = Partition::new("a", TYPE_APP, 0, 0x1_0000, 0x2000);
        let b = Partition::new("b", TYPE_APP, 0x10, 0x1_1000, 0x2000);
        let mut bytes = table(&[a, b]);
        assert!(Table::parse_lenient(&bytes, FLASH).is_ok());
        bytes[6] ^= 0x10;
        assert_eq!(
            Table::parse_lenient(&bytes, FLASH).err(),
            Some(PartitionError::Md5),
            "an MD5 that is there has to match"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), n in 0usize..8) {
            for k in 0..n.min(bytes.len() / ENTRY_LEN) {
                bytes[k * ENTRY_LEN..k * ENTRY_LEN + 2].copy_from_slice(&[0xAA, 0x50]);
            }
            if Table::parse(&bytes, FLASH).is_ok() {
                assert!(Table::parse_lenient(&bytes, FLASH).is_ok());
            }
        }
    }
}
