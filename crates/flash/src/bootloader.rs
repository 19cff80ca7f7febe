//! Second-stage bootloaders: what the ROM of a chip starts, and what starts an app.
//!
//! The bundled ones are ESP-IDF's, as espflash carries them. They are built without
//! `CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE`: they start a new app again and again until the app's own boot
//! guard goes back. One with rollback can be given as a file.
//!
//! | Chip | Offset |
//! | --- | --- |
//! | ESP32, ESP32-S2 | 0x1000 |
//! | ESP32-C5, ESP32-P4 | 0x2000 |
//! | all others | 0 |

use crate::Error;
use airlift_release::FileKind;
use airlift_wire::image::{self, Header, ImageError, chip_name};
use airlift_wire::partition::TABLE_OFFSET;
use bytes::Bytes;
use espflash::flasher::{FlashData, FlashFrequency, FlashMode, FlashSettings, FlashSize};
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::{Chip, XtalFrequency};
use sha2::{Digest as _, Sha256};

/// What an error calls a bootloader.
const WHAT: &str = "the bootloader";
/// Bytes of the SHA-256 at the end of an image.
const HASH_LEN: usize = 32;
/// Byte of an image header with the flash size in its upper half.
const SIZE_AT: usize = 3;

/// A board to make flash for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// `chip_id` of its images.
    pub chip: u16,
    /// Bytes of its flash.
    pub flash_size: u32,
    /// Revision of the chip, major * 100 + minor; some chips need another bootloader from one on.
    pub revision: Option<u16>,
    /// Its crystal in MHz, if it is not the usual one: 26 on some boards with ESP32 or ESP32-C2.
    pub crystal_mhz: Option<u8>,
}

impl Target {
    /// A board with the usual crystal, of which the revision is not known.
    pub fn new(chip: u16, flash_size: u32) -> Self {
        Self {
            chip,
            flash_size,
            revision: None,
            crystal_mhz: None,
        }
    }
}

/// Whether a bootloader goes back by itself when a new app does not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// It does.
    Yes,
    /// It does not: the app's boot guard has to.
    No,
    /// Nobody said; the board finds out at its first update.
    Unknown,
}

/// A bootloader for a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootloader {
    offset: u32,
    bytes: Bytes,
    rollback: Rollback,
    bundled: bool,
}

impl Bootloader {
    /// Where it goes.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Its image, checksum and hash included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it has rollback.
    pub fn rollback(&self) -> Rollback {
        self.rollback
    }

    /// Whether it is the bundled one.
    pub fn is_bundled(&self) -> bool {
        self.bundled
    }
}

/// Where the ROM of a chip looks for its bootloader; `None` for a chip that is not known.
pub fn offset(chip: u16) -> Option<u32> {
    espflash_chip(chip).map(|chip| chip.boot_address())
}

/// The bundled bootloader for a chip of any revision with its usual crystal.
///
/// # Errors
/// Those of [`for_target`].
pub fn for_chip(chip: u16, flash_size: u32) -> Result<Bootloader, Error> {
    for_target(&Target::new(chip, flash_size))
}

/// The bundled bootloader for a board, its header set for the board's flash: the largest size that a
/// header can name and the flash has, DIO, 80 MHz, or the chip's own speed where it has no 80 MHz.
///
/// # Errors
/// [`Error::NoBootloader`] for a chip or a crystal that there is none for, [`Error::FlashSize`] below
/// 1 MiB.
pub fn for_target(target: &Target) -> Result<Bootloader, Error> {
    let missing = || Error::NoBootloader(target.chip);
    let chip = espflash_chip(target.chip).ok_or_else(missing)?;
    let crystal = match target.crystal_mhz {
        None => chip.default_xtal_frequency(),
        Some(26) => XtalFrequency::_26Mhz,
        Some(32) => XtalFrequency::_32Mhz,
        Some(40) => XtalFrequency::_40Mhz,
        Some(48) => XtalFrequency::_48Mhz,
        Some(_) => return Err(missing()),
    };
    let code = size_code(target.flash_size)?;
    let fast = FlashFrequency::_80Mhz;
    let speed = match chip.flash_frequency_encodings().contains_key(&fast) {
        true => fast,
        false => chip.default_flash_frequency(),
    };
    // The size is written below, with the hash: espflash lays out partitions for the one it is told.
    let size = Some(FlashSize::_4Mb);
    let settings = FlashSettings::new(Some(FlashMode::Dio), size, Some(speed));
    let revision = target.revision.unwrap_or(0);
    let data = FlashData::new(settings, revision, None, chip, crystal);
    let app = empty_elf();
    let format = IdfBootloaderFormat::new(&app, &data, None, None, None, None);
    let format = format.map_err(|_| missing())?;
    let offset = chip.boot_address();
    let segment = format.flash_segments().find(|s| s.addr == offset);
    let mut bytes = segment.ok_or_else(missing)?.data().to_vec();
    set_size(&mut bytes, code)?;
    Ok(Bootloader {
        offset,
        bytes: bytes.into(),
        rollback: Rollback::No,
        bundled: true,
    })
}

