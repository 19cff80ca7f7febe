//! What was found, in sentences.

use super::bootloader::State as BootloaderState;
use super::facts::Facts;
use super::finding::Finding;
use super::slot::Slot;
use super::{Verdict, boot};
use airlift_wire::image::{ImageError, chip_name};
use airlift_wire::otadata::ImageState;

/// Name of a chip.
pub(crate) fn chip(id: u16) -> String {
    chip_name(id).map_or_else(|| format!("chip {id}"), str::to_owned)
}

/// What a slot holds: its release, or what its image says.
pub(crate) fn title(facts: &Facts, slot: &Slot) -> String {
    match (slot.release(), &slot.names) {
        (Some(release), _) if slot.app_matches() != Some(false) => {
            release_title(facts, slot).unwrap_or_else(|| release.version.as_str().to_owned())
        }
        (_, Some((project, version))) if slot.image.may_start() => format!("{project} {version}"),
        (Some(_), _) => release_title(facts, slot).unwrap_or_default(),
        _ => "an app without a name".to_owned(),
    }
}

/// The release that a slot should hold.
pub(crate) fn release_title(facts: &Facts, slot: &Slot) -> Option<String> {
    let version = slot.release()?.version;
    Some(match &facts.product {
        Some(product) => format!("{product} {}", version.as_str()),
        None => version.as_str().to_owned(),
    })
}

/// What is wrong with an image.
pub(super) fn image_error(error: ImageError) -> String {
    match error {
        ImageError::Checksum { .. } => "its checksum does not match".to_owned(),
        other => other.to_string(),
    }
}

/// A size that is mostly a number of mebibytes.
pub(crate) fn size(bytes: u32) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes.div_ceil(1024))
    }
}

/// How bad it is.
pub(crate) fn verdict(facts: &Facts, findings: &[Finding]) -> Verdict {
    if facts.blank || facts.is_foreign() {
        Verdict::Foreign
    } else if facts.runs().is_none() {
        Verdict::Dead
    } else if findings.is_empty() {
        Verdict::Healthy
    } else {
        Verdict::Impaired
    }
}

/// What is wrong.
pub(crate) fn sentence(facts: &Facts, findings: &[Finding]) -> String {
    match (findings.first(), facts.runs()) {
        (Some(worst), _) => worst.sentence.clone(),
        (None, Some(slot)) if facts.complete => {
            format!("Nothing is wrong: {} is whole.", title(facts, slot))
        }
        _ => "Nothing is wrong as far as a quick look tells.".to_owned(),
    }
}

/// What will happen.
pub(crate) fn next_boot(facts: &Facts) -> String {
    if facts.is_foreign() && facts.runs().is_none() {
        return "What it does then is not known here.".to_owned();
    }
    match facts.bootloader.state {
        BootloaderState::Erased | BootloaderState::Other => {
            return "The chip finds nothing to start, and waits in its ROM for a programmer."
                .to_owned();
        }
        BootloaderState::WrongChip(_) | BootloaderState::Damaged(_) => {
            return "The chip refuses the bootloader and tries again for ever.".to_owned();
        }
        BootloaderState::FlashTooLarge { .. } => {
            return "The app finds less flash than the bootloader says, and restarts for ever."
                .to_owned();
        }
        BootloaderState::FlashTooSmall { .. } | BootloaderState::Whole { .. } => {}
    }
    let table = facts.partitions.state;
    if !table.is_accepted()
        || matches!(
            facts.bootloader.state,
            BootloaderState::FlashTooSmall { .. }
        )
    {
        return "The bootloader refuses the partition table and restarts for ever.".to_owned();
    }
    let Some(runs) = facts.runs() else {
        return "The bootloader finds no app that starts and restarts for ever.".to_owned();
    };
    let it = format!("{} from {}", title(facts, runs), runs.label());
    let boot = &facts.boot;
    if boot.died && boot.runs != boot.started {
        return format!("The boot guard ends the trial, and {it} starts.");
    }
    match boot.selected.map(|n| &facts.slots[n]) {
        Some(selected) if boot.started != boot.selected => {
            format!(
                "The bootloader refuses {} and starts {it}.",
                selected.label()
            )
        }
        Some(_) if boot.state.is_some_and(boot::is_trial) => {
            let trial = "which has to confirm within its time";
            match boot.state {
                Some(ImageState::Undefined(_)) | None => format!("It starts {it}."),
                Some(_) => format!("It starts {it}, {trial}."),
            }
        }
        None if facts.otadata.is_some() && !facts.slots.is_empty() => {
            format!("Otadata selects nothing, so it starts {it}.")
        }
        _ => format!("It starts {it}."),
    }
}
