//! How fast chunks arrive.

use std::collections::VecDeque;
use std::time::Duration;

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(5);
/// No rate from less than this: the first chunks say nothing yet.
const SHORTEST: Duration = Duration::from_millis(500);

/// Bytes that arrived lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    arrivals: VecDeque<(Duration, u32)>,
    since: Option<Duration>,
}

impl Rate {
    /// Bytes arrived.
    pub(crate) fn add(&mut self, bytes: u32, now: Duration) {
        if bytes == 0 {
            return;
        }
        self.since.get_or_insert(now);
        match self.arrivals.back_mut() {
            // A tick of the clock a sample is enough, and bounds the list.
            Some((at, sum)) if now.saturating_sub(*at) < Duration::from_millis(50) => *sum += bytes,
            _ => self.arrivals.push_back((now, bytes)),
        }
        self.forget(now);
    }

    /// Bytes a second; none while nothing arrives.
    pub(crate) fn per_second(&self, now: Duration) -> Option<f64> {
        let oldest = now.saturating_sub(WINDOW);
        let bytes: u64 = self
            .arrivals
            .iter()
            .filter(|(at, _)| *at >= oldest)
            .map(|(_, b)| u64::from(*b))
            .sum();
        let span = now.saturating_sub(self.since?.max(oldest));
        (bytes > 0 && span >= SHORTEST).then(|| bytes as f64 / span.as_secs_f64())
    }

    fn forget(&mut self, now: Duration) {
        let oldest = now.saturating_sub(WINDOW);
        while self.arrivals.front().is_some_and(|(at, _)| *at < oldest) {
            self.arrivals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_stream_has_its_own_rate() {
        let mut rate = Rate::default();
        for n in 0..100 {
            rate.add(4096, at(n * 100));
        }
        let per_second = rate.per_second(at(9_900)).unwrap();
        assert!((per_second - 40_960.0).abs() < 1_000.0, "{per_second}");
    }

    #[test]
    fn the_first_moment_and_a_silence_have_none() {
        let mut rate = Rate::default();
        rate.add(4096, at(1_000));
        assert_eq!(rate.per_second(at(1_100)), None);
        assert!(rate.per_second(at(2_000)).is_some());
        assert_eq!(rate.per_second(at(7_000)), None);
    }
}
