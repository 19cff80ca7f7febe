//! The files part: checked chunk by chunk, unpacked while it streams.

use super::transfer::{Sink, fetch_chunks, fetch_page};
use crate::emit::Cursor;
use crate::event::{ChunkState, Event, Observer, PartName, go_on};
use crate::fetch::Fetcher;
use crate::path::Path;
use crate::platform::{Clock, Files, FilesError, Flash, Net};
use crate::unpack::Unpacker;
use crate::{Buffers, Failure};
use airlift_wire::limits::PAGE_CHUNKS;
use airlift_wire::manifest::Part;
use airlift_wire::tar::{self, BLOCK, Kind};
use airlift_wire::{Digest, index};

/// After how many chunks a long file is made durable: what a power cut can cost.
const SYNC_CHUNKS: u32 = 8;

/// Fetches what the folder `root` does not hold.
///
/// Re-emitting the folder as a canonical tar tells how far it is right: the longest run of chunks
/// from the start is kept, everything after it is removed and fetched. On a resume, the last file may
/// be there in part: its header, which names the whole size, is fetched to tell.
#[allow(clippy::too_many_arguments)]
pub(super) async fn fetch<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
    part: &Part<'_>,
    root: &Path,
    resumed: bool,
    files: &mut S,
    fetcher: &mut Fetcher<'_, N, C>,
    buffers: &mut Buffers,
    observer: &mut O,
) -> Result<(), Failure> {
    let chunks = part.chunks();
    let mut cursor = Some(Cursor::new(*root));
    let mut unpacker = None;
    let mut look = resumed;
    for page in 0..part.pages.len() as u32 {
        fetch_page(part, page, fetcher, &mut buffers.page, observer).await?;
        let mut first = page * PAGE_CHUNKS as u32;
        let end = chunks.min(first + PAGE_CHUNKS as u32);
        if let Some(at) = &mut cursor {
            let mut kept = keep(part, first..end, at, files, buffers, observer).await?;
            let gap = first + kept;
            if gap < end && core::mem::take(&mut look) {
                let found =
                    partial_file::<F, S, N, C, O>(part, gap, at, files, fetcher, buffers, observer)
                        .await?;
                if let Some((path, size)) = found {
                    at.set_partial(path, size);
                    kept += keep(part, gap..end, at, files, buffers, observer).await?;
                }
            }
            if kept > 0 {
                let (part, state) = (PartName::Files, ChunkState::Kept);
                observer
                    .event(Event::Chunk {
                        part,
                        n: first,
                        count: kept,
                        state,
                    })
                    .await;
            }
            first += kept;
        }
        if first < end || end == chunks {
            // The first gap, or the end without one: from here on the folder is rewritten.
            if let Some(at) = &cursor {
                unpacker = Some(Unpacker::resume(files, *root, at).await?);
            }
            cursor = None;
        }
        if let Some(unpacker) = &mut unpacker
            && first < end
        {
            let mut sink = Sink::<F, S>::Folder(Folder { files, unpacker });
            let name = PartName::Files;
            fetch_chunks(
                part,
                name,
                first..end,
                fetcher,
                buffers,
                observer,
                &mut sink,
            )
            .await?;
        }
    }
    match unpacker {
        Some(unpacker) => unpacker.finish(),
        None => Ok(()),
    }
}

/// The last file of the folder and its whole size, if chunk `n` has its header and says that more
/// belongs to it.
async fn partial_file<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
    part: &Part<'_>,
    n: u32,
    cursor: &Cursor,
    files: &mut S,
    fetcher: &mut Fetcher<'_, N, C>,
    buffers: &mut Buffers,
    observer: &mut O,
) -> Result<Option<(Path, u32)>, Failure> {
    // Names that no release can have: there is nothing to keep behind the cursor.
    let Ok(Some((path, there))) = cursor.last_file(files).await else {
        return Ok(None);
    };
    if there == 0 {
        return Ok(None);
    }
    let mut sink = Sink::<F, S>::Header(Header {
        path: cursor.in_tar(&path),
        size: None,
    });
    let chunk = n..n + 1;
    let name = PartName::Files;
    fetch_chunks(part, name, chunk, fetcher, buffers, observer, &mut sink).await?;
    let Sink::Header(header) = sink else {
        return Ok(None);
    };
    let more = header.size.filter(|size| *size > there);
    Ok(more.map(|size| (path, size)))
}

/// Looks for the header of a file. What passes for one inside another file's content does no harm:
/// what is kept has the right hash.
pub(super) struct Header<'p> {
    path: &'p str,
    size: Option<u32>,
}

impl Header<'_> {
    pub(super) fn look(&mut self, data: &[u8]) {
        let (blocks, _) = data.as_chunks::<BLOCK>();
        let entries = blocks.iter().filter_map(|block| tar::parse(block).ok());
        let mut ours = entries.filter(|e| e.kind == Kind::File && e.path == self.path);
        self.size = ours.next().map(|entry| entry.size);
    }
}

/// How many of `chunks`, counted from the first, the folder re-emits with the right hash. The
/// cursor is left after the last of them.
async fn keep<S: Files>(
    part: &Part<'_>,
    chunks: core::ops::Range<u32>,
    cursor: &mut Cursor,
    files: &mut S,
    buffers: &mut Buffers,
    observer: &impl Observer,
) -> Result<u32, Failure> {
    let mut kept = 0;
    for n in chunks {
        go_on(observer)?;
        let len = index::chunk_range(part.size, n).len();
        let mut ahead = *cursor;
        let buf = &mut buffers.chunks[0][..len];
        let right = match ahead.fill(files, buf).await {
            Ok(filled) => filled == len,
            // A name that no release can have, or a partial file, ends what can be kept.
            Err(FilesError::BadName | FilesError::NotFound) => false,
            Err(error) => return Err(error.into()),
        };
        let place = n as usize % PAGE_CHUNKS;
        if !right || index::hash_in(&buffers.page, place) != Some(Digest::of(buf)) {
            break;
        }
        *cursor = ahead;
        kept += 1;
    }
    Ok(kept)
}

pub(super) struct Folder<'f, S> {
    files: &'f mut S,
    unpacker: &'f mut Unpacker,
}

impl<S: Files> Folder<'_, S> {
    pub(super) async fn store(&mut self, n: u32, data: &[u8]) -> Result<(), Failure> {
        self.unpacker.feed(self.files, data).await?;
        if n % SYNC_CHUNKS == SYNC_CHUNKS - 1 {
            self.unpacker.sync(self.files).await?;
        }
        Ok(())
    }
}
