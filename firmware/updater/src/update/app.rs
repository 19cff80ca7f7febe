//! The app part: chunk by chunk into its partition, and what is right there is kept.

use super::transfer::{Sink, fetch_chunks, fetch_page};
use crate::event::{ChunkState, Event, Observer, PartName, go_on};
use crate::fetch::Fetcher;
use crate::layout::FLASH;
use crate::platform::{Clock, Files, Flash, Net};
use crate::store::reads_back;
use crate::{Buffers, Failure};
use airlift_wire::limits::{CHUNK_SIZE, PAGE_CHUNKS};
use airlift_wire::manifest::Part;
use airlift_wire::{Digest, ErrorCode, image, index};

/// Fetches what the partition at `offset` does not hold.
///
/// On a resume the last kept sector before a gap is written again: power may have gone while it
/// was written, and bits that read right once may not do so for long.
#[allow(clippy::too_many_arguments)]
pub(super) async fn fetch<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
    part: &Part<'_>,
    chip: u16,
    offset: u32,
    resumed: bool,
    flash: &mut F,
    fetcher: &mut Fetcher<'_, N, C>,
    buffers: &mut Buffers,
    observer: &mut O,
) -> Result<(), Failure> {
    let chunks = part.chunks();
    // The last chunk of the page before, when it was kept and what follows it is not known yet.
    let mut edge: Option<(u32, Digest)> = None;
    for page in 0..part.pages.len() as u32 {
        fetch_page(part, page, fetcher, &mut buffers.page, observer).await?;
        let first = page * PAGE_CHUNKS as u32;
        let end = chunks.min(first + PAGE_CHUNKS as u32);
        let mut keep = scan(part, first..end, offset, flash, buffers, observer).await?;
        if resumed {
            if let Some((n, hash)) = edge.take()
                && !keep[0]
            {
                rewrite::<F, S, N, C, O>(
                    part, n, hash, chip, offset, flash, fetcher, buffers, observer,
                )
                .await?;
            }
            let last = (end - 1 - first) as usize;
            if keep[last] && end < chunks {
                edge = index::hash_in(&buffers.page, last).map(|h| (end - 1, h));
            }
            // Keep a chunk only if the one after it is kept as well.
            for n in 0..last {
                keep[n] &= keep[n + 1];
            }
            keep[last] &= end < chunks;
        }
        let mut sink = Sink::<F, S>::Sectors(Sectors {
            flash,
            offset,
            chip,
        });
        let mut n = first;
        while n < end {
            let kept = keep[(n - first) as usize];
            let other = |m: &u32| keep[(*m - first) as usize] != kept;
            let stop = (n..end).find(other).unwrap_or(end);
            if kept {
                let state = ChunkState::Kept;
                let event = Event::Chunk {
                    part: PartName::App,
                    n,
                    count: stop - n,
                    state,
                };
                observer.event(event).await;
            } else {
                let name = PartName::App;
                fetch_chunks(part, name, n..stop, fetcher, buffers, observer, &mut sink).await?;
            }
            n = stop;
        }
    }
    Ok(())
}

/// Which of `chunks` (at most 128) already have the right hash in flash.
async fn scan<F: Flash>(
    part: &Part<'_>,
    chunks: core::ops::Range<u32>,
    offset: u32,
    flash: &mut F,
    buffers: &mut Buffers,
    observer: &impl Observer,
) -> Result<[bool; PAGE_CHUNKS], Failure> {
    let mut keep = [false; PAGE_CHUNKS];
    for (place, n) in chunks.enumerate() {
        go_on(observer)?;
        let range = index::chunk_range(part.size, n);
        let buf = &mut buffers.chunks[0][..range.len()];
        flash
            .read(offset + range.start, buf)
            .await
            .map_err(|_| FLASH)?;
        if index::hash_in(&buffers.page, place) == Some(Digest::of(buf)) {
            keep[place] = true;
        }
    }
    Ok(keep)
}

/// Fetches and writes again a chunk of the page before.
#[allow(clippy::too_many_arguments)]
async fn rewrite<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
    part: &Part<'_>,
    n: u32,
    hash: Digest,
    chip: u16,
    offset: u32,
    flash: &mut F,
    fetcher: &mut Fetcher<'_, N, C>,
    buffers: &mut Buffers,
    observer: &mut O,
) -> Result<(), Failure> {
    let place = n as usize % PAGE_CHUNKS;
    // The page buffer holds the next page; the hash of this chunk takes its place for the moment.
    let start = place * Digest::LEN;
    let mut saved = [0; Digest::LEN];
    saved.copy_from_slice(&buffers.page[start..start + Digest::LEN]);
    buffers.page[start..start + Digest::LEN].copy_from_slice(&hash.0);
    let mut sink = Sink::<F, S>::Sectors(Sectors {
        flash,
        offset,
        chip,
    });
    let name = PartName::App;
    let done = fetch_chunks(part, name, n..n + 1, fetcher, buffers, observer, &mut sink).await;
    buffers.page[start..start + Digest::LEN].copy_from_slice(&saved);
    done
}

/// Stores chunks in the sectors of an app partition.
pub(super) struct Sectors<'f, F> {
    pub flash: &'f mut F,
    pub offset: u32,
    pub chip: u16,
}

impl<F: Flash> Sectors<'_, F> {
    pub(super) async fn store(&mut self, n: u32, data: &[u8]) -> Result<(), Failure> {
        if n == 0 {
            // A signed image for another chip would only be found after a reset otherwise.
            let header = image::Header::parse(data);
            if !header.is_ok_and(|h| h.chip_id == self.chip) {
                let message = "the app does not start with an image header for this chip";
                return Err(Failure::new(ErrorCode::BadImage, message));
            }
        }
        write_sector(self.flash, self.offset + n * CHUNK_SIZE as u32, data).await
    }
}

/// Erases a sector, writes up to 4096 bytes and reads them back; a second try when they differ.
pub(super) async fn write_sector<F: Flash>(
    flash: &mut F,
    offset: u32,
    data: &[u8],
) -> Result<(), Failure> {
    for _ in 0..2 {
        flash.erase(offset).await.map_err(|_| FLASH)?;
        let whole = data.len() & !3;
        flash
            .write(offset, &data[..whole])
            .await
            .map_err(|_| FLASH)?;
        if whole < data.len() {
            let mut word = [0xFF; 4];
            word[..data.len() - whole].copy_from_slice(&data[whole..]);
            flash
                .write(offset + whole as u32, &word)
                .await
                .map_err(|_| FLASH)?;
        }
        if reads_back(flash, offset, data).await? {
            return Ok(());
        }
    }
    Err(Failure::new(
        ErrorCode::FlashFault,
        "a sector does not keep what is written to it",
    ))
}
