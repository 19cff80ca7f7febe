//! The whole flash as a list of stretches.

use super::bootloader::State as BootloaderState;
use super::facts::Facts;
use super::files::FilesState;
use super::slot::{Image, Slot};
use super::store::{Copy, Stored};
use super::table::{Source, TableState};
use super::words::{chip, release_title, size, title};
use super::{Health, Region, RegionKind};
use airlift_updater::SlotId;
use airlift_wire::image::HEADER_LEN;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::otadata::Entry;
use airlift_wire::partition::{
    ENTRY_LEN, Partition, SUBTYPE_OTADATA, TABLE_OFFSET, TYPE_APP, TYPE_DATA,
};
use airlift_wire::state::STATE_LEN;

const SECTOR: u32 = SECTOR_SIZE as u32;
/// Data subtypes (ESP-IDF: "Partition Tables").
const PHY: u8 = 0x01;
const NVS: u8 = 0x02;

fn region(name: &str, kind: RegionKind, offset: u32, end: u32) -> Region {
    Region {
        name: name.to_owned(),
        kind,
        offset,
        size: end - offset,
        used: None,
        health: Health::Unknown,
        summary: String::new(),
        details: Vec::new(),
        boots: false,
    }
}

/// All regions in order, without gaps and overlaps.
pub(crate) fn all(facts: &Facts) -> Vec<Region> {
    let size = facts.flash_size;
    let table_end = (TABLE_OFFSET + SECTOR).min(size);
    let mut wanted = vec![bootloader(facts), table(facts, table_end)];
    let mut partitions = facts.partitions.list.clone();
    partitions.sort_by_key(|partition| partition.offset);
    wanted.extend(partitions.iter().map(|partition| one(facts, partition)));
    let mut all = Vec::new();
    let mut at = 0;
    for region in wanted {
        // Some table may name the place of the table itself.
        if region.offset < at || region.offset >= size || region.size == 0 {
            continue;
        }
        if at < region.offset {
            all.push(free(facts, at, region.offset));
        }
        at = region.offset + region.size;
        all.push(region);
    }
    if at < size {
        all.push(free(facts, at, size));
    }
    all
}

fn free(facts: &Facts, offset: u32, end: u32) -> Region {
    let mut it = region("free", RegionKind::Free, offset, end);
    if facts.blank {
        it.health = Health::Empty;
        "erased".clone_into(&mut it.summary);
    } else if facts.partitions.list.is_empty() && offset > TABLE_OFFSET {
        "no partition table says what is here".clone_into(&mut it.summary);
    } else {
        "in no partition".clone_into(&mut it.summary);
    }
    it
}

fn bootloader(facts: &Facts) -> Region {
    let offset = facts.bootloader.offset;
    let end = TABLE_OFFSET.min(facts.flash_size).max(offset);
    let mut it = region("bootloader", RegionKind::Bootloader, offset, end);
    let (health, summary) = match &facts.bootloader.state {
        BootloaderState::Erased => (Health::Empty, "erased".to_owned()),
        BootloaderState::Other => (Health::Foreign, "no bootloader".to_owned()),
        BootloaderState::WrongChip(found) => (
            Health::Foreign,
            format!("a bootloader for {}", chip(*found)),
        ),
        BootloaderState::Damaged(error) => (Health::Damaged, error.to_string()),
        BootloaderState::FlashTooSmall { believes, len }
        | BootloaderState::FlashTooLarge { believes, len } => {
            it.used = Some(*len);
            (
                Health::Damaged,
                format!("set for a flash of {}", size(*believes)),
            )
        }
        BootloaderState::Whole {
            len,
            idf,
            flash,
            stale_hash,
        } => {
            it.used = Some(*len);
            it.details
                .push(format!("set for a flash of {}", size(*flash)));
            let from = idf.as_ref().map(|idf| format!(", ESP-IDF {idf}"));
            let right = if *stale_hash { "checksum" } else { "hash" };
            (
                Health::Good,
                format!("{right} right{}", from.unwrap_or_default()),
            )
        }
    };
    if let Some(state) = facts.state()
        && state.bootloader_rollback
    {
        it.details
            .push("has rollback: seen at the last trial".to_owned());
    }
    (it.health, it.summary) = (health, summary);
    it
}

