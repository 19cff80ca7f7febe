//! What happens to the cells themselves, half-done operations included.

/// Bytes that a write programs at a time.
pub(super) const PAGE_SIZE: usize = 256;

/// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, and equal seeds tear equally.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0; the bias does not matter here.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A byte in which each bit is set `permille` times in a thousand.
    fn mask(&mut self, permille: usize) -> u8 {
        (0..8).fold(0, |mask, bit| {
            mask | (u8::from(self.below(1000) < permille) << bit)
        })
    }
}

/// Flip `bits` bits, each chosen anew.
pub(super) fn flip(cells: &mut [u8], bits: u32, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..bits {
        if !cells.is_empty() {
            let at = random.below(cells.len());
            cells[at] ^= 1 << random.below(8);
        }
    }
}

/// An erase that got `permille` of its way: all bits are cleared on the first half of it and raised on
/// the second.
pub(super) fn tear_erase(cells: &mut [u8], permille: u16, seed: u64) {
    let permille = usize::from(permille.min(1000));
    let mut random = Random::new(seed);
    for cell in cells {
        if permille <= 500 {
            *cell &= !random.mask(permille * 2);
        } else {
            *cell = random.mask((permille - 500) * 2);
        }
    }
}

/// A write of `data` at `offset` that got `permille` of its way, page by page.
pub(super) fn tear_write(cells: &mut [u8], offset: u32, data: &[u8], permille: u16, seed: u64) {
    let done = data.len() * usize::from(permille.min(1000)) / 1000;
    let to_boundary = PAGE_SIZE - offset as usize % PAGE_SIZE;
    let mut random = Random::new(seed);
    let mut start = 0;
    let mut end = to_boundary.min(data.len());
    while start < end {
        let of_page = done.saturating_sub(start).min(end - start) * 1000 / (end - start);
        for (cell, byte) in cells[start..end].iter_mut().zip(&data[start..end]) {
            *cell &= byte | !random.mask(of_page);
        }
        start = end;
        end = (end + PAGE_SIZE).min(data.len());
    }
}
