//! The time, from one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Unix time that runs on tokio's clock, so that a test with paused time pauses it too, and a
/// step of the system clock does not turn a running job's times around.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    unix: Duration,
}

impl Clock {
    /// A clock set from the system's.
    pub fn system() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::at(unix)
    }

    /// A clock that shows `unix` now.
    pub fn at(unix: Duration) -> Self {
        Self {
            start: Instant::now(),
            unix,
        }
    }

    /// Unix seconds.
    pub fn unix(&self) -> f64 {
        (self.unix + self.start.elapsed()).as_secs_f64()
    }

    /// Time since the clock was made; never steps back.
    pub fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
