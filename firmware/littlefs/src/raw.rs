//! Every call into littlefs, and its calls back. Nothing else in the crate is unsafe but two `Send`s.
//!
//! The rules that make it sound:
//!
//! - littlefs keeps pointers into [`Storage`]: caches, configuration, the list of open files and
//!   folders. All of them derive from one raw pointer, taken when the `Storage` was borrowed for `'a`.
//!   No reference to a field of `Storage` is made while mounted, so none is invalidated, and the borrow
//!   keeps the memory in place and from anybody else.
//! - The device is owned by value and may move between calls. Its address goes into the configuration
//!   at the start of every call ([`Raw::enter`]), is good until that call returns because `&mut self`
//!   is held, and is never used after.
//! - littlefs is built without assertions; what it would assert is ensured here: files are only used
//!   while open (`writer_open`, `reader_open`), folders are closed in the call that opened them.
//! - The callbacks are `extern "C"`: a panic in a device aborts and never unwinds into C.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use littlefs2_sys as ffi;

use crate::storage::OpenFile;
use crate::{
    BLOCK_CYCLES, BLOCK_SIZE, BlockDevice, CACHE_SIZE, DiskVersion, Error, Geometry, IoError, Kind,
    LOOKAHEAD_SIZE, Metadata, PROGRAM_SIZE, READ_SIZE, Storage,
};

/// A littlefs over a device; mounted unless it is inside `format` or `mount`.
pub(crate) struct Raw<'a, D> {
    storage: NonNull<Storage>,
    device: D,
    writer_open: bool,
    reader_open: bool,
    _storage: PhantomData<&'a mut Storage>,
}

// SAFETY: it borrows the `Storage` exclusively and every use goes through `&mut self`; the pointers in
// the `Storage` lead only into itself, or (the context) to the device, whose address is set anew by
// each call.
unsafe impl<D: Send> Send for Raw<'_, D> {}

/// A folder that is open, until this is dropped.
struct OpenFolder {
    lfs: *mut ffi::lfs_t,
    dir: *mut ffi::lfs_dir_t,
}

impl Drop for OpenFolder {
    fn drop(&mut self) {
        // SAFETY: the folder was opened by the call that made this and is closed nowhere else. Closing
        // takes it off littlefs' list and cannot fail.
        let _closed = unsafe { ffi::lfs_dir_close(self.lfs, self.dir) };
    }
}

/// How a file is opened for writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// Create it or empty it.
    Create,
    /// It must exist; its content stays.
    Existing,
}

fn check(code: c_int) -> Result<u32, Error> {
    u32::try_from(code).map_err(|_| Error::from_code(code))
}

impl<'a, D: BlockDevice> Raw<'a, D> {
    /// Borrow the memory and write the configuration into it.
    fn new(storage: &'a mut Storage, device: D, geometry: Geometry) -> Self {
        *storage = Storage::new();
        let storage = NonNull::from(storage);
        let this = Self {
            storage,
            device,
            writer_open: false,
            reader_open: false,
            _storage: PhantomData,
        };
        let p = storage.as_ptr();
        // SAFETY: `p` is valid and exclusively ours for `'a`; only addresses of its fields are taken.
        // The all-zero configuration is valid (optional function pointers, null pointers, numbers).
        unsafe {
            let config = this.config();
            (*config).read = Some(read::<D>);
            (*config).prog = Some(program::<D>);
            (*config).erase = Some(erase::<D>);
            (*config).sync = Some(sync::<D>);
            (*config).read_size = READ_SIZE;
            (*config).prog_size = PROGRAM_SIZE;
            (*config).block_size = BLOCK_SIZE;
            (*config).block_count = geometry.block_count;
            (*config).block_cycles = BLOCK_CYCLES;
            (*config).cache_size = CACHE_SIZE;
            (*config).lookahead_size = LOOKAHEAD_SIZE;
            (*config).read_buffer = (&raw mut (*p).read_cache).cast();
            (*config).prog_buffer = (&raw mut (*p).program_cache).cast();
            (*config).lookahead_buffer = (&raw mut (*p).lookahead).cast();
            for open in [&raw mut (*p).writer, &raw mut (*p).reader] {
                (*(&raw mut (*open).config).cast::<ffi::lfs_file_config>()).buffer =
                    (&raw mut (*open).cache).cast();
            }
        }
        this
    }

