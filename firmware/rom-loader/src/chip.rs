//! What the supported chips have in common, and what not: ids, addresses, fuses.
//!
//! From Espressif's technical reference manuals (chapters "eFuse Controller" and "SPI Controller")
//! and the register headers of ESP-IDF (`soc/*/register/soc`).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::config::Security;

/// Every chip has another word at this address of its ROM.
pub const MAGIC_REGISTER: u32 = 0x4000_1000;
/// The crystal of all supported chips, in Hz.
const CRYSTAL: u32 = 40_000_000;

/// A chip with a ROM loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Chip {
    /// ESP32
    Esp32,
    /// ESP32-S2
    Esp32s2,
    /// ESP32-S3
    Esp32s3,
    /// ESP32-C3
    #[default]
    Esp32c3,
    /// ESP32-C6
    Esp32c6,
}

impl Chip {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Esp32,
        Self::Esp32s2,
        Self::Esp32s3,
        Self::Esp32c3,
        Self::Esp32c6,
    ];

    /// The name that tools use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp32 => "esp32",
            Self::Esp32s2 => "esp32s2",
            Self::Esp32s3 => "esp32s3",
            Self::Esp32c3 => "esp32c3",
            Self::Esp32c6 => "esp32c6",
        }
    }

    /// The name on its package.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Esp32 => "ESP32",
            Self::Esp32s2 => "ESP32-S2",
            Self::Esp32s3 => "ESP32-S3",
            Self::Esp32c3 => "ESP32-C3",
            Self::Esp32c6 => "ESP32-C6",
        }
    }

    /// The chip id of image headers and of the security info.
    pub const fn id(self) -> u32 {
        match self {
            Self::Esp32 => 0,
            Self::Esp32s2 => 2,
            Self::Esp32c3 => 5,
            Self::Esp32s3 => 9,
            Self::Esp32c6 => 13,
        }
    }

    /// The word at [`MAGIC_REGISTER`].
    pub const fn magic(self) -> u32 {
        match self {
            Self::Esp32 => 0x00F0_1D83,
            Self::Esp32s2 => 0x0000_07C6,
            Self::Esp32s3 => 0x0000_0009,
            Self::Esp32c3 => 0x1B31_506F,
            Self::Esp32c6 => 0x2CE0_806F,
        }
    }

    /// Where the second-stage bootloader starts in flash.
    pub const fn bootloader_offset(self) -> u32 {
        match self {
            Self::Esp32 | Self::Esp32s2 => 0x1000,
            Self::Esp32s3 | Self::Esp32c3 | Self::Esp32c6 => 0,
        }
    }

    /// Whether the loader answers with security info, and whether that has the chip id.
    pub(crate) const fn security_info(self) -> SecurityInfo {
        match self {
            Self::Esp32 => SecurityInfo::Refused,
            Self::Esp32s2 => SecurityInfo::WithoutChip,
            Self::Esp32s3 | Self::Esp32c3 | Self::Esp32c6 => SecurityInfo::WithChip,
        }
    }

    /// The register that starts the RTC watchdog, whose bit 31 enables it.
    pub(crate) const fn watchdog(self) -> Option<u32> {
        match self {
            Self::Esp32 => None,
            Self::Esp32s2 => Some(0x3F40_8094),
            Self::Esp32s3 => Some(0x6000_8098),
            Self::Esp32c3 => Some(0x6000_8090),
            Self::Esp32c6 => Some(0x600B_1C00),
        }
    }

    /// The divider of the serial port's clock; a host computes the crystal from it.
    pub(crate) const fn clock_divider(self) -> u32 {
        match self {
            Self::Esp32 => 0x3FF4_0014,
            Self::Esp32s2 => 0x3F40_0014,
            Self::Esp32s3 | Self::Esp32c3 | Self::Esp32c6 => 0x6000_0014,
        }
    }

    /// What that divider is at a baud rate.
    pub(crate) const fn divider_at(baud: u32) -> u32 {
        match CRYSTAL.checked_div(baud) {
            Some(divider) => divider,
            None => 0,
        }
    }

    /// Addresses of the SPI controller of the flash.
    pub(crate) const fn spi(self) -> Spi {
        let (base, usr2, w0) = match self {
            Self::Esp32 => (0x3FF4_2000, 0x24, 0x80),
            Self::Esp32s2 => (0x3F40_2000, 0x20, 0x58),
            Self::Esp32s3 | Self::Esp32c3 => (0x6000_2000, 0x20, 0x58),
            Self::Esp32c6 => (0x6000_3000, 0x20, 0x58),
        };
        Spi {
            command: base,
            user2: base + usr2,
            data: base + w0,
        }
    }

    /// Words of memory that are not 0 after a reset: magic word, MAC and revision.
    pub(crate) fn registers(self, mac: [u8; 6]) -> HashMap<u32, u32> {
        let low = u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]);
        let high = u32::from_be_bytes([0, 0, mac[0], mac[1]]);
        let mut words = HashMap::from([(MAGIC_REGISTER, self.magic())]);
        match self {
            // BLOCK0 has the MAC in words 1 and 2; revision 3.1 is bit 15 of word 3, bit 20 and
            // bits 24 to 25 of word 5, and the top bit of a date register.
            Self::Esp32 => words.extend([
                (0x3FF5_A004, low),
                (0x3FF5_A008, high),
                (0x3FF5_A00C, 1 << 15 | 1 << 13),
                (0x3FF5_A014, 1 << 20 | 1 << 24),
                (0x3FF6_607C, 1 << 31),
            ]),
            // BLOCK1 has the MAC in words 0 and 1, the revision in words 3 and 5 (C6: 3 alone).
            Self::Esp32s2 => words.extend([
                (0x3F41_A044, low),
                (0x3F41_A048, high),
                (0x3F41_A050, 1 << 18),
            ]),
            Self::Esp32s3 => words.extend([
                (0x6000_7044, low),
                (0x6000_7048, high),
                (0x6000_7050, 2 << 18),
            ]),
            Self::Esp32c3 => words.extend([
                (0x6000_8844, low),
                (0x6000_8848, high),
                (0x6000_8850, 4 << 18),
            ]),
            Self::Esp32c6 => words.extend([
                (0x600B_0844, low),
                (0x600B_0848, high),
                (0x600B_0850, 1 << 18),
            ]),
        }
        words
    }

    /// Bits of the fuses that say what is forbidden.
    pub(crate) fn fuses(self, security: Security) -> Vec<(u32, u32)> {
        let base = match self {
            // Bits 20 to 26 count encryption, bit 5 of word 6 is secure boot of version 2.
            Self::Esp32 => {
                return vec![
                    (0x3FF5_A000, u32::from(security.flash_encryption) << 20),
                    (0x3FF5_A018, u32::from(security.secure_boot) << 5),
                ];
            }
            Self::Esp32s2 => 0x3F41_A000,
            Self::Esp32s3 => 0x6000_7000,
            Self::Esp32c3 => 0x6000_8800,
            Self::Esp32c6 => 0x600B_0800,
        };
        vec![
            (
                base + 0x34,
                u32::from(security.flash_encryption) * (0b111 << 18),
            ),
            (base + 0x38, u32::from(security.secure_boot) << 20),
        ]
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Chip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let chip = Self::ALL.into_iter().find(|chip| chip.name() == text);
        chip.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|chip| chip.name()).collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

/// How a chip answers the question for its security info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityInfo {
    /// With an error: the command does not exist.
    Refused,
    /// 12 bytes.
    WithoutChip,
    /// 20 bytes, with chip id and a version of the interface.
    WithChip,
}

/// Addresses of an SPI controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spi {
    /// Bit 18 starts a transaction and is 0 when it is over.
    pub(crate) command: u32,
    /// The low byte is the command for the flash.
    pub(crate) user2: u32,
    /// What was received.
    pub(crate) data: u32,
}
