//! Sectors that have worn out.

use super::SECTOR_SIZE;
use super::cells::Random;

/// How a worn sector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSector {
    /// Erases and writes fail and say so.
    Refuses,
    /// Erases and writes seem to work, but some bits are always 0.
    Stuck {
        /// How many bits, each chosen anew.
        bits: u32,
        /// Which ones.
        seed: u64,
    },
}

/// A worn sector as the flash keeps it.
pub(super) enum Worn {
    Refuses,
    /// A mask for the sector: 0 where the cell is stuck at 0.
    Stuck(Box<[u8]>),
}

impl Worn {
    pub(super) fn new(bad: BadSector) -> Self {
        match bad {
            BadSector::Refuses => Self::Refuses,
            BadSector::Stuck { bits, seed } => {
                let mut able = vec![0xFF; SECTOR_SIZE as usize].into_boxed_slice();
                let mut random = Random::new(seed);
                for _ in 0..bits {
                    let at = random.below(able.len());
                    able[at] &= !(1 << random.below(8));
                }
                Self::Stuck(able)
            }
        }
    }

    /// What the cells from `start` in the sector can hold.
    pub(super) fn able(&self, start: usize, len: usize) -> Option<&[u8]> {
        match self {
            Self::Refuses => None,
            Self::Stuck(able) => able.get(start..start + len),
        }
    }
}
