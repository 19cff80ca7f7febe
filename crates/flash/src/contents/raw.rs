//! Images and files that are written as they are.

use super::present::{self, Moved};
use super::{Contents, SUBTYPE_NVS, is_data};
use crate::bootloader::{self, Rollback, Target};
use crate::plan::Step;
use crate::{Error, Segment};
use airlift_release::FileKind;
use airlift_wire::image::{Checker, HEADER_LEN, Header, MAGIC};
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::{Partition, TABLE_LEN, TABLE_OFFSET, TYPE_APP, Table};
use airlift_wire::state::{PARTITION_LABEL, STATE_LEN, State, newest};
use bytes::Bytes;

/// Most parts that are written at once.
pub const MAX_PARTS: usize = 64;
/// The sector behind the partition table.
const BEHIND_TABLE: u32 = TABLE_OFFSET + SECTOR_SIZE as u32;
/// Most characters of a name that people are shown.
const MAX_SHOWN: usize = 80;

/// A file for an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it goes, a multiple of 4096.
    pub offset: u32,
    /// What it is called, such as the name of its file.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Part {
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + self.bytes.len() as u64
    }
}

/// A merged image, as it is: bootloader, partition table and apps from offset 0 on. With `keep_nvs`
/// the image's `nvs` is left out.
///
/// # Errors
/// [`Error::WrongKind`] for anything else, and those of [`of_parts`].
pub fn of_merged(
    name: &str,
    image: &Bytes,
    target: &Target,
    keep_nvs: bool,
) -> Result<Contents, Error> {
    let found = FileKind::of(image);
    if found != FileKind::MergedImage {
        return Err(Error::WrongKind {
            what: printable(name),
            found,
            wanted: "a merged image",
        });
    }
    let part = Part {
        offset: 0,
        name: name.to_owned(),
        bytes: image.clone(),
    };
    let contents = of_parts(vec![part], target, keep_nvs)?;
    if contents.brings_table && contents.rollback.is_some() {
        Ok(contents)
    } else {
        // It looks like one, but not for a chip like this: its table or bootloader is elsewhere.
        Err(Error::Layout(
            "the image has no bootloader where this chip looks for it, or no table at 0x8000",
        ))
    }
}

/// Files at offsets, as they are. What is recognised is checked: a bootloader where the chip looks for
/// it, the partition table, apps in partitions and at the start of a file. With `keep_nvs`, `nvs` is
/// left out of a file that covers more than that.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooManyParts`], [`Error::Segment`], [`Error::Overlap`],
/// [`Error::TooBig`] for parts that cannot be written, [`Error::WrongKind`], [`Error::WrongChip`],
/// [`Error::Revision`], [`Error::Image`], [`Error::Table`] for those that the board could not start.
pub fn of_parts(parts: Vec<Part>, target: &Target, keep_nvs: bool) -> Result<Contents, Error> {
    on(parts, None, target, keep_nvs)
}

/// Files at offsets for a board that has a partition table: an app ends where its partition does, and
/// what a new table takes from the apps of the board is a loss.
///
/// # Errors
/// Those of [`of_parts`]; [`Error::TooBig`] for an app that would run over its partition.
pub fn of_parts_on(
    parts: Vec<Part>,
    present: &Table<'_>,
    target: &Target,
    keep_nvs: bool,
) -> Result<Contents, Error> {
    on(parts, Some(present), target, keep_nvs)
}

