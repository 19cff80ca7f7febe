//! A damaged file system: littlefs is C, and what a flash holds after years is anybody's guess.

use crate::device::SECTOR;
use crate::input::Input;
use airlift_flash::littlefs::{Blocks as OfFlash, FileTree};
use airlift_littlefs::updater::{AtOnce, UpdaterFiles};
use airlift_littlefs::{BlockDevice, DiskVersion, FileSystem, Geometry, IoError, Storage};
use airlift_updater::emit::Cursor;
use airlift_updater::path::Path;
use airlift_updater::platform::{Files, FilesError};
use airlift_updater::unpack::{Unpacker, write_version};
use airlift_updater::{Failure, SlotId};
use airlift_wire::Digest;
use embassy_futures::block_on;
use std::sync::LazyLock;

const BLOCKS: u32 = 24;
const SIZE: usize = BLOCKS as usize * SECTOR;
/// Operations of the flash that looking at everything and one update may take. Whole, it is about
/// a fiftieth.
const MAX_OPERATIONS: u32 = 100_000;

/// NOR flash that counts, and stops when it is asked for too much.
struct Blocks {
    cells: Vec<u8>,
    left: u32,
}

impl Blocks {
    fn spend(&mut self) -> Result<(), IoError> {
        self.left = self.left.checked_sub(1).ok_or(IoError::Device)?;
        Ok(())
    }
}

impl BlockDevice for &mut Blocks {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        self.spend()?;
        buf.copy_from_slice(&self.cells[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        self.spend()?;
        let cells = &mut self.cells[offset as usize..][..data.len()];
        if cells
            .iter()
            .zip(data)
            .any(|(cell, byte)| cell & byte != *byte)
        {
            return Err(IoError::BadBlock);
        }
        cells.copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        self.spend()?;
        self.cells[offset as usize..][..SECTOR].fill(0xFF);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

static TAR: LazyLock<Vec<u8>> = LazyLock::new(|| crate::seeds::long_tar().to_vec());

/// Whole file systems of both versions with two releases in them.
static WHOLE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [DiskVersion::V2_0, DiskVersion::V2_1].map(|version| {
        let mut blocks = Blocks {
            cells: vec![0xFF; SIZE],
            left: u32::MAX,
        };
        let mut storage = Storage::new();
        let geometry = Geometry {
            block_count: BLOCKS,
        };
        FileSystem::format(&mut storage, &mut &mut blocks, geometry, version).expect("room");
        let fs = FileSystem::mount(&mut storage, &mut blocks, geometry).expect("what was made");
        let mut files = UpdaterFiles::new(Some(fs), AtOnce);
        for slot in [SlotId::Ota0, SlotId::Ota1] {
            block_on(update(&mut files, slot)).expect("a whole file system");
        }
        blocks.cells
    })
});

async fn update(files: &mut impl Files, slot: SlotId) -> Result<(), Failure> {
    let root = Path::slot(slot);
    let mut unpacker = Unpacker::resume(files, root, &Cursor::new(root)).await?;
    for (n, chunk) in TAR.chunks(SECTOR).enumerate() {
        unpacker.feed(files, chunk).await?;
        if n % 2 == 1 {
            unpacker.sync(files).await?;
        }
    }
    unpacker.finish()?;
    write_version(files, root, "1.0.0").await
}

async fn emit(files: &mut impl Files, slot: SlotId) -> Result<Vec<u8>, FilesError> {
    let mut cursor = Cursor::new(Path::slot(slot));
    let mut out = Vec::new();
    let mut buf = [0; SECTOR];
    while !cursor.is_done() {
        let n = cursor.fill(files, &mut buf).await?;
        out.extend_from_slice(&buf[..n]);
        // What is longer than the flash is no file of it.
        if out.len() > 64 * SIZE {
            return Err(FilesError::Broken);
        }
    }
    Ok(out)
}

/// What a host sees that reads the flash over USB.
struct Seen([Option<Digest>; 2]);

impl Seen {
    fn in_flash(mut cells: &[u8]) -> Self {
        let mut storage = Box::new(Storage::new());
        let blocks = OfFlash::of(&mut cells, 0, SIZE as u32);
        let Ok(mut tree) = FileTree::mount(&mut storage, blocks) else {
            return Self([None; 2]);
        };
        for entry in tree.walk("").unwrap_or_default() {
            if !entry.is_folder {
                let _damaged = tree.read(&entry.path);
            }
        }
        assert!(tree.changed(0).is_ok_and(|changed| changed.is_empty()));
        Self([SlotId::Ota0, SlotId::Ota1].map(|slot| tree.digest(slot).ok()))
    }

