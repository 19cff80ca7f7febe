//! Out of the loader.

use std::thread::sleep;
use std::time::{Duration, Instant};

use espflash::command::Command;
use espflash::target::Chip;

use super::Loader;
use crate::error::Error;
use crate::line::Line;

/// How long a line is held, and how long a board takes to notice.
const HOLD: Duration = Duration::from_millis(100);
/// What unlocks the registers of the RTC watchdog (technical reference manuals, "Watchdog Timers").
const WATCHDOG_KEY: u32 = 0x50D8_3AA1;
/// On, resets the system in stage 0, with a reset signal of the usual width.
const WATCHDOG_RESET: u32 = 1 << 31 | 5 << 28 | 1 << 8 | 1 << 2;
/// Slow clock cycles until it bites: some 15 ms.
const WATCHDOG_TICKS: u32 = 2000;
/// How long a chip that starts may take to leave its USB.
const LEAVES: Duration = Duration::from_millis(1500);

/// What DTR and RTS are wired to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetLines {
    /// Nothing.
    None,
    /// RTS pulls EN, DTR pulls the boot pin, through two transistors.
    Uart,
    /// The chip's own USB-Serial-JTAG imitates that.
    UsbJtag {
        /// Somebody held BOOT: a reset by the lines would end in the loader again.
        by_hand: bool,
    },
    /// The chip's ROM drives its USB-OTG itself: lines mean nothing, and a reset ends the port.
    UsbOtg,
}

impl ResetLines {
    /// Whether they bring a board into its loader.
    pub(crate) fn help(self) -> bool {
        matches!(self, Self::Uart | Self::UsbJtag { .. })
    }

    /// Whether the port is the chip's own: USB has its own speed, whatever the rate is called.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Self::UsbJtag { .. } | Self::UsbOtg)
    }
}

/// Where a chip is told to stay in its loader whatever its boot pin says (technical reference
/// manuals, `RTC_CNTL_OPTION1_REG`); those whose ROM drives USB-OTG have it.
fn force_download(chip: Chip) -> Option<u32> {
    match chip {
        Chip::Esp32s2 => Some(0x3F40_8128),
        Chip::Esp32s3 => Some(0x6000_812C),
        _ => None,
    }
}

/// Resets a board, as far as its lines do.
pub(crate) fn pulse(line: &mut dyn Line, lines: ResetLines) -> Result<(), Error> {
    line.set_lines(false, true)?;
    sleep(HOLD);
    line.set_lines(false, false)?;
    if matches!(lines, ResetLines::UsbJtag { .. }) {
        sleep(HOLD);
    }
    Ok(())
}

impl<L: Line> Loader<L> {
    /// Starts what is in flash; the loader answers no more.
    pub(super) fn run_flash(&mut self) -> Result<(), Error> {
        self.usable()?;
        let started = match self.lines {
            ResetLines::None | ResetLines::UsbJtag { by_hand: true } => self.bite(),
            ResetLines::UsbOtg => self.leave(),
            lines => pulse(&mut self.exchange.line, lines),
        };
        self.over = Some(Error::lost("the board has left its loader"));
        started
    }

    /// By the RTC watchdog, and it has to be seen: a board whose boot pin is still held stays in its
    /// loader, and one that starts takes its port with it.
    fn leave(&mut self) -> Result<(), Error> {
        let path = self.exchange.line.name().to_string();
        let bitten = match force_download(self.chip) {
            Some(address) => self.set(address, 0).and_then(|()| self.bite()),
            None => self.bite(),
        };
        match bitten {
            Err(error) if error.is_gone() => return Ok(()),
            bitten => bitten?,
        }
        let deadline = Instant::now() + LEAVES;
        while Instant::now() < deadline {
            match self.exchange.line.receive(&mut [0; 64], HOLD) {
                Err(error) if error.is_gone() => return Ok(()),
                received => received.map(drop)?,
            }
        }
        Err(Error::NoReset { path })
    }

    fn set(&mut self, address: u32, value: u32) -> Result<(), Error> {
        let write = Command::WriteReg {
            address,
            value,
            mask: None,
        };
        self.ask(&write, self.patience.answer).map(drop)
    }

    /// By the RTC watchdog: other than a reset by software it has the boot pin read anew. Not all
    /// chips are known to have one.
    fn bite(&mut self) -> Result<(), Error> {
        let (Some(protect), Some(config), Some(timeout)) = (
            self.chip.wdt_wprotect(),
            self.chip.wdt_config0(),
            self.chip.wdt_config1(),
        ) else {
            let path = self.exchange.line.name().to_string();
            return match self.lines {
                ResetLines::None | ResetLines::UsbOtg => Err(Error::NoReset { path }),
                lines => pulse(&mut self.exchange.line, lines),
            };
        };
        // The answer to the last one leaves before it bites; what follows is what the board prints.
        let words = [
            (protect, WATCHDOG_KEY),
            (timeout, WATCHDOG_TICKS),
            (config, WATCHDOG_RESET),
        ];
        for (address, value) in words {
            self.set(address, value)?;
        }
        Ok(())
    }
}
