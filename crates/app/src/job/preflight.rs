//! What is checked before anything is sent. The device checks all of it again, on its own.

use airlift_discover::DeviceInfo;
use airlift_discover::device::{SlotState, UpdateEnd, UpdaterState};
use airlift_wire::ErrorCode;
use airlift_wire::manifest::first_root_sequence;

use crate::dto::{ErrorInfo, KeySet, Part, Release};
use crate::error::info;

/// Flash before the first app partition that any table leaves free: bootloader and table.
const RESERVED: u64 = 0x10000;
/// App partitions start and end on this (ESP-IDF: "Partition Tables", offset and size).
const APP_ALIGNMENT: u64 = 0x10000;

/// What preflight found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Send it.
    Send,
    /// The device already runs these very parts: nothing to send.
    Current,
}

/// Why a device takes no update at all right now, whatever the release.
pub fn blocked(device: &DeviceInfo) -> Option<ErrorInfo> {
    if device.trust.is_none() {
        let message = format!(
            "device {} was given no keys, so it trusts no release",
            name(device)
        );
        return Some(info(ErrorCode::NoTrust, message));
    }
    match device.updater.state {
        UpdaterState::Updating => {
            let by = device.updater.by.as_deref();
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            Some(info(
                ErrorCode::Busy,
                format!("device {} is being updated{by}", name(device)),
            ))
        }
        UpdaterState::Trial => Some(on_trial(device)),
        _ if matches!(device.running.state, SlotState::New | SlotState::Pending) => {
            Some(on_trial(device))
        }
        _ => None,
    }
}

fn on_trial(device: &DeviceInfo) -> ErrorInfo {
    let version = device.running.version.as_deref().unwrap_or("a new version");
    let message = format!(
        "device {} runs {version} on trial and has not confirmed it yet",
        name(device)
    );
    info(ErrorCode::TrialRunning, message)
}

/// Whether a release can go to a device; the first reason against it otherwise.
pub fn preflight(release: &Release, device: &DeviceInfo, retry: bool) -> Result<Plan, ErrorInfo> {
    let own_job = matches!(device.updater.state, UpdaterState::Updating)
        && device
            .updater
            .release
            .is_some_and(|r| r.to_string() == release.id);
    if let Some(reason) = blocked(device).filter(|_| !own_job) {
        return Err(reason);
    }
    fits_device(release, device)?;
    signer_may(release, device)?;
    if is_current(release, device) {
        return Ok(Plan::Current);
    }
    if let Some(running) = device.running.sequence {
        let name = name(device);
        let (new, product) = (release.sequence, &release.product);
        if new < running {
            let message = format!(
                "device {name} runs sequence {running} of {product}, and this release has {new}"
            );
            return Err(info(ErrorCode::LowerSequence, message));
        }
        let same = device
            .running
            .release
            .is_some_and(|r| r.to_string() == release.id);
        if new == running && !same {
            let message = format!("device {name} already runs another release with sequence {new}");
            return Err(info(ErrorCode::SequenceConflict, message));
        }
    }
    if let Some(last) = device.last_update.as_ref().filter(|_| !retry) {
        let this = last.release.is_some_and(|r| r.to_string() == release.id);
        if this && last.end == UpdateEnd::RolledBack {
            let message = format!(
                "device {} tried {} before and went back",
                name(device),
                release.version
            );
            return Err(info(ErrorCode::RolledBackBefore, message));
        }
    }
    has_base(release, device)?;
    has_room(release, device)?;
    Ok(Plan::Send)
}

/// Whether a device could take a release if it had none yet: product, chip, signer, and the parts
/// that it must already run.
pub(crate) fn is_for(release: &Release, device: &DeviceInfo) -> bool {
    fits_device(release, device).is_ok()
        && signer_may(release, device).is_ok()
        && has_base(release, device).is_ok()
}

/// Whether a device may be told that this release is the newest, and must be: what to do before it
/// is sent. `newest` is the newest one here that the device could take.
pub(crate) fn freshness(
    release: &Release,
    newest: Option<&Release>,
    device: &DeviceInfo,
    can_state: bool,
) -> Result<bool, ErrorInfo> {
    let Some(freshness) = &device.freshness else {
        return Ok(false);
    };
    let name = name(device);
    if let Some(told) = freshness.newest.filter(|told| *told > release.sequence) {
        let message = format!(
            "device {name} was told in the last minutes that sequence {told} is the newest, and {} \
             is sequence {}",
            release.version, release.sequence
        );
        return Err(info(ErrorCode::Stale, message));
    }
    if let Some(newer) = newest.filter(|newest| newest.sequence > release.sequence) {
        if !freshness.required {
            // To take an older one that was chosen here is nobody else's business.
            return Ok(false);
        }
        let message = format!(
            "device {name} takes the newest release only: {} (sequence {}), and this is {} \
             (sequence {})",
            newer.version, newer.sequence, release.version, release.sequence
        );
        return Err(info(ErrorCode::Stale, message));
    }
    if freshness.required && !can_state {
        return Err(needs_statement(device));
    }
    Ok(can_state)
}

