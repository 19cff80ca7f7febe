//! Whom this host believes.

use crate::failure::Failure;
use airlift_app::home::Home;
use airlift_release::keys;
use airlift_wire::PublicKey;
use std::path::{Path, PathBuf};

/// How the file of a public key ends.
const PUBLIC: &str = ".pub.pem";

/// The keys whose releases are accepted here: the trust list and this host's own keys.
///
/// Reads files and nothing else, so that looking at a release needs no database, no network and
/// no write access. A key file that cannot be read costs its releases their trust and is told on
/// standard error; it does not stop the command.
pub fn trusted_keys() -> Result<Vec<PublicKey>, Failure> {
    let root = Home::locate()?;
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let home = Home::open(&root)?;
    let mut found = Vec::new();
    for path in public_keys_in(&home.trusted())?
        .into_iter()
        .chain(public_keys_in(&home.keys())?)
    {
        match read(&path) {
            Ok(key) if !found.contains(&key) => found.push(key),
            Ok(_) => {}
            Err(failure) => eprintln!("warning: {}: {}", path.display(), failure.message()),
        }
    }
    Ok(found)
}

/// Reads the public key in a file.
pub fn read(path: &Path) -> Result<PublicKey, Failure> {
    Ok(keys::public_from_pem(&keys::read_key_file(path)?)?)
}

/// The files of public keys in a folder, sorted; none when there is no such folder.
fn public_keys_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io(folder, &error)),
    };
    let is_key = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        name.ends_with(PUBLIC) && !name.starts_with('.')
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_key)
        .collect();
    paths.sort();
    Ok(paths)
}
