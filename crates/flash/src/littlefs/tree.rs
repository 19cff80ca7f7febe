//! The files and folders of a board.

use super::blocks::{LOOKING, WORKING};
use super::{Blocks, DiskVersion, MAX_ENTRIES, Storage};
use crate::{Error, Segment};
use airlift_littlefs::updater::{AtOnce, UpdaterFiles};
use airlift_littlefs::{Error as FsError, FileSystem, Kind, PATH_MAX};
use airlift_updater::emit::Cursor;
use airlift_updater::path::Path;
use airlift_updater::unpack::{Unpacker, write_version};
use airlift_updater::{Failure, SlotId};
use airlift_wire::Digest;
use airlift_wire::digest::Hasher;
use airlift_wire::limits::{CHUNK_SIZE, MAX_PART_SIZE, MAX_VERSION};
use airlift_wire::tar::{self, BLOCK, TRAILER, VERSION_FILE};
use embassy_futures::block_on;
use std::collections::BTreeSet;

/// Deepest folder that is looked into: each level of a path has a letter and a `/` at least.
const MAX_DEPTH: usize = PATH_MAX / 2;

/// Makes an empty littlefs with these folders in `blocks`.
///
/// # Errors
/// [`Error::Files`] when there is no room.
pub fn format<'f>(
    mut blocks: Blocks<'f>,
    version: DiskVersion,
    folders: &[&str],
) -> Result<Blocks<'f>, Error> {
    let mut storage = Storage::new();
    let geometry = blocks.geometry();
    FileSystem::format(&mut storage, &mut blocks, geometry, version).map_err(Error::Files)?;
    let mut fs = FileSystem::mount(&mut storage, blocks, geometry).map_err(Error::Files)?;
    for folder in folders {
        fs.mkdir(folder).map_err(Error::Files)?;
    }
    fs.unmount().map_err(Error::Files)
}

/// A file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, without a `/` at its start or end; what is not UTF-8 in it is replaced.
    pub path: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Bytes of a file.
    pub size: u32,
}

/// A mounted littlefs.
///
/// Nothing is written to the flash it is in: what changes stays in its [`Blocks`]. The disk version
/// found is kept.
pub struct FileTree<'s, 'f> {
    files: UpdaterFiles<'s, Blocks<'f>>,
}

impl<'s, 'f> FileTree<'s, 'f> {
    /// Mounts what is in `blocks`; `storage` is memory to work in.
    ///
    /// # Errors
    /// [`Error::Files`] for what is no file system, or is one of another size; [`Error::Read`].
    pub fn mount(storage: &'s mut Storage, mut blocks: Blocks<'f>) -> Result<Self, Error> {
        let geometry = blocks.geometry();
        // What fails here says why only in the blocks, which mounting takes.
        if let Err(error) = FileSystem::mount(storage, &mut blocks, geometry) {
            return Err(blocks.cause(error));
        }
        let fs = FileSystem::mount(storage, blocks, geometry).map_err(Error::Files)?;
        let files = UpdaterFiles::new(Some(fs), AtOnce);
        Ok(Self { files })
    }

