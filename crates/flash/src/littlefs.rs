//! File systems of boards: made in memory, looked at where they are, changed in memory.
//!
//! [`Blocks`] is a partition that is read when it is needed and never written: what changes is kept in
//! memory, and comes out as [`Segment`](crate::Segment)s. [`FileTree`] is the littlefs in it.
//!
//! ```
//! use airlift_flash::littlefs::{Blocks, DiskVersion, FileTree, Storage, format};
//!
//! # fn main() -> Result<(), airlift_flash::Error> {
//! let blocks = format(Blocks::erased(256 << 10), DiskVersion::V2_0, &["ota_0", "ota_1"])?;
//! let mut storage = Storage::new();
//! let mut tree = FileTree::mount(&mut storage, blocks)?;
//! tree.write("settings.json", b"{}")?;
//! assert_eq!(tree.list("")?.len(), 3);
//! let segments = tree.in_use(0x30_0000)?;
//! assert!(segments.iter().all(|segment| segment.offset() >= 0x30_0000));
//! # Ok(())
//! # }
//! ```

mod blocks;
mod tree;

pub use airlift_littlefs::{DiskVersion, Storage};
pub use blocks::Blocks;
pub use tree::{Entry, FileTree, format};

/// Most entries of a file system that are listed: what a release may bring into a folder, three times,
/// and as much of the user's own.
pub const MAX_ENTRIES: usize = 4 * airlift_wire::limits::MAX_TAR_ENTRIES as usize;

#[cfg(test)]
mod tests;
