//! App images from ELF files, as `cargo build` and other linkers leave them.
//!
//! The image is espflash's: what a bootloader loads and maps, for an OTA slot, with the ELF's SHA-256 in
//! the app descriptor. espflash trusts a linker and stops the program at an ELF that none writes, so
//! what it relies on is looked at first.
//!
//! | What | Where it comes from |
//! | --- | --- |
//! | chip | the caller, or `build_info.CHIP_NAME` that esp-hal leaves in `.espressif.metadata` |
//! | flash mode, speed | DIO, 80 MHz, or the chip's own speed where it has no 80 MHz |
//! | flash size | 4 MB, or 16 MB for an app that does not fit there; a slot's image does not need it |

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use airlift_release::{FileKind, read_bounded};
use airlift_wire::ErrorCode;
use airlift_wire::image::chip_name;
use airlift_wire::limits::MAX_PART_SIZE;
use bytes::Bytes;
use espflash::flasher::{FlashData, FlashFrequency, FlashMode, FlashSettings, FlashSize};
use espflash::image_format::Metadata;
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::Chip;
use object::elf::{EM_RISCV, EM_XTENSA, PT_LOAD, SHT_INIT_ARRAY, SHT_PROGBITS};
use object::read::elf::{ElfFile32, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, Object as _, ObjectSection as _};

use crate::Error;

/// The longest ELF file that is read, in bytes: what is for the debugger is most of it.
pub const MAX_ELF: u64 = 256 * 1024 * 1024;
/// Section of the app descriptor, in esp-hal's linker scripts and ESP-IDF's.
const DESCRIPTOR: &str = ".flash.appdesc";
/// Bytes of the app descriptor.
const DESCRIPTOR_LEN: u64 = airlift_wire::image::DESCRIPTOR_LEN as u64;
/// How much of a flash of 4 MB espflash's table leaves for an app.
const FITS_4_MB: u64 = 0x3F_0000;
/// Padding that an image has between its segments at most: one page of the MMU each.
const MOST_PADDING: u64 = 16 * 0x1_0000;

/// Why no image is made of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// It is damaged, or not one that a linker for these chips writes.
    #[error("the ELF file cannot be used: {0}")]
    Damaged(String),
    /// It is for a processor that these chips do not have.
    #[error("the ELF file is for {0}, not for an ESP chip")]
    OtherMachine(String),
    /// It is for another processor than the chip has.
    #[error("the ELF file is for {found}, and the {chip} has {wanted}")]
    WrongMachine {
        /// Processor of the ELF file.
        found: &'static str,
        /// Processor of the chip.
        wanted: &'static str,
        /// The chip.
        chip: String,
    },
    /// Nothing says for which chip it is.
    #[error("the ELF file does not say for which chip it is")]
    NoChip,
    /// The chip is not known here.
    #[error("\"{0}\" is not a chip that images are made for here")]
    UnknownChip(String),
    /// It says that it is for another chip than was asked for.
    #[error("the ELF file is for {found}, but {wanted} was asked for")]
    WrongChip {
        /// What it says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// It has no app descriptor.
    #[error("the ELF file has no app descriptor")]
    NoDescriptor,
    /// Nothing of it lies where the chip can load it.
    #[error("the ELF file has nothing at an address of the {0}'s flash")]
    NothingToLoad(String),
    /// The image is over the limit of a part.
    #[error("the image of the ELF file has {size} bytes, and {MAX_PART_SIZE} is the limit")]
    TooBig {
        /// Its bytes.
        size: u64,
    },
}