/// A device waits for a statement that nobody here can make.
pub(crate) fn needs_statement(device: &DeviceInfo) -> ErrorInfo {
    let message = format!(
        "device {} takes a release only with a signed statement that it is the newest, and none of \
         its keys is open on this computer",
        name(device)
    );
    info(ErrorCode::FreshnessRequired, message)
}

/// Whether a release is made for a device at all: its product and chip.
pub fn fits_device(release: &Release, device: &DeviceInfo) -> Result<(), ErrorInfo> {
    let name = name(device);
    if release.product != device.product {
        let message = format!(
            "device {name} is a {}, and this release is for {}",
            device.product, release.product
        );
        return Err(info(ErrorCode::WrongProduct, message));
    }
    if release.chip != "any" && release.chip != device.chip {
        let message = format!(
            "device {name} has an {}, and this release is for {}",
            device.chip, release.chip
        );
        return Err(info(ErrorCode::WrongChip, message));
    }
    Ok(())
}

/// Whether the key that signed a release may sign it for a device: a release key, or the root for
/// a change of keys. What the device runs already needs nobody's signature any more.
fn signer_may(release: &Release, device: &DeviceInfo) -> Result<(), ErrorInfo> {
    let runs_it = device
        .running
        .release
        .is_some_and(|id| id.to_string() == release.id);
    let Some(trust) = device.trust.as_ref().filter(|_| !runs_it) else {
        return Ok(());
    };
    let (name, signer) = (name(device), &release.key_id);
    let is_root = trust.root.to_string() == *signer;
    let is_release_key = trust.keys.iter().any(|key| key.to_string() == *signer);
    if !is_root && !is_release_key {
        let message = format!("device {name} does not trust key {signer}, which signed this");
        return Err(info(ErrorCode::UnknownKey, message));
    }
    let first_root = first_root_sequence(u32::try_from(trust.epoch).unwrap_or(u32::MAX));
    if !is_root && release.sequence >= first_root {
        let message = format!(
            "a release of a release key goes to device {name} only with a sequence below {first_root}"
        );
        return Err(info(ErrorCode::SequenceTooHigh, message));
    }
    match &release.keys {
        Some(set) if !trusts_exactly(device, set) => {
            if !is_root {
                let message = format!(
                    "the release changes whom device {name} trusts, and its root {} did not sign it",
                    trust.root
                );
                return Err(info(ErrorCode::BadKeySet, message));
            }
            if u64::from(set.epoch) <= trust.epoch {
                let message = format!(
                    "device {name} has keys of epoch {}, and the release brings epoch {}",
                    trust.epoch, set.epoch
                );
                return Err(info(ErrorCode::BadKeySet, message));
            }
            Ok(())
        }
        _ if is_release_key => Ok(()),
        _ => {
            let message =
                format!("key {signer} is the root of device {name} and signs changes of keys only");
            Err(info(ErrorCode::UnknownKey, message))
        }
    }
}

/// Whether a device holds exactly this set.
pub(crate) fn trusts_exactly(device: &DeviceInfo, set: &KeySet) -> bool {
    device.trust.as_ref().is_some_and(|trust| {
        trust.epoch == u64::from(set.epoch)
            && trust.root.to_string() == set.root
            && trust
                .keys
                .iter()
                .map(ToString::to_string)
                .eq(set.keys.iter().cloned())
    })
}

/// Whether a release brings keys that a device does not have yet.
fn brings_keys(release: &Release, device: &DeviceInfo) -> bool {
    let epoch = device.trust.as_ref().map_or(0, |trust| trust.epoch);
    let set = release.keys.as_ref();
    set.is_some_and(|set| u64::from(set.epoch) > epoch)
}

/// Whether the device runs, confirmed, exactly the parts that the release names, and has the keys
/// that it brings.
pub fn is_current(release: &Release, device: &DeviceInfo) -> bool {
    let running = &device.running;
    // A factory slot that nobody ever updated may have no boot data: it is what runs all the same.
    !brings_keys(release, device)
        && !matches!(running.state, SlotState::New | SlotState::Pending)
        && named(&release.app).or(named(&release.files)).is_some()
        && matches_part(&release.app, running.app_sha256)
        && matches_part(&release.files, running.files_sha256)
}

