//! The updater's files over a littlefs.

use crate::{BlockDevice, DirEntry as Entry, Error, FileSystem, Kind};
use airlift_updater::path;
use airlift_updater::platform::{DirEntry, Files, FilesError};
use airlift_wire::limits::MAX_PATH;

/// How an operation of a file system, which blocks, is run: at once, in a thread, with a pause after it.
pub trait Runner {
    /// Runs `work` and returns what it returned.
    async fn run<T>(&mut self, work: impl FnOnce() -> T) -> T;
}

/// Runs operations at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl Runner for AtOnce {
    async fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// [`Files`] over a mounted littlefs.
///
/// One that did not mount is there, but broken: an updater still starts and says so.
pub struct UpdaterFiles<'a, D: BlockDevice, R = AtOnce> {
    fs: Option<FileSystem<'a, D>>,
    runner: R,
}

impl<'a, D: BlockDevice, R: Runner> UpdaterFiles<'a, D, R> {
    /// Files of `fs`, whose operations `runner` runs; `None` for a file system that does not mount.
    pub fn new(fs: Option<FileSystem<'a, D>>, runner: R) -> Self {
        Self { fs, runner }
    }

    /// The file system itself.
    pub fn file_system(&mut self) -> Option<&mut FileSystem<'a, D>> {
        self.fs.as_mut()
    }

    /// Gives the file system back.
    pub fn into_inner(self) -> Option<FileSystem<'a, D>> {
        self.fs
    }

    async fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'a, D>) -> Result<T, Error>,
    ) -> Result<T, FilesError> {
        let Self { fs, runner } = self;
        let result = runner.run(|| fs.as_mut().map(operation)).await;
        result
            .ok_or(FilesError::Broken)?
            .map_err(|error| match error {
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

impl<D: BlockDevice, R: Runner> Files for UpdaterFiles<'_, D, R> {
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
