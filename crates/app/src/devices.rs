//! Devices as the window sees them.

use std::collections::BTreeSet;
use std::sync::Arc;

use airlift_discover::device::{SlotState, StaleOffer, UpdateEnd, UpdaterState};
use airlift_discover::{DeviceInfo, SeenDevice};
use airlift_wire::ErrorCode;

use crate::dto;
use crate::error::info;
use crate::job::preflight;

/// What this computer knows besides what the device said.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Ids of the keys whose releases this computer has or makes.
    pub keys: Arc<BTreeSet<String>>,
    /// Ids of the keys that can sign now, without a passphrase.
    pub signers: Arc<BTreeSet<String>>,
    /// The job that runs on the device.
    pub job: Option<u32>,
    /// Whether it is one of this app's virtual devices.
    pub simulated: bool,
}

/// What the window sees of a device.
pub fn view(seen: &SeenDevice, context: &Context) -> dto::Device {
    let device = &seen.info;
    let running = &device.running;
    let trust = device.trust.as_ref();
    dto::Device {
        id: seen.id.to_string(),
        name: preflight::name(device).to_owned(),
        product: device.product.clone(),
        chip: device.chip.clone(),
        address: seen.address().map(|a| a.to_string()).unwrap_or_default(),
        local_address: seen.local_addr.map(|a| a.to_string()),
        online: seen.online,
        last_seen: seen.last_seen_unix.map(|unix| unix as f64),
        version: running.version.clone(),
        slot: running.slot.to_string(),
        state: state_name(running.state).to_owned(),
        release: running.release.map(|d| d.to_string()),
        sequence: running.sequence,
        app_sha256: running.app_sha256.map(|d| d.to_string()),
        files_sha256: running.files_sha256.map(|d| d.to_string()),
        slots: device
            .slots
            .iter()
            .map(|slot| dto::Slot {
                slot: slot.slot.to_string(),
                state: state_name(slot.state).to_owned(),
                version: slot.version.clone(),
                release: slot.release.map(|d| d.to_string()),
            })
            .collect(),
        trusts: trust
            .iter()
            .flat_map(|t| std::iter::once(&t.root).chain(t.keys.iter().filter(|k| **k != t.root)))
            .map(|key| key.to_string())
            .collect(),
        root: trust.map(|t| t.root.to_string()),
        release_keys: trust
            .iter()
            .flat_map(|t| &t.keys)
            .map(ToString::to_string)
            .collect(),
        epoch: trust.map_or(0, |t| u32::try_from(t.epoch).unwrap_or(u32::MAX)),
        bootloader_rollback: device.bootloader_rollback,
        flash_size: u32::try_from(device.flash_size).unwrap_or(u32::MAX),
        free_memory: device
            .free_memory
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        signal_dbm: device.signal_dbm,
        reset_reason: device.reset_reason.clone(),
        uptime_ms: Some(device.uptime_ms as f64),
        last_update: device.last_update.as_ref().map(|last| dto::LastUpdate {
            release: last.release.map(|d| d.to_string()).unwrap_or_default(),
            end: end_name(last.end).to_owned(),
            cause: last.cause.clone().unwrap_or_else(|| "none".into()),
            detail: last.detail.clone(),
            boots: last.boots.unwrap_or(0),
        }),
        freshness_required: device.freshness.is_some_and(|f| f.required),
        stale_offer: None,
        updater: updater_name(device.updater.state).to_owned(),
        blocked: blocked(device, seen, context),
        job: context.job,
        simulated: context.simulated,
    }
}

