//! What a device logs: the last bytes of it, in memory, as on a board.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use airlift_updater::device::Vitals;
use airlift_wire::state::Cause;

/// Bytes that are kept.
const KEPT: usize = 4096;
/// Bytes of memory that a device says are free: about what an ESP32-C3 with Wi-Fi has.
const FREE_MEMORY: u32 = 180_000;

/// One life's log. A restart begins with an empty one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Rc<RefCell<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    bytes: VecDeque<u8>,
    /// Bytes ever logged.
    total: u64,
}

impl Journal {
    /// Adds a line, as the board's logger writes it.
    pub fn info(&self, now_ms: u64, text: impl std::fmt::Display) {
        let line = format!("{now_ms} INFO {text}\n");
        let mut ring = self.0.borrow_mut();
        ring.total += line.len() as u64;
        ring.bytes.extend(line.as_bytes());
        let over = ring.bytes.len().saturating_sub(KEPT);
        ring.bytes.drain(..over);
    }

    fn read(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        let ring = self.0.borrow();
        let oldest = ring.total - ring.bytes.len() as u64;
        let start = from.clamp(oldest, ring.total);
        let kept = ring.bytes.iter().skip((start - oldest) as usize);
        let n = out
            .iter_mut()
            .zip(kept)
            .map(|(to, byte)| *to = *byte)
            .count();
        (start, n)
    }
}

/// What a virtual device says of itself besides releases. It has no radio.
pub(crate) struct Board {
    pub reset: Cause,
    pub journal: Journal,
}

impl Vitals for Board {
    fn free_memory(&self) -> u32 {
        FREE_MEMORY
    }

    fn reset_reason(&self) -> Cause {
        self.reset
    }

    fn log(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        self.journal.read(from, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(journal: &Journal, from: u64) -> (u64, String) {
        let mut out = [0; 2 * KEPT];
        let (start, n) = journal.read(from, &mut out);
        (start, String::from_utf8(out[..n].to_vec()).unwrap())
    }

    #[test]
    fn the_log_is_read_from_any_byte() {
        let journal = Journal::default();
        journal.info(12, "one");
        journal.info(13, "two");
        assert_eq!(text(&journal, 0), (0, "12 INFO one\n13 INFO two\n".into()));
        assert_eq!(text(&journal, 12), (12, "13 INFO two\n".into()));
        assert_eq!(text(&journal, 999), (24, String::new()), "after its end");
    }

    #[test]
    fn the_oldest_bytes_go_first() {
        let journal = Journal::default();
        (0..1000).for_each(|n| journal.info(n, "a line"));
        let (start, kept) = text(&journal, 0);
        assert_eq!(kept.len(), KEPT);
        assert!(start > 0 && kept.ends_with("999 INFO a line\n"));
    }
}
