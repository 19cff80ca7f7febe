//! The log: on the console, and the last lines of it for whoever asks over the network.

use crate::console;
use core::cell::RefCell;
use core::fmt::Write;
use critical_section::Mutex;
use log::{LevelFilter, Log, Metadata, Record};

/// Bytes that are kept.
const KEPT: usize = 4096;

/// The last bytes that were logged.
struct Ring {
    bytes: [u8; KEPT],
    /// Bytes ever logged; where the next one goes is this modulo [`KEPT`].
    total: u64,
}

impl Write for Ring {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            self.bytes[(self.total % KEPT as u64) as usize] = byte;
            self.total += 1;
        }
        Ok(())
    }
}

/// The logger of the program.
pub(crate) static LOGGER: Logger = Logger(Mutex::new(RefCell::new(Ring {
    bytes: [0; KEPT],
    total: 0,
})));

/// Prints a record and keeps it.
pub(crate) struct Logger(Mutex<RefCell<Ring>>);

impl Logger {
    /// From now on, `log::info!` and the others come here. A program that installed a logger of its own
    /// before keeps it.
    #[allow(unsafe_code)]
    pub fn install(&'static self) {
        // SAFETY: called once, before there is a task, an interrupt handler or another core that could
        // log; a chip without atomic exchange has no other way.
        unsafe {
            if log::set_logger_racy(self).is_ok() {
                log::set_max_level_racy(LevelFilter::Info);
            }
        }
    }

    /// Copies what was logged from byte `from` on into `out`; where it starts, and how much it is.
    /// What was overwritten since is skipped.
    pub fn read(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        critical_section::with(|cs| {
            let ring = self.0.borrow_ref(cs);
            let oldest = ring.total.saturating_sub(KEPT as u64);
            let start = from.clamp(oldest, ring.total);
            let n = out.len().min((ring.total - start) as usize);
            for (at, byte) in out[..n].iter_mut().enumerate() {
                *byte = ring.bytes[((start + at as u64) % KEPT as u64) as usize];
            }
            (start, n)
        })
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let ms = crate::clock::uptime().as_millis();
        let (level, text) = (record.level(), record.args());
        let (mut at, end) = critical_section::with(|cs| {
            let mut ring = self.0.borrow_ref_mut(cs);
            let start = ring.total;
            let _never_fails = writeln!(ring, "{ms} {level} {text}");
            (start, ring.total)
        });
        // The console is slow: it gets the line from the ring, and interrupts are on meanwhile.
        let mut piece = [0; 64];
        while at < end {
            let (start, n) = self.read(at, &mut piece);
            let n = n.min(end.saturating_sub(start) as usize);
            console::write(&piece[..n]);
            at = start + n.max(1) as u64;
        }
    }

    fn flush(&self) {}
}