    /// The blocks, with what was changed.
    ///
    /// # Errors
    /// Never, as no file stays open.
    pub fn unmount(self) -> Result<Blocks<'f>, Error> {
        let fs = self.files.into_inner().ok_or(Error::Files(FsError::Io))?;
        fs.unmount().map_err(Error::Files)
    }

    /// The version of its structures.
    pub fn disk_version(&mut self) -> Result<DiskVersion, Error> {
        self.run(|fs| Ok(fs.disk_version()))
    }

    /// Blocks of 4 KiB in use, and all of them.
    ///
    /// # Errors
    /// [`Error::Files`] for damage, [`Error::Read`].
    pub fn blocks_used(&mut self) -> Result<(u32, u32), Error> {
        self.run(|fs| Ok((fs.blocks_used()?, fs.block_count())))
    }

    /// The blocks in use, for a partition at `base`: written to flash whose other blocks hold anything,
    /// they are this file system. littlefs erases a block before it uses it, and looks at no other
    /// before; of a metadata pair both count, so that what stands in the older one is not taken for
    /// newer.
    ///
    /// # Errors
    /// As for [`FileTree::blocks_used`]; [`Error::Segment`] when `base` is no start of a sector.
    pub fn in_use(&mut self, base: u32) -> Result<Vec<Segment>, Error> {
        let mut used = BTreeSet::new();
        let count = self.run(|fs| {
            fs.visit_blocks(|n| {
                used.insert(n);
            })?;
            Ok(fs.block_count())
        })?;
        if used.last().is_some_and(|last| *last >= count) {
            return Err(Error::Files(FsError::Corrupt));
        }
        let fs = self.files.file_system();
        let fs = fs.ok_or(Error::Files(FsError::Io))?;
        fs.device_mut().copy(base, used.iter().copied())
    }

    /// The blocks that were changed, for a partition at `base`.
    ///
    /// # Errors
    /// [`Error::Segment`] when `base` is no start of a sector.
    pub fn changed(&mut self, base: u32) -> Result<Vec<Segment>, Error> {
        self.device()?.changed(base)
    }

    /// What is in a folder, sorted; `""` is the root.
    ///
    /// # Errors
    /// [`Error::Files`] for a folder that is not there, for damage, for more than [`MAX_ENTRIES`]
    /// entries; [`Error::Read`].
    pub fn list(&mut self, folder: &str) -> Result<Vec<Entry>, Error> {
        self.begin(LOOKING)?;
        self.children(folder)
    }

    fn children(&mut self, folder: &str) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let parent = folder.trim_matches('/');
        self.go_on(|fs| {
            fs.visit_children(folder, |name, metadata| {
                if entries.len() >= MAX_ENTRIES {
                    return Err(FsError::TooLarge);
                }
                let name = String::from_utf8_lossy(name);
                let path = match parent {
                    "" => name.into_owned(),
                    parent => format!("{parent}/{name}"),
                };
                entries.push(Entry {
                    path,
                    is_folder: metadata.kind == Kind::Folder,
                    size: metadata.size,
                });
                Ok(true)
            })
        })?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Everything below a folder, each folder before what is in it.
    ///
    /// # Errors
    /// Those of [`FileTree::list`]; of a folder that contains itself, [`Error::Files`].
    pub fn walk(&mut self, folder: &str) -> Result<Vec<Entry>, Error> {
        self.begin(LOOKING)?;
        self.descendants(folder)
    }

    fn descendants(&mut self, folder: &str) -> Result<Vec<Entry>, Error> {
        let mut all = Vec::new();
        let mut left = self.children(folder)?;
        left.reverse();
        while let Some(entry) = left.pop() {
            let too_deep = entry.path.split('/').count() > MAX_DEPTH;
            if too_deep || all.len() + left.len() >= MAX_ENTRIES {
                return Err(Error::Files(FsError::TooLarge));
            }
            if entry.is_folder {
                let mut inside = self.children(&entry.path)?;
                inside.reverse();
                left.append(&mut inside);
            }
            all.push(entry);
        }
        Ok(all)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// [`Error::Files`] for a file that is not there or claims to be larger than its partition;
    /// [`Error::Read`].
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.begin(LOOKING)?;
        self.content(path)
    }

    fn content(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        let most = self.device()?.size();
        let size = self.go_on(|fs| fs.stat(path))?.size;
        if size > most {
            return Err(Error::Files(FsError::Corrupt));
        }
        let mut content = vec![0; size as usize];
        let n = self.go_on(|fs| fs.read_at(path, 0, &mut content))?;
        if n < content.len() {
            return Err(Error::Files(FsError::Corrupt));
        }
        Ok(content)
    }

    /// Writes a file; the folders on its path are made.
    ///
    /// # Errors
    /// [`Error::Files`] when there is no room, or the path leads through a file.
    pub fn write(&mut self, path: &str, content: &[u8]) -> Result<(), Error> {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            self.make_folder(&path[..at])?;
        }
        self.run(|fs| {
            fs.create(path)?;
            let appended = fs.append(content);
            let closed = fs.close();
            // What went wrong first is what matters.
            appended.and(closed)
        })
    }

    /// Makes a folder; one that is there is fine.
    ///
    /// # Errors
    /// As for [`FileTree::write`].
    pub fn make_folder(&mut self, path: &str) -> Result<(), Error> {
        self.run(|fs| match fs.mkdir(path) {
            Err(FsError::Exists) if fs.stat(path)?.kind == Kind::Folder => Ok(()),
            other => other,
        })
    }

    /// The text of a slot's `VERSION`; `None` when there is none that could be one.
    ///
    /// # Errors
    /// [`Error::Files`] for damage, [`Error::Read`].
    pub fn version(&mut self, slot: SlotId) -> Result<Option<String>, Error> {
        let path = format!("{}/{VERSION_FILE}", slot.name());
        // A line feed follows the version.
        let mut text = [0; MAX_VERSION + 2];
        let n = self.run(|fs| match fs.read_at(&path, 0, &mut text) {
            Err(FsError::NoEntry | FsError::IsDirectory | FsError::NotDirectory) => Ok(0),
            other => other,
        })?;
        let text = std::str::from_utf8(&text[..n]).ok();
        let version = text.and_then(|text| text.strip_suffix('\n'));
        Ok(version.filter(|v| !v.is_empty()).map(str::to_owned))
    }

    /// The digest of a slot's folder: that of the `files` part it was unpacked from, if nobody changed
    /// it. What the updater's [`read_files`](airlift_updater::update::read_files) computes, in one look
    /// at each folder: it is all in memory here.
    ///
    /// # Errors
    /// [`Error::Update`] for a folder that no release can have brought, [`Error::Files`] for damage,
    /// [`Error::Read`].
    pub fn digest(&mut self, slot: SlotId) -> Result<Digest, Error> {
        let root = slot.name();
        self.begin(WORKING)?;
        let is_there = self.go_on(|fs| match fs.stat(root) {
            Err(FsError::NoEntry) => Ok(false),
            other => other.map(|_| true),
        })?;
        let mut entries = match is_there {
            true => self.descendants(root)?,
            false => Vec::new(),
        };
        for entry in &mut entries {
            entry.path.drain(..=root.len());
            if entry.is_folder {
                entry.path.push('/');
            }
        }
        entries.retain(|entry| entry.path != VERSION_FILE);
        // A damaged folder may list a name twice; the updater goes by the first.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|b, a| a.path == b.path);
        let mut hasher = Hasher::new();
        let mut total = TRAILER as u64;
        for entry in &entries {
            total += tar::entry_len(entry.size);
            if total > u64::from(MAX_PART_SIZE) {
                return Err(Error::Files(FsError::TooLarge));
            }
            let kind = match entry.is_folder {
                true => tar::Kind::Folder,
                false => tar::Kind::File,
            };
            let header = tar::Entry {
                path: &entry.path,
                kind,
                size: entry.size,
            };
            let header = tar::header(&header).map_err(|e| Error::Update(e.into()))?;
            hasher.update(&header);
            if !entry.is_folder {
                let content = self.content(&format!("{root}/{}", entry.path))?;
                let content = content.get(..entry.size as usize);
                hasher.update(content.ok_or(Error::Files(FsError::Corrupt))?);
                hasher.update(&[0; BLOCK][..tar::padding(entry.size)]);
            }
        }
        hasher.update(&[0; TRAILER]);
        Ok(hasher.finish())
    }

    /// Puts a release's files into a slot's folder, in place of what is there, and its version. Without
    /// `tar` the folder stays as it is and gets the version.
    ///
    /// # Errors
    /// [`Error::Update`] when there is no room, or `tar` is not canonical; [`Error::Read`].
    pub fn install(
        &mut self,
        slot: SlotId,
        tar: Option<&[u8]>,
        version: &str,
    ) -> Result<(), Error> {
        self.begin(WORKING)?;
        if tar.is_some() {
            // At once, where the updater would look for what a cut left, and go through all of it.
            self.go_on(|fs| match fs.remove_tree(slot.name()) {
                Err(FsError::NoEntry) => Ok(()),
                other => other,
            })?;
        }
        let unpacked = block_on(unpack(&mut self.files, slot, tar, version));
        unpacked.map_err(|failure| self.cause(failure))
    }

    fn device(&mut self) -> Result<&Blocks<'f>, Error> {
        let fs = self.files.file_system();
        let fs = fs.ok_or(Error::Files(FsError::Io))?;
        Ok(fs.device())
    }

    /// What comes now takes at most so many reads of the device.
    fn begin(&mut self, reads: u32) -> Result<(), Error> {
        self.device()?.begin(reads);
        Ok(())
    }

    fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'s, Blocks<'f>>) -> Result<T, FsError>,
    ) -> Result<T, Error> {
        self.begin(LOOKING)?;
        self.go_on(operation)
    }

    /// An operation that is part of what has begun.
    fn go_on<T>(
        &mut self,
        operation: impl FnOnce(&mut FileSystem<'s, Blocks<'f>>) -> Result<T, FsError>,
    ) -> Result<T, Error> {
        let fs = self.files.file_system();
        let fs = fs.ok_or(Error::Files(FsError::Io))?;
        operation(fs).map_err(|error| fs.device().cause(error))
    }

    /// What a failure of the updater's code came from.
    fn cause(&mut self, failure: Failure) -> Error {
        match self.device().map(|blocks| blocks.cause(FsError::Io)) {
            Ok(Error::Files(_)) | Err(_) => Error::Update(failure),
            Ok(other) => other,
        }
    }
}

async fn unpack(
    files: &mut UpdaterFiles<'_, Blocks<'_>>,
    slot: SlotId,
    tar: Option<&[u8]>,
    version: &str,
) -> Result<(), Failure> {
    let root = Path::slot(slot);
    if let Some(tar) = tar {
        let mut unpacker = Unpacker::resume(files, root, &Cursor::new(root)).await?;
        for piece in tar.chunks(CHUNK_SIZE) {
            unpacker.feed(files, piece).await?;
        }
        unpacker.finish()?;
    }
    write_version(files, root, version).await
}
