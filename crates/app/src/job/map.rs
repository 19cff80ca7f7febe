//! The chunk map: what is known of every chunk of a job.

use std::ops::Range;

use airlift_wire::limits::CHUNK_SIZE;

use crate::dto::{ChunkRun, ChunkState, Part, PartProgress, RefusedChunk, Release};

/// How many refused chunks a job remembers.
pub const REFUSED_KEPT: usize = 50;

/// Every chunk of a release's carried parts: a cell each, app then files.
#[derive(Clone, Debug)]
pub struct ChunkMap {
    parts: Vec<PartMap>,
    cells: Vec<Cell>,
    refused: Vec<RefusedChunk>,
    /// Cells that changed since the last [`ChunkMap::take_changes`].
    dirty: Vec<Range<u32>>,
    /// Refused since the last [`ChunkMap::take_changes`].
    newly_refused: Vec<RefusedChunk>,
}

#[derive(Clone, Debug)]
struct PartMap {
    name: &'static str,
    first: u32,
    size: u32,
    chunks: u32,
    refused: u32,
    expected: String,
    computed: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    state: ChunkState,
    origin: Origin,
}

/// Where the bytes of a chunk came from. Outlives the states: a chunk that was kept and is then
/// read back still counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Unknown,
    Kept,
    Fetched,
}

impl ChunkMap {
    /// The map of a release of which nothing is there yet.
    pub fn new(release: &Release) -> Self {
        let mut parts = Vec::new();
        let mut first = 0;
        for (name, part) in [("app", &release.app), ("files", &release.files)] {
            if let Part::Carried {
                size,
                chunks,
                sha256,
            } = part
            {
                parts.push(PartMap {
                    name,
                    first,
                    size: *size,
                    chunks: *chunks,
                    refused: 0,
                    expected: sha256.clone(),
                    computed: None,
                });
                first += chunks;
            }
        }
        let empty = Cell {
            state: ChunkState::Empty,
            origin: Origin::Unknown,
        };
        Self {
            parts,
            cells: vec![empty; first as usize],
            refused: Vec::new(),
            dirty: Vec::new(),
            newly_refused: Vec::new(),
        }
    }

    /// Sets chunks `n..n + count` of a part. Returns how many bytes became known to be fetched.
    /// Chunks that the release does not have are ignored: the device counts wrongly, and the
    /// digests will tell.
    pub fn set(&mut self, part: &str, n: u32, count: u32, state: ChunkState) -> u32 {
        let Some(part) = self.parts.iter().find(|p| p.name == part) else {
            return 0;
        };
        let end = n.saturating_add(count).min(part.chunks);
        let mut fetched = 0;
        for chunk in n.min(end)..end {
            let index = part.first + chunk;
            let Some(cell) = self.cells.get_mut(index as usize) else {
                continue;
            };
            let before = *cell;
            cell.state = state;
            match state {
                ChunkState::Kept => cell.origin = Origin::Kept,
                ChunkState::Checked => cell.origin = Origin::Fetched,
                // The connection was away while it was checked.
                ChunkState::Written | ChunkState::ReadBack if cell.origin == Origin::Unknown => {
                    cell.origin = Origin::Fetched;
                }
                _ => {}
            }
            if cell.origin == Origin::Fetched && before.origin != Origin::Fetched {
                fetched += chunk_len(part.size, chunk);
            }
            if *cell != before {
                touch(&mut self.dirty, index);
            }
        }
        fetched
    }

    /// A chunk arrived with a wrong hash.
    pub fn refuse(&mut self, chunk: RefusedChunk) {
        let Some(part) = self.parts.iter_mut().find(|p| p.name == chunk.part) else {
            return;
        };
        if chunk.n >= part.chunks {
            return;
        }
        part.refused += 1;
        self.set(&chunk.part, chunk.n, 1, ChunkState::Refused);
        for list in [&mut self.refused, &mut self.newly_refused] {
            if list.len() == REFUSED_KEPT {
                list.remove(0);
            }
            list.push(chunk.clone());
        }
    }

