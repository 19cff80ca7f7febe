//! The canonical tar of a folder, byte for byte, without storing it.
//!
//! A cursor walks the folder in the order of the tar and produces the stream in pieces of any
//! size. It can be copied: where a cursor stands is all that is needed to continue from there.

use crate::path::Path;
use crate::platform::{Files, FilesError};
use airlift_wire::limits::MAX_PART_SIZE;
use airlift_wire::tar::{self, BLOCK, Kind, TRAILER, VERSION_FILE};

/// What stands at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The header of the next entry.
    Header,
    /// Byte `offset` of the content of the current file.
    Content { size: u32, offset: u32 },
    /// Zeros after the content.
    Padding { left: usize },
    /// Zeros that end the tar.
    Trailer { left: usize },
}

/// Where a walk through a folder is.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// Bytes of `path` that are the folder of the slot.
    root_len: usize,
    /// Absolute path of the current entry; the root before the first.
    pub(crate) path: Path,
    pub(crate) is_folder: bool,
    pub(crate) at: At,
    emitted: u32,
    /// A file that is shorter than it will be, and its whole size.
    partial: Option<(Path, u32)>,
}

impl Cursor {
    /// Before the first entry of `root`, such as `/ota_0`.
    pub fn new(root: Path) -> Self {
        Self {
            root_len: root.len(),
            path: root,
            is_folder: true,
            at: At::Header,
            emitted: 0,
            partial: None,
        }
    }

    /// From now on, produces the file `path`, of which the folder holds only the start, with the header
    /// of a file of `size` bytes.
    pub(crate) fn set_partial(&mut self, path: Path, size: u32) {
        self.partial = Some((path, size));
    }

    /// Path and size of the last entry from here on, if that is a file: what was being written when
    /// power went.
    pub(crate) async fn last_file<F: Files>(
        mut self,
        files: &mut F,
    ) -> Result<Option<(Path, u32)>, FilesError> {
        let mut last = None;
        while let Some(size) = self.step(files).await? {
            last = (!self.is_folder).then_some((self.path, size));
        }
        Ok(last)
    }

    /// Whether a path of the walk is where it began.
    pub(crate) fn is_root(&self, path: &Path) -> bool {
        path.len() == self.root_len
    }

    /// A path of the walk as the tar has it.
    pub(crate) fn in_tar<'p>(&self, path: &'p Path) -> &'p str {
        path.as_str().get(self.root_len + 1..).unwrap_or("")
    }

    /// Bytes produced so far.
    pub fn emitted(&self) -> u32 {
        self.emitted
    }

    /// Whether the tar has ended.
    pub fn is_done(&self) -> bool {
        self.at == At::Trailer { left: 0 }
    }

    /// Fills `out` with the next bytes and returns how many: fewer only at the end of the tar.
    pub async fn fill<F: Files>(
        &mut self,
        files: &mut F,
        out: &mut [u8],
    ) -> Result<usize, FilesError> {
        let mut filled = 0;
        while filled < out.len() && !self.is_done() {
            let rest = &mut out[filled..];
            filled += match self.at {
                At::Header => {
                    // Chunks and pieces are multiples of a block, so a header is never split.
                    let Some(block) = rest.first_chunk_mut::<BLOCK>() else {
                        break;
                    };
                    self.header(files, block).await?
                }
                At::Content { size, offset } => {
                    let want = rest.len().min((size - offset) as usize);
                    let n = files
                        .read(self.path.as_str(), offset, &mut rest[..want])
                        .await?;
                    if n == 0 {
                        let partial = self.partial.is_some_and(|(path, _)| path == self.path);
                        return Err(if partial {
                            FilesError::NotFound
                        } else {
                            FilesError::Broken
                        });
                    }
                    let offset = offset + n as u32;
                    self.at = if offset == size {
                        after_content(size)
                    } else {
                        At::Content { size, offset }
                    };
                    n
                }
                At::Padding { left } => {
                    let n = left.min(rest.len());
                    rest[..n].fill(0);
                    self.at = if n == left {
                        At::Header
                    } else {
                        At::Padding { left: left - n }
                    };
                    n
                }
                At::Trailer { left } => {
                    let n = left.min(rest.len());
                    rest[..n].fill(0);
                    self.at = At::Trailer { left: left - n };
                    n
                }
            };
        }
        self.emitted = self.emitted.saturating_add(filled as u32);
        if self.emitted > MAX_PART_SIZE {
            Err(FilesError::Broken)
        } else {
            Ok(filled)
        }
    }

    /// Steps to the next entry and writes its header; 0 bytes when there is none.
    async fn header<F: Files>(
        &mut self,
        files: &mut F,
        block: &mut [u8; BLOCK],
    ) -> Result<usize, FilesError> {
        let Some(size) = self.step(files).await? else {
            self.at = At::Trailer { left: TRAILER };
            return Ok(0);
        };
        let mut name = self.relative();
        let kind = if self.is_folder {
            Kind::Folder
        } else {
            Kind::File
        };
        if self.is_folder {
            name.push_str("/").ok_or(FilesError::BadName)?;
        }
        let entry = tar::Entry {
            path: name.as_str(),
            kind,
            size,
        };
        *block = tar::header(&entry).map_err(|_| FilesError::BadName)?;
        self.at = match (self.is_folder, size) {
            (true, _) | (_, 0) => At::Header,
            _ => At::Content { size, offset: 0 },
        };
        Ok(BLOCK)
    }

    /// The current entry's path below the root.
    pub(crate) fn relative(&self) -> Path {
        Path::new(self.in_tar(&self.path)).unwrap_or(Path::EMPTY)
    }

    /// Moves to the next entry; its size, or `None` at the end.
    async fn step<F: Files>(&mut self, files: &mut F) -> Result<Option<u32>, FilesError> {
        let mut folder = self.path;
        let mut after = Path::EMPTY;
        if !self.is_folder {
            after = folder.pop();
        }
        loop {
            match files
                .next_entry(folder.as_str(), after.as_str().as_bytes())
                .await?
            {
                Some(entry) => {
                    if self.is_root(&folder) && !entry.is_folder && entry.name() == VERSION_FILE {
                        after = Path::new(VERSION_FILE).ok_or(FilesError::BadName)?;
                        continue;
                    }
                    folder.push(entry.name()).ok_or(FilesError::BadName)?;
                    self.path = folder;
                    self.is_folder = entry.is_folder;
                    let size = match self.partial {
                        Some((path, size)) if path == self.path => size,
                        _ => entry.size,
                    };
                    return Ok(Some(if entry.is_folder { 0 } else { size }));
                }
                None if self.is_root(&folder) => return Ok(None),
                None => {
                    after = folder.pop();
                    after.push_str("/").ok_or(FilesError::BadName)?;
                }
            }
        }
    }
}

pub(crate) fn after_content(size: u32) -> At {
    match tar::padding(size) {
        0 => At::Header,
        left => At::Padding { left },
    }
}
