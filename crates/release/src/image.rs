//! What an ESP app image holds (ESP-IDF: "App Image Format").
//!
//! [`inspect`] describes an image even when its checksum or hash is wrong; [`check`] accepts only
//! a sound one, by the rules of the second-stage bootloader.

mod banner;

use crate::{Error, FileKind};
use airlift_wire::image::{self as wire_image, Checker, Descriptor, HEADER_LEN, Header, chip_name};
use airlift_wire::partition;
use serde::Serialize;
use std::ops::Range;

/// Where a merged image has its partition table.
const TABLE_OFFSET: usize = 0x8000;
/// Where chips look for their bootloader: most, ESP32 and ESP32-S2, ESP32-C5 and ESP32-P4.
const BOOTLOADER_OFFSETS: [usize; 3] = [0, 0x1000, 0x2000];
/// Type of an app in a partition table.
const APP_PARTITION: u8 = 0;
/// First bytes of a Secure Boot v2 signature block (ESP-IDF: "Secure Boot v2").
const SIGNATURE_BLOCK: [u8; 2] = [0xE7, 0x02];
/// The project name that MicroPython's builds carry.
const MICROPYTHON: &str = "micropython";

/// What an app image says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageInfo {
    /// Bytes of the file.
    pub size: u32,
    /// `chip_id` of the header.
    pub chip_id: u16,
    /// The chip's name, when it is known.
    pub chip: Option<&'static str>,
    /// Entry address.
    pub entry: u32,
    /// Flash size that the header names, in bytes.
    pub flash_size: Option<u32>,
    /// The segments, in order, as far as the file goes.
    pub segments: Vec<Segment>,
    /// The app descriptor.
    pub descriptor: Option<AppDescriptor>,
    /// The appended SHA-256 in hex; `None` when there is none or the image ends too early.
    pub sha256: Option<String>,
    /// What is wrong with length, checksum or hash; `None` for a sound image.
    pub damage: Option<String>,
    /// Whether it is a MicroPython interpreter: its application is in the files part. Told by the
    /// project's name, or by MicroPython's own version string, which builds of another name have too.
    pub micropython: bool,
    /// The version in MicroPython's own version string.
    pub micropython_version: Option<String>,
}

impl ImageInfo {
    /// The interpreter in words, as `MicroPython v1.28.0`; `None` for an image that has none.
    pub fn interpreter(&self) -> Option<String> {
        match &self.micropython_version {
            Some(version) => Some(format!("MicroPython {version}")),
            None => self.micropython.then(|| "MicroPython".to_owned()),
        }
    }
}

/// One segment of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Load address.
    pub address: u32,
    /// Bytes of data.
    pub len: u32,
    /// Where the data starts in the file.
    pub offset: u32,
    /// Whether the chip maps it from flash; `None` for a chip that is not known.
    pub mapped: Option<bool>,
}

/// The app descriptor (ESP-IDF: `esp_app_desc_t`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppDescriptor {
    /// Version text.
    pub version: String,
    /// Project name.
    pub project: String,
    /// Build date.
    pub date: String,
    /// Build time.
    pub time: String,
    /// ESP-IDF version.
    pub idf: String,
}

impl AppDescriptor {
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = crate::error::printable;
        Descriptor::parse(bytes).map(|d| Self {
            version: text(d.version),
            project: text(d.project),
            date: text(d.date),
            time: text(d.time),
            idf: text(d.idf),
        })
    }
}

/// Describes an image. Fails with `bad_image` when the file is none: an ELF, a merged image, a
/// bootloader, …; a wrong checksum or hash is told in [`ImageInfo::damage`].
pub fn inspect(bytes: &[u8]) -> Result<ImageInfo, Error> {
    match FileKind::of(bytes) {
        FileKind::AppImage => describe(bytes),
        other => Err(Error::NotAnImage(other)),
    }
}

/// Describes an image that must be sound and whole.
pub fn check(bytes: &[u8]) -> Result<ImageInfo, Error> {
    let info = inspect(bytes)?;
    wire_image::check(bytes)?;
    Ok(info)
}

fn describe(bytes: &[u8]) -> Result<ImageInfo, Error> {
    let header = Header::parse(bytes)?;
    let verdict = wire_image::check(bytes);
    let descriptor = AppDescriptor::of(bytes);
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let is_named = |d: &AppDescriptor| d.project == MICROPYTHON;
    let version = banner::version(bytes);
    Ok(ImageInfo {
        size,
        chip_id: header.chip_id,
        chip: chip_name(header.chip_id),
        entry: header.entry,
        flash_size: 0x10_0000u32.checked_shl(header.flash_size_code.into()),
        segments: segments(bytes, &header),
        micropython: version.is_some() || descriptor.as_ref().is_some_and(is_named),
        micropython_version: version.map(str::to_owned),
        descriptor,
        sha256: verdict.ok().and_then(|c| c.sha256).map(|d| d.to_string()),
        damage: verdict.err().map(|e| e.to_string()),
    })
}