    pub(crate) fn format(
        storage: &'a mut Storage,
        device: D,
        geometry: Geometry,
        version: DiskVersion,
    ) -> Result<(), Error> {
        let mut this = Self::new(storage, device, geometry);
        this.set_disk_version(version.raw());
        let lfs = this.enter();
        // SAFETY: `lfs` and its configuration are valid; formatting leaves nothing mounted.
        check(unsafe { ffi::lfs_format(lfs, this.config()) })?;
        this.sync_device()
    }

    pub(crate) fn mount(
        storage: &'a mut Storage,
        device: D,
        geometry: Geometry,
    ) -> Result<(Self, DiskVersion), Error> {
        let mut this = Self::new(storage, device, geometry);
        this.mount_as(0)?;
        let version = this.disk_version()?;
        if version != DiskVersion::V2_1 {
            // Mounting as the newest version marks the superblock for rewriting; mounting as what was
            // found does not. Nothing is written by either mount.
            let lfs = this.enter();
            // SAFETY: mounted above, no file is open.
            check(unsafe { ffi::lfs_unmount(lfs) })?;
            this.mount_as(version.raw())?;
        }
        Ok((this, version))
    }

    fn mount_as(&mut self, disk_version: u32) -> Result<(), Error> {
        self.set_disk_version(disk_version);
        let lfs = self.enter();
        // SAFETY: `lfs` is not mounted and its configuration is valid; a failed mount cleans up.
        match check(unsafe { ffi::lfs_mount(lfs, self.config()) }) {
            Ok(_) => Ok(()),
            // Here littlefs means the superblock's numbers, not the arguments.
            Err(Error::Invalid) => Err(Error::Unsupported),
            Err(other) => Err(other),
        }
    }

    fn set_disk_version(&mut self, raw: u32) {
        // SAFETY: the configuration is initialised and littlefs is not running.
        unsafe { (*self.config()).disk_version = raw }
    }

    fn disk_version(&mut self) -> Result<DiskVersion, Error> {
        let mut info = ffi::lfs_fsinfo::default();
        let lfs = self.enter();
        // SAFETY: mounted; `info` outlives the call.
        check(unsafe { ffi::lfs_fs_stat(lfs, &raw mut info) })?;
        DiskVersion::from_raw(info.disk_version).ok_or(Error::Unsupported)
    }

    fn config(&self) -> *mut ffi::lfs_config {
        // SAFETY: only the field's address is taken. `MaybeUninit<T>` has the layout of `T`.
        unsafe { (&raw mut (*self.storage.as_ptr()).config).cast() }
    }

    fn dir(&self) -> *mut ffi::lfs_dir_t {
        // SAFETY: as in `config`.
        unsafe { (&raw mut (*self.storage.as_ptr()).dir).cast() }
    }

    fn writer(&self) -> *mut OpenFile {
        // SAFETY: as in `config`.
        unsafe { &raw mut (*self.storage.as_ptr()).writer }
    }

    fn reader(&self) -> *mut OpenFile {
        // SAFETY: as in `config`.
        unsafe { &raw mut (*self.storage.as_ptr()).reader }
    }

    /// Point the configuration at the device where it is now. First thing in every call.
    fn enter(&mut self) -> *mut ffi::lfs_t {
        let context: *mut c_void = (&raw mut self.device).cast();
        // SAFETY: the configuration is initialised and littlefs is not running.
        unsafe {
            (*self.config()).context = context;
            (&raw mut (*self.storage.as_ptr()).lfs).cast()
        }
    }

