//! The files of a key folder and their names.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use airlift_release::keys as files;
use airlift_wire::{KeyId, PublicKey};

use crate::{Error, error::is_printable_name};

pub(super) const PRIVATE: &str = ".pem";
pub(super) const PUBLIC: &str = ".pub.pem";

/// Reads a public key file.
pub fn read_public(path: &Path) -> Result<PublicKey, Error> {
    Ok(files::public_from_pem(&files::read_key_file(path)?)?)
}

/// The name of a key file: `a` of `dir/a.pub.pem` and of `dir/a.pem`.
pub fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = name
        .strip_suffix(PUBLIC)
        .or(name.strip_suffix(PRIVATE))
        .unwrap_or(&name);
    name.to_owned()
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if clean(name) == name {
        return Ok(());
    }
    let message = format!("{name:?} is no name for a key: a-z, A-Z, 0-9, . _ and - are");
    Err(Error::Usage(message))
}

pub(super) fn public_in(path: &Path) -> Option<PublicKey> {
    read_public(path)
        .inspect_err(|e| tracing::warn!(path = %path.display(), "left out: {e}"))
        .ok()
}

/// Names and paths of the files of a folder that end in `suffix`, in order.
pub(super) fn listed(dir: &Path, suffix: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(|e| Error::io(dir, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        let public = name.ends_with(PUBLIC);
        if let Some(stem) = name.strip_suffix(suffix)
            && !name.starts_with('.')
            && public == (suffix == PUBLIC)
        {
            found.push((stem.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// A name that is one on every file system.
pub(super) fn clean(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if is_printable_name(c) { c } else { '-' })
        .take(64)
        .collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() {
        "key".to_owned()
    } else {
        name.to_owned()
    }
}

/// The name, or with the key's id after it when another key has it.
pub(super) fn free_name(dir: &Path, name: &str, suffix: &str, id: KeyId) -> String {
    if dir.join(format!("{name}{suffix}")).exists() {
        format!("{name}-{id}")
    } else {
        name.to_owned()
    }
}