/// The digest that a release names for a part.
pub(crate) fn named(part: &Part) -> Option<&str> {
    match part {
        Part::Carried { sha256, .. } | Part::Running { sha256 } => Some(sha256),
        Part::Any => None,
    }
}

fn matches_part(part: &Part, running: Option<airlift_wire::Digest>) -> bool {
    named(part).is_none_or(|want| running.is_some_and(|have| want.parse() == Ok(have)))
}

fn has_base(release: &Release, device: &DeviceInfo) -> Result<(), ErrorInfo> {
    let running = &device.running;
    for (what, part, have) in [
        ("app", &release.app, running.app_sha256),
        ("files", &release.files, running.files_sha256),
    ] {
        let Part::Running { sha256 } = part else {
            continue;
        };
        if have.is_some_and(|have| have.to_string() != *sha256) {
            let message = format!(
                "this release keeps the {what} of another release than the one that {} runs",
                name(device)
            );
            return Err(info(ErrorCode::WrongBase, message));
        }
    }
    Ok(())
}

/// Only what certainly cannot fit: the device knows its partitions, this host only the flash size.
fn has_room(release: &Release, device: &DeviceInfo) -> Result<(), ErrorInfo> {
    let Part::Carried { size, .. } = release.app else {
        return Ok(());
    };
    let slots = device
        .slots
        .iter()
        .filter(|s| s.slot != airlift_discover::device::Slot::Factory);
    let slots = slots.count().max(1) as u64;
    let needed = RESERVED + slots * u64::from(size).next_multiple_of(APP_ALIGNMENT);
    if device.flash_size > 0 && needed > device.flash_size {
        let message = format!(
            "the app has {size} bytes, and {} has {} bytes of flash for {slots} slots of one size",
            name(device),
            device.flash_size
        );
        return Err(info(ErrorCode::TooBig, message));
    }
    Ok(())
}

