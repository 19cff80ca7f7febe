//! How fast a port takes what is written.

use std::time::Duration;

use crate::dto::{FlashPlan, UsbPhase};
use crate::usb::view;

/// Less than this, or in less time, says nothing: it is erasing and waiting for answers.
const FEWEST: u32 = 64 * 1024;
const SHORTEST: Duration = Duration::from_millis(500);

/// From the first byte of a job that was written to the last one that was verified.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    started: Option<Duration>,
    bytes: u32,
    /// Bytes a second of the last job that was long enough.
    last: Option<f64>,
}

impl Pace {
    /// A job begins, or goes on after a pause.
    pub(super) fn begin(&mut self) {
        (self.started, self.bytes) = (None, 0);
    }

    /// A job got on.
    pub(super) fn add(&mut self, phase: UsbPhase, bytes: u32, now: Duration) {
        match phase {
            UsbPhase::Write => self.bytes = bytes,
            UsbPhase::Verify => {}
            _ => return,
        }
        let span = now.saturating_sub(*self.started.get_or_insert(now));
        if self.bytes >= FEWEST && span >= SHORTEST {
            self.last = Some(f64::from(self.bytes) / span.as_secs_f64());
        }
    }

    /// Says how long a plan takes, if a job has shown it.
    pub(super) fn reckon(&self, plan: &mut FlashPlan) {
        let Some(pace) = self.last.map(|pace| pace as u32).filter(|pace| *pace > 0) else {
            return;
        };
        plan.seconds = view::seconds_at(plan.bytes, pace);
        for step in &mut plan.steps {
            step.seconds = view::seconds_at(step.bytes, pace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::table::tests;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What a plan says of 1 MB, and of its steps of 8 KiB.
    fn reckoned(pace: &Pace) -> (u32, u32) {
        let mut plan = tests::plan(1);
        (plan.bytes, plan.seconds) = (1_000_000, 99);
        pace.reckon(&mut plan);
        (plan.seconds, plan.steps[0].seconds)
    }

    #[test]
    fn a_plan_takes_as_long_as_the_last_job_did_with_verifying() {
        let mut pace = Pace::default();
        pace.add(UsbPhase::Compare, 900_000, at(0));
        pace.add(UsbPhase::Write, 0, at(10_000));
        pace.add(UsbPhase::Write, 100_000, at(11_000));
        assert_eq!(reckoned(&pace), (10, 1));
        pace.add(UsbPhase::Verify, 100_000, at(12_000));
        assert_eq!(reckoned(&pace), (20, 1));
        // A small one says nothing of how long a large one takes.
        pace.begin();
        pace.add(UsbPhase::Write, 0, at(60_000));
        pace.add(UsbPhase::Write, 8_192, at(69_000));
        assert_eq!(reckoned(&pace), (20, 1));
        pace.add(UsbPhase::Write, 80_000, at(100_000));
        assert_eq!(reckoned(&pace), (500, 5));
    }

    #[test]
    fn before_a_job_and_in_its_first_moment_a_plan_says_what_it_said() {
        let mut pace = Pace::default();
        pace.add(UsbPhase::Write, 0, at(0));
        pace.add(UsbPhase::Write, 500_000, at(100));
        assert_eq!(reckoned(&pace), (99, 1));
    }
}
