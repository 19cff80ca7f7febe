//! Chunks from the network into a sink, the next one received while the last one is stored.

use super::app::Sectors;
use super::files::{Folder, Header};
use crate::event::{ChunkState, Event, Observer, PartName, go_on};
use crate::fetch::{FetchError, Fetcher, Resource};
use crate::platform::{Clock, Files, Flash, Net};
use crate::{Buffers, Failure};
use airlift_wire::limits::{CHUNK_SIZE, PAGE_CHUNKS, PAGE_SIZE};
use airlift_wire::manifest::Part;
use airlift_wire::{Digest, ErrorCode, index};
use core::ops::Range;
use embassy_futures::join::join;

/// Chunks that one request asks for at most: 256 KiB. What arrived of a broken request counts.
pub(super) const REQUEST_CHUNKS: u32 = 64;
/// How often one chunk or page may arrive with a wrong hash.
const MAX_TRIES: u32 = 8;

const WRONG_HASH: Failure = Failure::new(
    ErrorCode::BadChunk,
    "a chunk arrived with a wrong hash eight times in a row",
);

/// Where checked chunks go. Not a trait: each implementation would bring a copy of all that fetches.
pub(super) enum Sink<'s, F, S> {
    /// The sectors of an app partition.
    Sectors(Sectors<'s, F>),
    /// The folder of a slot.
    Folder(Folder<'s, S>),
    /// Nowhere: a header is looked for.
    Header(Header<'s>),
}

impl<F: Flash, S: Files> Sink<'_, F, S> {
    /// Stores chunk `n`. Its bytes have the hash that the signed index names.
    async fn store(&mut self, n: u32, data: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Sectors(sectors) => sectors.store(n, data).await,
            Self::Folder(folder) => folder.store(n, data).await,
            Self::Header(header) => {
                header.look(data);
                Ok(())
            }
        }
    }

    /// Whether chunks are read back as they are stored.
    fn reads_back(&self) -> bool {
        matches!(self, Self::Sectors(_))
    }
}

/// Fetches index page `page` into the page buffer and checks it against the manifest. Returns its
/// length.
pub(super) async fn fetch_page<N: Net, C: Clock>(
    part: &Part<'_>,
    page: u32,
    fetcher: &mut Fetcher<'_, N, C>,
    out: &mut [u8; PAGE_SIZE],
    observer: &impl Observer,
) -> Result<usize, Failure> {
    let bad = Failure::new(
        ErrorCode::BadManifest,
        "the manifest names too few index pages",
    );
    let expected = part.pages.get(page as usize).ok_or(bad)?;
    let range = index::page_range(part.size, page);
    let out = out.get_mut(..range.len()).ok_or(bad)?;
    let mut tries = 0;
    fetcher.start_waiting();
    loop {
        go_on(observer)?;
        let arrived = match fetcher
            .get_range(Resource::Index(part.digest), range.clone())
            .await
        {
            Ok(()) => fetcher.read_exact(out).await,
            Err(error) => Err(error),
        };
        match arrived {
            Ok(()) if Digest::of(out) == expected => {
                fetcher.progress();
                return Ok(out.len());
            }
            Ok(()) => {
                tries += 1;
                if tries >= MAX_TRIES {
                    return Err(WRONG_HASH);
                }
                fetcher.close();
            }
            Err(error) => fetcher.back_off(error).await?,
        }
    }
}

