//! The files part: from a folder or a foreign tar to the one canonical tar.
//!
//! Nothing is ever unpacked to disk. Links, devices, names that climb, names that are there twice
//! and everything else that a device could not keep is refused with its path; caches of tools are
//! left out and reported.

mod canonical;
mod folder;
mod foreign;
mod tree;

pub use canonical::{ListedEntry, Listing, check_canonical};
pub use folder::from_folder;
pub use foreign::{MAX_FOREIGN_TAR, from_tar};

use crate::{Error, read_bounded};
use airlift_wire::tar::{self, BLOCK, VERSION_FILE};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A canonical tar and what became of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub(crate) tar: Bytes,
    pub(crate) listing: Listing,
    pub(crate) skipped: Vec<Skipped>,
}

impl Files {
    /// The canonical tar.
    pub fn tar(&self) -> &Bytes {
        &self.tar
    }

    /// What is in it.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// What was left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The same files with other paths and contents, as `change` gives them, in the order of the tar.
    /// Folders stay; a path that `change` makes twice is refused (`bad_tar`).
    pub fn rewrite<E: From<Error>>(
        self,
        mut change: impl FnMut(&str, Bytes) -> Result<(String, Bytes), E>,
    ) -> Result<Self, E> {
        let mut tree = tree::Tree::default();
        let mut at = 0;
        for entry in &self.listing.entries {
            let start = at + BLOCK;
            let end = start + entry.size as usize;
            at = end + tar::padding(entry.size);
            let path = &*entry.path;
            if entry.is_folder() {
                tree.folder(&tree::components(path)?, path)?;
                continue;
            }
            let (path, content) = change(path, self.tar.slice(start..end))?;
            tree.file(&tree::components(&path)?, &path, content)?;
        }
        let mut files = tree.finish()?;
        files.skipped.extend(self.skipped);
        Ok(files)
    }
}

/// Where the files of a release come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FilesInput {
    /// A folder on disk.
    Folder(PathBuf),
    /// A tar, canonical or not.
    Tar(Bytes),
    /// Paths and contents.
    Memory(BTreeMap<String, Bytes>),
    /// Read already: what was shown is what is packed.
    Ready(Files),
}

impl FilesInput {
    /// A folder, or a tar of at most [`MAX_FOREIGN_TAR`] bytes.
    pub fn from_path(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if metadata.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        read_bounded(path, "the tar", MAX_FOREIGN_TAR).map(|bytes| Self::Tar(bytes.into()))
    }

    /// Reads everything and writes the canonical tar.
    pub fn read(self) -> Result<Files, Error> {
        match self {
            Self::Folder(path) => from_folder(&path),
            Self::Tar(bytes) => from_tar(&bytes),
            Self::Memory(entries) => {
                let mut tree = tree::Tree::default();
                for (path, content) in entries {
                    let names = tree::components(&path)?;
                    tree.file(&names, &path, content)?;
                }
                tree.finish()
            }
            Self::Ready(files) => Ok(files),
        }
    }
}

impl<P: Into<String>, B: Into<Bytes>> FromIterator<(P, B)> for FilesInput {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        Self::Memory(entries.map(|(p, b)| (p.into(), b.into())).collect())
    }
}

/// Something of the input that is not in the tar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its path; a folder is named once, not with all its content.
    pub path: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A cache or bookkeeping of a tool on the maker's machine.
    Cache,
    /// `VERSION` at the top: the updater writes it from the manifest.
    Version,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::error::printable(&self.path);
        match self.reason {
            SkipReason::Cache => f.write_str(&path),
            SkipReason::Version => write!(f, "{path} (the updater writes it)"),
        }
    }
}

/// Folders and files that tools leave behind and no device wants, wherever they are. Beside them, what
/// ends in `.pyc` or starts with `._` is left out.
pub const CACHES: &[&str] = &[
    "__pycache__",
    ".git",
    ".hg",
    ".svn",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    ".idea",
    ".vscode",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
];

/// Whether the entry with these names, the last of them `names.last()`, is left out; if so, how
/// many of the names make the path to report.
fn skip(names: &[&str], is_folder: bool) -> Option<(usize, SkipReason)> {
    if names == [VERSION_FILE] && !is_folder {
        return Some((1, SkipReason::Version));
    }
    let cache =
        |name: &str| CACHES.contains(&name) || name.ends_with(".pyc") || name.starts_with("._");
    let at = names.iter().position(|name| cache(name))?;
    Some((at + 1, SkipReason::Cache))
}
