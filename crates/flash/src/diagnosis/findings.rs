//! Everything that is not as it should be.

use super::boot;
use super::bootloader::State as BootloaderState;
use super::facts::Facts;
use super::files::FilesState;
use super::finding::{Finding, FindingCode as Code};
use super::slot::{Image, Slot};
use super::store::Stored;
use super::table::{Source, TableState};
use super::words::{chip, image_error, release_title, size, title};
use airlift_wire::image::ImageError;
use airlift_wire::otadata::Entry;
use airlift_wire::partition::{PartitionError, TABLE_OFFSET};
use airlift_wire::state::End;

/// Collects findings.
struct Findings {
    list: Vec<Finding>,
    starts: bool,
}

impl Findings {
    fn add(&mut self, code: Code, region: Option<&str>, sentence: String) {
        self.list.push(Finding {
            code,
            sentence,
            region: region.map(str::to_owned),
            harmless: self.starts,
        });
    }
}

/// Everything that is not as it should be, worst first; empty when nothing is.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut f = Findings {
        list: Vec::new(),
        starts: facts.runs().is_some(),
    };
    if facts.blank {
        let sentence = "The flash is empty: there is no bootloader, no partition table and no app.";
        f.add(Code::BlankFlash, None, sentence.to_owned());
        return f.list;
    }
    if facts.is_foreign() {
        foreign(facts, &mut f);
        return f.list;
    }
    bootloader(facts, &mut f);
    table(facts, &mut f);
    if facts.partitions.layout.is_some() {
        slots(facts, &mut f);
        selection(facts, &mut f);
        files(facts, &mut f);
        store(facts, &mut f);
    } else if facts.partitions.state.is_accepted() {
        without_slots(facts, &mut f);
    }
    // What keeps it from starting first; then by how bad it is.
    f.list
        .sort_by_key(|finding| (finding.harmless, finding.code));
    f.list
}

fn bootloader(facts: &Facts, f: &mut Findings) {
    let offset = facts.bootloader.offset;
    let mut add = |code, sentence| f.add(code, Some("bootloader"), sentence);
    match &facts.bootloader.state {
        BootloaderState::Whole {
            stale_hash: false, ..
        } => {}
        BootloaderState::Whole {
            stale_hash: true, ..
        } => add(
            Code::BootloaderHash,
            "The bootloader's checksum is right and its SHA-256 is not: the ROM says so at each \
             start, and starts it nevertheless."
                .to_owned(),
        ),
        BootloaderState::Erased => {
            add(
                Code::NoBootloader,
                format!("There is no bootloader at {offset:#x}: the flash there is erased."),
            );
        }
        BootloaderState::Other => {
            add(
                Code::NoBootloader,
                format!("There is no bootloader at {offset:#x}: something else is there."),
            );
        }
        BootloaderState::WrongChip(found) => add(
            Code::WrongChipBootloader,
            format!(
                "The bootloader is for {}, and this board has an {}.",
                chip(*found),
                chip(facts.chip)
            ),
        ),
        BootloaderState::Damaged(error) => add(
            Code::DamagedBootloader,
            format!("The bootloader is damaged: {}.", image_error(*error)),
        ),
        BootloaderState::FlashTooLarge { believes, .. } => add(
            Code::BootloaderFlashSize,
            format!(
                "The bootloader is set for a flash of {}, and this board has {}.",
                size(*believes),
                size(facts.flash_size)
            ),
        ),
        BootloaderState::FlashTooSmall { believes, .. } => add(
            Code::BootloaderFlashSize,
            format!(
                "The bootloader is set for a flash of {}, and the partitions need {}.",
                size(*believes),
                size(facts.partitions.end())
            ),
        ),
    }
}

