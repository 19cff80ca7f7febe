//! Whom this host believes.

use crate::failure::Failure;
use airlift_app::dto::{ErrorInfo, Key};
use airlift_app::home::Home;
use airlift_app::keys::{Keys, read_public};
use airlift_app::store::Store;
use airlift_discover::DeviceInfo;
use airlift_wire::PublicKey;
use std::path::Path;

/// The keys whose releases are accepted here. Reads files and nothing else, so that looking at a
/// release needs no database, no network and no home.
pub fn trusted_keys() -> Result<Vec<PublicKey>, Failure> {
    let root = Home::locate()?;
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    Ok(Keys::new(Home::at(&root)).trusted()?)
}

/// Every key that is known here; as [`trusted_keys`], it makes nothing.
pub fn known_keys() -> Result<Vec<Key>, Failure> {
    let root = Home::locate()?;
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    Ok(Keys::new(Home::at(&root)).list()?)
}

/// What the devices that were seen before said last; none when there is no list of them, or none that
/// can be read: it adds to what a command says, and keeps none from working.
pub async fn seen_devices() -> Result<Vec<DeviceInfo>, Failure> {
    let root = Home::locate()?;
    if !root.join("airlift.db").is_file() {
        return Ok(Vec::new());
    }
    let store = match Store::open(&Home::open(&root)?).await {
        Ok((store, mended)) => {
            mended
                .iter()
                .for_each(|mended| super::warn(&mended.notice()));
            store
        }
        Err(error) => {
            super::warn(&ErrorInfo::from(&error));
            return Ok(Vec::new());
        }
    };
    let remembered = store.remembered().await?.into_iter();
    Ok(remembered.filter_map(|device| device.info).collect())
}

/// The key folders of `AIRLIFT_HOME`, made if they are not there.
pub fn keys() -> Result<Keys, Failure> {
    Ok(Keys::new(Home::open(&Home::locate()?)?))
}

/// Reads the public key in a file.
pub fn read(path: &Path) -> Result<PublicKey, Failure> {
    Ok(read_public(path)?)
}
