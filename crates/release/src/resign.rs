//! Going back on purpose: old parts under a new sequence.

use crate::{Error, OwnedManifest, Release, SigningKey};

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
        keys: None,
        ..old.clone()
    };
    Release::sign(manifest, release.app.clone(), release.files.clone(), key)
}