fn table(facts: &Facts, f: &mut Findings) {
    let known = match facts.partitions.source {
        _ if facts.partitions.list.is_empty() => "; what is in the flash does not say where it was",
        Source::Table => "",
        Source::Remains => "; what is left of it agrees with what is in the flash",
        Source::Default => "; what is in the flash fits the default partitions",
    };
    let mut add = |code, sentence| f.add(code, Some("partition table"), sentence);
    match facts.partitions.state {
        TableState::Right => {}
        TableState::Loose(error) => {
            let what = match error {
                PartitionError::Md5 => "has no MD5",
                _ => "has partitions that overlap or are not aligned",
            };
            let sentence = format!(
                "The partition table {what}: the bootloader accepts that, and Airlift's updater \
                 does not, so the board takes no update over the air."
            );
            add(Code::TableRefused, sentence);
        }
        TableState::Erased => add(
            Code::NoPartitionTable,
            format!(
                "There is no partition table at {TABLE_OFFSET:#x}: the flash there is erased{known}."
            ),
        ),
        TableState::Other => add(
            Code::NoPartitionTable,
            format!(
                "There is no partition table at {TABLE_OFFSET:#x}: something else is there{known}."
            ),
        ),
        TableState::Damaged(PartitionError::Md5) => add(
            Code::DamagedPartitionTable,
            format!("The partition table is damaged: its MD5 is missing or does not match{known}."),
        ),
        TableState::Damaged(PartitionError::Layout) => add(
            Code::DamagedPartitionTable,
            format!("The partition table is wrong: partitions overlap or are not aligned{known}."),
        ),
        TableState::Damaged(_) => add(
            Code::DamagedPartitionTable,
            format!("The partition table is damaged: an entry does not start as one does{known}."),
        ),
        TableState::TooLarge { needs } => add(
            Code::TableTooLarge,
            format!(
                "The partition table is for a flash of {}, and this board has {}.",
                size(needs),
                size(facts.flash_size)
            ),
        ),
    }
}

fn foreign(facts: &Facts, f: &mut Findings) {
    let names = facts.slots.iter().find_map(|slot| slot.names.clone());
    let sentence = match names {
        Some((project, version)) => format!(
            "Other firmware is on this board, {project} {version}: there is no partition airlift."
        ),
        None if facts.can_start() => "Other firmware is on this board, an app without a name: \
                                      there is no partition airlift."
            .to_owned(),
        None if !facts.partitions.list.is_empty() => {
            "Other firmware is on this board: there is no partition airlift.".to_owned()
        }
        None => format!(
            "Nothing of Airlift is in this flash, and it is not empty: it holds other firmware, or \
             what is left of it, without a partition table at {TABLE_OFFSET:#x}."
        ),
    };
    f.add(Code::ForeignFirmware, None, sentence);
}

fn without_slots(facts: &Facts, f: &mut Findings) {
    let sentence = "The partition table does not allow updates: they need two OTA slots, otadata \
                    and airlift.";
    f.add(
        Code::TableWithoutSlots,
        Some("partition table"),
        sentence.to_owned(),
    );
    no_bootable_slot(facts, f);
}

fn no_bootable_slot(facts: &Facts, f: &mut Findings) {
    if !facts.can_start() {
        f.add(
            Code::NoBootableSlot,
            None,
            "No slot holds an app that starts.".to_owned(),
        );
    }
}