fn segments(bytes: &[u8], header: &Header) -> Vec<Segment> {
    let mut found = Vec::new();
    let mut at = HEADER_LEN;
    for _ in 0..header.segments {
        let Some([a, b, c, d, e, f, g, h]) = bytes.get(at..).and_then(|rest| rest.first_chunk())
        else {
            break;
        };
        let address = u32::from_le_bytes([*a, *b, *c, *d]);
        let len = u32::from_le_bytes([*e, *f, *g, *h]);
        at += 8;
        found.push(Segment {
            address,
            len,
            offset: at as u32,
            mapped: mapped_ranges(header.chip_id).map(|r| r.iter().any(|r| r.contains(&address))),
        });
        match at.checked_add(len as usize) {
            Some(next) => at = next,
            None => break,
        }
    }
    found
}

/// Addresses at which a chip maps its flash (the technical reference manuals, "System and
/// Memory"). A bootloader has no segment there, and every app has one.
fn mapped_ranges(chip_id: u16) -> Option<[Range<u32>; 2]> {
    let (data, code) = match chip_name(chip_id)? {
        "esp32" => (0x3F40_0000..0x3F80_0000, 0x400D_0000..0x4040_0000),
        "esp32s2" => (0x3F00_0000..0x3FF8_0000, 0x4008_0000..0x4180_0000),
        "esp32c3" | "esp32s3" | "esp32c2" => (0x3C00_0000..0x3E00_0000, 0x4200_0000..0x4400_0000),
        // Data and code share one range.
        "esp32c6" | "esp32h2" | "esp32c61" | "esp32c5" => (0..0, 0x4200_0000..0x4400_0000),
        "esp32p4" => (0..0, 0x4000_0000..0x4C00_0000),
        _ => return None,
    };
    Some([data, code])
}

/// The kind of a file that starts with `E9` or `FF`.
pub(crate) fn kind_of(bytes: &[u8]) -> FileKind {
    if is_merged(bytes) {
        return FileKind::MergedImage;
    }
    let Ok(header) = Header::parse(bytes) else {
        let blank = bytes.iter().all(|b| *b == 0xFF);
        return if blank {
            FileKind::Blank
        } else {
            FileKind::Unknown
        };
    };
    let ram_only = segments(bytes, &header)
        .iter()
        .all(|s| s.mapped == Some(false));
    let end = end_of_image(bytes);
    if ram_only && Descriptor::parse(bytes).is_none() {
        // A bootloader with more behind it is a merged image with its table at another place.
        let more = end.is_some_and(|end| bytes[end..].iter().any(|b| *b != 0xFF));
        return if more {
            FileKind::MergedImage
        } else {
            FileKind::Bootloader
        };
    }
    let block = end.and_then(|end| bytes.get(end.next_multiple_of(0x1000)..));
    if block.is_some_and(|rest| rest.starts_with(&SIGNATURE_BLOCK)) {
        return FileKind::SignedImage;
    }
    FileKind::AppImage
}

/// Where the image at the start of `bytes` ends, if it is whole.
fn end_of_image(bytes: &[u8]) -> Option<usize> {
    let mut checker = Checker::new();
    let used = checker.update(bytes).ok()?;
    checker.is_done().then_some(used)
}

fn is_merged(bytes: &[u8]) -> bool {
    BOOTLOADER_OFFSETS
        .iter()
        .any(|at| bytes.get(*at) == Some(&wire_image::MAGIC))
        && table(bytes).is_some()
}

fn table(bytes: &[u8]) -> Option<partition::Table<'_>> {
    // The flash may be larger than the merged file, which ends where the app ends.
    partition::Table::parse(bytes.get(TABLE_OFFSET..)?, u32::MAX).ok()
}

/// The bytes of the app inside a merged image, when there is a sound one: what to pack instead.
pub fn app_in_merged(bytes: &[u8]) -> Option<Range<usize>> {
    table(bytes)?
        .iter()
        .filter(|p| p.kind == APP_PARTITION)
        .find_map(|p| {
            let slot = bytes.get(p.offset as usize..)?;
            let slot = &slot[..slot.len().min(p.size as usize)];
            let start = p.offset as usize;
            let image = start..start + end_of_image(slot)?;
            check(&bytes[image.clone()]).is_ok().then_some(image)
        })
}
