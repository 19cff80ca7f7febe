//! What kind of board it is.

use std::path::PathBuf;

use crate::chip::Chip;
use crate::faults::Faults;
use crate::timing::Timing;

/// A board, as [`RomLoader::start`](crate::RomLoader::start) makes it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its chip.
    pub chip: Chip,
    /// Size of its flash in bytes, a power of two from 256 KiB to 128 MiB.
    pub size: u32,
    /// The file that holds the flash; in memory without.
    pub flash: Option<PathBuf>,
    /// Where a link to the terminal is made; in a folder of its own without. The link is what stays
    /// the same when the board is unplugged and plugged in again.
    pub link: Option<PathBuf>,
    /// Its MAC address, as in its fuses.
    pub mac: [u8; 6],
    /// What its fuses forbid.
    pub security: Security,
    /// What it runs at the start.
    pub mode: Mode,
    /// Whether the baud rate that the host sets must be the one of the board, as behind a UART. USB
    /// of the chip itself takes any. What arrives at another rate is garbage.
    pub baud_matters: bool,
    /// How long things take; no time without.
    pub timing: Option<Timing>,
    /// What goes wrong.
    pub faults: Faults,
    /// What the application does.
    pub application: Application,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chip: Chip::default(),
            size: 4 * 1024 * 1024,
            flash: None,
            link: None,
            mac: [0x7C, 0xDF, 0xA1, 0x00, 0x00, 0x01],
            security: Security::default(),
            mode: Mode::default(),
            baud_matters: false,
            timing: None,
            faults: Faults::default(),
            application: Application::default(),
        }
    }
}

/// Fuses, as far as the loader says or obeys them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Secure boot is on.
    pub secure_boot: bool,
    /// Flash encryption is on.
    pub flash_encryption: bool,
    /// The loader only writes: no memory, no reading of flash, no stub.
    pub secure_download: bool,
}

/// What a board runs after a reset: its boot pin decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The ROM loader.
    #[default]
    Download,
    /// What is in flash.
    Application,
}

/// What a board prints and answers when it runs its application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Lines after those of ROM and bootloader.
    pub log: Vec<String>,
    /// Answers Improv Serial.
    pub improv: Option<Improv>,
}

/// The answers of an application that speaks Improv Serial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Improv {
    /// Name of the firmware.
    pub firmware: String,
    /// Its version.
    pub version: String,
    /// Name of the board.
    pub name: String,
    /// Where it is reached once it joined.
    pub url: String,
    /// The network that it can join, and the password; it refuses others.
    pub network: (String, String),
}