/// A bootloader from a file, its header set for the size of the board's flash.
///
/// # Errors
/// [`Error::WrongKind`], [`Error::Image`], [`Error::WrongChip`] or [`Error::Revision`] for what would not
/// start,
/// [`Error::TooBig`] when it reaches into the partition table, [`Error::NoBootloader`] for a chip that is
/// not known.
pub fn from_file(bytes: &[u8], target: &Target, rollback: Rollback) -> Result<Bootloader, Error> {
    let offset = offset(target.chip).ok_or(Error::NoBootloader(target.chip))?;
    let bytes = check(bytes, target)?;
    let limit = u64::from(TABLE_OFFSET - offset);
    if bytes.len() as u64 > limit {
        return Err(Error::TooBig {
            what: WHAT.to_owned(),
            size: bytes.len() as u64,
            limit,
        });
    }
    let mut bytes = bytes.to_vec();
    set_size(&mut bytes, size_code(target.flash_size)?)?;
    Ok(Bootloader {
        offset,
        bytes: bytes.into(),
        rollback,
        bundled: false,
    })
}

/// That an image runs on the revision of a board, as its loaders will ask (ESP-IDF:
/// `bootloader_common_check_chip_validity`): only an app has a highest one.
pub(crate) fn check_revision(
    header: &image::Header,
    what: &str,
    target: &Target,
    is_app: bool,
) -> Result<(), Error> {
    let Some(found) = target.revision else {
        return Ok(());
    };
    let refused = |limit, newer| {
        Err(Error::Revision {
            what: what.to_owned(),
            chip_id: header.chip_id,
            found,
            limit,
            newer,
        })
    };
    match header.max_revision {
        _ if found < header.min_revision => refused(header.min_revision, true),
        Some(max) if is_app && found > max => refused(max, false),
        _ => Ok(()),
    }
}

/// The bytes of the bootloader that `bytes` start with; it is whole and for the board's chip.
pub(crate) fn check<'b>(bytes: &'b [u8], target: &Target) -> Result<&'b [u8], Error> {
    let found = FileKind::of(bytes);
    if found != FileKind::Bootloader {
        return Err(Error::WrongKind {
            what: WHAT.to_owned(),
            found,
            wanted: "a second-stage bootloader",
        });
    }
    let mut checker = image::Checker::new();
    let used = checker.update(bytes).map_err(damaged)?;
    let checked = checker.finish().map_err(damaged)?;
    if checked.header.chip_id != target.chip {
        return Err(Error::WrongChip {
            what: WHAT.to_owned(),
            found: checked.header.chip_id,
            wanted: target.chip,
        });
    }
    check_revision(&checked.header, WHAT, target, false)?;
    Ok(&bytes[..used])
}

fn damaged(error: ImageError) -> Error {
    Error::Image {
        what: WHAT.to_owned(),
        error,
    }
}

/// What `id` is to espflash.
fn espflash_chip(id: u16) -> Option<Chip> {
    chip_name(id)?.parse().ok()
}

/// How an image header names the largest size up to `flash_size`.
fn size_code(flash_size: u32) -> Result<u8, Error> {
    let mebibytes = flash_size >> 20;
    match mebibytes.checked_ilog2() {
        Some(code) => Ok(code as u8),
        None => Err(Error::FlashSize(flash_size)),
    }
}

/// Sets the size of the flash in the header of a whole image, and the hash behind it.
fn set_size(image: &mut [u8], code: u8) -> Result<(), Error> {
    let header = Header::parse(image).map_err(damaged)?;
    image[SIZE_AT] = image[SIZE_AT] & 0x0F | code << 4;
    if header.hash_appended
        && let Some(body) = image.len().checked_sub(HASH_LEN)
    {
        let (body, hash) = image.split_at_mut(body);
        hash.copy_from_slice(&Sha256::digest(body));
    }
    Ok(())
}

