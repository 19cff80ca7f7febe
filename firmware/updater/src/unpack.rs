//! A canonical tar into a folder, while it streams.
//!
//! Every byte that arrives here was checked against the signed index. What the tar says is still
//! checked strictly: a signer can make mistakes, and no path may leave the slot's folder.

use crate::Failure;
use crate::emit::{At, Cursor, after_content};
use crate::path::Path;
use crate::platform::{Files, FilesError};
use airlift_wire::ErrorCode;
use airlift_wire::limits::MAX_TAR_ENTRIES;
use airlift_wire::tar::{self, BLOCK, Kind, TRAILER, TarError, VERSION_FILE};

/// Unpacks into one slot's folder.
pub struct Unpacker {
    root: Path,
    /// The last entry below the root, with `/` when it is a folder.
    last: Path,
    at: At,
    entries: u32,
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::NoSpace => Self::new(
                ErrorCode::TooBig,
                "the file system has no room for the files",
            ),
            FilesError::BadName => Self::new(
                ErrorCode::BadTar,
                "a file has a name that the formats do not allow",
            ),
            FilesError::NotFound | FilesError::Broken => Self::new(
                ErrorCode::FlashFault,
                "the file system does not answer as it should",
            ),
        }
    }
}

impl Unpacker {
    /// Continues where `cursor` stands in the folder: all that it has passed stays, everything
    /// after it is removed, a file that it stands in is cut there.
    pub async fn resume<F: Files>(
        files: &mut F,
        root: Path,
        cursor: &Cursor,
    ) -> Result<Self, Failure> {
        files.make_folder(root.as_str()).await?;
        let mut version = root;
        version.push(VERSION_FILE).ok_or(TarError::Path)?;
        let removed = files.remove(version.as_str()).await;
        remove_after(files, cursor).await?;
        if removed.is_err() {
            // A folder of that name, which was not empty; what was in it came after the cursor.
            files.remove(version.as_str()).await?;
        }
        let mut last = Path::EMPTY;
        if cursor.path != root {
            last = cursor.relative();
            if cursor.is_folder {
                last.push_str("/").ok_or(TarError::Path)?;
            }
        }
        if let At::Content { offset, .. } = cursor.at {
            files.reopen(cursor.path.as_str(), offset).await?;
        }
        Ok(Self {
            root,
            last,
            at: cursor.at,
            entries: 0,
        })
    }