    fn digest(&self, slot: SlotId) -> Option<Digest> {
        self.0[slot.ota()? as usize]
    }
}

/// Whatever damage, every call returns, soon; a file system that takes an update gives it back.
pub fn littlefs(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut blocks = Blocks {
        cells: WHOLE[usize::from(flags & 1)].clone(),
        left: MAX_OPERATIONS,
    };
    damage(&mut blocks.cells, &mut input);
    if flags & 2 != 0 {
        blocks.cells.chunks_mut(SECTOR).for_each(mend);
    }
    let seen = Seen::in_flash(&blocks.cells);
    let mut storage = Box::new(Storage::new());
    let geometry = Geometry {
        block_count: BLOCKS,
    };
    if let Ok(fs) = FileSystem::mount(&mut storage, &mut blocks, geometry) {
        let mut files = UpdaterFiles::new(Some(fs), AtOnce);
        for slot in [SlotId::Ota0, SlotId::Ota1] {
            let found = block_on(emit(&mut files, slot));
            if let (Ok(tar), Some(digest)) = (found, seen.digest(slot)) {
                assert_eq!(digest, Digest::of(&tar), "host and device see two things");
            }
        }
        let _damaged = block_on(files.free_blocks());
        let _damaged = block_on(update(&mut files, SlotId::Ota1));
        let _damaged = block_on(files.close());
        let _damaged = block_on(emit(&mut files, SlotId::Ota1));
    }
    assert!(blocks.left > 0, "it takes for ever");
}

fn damage(cells: &mut [u8], input: &mut Input<'_>) {
    while !input.is_empty() {
        let kind = input.byte();
        let block = usize::from(input.byte()) % BLOCKS as usize * SECTOR;
        let at = block + usize::from(input.u16()) % SECTOR;
        match kind % 5 {
            0 => cells[at] ^= input.byte(),
            1 => {
                let len = usize::from(input.byte()) + 1;
                let end = (at + len).min(SIZE);
                cells[at..end].fill(if kind & 0x80 == 0 { 0xFF } else { 0 });
            }
            2 => {
                let from = usize::from(input.byte()) % BLOCKS as usize * SECTOR;
                cells.copy_within(from..from + SECTOR, block);
            }
            3 => {
                let len = usize::from(input.byte()) % 64;
                let bytes = input.take(len);
                let end = (at + bytes.len()).min(SIZE);
                cells[at..end].copy_from_slice(&bytes[..end - at]);
            }
            _ => {
                // A write or an erase that was cut: part of a block as it was before.
                cells[at..block + SECTOR].fill(0xFF);
            }
        }
    }
}

/// Gives the commits of a metadata block the checksums that they need to count (littlefs `SPEC.md`,
/// "Metadata tags"): damage that happened before they were written.
fn mend(block: &mut [u8]) {
    const CHECKSUM: u32 = 0x500;
    let crc = |state: u32, bytes: &[u8]| !airlift_wire::crc::crc32(!state, bytes);
    let (mut at, mut before, mut sum) = (4, u32::MAX, crc(u32::MAX, &block[..4]));
    while let Some(word) = block.get(at..at + 4).and_then(|word| word.first_chunk()) {
        let tag = u32::from_be_bytes(*word) ^ before;
        let (kind, len) = (tag >> 20, (tag & 0x3FF) as usize);
        let end = at + 4 + if len == 0x3FF { 0 } else { len };
        if tag >> 31 != 0 || end > block.len() {
            return;
        }
        before = tag;
        if kind & 0x780 == CHECKSUM && end >= at + 8 {
            sum = crc(sum, &block[at..at + 4]);
            block[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
            before ^= (kind & 1) << 31;
            sum = u32::MAX;
        } else {
            sum = crc(sum, &block[at..end]);
        }
        at = end;
    }
}
