//! Which sectors are not what they should be.

use airlift_flash::Segment;
use md5::{Digest as _, Md5};

use super::{Apply, SECTOR};
use crate::error::Error;
use crate::link::Link;

/// Bytes that are compared at once: what erases at once, too.
pub(super) const REGION: u32 = 64 * 1024;
/// After so many regions with no right sector the next ones are not searched for any: a digest of
/// each sector would cost more time than it is likely to save.
const HOPELESS: u32 = 2;

/// Sectors in a row that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differing {
    pub(super) offset: u32,
    pub(super) len: u32,
    /// Whether they are erased, so that there is nothing to save.
    pub(super) blank: bool,
}

/// The digest of bytes.
pub(super) fn digest(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// Bytes of a segment by their place in flash.
pub(super) fn bytes(segment: &Segment, offset: u32, len: u32) -> &[u8] {
    let start = (offset - segment.offset()) as usize;
    &segment.bytes()[start..start + len as usize]
}

/// Whether flash holds what the segment says.
pub(super) fn is_right(
    link: &mut dyn Link,
    segment: &Segment,
    offset: u32,
    len: u32,
) -> Result<bool, Error> {
    Ok(link.md5(offset, len)? == digest(bytes(segment, offset, len)))
}

/// Adds a range to the last one, when it goes on there.
fn add(found: &mut Vec<Differing>, offset: u32, len: u32, blank: bool) {
    match found.last_mut() {
        Some(last) if last.offset + last.len == offset && last.blank == blank => last.len += len,
        _ => found.push(Differing { offset, len, blank }),
    }
}

/// The regions of a range: up to each multiple of [`REGION`].
pub(super) fn regions(offset: u32, len: u32) -> impl Iterator<Item = (u32, u32)> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        let start = at;
        let len = (REGION - start % REGION).min(end - start);
        at += len;
        (len > 0).then_some((start, len))
    })
}

impl Apply<'_> {
    /// Finds the sectors of a segment that differ, in order.
    pub(super) fn compare(&mut self, segment: &Segment) -> Result<Vec<Differing>, Error> {
        let mut found = Vec::new();
        let mut hopeless = 0;
        for (offset, len) in regions(segment.offset(), segment.size()) {
            self.cancel.check()?;
            if self.options.skip_unchanged {
                self.compare_region(segment, offset, len, &mut hopeless, &mut found)?;
            } else {
                add(&mut found, offset, len, false);
            }
            self.advance(len);
        }
        Ok(found)
    }

    fn compare_region(
        &mut self,
        segment: &Segment,
        offset: u32,
        len: u32,
        hopeless: &mut u32,
        found: &mut Vec<Differing>,
    ) -> Result<(), Error> {
        if *hopeless >= HOPELESS && len > SECTOR {
            // Where nothing was right so far, a sector tells as much as a region, and sooner.
            let first = self.link.md5(offset, SECTOR)?;
            let right = digest(bytes(segment, offset, SECTOR));
            if first != right && first != digest(&[0xFF; SECTOR as usize]) {
                add(found, offset, len, false);
                return Ok(());
            }
        }
        let there = self.link.md5(offset, len)?;
        if there == digest(bytes(segment, offset, len)) {
            *hopeless = 0;
            return Ok(());
        }
        let sectors = (offset..offset + len).step_by(SECTOR as usize);
        if there == digest(&vec![0xFF; len as usize]) {
            for sector in sectors {
                if !is_blank(bytes(segment, sector, SECTOR)) {
                    add(found, sector, SECTOR, true);
                }
            }
            return Ok(());
        }
        if *hopeless >= HOPELESS || len == SECTOR {
            add(found, offset, len, false);
            return Ok(());
        }
        let mut differing = 0;
        for sector in sectors {
            if !is_right(self.link, segment, sector, SECTOR)? {
                add(found, sector, SECTOR, false);
                differing += SECTOR;
            }
        }
        *hopeless = if differing == len { *hopeless + 1 } else { 0 };
        Ok(())
    }
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_end_where_blocks_do() {
        let found: Vec<_> = regions(0xF000, 0x1_2000).collect();
        assert_eq!(
            found,
            [(0xF000, 0x1000), (0x1_0000, 0x1_0000), (0x2_0000, 0x1000)]
        );
        assert_eq!(regions(0x1000, 0).count(), 0);
    }
}