    pub(crate) fn device(&self) -> &D {
        &self.device
    }

    pub(crate) fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    pub(crate) fn into_device(self) -> D {
        self.device
    }

    pub(crate) fn writer_open(&self) -> bool {
        self.writer_open
    }

    pub(crate) fn reader_open(&self) -> bool {
        self.reader_open
    }

    fn sync_device(&mut self) -> Result<(), Error> {
        self.device
            .sync()
            .map_err(|error| Error::from_code(code_of(error)))
    }

    pub(crate) fn blocks_used(&mut self) -> Result<u32, Error> {
        let lfs = self.enter();
        // SAFETY: mounted.
        check(unsafe { ffi::lfs_fs_size(lfs) })
    }

    pub(crate) fn visit_blocks<F: FnMut(u32)>(&mut self, mut visit: F) -> Result<(), Error> {
        let lfs = self.enter();
        // SAFETY: mounted; `visit` outlives the call and is what `visited::<F>` takes it for.
        check(unsafe {
            ffi::lfs_fs_traverse(lfs, Some(visited::<F>), (&raw mut visit).cast::<c_void>())
        })
        .map(drop)
    }

    pub(crate) fn make_consistent(&mut self) -> Result<(), Error> {
        let lfs = self.enter();
        // SAFETY: mounted.
        check(unsafe { ffi::lfs_fs_mkconsistent(lfs) }).map(drop)
    }

    pub(crate) fn stat(&mut self, path: &CStr) -> Result<Metadata, Error> {
        let mut info = ffi::lfs_info::default();
        let lfs = self.enter();
        // SAFETY: mounted; `path` and `info` outlive the call.
        check(unsafe { ffi::lfs_stat(lfs, path.as_ptr(), &raw mut info) })?;
        metadata(&info)
    }

    pub(crate) fn mkdir(&mut self, path: &CStr) -> Result<(), Error> {
        let lfs = self.enter();
        // SAFETY: mounted; `path` outlives the call.
        check(unsafe { ffi::lfs_mkdir(lfs, path.as_ptr()) }).map(drop)
    }

    pub(crate) fn remove(&mut self, path: &CStr) -> Result<(), Error> {
        let lfs = self.enter();
        // SAFETY: mounted; `path` outlives the call.
        check(unsafe { ffi::lfs_remove(lfs, path.as_ptr()) }).map(drop)
    }

    pub(crate) fn rename(&mut self, from: &CStr, to: &CStr) -> Result<(), Error> {
        let lfs = self.enter();
        // SAFETY: mounted; both paths outlive the call.
        check(unsafe { ffi::lfs_rename(lfs, from.as_ptr(), to.as_ptr()) }).map(drop)
    }

    /// Call `visit` with each child but `.` and `..`, in littlefs' order, until it says `false`.
    ///
    /// `visit` cannot reach the file system, so the folder does not change under the walk.
    pub(crate) fn for_each_child(
        &mut self,
        path: &CStr,
        mut visit: impl FnMut(&[u8], Metadata) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let lfs = self.enter();
        let dir = self.dir();
        // SAFETY: mounted; `path` outlives the call; `dir` is not open, since this is the only function
        // that opens it, and closes it again, whatever `visit` does.
        check(unsafe { ffi::lfs_dir_open(lfs, dir, path.as_ptr()) })?;
        let open = OpenFolder { lfs, dir };
        loop {
            let mut info = ffi::lfs_info::default();
            // SAFETY: `dir` was opened above; `info` outlives the call.
            if check(unsafe { ffi::lfs_dir_read(open.lfs, open.dir, &raw mut info) })? == 0 {
                return Ok(());
            }
            let name = name_bytes(&info);
            if name == b"." || name == b".." {
                continue;
            }
            if !visit(name, metadata(&info)?)? {
                return Ok(());
            }
        }
    }