fn on(
    mut parts: Vec<Part>,
    present: Option<&Table<'_>>,
    target: &Target,
    keep_nvs: bool,
) -> Result<Contents, Error> {
    parts.sort_by_key(|part| part.offset);
    check_places(&parts, target.flash_size)?;
    let picture = Picture(&parts);
    let has_bootloader = check_bootloader(&picture, target)?;
    let table_bytes = picture.at(TABLE_OFFSET);
    let table_bytes = &table_bytes[..table_bytes.len().min(TABLE_LEN)];
    let table = match table_bytes {
        [] => None,
        bytes => Some(Table::parse(bytes, target.flash_size).map_err(Error::Table)?),
    };
    // Where everything will be.
    let map = table.as_ref().or(present);
    for part in &parts {
        check_part(part, target)?;
        if let Some(map) = map {
            present::check_room(part, map)?;
        }
    }
    let apps = table.iter().flat_map(|table| table.iter());
    for partition in apps.filter(|p| p.kind == TYPE_APP) {
        check_app(&picture, &partition, target)?;
    }
    let trusts = table.as_ref().is_some_and(|t| brings_trust(&picture, t));
    let regions = Regions::of(map);
    let mut losses = losses(&regions, table.is_some(), keep_nvs);
    if let Some(map) = map {
        losses.extend(present::misplaced(&parts, map));
    }
    let brought = |offset| picture.at(offset).first() == Some(&MAGIC);
    let moved = present
        .zip(table.as_ref())
        .map(|(present, new)| Moved::of(present, new, brought));
    let starts_nothing = moved.as_ref().is_some_and(|moved| moved.starts_nothing);
    losses.extend(moved.into_iter().flat_map(|moved| moved.losses));
    let mut steps = Vec::new();
    for part in &parts {
        split(part, &regions, keep_nvs, &mut steps)?;
    }
    let table_end = table.iter().flat_map(|t| t.iter()).map(|p| p.end()).max();
    let end = parts.last().map_or(0, Part::end);
    let end = end.next_multiple_of(SECTOR_SIZE as u64);
    let end = u32::try_from(end).unwrap_or(u32::MAX);
    let what = what(&parts);
    Ok(Contents {
        chip: target.chip,
        flash_size: end.max(table_end.unwrap_or(0)),
        summary: format!("Writes {what} as it is."),
        afterwards: if starts_nothing {
            "The board starts nothing until an app is written.".to_owned()
        } else if has_bootloader && table.is_some() {
            format!("The board starts what {what} brings.")
        } else {
            "The board starts what was in its flash before, with these parts in it.".to_owned()
        },
        losses,
        what,
        steps,
        brings_table: table.is_some(),
        brings_trust: trusts,
        rollback: has_bootloader.then_some(Rollback::Unknown),
    })
}

fn what(parts: &[Part]) -> String {
    match parts {
        [part] => printable(&part.name),
        [first, second] => format!("{} and {}", printable(&first.name), printable(&second.name)),
        parts => format!("{} files", parts.len()),
    }
}

fn losses(regions: &Regions, brings_table: bool, keep_nvs: bool) -> Vec<String> {
    let mut losses = vec!["What is in the flash where this is written is lost.".to_owned()];
    if brings_table {
        let moved = "Files, keys and name that are on the board are lost unless the new partition table \
                     has them in the same place.";
        losses.push(moved.to_owned());
        if !keep_nvs && regions.0.iter().any(|region| region.is_nvs) {
            let nvs = "What nvs holds, such as Wi-Fi credentials and calibration, is lost.";
            losses.push(nvs.to_owned());
        }
    }
    losses
}

/// Text from outside, for people.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().take(MAX_SHOWN);
    let clean = |c: char| {
        if airlift_wire::text::is_printable(c) {
            c
        } else {
            '\u{FFFD}'
        }
    };
    shown.map(clean).collect()
}

/// That each part is something, starts with a sector, ends in the flash and before the next.
fn check_places(parts: &[Part], flash_size: u32) -> Result<(), Error> {
    if parts.len() > MAX_PARTS {
        return Err(Error::TooManyParts {
            found: parts.len(),
            limit: MAX_PARTS,
        });
    }
    if parts.is_empty() {
        return Err(Error::Empty("what to write".to_owned()));
    }
    for part in parts {
        let what = || printable(&part.name);
        if part.bytes.is_empty() {
            return Err(Error::Empty(what()));
        }
        if part.end() > u64::from(flash_size) {
            return Err(Error::TooBig {
                what: what(),
                size: part.bytes.len() as u64,
                limit: u64::from(flash_size.saturating_sub(part.offset)),
            });
        }
        // Alignment, before anything is split at regions.
        Segment::new(part.offset, Bytes::new()).map_err(|error| Error::Segment {
            what: what(),
            error,
        })?;
    }
    // Offsets are starts of sectors, so no sector is of two parts either.
    for pair in parts.windows(2) {
        if let [first, second] = pair
            && first.end() > u64::from(second.offset)
        {
            return Err(Error::Overlap {
                first: printable(&first.name),
                second: printable(&second.name),
                at: second.offset,
            });
        }
    }
    Ok(())
}