/// Fetches `chunks`, which lie in page `page`, and stores each. The page's hashes are in the page
/// buffer.
pub(super) async fn fetch_chunks<N: Net, C: Clock, O: Observer, F: Flash, S: Files>(
    part: &Part<'_>,
    name: PartName,
    chunks: Range<u32>,
    fetcher: &mut Fetcher<'_, N, C>,
    buffers: &mut Buffers,
    observer: &mut O,
    sink: &mut Sink<'_, F, S>,
) -> Result<(), Failure> {
    let mut next = chunks.start;
    let mut tries = 0;
    fetcher.start_waiting();
    while next < chunks.end {
        go_on(observer)?;
        let end = chunks.end.min(next + REQUEST_CHUNKS);
        let (n, count) = (next, end - next);
        observer
            .event(Event::Chunk {
                part: name,
                n,
                count,
                state: ChunkState::Fetching,
            })
            .await;
        let bytes =
            index::chunk_range(part.size, next).start..index::chunk_range(part.size, end - 1).end;
        let before = next;
        let mut request = Request {
            part,
            name,
            page: &buffers.page,
            tries,
        };
        let ended = match fetcher.get_range(Resource::Blob(part.digest), bytes).await {
            Ok(()) => {
                request
                    .receive(&mut next, end, fetcher, &mut buffers.chunks, observer, sink)
                    .await
            }
            Err(error) => Err(Stop::Fetch(error)),
        };
        if next > before {
            tries = 0;
        }
        match ended {
            Ok(()) => {}
            Err(Stop::Fetch(error)) => fetcher.back_off(error).await?,
            Err(Stop::WrongHash) => {
                tries += 1;
                if tries >= MAX_TRIES {
                    return Err(WRONG_HASH);
                }
                fetcher.close();
            }
            Err(Stop::Failure(failure)) => return Err(failure),
        }
    }
    Ok(())
}

enum Stop {
    Fetch(FetchError),
    WrongHash,
    Failure(Failure),
}

struct Request<'r> {
    part: &'r Part<'r>,
    name: PartName,
    page: &'r [u8; PAGE_SIZE],
    tries: u32,
}

impl Request<'_> {
    /// Receives chunks `*next..end` of an answer; `*next` is left at the first that is not stored.
    async fn receive<N: Net, C: Clock, O: Observer, F: Flash, S: Files>(
        &mut self,
        next: &mut u32,
        end: u32,
        fetcher: &mut Fetcher<'_, N, C>,
        buffers: &mut [[u8; CHUNK_SIZE]; 2],
        observer: &mut O,
        sink: &mut Sink<'_, F, S>,
    ) -> Result<(), Stop> {
        let [spare, held] = buffers;
        let (mut spare, mut held) = (spare, held);
        let mut waiting: Option<(u32, usize)> = None;
        let mut incoming = *next;
        loop {
            let wanted = if incoming < end && !observer.is_cancelled() {
                index::chunk_range(self.part.size, incoming).len()
            } else {
                0
            };
            if wanted == 0 && waiting.is_none() {
                break;
            }
            // One future receives, the other stores: neither waits for the other's device.
            let (received, stored) = join(
                async {
                    if wanted == 0 {
                        Ok(())
                    } else {
                        fetcher.read_exact(&mut spare[..wanted]).await
                    }
                },
                async {
                    match waiting {
                        Some((n, len)) => sink.store(n, &held[..len]).await,
                        None => Ok(()),
                    }
                },
            )
            .await;
            stored.map_err(Stop::Failure)?;
            if let Some((n, _)) = waiting.take() {
                *next = n + 1;
                let state = if sink.reads_back() {
                    ChunkState::ReadBack
                } else {
                    ChunkState::Written
                };
                observer
                    .event(Event::Chunk {
                        part: self.name,
                        n,
                        count: 1,
                        state,
                    })
                    .await;
                self.tries = 0;
            }
            received.map_err(Stop::Fetch)?;
            if wanted == 0 {
                continue;
            }
            let data = &spare[..wanted];
            let computed = Digest::of(data);
            let expected = index::hash_in(self.page, incoming as usize % PAGE_CHUNKS);
            let expected = expected.ok_or(Stop::WrongHash)?;
            let (part, n) = (self.name, incoming);
            if computed != expected {
                let attempt = self.tries + 1;
                observer
                    .event(Event::Refused {
                        part,
                        n,
                        attempt,
                        expected,
                        computed,
                    })
                    .await;
                return Err(Stop::WrongHash);
            }
            fetcher.progress();
            observer
                .event(Event::Chunk {
                    part,
                    n,
                    count: 1,
                    state: ChunkState::Checked,
                })
                .await;
            waiting = Some((n, wanted));
            core::mem::swap(&mut spare, &mut held);
            incoming += 1;
        }
        if observer.is_cancelled() {
            Err(Stop::Failure(Failure::CANCELLED))
        } else {
            Ok(())
        }
    }
}
