//! How long things take on a board, so that comparing tools on this loader means something.

use std::time::Duration;

use crate::flash::Work;

/// A time model. What the wire and the flash take adds up as on a board: a stub receives the next
/// block while it works on the one before, a ROM does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Erasing a sector of 4 KiB.
    pub sector: Duration,
    /// Erasing a block of 64 KiB.
    pub block: Duration,
    /// Programming a page of 256 bytes.
    pub page: Duration,
    /// Reading, in bytes per second.
    pub read: u32,
    /// Reading and hashing, in bytes per second.
    pub digest: u32,
    /// From the last byte of a request to the first of its response: USB frames and interrupts.
    pub turnaround: Duration,
}

impl Timing {
    /// Erasing and programming as the data sheets of W25Q32 and GD25Q32 call typical. What a stub
    /// reads and hashes in a second and what USB adds are assumptions, the same for every tool.
    pub const TYPICAL: Self = Self {
        sector: Duration::from_millis(45),
        block: Duration::from_millis(150),
        page: Duration::from_micros(500),
        read: 8_000_000,
        digest: 2_500_000,
        turnaround: Duration::from_millis(1),
    };

    /// What the flash takes for this.
    pub fn of(&self, work: Work) -> Duration {
        self.sector * work.sectors
            + self.block * work.blocks
            + self.page * work.pages
            + rate(work.read, self.read)
            + rate(work.digested, self.digest)
    }

    /// What the wire takes for so many bytes: 8 bits, a start and a stop each.
    pub fn wire(bytes: usize, baud: u32) -> Duration {
        Duration::from_nanos(bytes as u64 * 10_000_000_000 / u64::from(baud.max(1)))
    }
}

fn rate(bytes: u32, per_second: u32) -> Duration {
    Duration::from_nanos(u64::from(bytes) * 1_000_000_000 / u64::from(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_at_once_is_quicker_than_its_sectors() {
        let sectors = Work {
            sectors: 16,
            ..Work::default()
        };
        let block = Work {
            blocks: 1,
            ..Work::default()
        };
        assert_eq!(Timing::TYPICAL.of(sectors), Duration::from_millis(720));
        assert_eq!(Timing::TYPICAL.of(block), Duration::from_millis(150));
    }

    #[test]
    fn ten_bits_a_byte() {
        assert_eq!(Timing::wire(11_520, 115_200), Duration::from_secs(1));
    }
}