/// What the flash will hold, as far as the parts say.
struct Picture<'a>(&'a [Part]);

impl<'a> Picture<'a> {
    /// From `offset` to the end of the part that has it; nothing when no part has.
    fn at(&self, offset: u32) -> &'a [u8] {
        let part = self.0.iter().rev().find(|part| part.offset <= offset);
        part.and_then(|part| part.bytes.get((offset - part.offset) as usize..))
            .unwrap_or_default()
    }

    fn within(&self, offset: u32, len: u32) -> &'a [u8] {
        let bytes = self.at(offset);
        &bytes[..bytes.len().min(len as usize)]
    }
}

/// Whether there is a bootloader, and that it is one for the chip.
fn check_bootloader(picture: &Picture<'_>, target: &Target) -> Result<bool, Error> {
    let offset = bootloader::offset(target.chip).ok_or(Error::NoBootloader(target.chip))?;
    let bytes = picture.within(offset, TABLE_OFFSET - offset);
    if Header::parse(bytes).is_err() {
        // Where other chips have theirs.
        for other in [0, 0x1000, 0x2000] {
            let bytes = picture.within(other, TABLE_OFFSET - other);
            if let Ok(header) = Header::parse(bytes)
                && header.chip_id != target.chip
            {
                return Err(Error::WrongChip {
                    what: "the bootloader".to_owned(),
                    found: header.chip_id,
                    wanted: target.chip,
                });
            }
        }
    }
    if bytes.first().is_none_or(|first| *first == 0xFF) {
        return Ok(false);
    }
    let image = bootloader::check(bytes, target)?;
    // A program stops at its start on a flash that is smaller than its header says.
    let code = Header::parse(image).map_or(0, |header| header.flash_size_code);
    let named = 1 << (20 + u64::from(code));
    if named > u64::from(target.flash_size) {
        return Err(Error::TooBig {
            what: "what the bootloader is set for".to_owned(),
            size: named,
            limit: target.flash_size.into(),
        });
    }
    Ok(true)
}

/// That a part is not something that no flash holds, and an app is for the chip.
fn check_part(part: &Part, target: &Target) -> Result<(), Error> {
    let found = FileKind::of(&part.bytes);
    let refuse = |wanted| {
        Err(Error::WrongKind {
            what: printable(&part.name),
            found,
            wanted,
        })
    };
    match found {
        FileKind::AppImage | FileKind::SignedImage => {
            check_image(&part.bytes, &printable(&part.name), target)
        }
        FileKind::PartitionTable if part.offset != TABLE_OFFSET => {
            refuse("what goes anywhere but 0x8000")
        }
        _ if part.offset == TABLE_OFFSET && found != FileKind::PartitionTable => {
            refuse("a partition table")
        }
        FileKind::Elf
        | FileKind::Release
        | FileKind::Uf2
        | FileKind::IntelHex
        | FileKind::PrivateKey
        | FileKind::WebPage => refuse("what stands in flash as it is"),
        _ => Ok(()),
    }
}

/// That what stands at the start of an app partition, if it is an image, can start.
fn check_app(picture: &Picture<'_>, app: &Partition, target: &Target) -> Result<(), Error> {
    let bytes = picture.within(app.offset, app.size);
    if bytes.first() == Some(&MAGIC) {
        let what = format!("the app in {}", printable(app.label()));
        return check_image(bytes, &what, target);
    }
    Ok(())
}

