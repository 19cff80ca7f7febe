//! The updater's files in the memory of the world: what a file system costs is not counted.

use airlift_updater::platform::{DirEntry, FilesError};
use core::cell::UnsafeCell;
use core::future::poll_fn;
use core::task::Poll;

const FILES: usize = 40;
const FILE_MAX: usize = 40_000;

struct File {
    path: [u8; 112],
    len: usize,
    is_folder: bool,
    size: usize,
    content: [u8; FILE_MAX],
}

struct Cabinet {
    files: [File; FILES],
    open: Option<usize>,
}

struct Static(UnsafeCell<Cabinet>);

// SAFETY: there is one thread.
unsafe impl Sync for Static {}

const FILE: File = File {
    path: [0; 112],
    len: 0,
    is_folder: false,
    size: 0,
    content: [0; FILE_MAX],
};

static CABINET: Static = Static(UnsafeCell::new(Cabinet {
    files: [FILE; FILES],
    open: None,
}));

#[inline(always)]
#[allow(clippy::mut_from_ref)]
fn cabinet() -> &'static mut Cabinet {
    // SAFETY: one thread, and nobody keeps the reference.
    unsafe { &mut *CABINET.0.get() }
}

/// Files in the world's memory.
pub struct Files;

/// They are there.
pub fn mount() -> Files {
    Files
}

impl airlift_updater::platform::Files for Files {
    async fn next_entry(
        &mut self,
        folder: &str,
        after: &[u8],
    ) -> Result<Option<DirEntry>, FilesError> {
        poll_fn(|_| next_entry(folder, after)).await
    }

    async fn read(&mut self, path: &str, offset: u32, buf: &mut [u8]) -> Result<usize, FilesError> {
        poll_fn(|_| file_read(path, offset, buf)).await
    }

    async fn create(&mut self, path: &str) -> Result<(), FilesError> {
        poll_fn(|_| file_create(path, false)).await
    }

    async fn reopen(&mut self, path: &str, len: u32) -> Result<(), FilesError> {
        poll_fn(|_| file_reopen(path, len)).await
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), FilesError> {
        poll_fn(|_| file_append(data)).await
    }

    async fn sync(&mut self) -> Result<(), FilesError> {
        poll_fn(|_| file_sync()).await
    }

    async fn close(&mut self) -> Result<(), FilesError> {
        poll_fn(|_| file_close()).await
    }

    async fn make_folder(&mut self, path: &str) -> Result<(), FilesError> {
        poll_fn(|_| file_create(path, true)).await
    }

    async fn remove(&mut self, path: &str) -> Result<(), FilesError> {
        poll_fn(|_| file_remove(path)).await
    }

    async fn free_blocks(&mut self) -> Result<u32, FilesError> {
        poll_fn(|_| free_blocks()).await
    }
}

fn find(path: &str) -> Option<usize> {
    let files = &cabinet().files;
    files
        .iter()
        .position(|f| f.path[..f.len] == *path.as_bytes())
}

/// The next child of a folder.
#[inline(never)]
fn next_entry(folder: &str, after: &[u8]) -> Poll<Result<Option<DirEntry>, FilesError>> {
    let mut best: Option<(&File, &[u8])> = None;
    for file in cabinet().files.iter().filter(|f| f.len > 0) {
        let Some(name) = file.path[..file.len].strip_prefix(folder.as_bytes()) else {
            continue;
        };
        let Some(name) = name.strip_prefix(b"/") else {
            continue;
        };
        let key = |f: &File, name: &[u8]| {
            let mut key = [0; 113];
            key[..name.len()].copy_from_slice(name);
            key[name.len()] = if f.is_folder { b'/' } else { 0 };
            (key, name.len() + usize::from(f.is_folder))
        };
        let (ours, len) = key(file, name);
        let better = best.is_none_or(|(other, name)| {
            let (theirs, n) = key(other, name);
            ours[..len] < theirs[..n]
        });
        if !name.contains(&b'/') && ours[..len] > *after && better {
            best = Some((file, name));
        }
    }
    let entry = best.and_then(|(file, name)| {
        DirEntry::new(
            core::str::from_utf8(name).ok()?,
            file.is_folder,
            file.size as u32,
        )
    });
    Poll::Ready(Ok(entry))
}

/// Reads from a file.
#[inline(never)]
fn file_read(path: &str, offset: u32, buf: &mut [u8]) -> Poll<Result<usize, FilesError>> {
    let Some(n) = find(path) else {
        return Poll::Ready(Err(FilesError::NotFound));
    };
    let file = &cabinet().files[n];
    let from = file.content[..file.size]
        .get(offset as usize..)
        .unwrap_or_default();
    let n = from.len().min(buf.len());
    buf[..n].copy_from_slice(&from[..n]);
    Poll::Ready(Ok(n))
}

/// Makes a file or a folder.
#[inline(never)]
fn file_create(path: &str, is_folder: bool) -> Poll<Result<(), FilesError>> {
    let files = &mut cabinet().files;
    let Some(n) = find(path).or_else(|| files.iter().position(|f| f.len == 0)) else {
        return Poll::Ready(Err(FilesError::NoSpace));
    };
    let file = &mut files[n];
    file.path[..path.len()].copy_from_slice(path.as_bytes());
    file.len = path.len();
    file.is_folder = is_folder;
    if !is_folder {
        file.size = 0;
        cabinet().open = Some(n);
    }
    Poll::Ready(Ok(()))
}

/// Opens a file at `len`.
#[inline(never)]
fn file_reopen(path: &str, len: u32) -> Poll<Result<(), FilesError>> {
    let Some(n) = find(path) else {
        return Poll::Ready(Err(FilesError::NotFound));
    };
    cabinet().files[n].size = len as usize;
    cabinet().open = Some(n);
    Poll::Ready(Ok(()))
}

/// Appends to the open file.
#[inline(never)]
fn file_append(data: &[u8]) -> Poll<Result<(), FilesError>> {
    let Some(n) = cabinet().open else {
        return Poll::Ready(Err(FilesError::Broken));
    };
    let file = &mut cabinet().files[n];
    let Some(to) = file.content.get_mut(file.size..file.size + data.len()) else {
        return Poll::Ready(Err(FilesError::NoSpace));
    };
    to.copy_from_slice(data);
    file.size += data.len();
    Poll::Ready(Ok(()))
}

/// Syncs; nothing is to be done.
#[inline(never)]
fn file_sync() -> Poll<Result<(), FilesError>> {
    Poll::Ready(Ok(()))
}

/// Closes the open file.
#[inline(never)]
fn file_close() -> Poll<Result<(), FilesError>> {
    cabinet().open = None;
    Poll::Ready(Ok(()))
}

/// Removes a file or an empty folder.
#[inline(never)]
fn file_remove(path: &str) -> Poll<Result<(), FilesError>> {
    if let Some(n) = find(path) {
        cabinet().files[n].len = 0;
    }
    Poll::Ready(Ok(()))
}

/// Free blocks.
#[inline(never)]
fn free_blocks() -> Poll<Result<u32, FilesError>> {
    Poll::Ready(Ok(200))
}
