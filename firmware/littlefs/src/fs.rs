//! The file system as its users see it.

use crate::path::{Path, is_name};
use crate::raw::{Open, Raw};
use crate::{
    BlockDevice, DirEntry, DiskVersion, Error, Geometry, Kind, Metadata, NAME_MAX, Storage,
};

/// A mounted littlefs.
///
/// Paths are bytes (`str` will do), relative to the root; a leading `/` is accepted. Dropping it is a
/// power cut: an open file keeps the content it had when last synced.
pub struct FileSystem<'a, D: BlockDevice> {
    raw: Raw<'a, D>,
    geometry: Geometry,
    version: DiskVersion,
    /// The first error of the open writer. littlefs keeps quiet about it in later calls.
    write_error: Option<Error>,
    /// What the cached reader reads, so that reading a file in pieces finds it once.
    reader: Option<Path>,
}

impl<'a, D: BlockDevice> FileSystem<'a, D> {
    /// Make an empty file system. What was there is gone.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a geometry out of bounds, [`Error::Io`], [`Error::NoSpace`] if every
    /// block tried is bad.
    pub fn format(
        storage: &mut Storage,
        device: &mut D,
        geometry: Geometry,
        version: DiskVersion,
    ) -> Result<(), Error> {
        Raw::format(storage, device, geometry.check()?, version)
    }

    /// Mount what is there, without writing; the disk version found is kept by later writes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is no file system, [`Error::Unsupported`] if it is of another
    /// size or a newer version, [`Error::Io`].
    pub fn mount(storage: &'a mut Storage, device: D, geometry: Geometry) -> Result<Self, Error> {
        let (raw, version) = Raw::mount(storage, device, geometry.check()?)?;
        Ok(Self {
            raw,
            geometry,
            version,
            write_error: None,
            reader: None,
        })
    }

    /// Close what is open and give the device back.
    ///
    /// # Errors
    /// Those of [`close`](Self::close), if a file is open; the device is gone then.
    pub fn unmount(mut self) -> Result<D, Error> {
        if self.raw.writer_open() {
            self.close()?;
        }
        Ok(self.raw.into_device())
    }

    /// The version the file system was made with.
    pub fn disk_version(&self) -> DiskVersion {
        self.version
    }

    /// All blocks, used or not.
    pub fn block_count(&self) -> u32 {
        self.geometry.block_count
    }