fn table(facts: &Facts, end: u32) -> Region {
    let offset = TABLE_OFFSET.min(end);
    let mut it = region("partition table", RegionKind::Table, offset, end);
    let count = facts.partitions.list.len();
    let (health, summary) = match facts.partitions.state {
        TableState::Right => {
            it.used = Some(((count + 1) * ENTRY_LEN) as u32);
            (Health::Good, format!("{count} partitions, MD5 right"))
        }
        TableState::Loose(error) => {
            it.used = Some((count * ENTRY_LEN) as u32);
            (Health::Good, format!("{count} partitions; {error}"))
        }
        TableState::Erased => (Health::Empty, "erased".to_owned()),
        TableState::Other => (Health::Foreign, "no partition table".to_owned()),
        TableState::Damaged(error) => (Health::Damaged, error.to_string()),
        TableState::TooLarge { needs } => {
            (Health::Foreign, format!("for a flash of {}", size(needs)))
        }
    };
    if !facts.partitions.state.is_accepted() && count > 0 {
        it.details.push(match facts.partitions.source {
            Source::Default => "the default partitions fit what is in the flash".to_owned(),
            _ => "what is left of it fits what is in the flash".to_owned(),
        });
    }
    (it.health, it.summary) = (health, summary);
    it
}

fn one(facts: &Facts, partition: &Partition) -> Region {
    let end = partition.end().min(facts.flash_size);
    let label = partition.label();
    let layout = facts.partitions.layout.as_ref();
    let is = |other: Option<Partition>| other.is_some_and(|p| p.offset == partition.offset);
    let kind = match (partition.kind, partition.subtype) {
        (TYPE_APP, _) => RegionKind::App,
        (TYPE_DATA, SUBTYPE_OTADATA) => RegionKind::Otadata,
        _ if is(layout.map(|l| l.airlift)) => RegionKind::Airlift,
        _ if is(layout.and_then(|l| l.vfs)) => RegionKind::Files,
        (TYPE_DATA, NVS) => RegionKind::Nvs,
        (TYPE_DATA, PHY) => RegionKind::Phy,
        _ => RegionKind::Data,
    };
    let mut it = region(label, kind, partition.offset, end);
    match kind {
        RegionKind::App => app(facts, partition, &mut it),
        RegionKind::Otadata => otadata(facts, &mut it),
        RegionKind::Airlift => airlift(facts, &mut it),
        RegionKind::Files => files(facts, &mut it),
        _ => {
            let empty = facts.empty.contains(&partition.offset);
            it.health = if empty {
                Health::Empty
            } else {
                Health::Unknown
            };
            it.summary = match (empty, kind) {
                (true, _) => "erased".to_owned(),
                (_, RegionKind::Nvs) => "in use; stays as it is".to_owned(),
                _ => "not looked at".to_owned(),
            };
        }
    }
    it
}

fn app(facts: &Facts, partition: &Partition, it: &mut Region) {
    let Some(n) = facts.slots.iter().position(|s| s.partition == *partition) else {
        "not looked at".clone_into(&mut it.summary);
        return;
    };
    let slot = &facts.slots[n];
    it.boots = facts
        .runs()
        .is_some_and(|runs| runs.partition == *partition);
    it.used = slot.image.len();
    let matches = slot.app_matches();
    let (health, summary) = match slot.image {
        Image::Empty => (Health::Empty, "erased".to_owned()),
        Image::Other => (Health::Foreign, "no app".to_owned()),
        Image::WrongChip(found) => (Health::Foreign, format!("an app for {}", chip(found))),
        Image::Bad { error, erased_from } => {
            it.used = erased_from;
            (Health::Damaged, error.to_string())
        }
        Image::Unchecked { differs: true, .. } => {
            (Health::Damaged, "not as it was released".to_owned())
        }
        Image::Unchecked { .. } => (Health::Unknown, format!("{}, not read", title(facts, slot))),
        Image::Whole { .. } if matches == Some(false) => (
            Health::Foreign,
            format!("{}, which is not what was released", title(facts, slot)),
        ),
        Image::Whole { .. } => (Health::Good, format!("{}, hash right", title(facts, slot))),
    };
    (it.health, it.summary) = (health, summary);
    slot_details(facts, slot, it);
}

fn slot_details(facts: &Facts, slot: &Slot, it: &mut Region) {
    match slot.stored {
        Stored::Erased => it.details.push("no release is stored for it".to_owned()),
        Stored::Damaged => it
            .details
            .push("what is stored of its release is damaged".to_owned()),
        Stored::Untrusted(id) => {
            it.details.push(format!(
                "release {id}, signed by a key that the board does not trust"
            ));
        }
        Stored::Release(release) => {
            let title = release_title(facts, slot).unwrap_or_default();
            it.details.push(format!(
                "{title}, sequence {}, release {}",
                release.sequence, release.id
            ));
        }
    }
    if let Some(digest) = slot.image.digest() {
        it.details.push(format!("SHA-256 {digest}"));
    }
    if let Some(len) = slot.image.len() {
        it.details.push(format!(
            "{len} of {} bytes",
            slot.partition.size.max(HEADER_LEN as u32)
        ));
    }
    if let Some(entry) = facts.entry_of(slot) {
        it.details.push(format!("otadata: {entry:?}"));
    }
}