impl ElfError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooBig { .. } => ErrorCode::TooBig,
            Self::WrongChip { .. } => ErrorCode::WrongChip,
            _ => ErrorCode::BadImage,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "Build it again, and give the file that the linker wrote.",
            Self::OtherMachine(_) | Self::WrongMachine { .. } => {
                "Build for the chip: cargo build --release --target riscv32imc-unknown-none-elf for an \
                 ESP32-C3."
            }
            Self::NoChip => {
                "Name it with airlift pack --chip, do not strip the ELF file (esp-hal 1 writes the chip \
                 into it), or give the .bin that the build makes."
            }
            Self::UnknownChip(_) => "Name a chip such as esp32c3, or give the .bin.",
            Self::WrongChip { .. } => "Build for that chip, or leave --chip out.",
            Self::NoDescriptor => {
                "Add esp_bootloader_esp_idf::esp_app_desc!() to the program, and build it with esp-hal's \
                 linker script."
            }
            Self::NothingToLoad(_) => {
                "Link it with the chip's linker script (esp-hal: -Tlinkall.x)."
            }
            Self::TooBig { .. } => ErrorCode::TooBig.help(),
        }
    }
}

/// Reads an app image, or makes one of an ELF file. Other files come back as they are, for whoever
/// checks images to say what they are.
///
/// # Errors
/// `io`, `too_big`, and those of [`image`].
pub fn read_app(path: &Path, chip: Option<&str>) -> Result<Bytes, Error> {
    const WHAT: &str = "the app image";
    let bytes = read_bounded(path, WHAT, MAX_ELF)?;
    if FileKind::of(&bytes) == FileKind::Elf {
        return Ok(image(&bytes, chip)?.into());
    }
    if bytes.len() as u64 > u64::from(MAX_PART_SIZE) {
        return Ok(read_bounded(path, WHAT, MAX_PART_SIZE.into())?.into());
    }
    Ok(bytes.into())
}

/// Makes the image of an ELF file for an OTA slot of `chip`, or of the chip that it names itself.
///
/// The same file gives the same image.
///
/// # Errors
/// [`ElfError`] says what is wrong and what to do.
pub fn image(elf: &[u8], chip: Option<&str>) -> Result<Vec<u8>, ElfError> {
    let file = ElfFile32::<Endianness>::parse(elf).map_err(|e| damaged(e.to_string()))?;
    let machine = machine(&file)?;
    let chip = choose_chip(elf, chip)?;
    let wanted = machine_of(chip);
    if machine != wanted {
        let (found, chip) = (machine, chip.to_string());
        return Err(ElfError::WrongMachine {
            found,
            wanted,
            chip,
        });
    }
    let loaded = check_sections(&file, chip)?;
    let data = flash_data(chip, loaded);
    // What was looked at is what is known to stop espflash; a net below that costs nothing.
    let made = catch_unwind(AssertUnwindSafe(|| {
        let format = IdfBootloaderFormat::new(elf, &data, None, None, None, None)?;
        let segment = format.ota_segments().next();
        Ok(segment.map(|segment| segment.data.into_owned()))
    }));
    match made {
        Ok(Ok(Some(image))) if image.len() as u64 <= u64::from(MAX_PART_SIZE) => {
            airlift_release::image::check(&image).map_err(|e| damaged(e.to_string()))?;
            Ok(image)
        }
        Ok(Ok(Some(image))) => Err(too_big(image.len() as u64)),
        Ok(Ok(None)) => Err(damaged("it gives no image".to_owned())),
        Ok(Err(espflash::Error::ElfTooBig(size, _))) => Err(too_big(size.into())),
        Ok(Err(error)) => Err(damaged(crate::error::printable(&error.to_string()))),
        Err(panic) => Err(damaged(panic_text(&*panic))),
    }
}

fn damaged(what: String) -> ElfError {
    ElfError::Damaged(what)
}

fn too_big(size: u64) -> ElfError {
    ElfError::TooBig { size }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    crate::error::printable(text.unwrap_or("its sections contradict each other"))
}

const RISCV: &str = "RISC-V";
const XTENSA: &str = "Xtensa";

fn machine(file: &ElfFile32<'_>) -> Result<&'static str, ElfError> {
    let header = file.elf_header();
    if header.is_big_endian() {
        return Err(ElfError::OtherMachine("a big-endian processor".to_owned()));
    }
    let machine = header.e_machine(Endianness::Little);
    if machine == EM_RISCV {
        Ok(RISCV)
    } else if machine == EM_XTENSA {
        Ok(XTENSA)
    } else {
        let other = format!("another processor ({:?})", file.architecture());
        Err(ElfError::OtherMachine(other))
    }
}

fn machine_of(chip: Chip) -> &'static str {
    match chip {
        Chip::Esp32 | Chip::Esp32s2 | Chip::Esp32s3 => XTENSA,
        _ => RISCV,
    }
}