    pub(crate) fn open_writer(&mut self, path: &CStr, open: Open) -> Result<(), Error> {
        if self.writer_open {
            return Err(Error::AlreadyOpen);
        }
        let flags = ffi::lfs_open_flags_LFS_O_WRONLY
            | match open {
                Open::Create => ffi::lfs_open_flags_LFS_O_CREAT | ffi::lfs_open_flags_LFS_O_TRUNC,
                Open::Existing => 0,
            };
        let writer = self.writer();
        self.open(writer, path, flags)?;
        self.writer_open = true;
        Ok(())
    }

    pub(crate) fn open_reader(&mut self, path: &CStr) -> Result<(), Error> {
        self.close_reader();
        let reader = self.reader();
        self.open(reader, path, ffi::lfs_open_flags_LFS_O_RDONLY)?;
        self.reader_open = true;
        Ok(())
    }

    /// `open` is a field of our storage and not open.
    fn open(&mut self, open: *mut OpenFile, path: &CStr, flags: u32) -> Result<(), Error> {
        let flags = c_int::try_from(flags).map_err(|_| Error::Invalid)?;
        let lfs = self.enter();
        // SAFETY: mounted; the file record, its configuration and cache are fields of the storage, so
        // they outlive the open file. A failed open takes the record off littlefs' list again.
        check(unsafe {
            ffi::lfs_file_opencfg(
                lfs,
                (&raw mut (*open).file).cast(),
                path.as_ptr(),
                flags,
                (&raw const (*open).config).cast(),
            )
        })
        .map(drop)
    }

    /// The record of the open writer.
    fn writer_file(&self) -> Result<*mut ffi::lfs_file_t, Error> {
        if !self.writer_open {
            return Err(Error::NotOpen);
        }
        // SAFETY: only the field's address is taken.
        Ok(unsafe { (&raw mut (*self.writer()).file).cast() })
    }

    /// The record of the open reader.
    fn reader_file(&self) -> Result<*mut ffi::lfs_file_t, Error> {
        if !self.reader_open {
            return Err(Error::NotOpen);
        }
        // SAFETY: only the field's address is taken.
        Ok(unsafe { (&raw mut (*self.reader()).file).cast() })
    }

    pub(crate) fn writer_size(&mut self) -> Result<u32, Error> {
        let file = self.writer_file()?;
        let lfs = self.enter();
        // SAFETY: mounted, the file is open.
        check(unsafe { ffi::lfs_file_size(lfs, file) })
    }