/// An ELF file with nothing in it: espflash gives its bootloaders only with a program. It has 52 bytes:
/// a header, 32 bits, little endian, executable, without segments and sections (System V ABI, "ELF
/// Header").
fn empty_elf() -> [u8; 52] {
    let mut elf = [0; 52];
    elf[..7].copy_from_slice(b"\x7FELF\x01\x01\x01");
    elf[16] = 2; // e_type: executable
    elf[18] = 243; // e_machine: RISC-V; nothing looks at it
    elf[20] = 1; // e_version
    elf[40] = 52; // e_ehsize
    elf[42] = 32; // e_phentsize
    elf[46] = 40; // e_shentsize
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_wire::image::CHIPS;

    const FLASH: u32 = 4 << 20;

    #[test]
    fn every_chip_has_a_whole_bootloader_of_its_own() {
        for (chip, name) in CHIPS {
            let bootloader = for_chip(*chip, FLASH).unwrap();
            let checked = image::check(bootloader.bytes()).unwrap();
            assert_eq!(checked.header.chip_id, *chip, "{name}");
            assert_eq!(checked.header.flash_size_code, 2, "{name}: 4 MiB");
            assert!(checked.sha256.is_some(), "{name}");
            assert_eq!(FileKind::of(bootloader.bytes()), FileKind::Bootloader);
            let end = bootloader.offset() as usize + bootloader.bytes().len();
            assert!(end <= TABLE_OFFSET as usize, "{name}");
        }
    }

    #[test]
    fn a_bootloader_is_where_the_rom_looks_for_it() {
        for (name, offset) in [
            ("esp32", 0x1000),
            ("esp32c3", 0),
            ("esp32c5", 0x2000),
            ("esp32p4", 0x2000),
        ] {
            let chip = image::chip_id(name).unwrap();
            assert_eq!(super::offset(chip), Some(offset), "{name}");
            assert_eq!(for_chip(chip, FLASH).unwrap().offset(), offset, "{name}");
        }
        assert_eq!(offset(999), None);
    }

    #[test]
    fn the_header_names_the_largest_size_that_the_flash_has() {
        for (mebibytes, code) in [(1, 0), (2, 1), (4, 2), (5, 2), (8, 3), (16, 4), (32, 5)] {
            let bootloader = for_chip(5, mebibytes << 20).unwrap();
            let checked = image::check(bootloader.bytes()).unwrap();
            assert_eq!(checked.header.flash_size_code, code, "{mebibytes} MiB");
        }
        assert!(matches!(for_chip(5, 0xF_FFFF), Err(Error::FlashSize(_))));
    }

    #[test]
    fn a_late_esp32_p4_gets_the_bootloader_that_it_needs() {
        let of = |revision| {
            let mut target = Target::new(18, FLASH);
            target.revision = revision;
            for_target(&target).unwrap()
        };
        assert_eq!(of(None), of(Some(1)));
        assert_ne!(of(None), of(Some(300)));
    }

    #[test]
    fn a_crystal_that_no_bootloader_is_for_is_refused() {
        let mut target = Target::new(0, FLASH);
        let usual = for_target(&target).unwrap();
        target.crystal_mhz = Some(26);
        assert_ne!(for_target(&target).unwrap(), usual);
        for mhz in [32, 27] {
            target.crystal_mhz = Some(mhz);
            assert!(matches!(for_target(&target), Err(Error::NoBootloader(0))));
        }
    }

    #[test]
    fn a_bootloader_from_a_file_is_set_for_the_flash_and_keeps_what_was_said_of_it() {
        let file = for_chip(5, FLASH).unwrap();
        let mut padded = file.bytes().to_vec();
        padded.resize(padded.len() + 100, 0xFF);
        let target = Target::new(5, 16 << 20);
        let given = from_file(&padded, &target, Rollback::Yes).unwrap();
        assert_eq!(given.bytes(), for_target(&target).unwrap().bytes());
        assert_eq!(
            (given.rollback(), given.is_bundled()),
            (Rollback::Yes, false)
        );
    }

    #[test]
    fn a_file_that_would_not_start_is_refused() {
        let whole = for_chip(5, FLASH).unwrap();
        let target = Target::new(5, FLASH);
        let code = |bytes: &[u8], target: &Target| {
            from_file(bytes, target, Rollback::Unknown).unwrap_err()
        };
        let other = code(whole.bytes(), &Target::new(13, FLASH));
        assert!(matches!(
            other,
            Error::WrongChip {
                found: 5,
                wanted: 13,
                ..
            }
        ));
        let mut flipped = whole.bytes().to_vec();
        flipped[500] ^= 1;
        assert!(matches!(code(&flipped, &target), Error::Image { .. }));
        let cut = &whole.bytes()[..9000];
        assert!(matches!(code(cut, &target), Error::Image { .. }));
        assert!(matches!(code(b"hello", &target), Error::WrongKind { .. }));
        assert!(matches!(code(b"", &target), Error::WrongKind { .. }));
    }
}