/// Why the device cannot be updated right now, whatever the release. A job of ours is no reason.
fn blocked(device: &DeviceInfo, seen: &SeenDevice, context: &Context) -> Option<dto::ErrorInfo> {
    if context.job.is_some() {
        return None;
    }
    if let Some(rival) = seen.rivals.first() {
        let message = format!("another device, at {rival}, has the same id");
        return Some(info(ErrorCode::BadRequest, message));
    }
    if let Some(reason) = preflight::blocked(device) {
        return Some(reason);
    }
    let trust = device.trust.as_ref()?;
    let ours = trust
        .keys
        .iter()
        .chain([&trust.root])
        .any(|k| context.keys.contains(&k.to_string()));
    if !ours {
        let name = preflight::name(device);
        let message = format!("device {name} trusts none of the keys of this computer");
        // Accepting a key here does not make a device trust it.
        let help = "Import one of the keys that it trusts, in Settings; without any, it gets other \
                    keys over USB only.";
        return Some(dto::ErrorInfo {
            help: help.into(),
            ..info(ErrorCode::UnknownKey, message)
        });
    }
    let can_state = trust
        .keys
        .iter()
        .chain([&trust.root])
        .any(|k| context.signers.contains(&k.to_string()));
    let required = device.freshness.is_some_and(|f| f.required);
    (required && !can_state).then(|| preflight::needs_statement(device))
}

/// What the window says of a release that a device refused for its age. `library` knows versions.
pub fn stale_offer(
    offer: &StaleOffer,
    seen: &SeenDevice,
    library: &[dto::Release],
) -> dto::StaleOffer {
    let device = &seen.info;
    let of_product = || library.iter().filter(|r| r.product == device.product);
    let id = offer.release.to_string();
    let offered_version = of_product().find(|r| r.id == id).map(|r| r.version.clone());
    let newest_version = offer.newest.and_then(|newest| {
        let mut known =
            of_product().filter(|r| r.sequence == newest && preflight::is_for(r, device));
        known.next().map(|r| r.version.clone())
    });
    let called = |version: &Option<String>, sequence: u32| match version {
        Some(version) => format!("{version} (sequence {sequence})"),
        None => format!("a release with sequence {sequence}"),
    };
    let by = offer.by.as_deref().unwrap_or("somebody");
    let what = called(&offered_version, offer.offered);
    let sentence = match offer.newest {
        Some(newest) if newest > offer.offered => {
            let newest = called(&newest_version, newest);
            format!("{by} offered it {what} although {newest} is the newest. It was refused.")
        }
        Some(_) => format!(
            "{by} offered it {what}, and another release with this sequence is the newest. It was \
             refused."
        ),
        None => {
            let newer = of_product()
                .filter(|r| r.sequence > offer.offered && preflight::is_for(r, device))
                .max_by_key(|r| r.sequence);
            let newer = newer.map_or_else(String::new, |r| {
                format!(
                    " The newest one here is {} (sequence {}).",
                    r.version, r.sequence
                )
            });
            format!(
                "{by} offered it {what} and no statement that this is the newest. It was \
                 refused.{newer}"
            )
        }
    };
    dto::StaleOffer {
        release: id,
        offered: offer.offered,
        offered_version,
        newest: offer.newest,
        newest_version,
        by: offer.by.clone(),
        sentence,
    }
}

fn state_name(state: SlotState) -> &'static str {
    match state {
        SlotState::Empty => "empty",
        SlotState::New => "new",
        SlotState::Pending => "pending",
        SlotState::Valid => "valid",
        SlotState::Invalid => "invalid",
        SlotState::Aborted => "aborted",
        SlotState::Undefined => "undefined",
        _ => "unknown",
    }
}

fn updater_name(state: UpdaterState) -> &'static str {
    match state {
        UpdaterState::Idle => "idle",
        UpdaterState::Updating => "updating",
        UpdaterState::Trial => "trial",
        _ => "unknown",
    }
}

