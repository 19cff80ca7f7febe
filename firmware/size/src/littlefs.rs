//! The updater's files on littlefs, as a board has them.

use crate::world;
use crate::world::fixture::{FLASH_SIZE, VFS_OFFSET};
use airlift_littlefs::updater::{AtOnce, UpdaterFiles};
use airlift_littlefs::{BlockDevice, DiskVersion, FileSystem, Geometry, IoError, Storage};
use core::cell::UnsafeCell;
use core::task::Poll;

const GEOMETRY: Geometry = Geometry {
    block_count: (FLASH_SIZE - VFS_OFFSET) / 4096,
};

struct Static(UnsafeCell<Storage>);

// SAFETY: there is one thread.
unsafe impl Sync for Static {}

static STORAGE: Static = Static(UnsafeCell::new(Storage::new()));

/// Partition `vfs`.
pub struct Vfs;

impl BlockDevice for Vfs {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        match world::flash_read(VFS_OFFSET + offset, buf) {
            Poll::Ready(Ok(())) => Ok(()),
            _ => Err(IoError::Device),
        }
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        match world::flash_write(VFS_OFFSET + offset, data) {
            Poll::Ready(Ok(())) => Ok(()),
            _ => Err(IoError::Device),
        }
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        loop {
            match world::flash_erase(VFS_OFFSET + offset) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => return Ok(()),
                Poll::Ready(Err(_)) => return Err(IoError::Device),
            }
        }
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Makes an empty file system.
pub fn format() {
    // SAFETY: nothing is mounted.
    let storage = unsafe { &mut *STORAGE.0.get() };
    let _ = FileSystem::format(storage, &mut Vfs, GEOMETRY, DiskVersion::V2_0);
}

/// The file system, mounted.
pub type Files = UpdaterFiles<'static, Vfs>;

/// Mounts it; one that does not mount is broken.
pub fn mount() -> Files {
    // SAFETY: the program that had it mounted has ended.
    let storage = unsafe { &mut *STORAGE.0.get() };
    Files::new(FileSystem::mount(storage, Vfs, GEOMETRY).ok(), AtOnce)
}