    /// What the device computed from its flash over a whole part. If it is what was signed, every
    /// written chunk has been read back: files are read again as a whole and not chunk by chunk.
    pub fn computed(&mut self, part: &str, digest: &str) {
        let Some(part) = self.parts.iter_mut().find(|p| p.name == part) else {
            return;
        };
        part.computed = Some(digest.to_owned());
        if digest != part.expected {
            return;
        }
        for index in part.first..part.first + part.chunks {
            if let Some(cell) = self.cells.get_mut(index as usize)
                && cell.state == ChunkState::Written
            {
                cell.state = ChunkState::ReadBack;
                touch(&mut self.dirty, index);
            }
        }
    }

    /// How far each part is.
    pub fn progress(&self) -> Vec<PartProgress> {
        self.parts
            .iter()
            .map(|part| {
                let cells = self.cells_of(part);
                let count = |origin| cells.iter().filter(|c| c.origin == origin).count() as u32;
                PartProgress {
                    part: part.name.to_owned(),
                    size: part.size,
                    chunks: part.chunks,
                    kept: count(Origin::Kept),
                    fetched: count(Origin::Fetched),
                    refused: part.refused,
                    expected: part.expected.clone(),
                    computed: part.computed.clone(),
                }
            })
            .collect()
    }

    /// Bytes of chunks that are neither kept nor fetched yet.
    pub fn bytes_left(&self) -> u64 {
        let left = |part: &PartMap| -> u64 {
            let cells = self.cells_of(part).iter().zip(0..);
            cells
                .filter(|(cell, _)| cell.origin == Origin::Unknown)
                .map(|(_, n)| u64::from(chunk_len(part.size, n)))
                .sum()
        };
        self.parts.iter().map(left).sum()
    }

    /// A digit a chunk.
    pub fn digits(&self) -> String {
        self.cells
            .iter()
            .map(|c| char::from(b'0' + c.state as u8))
            .collect()
    }

    /// The last refused chunks, newest last.
    pub fn refused(&self) -> &[RefusedChunk] {
        &self.refused
    }

    /// What changed since the last call, as runs of one state, in order.
    pub fn take_changes(&mut self) -> (Vec<ChunkRun>, Vec<RefusedChunk>) {
        let mut ranges = std::mem::take(&mut self.dirty);
        ranges.sort_by_key(|r| r.start);
        let mut runs: Vec<ChunkRun> = Vec::new();
        let mut next = 0;
        for index in ranges.into_iter().flatten() {
            if index < next {
                continue;
            }
            next = index + 1;
            let Some(cell) = self.cells.get(index as usize) else {
                continue;
            };
            match runs.last_mut() {
                Some(run) if run.first + run.count == index && run.state == cell.state => {
                    run.count += 1;
                }
                _ => runs.push(ChunkRun {
                    first: index,
                    count: 1,
                    state: cell.state,
                }),
            }
        }
        (runs, std::mem::take(&mut self.newly_refused))
    }

    fn cells_of(&self, part: &PartMap) -> &[Cell] {
        let start = part.first as usize;
        self.cells
            .get(start..start + part.chunks as usize)
            .unwrap_or_default()
    }
}

fn chunk_len(size: u32, n: u32) -> u32 {
    let chunk = CHUNK_SIZE as u32;
    size.saturating_sub(n.saturating_mul(chunk)).min(chunk)
}

/// Adds an index to a list of ranges; neighbours that come in order share one.
fn touch(dirty: &mut Vec<Range<u32>>, index: u32) {
    match dirty.last_mut() {
        Some(range) if range.contains(&index) => {}
        Some(range) if range.end == index => range.end += 1,
        _ => dirty.push(index..index + 1),
    }
}