/// What to call a device in a sentence.
pub(crate) fn name(device: &DeviceInfo) -> &str {
    if device.name.is_empty() {
        device.id.as_str()
    } else {
        &device.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::{device, release, release_id};
    use serde_json::json;

    fn refused(release: &Release, device: &DeviceInfo) -> String {
        preflight(release, device, false).unwrap_err().code
    }

    #[test]
    fn a_newer_release_for_this_device_is_sent() {
        assert_eq!(
            preflight(&release(8292, 8192), &device(json!({})), false),
            Ok(Plan::Send)
        );
    }

    #[test]
    fn every_reason_against_it_has_its_own_code() {
        let good = release(8292, 8192);
        let plain = device(json!({}));
        let with = |change: fn(&mut Release)| {
            let mut other = good.clone();
            change(&mut other);
            refused(&other, &plain)
        };
        assert_eq!(with(|r| r.product = "lamp".into()), "wrong_product");
        assert_eq!(with(|r| r.chip = "esp32s3".into()), "wrong_chip");
        assert_eq!(
            with(|r| r.key_id = "0000000000000000".into()),
            "unknown_key"
        );
        assert_eq!(with(|r| r.sequence = 4), "lower_sequence");
        assert_eq!(with(|r| r.sequence = 5), "sequence_conflict");
        assert_eq!(
            with(|r| r.files = Part::Running {
                sha256: "ab".repeat(32)
            }),
            "wrong_base"
        );
        let big = |r: &mut Release| {
            r.app = Part::Carried {
                size: 3 << 20,
                chunks: 768,
                sha256: "ab".repeat(32),
            };
        };
        assert_eq!(with(big), "too_big");

        assert_eq!(refused(&good, &device(json!({"trust": null}))), "no_trust");
        let other = json!({"updater": {"state": "updating", "by": "10.0.0.7"}});
        assert_eq!(refused(&good, &device(other)), "busy");
        let trial = json!({"updater": {"state": "trial"}});
        assert_eq!(refused(&good, &device(trial)), "trial_running");
        let before = json!({"last_update": {"release": release_id(), "end": "rolled_back"}});
        assert_eq!(refused(&good, &device(before)), "rolled_back_before");
    }

    #[test]
    fn a_statement_is_made_when_it_can_be_and_must_be_when_it_is_required() {
        let with = |freshness: serde_json::Value| device(json!({"freshness": freshness}));
        let (free, strict) = (
            with(json!({"required": false, "newest": null})),
            with(json!({"required": true, "newest": null})),
        );
        let this = release(8292, 8192);
        let mut newer = this.clone();
        newer.sequence += 1;
        let code = |result: Result<bool, ErrorInfo>| result.map_err(|e| e.code);
        let old = device(json!({}));
        assert_eq!(
            freshness(&this, Some(&newer), &old, true),
            Ok(false),
            "never asks"
        );
        for (device, newest, can_state, expected) in [
            (&free, &this, true, Ok(true)),
            (&free, &this, false, Ok(false)),
            (&free, &newer, true, Ok(false)),
            (&strict, &this, true, Ok(true)),
            (&strict, &this, false, Err("freshness_required".to_owned())),
            (&strict, &newer, true, Err("stale".to_owned())),
        ] {
            assert_eq!(
                code(freshness(&this, Some(newest), device, can_state)),
                expected
            );
        }
        let told = with(json!({"required": false, "newest": this.sequence + 1}));
        assert_eq!(
            code(freshness(&this, None, &told, true)),
            Err("stale".to_owned())
        );
        let told = with(json!({"required": false, "newest": this.sequence}));
        assert_eq!(freshness(&this, None, &told, true), Ok(true));
    }

    #[test]
    fn the_upper_half_of_the_sequences_is_for_the_root() {
        let (root, key) = ("00000000000000aa", "00000000000000bb");
        let device = device(json!({"trust": {"epoch": 2, "root": root, "keys": [key]}}));
        let mut offered = release(8292, 8192);
        offered.key_id = key.into();
        offered.sequence = first_root_sequence(2) - 1;
        assert_eq!(preflight(&offered, &device, false), Ok(Plan::Send));
        offered.sequence += 1;
        assert_eq!(refused(&offered, &device), "sequence_too_high");
    }

    #[test]
    fn a_change_of_keys_is_the_roots_to_sign_and_only_that() {
        let (root, key) = ("00000000000000aa", "00000000000000bb");
        let device = device(json!({"trust": {"epoch": 2, "root": root, "keys": [key]}}));
        let set = |epoch, root: &str| KeySet {
            epoch,
            root: root.into(),
            keys: vec![key.into()],
        };
        let verdict = |signer: &str, keys| {
            let mut release = release(8292, 8192);
            (release.key_id, release.keys) = (signer.into(), keys);
            preflight(&release, &device, false).map_err(|e| e.code)
        };
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(verdict(key, None), Ok(Plan::Send));
        assert_eq!(verdict(root, None), refused("unknown_key"));
        assert_eq!(verdict(root, Some(set(3, key))), Ok(Plan::Send));
        assert_eq!(verdict(key, Some(set(3, key))), refused("bad_key_set"));
        assert_eq!(verdict(root, Some(set(2, key))), refused("bad_key_set"));
        assert_eq!(verdict(root, Some(set(1, root))), refused("bad_key_set"));
        // The set that it has: no change, so a release key signs.
        assert_eq!(verdict(key, Some(set(2, root))), Ok(Plan::Send));
    }

    #[test]
    fn new_keys_go_to_a_device_that_runs_the_parts_already() {
        let device = device(json!({}));
        let running = &device.running;
        let mut same = release(8292, 8192);
        let part = |digest: Option<airlift_wire::Digest>| Part::Running {
            sha256: digest.unwrap().to_string(),
        };
        same.app = part(running.app_sha256);
        same.files = part(running.files_sha256);
        let root = device.trust.as_ref().unwrap().root.to_string();
        same.keys = Some(KeySet {
            epoch: 2,
            root: root.clone(),
            keys: vec![root],
        });
        assert_eq!(preflight(&same, &device, false), Ok(Plan::Send));
        same.keys.as_mut().unwrap().epoch = 1;
        assert_eq!(preflight(&same, &device, false), Ok(Plan::Current));
    }

    #[test]
    fn a_release_that_was_rolled_back_is_sent_again_when_asked_for() {
        let before = json!({"last_update": {"release": release_id(), "end": "rolled_back"}});
        assert_eq!(
            preflight(&release(8292, 8192), &device(before), true),
            Ok(Plan::Send)
        );
    }

    #[test]
    fn a_device_that_is_taking_this_very_release_is_attached_to() {
        let ours = json!({"updater": {"state": "updating", "release": release_id()}});
        assert_eq!(
            preflight(&release(8292, 8192), &device(ours), false),
            Ok(Plan::Send)
        );
    }

    #[test]
    fn up_to_date_compares_digests_and_neither_version_nor_sequence() {
        let mut same = release(8292, 8192);
        let running = device(json!({})).running;
        same.app = Part::Carried {
            size: 8292,
            chunks: 3,
            sha256: running.app_sha256.unwrap().to_string(),
        };
        same.files = Part::Any;
        same.version = "another text".into();
        same.sequence = 1;
        assert_eq!(
            preflight(&same, &device(json!({})), false),
            Ok(Plan::Current)
        );
        same.files = Part::Running {
            sha256: "ab".repeat(32),
        };
        assert_eq!(refused(&same, &device(json!({}))), "lower_sequence");
    }
}
