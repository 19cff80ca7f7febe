//! Bits that read differently each time: what a cut leaves of an erase or a write.

use super::SECTOR_SIZE;
use super::cells::{PAGE_SIZE, Random, tear_erase, tear_write};
use std::collections::BTreeMap;

/// From here on, an operation is all but done: one bit is left.
const ALL_BUT_DONE: u16 = 999;

/// The unstable bits of a flash. In the cells themselves they are 1.
pub(super) struct Unstable {
    /// For each sector that has any, a mask of each byte.
    sectors: BTreeMap<u32, Box<[u8]>>,
    noise: Random,
}

impl Default for Unstable {
    fn default() -> Self {
        Self {
            sectors: BTreeMap::new(),
            noise: Random::new(0),
        }
    }
}

impl Unstable {
    pub fn sector(&self, offset: u32) -> Option<&[u8]> {
        self.sectors.get(&(offset / SECTOR_SIZE)).map(|m| &**m)
    }

    pub fn set_noise(&mut self, seed: u64) {
        self.noise = Random::new(seed);
    }

    /// Draws the unstable bits of what was read from `offset`, within one sector.
    pub fn read(&mut self, offset: u32, buf: &mut [u8]) {
        let Some(masks) = self.sectors.get(&(offset / SECTOR_SIZE)) else {
            return;
        };
        let start = (offset % SECTOR_SIZE) as usize;
        for (byte, mask) in buf.iter_mut().zip(&masks[start..]) {
            if *mask != 0 {
                *byte &= !(mask & self.noise.next() as u8);
            }
        }
    }

    /// All bits of a range are stable from now on.
    pub fn settle(&mut self, offset: u32, len: usize) {
        let end = u64::from(offset) + len as u64;
        self.sectors.retain(|sector, masks| {
            let first = u64::from(*sector) * u64::from(SECTOR_SIZE);
            for (at, mask) in (first..).zip(masks.iter_mut()) {
                if (u64::from(offset)..end).contains(&at) {
                    *mask = 0;
                }
            }
            masks.iter().any(|mask| *mask != 0)
        });
    }

    /// Bits that are 0 in `cells`, which start at `offset`, are stable.
    pub fn keep_ones(&mut self, offset: u32, cells: &[u8]) {
        let sector = offset / SECTOR_SIZE;
        if let Some(masks) = self.sectors.get_mut(&sector) {
            let start = (offset % SECTOR_SIZE) as usize;
            for (mask, cell) in masks[start..].iter_mut().zip(cells) {
                *mask &= cell;
            }
            if masks.iter().all(|mask| *mask == 0) {
                self.sectors.remove(&sector);
            }
        }
    }

    /// Adds unstable bits from `offset` on, within one sector.
    pub fn add(&mut self, offset: u32, bits: &[u8], seed: u64) {
        self.set(offset, bits);
        self.set_noise(seed);
    }

    pub fn set(&mut self, offset: u32, bits: &[u8]) {
        if bits.iter().all(|bits| *bits == 0) {
            return;
        }
        let masks = self.sectors.entry(offset / SECTOR_SIZE);
        let masks = masks.or_insert_with(|| vec![0; SECTOR_SIZE as usize].into());
        let start = (offset % SECTOR_SIZE) as usize;
        for (mask, bits) in masks[start..].iter_mut().zip(bits) {
            *mask |= bits;
        }
    }
}

/// An erase that got `permille` of its way; which bits are unstable, as masks.
pub(super) fn unsettle_erase(cells: &mut [u8], permille: u16, seed: u64) -> Vec<u8> {
    let mut random = Random::new(!seed);
    if permille >= ALL_BUT_DONE {
        cells.fill(0xFF);
        return one_bit(&vec![0xFF; cells.len()], &mut random);
    }
    let before = cells.to_vec();
    tear_erase(cells, permille, seed);
    let clearing = permille <= 500;
    let left: Vec<u8> = if clearing {
        // Ones that are on their way to 0.
        cells.iter().zip(&before).map(|(c, b)| c & b).collect()
    } else {
        cells.iter().map(|c| !c).collect()
    };
    unsettle(cells, &left, &mut random)
}

/// A write of `data` at `offset` that got `permille` of its way; which bits are unstable, as masks.
pub(super) fn unsettle_write(
    cells: &mut [u8],
    offset: u32,
    data: &[u8],
    permille: u16,
    seed: u64,
) -> Vec<u8> {
    let mut random = Random::new(!seed);
    let before = cells.to_vec();
    if permille >= ALL_BUT_DONE {
        cells.iter_mut().zip(data).for_each(|(c, d)| *c &= d);
        let cleared: Vec<u8> = cells.iter().zip(&before).map(|(c, b)| b & !c).collect();
        let bits = one_bit(&cleared, &mut random);
        cells.iter_mut().zip(&bits).for_each(|(c, b)| *c |= b);
        return bits;
    }
    tear_write(cells, offset, data, permille, seed);
    // Only the page that the cut hit: those behind it were not begun.
    let done = data.len() * usize::from(permille) / 1000;
    let skew = offset as usize % PAGE_SIZE;
    let page = (done + skew) / PAGE_SIZE;
    let mut left = vec![0; data.len()];
    for (at, left) in left.iter_mut().enumerate() {
        if (at + skew) / PAGE_SIZE == page {
            *left = cells[at] & !data[at];
        }
    }
    unsettle(cells, &left, &mut random)
}

/// Half of the bits in `left`, at least one if there are any, are unstable and 1 in the cells.
fn unsettle(cells: &mut [u8], left: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bits: Vec<u8> = left.iter().map(|l| l & random.next() as u8).collect();
    if bits.iter().all(|b| *b == 0) {
        bits = one_bit(left, random);
    }
    cells.iter_mut().zip(&bits).for_each(|(c, b)| *c |= b);
    bits
}

/// One of the bits in `among`; none when it has none.
fn one_bit(among: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bits = vec![0; among.len()];
    let count: usize = among.iter().map(|b| b.count_ones() as usize).sum();
    if count == 0 {
        return bits;
    }
    let mut skip = random.below(count);
    for (byte, bits) in among.iter().zip(&mut bits) {
        let here = byte.count_ones() as usize;
        if skip < here {
            let mut nth = (0..8).filter(|bit| byte >> bit & 1 == 1);
            *bits = nth.nth(skip).map_or(0, |bit| 1 << bit);
            break;
        }
        skip -= here;
    }
    bits
}
