//! A partition that is read when it is needed, and changed in memory only.

use crate::{Error, ReadError, ReadFlash, Segment};
use airlift_littlefs::{BLOCK_SIZE, BlockDevice, Geometry, IoError};
use std::cell::Cell;
use std::collections::BTreeMap;

const BLOCK: usize = BLOCK_SIZE as usize;
/// Bytes that are read over a wire at once: metadata is rarely longer, and a block takes a tenth of a
/// second at 460,800 baud.
const PIECE: usize = 1024;
const PIECES: usize = BLOCK / PIECE;
/// Reads, of at most 128 bytes each, after which looking leads in circles: to list a folder with a
/// thousand files takes 40 thousand.
pub(super) const LOOKING: u32 = 1 << 22;
/// The same for what goes through all files: to write a thousand into one folder takes 40 million.
pub(super) const WORKING: u32 = 1 << 28;

/// The blocks of a partition: of flash that is only read, or of none. What is written stays here.
pub struct Blocks<'f> {
    flash: Option<(&'f mut dyn ReadFlash, u32)>,
    size: u32,
    blocks: BTreeMap<u32, Block>,
    /// Reads that the operation may still take.
    reads_left: Cell<u32>,
    failure: Cell<Option<ReadError>>,
}

struct Block {
    bytes: Box<[u8; BLOCK]>,
    /// Which pieces are known: read, or written here.
    known: [bool; PIECES],
    changed: bool,
}

impl Block {
    fn erased(known: bool) -> Self {
        Self {
            bytes: Box::new([0xFF; BLOCK]),
            known: [known; PIECES],
            changed: false,
        }
    }
}

impl<'f> Blocks<'f> {
    /// An erased partition of `size` bytes that is nowhere yet.
    pub fn erased(size: u32) -> Blocks<'static> {
        Blocks::new(None, size)
    }

    /// The partition of `size` bytes at `offset` of a flash. Nothing is read yet.
    pub fn of(flash: &'f mut dyn ReadFlash, offset: u32, size: u32) -> Self {
        Self::new(Some((flash, offset)), size)
    }

    fn new(flash: Option<(&'f mut dyn ReadFlash, u32)>, size: u32) -> Self {
        Self {
            flash,
            size,
            blocks: BTreeMap::new(),
            reads_left: Cell::new(LOOKING),
            failure: Cell::new(None),
        }
    }

    /// Bytes of the partition.
    pub fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            block_count: self.size / BLOCK_SIZE,
        }
    }

    /// An operation of the file system begins, which takes at most so many reads.
    pub(super) fn begin(&self, reads: u32) {
        self.reads_left.set(reads);
        self.failure.set(None);
    }

    /// What an error of littlefs came from: the flash, or the file system itself.
    pub(super) fn cause(&self, error: airlift_littlefs::Error) -> Error {
        match self.failure.take() {
            Some(read) => Error::Read(read),
            None if self.reads_left.get() == 0 => Error::Endless,
            None => Error::Files(error),
        }
    }

    /// The blocks that were changed, for a partition at `base`; neighbours in one segment.
    ///
    /// # Errors
    /// [`Error::Segment`] when `base` is no start of a sector.
    pub fn changed(&self, base: u32) -> Result<Vec<Segment>, Error> {
        let changed = self.blocks.iter().filter(|(_, block)| block.changed);
        self.segments(base, changed.map(|(n, _)| *n))
    }

    /// These blocks, ascending, as they are in flash and were changed here.
    pub(super) fn copy(
        &mut self,
        base: u32,
        numbers: impl IntoIterator<Item = u32> + Clone,
    ) -> Result<Vec<Segment>, Error> {
        for n in numbers.clone() {
            let known = self.whole(n).is_ok();
            if !known {
                return Err(self.cause(airlift_littlefs::Error::Io));
            }
        }
        self.segments(base, numbers)
    }

    /// These blocks, of which all is known.
    fn segments(
        &self,
        base: u32,
        numbers: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<Segment>, Error> {
        let mut runs: Vec<(u32, Vec<u8>)> = Vec::new();
        for n in numbers {
            let offset = base.saturating_add(n.saturating_mul(BLOCK_SIZE));
            let Some(Block { bytes, .. }) = self.blocks.get(&n) else {
                continue;
            };
            match runs.last_mut() {
                Some((start, run)) if *start as usize + run.len() == offset as usize => {
                    run.extend_from_slice(&bytes[..]);
                }
                _ => runs.push((offset, bytes.to_vec())),
            }
        }
        let segment = |(offset, run)| {
            Segment::new(offset, run).map_err(|error| Error::Segment {
                what: "the file system".to_owned(),
                error,
            })
        };
        runs.into_iter().map(segment).collect()
    }

    /// All of a block.
    fn whole(&mut self, n: u32) -> Result<&mut Block, IoError> {
        self.known(n, 0..BLOCK)
    }

    /// A block of which at least `range` is known.
    fn known(&mut self, n: u32, range: std::ops::Range<usize>) -> Result<&mut Block, IoError> {
        if n >= self.size / BLOCK_SIZE {
            return Err(IoError::Device);
        }
        let unread = self.flash.is_some();
        let block = self.blocks.entry(n);
        let block = block.or_insert_with(|| Block::erased(!unread));
        let Some((flash, offset)) = &mut self.flash else {
            return Ok(block);
        };
        let start = offset.saturating_add(n * BLOCK_SIZE);
        let pieces = range.start / PIECE..range.end.div_ceil(PIECE).min(PIECES);
        // Unknown pieces that are neighbours in one go.
        let mut at = pieces.start;
        while at < pieces.end {
            let known = |p: &usize| block.known.get(*p).copied().unwrap_or(true);
            let first = (at..pieces.end).find(|p| !known(p)).unwrap_or(pieces.end);
            let end = (first..pieces.end).find(known).unwrap_or(pieces.end);
            if first < end {
                let bytes = &mut block.bytes[first * PIECE..end * PIECE];
                if let Err(error) = flash.read(start.saturating_add((first * PIECE) as u32), bytes)
                {
                    self.failure.set(Some(error));
                    return Err(IoError::Device);
                }
                block.known[first..end].fill(true);
            }
            at = end;
        }
        Ok(block)
    }
}

/// The block, and the range in it; `None` when it is not in one.
fn place(offset: u32, len: usize) -> Option<(u32, std::ops::Range<usize>)> {
    let start = (offset % BLOCK_SIZE) as usize;
    let end = start.checked_add(len)?;
    (end <= BLOCK).then_some((offset / BLOCK_SIZE, start..end))
}

impl BlockDevice for Blocks<'_> {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        let left = self.reads_left.get().checked_sub(1);
        self.reads_left.set(left.ok_or(IoError::Device)?);
        let (n, range) = place(offset, buf.len()).ok_or(IoError::Device)?;
        let block = self.known(n, range.clone())?;
        buf.copy_from_slice(&block.bytes[range]);
        Ok(())
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        let (n, range) = place(offset, data.len()).ok_or(IoError::Device)?;
        let block = self.whole(n)?;
        // As flash does: bits are only cleared.
        let cells = block.bytes[range].iter_mut();
        cells.zip(data).for_each(|(cell, data)| *cell &= data);
        block.changed = true;
        Ok(())
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        let n = offset / BLOCK_SIZE;
        if n >= self.size / BLOCK_SIZE {
            return Err(IoError::Device);
        }
        let mut block = Block::erased(true);
        block.changed = true;
        self.blocks.insert(n, block);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}
