//! The set of files and folders that becomes a canonical tar.

use super::canonical::{ListedEntry, Listing};
use super::{Files, SkipReason, Skipped, skip};
use crate::Error;
use crate::error::EntryProblem;
use airlift_wire::limits::{MAX_PART_SIZE, MAX_PATH, MAX_TAR_ENTRIES};
use airlift_wire::tar::{self, Entry, Kind, TRAILER, TarError};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Bytes and number of entries that are taken are bounded as they come.
pub(super) struct Tree {
    /// Folders end in `/`, so the order of the map is the order of the tar.
    nodes: BTreeMap<String, Node>,
    skipped: BTreeMap<String, SkipReason>,
    size: u64,
}

enum Node {
    Folder { named: bool },
    File(Bytes),
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            skipped: BTreeMap::new(),
            size: TRAILER as u64,
        }
    }
}

/// The names of a path, without the `.` and the slashes that say nothing; empty for the top
/// folder. Absolute paths and `..` are refused.
pub(super) fn components(path: &str) -> Result<Vec<&str>, Error> {
    let refused = || Error::entry(path, EntryProblem::Path);
    if path.is_empty() || path.starts_with('/') {
        return Err(refused());
    }
    let names: Vec<&str> = path
        .split('/')
        .filter(|n| !matches!(*n, "" | "."))
        .collect();
    if names.contains(&"..") {
        return Err(refused());
    }
    Ok(names)
}

impl Tree {
    /// Whether an entry is left out; if so, it is noted.
    pub(super) fn skips(&mut self, names: &[&str], is_folder: bool) -> bool {
        match skip(names, is_folder) {
            None => false,
            Some((shown, reason)) => {
                self.skipped.insert(names[..shown].join("/"), reason);
                true
            }
        }
    }

    /// Adds a file. `shown` is its path as found, for errors.
    pub(super) fn file(
        &mut self,
        names: &[&str],
        shown: &str,
        content: Bytes,
    ) -> Result<(), Error> {
        if names.is_empty() {
            return Err(Error::entry(shown, EntryProblem::Path));
        }
        if self.skips(names, false) {
            return Ok(());
        }
        let path = names.join("/");
        check(&path, Kind::File, shown)?;
        self.parents(&path, shown)?;
        if self.nodes.contains_key(&path) {
            return Err(Error::entry(shown, EntryProblem::Duplicate));
        }
        if self.nodes.contains_key(&format!("{path}/")) {
            return Err(Error::entry(shown, EntryProblem::FileAndFolder));
        }
        self.insert(path, Node::File(content))
    }

    /// Adds a folder; the top folder itself needs no entry.
    pub(super) fn folder(&mut self, names: &[&str], shown: &str) -> Result<(), Error> {
        if names.is_empty() || self.skips(names, true) {
            return Ok(());
        }
        let path = names.join("/") + "/";
        check(&path, Kind::Folder, shown)?;
        self.parents(&path, shown)?;
        self.add_folder(path, true, shown)
    }

    /// Bytes that may still be added as the content of one more file.
    pub(super) fn room(&self) -> u64 {
        u64::from(MAX_PART_SIZE).saturating_sub(self.size)
    }

    fn parents(&mut self, path: &str, shown: &str) -> Result<(), Error> {
        let body = path.strip_suffix('/').unwrap_or(path);
        for (at, _) in body.match_indices('/') {
            self.add_folder(path[..=at].to_owned(), false, shown)?;
        }
        Ok(())
    }

    fn add_folder(&mut self, path: String, named: bool, shown: &str) -> Result<(), Error> {
        match self.nodes.get_mut(&path) {
            Some(Node::Folder { named: before }) => {
                if named && *before {
                    return Err(Error::entry(shown, EntryProblem::Duplicate));
                }
                *before |= named;
                Ok(())
            }
            _ => {
                check(&path, Kind::Folder, shown)?;
                if self.nodes.contains_key(path.trim_end_matches('/')) {
                    return Err(Error::entry(shown, EntryProblem::FileAndFolder));
                }
                self.insert(path, Node::Folder { named })
            }
        }
    }

    fn insert(&mut self, path: String, node: Node) -> Result<(), Error> {
        let content = match &node {
            Node::Folder { .. } => 0,
            Node::File(bytes) => bytes.len() as u64,
        };
        let limit = u64::from(MAX_PART_SIZE);
        // The padding of content over the limit does not matter any more.
        let len = tar::entry_len(u32::try_from(content).unwrap_or(u32::MAX));
        self.size = self.size.saturating_add(len);
        if content > limit || self.size > limit {
            return Err(too_big(self.size.max(content)));
        }
        if self.nodes.len() >= MAX_TAR_ENTRIES as usize {
            return Err(Error::TooBig {
                what: "the files part".to_owned(),
                size: self.nodes.len() as u64 + 1,
                limit: MAX_TAR_ENTRIES.into(),
                unit: "entries",
            });
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Writes the canonical tar.
    pub(super) fn finish(self) -> Result<Files, Error> {
        let mut out = Vec::with_capacity(self.size as usize);
        let mut listing = Listing::default();
        for (path, node) in &self.nodes {
            let (kind, content) = match node {
                Node::Folder { .. } => (Kind::Folder, &[][..]),
                Node::File(bytes) => (Kind::File, &bytes[..]),
            };
            let size = content.len() as u32;
            let entry = Entry { path, kind, size };
            let at = out.len();
            let header = tar::header(&entry).map_err(|error| Error::Tar { error, at })?;
            out.extend_from_slice(&header);
            out.extend_from_slice(content);
            out.resize(out.len() + tar::padding(size), 0);
            listing.push(ListedEntry::new(&entry));
        }
        out.resize(out.len() + TRAILER, 0);
        let skipped = self.skipped.into_iter();
        Ok(Files {
            tar: out.into(),
            listing,
            skipped: skipped
                .map(|(path, reason)| Skipped { path, reason })
                .collect(),
        })
    }
}

pub(super) fn too_big(size: u64) -> Error {
    Error::too_many_bytes("the files part", size, MAX_PART_SIZE.into())
}

fn check(path: &str, kind: Kind, shown: &str) -> Result<(), Error> {
    let problem = match tar::check_path(path, kind) {
        Ok(()) => return Ok(()),
        Err(TarError::Reserved) => EntryProblem::Reserved,
        Err(_) if path.len() > MAX_PATH => EntryProblem::TooLong,
        Err(_) => EntryProblem::Path,
    };
    Err(Error::entry(shown, problem))
}
