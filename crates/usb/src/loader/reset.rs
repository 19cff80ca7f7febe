//! Out of the loader.

use std::thread::sleep;
use std::time::Duration;

use espflash::command::Command;

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
            lines => pulse(&mut self.exchange.line, lines),
        };
        self.over = Some(Error::lost("the board has left its loader"));
        started
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
                ResetLines::None => Err(Error::NoReset { path }),
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
            let write = Command::WriteReg {
                address,
                value,
                mask: None,
            };
            self.ask(&write, self.patience.answer)?;
        }
        Ok(())
    }
}
