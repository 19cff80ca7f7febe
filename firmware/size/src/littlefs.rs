//! The updater's files on littlefs, as a board has them.

use crate::world;
use crate::world::fixture::{FLASH_SIZE, VFS_OFFSET};
use airlift_littlefs::{
    BlockDevice, DirEntry as Entry, DiskVersion, Error, FileSystem, Geometry, IoError, Kind,
    Storage,
};
use airlift_updater::platform::{DirEntry, FilesError};
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
pub struct Files(Option<FileSystem<'static, Vfs>>);

impl Files {
    /// Mounts it; one that does not mount is broken.
    pub fn mount() -> Self {
        // SAFETY: the program that had it mounted has ended.
        let storage = unsafe { &mut *STORAGE.0.get() };
        Self(FileSystem::mount(storage, Vfs, GEOMETRY).ok())
    }

    fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'static, Vfs>) -> Result<T, Error>,
    ) -> Result<T, FilesError> {
        let fs = self.0.as_mut().ok_or(FilesError::Broken)?;
        operation(fs).map_err(|error| match error {
            Error::NoEntry => FilesError::NotFound,
            Error::NoSpace | Error::TooLarge => FilesError::NoSpace,
            Error::NameTooLong | Error::Invalid => FilesError::BadName,
            _ => FilesError::Broken,
        })
    }
}

fn unless(result: Result<(), Error>, fine: Error) -> Result<(), Error> {
    match result {
        Err(error) if error == fine => Ok(()),
        other => other,
    }
}

impl airlift_updater::platform::Files for Files {
    async fn next_entry(
        &mut self,
        folder: &str,
        after: &[u8],
    ) -> Result<Option<DirEntry>, FilesError> {
        let after = (!after.is_empty()).then_some(after);
        let mut entry = Entry::new();
        let found = self.run(|fs| match fs.next_entry(folder, after, &mut entry) {
            Err(Error::NoEntry) => Ok(false),
            other => other,
        })?;
        if !found {
            return Ok(None);
        }
        let name = core::str::from_utf8(entry.name()).map_err(|_| FilesError::BadName)?;
        let entry = DirEntry::new(name, entry.kind() == Kind::Folder, entry.size());
        entry.map(Some).ok_or(FilesError::BadName)
    }

    async fn read(&mut self, path: &str, offset: u32, buf: &mut [u8]) -> Result<usize, FilesError> {
        self.run(|fs| fs.read_at(path, offset, buf))
    }

    async fn create(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| fs.create(path))
    }

    async fn reopen(&mut self, path: &str, len: u32) -> Result<(), FilesError> {
        self.run(|fs| fs.open_truncated(path, len))
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), FilesError> {
        self.run(|fs| fs.append(data))
    }

    async fn sync(&mut self) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.sync(), Error::NotOpen))
    }

    async fn close(&mut self) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.close(), Error::NotOpen))
    }

    async fn make_folder(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| match fs.mkdir(path) {
            Err(Error::Exists) if fs.stat(path)?.kind == Kind::Folder => Ok(()),
            other => other,
        })
    }

    async fn remove(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.remove(path), Error::NoEntry))
    }

    async fn free_blocks(&mut self) -> Result<u32, FilesError> {
        self.run(|fs| {
            let used = fs.blocks_used()?;
            Ok(fs.block_count().saturating_sub(used))
        })
    }
}
