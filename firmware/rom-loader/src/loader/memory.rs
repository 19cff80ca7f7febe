//! Words of memory: fuses, and the SPI controller that asks the flash what it is.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::chip::{Chip, MAGIC_REGISTER};
use crate::config::Security;
use crate::faults::Faults;
use crate::flash::Flash;
use crate::loader::lock;

/// A transaction starts with this bit, which is 0 when it is over.
const USER_TRANSACTION: u32 = 1 << 18;
const WATCHDOG_ENABLE: u32 = 1 << 31;
/// The flash's manufacturer and type: GigaDevice GD25Q.
const MANUFACTURER: u32 = 0x40C8;
/// All blocks are protected.
const STATUS_PROTECTED: u32 = 0b0001_1100;
/// Most words that a host can set: it cannot fill the memory of this computer.
const MAX_WORDS: usize = 4096;

/// Commands of a flash.
const READ_ID: u32 = 0x9F;
const READ_STATUS: u32 = 0x05;

#[derive(Debug)]
pub(crate) struct Memory {
    chip: Chip,
    words: HashMap<u32, u32>,
    flash_id: Option<u32>,
}

impl Memory {
    pub(crate) fn new(chip: Chip, mac: [u8; 6], security: Security) -> Self {
        let mut words = chip.registers(mac);
        for (address, bits) in chip.fuses(security) {
            *words.entry(address).or_default() |= bits;
        }
        Self {
            chip,
            words,
            flash_id: None,
        }
    }

    pub(crate) fn set_faults(&mut self, faults: &Faults) {
        let magic = faults.magic.unwrap_or(self.chip.magic());
        self.words.insert(MAGIC_REGISTER, magic);
        self.flash_id = faults.flash_id;
    }

    pub(crate) fn read(&self, address: u32, baud: u32) -> u32 {
        if address == self.chip.clock_divider() {
            return Chip::divider_at(baud);
        }
        self.words.get(&address).copied().unwrap_or_default()
    }

    /// Sets the bits of `mask`; whether that restarts the chip.
    pub(crate) fn write(
        &mut self,
        address: u32,
        value: u32,
        mask: u32,
        flash: &Mutex<Flash>,
    ) -> bool {
        let spi = self.chip.spi();
        if address == spi.command && value & mask & USER_TRANSACTION != 0 {
            let command = self.words.get(&spi.user2).copied().unwrap_or_default() & 0xFF;
            let answer = self.ask_flash(command, &lock(flash));
            self.words.insert(spi.data, answer);
            return false;
        }
        if self.words.len() < MAX_WORDS || self.words.contains_key(&address) {
            let word = self.words.entry(address).or_default();
            *word = *word & !mask | value & mask;
        }
        Some(address) == self.chip.watchdog() && value & mask & WATCHDOG_ENABLE != 0
    }

    fn ask_flash(&self, command: u32, flash: &Flash) -> u32 {
        match command {
            READ_ID => self
                .flash_id
                .unwrap_or(MANUFACTURER | flash.size().ilog2() << 16),
            READ_STATUS if flash.write_protected => STATUS_PROTECTED,
            _ => 0,
        }
    }
}
