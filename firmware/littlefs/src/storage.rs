//! The memory littlefs works in.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use littlefs2_sys as ffi;

use crate::{CACHE_SIZE, LOOKAHEAD_SIZE};

/// A cache, aligned so that a flash driver that copies words can take it as it is.
#[repr(C, align(8))]
pub(crate) struct Buffer<const N: usize>(pub(crate) [u8; N]);

pub(crate) type Cache = Buffer<{ CACHE_SIZE as usize }>;

/// An open file: littlefs' record of it, the record's configuration and its cache.
#[repr(C)]
pub(crate) struct OpenFile {
    pub(crate) file: MaybeUninit<ffi::lfs_file_t>,
    pub(crate) config: MaybeUninit<ffi::lfs_file_config>,
    pub(crate) cache: Cache,
}

impl OpenFile {
    const fn new() -> Self {
        Self {
            file: MaybeUninit::zeroed(),
            config: MaybeUninit::zeroed(),
            cache: Buffer([0; CACHE_SIZE as usize]),
        }
    }
}

/// Everything littlefs keeps in memory for one mounted file system: under 1.5 KiB.
///
/// It is lent to [`FileSystem`](crate::FileSystem) for as long as that lives, because littlefs keeps
/// pointers into it; the borrow is what keeps it in place. `const`, so it can be a `static`.
pub struct Storage {
    pub(crate) lfs: MaybeUninit<ffi::lfs_t>,
    pub(crate) config: MaybeUninit<ffi::lfs_config>,
    pub(crate) dir: MaybeUninit<ffi::lfs_dir_t>,
    pub(crate) read_cache: Cache,
    pub(crate) program_cache: Cache,
    pub(crate) lookahead: Buffer<{ LOOKAHEAD_SIZE as usize }>,
    pub(crate) writer: OpenFile,
    pub(crate) reader: OpenFile,
}

impl Storage {
    /// Memory for one file system.
    pub const fn new() -> Self {
        Self {
            lfs: MaybeUninit::zeroed(),
            config: MaybeUninit::zeroed(),
            dir: MaybeUninit::zeroed(),
            read_cache: Buffer([0; CACHE_SIZE as usize]),
            program_cache: Buffer([0; CACHE_SIZE as usize]),
            lookahead: Buffer([0; LOOKAHEAD_SIZE as usize]),
            writer: OpenFile::new(),
            reader: OpenFile::new(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: the pointers inside are only followed by littlefs on behalf of a `FileSystem` that borrows
// this exclusively; a `Storage` that can be sent is not borrowed, and formatting or mounting writes
// every pointer anew before littlefs runs.
unsafe impl Send for Storage {}

// SAFETY: a shared reference gives no access to anything inside.
unsafe impl Sync for Storage {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_stays_small_enough_for_a_board() {
        assert!(size_of::<Storage>() <= 1536, "{}", size_of::<Storage>());
    }
}
