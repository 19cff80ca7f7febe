//! A carried part: its bytes, its digest and its index.

use crate::Error;
use airlift_wire::Digest;
use airlift_wire::index::chunk_count;
use airlift_wire::limits::{CHUNK_SIZE, MAX_PART_SIZE, PAGE_SIZE};
use bytes::Bytes;
use serde::Serialize;
use std::fmt;

/// Which of the two parts of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// An ESP app image.
    App,
    /// A canonical tar.
    Files,
}

impl PartKind {
    /// Both, in their order in a release file.
    pub const ALL: [Self; 2] = [Self::App, Self::Files];

    /// `app` or `files`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Files => "files",
        }
    }

    /// The part's name in a release file.
    pub const fn member(self) -> &'static str {
        match self {
            Self::App => "app.bin",
            Self::Files => "files.tar",
        }
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A carried part with its index; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    bytes: Bytes,
    digest: Digest,
    index: Bytes,
    page_hashes: Bytes,
    blocks: Option<u32>,
}

impl Part {
    /// Hashes `bytes`. Fails with `too_big` over 16 MiB, and when there is no byte at all.
    pub(crate) fn new(kind: PartKind, bytes: Bytes, blocks: Option<u32>) -> Result<Self, Error> {
        check_size(kind, bytes.len() as u64)?;
        let index: Vec<u8> = bytes
            .chunks(CHUNK_SIZE)
            .flat_map(|chunk| Digest::of(chunk).0)
            .collect();
        let page_hashes: Vec<u8> = index
            .chunks(PAGE_SIZE)
            .flat_map(|page| Digest::of(page).0)
            .collect();
        Ok(Self {
            digest: Digest::of(&bytes),
            index: index.into(),
            page_hashes: page_hashes.into(),
            bytes,
            blocks,
        })
    }

    /// The part itself.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Size in bytes, 1 to 16 MiB.
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// SHA-256 of the whole part.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The index pages, concatenated: 32 bytes a chunk.
    pub fn index(&self) -> &Bytes {
        &self.index
    }

    /// SHA-256 of each index page, concatenated.
    pub fn page_hashes(&self) -> &Bytes {
        &self.page_hashes
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        chunk_count(self.size())
    }

    /// Files only: 4 KiB blocks that it needs unpacked, as the manifest says.
    pub fn blocks(&self) -> Option<u32> {
        self.blocks
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("size", &self.size())
            .field("digest", &self.digest)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_size(kind: PartKind, size: u64) -> Result<(), Error> {
    if size == 0 {
        return Err(Error::Usage(format!("the {kind} part is empty")));
    }
    if size > u64::from(MAX_PART_SIZE) {
        let what = format!("the {kind} part");
        return Err(Error::too_many_bytes(what, size, MAX_PART_SIZE.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_wire::index::{index_len, page_count};
    use airlift_wire::limits::PAGE_CHUNKS;

    #[test]
    fn the_index_has_a_hash_a_chunk_and_the_page_list_one_a_page() {
        for size in [1, 4096, 4097, PAGE_CHUNKS * CHUNK_SIZE + 1] {
            let bytes = Bytes::from(vec![7; size]);
            let part = Part::new(PartKind::App, bytes.clone(), None).unwrap();
            assert_eq!(part.index().len() as u32, index_len(size as u32));
            assert_eq!(part.page_hashes().len(), 32 * page_count(size as u32));
            let last = bytes.chunks(CHUNK_SIZE).next_back().unwrap();
            assert_eq!(part.index()[part.index().len() - 32..], Digest::of(last).0);
        }
    }

    #[test]
    fn an_empty_or_too_large_part_is_refused() {
        let refused = |len| Part::new(PartKind::Files, Bytes::from(vec![0; len]), None).err();
        assert_eq!(refused(0).map(|e| e.code().as_str()), Some("usage"));
        let over = refused(MAX_PART_SIZE as usize + 1).map(|e| e.code().as_str());
        assert_eq!(over, Some("too_big"));
    }
}
