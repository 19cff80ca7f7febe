//! What fronts see of diagnoses and plans.

use airlift_flash::diagnosis as found;
use airlift_flash::plan::Blocked;
use airlift_flash::{Plan, Segment};
use airlift_usb::Board;
use airlift_wire::ErrorCode;
use airlift_wire::text::is_printable;

use crate::Error;
use crate::dto::{
    Diagnosis, ErrorInfo, Finding, FlashPlan, FlashRegion, FlashStep, PlanChoice, RegionHealth,
    UsbBoard, UsbJobKind, Verdict,
};
use crate::error::info;

/// Bytes of flash a second that a chip's own USB takes, erasing included: what plans promise until a
/// job has shown it.
const NATIVE_RATE: u32 = 150_000;
/// The same through a serial adapter.
const SERIAL_RATE: u32 = 60_000;
/// Espressif's USB vendor id: the port is the chip's own.
const ESPRESSIF: u16 = 0x303A;

/// What was found in a flash, for people. Labels of partitions and names of files are whatever
/// somebody wrote there, and a terminal would take some of it for orders.
pub(crate) fn printable(text: &str) -> String {
    let clean = |c| {
        if is_printable(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    text.chars().map(clean).collect()
}

fn printables(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| printable(text)).collect()
}

/// A diagnosis as fronts see it.
pub(crate) fn diagnosis(diagnosis: &found::Diagnosis, took_ms: u32) -> Diagnosis {
    Diagnosis {
        code: diagnosis.code.as_str().to_owned(),
        verdict: match diagnosis.verdict {
            found::Verdict::Healthy => Verdict::Healthy,
            found::Verdict::Impaired => Verdict::Impaired,
            found::Verdict::Dead => Verdict::Dead,
            found::Verdict::Foreign => Verdict::Foreign,
        },
        sentence: printable(&diagnosis.sentence),
        next_boot: printable(&diagnosis.next_boot),
        boots: diagnosis.boots.as_deref().map(printable),
        regions: diagnosis.regions.iter().map(region).collect(),
        findings: diagnosis.findings.iter().map(finding).collect(),
        product: diagnosis.product.as_deref().map(printable),
        name: diagnosis.name.as_deref().map(printable),
        sequence: diagnosis.sequence,
        trusts: diagnosis.trusts.iter().map(ToString::to_string).collect(),
        complete: diagnosis.complete,
        bytes_read: diagnosis.bytes_read,
        took_ms,
    }
}

fn region(region: &found::Region) -> FlashRegion {
    FlashRegion {
        name: printable(&region.name),
        kind: region.kind.as_str().to_owned(),
        offset: region.offset,
        size: region.size,
        used: region.used,
        health: match region.health {
            found::Health::Good => RegionHealth::Good,
            found::Health::Empty => RegionHealth::Empty,
            found::Health::Damaged => RegionHealth::Damaged,
            found::Health::Unknown => RegionHealth::Unknown,
            found::Health::Foreign => RegionHealth::Foreign,
        },
        summary: printable(&region.summary),
        details: printables(&region.details),
        boots: region.boots,
    }
}

fn finding(finding: &found::Finding) -> Finding {
    Finding {
        code: finding.code.as_str().to_owned(),
        sentence: printable(&finding.sentence),
        region: finding.region.as_deref().map(printable),
        harmless: finding.harmless,
    }
}

/// A step of a plan, without the speed of the link.
pub(crate) struct Step<'a> {
    pub(crate) title: String,
    pub(crate) why: String,
    pub(crate) region: String,
    pub(crate) segments: &'a [Segment],
}

/// Steps as fronts see them.
pub(crate) fn steps<'a>(
    steps: impl IntoIterator<Item = Step<'a>>,
    vendor: Option<u16>,
) -> Vec<FlashStep> {
    let steps = steps.into_iter().map(|step| {
        let bytes = step.segments.iter().map(Segment::size).sum();
        FlashStep {
            title: printable(&step.title),
            why: printable(&step.why),
            region: printable(&step.region),
            offset: step.segments.first().map_or(0, Segment::offset),
            bytes,
            seconds: seconds(bytes, vendor),
        }
    });
    steps.collect()
}

/// Seconds that writing takes, at least one.
pub(crate) fn seconds(bytes: u32, vendor: Option<u16>) -> u32 {
    let rate = if vendor == Some(ESPRESSIF) {
        NATIVE_RATE
    } else {
        SERIAL_RATE
    };
    seconds_at(bytes, rate)
}

/// The same at so many bytes a second.
pub(crate) fn seconds_at(bytes: u32, rate: u32) -> u32 {
    bytes.div_ceil(rate.max(1)).max(1)
}

/// A repair plan as fronts see it.
pub(crate) fn repair(plan: &Plan, vendor: Option<u16>) -> FlashPlan {
    let shown = plan.steps.iter().map(|step| Step {
        title: step.title.clone(),
        why: step.why.clone(),
        region: step.region.clone(),
        segments: &step.segments,
    });
    FlashPlan {
        id: 0,
        kind: UsbJobKind::Repair,
        sentence: printable(&plan.sentence),
        steps: steps(shown, vendor),
        bytes: plan.bytes(),
        seconds: seconds(plan.bytes(), vendor),
        afterwards: printable(&plan.afterwards),
        losses: printables(&plan.losses),
        blocked: plan.blocked.as_ref().map(blocked),
        others: plan
            .others
            .iter()
            .map(|choice| PlanChoice {
                how: choice.how.as_str().to_owned(),
                title: printable(&choice.title),
                bytes: choice.bytes,
            })
            .collect(),
    }
}

fn blocked(blocked: &Blocked) -> ErrorInfo {
    let mut info = info(blocked.code, printable(&blocked.sentence));
    if blocked.code == ErrorCode::NoTrust {
        // A repair chooses neither; the one who flashes does.
        info.help =
            "Flash the board: airlift usb flash RELEASE, or Flash in the window.".to_owned();
    }
    info
}

/// A board as fronts see it.
pub(crate) fn board(board: &Board) -> UsbBoard {
    let refused = board.writable().err().map(|error| {
        let error = Error::from(error);
        ErrorInfo::from(&error)
    });
    UsbBoard {
        chip: board.chip.clone(),
        revision: board
            .revision
            .map(|(major, minor)| format!("{major}.{minor}")),
        mac: board.mac.clone(),
        device_id: device_id(board),
        flash_size: board.flash_size,
        features: board.features.clone(),
        secure_boot: board.security.secure_boot,
        flash_encryption: board.security.flash_encryption,
        secure_download: board.security.secure_download,
        refused,
    }
}

/// The id that our firmware for the chip takes from the board's address.
fn device_id(board: &Board) -> Option<String> {
    let family = board.chip.strip_prefix("esp32")?;
    let digits = board.mac.as_ref()?.replace(':', "");
    (!family.is_empty()).then(|| format!("{family}-{digits}"))
}
