//! `--new-root`, `--new-release-key` and `--epoch`.

use super::trust;
use crate::args::NewKeys;
use crate::failure::Failure;
use airlift_discover::DeviceInfo;
use airlift_release::{SigningKey, keys::key_set};
use airlift_wire::{ErrorCode, KeySet, PublicKey};
use std::path::PathBuf;

/// The set that the options name, checked against the devices of the product that were seen.
/// `None` without any of the options.
///
/// # Errors
/// `bad_key_set` for a set that devices do not take, such as one whose epoch is not above theirs.
pub fn read(args: &NewKeys, signer: &SigningKey, product: &str) -> Result<Option<KeySet>, Failure> {
    let Some(epoch) = args.epoch else {
        return Ok(None);
    };
    let (root, release) = publics(args.new_root.as_ref(), &args.new_release_key, signer)?;
    let set = key_set(epoch, root, &release)?;
    let mut devices = super::block_on(trust::seen_devices())?;
    devices.retain(|device| device.product == product);
    check(&set, signer.public(), &devices)?;
    Ok(Some(set))
}

/// The new root and release keys from their files; the root stays the key that signs.
pub fn publics(
    root: Option<&PathBuf>,
    release: &[PathBuf],
    signer: &SigningKey,
) -> Result<(PublicKey, Vec<PublicKey>), Failure> {
    let root = root.map_or(Ok(signer.public()), |path| trust::read(path))?;
    let release = release.iter().map(|path| trust::read(path));
    Ok((root, release.collect::<Result<_, _>>()?))
}

fn check(set: &KeySet, signer: PublicKey, devices: &[DeviceInfo]) -> Result<(), Failure> {
    let id = signer.id().to_string();
    let trusts = || devices.iter().filter_map(|d| Some((d, d.trust.as_ref()?)));
    let root_of = trusts().filter(|(_, trust)| trust.root.to_string() == id);
    if let Some((device, trust)) = root_of.max_by_key(|(_, trust)| trust.epoch)
        && u64::from(set.epoch) <= trust.epoch
    {
        let message = format!(
            "epoch {} is not above {}, which device {} has",
            set.epoch, trust.epoch, device.id
        );
        return Err(Failure::new(ErrorCode::BadKeySet, message));
    }
    let others = trusts().filter(|(_, trust)| trust.root.to_string() != id);
    let others: Vec<_> = others.map(|(device, _)| device.id.as_str()).collect();
    if let [first, rest @ ..] = others.as_slice() {
        let more = if rest.is_empty() {
            String::new()
        } else {
            format!(" and {} more", rest.len())
        };
        eprintln!(
            "warning: {id} is not the root of device {first}{more}, which will refuse this release"
        );
    }
    Ok(())
}