    /// Cut the open writer to `len`, which is not past its end, and stand there.
    pub(crate) fn truncate_writer(&mut self, len: u32) -> Result<(), Error> {
        let file = self.writer_file()?;
        let whence = c_int::try_from(ffi::lfs_whence_flags_LFS_SEEK_END).unwrap_or(2);
        let lfs = self.enter();
        // SAFETY: mounted, the file is open for writing.
        check(unsafe { ffi::lfs_file_truncate(lfs, file, len) })?;
        // SAFETY: as above.
        check(unsafe { ffi::lfs_file_seek(lfs, file, 0, whence) }).map(drop)
    }

    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        let file = self.writer_file()?;
        // A length that fits `lfs_ssize_t` also keeps littlefs' `pos + size` from wrapping.
        let len = i32::try_from(data.len())
            .map_err(|_| Error::TooLarge)?
            .cast_unsigned();
        let lfs = self.enter();
        // SAFETY: mounted, the file is open for writing, `data` is readable for `len` bytes.
        let written = check(unsafe { ffi::lfs_file_write(lfs, file, data.as_ptr().cast(), len) })?;
        if written == len {
            Ok(())
        } else {
            Err(Error::Io)
        }
    }

    pub(crate) fn sync_writer(&mut self) -> Result<(), Error> {
        let file = self.writer_file()?;
        let lfs = self.enter();
        // SAFETY: mounted, the file is open.
        check(unsafe { ffi::lfs_file_sync(lfs, file) }).map(drop)
    }

    pub(crate) fn close_writer(&mut self) -> Result<(), Error> {
        let file = self.writer_file()?;
        let lfs = self.enter();
        self.writer_open = false;
        // SAFETY: mounted, the file was open; closing takes it off the list even if it fails.
        check(unsafe { ffi::lfs_file_close(lfs, file) }).map(drop)
    }

    /// Close the writer without committing what was not synced: the flag is what littlefs itself sets
    /// on a file it must not commit.
    pub(crate) fn discard_writer(&mut self) -> Result<(), Error> {
        let file = self.writer_file()?;
        // SAFETY: the file is open, so its record is initialised, and littlefs is not running.
        unsafe { (*file).flags |= ffi::lfs_open_flags_LFS_F_ERRED }
        self.close_writer()
    }

    pub(crate) fn reader_size(&mut self) -> Result<u32, Error> {
        let file = self.reader_file()?;
        let lfs = self.enter();
        // SAFETY: mounted, the file is open.
        check(unsafe { ffi::lfs_file_size(lfs, file) })
    }

    /// Read at `offset`, which is not past the end.
    pub(crate) fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<usize, Error> {
        let file = self.reader_file()?;
        let offset = i32::try_from(offset).map_err(|_| Error::Invalid)?;
        let len = i32::try_from(buf.len()).unwrap_or(i32::MAX).cast_unsigned();
        let whence = c_int::try_from(ffi::lfs_whence_flags_LFS_SEEK_SET).unwrap_or(0);
        let lfs = self.enter();
        // SAFETY: mounted, the file is open.
        check(unsafe { ffi::lfs_file_seek(lfs, file, offset, whence) })?;
        // SAFETY: as above; `buf` is writable for `len` bytes.
        let count = check(unsafe { ffi::lfs_file_read(lfs, file, buf.as_mut_ptr().cast(), len) })?;
        Ok(buf.len().min(count as usize))
    }

    /// Nothing to lose: a reader has nothing to commit.
    pub(crate) fn close_reader(&mut self) {
        if let Ok(file) = self.reader_file() {
            let lfs = self.enter();
            self.reader_open = false;
            // SAFETY: mounted, the file was open; closing takes it off the list even if it fails.
            let _nothing_to_commit = unsafe { ffi::lfs_file_close(lfs, file) };
        }
    }
}

