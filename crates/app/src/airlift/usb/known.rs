//! What is known besides what is in a board's flash: releases, and the keys of this computer.

use std::sync::Arc;

use airlift_flash::diagnosis::Identity;
use airlift_flash::{Bootloader, bootloader};
use airlift_release::{Release, keys::key_set};
use airlift_usb::Board;
use airlift_wire::image::chip_name;
use airlift_wire::limits::MAX_RELEASE_KEYS;
use airlift_wire::{ErrorCode, KeySet, PublicKey};

use super::plan::target;
use crate::airlift::{Shared, lock};
use crate::{Error, dto};

/// How many bytes of releases a board is compared with at most; the newest come first.
const KNOWN_BYTES: u64 = 96 * 1024 * 1024;
/// The first set of keys that a board has.
const FIRST_EPOCH: u32 = 1;
/// The key that signs for virtual devices only.
const VIRTUAL: &str = crate::simulate::KEY;

/// What a board is compared with, and what it gets when it has forgotten what it is.
pub(super) struct Known {
    pub(super) chip: u16,
    pub(super) releases: Vec<Release>,
    pub(super) identity: Option<Identity>,
    /// The one for the revision and the crystal of the board, when there is one.
    bootloader: Option<Bootloader>,
}

impl Known {
    pub(super) fn borrow(&self) -> airlift_flash::Known<'_> {
        let mut known = airlift_flash::Known::new(self.chip, &self.releases);
        if let Some(bootloader) = &self.bootloader {
            known = known.with_bootloader(bootloader);
        }
        match &self.identity {
            Some(identity) => known.with_identity(identity),
            None => known,
        }
    }
}

impl Shared {
    /// What is known for a board. Reads files.
    pub(super) fn known_for(&self, board: &Board) -> Result<Arc<Known>, Error> {
        let chip = board.chip_id;
        let trusted = self.keys.trusted()?;
        let name = chip_name(chip).unwrap_or_default();
        let mut releases = Vec::new();
        let mut products: Vec<String> = Vec::new();
        let mut left = KNOWN_BYTES;
        for listed in self.library.list() {
            let carries = |part: &dto::Part| matches!(part, dto::Part::Carried { .. });
            let of_chip = listed.chip == name || listed.chip == "any";
            if !of_chip || !(carries(&listed.app) || carries(&listed.files)) {
                continue;
            }
            if !products.contains(&listed.product) {
                products.push(listed.product.clone());
            }
            let Some(rest) = left.checked_sub(listed.size.into()) else {
                continue;
            };
            let known = lock(&self.usb.opened).get(&listed.id).cloned();
            let release = match known {
                Some(release) => release,
                None => match self.library.open(&listed.id, &trusted) {
                    Ok(release) => release,
                    // It is reported where releases are listed.
                    Err(_) => continue,
                },
            };
            left = rest;
            lock(&self.usb.opened).insert(listed.id, release.clone());
            releases.push(release);
        }
        let kept: Vec<_> = releases.iter().map(|r| r.id().to_string()).collect();
        lock(&self.usb.opened)
            .retain(|id, release| kept.contains(id) || !release.manifest().fits_chip(chip));
        // With two products nobody knows which of them a board without a state is.
        let identity = match (products.as_slice(), self.own_keys()) {
            ([product], Ok(trust)) => Some(Identity {
                product: product.clone(),
                name: String::new(),
                trust,
            }),
            _ => None,
        };
        Ok(Arc::new(Known {
            chip,
            releases,
            identity,
            bootloader: bootloader::for_target(&target(board)).ok(),
        }))
    }

    /// The keys that a new board trusts: those with these ids, the root first; without any, those of
    /// this computer. An offline key of this computer is the root, and those that sign here are the
    /// release keys.
    ///
    /// # Errors
    /// `bad_key` for one that is not here; `no_trust` when there is none.
    pub(super) fn keys_for_board(&self, ids: &[String]) -> Result<KeySet, Error> {
        let Some((root, rest)) = ids.split_first() else {
            return self.own_keys();
        };
        let root = self.keys.public(root)?;
        let rest: Result<Vec<PublicKey>, Error> =
            rest.iter().map(|id| self.keys.public(id)).collect();
        let mut rest = rest?;
        if rest.is_empty() {
            // One key may be both.
            rest.push(root);
        }
        Ok(key_set(FIRST_EPOCH, root, &rest)?)
    }

    fn own_keys(&self) -> Result<KeySet, Error> {
        let mut keys = self.keys.list()?;
        keys.retain(|key| key.name != VIRTUAL);
        let public = |key: &dto::Key| self.keys.public(&key.id);
        let those = |which: fn(&dto::Key) -> bool| -> Result<Vec<PublicKey>, Error> {
            keys.iter().filter(|key| which(key)).map(public).collect()
        };
        let mut release = those(|key| key.can_sign)?;
        let mut spares = those(|key| key.offline)?;
        if release.is_empty() && spares.is_empty() {
            // Keys may be kept in files elsewhere, as scripts do.
            release = those(|key| key.trusted)?;
            if release.len() > 1 {
                let message = "this computer trusts several keys and has none; name those that \
                               the board is to trust";
                return Err(Error::refused(ErrorCode::NoTrust, message));
            }
        }
        let offline = (!spares.is_empty()).then(|| spares.remove(0));
        let Some(root) = offline.or(release.first().copied()) else {
            let message = "there is no key here that a board could trust";
            return Err(Error::refused(ErrorCode::NoTrust, message));
        };
        if release.is_empty() {
            release.push(root);
        }
        release.extend(spares);
        if release.len() > MAX_RELEASE_KEYS {
            let count = release.len();
            return Err(Error::Usage(format!(
                "this computer has {count} keys for releases, and a board trusts at most \
                 {MAX_RELEASE_KEYS}; name those that it is to trust"
            )));
        }
        Ok(key_set(FIRST_EPOCH, root, &release)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::airlift::{Airlift, Options};
    use crate::usb::fake::{FakeBoards, board};

    #[tokio::test]
    async fn a_repair_writes_the_bootloader_for_the_crystal_of_the_board() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::command(dir.path().join("home"));
        options.mdns = false;
        let app = Airlift::open_with(options, Arc::new(FakeBoards::default()));
        let app = app.await.unwrap();
        let with = |mhz| {
            let mut board = board(1);
            (board.chip, board.chip_id) = ("esp32".to_owned(), 0);
            board.crystal = Some(mhz);
            let known = app.shared.known_for(&board).unwrap();
            known.borrow().bootloader.cloned().unwrap()
        };
        assert_ne!(with(26).bytes(), with(40).bytes());
        let usual = bootloader::for_chip(0, board(1).flash_size).unwrap();
        assert_eq!(with(40).bytes(), usual.bytes());
    }
}
