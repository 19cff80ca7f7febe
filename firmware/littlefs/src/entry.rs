//! What `stat` and the ordered walk of a folder return.

use core::fmt;

use crate::{Error, NAME_MAX};

/// File or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// File or folder.
    pub kind: Kind,
    /// Bytes in the file, 0 for a folder.
    pub size: u32,
}

/// One child of a folder.
#[derive(Clone, Copy)]
pub struct DirEntry {
    /// The name, and a `/` behind it for a folder.
    key: [u8; NAME_MAX + 1],
    name_len: u8,
    metadata: Metadata,
}

impl DirEntry {
    /// An entry with an empty name, to be filled by [`next_entry`](crate::FileSystem::next_entry).
    pub const fn new() -> Self {
        Self {
            key: [0; NAME_MAX + 1],
            name_len: 0,
            metadata: Metadata {
                kind: Kind::File,
                size: 0,
            },
        }
    }

    pub(crate) fn set(&mut self, name: &[u8], metadata: Metadata) -> Result<(), Error> {
        let room = self.key.get_mut(..name.len()).ok_or(Error::NameTooLong)?;
        room.copy_from_slice(name);
        if let Some(slash) = self.key.get_mut(name.len()) {
            *slash = b'/';
        }
        self.name_len = u8::try_from(name.len())
            .ok()
            .filter(|&n| usize::from(n) <= NAME_MAX)
            .ok_or(Error::NameTooLong)?;
        self.metadata = metadata;
        Ok(())
    }

    /// The name alone.
    pub fn name(&self) -> &[u8] {
        &self.key[..usize::from(self.name_len)]
    }

    /// What the canonical order compares: the name of a file, the name and a `/` of a folder.
    pub fn key(&self) -> &[u8] {
        match self.metadata.kind {
            Kind::File => self.name(),
            Kind::Folder => &self.key[..usize::from(self.name_len) + 1],
        }
    }

    /// File or folder.
    pub fn kind(&self) -> Kind {
        self.metadata.kind
    }

    /// Bytes in the file, 0 for a folder.
    pub fn size(&self) -> u32 {
        self.metadata.size
    }
}

impl Default for DirEntry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirEntry")
            .field("key", &format_args!("{}", self.key().escape_ascii()))
            .field("size", &self.size())
            .finish()
    }
}
