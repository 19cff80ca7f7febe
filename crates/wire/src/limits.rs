//! Every limit of the formats, in one place.

/// Bytes of a chunk; the last chunk of a part may be shorter. Equals a flash erase sector.
pub const CHUNK_SIZE: usize = 4096;
/// Bytes of one erase sector of the flash.
pub const SECTOR_SIZE: usize = 4096;
/// Chunk hashes in a full index page.
pub const PAGE_CHUNKS: usize = 128;
/// Bytes of a full index page.
pub const PAGE_SIZE: usize = PAGE_CHUNKS * 32;
/// Largest part, in bytes.
pub const MAX_PART_SIZE: u32 = 16 * 1024 * 1024;
/// Most index pages of one part.
pub const MAX_PAGES: usize = (MAX_PART_SIZE as usize).div_ceil(PAGE_CHUNKS * CHUNK_SIZE);
/// Largest envelope, in bytes: it fits a sector with room for a header.
pub const MAX_ENVELOPE: usize = 4080;
/// Bytes of an envelope that are not the manifest, when the manifest takes a two-byte length.
pub const ENVELOPE_OVERHEAD: usize = 86;
/// Largest signed statement of freshness, in bytes: the longest of today has 298.
pub const MAX_STATEMENT: usize = 320;
/// Longest reason that an application gives for its own check, in bytes.
pub const MAX_DETAIL: usize = 48;
/// Largest manifest, in bytes.
pub const MAX_MANIFEST: usize = MAX_ENVELOPE - ENVELOPE_OVERHEAD;
/// Longest product name, in bytes.
pub const MAX_PRODUCT: usize = 64;
/// Longest version text, in bytes.
pub const MAX_VERSION: usize = 64;
/// Most release keys that a device trusts at once.
pub const MAX_RELEASE_KEYS: usize = 4;
/// Deepest nesting of an unknown CBOR item that a decoder skips.
pub const MAX_CBOR_DEPTH: usize = 4;
/// Longest path in a canonical tar, in bytes, the `/` at the end of a folder included.
pub const MAX_PATH: usize = 100;
/// Most entries of a canonical tar.
pub const MAX_TAR_ENTRIES: u32 = 4096;
/// Longest id of a device, in bytes.
pub const MAX_DEVICE_ID: usize = 64;
/// Longest device name, in bytes.
pub const MAX_NAME: usize = 32;
/// Most entries that are read from a partition table: 0xC00 bytes of 32 each.
pub const MAX_PARTITIONS: usize = 95;
/// Most segments of an app image (ESP-IDF: `ESP_IMAGE_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: u8 = 16;
/// File-system blocks that stay free on a device after an update.
pub const SPARE_BLOCKS: u32 = 4;
/// Sequences from here on are opened by the root key; see [`crate::manifest::first_root_sequence`].
pub const FIRST_ROOT_SEQUENCE: u32 = 1 << 31;
/// Sequences that each epoch opens to the release keys.
pub const SEQUENCES_AN_EPOCH: u32 = 1 << 16;