fn slots(facts: &Facts, f: &mut Findings) {
    for (n, slot) in facts.slots.iter().enumerate() {
        let label = slot.label();
        let is_selected = facts.boot.selected == Some(n);
        let wanted = release_title(facts, slot);
        let of = wanted
            .as_ref()
            .map_or_else(|| "its app".to_owned(), Clone::clone);
        let mut add = |code, sentence| f.add(code, Some(label), sentence);
        match slot.image {
            // Not yet used, or between two updates.
            Image::Empty if wanted.is_none() && !is_selected => {}
            Image::Empty if is_selected => add(
                Code::SelectedSlotEmpty,
                format!("Otadata selects {label}, and nothing is in it."),
            ),
            Image::Empty => add(
                Code::SlotDamaged,
                format!("Slot {label} should hold {of}, and nothing is in it."),
            ),
            Image::Other | Image::Bad { .. } if is_unfinished(facts, n) => {}
            Image::Other => add(
                Code::SlotDamaged,
                format!("Slot {label} holds something that is no app; {of} belongs there."),
            ),
            Image::WrongChip(found) => add(
                Code::SlotWrongChip,
                format!(
                    "The app in {label} is for {}, and this board has an {}.",
                    chip(found),
                    chip(facts.chip)
                ),
            ),
            Image::Bad {
                erased_from: Some(from),
                ..
            } => add(
                Code::SlotTruncated,
                format!("Slot {label} is cut short: {of} ends after {from} bytes."),
            ),
            Image::Bad {
                error: ImageError::Truncated,
                ..
            } => add(
                Code::SlotTruncated,
                format!("Slot {label} is cut short: {of} ends inside a segment."),
            ),
            Image::Bad { error, .. } => add(
                Code::SlotDamaged,
                format!("Slot {label} is damaged: {} of {of}.", at_fault(error)),
            ),
            Image::Unchecked { differs: true, .. } => add(
                Code::SlotDamaged,
                format!("Slot {label} is not as {of} has it."),
            ),
            Image::Unchecked { .. } | Image::Whole { .. } => {
                if slot.app_matches() == Some(false) && !is_unfinished(facts, n) {
                    let sentence =
                        format!("Slot {label} holds a whole app that is not the one of {of}.");
                    add(Code::SlotMismatch, sentence);
                }
            }
        }
        match slot.stored {
            Stored::Damaged => add(
                Code::EnvelopeUntrusted,
                format!("What is stored of the release in {label} is damaged."),
            ),
            Stored::Untrusted(_) => add(
                Code::EnvelopeUntrusted,
                format!("No key that this board trusts has signed the release in {label}."),
            ),
            Stored::Erased | Stored::Release(_) => {}
        }
        if is_unfinished(facts, n) {
            let sentence = format!(
                "An update into {label} was cut short; starting it again goes on where it was."
            );
            add(Code::UnfinishedUpdate, sentence);
        }
    }
    no_bootable_slot(facts, f);
}

fn at_fault(error: ImageError) -> &'static str {
    match error {
        ImageError::Hash => "the SHA-256 does not match that",
        ImageError::Checksum { .. } => "the checksum does not match that",
        ImageError::Segments => "the number of segments is not one",
        _ => "the image is not that",
    }
}

/// Whether a slot is what an update leaves that was cut short: no envelope, something written, and
/// another slot that runs.
pub(crate) fn is_unfinished(facts: &Facts, n: usize) -> bool {
    let slot = &facts.slots[n];
    let Some(id) = slot.id else { return false };
    let folder = facts.files.folder(id);
    let app_begun = slot.image != Image::Empty && !slot.image.may_start();
    let files_begun = folder.there && folder.version.is_none() && facts.files.mounts();
    // A folder that was made at the factory is empty, and a quick look may not have read it.
    let holds_files = folder.digest.is_some_and(|digest| digest != empty_folder());
    let files_begun = files_begun && (holds_files || folder.damage.is_some());
    slot.ota.is_some()
        && slot.stored == Stored::Erased
        && facts.boot.selected != Some(n)
        && (app_begun || files_begun)
}

/// Digest of the tar of nothing.
fn empty_folder() -> airlift_wire::Digest {
    airlift_wire::Digest::of(&[0; airlift_wire::tar::TRAILER])
}