fn end_name(end: UpdateEnd) -> &'static str {
    match end {
        UpdateEnd::Done => "done",
        UpdateEnd::RolledBack => "rolled_back",
        UpdateEnd::Failed => "failed",
        UpdateEnd::Cancelled => "cancelled",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::device;
    use airlift_discover::Source;
    use serde_json::json;

    const KEY: &str = "aabbccddeeff0011";

    fn seen(change: serde_json::Value) -> SeenDevice {
        let info = device(change);
        SeenDevice {
            id: info.id.clone(),
            info,
            addresses: vec!["10.0.0.21:80".parse().unwrap()],
            rivals: vec![],
            online: true,
            last_seen_unix: Some(1_000),
            source: Source::Mdns,
            local_addr: Some("10.0.0.5".parse().unwrap()),
            round_trip: None,
        }
    }

    fn with_key() -> Context {
        Context {
            keys: Arc::new([KEY.to_owned()].into()),
            ..Context::default()
        }
    }

    #[test]
    fn a_device_is_shown_as_it_describes_itself() {
        let device = view(&seen(json!({})), &with_key());
        assert_eq!(
            (device.name.as_str(), device.slot.as_str()),
            ("porch", "ota_0")
        );
        assert_eq!(device.address, "10.0.0.21:80");
        assert_eq!(device.trusts, [KEY], "root and release key are one key");
        assert_eq!(device.blocked, None);
    }

    #[test]
    fn a_device_says_why_it_cannot_be_updated() {
        let code = |change, context: &Context| {
            view(&seen(change), context)
                .blocked
                .map(|e| e.code)
                .unwrap_or_default()
        };
        assert_eq!(code(json!({}), &Context::default()), "unknown_key");
        let stranger = view(&seen(json!({})), &Context::default()).blocked.unwrap();
        assert!(stranger.help.contains("over USB"), "{}", stranger.help);
        assert_eq!(code(json!({"trust": null}), &with_key()), "no_trust");
        let other = json!({"updater": {"state": "updating", "by": "10.0.0.7"}});
        assert_eq!(code(other.clone(), &with_key()), "busy");
        let ours = Context {
            job: Some(1),
            ..with_key()
        };
        assert_eq!(code(other, &ours), "", "our own job is no reason");
    }

    #[test]
    fn a_device_that_wants_to_be_told_the_newest_needs_a_key_that_is_open() {
        let required = json!({"freshness": {"required": true, "newest": null}});
        let locked = view(&seen(required.clone()), &with_key());
        assert!(locked.freshness_required);
        let blocked = locked.blocked.unwrap();
        assert_eq!(blocked.code, "freshness_required");
        assert!(blocked.message.contains("porch"), "{}", blocked.message);
        let open = Context {
            signers: Arc::new([KEY.to_owned()].into()),
            ..with_key()
        };
        assert_eq!(view(&seen(required), &open).blocked, None);
        let not_required = json!({"freshness": {"required": false, "newest": 9}});
        assert_eq!(view(&seen(not_required), &with_key()).blocked, None);
    }

    #[test]
    fn a_stale_offer_is_said_in_words() {
        let said = |newest: serde_json::Value, library: &[dto::Release]| {
            let offer = json!({"release": "ab".repeat(32), "offered": 3, "newest": newest,
                "by": "10.0.0.66", "at_ms": 1});
            let seen = seen(json!({"stale_offer": offer}));
            stale_offer(seen.info.stale_offer.as_ref().unwrap(), &seen, library).sentence
        };
        assert_eq!(
            said(json!(5), &[]),
            "10.0.0.66 offered it a release with sequence 3 although a release with sequence 5 is \
             the newest. It was refused."
        );
        let mut old = crate::job::tests::release(8292, 8192);
        (old.id, old.version, old.sequence) = ("ab".repeat(32), "1.0.0".into(), 3);
        let mut new = old.clone();
        (new.id, new.version, new.sequence) = ("cd".repeat(32), "1.2.0".into(), 5);
        let library = [old, new];
        assert_eq!(
            said(json!(5), &library),
            "10.0.0.66 offered it 1.0.0 (sequence 3) although 1.2.0 (sequence 5) is the newest. It \
             was refused."
        );
        assert_eq!(
            said(json!(null), &library),
            "10.0.0.66 offered it 1.0.0 (sequence 3) and no statement that this is the newest. It \
             was refused. The newest one here is 1.2.0 (sequence 5)."
        );
    }

    #[test]
    fn a_device_without_a_name_is_called_by_its_id() {
        assert_eq!(
            view(&seen(json!({"name": ""})), &with_key()).name,
            "c3-000000000001"
        );
    }
}
