//! The strict check of a canonical tar.

use crate::Error;
use crate::part::{PartKind, check_size};
use airlift_wire::limits::MAX_TAR_ENTRIES;
use airlift_wire::tar::{self, BLOCK, Entry, Kind, TRAILER, TarError};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a canonical tar holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Files and folders in the order of the tar.
    pub entries: Vec<ListedEntry>,
    /// 4 KiB blocks that they need at most on a device ([`tar::blocks_for`]).
    pub blocks: u32,
}

/// One file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedEntry {
    /// Relative path; a folder's ends in `/`.
    pub path: String,
    /// Bytes of content; 0 for a folder.
    pub size: u32,
}

impl ListedEntry {
    pub(super) fn new(entry: &Entry<'_>) -> Self {
        Self {
            path: entry.path.to_owned(),
            size: entry.size,
        }
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }

    fn kind(&self) -> Kind {
        if self.is_folder() {
            Kind::Folder
        } else {
            Kind::File
        }
    }
}

impl Listing {
    pub(super) fn push(&mut self, entry: ListedEntry) {
        self.blocks += tar::blocks_for(&entry.path, entry.kind(), entry.size);
        self.entries.push(entry);
    }

    /// Number of files, folders not counted.
    pub fn files(&self) -> usize {
        self.entries.iter().filter(|e| !e.is_folder()).count()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|e| u64::from(e.size)).sum()
    }
}

/// Lists a tar that is canonical to the last byte; refuses every other (`bad_tar`, `too_big`).
pub fn check_canonical(bytes: &[u8]) -> Result<Listing, Error> {
    check_size(PartKind::Files, bytes.len() as u64)?;
    let mut listing = Listing::default();
    let mut folders = BTreeSet::new();
    let mut at = 0;
    loop {
        let refuse = |error| Error::Tar { error, at };
        let rest = &bytes[at..];
        let block: &[u8; BLOCK] = rest.first_chunk().ok_or(refuse(TarError::Length))?;
        if block.iter().all(|b| *b == 0) {
            if rest.len() != TRAILER {
                return Err(refuse(TarError::Length));
            }
            return match rest.iter().all(|b| *b == 0) {
                true => Ok(listing),
                false => Err(refuse(TarError::Padding)),
            };
        }
        let entry = tar::parse(block).map_err(refuse)?;
        let before = &listing.entries;
        if before
            .last()
            .is_some_and(|last| last.path.as_str() >= entry.path)
        {
            return Err(refuse(TarError::Order));
        }
        // `a`, `a.py`, `a/` are sorted, but no file system holds both `a` and `a/`.
        let as_file = entry.path.strip_suffix('/').unwrap_or_default();
        if before
            .binary_search_by(|e| e.path.as_str().cmp(as_file))
            .is_ok()
        {
            return Err(refuse(TarError::Order));
        }
        let parent = tar::parent(entry.path);
        if !parent.is_empty() && !folders.contains(parent) {
            return Err(refuse(TarError::NoFolder));
        }
        if listing.entries.len() >= MAX_TAR_ENTRIES as usize {
            return Err(refuse(TarError::TooMany));
        }
        let start = at + BLOCK;
        let end = start + entry.size as usize;
        let padded = end + tar::padding(entry.size);
        let padding = bytes.get(end..padded).ok_or(refuse(TarError::Length))?;
        if padding.iter().any(|b| *b != 0) {
            return Err(refuse(TarError::Padding));
        }
        if entry.kind == Kind::Folder {
            folders.insert(entry.path);
        }
        listing.push(ListedEntry::new(&entry));
        at = padded;
    }
}