/// The name in `info` up to its NUL, or all of it should a damaged file system leave none.
fn name_bytes(info: &ffi::lfs_info) -> &[u8] {
    // SAFETY: `c_char` and `u8` have the same size and alignment and no invalid values.
    let bytes = unsafe { slice::from_raw_parts(info.name.as_ptr().cast::<u8>(), info.name.len()) };
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn metadata(info: &ffi::lfs_info) -> Result<Metadata, Error> {
    match u32::from(info.type_) {
        ffi::lfs_type_LFS_TYPE_REG => Ok(Metadata {
            kind: Kind::File,
            size: info.size,
        }),
        // littlefs leaves the size of a folder as it was.
        ffi::lfs_type_LFS_TYPE_DIR => Ok(Metadata {
            kind: Kind::Folder,
            size: 0,
        }),
        _ => Err(Error::Corrupt),
    }
}

fn code_of(error: IoError) -> c_int {
    match error {
        IoError::Device => ffi::lfs_error_LFS_ERR_IO,
        IoError::BadBlock => ffi::lfs_error_LFS_ERR_CORRUPT,
    }
}

fn result_code(result: Result<(), IoError>) -> c_int {
    match result {
        Ok(()) => ffi::lfs_error_LFS_ERR_OK,
        Err(error) => code_of(error),
    }
}

/// The device behind a configuration.
///
/// # Safety
/// `config` is the one of a `Raw<D>` that is inside a call, so that its context is its device; and no
/// other reference to that device is alive.
unsafe fn device<'c, D>(config: *const ffi::lfs_config) -> &'c mut D {
    // SAFETY: the caller's promise; `Raw::enter` wrote the context at the start of this very call.
    unsafe { &mut *(*config).context.cast::<D>() }
}

/// Called by littlefs for each block in use.
///
/// # Safety
/// `visit` is a pointer to an `F` that nothing else refers to.
unsafe extern "C" fn visited<F: FnMut(u32)>(visit: *mut c_void, block: u32) -> c_int {
    // SAFETY: the caller's promise.
    let visit = unsafe { &mut *visit.cast::<F>() };
    visit(block);
    ffi::lfs_error_LFS_ERR_OK
}

/// Offset in the partition of `size` bytes at `off` in `block`, if they are in one block of it.
///
/// # Safety
/// `config` is readable.
unsafe fn offset(config: *const ffi::lfs_config, block: u32, off: u32, size: u32) -> Option<u32> {
    // SAFETY: the caller's promise.
    let block_count = unsafe { (*config).block_count };
    let end = off.checked_add(size)?;
    if block >= block_count || end > BLOCK_SIZE {
        return None;
    }
    // The geometry was checked, so neither overflows; checked all the same, the block is from disk.
    block.checked_mul(BLOCK_SIZE)?.checked_add(off)
}

unsafe extern "C" fn read<D: BlockDevice>(
    config: *const ffi::lfs_config,
    block: u32,
    off: u32,
    buffer: *mut c_void,
    size: u32,
) -> c_int {
    // SAFETY: littlefs passes its configuration.
    let Some(offset) = (unsafe { offset(config, block, off, size) }) else {
        return ffi::lfs_error_LFS_ERR_CORRUPT;
    };
    // SAFETY: called by littlefs, inside a call of `Raw<D>`, with a buffer of `size` bytes.
    let (device, buffer) = unsafe {
        (
            device::<D>(config),
            slice::from_raw_parts_mut(buffer.cast::<u8>(), size as usize),
        )
    };
    result_code(device.read(offset, buffer))
}

unsafe extern "C" fn program<D: BlockDevice>(
    config: *const ffi::lfs_config,
    block: u32,
    off: u32,
    buffer: *const c_void,
    size: u32,
) -> c_int {
    // SAFETY: littlefs passes its configuration.
    let Some(offset) = (unsafe { offset(config, block, off, size) }) else {
        return ffi::lfs_error_LFS_ERR_IO;
    };
    // SAFETY: called by littlefs, inside a call of `Raw<D>`, with a buffer of `size` bytes.
    let (device, buffer) = unsafe {
        (
            device::<D>(config),
            slice::from_raw_parts(buffer.cast::<u8>(), size as usize),
        )
    };
    result_code(device.program(offset, buffer))
}

unsafe extern "C" fn erase<D: BlockDevice>(config: *const ffi::lfs_config, block: u32) -> c_int {
    // SAFETY: littlefs passes its configuration.
    let Some(offset) = (unsafe { offset(config, block, 0, BLOCK_SIZE) }) else {
        return ffi::lfs_error_LFS_ERR_IO;
    };
    // SAFETY: called by littlefs, inside a call of `Raw<D>`.
    let device = unsafe { device::<D>(config) };
    result_code(device.erase(offset))
}

unsafe extern "C" fn sync<D: BlockDevice>(config: *const ffi::lfs_config) -> c_int {
    // SAFETY: called by littlefs, inside a call of `Raw<D>`.
    let device = unsafe { device::<D>(config) };
    result_code(device.sync())
}

const _: () = {
    // What `lfs_init` would assert (littlefs 2.9 `lfs.c`), were it built with assertions.
    assert!(CACHE_SIZE.is_multiple_of(READ_SIZE) && CACHE_SIZE.is_multiple_of(PROGRAM_SIZE));
    assert!(BLOCK_SIZE.is_multiple_of(CACHE_SIZE) && BLOCK_SIZE >= 128);
    assert!(LOOKAHEAD_SIZE > 0 && BLOCK_CYCLES != 0);
};
