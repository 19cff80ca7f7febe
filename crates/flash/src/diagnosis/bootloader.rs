//! The second-stage bootloader.

use super::Known;
use super::image::{self, Found};
use super::reader::Reader;
use crate::bootloader;
use crate::read::ReadError;
use airlift_wire::image::{DESCRIPTOR_OFFSET, Header, ImageError};
use airlift_wire::partition::TABLE_OFFSET;

/// Code of the largest flash, 128 MiB; a bootloader takes any other code for [`OTHER_SIZE`]
/// (ESP-IDF: `bootloader_flash_config_esp32c3.c`).
const LARGEST_SIZE_CODE: u8 = 7;
const OTHER_SIZE: u32 = 2 << 20;
/// First byte of the description that bootloaders have since ESP-IDF 5.1 (`esp_bootloader_desc.h`).
const DESCRIPTION_MAGIC: u8 = 80;
/// Where the version of ESP-IDF is in it, and how long it is.
const IDF_VERSION: std::ops::Range<usize> = 8..40;

/// What stands where the ROM looks for a bootloader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bootloader {
    pub offset: u32,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Erased,
    /// Something else.
    Other,
    /// A bootloader for another chip.
    WrongChip(u16),
    /// One that is not whole.
    Damaged(ImageError),
    /// One that believes in less flash than the partition table needs.
    FlashTooSmall {
        /// Bytes that it believes in.
        believes: u32,
        /// Its length.
        len: u32,
    },
    /// One that believes in more flash than there is. An app of ESP-IDF refuses that at its start
    /// ("Detected size … smaller than the size in the binary image header").
    FlashTooLarge {
        /// Bytes that it believes in.
        believes: u32,
        /// Its length.
        len: u32,
    },
    /// A whole one.
    Whole {
        len: u32,
        /// Version of ESP-IDF.
        idf: Option<String>,
        /// Bytes of flash that it believes in.
        flash: u32,
        /// Whether the SHA-256 behind it is wrong. Its checksum is right: the ROM says "SHA-256
        /// comparison failed", and "Attempting to boot anyway". Tools leave this that set the flash's
        /// size or mode in the header.
        stale_hash: bool,
    },
}

impl Bootloader {
    /// Whether the ROM starts it, and it goes on to an app.
    pub fn works(&self) -> bool {
        matches!(self.state, State::Whole { .. })
    }

    /// Whether nothing at all is wrong with it.
    pub fn is_right(&self) -> bool {
        matches!(
            self.state,
            State::Whole {
                stale_hash: false,
                ..
            }
        )
    }

    /// A bootloader refuses partitions past the flash that its header names, and apps refuse a flash
    /// that is smaller than that.
    pub fn check_against(&mut self, end_of_partitions: u32, flash_size: u32) {
        let State::Whole { len, flash, .. } = self.state else {
            return;
        };
        let believes = flash;
        if believes > flash_size {
            self.state = State::FlashTooLarge { believes, len };
        } else if believes < end_of_partitions {
            self.state = State::FlashTooSmall { believes, len };
        }
    }
}

pub(crate) fn look(reader: &mut Reader<'_>, known: &Known<'_>) -> Result<Bootloader, ReadError> {
    let chip = known.chip;
    // A chip that is not known has its bootloader where the latest ones have it.
    let offset = bootloader::offset(chip).unwrap_or(0);
    let head: [u8; DESCRIPTOR_OFFSET + 80] = reader.array(offset)?;
    let state = match Header::parse(&head) {
        Err(_) if head.iter().all(|byte| *byte == 0xFF) => State::Erased,
        Err(_) => State::Other,
        Ok(header) if header.chip_id != chip => State::WrongChip(header.chip_id),
        Ok(header) => {
            let room = TABLE_OFFSET - offset;
            let found = match is_known(reader, known, offset, &head)? {
                Some(len) => Ok((len, false)),
                None => match image::read_whole(reader, offset, room)? {
                    Found::Whole { len, .. } => Ok((len, false)),
                    // The hash is looked at only after the checksum, and only at the end.
                    Found::Bad {
                        error: ImageError::Hash,
                        ..
                    } => match image::length(reader, offset, room)? {
                        Ok(len) => Ok((len, true)),
                        Err(error) => Err(error),
                    },
                    Found::Bad { error, .. } => Err(error),
                },
            };
            let flash = match header.flash_size_code {
                code @ ..=LARGEST_SIZE_CODE => 1 << (20 + code),
                _ => OTHER_SIZE,
            };
            match found {
                Ok((len, stale_hash)) => State::Whole {
                    len,
                    stale_hash,
                    idf: idf_version(&head[DESCRIPTOR_OFFSET..]),
                    flash,
                },
                Err(error) => State::Damaged(error),
            }
        }
    };
    Ok(Bootloader { offset, state })
}

/// The length of the bootloader, if it is the one that would be written here.
fn is_known(
    reader: &mut Reader<'_>,
    known: &Known<'_>,
    offset: u32,
    head: &[u8],
) -> Result<Option<u32>, ReadError> {
    use md5::Digest as _;
    let bundled = bootloader::for_chip(known.chip, reader.size()).ok();
    let Some(wanted) = known.bootloader.or(bundled.as_ref()) else {
        return Ok(None);
    };
    let bytes = wanted.bytes();
    if !bytes.starts_with(head) || wanted.offset() != offset {
        return Ok(None);
    }
    let md5: [u8; 16] = md5::Md5::digest(bytes).into();
    let len = bytes.len() as u32;
    Ok((reader.md5(offset, len)? == md5).then_some(len))
}

fn idf_version(description: &[u8]) -> Option<String> {
    if description.first() != Some(&DESCRIPTION_MAGIC) {
        return None;
    }
    let field = description.get(IDF_VERSION)?;
    let end = field.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&field[..end]).ok()?;
    let printable = |c: char| c.is_ascii_graphic();
    (!text.is_empty() && text.chars().all(printable)).then(|| text.to_owned())
}