/// Which slot is started, and which should be.
fn selection(facts: &Facts, f: &mut Findings) {
    let runs = facts.boot.runs.map(|n| &facts.slots[n]);
    let confirmed = facts.confirmed();
    let Some(active) = facts.boot.active else {
        // Entries that were given up select nothing on purpose: `factory` is to start.
        let damaged = |entry: &Entry| !entry.has_right_crc() && entry.encode() != [0xFF; 32];
        let is_damaged = facts
            .otadata
            .as_ref()
            .is_some_and(|(_, entries)| entries.iter().any(damaged));
        let should = confirmed.filter(|slot| slot.ota.is_some());
        let wrong = should.is_some_and(|should| runs.map(Slot::label) != Some(should.label()));
        if is_damaged || wrong {
            f.add(
                Code::OtadataLost,
                Some("otadata"),
                "Neither entry of otadata counts, so nothing says which slot to start.".to_owned(),
            );
        }
        return;
    };
    let state = facts.otadata.as_ref().map(|(_, entries)| entries[active]);
    let Some(selected) = facts.boot.selected.map(|n| &facts.slots[n]) else {
        return;
    };
    let label = selected.label();
    let trial = state.is_some_and(|entry| boot::is_trial(entry.state));
    let what = title(facts, selected);
    if facts.boot.died {
        let sentence =
            format!("The trial of {what} in {label} has died: it was started and never confirmed.");
        f.add(Code::TrialDied, Some(label), sentence);
    } else if trial && selected.image.may_start() {
        let began = facts
            .state()
            .is_some_and(|state| state.last.end == End::Trial && state.last.boots == 0);
        let sentence = if began {
            format!("Slot {label} is on trial with {what}, which has not run its boot guard yet.")
        } else {
            format!("Slot {label} is on trial with {what}.")
        };
        f.add(Code::OnTrial, Some(label), sentence);
    } else if let (Some(should), Some(runs)) = (confirmed, runs)
        && should.label() != runs.label()
        && facts.boot.started == facts.boot.selected
        && facts.is_whole(should)
    {
        let sentence = format!(
            "Otadata selects {}, and {} was confirmed last, in {}.",
            runs.label(),
            title(facts, should),
            should.label()
        );
        f.add(Code::OlderSelected, Some("otadata"), sentence);
    }
}

fn files(facts: &Facts, f: &mut Findings) {
    let Some(partition) = facts.files.partition else {
        return;
    };
    let label = partition.label();
    let mut add = |code, sentence| f.add(code, Some(label), sentence);
    match &facts.files.state {
        FilesState::None | FilesState::Unchecked => {}
        FilesState::Erased => add(
            Code::FilesUnreadable,
            format!("There is no file system in {label}: it is erased."),
        ),
        FilesState::Other(what) => add(
            Code::FilesForeign,
            format!("There is no littlefs in {label}, but {what}; no repair touches it unasked."),
        ),
        FilesState::Newer(version) => add(
            Code::FilesNewer,
            format!(
                "The file system in {label} has version {}.{}, and 2.1 is the newest that is known \
                 here; no repair touches it unasked.",
                version >> 16,
                version & 0xFFFF
            ),
        ),
        FilesState::OtherSize { blocks } => add(
            Code::FilesForeign,
            format!(
                "The file system in {label} is made for {}, and the partition has {}; no repair \
                 touches it unasked.",
                size(blocks.saturating_mul(4096)),
                size(partition.size)
            ),
        ),
        FilesState::Damaged => add(
            Code::FilesUnreadable,
            format!("The file system in {label} does not mount: it is damaged."),
        ),
        FilesState::Mounted(_) => {
            if let Some(damage) = &facts.files.damage {
                add(
                    Code::FilesDamaged,
                    format!("Not all of the file system in {label} can be read: {damage}."),
                );
            }
            for slot in &facts.slots {
                let Some(folder) = slot.id.map(|id| facts.files.folder(id)) else {
                    continue;
                };
                let name = slot.label();
                let Some(release) = release_title(facts, slot) else {
                    continue;
                };
                if folder.damage.is_some() {
                    add(
                        Code::FilesDamaged,
                        format!("The folder {name} of {release} cannot be read."),
                    );
                } else if facts.files_match(slot) == Some(false) {
                    let how = match folder {
                        folder if !folder.there => "is missing",
                        folder if folder.version.is_none() => "is not whole",
                        _ => "is not the one that was released",
                    };
                    add(
                        Code::FilesMismatch,
                        format!("The folder {name} of {release} {how}."),
                    );
                }
            }
        }
    }
}

fn store(facts: &Facts, f: &mut Findings) {
    match facts.state() {
        None => f.add(
            Code::StateLost,
            Some("airlift"),
            "The board knows neither what it is nor whom it trusts: both copies of its state are \
             missing or damaged."
                .to_owned(),
        ),
        Some(state) if state.trust.is_none() => f.add(
            Code::NoKeys,
            Some("airlift"),
            "The board trusts nobody: it was never given keys.".to_owned(),
        ),
        Some(_) => {}
    }
}