fn otadata(facts: &Facts, it: &mut Region) {
    let Some((_, entries)) = &facts.otadata else {
        it.health = Health::Damaged;
        "too small".clone_into(&mut it.summary);
        return;
    };
    let erased = |entry: &Entry| entry.encode() == [0xFF; 32];
    for (n, entry) in entries.iter().enumerate() {
        let line = if erased(entry) {
            "erased".to_owned()
        } else {
            format!("{entry:?}")
        };
        it.details.push(format!("entry {n}: {line}"));
    }
    it.used = Some(2 * SECTOR);
    let selected = facts
        .boot
        .selected
        .map(|n| facts.slots[n].label().to_owned());
    (it.health, it.summary) = match selected {
        Some(label) => (Health::Good, format!("selects {label}")),
        None if entries.iter().all(erased) => (Health::Empty, "erased; selects nothing".to_owned()),
        None => (Health::Damaged, "selects nothing".to_owned()),
    };
}

fn airlift(facts: &Facts, it: &mut Region) {
    let Some(store) = &facts.store else { return };
    for (n, copy) in store.copies.iter().enumerate() {
        let line = match copy {
            Copy::Erased => "erased".to_owned(),
            Copy::Damaged => "damaged".to_owned(),
            Copy::Right(counter) => format!("right, counter {counter}"),
        };
        it.details.push(format!("state {n}: {line}"));
    }
    it.used = Some(STATE_LEN as u32 * 2);
    (it.health, it.summary) = match facts.state() {
        Some(state) => {
            let name = match state.name.as_str() {
                "" => String::new(),
                name => format!(" {name}"),
            };
            let product = state.product.as_str();
            let keys = match &state.trust {
                Some(trust) => format!("{} release keys", trust.release_keys().len()),
                None => "no keys".to_owned(),
            };
            let health = if state.trust.is_some() {
                Health::Good
            } else {
                Health::Damaged
            };
            (
                health,
                format!("{product}{name}, sequence {}, {keys}", state.sequence),
            )
        }
        None if store.copies == [Copy::Erased; 2] => (Health::Empty, "erased".to_owned()),
        None => (Health::Damaged, "no state".to_owned()),
    };
}

fn files(facts: &Facts, it: &mut Region) {
    let files = &facts.files;
    it.used = files.used.map(|blocks| blocks * SECTOR);
    (it.health, it.summary) = match &files.state {
        FilesState::None | FilesState::Unchecked => (Health::Unknown, "not looked at".to_owned()),
        FilesState::Erased => (Health::Empty, "erased".to_owned()),
        FilesState::Other(what) => (Health::Foreign, (*what).to_owned()),
        FilesState::Newer(_) => (Health::Foreign, "a newer littlefs".to_owned()),
        FilesState::OtherSize { .. } => (Health::Foreign, "a littlefs of another size".to_owned()),
        FilesState::Damaged => (Health::Damaged, "no littlefs that mounts".to_owned()),
        FilesState::Mounted(version) => {
            let version = match version {
                crate::littlefs::DiskVersion::V2_0 => "2.0",
                crate::littlefs::DiskVersion::V2_1 => "2.1",
            };
            let broken = files.damage.is_some() || files.folders.iter().any(|f| f.damage.is_some());
            let wrong = |slot: &Slot| facts.files_match(slot) == Some(false);
            let health = if broken || facts.slots.iter().any(wrong) {
                Health::Damaged
            } else {
                Health::Good
            };
            (health, format!("littlefs {version}, mounts"))
        }
    };
    for slot in SlotId::ALL {
        let folder = files.folder(slot);
        if !folder.there {
            continue;
        }
        let version = folder.version.as_deref().unwrap_or("no VERSION");
        let matches = facts.slot(slot).and_then(|slot| facts.files_match(slot));
        let line = match (&folder.damage, matches) {
            (Some(damage), _) => format!("{version}, {damage}"),
            (None, Some(true)) => format!("{version}, as released"),
            (None, Some(false)) => format!("{version}, not as released"),
            (None, None) => version.to_owned(),
        };
        it.details.push(format!("{}: {line}", slot.name()));
    }
    if !files.others.is_empty() {
        it.details
            .push(format!("also: {}", files.others.join(", ")));
    }
}
