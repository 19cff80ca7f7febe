//! What a job says of itself, in words.

use airlift_discover::DeviceInfo;
use airlift_discover::device::LastUpdate;
use airlift_wire::ErrorCode;

use super::{JobState, Stage};
use crate::dto::{ErrorInfo, Phase, Release};
use crate::error::{info, printable};

/// Where a job that has not ended is.
pub(super) fn now(job: &JobState) -> String {
    let version = &job.release.version;
    let slot = job.to_slot.map(|s| s.to_string()).unwrap_or_default();
    if job.is_cancelling() {
        return "Cancelling.".to_owned();
    }
    match job.stage {
        Stage::Trial { .. } => return format!("Running {version} on trial from {slot}."),
        Stage::Restarting { .. } => return format!("Restarting into {slot}."),
        Stage::Detached { .. } if job.accepted => {
            return "The connection is away; trying again.".to_owned();
        }
        _ => {}
    }
    match job.phase {
        Phase::Queued if job.away => return format!("Waiting for {} to be back.", job.device_name),
        Phase::Queued => "Waiting for its turn.",
        Phase::Preflight => "Checking whether the release fits.",
        Phase::Signature => "The device checks the signature.",
        Phase::App => "Sending the app.",
        Phase::Files => "Sending the files.",
        Phase::Check => "The device reads everything again from its flash.",
        Phase::Switch => "The device selects the new slot.",
        Phase::Confirm | Phase::Ended => "",
    }
    .to_owned()
}

pub(super) fn current(release: &Release) -> String {
    format!("Already runs {}.", release.version)
}

pub(super) fn done(release: &Release, device: &DeviceInfo) -> String {
    let seconds = device.uptime_ms.div_ceil(1000);
    let (version, slot) = (&release.version, device.running.slot);
    format!("Running {version} from {slot}, confirmed within {seconds} s of its start.")
}

pub(super) fn rolled_back(from: Option<&str>, to: &str, last: Option<&LastUpdate>) -> String {
    let back = from.map_or_else(|| "the old version".to_owned(), str::to_owned);
    let cause = last
        .and_then(|last| last.cause.as_deref())
        .unwrap_or("none");
    let said = last
        .and_then(|last| last.detail.as_deref())
        .map(|detail| printable(detail).replace(['“', '”'], "'"));
    let said = said.filter(|said| !said.is_empty());
    let why = match cause {
        "health_check" if said.is_some() => "its own check said".to_owned(),
        "no_network" if said.is_some() => "it did not reach the network:".to_owned(),
        "not_confirmed" if said.is_some() => "it did not confirm in time; last it said".to_owned(),
        "no_network" => "it did not reach the network".to_owned(),
        "watchdog" => "it hung or did not confirm in time (reset reason: watchdog)".to_owned(),
        "not_confirmed" => "it did not confirm in time".to_owned(),
        "panic" => "its program panicked".to_owned(),
        "brownout" => "the supply voltage dropped during its trial".to_owned(),
        "health_check" => "its own check failed".to_owned(),
        "image_refused" => "the bootloader refused its image".to_owned(),
        "interrupted" => "the switch was interrupted before it ran".to_owned(),
        "power_on" => "the power was cut during its trial".to_owned(),
        "software" => "it restarted before it had confirmed".to_owned(),
        "none" => "it did not confirm, and the device did not say why".to_owned(),
        other => format!("it did not confirm (cause: {other})"),
    };
    let boots = match last.and_then(|last| last.boots) {
        Some(boots) if boots > 1 => format!(" after {boots} starts"),
        _ => String::new(),
    };
    let said = said.map_or_else(String::new, |said| format!(" “{said}”"));
    format!("Went back to {back}{boots}. {to} was on trial, and {why}{said}.")
}

pub(super) fn cancelled(accepted: bool, but: Option<&str>) -> String {
    match (accepted, but) {
        (false, _) => "Cancelled; nothing was sent.".to_owned(),
        (true, None) => "Cancelled; what the device has is kept.".to_owned(),
        (true, Some(but)) => format!("Cancelled; {but}."),
    }
}

/// The one error whose cure is on this computer: it names what to allow.
pub(super) fn host_unreachable(device: &str, from: Option<&str>) -> ErrorInfo {
    let mut error = info(
        ErrorCode::HostUnreachable,
        format!("{device} cannot reach this computer, so nothing was erased"),
    );
    let address = from.map(|from| from.trim_start_matches("http://"));
    if let Some((host, port)) = address.and_then(|a| a.rsplit_once(':')) {
        error.help = format!(
            "Allow inbound TCP connections to port {port} on {host} in this computer's firewall."
        );
    }
    error
}
