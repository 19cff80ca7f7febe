//! Which sectors are not yet as they should be.

use crate::read::{ReadError, ReadFlash};
use crate::write::Segment;
use airlift_wire::limits::SECTOR_SIZE;
use md5::{Digest as _, Md5};

/// Bytes that are compared at once; sectors only where they differ.
const BLOCK: usize = 64 * 1024;

/// The sectors of `segment` that the flash does not hold yet; neighbours in one segment. Nothing is
/// read: the chip computes the MD5 of each stretch.
pub(super) fn only_different(
    flash: &mut dyn ReadFlash,
    segment: &Segment,
) -> Result<Vec<Segment>, ReadError> {
    let mut different: Vec<Segment> = Vec::new();
    let mut start = None;
    let bytes = segment.bytes();
    let mut close = |from: &mut Option<usize>, to: usize| {
        if let Some(from) = from.take()
            && let Ok(run) = Segment::new(segment.offset() + from as u32, bytes.slice(from..to))
        {
            different.push(run);
        }
    };
    for block in (0..bytes.len()).step_by(BLOCK) {
        let end = bytes.len().min(block + BLOCK);
        let step = match is_there(flash, segment, block..end)? {
            true => {
                close(&mut start, block);
                continue;
            }
            false => SECTOR_SIZE,
        };
        for sector in (block..end).step_by(step) {
            let one = end - block == step;
            if !one && is_there(flash, segment, sector..sector + step)? {
                close(&mut start, sector);
            } else if start.is_none() {
                start = Some(sector);
            }
        }
    }
    close(&mut start, bytes.len());
    Ok(different)
}

fn is_there(
    flash: &mut dyn ReadFlash,
    segment: &Segment,
    range: std::ops::Range<usize>,
) -> Result<bool, ReadError> {
    let offset = segment.offset() + range.start as u32;
    let found = flash.md5(offset, range.len() as u32)?;
    let wanted: [u8; 16] = Md5::digest(&segment.bytes()[range]).into();
    Ok(found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn different(flash: &[u8], bytes: Vec<u8>) -> Vec<(u32, u32)> {
        let segment = Segment::new(0x1000, bytes).unwrap();
        let mut flash = flash;
        let found = only_different(&mut flash, &segment).unwrap();
        found.iter().map(|s| (s.offset(), s.size())).collect()
    }

    #[test]
    fn one_changed_byte_is_one_sector() {
        let flash = vec![7; 0x4_0000];
        let mut bytes = vec![7; 0x3_0000];
        assert_eq!(different(&flash, bytes.clone()), []);
        bytes[0x1_2345] = 8;
        assert_eq!(different(&flash, bytes), [(0x1_3000, 0x1000)]);
    }

    #[test]
    fn neighbours_over_the_end_of_a_block_are_one_segment() {
        let flash = vec![7; 0x4_0000];
        let mut bytes = vec![7; 0x3_0000];
        bytes[0xF000..0x1_1000].fill(8);
        assert_eq!(different(&flash, bytes), [(0x1_0000, 0x2000)]);
    }

    proptest! {
        #[test]
        fn writing_what_differs_makes_the_flash_as_wanted(
            changes in proptest::collection::vec((0usize..0x2_8000, any::<u8>()), 0..12),
        ) {
            let mut flash = vec![0; 0x4_0000];
            let mut bytes = vec![0; 0x2_8000];
            for (at, to) in changes {
                bytes[at] = to;
            }
            let segment = Segment::new(0x1000, bytes.clone()).unwrap();
            let found = only_different(&mut flash.as_slice(), &segment).unwrap();
            for run in &found {
                let start = run.offset() as usize;
                prop_assert!(flash[start..][..run.bytes().len()] != run.bytes()[..]);
                flash[start..][..run.bytes().len()].copy_from_slice(run.bytes());
            }
            prop_assert!(flash[0x1000..][..bytes.len()] == bytes[..]);
        }
    }
}
