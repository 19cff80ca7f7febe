//! What is to be written to flash.

use airlift_wire::limits::SECTOR_SIZE;
use bytes::Bytes;

/// Bytes for whole sectors of flash. A writer may leave out those that are there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    offset: u32,
    bytes: Bytes,
}

/// Why bytes cannot be a [`Segment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// It does not start where a sector does.
    #[error("{0:#x} is not the start of a sector")]
    Unaligned(u32),
    /// It ends past what a 32-bit offset can name.
    #[error("{len} bytes at {offset:#x} are more than flash can have")]
    TooLong {
        /// Start.
        offset: u32,
        /// Bytes.
        len: usize,
    },
}

impl Segment {
    /// Bytes that start at the sector at `offset`; the last sector is filled up with 0xFF.
    ///
    /// # Errors
    /// [`SegmentError`] for an offset inside a sector, or an end past 4 GiB.
    pub fn new(offset: u32, bytes: impl Into<Bytes>) -> Result<Self, SegmentError> {
        if !offset.is_multiple_of(SECTOR_SIZE as u32) {
            return Err(SegmentError::Unaligned(offset));
        }
        let mut bytes: Bytes = bytes.into();
        let whole = bytes.len().next_multiple_of(SECTOR_SIZE);
        if u32::try_from(whole).map_or(true, |len| offset.checked_add(len).is_none()) {
            let len = bytes.len();
            return Err(SegmentError::TooLong { offset, len });
        }
        if bytes.len() < whole {
            let mut filled = bytes.to_vec();
            filled.resize(whole, 0xFF);
            bytes = filled.into();
        }
        Ok(Self { offset, bytes })
    }

    /// Where it starts.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Its bytes, whole sectors.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many bytes it has.
    pub fn size(&self) -> u32 {
        // It was checked when it was made.
        self.bytes.len() as u32
    }

    /// Where it ends.
    pub fn end(&self) -> u32 {
        self.offset + self.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sector_is_filled_up() {
        let segment = Segment::new(0x9000, vec![0; 5000]).unwrap();
        assert_eq!((segment.size(), segment.end()), (8192, 0xB000));
        assert_eq!(segment.bytes()[4999..5001], [0, 0xFF]);
    }

    #[test]
    fn a_segment_starts_with_a_sector_and_ends_in_flash() {
        assert_eq!(Segment::new(1, vec![0]), Err(SegmentError::Unaligned(1)));
        let last = u32::MAX - 0xFFF;
        assert!(matches!(
            Segment::new(last, vec![0; 2]),
            Err(SegmentError::TooLong { .. })
        ));
    }
}