    /// Takes the next bytes. Their number is a multiple of 512, or they end the tar.
    pub async fn feed<F: Files>(&mut self, files: &mut F, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let used = match self.at {
                At::Header => {
                    let block = bytes.first_chunk::<BLOCK>().ok_or(TarError::Length)?;
                    self.header(files, block).await?;
                    BLOCK
                }
                At::Content { size, offset } => {
                    let n = bytes.len().min((size - offset) as usize);
                    files.append(&bytes[..n]).await?;
                    let offset = offset + n as u32;
                    self.at = At::Content { size, offset };
                    if offset == size {
                        files.close().await?;
                        self.at = after_content(size);
                    }
                    n
                }
                At::Padding { left } => {
                    let n = zeros(bytes, left)?;
                    self.at = if n == left {
                        At::Header
                    } else {
                        At::Padding { left: left - n }
                    };
                    n
                }
                At::Trailer { left: 0 } => return Err(TarError::Length.into()),
                At::Trailer { left } => {
                    let n = zeros(bytes, left)?;
                    self.at = At::Trailer { left: left - n };
                    n
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    async fn header<F: Files>(
        &mut self,
        files: &mut F,
        block: &[u8; BLOCK],
    ) -> Result<(), Failure> {
        if block[0] == 0 {
            zeros(block, BLOCK)?;
            self.at = At::Trailer {
                left: TRAILER - BLOCK,
            };
            return Ok(());
        }
        let entry = tar::parse(block)?;
        if entry.path.as_bytes() <= self.last.as_str().as_bytes() {
            return Err(TarError::Order.into());
        }
        // In sorted order the folder of an entry, with all that is in it, has just been passed:
        // it is the last entry or one of the last entry's own folders.
        if !self.last.as_str().starts_with(tar::parent(entry.path)) {
            return Err(TarError::NoFolder.into());
        }
        self.entries += 1;
        if self.entries > MAX_TAR_ENTRIES {
            return Err(TarError::TooMany.into());
        }
        self.last = Path::new(entry.path).ok_or(TarError::Path)?;
        let mut path = self.root;
        path.push(entry.path.trim_end_matches('/'))
            .ok_or(TarError::Path)?;
        self.at = match entry.kind {
            Kind::Folder => {
                // In sorted order a file of that name has come before, though not always just before.
                if files.read(path.as_str(), 0, &mut [0]).await.is_ok() {
                    return Err(TarError::Order.into());
                }
                files.make_folder(path.as_str()).await?;
                At::Header
            }
            Kind::File => {
                files.create(path.as_str()).await?;
                if entry.size == 0 {
                    files.close().await?;
                    At::Header
                } else {
                    At::Content {
                        size: entry.size,
                        offset: 0,
                    }
                }
            }
        };
        Ok(())
    }

    /// Makes what was written so far durable, so that a power cut loses at most what comes next.
    pub async fn sync<F: Files>(&mut self, files: &mut F) -> Result<(), Failure> {
        if matches!(self.at, At::Content { .. }) {
            files.sync().await?;
        }
        Ok(())
    }

    /// The tar must have ended.
    pub fn finish(self) -> Result<(), Failure> {
        if self.at == (At::Trailer { left: 0 }) {
            Ok(())
        } else {
            Err(TarError::Length.into())
        }
    }
}

fn zeros(bytes: &[u8], left: usize) -> Result<usize, TarError> {
    let n = bytes.len().min(left);
    if bytes[..n].iter().all(|b| *b == 0) {
        Ok(n)
    } else {
        Err(TarError::Padding)
    }
}

/// Writes `VERSION` at the top of a slot's folder: the last file of an update.
pub async fn write_version<F: Files>(
    files: &mut F,
    root: Path,
    version: &str,
) -> Result<(), Failure> {
    let mut path = root;
    path.push(VERSION_FILE).ok_or(TarError::Path)?;
    files.create(path.as_str()).await?;
    files.append(version.as_bytes()).await?;
    files.append(b"\n").await?;
    files.close().await?;
    Ok(())
}

/// Removes everything that comes after the cursor in the order of the tar.
async fn remove_after<F: Files>(files: &mut F, cursor: &Cursor) -> Result<(), Failure> {
    // Inside the current entry (a folder's content), then after it in each folder above it.
    let mut folder = cursor.path;
    if cursor.is_folder {
        remove_children(files, &folder, "").await?;
    }
    let mut is_folder = cursor.is_folder;
    while !cursor.is_root(&folder) {
        let mut after = folder.pop();
        if is_folder {
            after.push_str("/").ok_or(TarError::Path)?;
        }
        remove_children(files, &folder, after.as_str()).await?;
        is_folder = true;
    }
    Ok(())
}

/// Removes the children of `folder` after the key `after`, with all that is in them.
async fn remove_children<F: Files>(
    files: &mut F,
    folder: &Path,
    after: &str,
) -> Result<(), Failure> {
    let mut at = *folder;
    let mut removed = None;
    loop {
        let key = if at == *folder { after } else { "" };
        let next = match files.next_entry(at.as_str(), key.as_bytes()).await {
            Err(FilesError::BadName) => {
                files.remove_unnamed(at.as_str()).await?;
                files.next_entry(at.as_str(), key.as_bytes()).await?
            }
            next => next?,
        };
        match next {
            Some(entry) => {
                if at.push(entry.name()).is_none() {
                    // Behind a path that is too long; once removed, it is not listed again.
                    if removed == Some(at) {
                        return Err(FilesError::Broken.into());
                    }
                    files.remove_unnamed(at.as_str()).await?;
                    removed = Some(at);
                    continue;
                }
                if removed == Some(at) {
                    // A damaged file system lists what it does not find, and would do so for ever.
                    return Err(FilesError::Broken.into());
                }
                if entry.is_folder {
                    continue;
                }
            }
            None if at == *folder => return Ok(()),
            None => {}
        }
        files.remove(at.as_str()).await?;
        removed = Some(at);
        at.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SlotId;
    use crate::platform::DirEntry;
    use embassy_futures::block_on;

    /// A damaged folder: it lists an entry that it does not find.
    struct Damaged {
        is_folder: bool,
        removals: u32,
    }

    impl Files for Damaged {
        async fn next_entry(
            &mut self,
            folder: &str,
            after: &[u8],
        ) -> Result<Option<DirEntry>, FilesError> {
            let there = folder == "/ota_0" && after < b"x".as_slice();
            Ok(DirEntry::new("x", self.is_folder, 1).filter(|_| there))
        }

        async fn remove(&mut self, path: &str) -> Result<(), FilesError> {
            self.removals += u32::from(path == "/ota_0/x");
            Ok(())
        }

        async fn make_folder(&mut self, _: &str) -> Result<(), FilesError> {
            Ok(())
        }

        async fn read(&mut self, _: &str, _: u32, _: &mut [u8]) -> Result<usize, FilesError> {
            Err(FilesError::Broken)
        }

        async fn create(&mut self, _: &str) -> Result<(), FilesError> {
            Err(FilesError::Broken)
        }

        async fn reopen(&mut self, _: &str, _: u32) -> Result<(), FilesError> {
            Err(FilesError::Broken)
        }

        async fn append(&mut self, _: &[u8]) -> Result<(), FilesError> {
            Err(FilesError::Broken)
        }

        async fn sync(&mut self) -> Result<(), FilesError> {
            Ok(())
        }

        async fn close(&mut self) -> Result<(), FilesError> {
            Ok(())
        }

        async fn free_blocks(&mut self) -> Result<u32, FilesError> {
            Ok(0)
        }
    }

    #[test]
    fn an_entry_that_is_listed_and_never_found_ends_the_update() {
        for is_folder in [false, true] {
            let mut files = Damaged {
                is_folder,
                removals: 0,
            };
            let root = Path::slot(SlotId::Ota0);
            let resumed = block_on(Unpacker::resume(&mut files, root, &Cursor::new(root)));
            let code = resumed.err().map(|failure| failure.code);
            assert_eq!(code, Some(ErrorCode::FlashFault));
            assert_eq!(files.removals, 1);
        }
    }
}
