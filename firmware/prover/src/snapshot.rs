//! The whole flash at an instant, cheap to keep, and a flash to run devices on.

use airlift_virtual_device::nor::{Change, NorError, NorFlash, SECTOR_SIZE, SharedNor, Verdict};
use std::sync::Arc;

const SECTOR: usize = SECTOR_SIZE as usize;

/// One sector: its cells, and which of its bits are unstable.
#[derive(PartialEq, Eq)]
pub struct Sector {
    bytes: Box<[u8]>,
    /// Masks of the bytes; none when all bits are stable.
    unstable: Option<Box<[u8]>>,
    hash: u128,
}

impl Sector {
    fn new(index: usize, bytes: &[u8], unstable: Option<&[u8]>) -> Self {
        let mut hash = hash(index as u64, bytes);
        if let Some(masks) = unstable {
            hash ^= self::hash(!(index as u64), masks);
        }
        Self {
            bytes: bytes.into(),
            unstable: unstable.map(Into::into),
            hash,
        }
    }
}

/// 128 bits over a sector; equal flashes are told apart from others by it, and no one forges them.
fn hash(seed: u64, bytes: &[u8]) -> u128 {
    let (mut a, mut b) = (seed ^ 0x9E37_79B9_7F4A_7C15, !seed ^ 0xD6E8_FEB8_6659_FD93);
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        a = (a ^ word)
            .wrapping_mul(0xFF51_AFD7_ED55_8CCD)
            .rotate_left(31);
        b = (b.rotate_left(23) ^ word).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    }
    a ^= a >> 32;
    b ^= b >> 29;
    u128::from(a.wrapping_mul(0x94D0_49BB_1331_11EB)) << 64
        | u128::from(b.wrapping_mul(0xBF58_476D_1CE4_E5B9))
}

/// The whole flash at an instant. Clones share their sectors.
#[derive(Clone)]
pub struct Snapshot {
    sectors: Vec<Arc<Sector>>,
    hash: u128,
}

impl Snapshot {
    /// A flash with this content, whole sectors, all bits stable.
    pub fn new(image: &[u8]) -> Self {
        let sectors: Vec<_> = image
            .chunks(SECTOR)
            .enumerate()
            .map(|(n, bytes)| Arc::new(Sector::new(n, bytes, None)))
            .collect();
        let hash = sectors.iter().fold(0, |hash, sector| hash ^ sector.hash);
        Self { sectors, hash }
    }

    /// Bytes of the flash.
    pub fn len(&self) -> u32 {
        (self.sectors.len() * SECTOR) as u32
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// Equal for equal flashes, unstable bits included.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// Fills `out` from `offset`; beyond the end with ones. Unstable bits are ones.
    pub fn read(&self, offset: u32, out: &mut [u8]) {
        let mut at = offset as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let n = rest.len().min(SECTOR - at % SECTOR);
            let (piece, behind) = rest.split_at_mut(n);
            match self.sectors.get(at / SECTOR) {
                Some(sector) => piece.copy_from_slice(&sector.bytes[at % SECTOR..][..n]),
                None => piece.fill(0xFF),
            }
            at += n;
            rest = behind;
        }
    }

    /// `len` bytes from `offset`.
    pub fn bytes(&self, offset: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes);
        bytes
    }

    /// The whole flash.
    pub fn image(&self) -> Vec<u8> {
        self.bytes(0, self.sectors.len() * SECTOR)
    }

    /// Whether `other` has the same bytes in a range of whole sectors.
    pub fn same(&self, other: &Self, offset: u32, len: u32) -> bool {
        let range = offset as usize / SECTOR..(offset + len).div_ceil(SECTOR_SIZE) as usize;
        range.into_iter().all(|n| {
            let (a, b) = (&self.sectors[n], &other.sectors[n]);
            Arc::ptr_eq(a, b) || a.bytes == b.bytes
        })
    }

    /// A number that is equal for equal bytes in a range of whole sectors.
    pub fn hash_of(&self, offset: u32, len: u32) -> u128 {
        let range = offset as usize / SECTOR..(offset + len).div_ceil(SECTOR_SIZE) as usize;
        self.sectors[range].iter().fold(0, |hash, s| hash ^ s.hash)
    }

    /// Whether a range has no unstable bit.
    pub fn is_firm(&self, offset: u32, len: u32) -> bool {
        (offset..offset + len).step_by(4).all(|at| {
            match self.sectors[at as usize / SECTOR].unstable {
                Some(ref masks) => masks[at as usize % SECTOR..][..4].iter().all(|m| *m == 0),
                None => true,
            }
        })
    }

    /// The same with every unstable bit read as 0; `None` when there is none.
    pub fn with_zeros(&self) -> Option<Self> {
        let mut read = self.clone();
        for (n, sector) in read.sectors.iter_mut().enumerate() {
            if let Some(masks) = &sector.unstable {
                let bytes: Vec<u8> = sector
                    .bytes
                    .iter()
                    .zip(masks)
                    .map(|(b, m)| b & !m)
                    .collect();
                let new = Arc::new(Sector::new(n, &bytes, None));
                read.hash ^= sector.hash ^ new.hash;
                *sector = new;
            }
        }
        (read.hash != self.hash).then_some(read)
    }
}

