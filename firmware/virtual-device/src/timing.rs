//! How long a common flash part takes.
//!
//! Figures of the Winbond W25Q32JV (32 Mbit), a part found on many ESP32 modules: data sheet, table
//! *AC Electrical Characteristics*, "Page Program Time" (tPP) and "Sector Erase Time (4KB)" (tSE),
//! typical and maximum. Reads are what the bus takes: dual I/O at 40 MHz, espflash's default, without
//! the few clocks of command and address.

use std::time::Duration;

use crate::nor::{OpKind, SECTOR_SIZE};

/// Bytes programmed at once.
const PAGE_SIZE: u32 = 256;
/// tPP, typical and maximum: a page of 256 bytes, or the part of it that is written.
const PAGE_PROGRAM: [Duration; 2] = [Duration::from_micros(400), Duration::from_millis(3)];
/// tSE, typical and maximum.
const SECTOR_ERASE: [Duration; 2] = [Duration::from_millis(45), Duration::from_millis(400)];
/// Eight bits, two a clock, 40 MHz.
const READ_BYTE: Duration = Duration::from_nanos(100);

/// How long operations take. [`NorFlash`](crate::nor::NorFlash) never sleeps; its caller asks here and
/// waits.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Timing {
    /// No time at all.
    #[default]
    None,
    /// What the data sheet calls typical: 45 ms for a sector erase, 0.4 ms for a page.
    Typical,
    /// The data sheet's maxima, as of a part near the end of its life: 400 ms and 3 ms.
    Maximum,
    /// The typical times times this. What is negative or no number counts as 0.
    Scaled(f64),
}

impl Timing {
    /// How long an operation on `len` bytes at `offset` takes.
    pub fn duration(self, kind: OpKind, offset: u32, len: u32) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Typical => total(0, kind, offset, len),
            Self::Maximum => total(1, kind, offset, len),
            Self::Scaled(factor) => {
                let seconds = total(0, kind, offset, len).as_secs_f64() * factor;
                Duration::try_from_secs_f64(seconds).unwrap_or_default()
            }
        }
    }
}

/// `column` of the data sheet: 0 typical, 1 maximum.
fn total(column: usize, kind: OpKind, offset: u32, len: u32) -> Duration {
    match kind {
        OpKind::Read => READ_BYTE.saturating_mul(len),
        OpKind::Erase => SECTOR_ERASE[column].saturating_mul(len.div_ceil(SECTOR_SIZE)),
        OpKind::Write => {
            let pages = (offset % PAGE_SIZE).saturating_add(len).div_ceil(PAGE_SIZE);
            PAGE_PROGRAM[column].saturating_mul(pages)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_takes_one_erase_and_sixteen_pages() {
        let erase = Timing::Typical.duration(OpKind::Erase, 0x1000, SECTOR_SIZE);
        let write = Timing::Typical.duration(OpKind::Write, 0x1000, SECTOR_SIZE);
        assert_eq!(erase, Duration::from_millis(45));
        assert_eq!(write, Duration::from_micros(6400));
    }

    #[test]
    fn a_write_over_a_page_boundary_is_two_pages() {
        let page = Duration::from_micros(400);
        assert_eq!(Timing::Typical.duration(OpKind::Write, 0, 4), page);
        assert_eq!(Timing::Typical.duration(OpKind::Write, 252, 4), page);
        assert_eq!(Timing::Typical.duration(OpKind::Write, 252, 8), page * 2);
    }

    #[test]
    fn scaling_is_of_the_typical_times_and_survives_any_number() {
        let scaled = |factor| Timing::Scaled(factor).duration(OpKind::Erase, 0, SECTOR_SIZE);
        assert_eq!(scaled(2.0), Duration::from_millis(90));
        assert_eq!(scaled(0.0), Duration::ZERO);
        for odd in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(scaled(odd), Duration::ZERO);
        }
    }

    #[test]
    fn the_maximum_is_never_shorter_and_none_takes_no_time() {
        for kind in [OpKind::Read, OpKind::Erase, OpKind::Write] {
            let of = |timing: Timing| timing.duration(kind, 0, SECTOR_SIZE);
            assert!(of(Timing::Maximum) >= of(Timing::Typical));
            assert!(of(Timing::Typical) > Duration::ZERO);
            assert_eq!(of(Timing::None), Duration::ZERO);
        }
    }
}
