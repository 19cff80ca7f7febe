//! A thin safe wrapper over littlefs 2, the same on a board and on a host.
//!
//! [`FileSystem`] mounts one littlefs over a [`BlockDevice`] (a partition of NOR flash with 4096-byte
//! sectors) and offers what an updater needs: `stat`, positioned reads, one file open for writing at a
//! time, folders, and an **ordered** walk of a folder without allocation.
//!
//! The geometry is the one MicroPython's `VfsLfs2` uses by default (read and program size 32 bytes,
//! cache 128, lookahead 32, 100 block cycles: `extmod/vfs_lfsx.c`), so either side mounts what the
//! other made. The disk version found on mounting is kept: an older MicroPython cannot read a 2.1 file
//! system, and littlefs would otherwise rewrite the superblock at the first write.
//!
//! No heap, no globals, no threads. Everything littlefs needs lives in a caller's [`Storage`]:
//!
//! ```
//! use airlift_littlefs::{BLOCK_SIZE, BlockDevice, DiskVersion, FileSystem, Geometry, IoError, Storage};
//!
//! struct Ram(Vec<u8>);
//! impl BlockDevice for Ram {
//!     fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
//!         buf.copy_from_slice(&self.0[offset as usize..][..buf.len()]);
//!         Ok(())
//!     }
//!     fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
//!         self.0[offset as usize..][..data.len()].copy_from_slice(data);
//!         Ok(())
//!     }
//!     fn erase(&mut self, offset: u32) -> Result<(), IoError> {
//!         self.0[offset as usize..][..BLOCK_SIZE as usize].fill(0xFF);
//!         Ok(())
//!     }
//!     fn sync(&mut self) -> Result<(), IoError> {
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), airlift_littlefs::Error> {
//! let geometry = Geometry { block_count: 16 };
//! let mut ram = Ram(vec![0xFF; 16 * BLOCK_SIZE as usize]);
//! let mut storage = Storage::new();
//! FileSystem::format(&mut storage, &mut ram, geometry, DiskVersion::V2_0)?;
//!
//! let mut fs = FileSystem::mount(&mut storage, &mut ram, geometry)?;
//! fs.mkdir("ota_0")?;
//! fs.create("ota_0/main.py")?;
//! fs.append(b"print('hello')\n")?;
//! fs.close()?;
//!
//! let mut buf = [0; 5];
//! assert_eq!(fs.read_at("ota_0/main.py", 7, &mut buf)?, 5);
//! assert_eq!(&buf, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Power cuts
//!
//! littlefs is copy on write: after a cut at any operation the last [`sync`](FileSystem::sync)ed
//! content of every file is there. That takes cells for granted that read the same each time; what a cut
//! leaves need not, so call [`settle()`] before mounting. What is appended is not visible, also not to
//! [`read_at`](FileSystem::read_at), before `sync` or `close`.
//!
//! # Non-goals
//!
//! More than one open writer, custom attributes, permissions, times, shrinking or growing.
//!
//! # Trust
//!
//! littlefs checks metadata against its CRC-32 and block addresses against the geometry, and reports
//! what does not fit as [`Error::Corrupt`]; the callbacks check addresses again. Damage is found that
//! way, not malice: littlefs is C and not hardened against an image somebody crafted with matching
//! checksums. Whoever can write the flash can also write the program beside it.

#![no_std]
#![cfg_attr(feature = "updater", allow(async_fn_in_trait))] // as in the updater: one thread runs everything

#[cfg(test)]
extern crate std;

mod device;
mod entry;
mod error;
mod fs;
mod path;
mod raw;
mod settle;
mod storage;
#[cfg(feature = "updater")]
pub mod updater;

pub use device::{BlockDevice, IoError};
pub use entry::{DirEntry, Kind, Metadata};
pub use error::Error;
pub use fs::FileSystem;
pub use settle::settle;
pub use storage::Storage;

/// Bytes in a block: what one erase sets to ones.
pub const BLOCK_SIZE: u32 = 4096;
/// Unit of reads, in bytes: every offset and length asked of a [`BlockDevice`] is a multiple of it.
pub const READ_SIZE: u32 = 32;
/// Unit of programming, in bytes; each is programmed at most once between two erases.
pub const PROGRAM_SIZE: u32 = 32;
/// Longest name of a file or folder that this crate creates or lists, in bytes.
pub const NAME_MAX: usize = 100;
/// Longest path, in bytes, without a leading or trailing `/`.
pub const PATH_MAX: usize = 255;

/// Bytes of each cache: the read, the program and one per open file.
const CACHE_SIZE: u32 = 128;
/// Bytes of the free-block bitmap.
const LOOKAHEAD_SIZE: u32 = 32;
/// Erases before a metadata block moves; 100 as in MicroPython.
const BLOCK_CYCLES: i32 = 100;

/// Size of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Number of [`BLOCK_SIZE`] blocks, 2..=1048576. Mounting demands the number that was formatted.
    pub block_count: u32,
}

impl Geometry {
    /// Most blocks whose byte offsets still fit in 32 bits.
    const BLOCK_COUNT_MAX: u32 = 1 << 20;

    fn check(self) -> Result<Self, Error> {
        if (2..=Self::BLOCK_COUNT_MAX).contains(&self.block_count) {
            Ok(self)
        } else {
            Err(Error::Invalid)
        }
    }
}

/// The version of littlefs' structures on disk (littlefs `SPEC.md`, superblock).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskVersion {
    /// Read by every littlefs 2.
    V2_0,
    /// Adds checksums of erased space (forward CRCs); needs littlefs 2.6 or later.
    V2_1,
}

impl DiskVersion {
    const fn raw(self) -> u32 {
        match self {
            Self::V2_0 => 0x0002_0000,
            Self::V2_1 => 0x0002_0001,
        }
    }

    const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            0x0002_0000 => Some(Self::V2_0),
            0x0002_0001 => Some(Self::V2_1),
            _ => None,
        }
    }
}
