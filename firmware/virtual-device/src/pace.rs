//! Flash time as waiting that lets the network go on.

use crate::timing::Timing;
use std::time::Duration;

/// A clock that is finer than the updater's: flash pages take fractions of a millisecond.
pub trait Pace {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;
    /// Waits; may wait longer than asked.
    async fn pause(&self, duration: Duration);
}

/// Timers of an operating system are no finer than this; shorter waits are put together.
const GRAIN: Duration = Duration::from_millis(1);
/// How much too long a timer waited counts as waited for at most this much later work.
const MAX_CREDIT: i128 = 20_000_000;

/// Waits as long as flash operations take, on average to the microsecond.
#[derive(Debug)]
pub(crate) struct Pacer<C> {
    clock: C,
    timing: Timing,
    /// Nanoseconds of operations that were not waited for; negative after a timer that was late.
    owed: i128,
}

impl<C: Pace> Pacer<C> {
    pub fn new(clock: C, timing: Timing) -> Self {
        Self {
            clock,
            timing,
            owed: 0,
        }
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Waits for operations that take `duration` together.
    pub async fn spend(&mut self, duration: Duration) {
        if self.timing == Timing::None {
            return;
        }
        self.owed += duration.as_nanos() as i128;
        if self.owed < GRAIN.as_nanos() as i128 {
            return;
        }
        let before = self.clock.now();
        let nanos = u64::try_from(self.owed).unwrap_or(u64::MAX);
        self.clock.pause(Duration::from_nanos(nanos)).await;
        let took = self.clock.now().saturating_sub(before);
        self.owed = (self.owed - took.as_nanos() as i128).max(-MAX_CREDIT);
    }
}