/// The state that a progress line names.
pub(super) fn state(name: &str) -> Option<ChunkState> {
    Some(match name {
        "kept" => ChunkState::Kept,
        "fetching" => ChunkState::Fetching,
        "checked" => ChunkState::Checked,
        "written" => ChunkState::Written,
        "read_back" => ChunkState::ReadBack,
        "refused" => ChunkState::Refused,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::release;

    /// 3 chunks of app (the last of 100 bytes), 2 of files.
    fn map() -> ChunkMap {
        ChunkMap::new(&release(8292, 8192))
    }

    #[test]
    fn files_follow_the_app_in_one_map() {
        let mut map = map();
        map.set("files", 0, 2, ChunkState::Written);
        assert_eq!(map.digits(), "00044");
    }

    #[test]
    fn a_kept_chunk_that_is_read_back_still_counts_as_kept() {
        let mut map = map();
        map.set("app", 0, 2, ChunkState::Kept);
        map.set("app", 2, 1, ChunkState::Checked);
        map.set("app", 0, 3, ChunkState::ReadBack);
        let app = &map.progress()[0];
        assert_eq!((app.kept, app.fetched), (2, 1));
    }

    #[test]
    fn the_right_digest_of_a_part_says_that_its_written_chunks_were_read_back() {
        let mut map = map();
        map.set("files", 0, 1, ChunkState::Kept);
        map.set("files", 1, 1, ChunkState::Written);
        map.computed("files", "something else");
        assert_eq!(map.digits(), "00014");
        let signed = map.progress()[1].expected.clone();
        map.computed("files", &signed);
        assert_eq!(map.digits(), "00015", "kept stays kept");
    }

    #[test]
    fn a_kept_chunk_that_is_fetched_after_all_counts_once() {
        let mut map = map();
        assert_eq!(map.set("app", 2, 1, ChunkState::Kept), 0);
        assert_eq!(
            map.set("app", 2, 1, ChunkState::Checked),
            100,
            "the last chunk is short"
        );
        assert_eq!(map.set("app", 2, 1, ChunkState::Written), 0);
        let app = &map.progress()[0];
        assert_eq!((app.kept, app.fetched), (0, 1));
    }

    #[test]
    fn chunks_that_the_release_does_not_have_are_ignored() {
        let mut map = map();
        assert_eq!(map.set("app", 2, u32::MAX, ChunkState::Checked), 100);
        assert_eq!(map.set("app", u32::MAX, 1, ChunkState::Checked), 0);
        assert_eq!(map.set("bootloader", 0, 1, ChunkState::Checked), 0);
        assert_eq!(map.digits(), "00300");
    }

    #[test]
    fn a_refused_chunk_is_counted_and_its_next_state_replaces_it() {
        let mut map = map();
        let chunk = RefusedChunk {
            part: "files".into(),
            n: 1,
            attempt: 1,
            expected: "aa".into(),
            computed: "bb".into(),
        };
        map.refuse(chunk.clone());
        assert_eq!(map.digits(), "00006");
        map.set("files", 1, 1, ChunkState::Checked);
        assert_eq!(map.digits(), "00003");
        assert_eq!(map.progress()[1].refused, 1);
        assert_eq!(map.take_changes().1, [chunk]);
        assert_eq!(map.take_changes(), (vec![], vec![]));
    }

    #[test]
    fn changes_are_runs_of_one_state_in_order() {
        let mut map = map();
        map.set("files", 0, 1, ChunkState::Fetching);
        map.set("app", 0, 2, ChunkState::Checked);
        map.set("app", 1, 1, ChunkState::Written);
        let runs: Vec<_> = map
            .take_changes()
            .0
            .iter()
            .map(|r| (r.first, r.count))
            .collect();
        assert_eq!(runs, [(0, 1), (1, 1), (3, 1)]);
    }

    #[test]
    fn bytes_left_go_down_to_zero() {
        let mut map = map();
        assert_eq!(map.bytes_left(), 8292 + 8192);
        map.set("app", 0, 3, ChunkState::Kept);
        map.set("files", 0, 2, ChunkState::Checked);
        assert_eq!(map.bytes_left(), 0);
    }
}
