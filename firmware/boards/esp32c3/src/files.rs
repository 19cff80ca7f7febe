//! The updater's files: littlefs in partition `vfs`.

use crate::flash::{Blocks, BoardFlash};
use airlift_littlefs::{DirEntry as Entry, Error, FileSystem, Kind, Storage};
use airlift_updater::path;
use airlift_updater::platform::{DirEntry, Files, FilesError};
use airlift_wire::limits::{MAX_PATH, SECTOR_SIZE};
use airlift_wire::partition::Partition;

#[cfg(feature = "rtos")]
use crate::thread::run as apart;

/// Without threads, everybody waits.
#[cfg(not(feature = "rtos"))]
async fn apart<T>(work: impl FnOnce() -> T) -> T {
    let result = work();
    embassy_futures::yield_now().await;
    result
}

/// [`Files`] over the littlefs in a partition.
///
/// A call of littlefs cannot give way, and may erase several blocks: it runs in a thread below the
/// executor's, which goes on meanwhile, but for the flash operations themselves. A partition that does not mount is there, but broken: the updater
/// still starts and says so.
pub struct BoardFiles(Option<FileSystem<'static, Blocks>>);

impl BoardFiles {
    /// Decides what a power cut left of the metadata in `partition`; see
    /// [`settle`](airlift_littlefs::settle). `block` is memory to work in.
    pub fn settle(flash: BoardFlash, partition: Partition, block: &mut [u8; SECTOR_SIZE]) {
        let mut blocks = Blocks::new(flash, partition);
        let settled = airlift_littlefs::settle(&mut blocks, Blocks::geometry(partition), block);
        if let Err(error) = settled {
            // It is mounted all the same: what cannot be written is taken as it reads.
            log::warn!("the file system was not looked through: {error}");
        }
    }

    /// Mounts the file system in `partition`; without a partition there is none.
    pub fn mount(
        storage: &'static mut Storage,
        flash: BoardFlash,
        partition: Option<Partition>,
    ) -> Self {
        Self(partition.and_then(|partition| {
            let blocks = Blocks::new(flash, partition);
            FileSystem::mount(storage, blocks, Blocks::geometry(partition))
                .inspect_err(|error| log::warn!("the file system does not mount: {error}"))
                .ok()
        }))
    }

    async fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'static, Blocks>) -> Result<T, Error>,
    ) -> Result<T, FilesError> {
        let fs = self.0.as_mut().ok_or(FilesError::Broken)?;
        apart(|| operation(fs)).await.map_err(|error| match error {
            Error::NoEntry => FilesError::NotFound,
            Error::NoSpace | Error::TooLarge => FilesError::NoSpace,
            Error::NameTooLong | Error::Invalid => FilesError::BadName,
            _ => FilesError::Broken,
        })
    }
}

/// `Ok` for an error that leaves what was wanted.
fn unless(result: Result<(), Error>, fine: Error) -> Result<(), Error> {
    match result {
        Err(error) if error == fine => Ok(()),
        other => other,
    }
}

impl Files for BoardFiles {
    async fn next_entry(
        &mut self,
        folder: &str,
        after: &[u8],
    ) -> Result<Option<DirEntry>, FilesError> {
        let after = (!after.is_empty()).then_some(after);
        let mut entry = Entry::new();
        let found = self
            .run(|fs| match fs.next_entry(folder, after, &mut entry) {
                Err(Error::NoEntry) => Ok(false),
                other => other,
            })
            .await?;
        if !found {
            return Ok(None);
        }
        let name = core::str::from_utf8(entry.name()).map_err(|_| FilesError::BadName)?;
        let entry = DirEntry::new(name, entry.kind() == Kind::Folder, entry.size());
        entry.map(Some).ok_or(FilesError::BadName)
    }

    async fn read(&mut self, path: &str, offset: u32, buf: &mut [u8]) -> Result<usize, FilesError> {
        self.run(|fs| fs.read_at(path, offset, buf)).await
    }

    async fn create(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| fs.create(path)).await
    }

    async fn reopen(&mut self, path: &str, len: u32) -> Result<(), FilesError> {
        self.run(|fs| fs.open_truncated(path, len)).await
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), FilesError> {
        self.run(|fs| fs.append(data)).await
    }

    async fn sync(&mut self) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.sync(), Error::NotOpen)).await
    }

    async fn close(&mut self) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.close(), Error::NotOpen)).await
    }

    async fn make_folder(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| match fs.mkdir(path) {
            Err(Error::Exists) if fs.stat(path)?.kind == Kind::Folder => Ok(()),
            // A file of that name.
            Err(Error::Exists) => Err(Error::Invalid),
            other => other,
        })
        .await
    }

    async fn remove_unnamed(&mut self, folder: &str) -> Result<(), FilesError> {
        let is_unnamed = |name: &[u8]| {
            let too_long = folder.len() + 1 + name.len() > path::CAPACITY;
            too_long || name.len() > MAX_PATH || core::str::from_utf8(name).is_err()
        };
        self.run(|fs| unless(fs.remove_children(folder, is_unnamed), Error::NoEntry))
            .await
    }

    async fn remove(&mut self, path: &str) -> Result<(), FilesError> {
        self.run(|fs| unless(fs.remove(path), Error::NoEntry)).await
    }

    async fn free_blocks(&mut self) -> Result<u32, FilesError> {
        self.run(|fs| {
            let used = fs.blocks_used()?;
            Ok(fs.block_count().saturating_sub(used))
        })
        .await
    }
}
