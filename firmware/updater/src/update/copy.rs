//! Parts that a release does not carry: copied from the running slot.

use super::app::write_sector;
use super::read_files;
use crate::emit::Cursor;
use crate::event::{Observer, go_on};
use crate::layout::FLASH;
use crate::path::Path;
use crate::platform::{Files, FilesError, Flash};
use crate::store::reads_back;
use crate::unpack::Unpacker;
use crate::{Buffers, Failure};
use airlift_wire::limits::CHUNK_SIZE;
use airlift_wire::tar::Kind;
use airlift_wire::{Digest, ErrorCode};

/// Copies `size` bytes of app from one partition to another; sectors that are equal stay, unless a
/// power cut may have left bits in them that read right only now.
pub(super) async fn app<F: Flash>(
    flash: &mut F,
    from: u32,
    to: u32,
    size: u32,
    resumed: bool,
    buffers: &mut Buffers,
    observer: &impl Observer,
) -> Result<(), Failure> {
    let mut at = 0;
    while at < size {
        go_on(observer)?;
        let n = (size - at).min(CHUNK_SIZE as u32) as usize;
        let data = &mut buffers.chunks[0][..n];
        flash.read(from + at, data).await.map_err(|_| FLASH)?;
        if resumed || !reads_back(flash, to + at, data).await? {
            write_sector(flash, to + at, data).await?;
        }
        at += n as u32;
    }
    Ok(())
}

/// Copies one slot's folder to another through the canonical tar; returns its digest, which must be
/// `named` if the release names one: what runs may have changed its folder since the device started.
/// A folder that is equal stays.
pub(super) async fn files<S: Files>(
    files: &mut S,
    from: &Path,
    to: &Path,
    named: Option<Digest>,
    buffers: &mut Buffers,
    observer: &impl Observer,
) -> Result<Digest, Failure> {
    let wanted = read_files(files, *from, buffers).await?;
    if named.is_some_and(|named| named != wanted) {
        let message = "the files that the release needs were changed on the device";
        return Err(Failure::new(ErrorCode::WrongBase, message));
    }
    if read_files(files, *to, buffers)
        .await
        .is_ok_and(|there| there == wanted)
    {
        return Ok(wanted);
    }
    let mut cursor = Cursor::new(*to);
    let mut unpacker = Unpacker::resume(files, *to, &cursor).await?;
    cursor = Cursor::new(*from);
    while !cursor.is_done() {
        go_on(observer)?;
        let n = cursor.fill(files, &mut buffers.chunks[0]).await?;
        unpacker.feed(files, &buffers.chunks[0][..n]).await?;
    }
    unpacker.finish()?;
    Ok(wanted)
}

/// Largest file that littlefs may keep in the metadata of its folder: an eighth of a block.
const MAX_INLINE: u32 = 512;

/// File-system blocks that are free for certain once an entry is removed.
pub(super) fn blocks_freed(_path: &str, kind: Kind, size: u32) -> u32 {
    match kind {
        Kind::Folder => 2,
        Kind::File if size <= MAX_INLINE => 0,
        Kind::File => size.div_ceil(CHUNK_SIZE as u32),
    }
}

/// Blocks of everything in a folder, each entry as `count` counts it.
pub(super) async fn blocks_of<S: Files>(
    files: &mut S,
    root: Path,
    count: fn(&str, Kind, u32) -> u32,
) -> Result<u32, FilesError> {
    let mut blocks = 0;
    count_blocks(files, root, count, &mut blocks).await?;
    Ok(blocks)
}

/// The same, added to `blocks`: after an error, they are those of what comes before it.
pub(super) async fn count_blocks<S: Files>(
    files: &mut S,
    root: Path,
    count: fn(&str, Kind, u32) -> u32,
    blocks: &mut u32,
) -> Result<(), FilesError> {
    let mut folder = root;
    let mut after = Path::EMPTY;
    loop {
        match files
            .next_entry(folder.as_str(), after.as_str().as_bytes())
            .await?
        {
            Some(entry) if entry.is_folder => {
                *blocks = blocks.saturating_add(count(entry.name(), Kind::Folder, 0));
                folder.push(entry.name()).ok_or(FilesError::BadName)?;
                after.truncate(0);
            }
            Some(entry) => {
                let size = count(entry.name(), Kind::File, entry.size);
                *blocks = blocks.saturating_add(size);
                after = Path::new(entry.name()).ok_or(FilesError::BadName)?;
            }
            None if folder == root => return Ok(()),
            None => {
                after = folder.pop();
                after.push_str("/").ok_or(FilesError::BadName)?;
            }
        }
    }
}
