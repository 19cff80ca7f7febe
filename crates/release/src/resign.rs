//! Signing again what exists: to go back on purpose, and to bring new keys.

use crate::keys::check_set;
use crate::part::PartKind;
use crate::release::PartState;
use crate::{Error, OwnedManifest, Release, SigningKey};
use airlift_wire::{Digest, KeySet};

/// Signs the parts of `release` again under a higher sequence.
///
/// Parts, product, chip and version stay, so a slot that still holds them fetches nothing. Keys
/// that the old release brought are left out: they were a step in time, and a device refuses an
/// epoch that it has passed.
pub fn resign(
    release: &Release,
    sequence: u32,
    key: &SigningKey,
    created: u64,
) -> Result<Release, Error> {
    again(release, sequence, None, key, created)
}

/// As [`resign`], and devices trust `keys` once they have confirmed it. `key` must be their current
/// root.
pub fn resign_with_keys(
    release: &Release,
    sequence: u32,
    keys: KeySet,
    key: &SigningKey,
    created: u64,
) -> Result<Release, Error> {
    check_set(&keys)?;
    again(release, sequence, Some(keys), key, created)
}

fn again(
    release: &Release,
    sequence: u32,
    keys: Option<KeySet>,
    key: &SigningKey,
    created: u64,
) -> Result<Release, Error> {
    let old = &release.manifest;
    if sequence <= old.sequence {
        return Err(Error::LowerSequence {
            old: old.sequence,
            wanted: sequence,
        });
    }
    let manifest = OwnedManifest {
        sequence,
        created,
        keys,
        ..old.clone()
    };
    Release::sign(manifest, release.app.clone(), release.files.clone(), key)
}

/// New keys for devices that go on with what they run.
#[derive(Clone, Copy, Debug)]
pub struct KeyChange<'a> {
    /// Their product.
    pub product: &'a str,
    /// `chip_id` of their chip.
    pub chip: u16,
    /// The version that they run, for people.
    pub version: &'a str,
    /// Above every one that they have confirmed.
    pub sequence: u32,
    /// The app that they run.
    pub app: Digest,
    /// The files that they run with; `None` on boards without a file system.
    pub files: Option<Digest>,
    /// Whom they trust from then on.
    pub keys: KeySet,
    /// Unix seconds.
    pub created: u64,
}

/// A release that carries nothing: devices copy what they run, which must be exactly this, from
/// slot to slot, and trust other keys once that has confirmed. `root` must be their current root.
///
/// Naming the digests, which any device tells, gives nobody a way to bring a part in: a device that
/// runs something else refuses with `wrong_base`.
pub fn change_keys(change: &KeyChange<'_>, root: &SigningKey) -> Result<Release, Error> {
    check_set(&change.keys)?;
    let manifest = OwnedManifest {
        product: change.product.to_owned(),
        chip: change.chip,
        version: change.version.to_owned(),
        sequence: change.sequence,
        created: change.created,
        app: PartState::Running(change.app),
        files: change.files.map_or(PartState::Any, PartState::Running),
        keys: Some(change.keys),
    };
    Release::sign(manifest, None, None, root)
}

impl Release {
    /// Whether it brings keys and nothing else: no part, and what runs stays.
    pub fn is_keys_only(&self) -> bool {
        let mut kinds = PartKind::ALL.into_iter();
        self.manifest().keys.is_some() && kinds.all(|kind| self.part(kind).is_none())
    }
}