/// A flash that takes on one snapshot after the other and copies only what differs.
pub struct Arena {
    nor: SharedNor,
    /// What the flash holds but for what its journal says.
    loaded: Snapshot,
}

impl Arena {
    /// A flash with this content.
    ///
    /// # Errors
    /// [`NorError::Size`].
    pub fn new(snapshot: &Snapshot) -> Result<Self, NorError> {
        let image = snapshot.image();
        let mut nor = NorFlash::from_image(image)?;
        nor.start_journal();
        let mut arena = Self {
            nor: SharedNor::new(nor),
            loaded: Snapshot::new(&snapshot.image()),
        };
        arena.load(snapshot);
        Ok(arena)
    }

    /// The flash.
    pub fn nor(&self) -> &SharedNor {
        &self.nor
    }

    /// Takes on a snapshot; what unstable bits read as is drawn from `noise` and the snapshot.
    pub fn load(&mut self, snapshot: &Snapshot) {
        self.capture();
        let mut nor = self.nor.lock();
        nor.clear_hook();
        let both = self.loaded.sectors.iter().zip(&snapshot.sectors);
        for (n, (old, new)) in both.enumerate() {
            if Arc::ptr_eq(old, new) || old == new {
                continue;
            }
            let offset = (n * SECTOR) as u32;
            // Inside the flash, since both have its size.
            let _ = nor.overwrite(offset, &new.bytes);
            if let Some(masks) = &new.unstable {
                nor.set_unstable_in(offset, masks);
            }
        }
        nor.set_noise(snapshot.hash as u64);
        nor.power_on();
        self.loaded = snapshot.clone();
    }

    /// The flash as it is, and what was done to it since the last capture or load.
    pub fn capture(&mut self) -> (Snapshot, Vec<Change>) {
        let mut nor = self.nor.lock();
        let journal = nor.take_journal();
        nor.start_journal();
        let mut touched: Vec<_> = journal.iter().map(|c| c.offset as usize / SECTOR).collect();
        touched.sort_unstable();
        touched.dedup();
        for n in touched {
            let bytes = &nor.image()[n * SECTOR..][..SECTOR];
            let sector = Sector::new(n, bytes, nor.unstable_in((n * SECTOR) as u32));
            self.loaded.hash ^= self.loaded.sectors[n].hash ^ sector.hash;
            self.loaded.sectors[n] = Arc::new(sector);
        }
        (self.loaded.clone(), journal)
    }

    /// What a change leaves of which the power goes as `verdict` says.
    pub fn cut(&mut self, before: &Snapshot, change: &Change, verdict: Verdict) -> Snapshot {
        self.load(before);
        {
            let mut nor = self.nor.lock();
            nor.set_hook(airlift_virtual_device::nor::AtChange::new(0, verdict));
            // It ends in the cut.
            let _ = change.apply(&mut nor);
            nor.clear_hook();
        }
        self.capture().0
    }

    /// The flash after changes.
    pub fn done(&mut self, before: &Snapshot, changes: &[Change]) -> Snapshot {
        self.load(before);
        {
            let mut nor = self.nor.lock();
            for change in changes {
                // It was done before, from the same cells.
                let _ = change.apply(&mut nor);
            }
        }
        self.capture().0
    }
}