    /// Blocks in use, the two of the root folder and those of an open file included.
    ///
    /// Walks the whole file system. Counts what an interrupted removal left behind until
    /// [`make_consistent`](Self::make_consistent) or another write; counts a block twice that the open
    /// file shares with what it replaces.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn blocks_used(&mut self) -> Result<u32, Error> {
        self.raw.blocks_used()
    }

    /// Name every block in use to `visit`, both of each metadata pair: what has to be kept, or written
    /// elsewhere, for this file system to be there. A block that files share is named more than once.
    ///
    /// A panic in `visit` aborts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn visit_blocks(&mut self, visit: impl FnMut(u32)) -> Result<(), Error> {
        self.raw.visit_blocks(visit)
    }

    /// Finish what a power cut interrupted (a half-removed folder, a half-done move), which otherwise
    /// the first write does. Writes nothing if there was nothing.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`], [`Error::NoSpace`].
    pub fn make_consistent(&mut self) -> Result<(), Error> {
        self.raw.make_consistent()
    }

    /// The device underneath.
    pub fn device(&self) -> &D {
        self.raw.device()
    }

    /// The device underneath. What littlefs wrote to it has to stay as it is.
    pub fn device_mut(&mut self) -> &mut D {
        self.raw.device_mut()
    }

    /// What `path` names; `/` is the root folder.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotDirectory`] if the path leads through a file.
    pub fn stat(&mut self, path: impl AsRef<[u8]>) -> Result<Metadata, Error> {
        self.raw.stat(Path::folder(path.as_ref())?.as_c_str())
    }

    /// Fill `buf` from byte `offset` of a file; returns how many bytes there were.
    ///
    /// Fewer than `buf.len()` means the end of the file; 0 past it. Sees what was last synced. Reading
    /// on in the same file is cheap: it stays open until something writes or another file is read.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::IsDirectory`], [`Error::NotDirectory`], [`Error::Io`],
    /// [`Error::Corrupt`].
    pub fn read_at(
        &mut self,
        path: impl AsRef<[u8]>,
        offset: u32,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let path = Path::file(path.as_ref())?;
        if !self.raw.reader_open() || self.reader.as_ref() != Some(&path) {
            self.forget_reader();
            self.raw.open_reader(path.as_c_str())?;
            self.reader = Some(path);
        }
        let result = match self.raw.reader_size() {
            Ok(size) if offset >= size => Ok(0),
            Ok(_) => self.raw.read(offset, buf),
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.forget_reader();
        }
        result
    }

    /// Create a file, or empty the one that is there, and open it for [`append`](Self::append).
    ///
    /// A new file exists, empty, from now on; an old one keeps its content until the first sync.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`], [`Error::NoEntry`] without its folder, [`Error::IsDirectory`],
    /// [`Error::NoSpace`], [`Error::NameTooLong`].
    pub fn create(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        self.open_writer(path.as_ref(), Open::Create)
    }

    /// Open a file that exists, cut to its first `len` bytes and positioned behind them.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`], [`Error::NoEntry`], [`Error::IsDirectory`], [`Error::Invalid`] if the
    /// file is shorter than `len`.
    pub fn open_truncated(&mut self, path: impl AsRef<[u8]>, len: u32) -> Result<(), Error> {
        self.open_writer(path.as_ref(), Open::Existing)?;
        let cut = match self.raw.writer_size() {
            Ok(size) if len > size => Err(Error::Invalid),
            Ok(_) => self.raw.truncate_writer(len),
            Err(error) => Err(error),
        };
        if cut.is_err() {
            // The file is untouched; the reason it stays so is the one worth reporting.
            let _nothing_to_commit = self.raw.discard_writer();
        }
        cut
    }

    /// Add to the end of the open file.
    ///
    /// # Errors
    /// [`Error::NotOpen`], [`Error::NoSpace`], [`Error::TooLarge`], [`Error::Io`]. After an error the
    /// file takes nothing more and [`sync`](Self::sync) and [`close`](Self::close) repeat it.
    pub fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        if let Some(error) = self.write_error {
            return Err(error);
        }
        if data.is_empty() && self.raw.writer_open() {
            return Ok(());
        }
        let result = self.raw.append(data);
        self.remember(result)
    }

    /// Make what was appended so far the content of the open file, at once and for good.
    ///
    /// # Errors
    /// [`Error::NotOpen`], an earlier error of [`append`](Self::append), [`Error::NoSpace`],
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<(), Error> {
        if let Some(error) = self.write_error {
            return Err(error);
        }
        self.forget_reader();
        let result = self.raw.sync_writer();
        self.remember(result)
    }

    /// Sync and close the open file. It is closed whatever this returns.
    ///
    /// # Errors
    /// Those of [`sync`](Self::sync); the file then has the content it had when last synced.
    pub fn close(&mut self) -> Result<(), Error> {
        self.forget_reader();
        let earlier = self.write_error.take();
        match earlier {
            None => self.raw.close_writer(),
            Some(error) => {
                self.raw.discard_writer()?;
                Err(error)
            }
        }
    }

    /// Close the open file and drop what was not synced.
    ///
    /// # Errors
    /// [`Error::NotOpen`].
    pub fn discard(&mut self) -> Result<(), Error> {
        self.forget_reader();
        self.write_error = None;
        self.raw.discard_writer()
    }

    /// Make a folder.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoEntry`] without its parent, [`Error::NoSpace`],
    /// [`Error::NameTooLong`].
    pub fn mkdir(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = Path::not_root(path.as_ref())?;
        self.raw.mkdir(path.as_c_str())
    }

    /// Remove a file or an empty folder.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotEmpty`], [`Error::AlreadyOpen`] while a file is open.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = Path::not_root(path.as_ref())?;
        self.before_moving()?;
        self.raw.remove(path.as_c_str())
    }

    /// Rename or move, at once: a file over a file, a folder over an empty folder.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::IsDirectory`], [`Error::NotDirectory`], [`Error::NotEmpty`],
    /// [`Error::AlreadyOpen`] while a file is open, [`Error::Invalid`] for a folder into itself.
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let from = Path::not_root(from.as_ref())?;
        let to = Path::not_root(to.as_ref())?;
        // littlefs would detach the folder from the tree.
        if to
            .as_bytes()
            .strip_prefix(from.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"/"))
        {
            return Err(Error::Invalid);
        }
        self.before_moving()?;
        self.raw.rename(from.as_c_str(), to.as_c_str())
    }

    /// Remove a file, or a folder and everything in it, one entry at a time.
    ///
    /// A cut leaves what was not reached; call it again. Names longer than [`NAME_MAX`] are removed
    /// too, as long as the path to them fits [`PATH_MAX`](crate::PATH_MAX).
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::Invalid`] for the root, [`Error::AlreadyOpen`] while a file is
    /// open, [`Error::NameTooLong`].
    pub fn remove_tree(&mut self, path: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = Path::not_root(path.as_ref())?;
        self.before_moving()?;
        self.remove_all(path)
    }

    /// Remove the children of a folder whose name `is_unwanted`, each as
    /// [`remove_tree`](Self::remove_tree) does. For names that other calls do not take.
    ///
    /// # Errors
    /// Those of [`remove_tree`](Self::remove_tree).
    pub fn remove_children(
        &mut self,
        folder: impl AsRef<[u8]>,
        is_unwanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let folder = Path::folder(folder.as_ref())?;
        self.before_moving()?;
        loop {
            let mut child = None;
            self.raw.for_each_child(folder.as_c_str(), |name, _| {
                if !is_unwanted(name) {
                    return Ok(true);
                }
                let mut path = folder;
                path.push(name)?;
                child = Some(path);
                Ok(false)
            })?;
            match child {
                Some(path) => self.remove_all(path)?,
                None => return Ok(()),
            }
        }
    }

    fn remove_all(&mut self, mut path: Path) -> Result<(), Error> {
        if self.raw.stat(path.as_c_str())?.kind == Kind::File {
            return self.raw.remove(path.as_c_str());
        }
        let top = path.len();
        loop {
            match self.push_first_child(&mut path)? {
                Some(Kind::Folder) => continue,
                Some(Kind::File) | None => self.raw.remove(path.as_c_str())?,
            }
            if path.len() == top {
                return Ok(());
            }
            path.pop();
        }
    }

    /// Lengthen `path` by the first child of the folder it names; `None` if that is empty.
    fn push_first_child(&mut self, path: &mut Path) -> Result<Option<Kind>, Error> {
        let parent = *path;
        let mut found = None;
        self.raw
            .for_each_child(parent.as_c_str(), |name, metadata| {
                path.push(name)?;
                found = Some(metadata.kind);
                Ok(false)
            })?;
        Ok(found)
    }

    /// Find the child of `folder` with the smallest key greater than `after`; `false` at the end.
    ///
    /// The key of a folder is its name and a `/`, that of a file its name, compared as bytes: walking
    /// each folder in this order, and into each subfolder as it comes, gives paths in the order of the
    /// canonical tar. Start with `None`, go on with the last [`DirEntry::key`]. Reads the whole folder
    /// each time, so no memory is needed and the folder may change in between.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotDirectory`]; [`Error::NameTooLong`] if any child's name is
    /// longer than [`NAME_MAX`]. `out` is unspecified then.
    pub fn next_entry(
        &mut self,
        folder: impl AsRef<[u8]>,
        after: Option<&[u8]>,
        out: &mut DirEntry,
    ) -> Result<bool, Error> {
        let folder = Path::folder(folder.as_ref())?;
        let mut candidate = DirEntry::new();
        let mut found = false;
        self.raw
            .for_each_child(folder.as_c_str(), |name, metadata| {
                if name.len() > NAME_MAX {
                    return Err(Error::NameTooLong);
                }
                if !is_name(name) {
                    return Err(Error::Corrupt);
                }
                candidate.set(name, metadata)?;
                if after.is_none_or(|after| candidate.key() > after)
                    && (!found || candidate.key() < out.key())
                {
                    *out = candidate;
                    found = true;
                }
                Ok(true)
            })?;
        Ok(found)
    }

    /// Show every child of `folder` to `visit`, in no order, until that returns `false`.
    ///
    /// # Errors
    /// [`Error::NoEntry`], [`Error::NotDirectory`], [`Error::Io`], [`Error::Corrupt`], and those of
    /// `visit`.
    pub fn visit_children(
        &mut self,
        folder: impl AsRef<[u8]>,
        visit: impl FnMut(&[u8], Metadata) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let folder = Path::folder(folder.as_ref())?;
        self.raw.for_each_child(folder.as_c_str(), visit)
    }

    fn open_writer(&mut self, path: &[u8], open: Open) -> Result<(), Error> {
        let path = Path::file(path)?;
        self.forget_reader();
        self.raw.open_writer(path.as_c_str(), open)?;
        self.write_error = None;
        Ok(())
    }

    fn remember(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if self.raw.writer_open() {
            self.write_error = result.err();
        }
        result
    }

    /// What takes entries away first lets go of the ones it knows.
    fn before_moving(&mut self) -> Result<(), Error> {
        if self.raw.writer_open() {
            return Err(Error::AlreadyOpen);
        }
        self.forget_reader();
        Ok(())
    }

    fn forget_reader(&mut self) {
        self.raw.close_reader();
        self.reader = None;
    }
}
