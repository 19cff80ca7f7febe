//! The updater's files: littlefs in partition `vfs` of the same flash.

use crate::nor::{NorError, OpKind, SECTOR_SIZE, SharedNor};
use crate::pace::{Pace, Pacer};
use crate::power::Power;
use crate::timing::Timing;
use airlift_littlefs::{
    BlockDevice, DirEntry as Entry, DiskVersion, Error, FileSystem, Geometry, IoError, Kind,
    Storage,
};
use airlift_updater::path;
use airlift_updater::platform::{DirEntry, Files, FilesError};
use airlift_wire::limits::MAX_PATH;
use airlift_wire::partition::Partition;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The blocks of partition `vfs`.
pub(crate) struct Vfs {
    nor: SharedNor,
    base: u32,
    timing: Timing,
    /// How long the operations since the last look took.
    spent: Rc<Cell<Duration>>,
}

impl Vfs {
    pub fn new(nor: SharedNor, partition: Partition, timing: Timing) -> Self {
        Self {
            nor,
            base: partition.offset,
            timing,
            spent: Rc::default(),
        }
    }

    pub fn geometry(partition: Partition) -> Geometry {
        Geometry {
            block_count: partition.size / SECTOR_SIZE,
        }
    }

    fn spend(&self, kind: OpKind, offset: u32, len: usize) {
        let took = self.timing.duration(kind, offset, len as u32);
        self.spent.set(self.spent.get() + took);
    }
}

/// What a worn block is to littlefs, or bits that a cut left behind: it takes another one.
fn bad_block(error: NorError) -> IoError {
    match error {
        NorError::Failed { .. } | NorError::WouldSetBits { .. } => IoError::BadBlock,
        _ => IoError::Device,
    }
}

impl BlockDevice for Vfs {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Read, offset, buf.len());
        self.nor.read(offset, buf).map_err(|_| IoError::Device)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Write, offset, data.len());
        self.nor.write(offset, data).map_err(bad_block)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Erase, offset, SECTOR_SIZE as usize);
        self.nor.erase(offset).map_err(bad_block)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Makes an empty littlefs with these folders in a partition.
///
/// # Errors
/// Those of [`FileSystem`].
pub(crate) fn format(
    nor: &SharedNor,
    partition: Partition,
    version: DiskVersion,
    folders: &[&str],
) -> Result<(), Error> {
    let mut storage = Storage::new();
    let mut vfs = Vfs::new(nor.clone(), partition, Timing::None);
    let geometry = Vfs::geometry(partition);
    FileSystem::format(&mut storage, &mut vfs, geometry, version)?;
    let mut fs = FileSystem::mount(&mut storage, &mut vfs, geometry)?;
    for folder in folders {
        fs.mkdir(folder)?;
    }
    Ok(())
}

/// [`Files`] over the littlefs in a partition, mounted for as long as this lives.
///
/// A partition that does not mount is there, but broken: an updater still starts and says so.
pub struct ChipFiles<'s, C> {
    fs: Option<FileSystem<'s, Vfs>>,
    nor: SharedNor,
    spent: Rc<Cell<Duration>>,
    pacer: Pacer<C>,
    power: Power,
}

impl<'s, C: Pace> ChipFiles<'s, C> {
    /// Mounts the file system in `partition`; without a partition there is none.
    pub fn mount(
        storage: &'s mut Storage,
        nor: SharedNor,
        partition: Option<Partition>,
        timing: Timing,
        clock: C,
    ) -> Self {
        Self::mount_powered(storage, nor, partition, timing, clock, Power::default())
    }

    pub(crate) fn mount_powered(
        storage: &'s mut Storage,
        nor: SharedNor,
        partition: Option<Partition>,
        timing: Timing,
        clock: C,
        power: Power,
    ) -> Self {
        let spent = Rc::default();
        let fs = partition.and_then(|partition| {
            let vfs = Vfs {
                spent: Rc::clone(&spent),
                ..Vfs::new(nor.clone(), partition, timing)
            };
            // Power may have gone while the metadata was written.
            let (mut vfs, geometry) = (vfs, Vfs::geometry(partition));
            airlift_littlefs::settle(&mut vfs, geometry, &mut [0; SECTOR_SIZE as usize]).ok()?;
            FileSystem::mount(storage, vfs, geometry).ok()
        });
        Self {
            fs,
            nor,
            spent,
            pacer: Pacer::new(clock, timing),
            power,
        }
    }

    /// Runs an operation, then waits as long as its blocks took.
    async fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'s, Vfs>) -> Result<T, Error>,
    ) -> Result<T, FilesError> {
        let result = self.fs.as_mut().map(operation);
        // Also when it went while the file system was mounted.
        if !self.nor.is_powered() {
            return self.power.cut().await;
        }
        let result = result.ok_or(FilesError::Broken)?;
        self.pacer.spend(self.spent.take()).await;
        result.map_err(|error| match error {
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

impl<C: Pace> Files for ChipFiles<'_, C> {
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
        let name = std::str::from_utf8(entry.name()).map_err(|_| FilesError::BadName)?;
        let is_folder = entry.kind() == Kind::Folder;
        let entry = DirEntry::new(name, is_folder, entry.size());
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
            too_long || name.len() > MAX_PATH || std::str::from_utf8(name).is_err()
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