fn choose_chip(elf: &[u8], asked: Option<&str>) -> Result<Chip, ElfError> {
    let metadata = Metadata::from_bytes(Some(elf));
    let named = metadata.chip_name();
    if let (Some(found), Some(wanted)) = (named, asked)
        && found != wanted
    {
        let (found, wanted) = (crate::error::printable(found), wanted.to_owned());
        return Err(ElfError::WrongChip { found, wanted });
    }
    let name = asked.or(named).ok_or(ElfError::NoChip)?;
    let unknown = || ElfError::UnknownChip(crate::error::printable(name));
    let chip: Chip = name.parse().map_err(|_| unknown())?;
    // A manifest names chips that are known here, and no other.
    chip_name(chip.id()).ok_or_else(unknown)?;
    Ok(chip)
}

/// Looks at what espflash takes for granted; the bytes that are loaded.
fn check_sections(file: &ElfFile32<'_>, chip: Chip) -> Result<u64, ElfError> {
    let little = Endianness::Little;
    for header in file.elf_program_headers() {
        let size = header.p_memsz(little);
        let ends = |start: u32| start.checked_add(size).is_some();
        let fits = ends(header.p_vaddr(little)) && ends(header.p_paddr(little));
        if header.p_type(little) == PT_LOAD && !fits {
            return Err(damaged("a segment goes past the last address".to_owned()));
        }
    }
    let mut loaded = Vec::new();
    let mut descriptor = false;
    for section in file.sections() {
        let header = section.elf_section_header();
        let kind = header.sh_type(little);
        let is_loaded = section.size() > 0
            && (kind == SHT_PROGBITS || kind == SHT_INIT_ARRAY)
            && header.sh_offset(little) > 0
            && section.address() > 0
            && header.sh_flags(little).0 != 0;
        if !is_loaded {
            continue;
        }
        let (start, size) = (section.address(), section.size());
        let data = section.data().map_err(|e| damaged(e.to_string()))?;
        if start + size > u64::from(u32::MAX) || data.len() as u64 != size {
            return Err(damaged("a section goes past the last address".to_owned()));
        }
        if section.name() == Ok(DESCRIPTOR) {
            descriptor = size >= DESCRIPTOR_LEN && chip.addr_is_flash(start as u32);
        }
        loaded.push((start, size));
    }
    let total: u64 = loaded.iter().map(|(_, size)| size).sum();
    if total > u64::from(MAX_PART_SIZE) {
        return Err(too_big(total));
    }
    loaded.sort_unstable();
    if loaded.is_sorted_by(|(a, size), (b, _)| a + size <= *b) {
        let in_flash = |(start, _): &(u64, u64)| chip.addr_is_flash(*start as u32);
        match loaded.iter().any(in_flash) {
            false => Err(ElfError::NothingToLoad(chip.to_string())),
            true if descriptor => Ok(total),
            true => Err(ElfError::NoDescriptor),
        }
    } else {
        Err(damaged("two of its sections overlap".to_owned()))
    }
}

fn flash_data(chip: Chip, loaded: u64) -> FlashData {
    let fast = FlashFrequency::_80Mhz;
    let has_fast = chip.flash_frequency_encodings().contains_key(&fast);
    let speed = if has_fast {
        fast
    } else {
        chip.default_flash_frequency()
    };
    let size = if loaded + MOST_PADDING <= FITS_4_MB {
        FlashSize::_4Mb
    } else {
        FlashSize::_16Mb
    };
    let settings = FlashSettings::new(Some(FlashMode::Dio), Some(size), Some(speed));
    FlashData::new(settings, 0, None, chip, chip.default_xtal_frequency())
}

#[cfg(test)]
#[path = "../tests/support/elf.rs"]
mod given;
#[cfg(test)]
mod tests;
