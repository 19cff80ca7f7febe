//! Reading a folder on disk.

use super::Files;
use super::tree::{Tree, too_big};
use crate::Error;
use crate::error::EntryProblem;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Reads a folder with everything in it. The folder may itself be reached through a link; links
/// inside are refused.
pub fn from_folder(root: &Path) -> Result<Files, Error> {
    let mut tree = Tree::default();
    // Names of a folder relative to the root, and where it is.
    let mut pending: Vec<(Vec<String>, PathBuf)> = vec![(Vec::new(), root.to_owned())];
    while let Some((names, folder)) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                let shown = path.strip_prefix(root).unwrap_or(&path);
                return Err(Error::entry(shown.to_string_lossy(), EntryProblem::NotUtf8));
            };
            // Never follows a link.
            let kind = entry.file_type().map_err(|e| Error::io(&path, e))?;
            let mut names = names.clone();
            names.push(name);
            let refs: Vec<&str> = names.iter().map(String::as_str).collect();
            let shown = refs.join("/");
            // Before looking at its kind: a cache may hold links and sockets.
            if tree.skips(&refs, kind.is_dir()) {
                continue;
            }
            if kind.is_symlink() {
                return Err(Error::entry(shown, EntryProblem::Symlink));
            } else if kind.is_dir() {
                tree.folder(&refs, &shown)?;
                pending.push((names, path));
            } else if kind.is_file() {
                let content = read_file(&path, tree.room())?;
                tree.file(&refs, &shown, content)?;
            } else {
                return Err(Error::entry(shown, EntryProblem::Special));
            }
        }
    }
    tree.finish()
}

fn read_file(path: &Path, room: u64) -> Result<Bytes, Error> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > room {
        return Err(too_big(len));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // It may have grown since; what is over the limit is refused by the tree.
    file.take(room + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes.into())
}
