//! Chunk hashes and index pages.
//!
//! A part is cut into chunks of 4096 bytes, the last may be shorter. The SHA-256 of chunk *n*
//! stands at byte `32 * n` of the part's index. The index is cut into pages of 4096 bytes (128
//! hashes, 512 KiB of the part), the last may be shorter; the manifest holds the SHA-256 of each
//! page.

use crate::digest::Digest;
use crate::limits::{CHUNK_SIZE, PAGE_CHUNKS, PAGE_SIZE};
use core::ops::Range;

/// Number of chunks of a part of `size` bytes.
pub const fn chunk_count(size: u32) -> u32 {
    size.div_ceil(CHUNK_SIZE as u32)
}

/// Number of index pages of a part of `size` bytes.
pub const fn page_count(size: u32) -> usize {
    (chunk_count(size) as usize).div_ceil(PAGE_CHUNKS)
}

/// Bytes of the whole index of a part of `size` bytes.
pub const fn index_len(size: u32) -> u32 {
    chunk_count(size) * Digest::LEN as u32
}

/// The bytes of the part that chunk `n` covers; empty when there is no such chunk.
pub fn chunk_range(size: u32, n: u32) -> Range<u32> {
    let start = n.saturating_mul(CHUNK_SIZE as u32).min(size);
    start..start.saturating_add(CHUNK_SIZE as u32).min(size)
}

/// The bytes of the index that page `page` covers; empty when there is no such page.
pub fn page_range(size: u32, page: u32) -> Range<u32> {
    let len = index_len(size);
    let start = page.saturating_mul(PAGE_SIZE as u32).min(len);
    start..start.saturating_add(PAGE_SIZE as u32).min(len)
}

/// The page that holds the hash of chunk `n`, and the hash's place in that page.
pub const fn page_of(n: u32) -> (u32, usize) {
    (n / PAGE_CHUNKS as u32, n as usize % PAGE_CHUNKS)
}

/// The hash at place `n` of a page.
pub fn hash_in(page: &[u8], n: usize) -> Option<Digest> {
    let start = n.checked_mul(Digest::LEN)?;
    Digest::from_slice(page.get(start..start.checked_add(Digest::LEN)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_PAGES, MAX_PART_SIZE};
    use proptest::prelude::*;

    #[test]
    fn sizes_around_a_chunk_and_a_page() {
        for (size, chunks, pages) in [
            (1, 1, 1),
            (4096, 1, 1),
            (4097, 2, 1),
            (128 * 4096, 128, 1),
            (128 * 4096 + 1, 129, 2),
            (MAX_PART_SIZE, 4096, 32),
        ] {
            assert_eq!(
                (chunk_count(size), page_count(size)),
                (chunks, pages),
                "{size}"
            );
        }
        assert_eq!(MAX_PAGES, 32);
    }

    proptest! {
        #[test]
        fn chunks_tile_the_part_and_pages_tile_the_index(size in 1..=MAX_PART_SIZE) {
            let mut end = 0;
            for n in 0..chunk_count(size) {
                let range = chunk_range(size, n);
                prop_assert_eq!(range.start, end);
                prop_assert!(!range.is_empty());
                end = range.end;
            }
            prop_assert_eq!(end, size);
            prop_assert!(chunk_range(size, chunk_count(size)).is_empty());
            let mut end = 0;
            for page in 0..page_count(size) as u32 {
                let range = page_range(size, page);
                prop_assert_eq!(range.start, end);
                end = range.end;
            }
            prop_assert_eq!(end, index_len(size));
        }

        #[test]
        fn no_number_of_a_chunk_overflows(size: u32, n: u32) {
            let range = chunk_range(size.min(MAX_PART_SIZE), n);
            prop_assert!(range.end <= MAX_PART_SIZE);
        }
    }
}
