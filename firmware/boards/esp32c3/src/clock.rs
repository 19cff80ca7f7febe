//! Time and randomness.

use airlift_updater::platform::{Clock, Random};
use core::cell::Cell;
use critical_section::Mutex;
use embassy_time::{Duration, Instant, Timer};
use esp_hal::rng::Rng;

/// When the program started: not every reset stops the timer.
static START: Mutex<Cell<Instant>> = Mutex::new(Cell::new(Instant::from_ticks(0)));

pub(crate) fn start() {
    critical_section::with(|cs| START.borrow(cs).set(Instant::now()));
}

/// Time since the start of the program.
pub(crate) fn uptime() -> Duration {
    let start = critical_section::with(|cs| START.borrow(cs).get());
    Instant::now().saturating_duration_since(start)
}

/// Time since the start of the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoardClock;

impl Clock for BoardClock {
    fn now_ms(&self) -> u64 {
        uptime().as_millis()
    }

    async fn sleep_ms(&self, ms: u32) {
        Timer::after_millis(ms.into()).await;
    }
}

/// The chip's random number generator: true randomness while the radio is on (ESP32-C3 Technical
/// Reference Manual, "Random Number Generator").
#[derive(Clone, Copy, Debug)]
pub struct BoardRandom(Rng);

impl BoardRandom {
    /// The generator.
    pub fn new() -> Self {
        Self(Rng::new())
    }
}

impl Default for BoardRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for BoardRandom {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.read(buf);
    }
}
