//! Whom this host believes.

use crate::failure::Failure;
use airlift_app::home::Home;
use airlift_app::keys::{Keys, read_public};
use airlift_wire::PublicKey;
use std::path::Path;

/// The keys whose releases are accepted here. Reads files and nothing else, so that looking at a
/// release needs no database, no network and no home.
pub fn trusted_keys() -> Result<Vec<PublicKey>, Failure> {
    let root = Home::locate()?;
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    Ok(Keys::new(Home::open(&root)?).trusted()?)
}

/// The key folders of `AIRLIFT_HOME`, made if they are not there.
pub fn keys() -> Result<Keys, Failure> {
    Ok(Keys::new(Home::open(&Home::locate()?)?))
}

/// Reads the public key in a file.
pub fn read(path: &Path) -> Result<PublicKey, Failure> {
    Ok(read_public(path)?)
}