/// That `bytes` start with a whole image for the chip.
fn check_image(bytes: &[u8], what: &str, target: &Target) -> Result<(), Error> {
    let damaged = |error| Error::Image {
        what: what.to_owned(),
        error,
    };
    let head = &bytes[..bytes.len().min(HEADER_LEN)];
    let header = Header::parse(head).map_err(damaged)?;
    if header.chip_id != target.chip {
        return Err(Error::WrongChip {
            what: what.to_owned(),
            found: header.chip_id,
            wanted: target.chip,
        });
    }
    bootloader::check_revision(&header, what, target, true)?;
    let mut checker = Checker::new();
    checker.update(bytes).map_err(damaged)?;
    checker.finish().map_err(damaged)?;
    Ok(())
}

fn brings_trust(picture: &Picture<'_>, table: &Table<'_>) -> bool {
    let Some(airlift) = table.labelled(PARTITION_LABEL) else {
        return false;
    };
    let copy = |n: u32| {
        let bytes = picture.at(airlift.offset + n * SECTOR_SIZE as u32);
        bytes.first_chunk::<STATE_LEN>().and_then(State::decode)
    };
    airlift.size >= 2 * SECTOR_SIZE as u32
        && newest([copy(0), copy(1)]).is_some_and(|(_, state)| state.trust.is_some())
}

/// A stretch of flash with a name.
struct Region {
    start: u32,
    name: String,
    is_nvs: bool,
}

/// Where regions start, ascending; the first at 0.
struct Regions(Vec<Region>);

impl Regions {
    fn of(table: Option<&Table<'_>>) -> Self {
        let region = |start, name: &str| Region {
            start,
            name: name.to_owned(),
            is_nvs: false,
        };
        let mut regions = vec![
            region(0, "bootloader"),
            region(TABLE_OFFSET, "partition table"),
        ];
        let mut partitions: Vec<_> = table.iter().flat_map(|table| table.iter()).collect();
        partitions.sort_by_key(|p| p.offset);
        let mut end = BEHIND_TABLE;
        for partition in partitions.into_iter().filter(|p| p.offset >= BEHIND_TABLE) {
            if partition.offset > end {
                regions.push(region(end, "free"));
            }
            regions.push(Region {
                start: partition.offset,
                name: printable(partition.label()),
                is_nvs: is_data(&partition, SUBTYPE_NVS),
            });
            end = partition.end().next_multiple_of(SECTOR_SIZE as u32);
        }
        regions.push(region(end, if table.is_some() { "free" } else { "flash" }));
        Self(regions)
    }

    /// The regions that `start..end` touches, each with where it starts and ends in it.
    fn touched(&self, start: u32, end: u32) -> Vec<(&Region, u32, u32)> {
        let ends = self.0.iter().skip(1).map(|next| next.start);
        let ends = ends.chain([u32::MAX]);
        self.0
            .iter()
            .zip(ends)
            .map(|(region, end_of_region)| {
                (region, region.start.max(start), end_of_region.min(end))
            })
            .filter(|(_, from, to)| from < to)
            .collect()
    }
}

/// The steps of a part, one a region.
fn split(
    part: &Part,
    regions: &Regions,
    keep_nvs: bool,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    let end = u32::try_from(part.end()).unwrap_or(u32::MAX);
    let touched = regions.touched(part.offset, end);
    let alone = touched.len() == 1;
    let name = printable(&part.name);
    for (region, from, to) in touched {
        if region.is_nvs && keep_nvs && !alone {
            continue;
        }
        let range = (from - part.offset) as usize..(to - part.offset) as usize;
        let bytes = part.bytes.slice(range);
        let is_blank = bytes.iter().all(|byte| *byte == 0xFF);
        let title = match (is_blank, alone) {
            (true, _) => format!("Empty {}", region.name),
            (false, true) => format!("Write {name}"),
            (false, false) => format!("Write {}", region.name),
        };
        let segment = Segment::new(from, bytes).map_err(|error| Error::Segment {
            what: name.clone(),
            error,
        })?;
        steps.push(Step {
            title,
            why: format!("{name} has it for {from:#x}."),
            region: region.name.clone(),
            segments: vec![segment],
        });
    }
    Ok(())
}
