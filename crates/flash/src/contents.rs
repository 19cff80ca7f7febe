//! What is put on a board from nothing.
//!
//! | From | What is written | Trust |
//! | --- | --- | --- |
//! | a release ([`of_release`]) | bootloader, partition table, state, its app and files | the keys given |
//! | an app image ([`of_app`]) | bootloader, partition table, state, the app, an empty file system | the keys given, if any |
//! | a merged image ([`of_merged`]) | the image as it is | what is in it |
//! | files at offsets ([`of_parts`], [`of_parts_on`]) | the files as they are | what is in them |
//!
//! All are checked before anything is written: images are whole, for the chip, and fit; the table fits
//! the flash. Nothing outside the steps is written, and nothing in the flash is taken for part of what
//! is written: what has to be erased is a segment of `FF`.

mod present;
mod raw;

pub use raw::{MAX_PARTS, Part, of_merged, of_parts, of_parts_on};

use crate::bootloader::{self, Bootloader, Rollback, Target};
use crate::factory::{self, Factory, first_slot};
use crate::littlefs::Storage;
use crate::plan::Step;
use crate::{Error, Segment};
use airlift_provision::Credentials;
use airlift_release::{PartKind, PartState, Release};
use airlift_updater::{Layout, SlotId};
use airlift_wire::KeySet;
use airlift_wire::image::Descriptor;
use airlift_wire::limits::{MAX_PRODUCT, SECTOR_SIZE};
use airlift_wire::partition::{
    Partition, SUBTYPE_OTADATA, TABLE_LEN, TABLE_OFFSET, TYPE_DATA, Table,
};
use airlift_wire::state::PARTITION_LABEL;
use bytes::Bytes;

/// Data subtype of `nvs` (ESP-IDF: "Partition Tables").
pub(crate) const SUBTYPE_NVS: u8 = 0x02;
/// Where the two copies of a board's state are, at the start of partition `airlift`.
const STATE_SECTORS: u32 = 2 * SECTOR_SIZE as u32;
/// Data subtype of `phy_init`.
const SUBTYPE_PHY: u8 = 0x01;

/// What is put on a board from nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Contents {
    /// `chip_id` of the boards that it is for.
    pub chip: u16,
    /// Bytes of flash that it needs.
    pub flash_size: u32,
    /// What it is, a few words: `demo 1.1.0`.
    pub what: String,
    /// What it does, one sentence.
    pub summary: String,
    /// What is written, each with its reason; ascending, apart from each other.
    pub steps: Vec<Step>,
    /// What the board will be like afterwards, one sentence.
    pub afterwards: String,
    /// What is lost, one sentence each.
    pub losses: Vec<String>,
    /// Whether it brings a partition table.
    pub brings_table: bool,
    /// Whether it brings keys that the board will trust.
    pub brings_trust: bool,
    /// Whether its bootloader has rollback; `None` when it brings no bootloader.
    pub rollback: Option<Rollback>,
}

impl Contents {
    /// All that is written, ascending.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.steps.iter().flat_map(|step| &step.segments)
    }

    /// Whether what the board will be follows from what is written alone: bootloader, partition table
    /// and otadata are, and the start of every other partition but `nvs` and `phy_init`. What was in
    /// the flash before decides otherwise.
    pub fn decides_all(&self) -> bool {
        let covers = |start: u32, len: u32| {
            let mut at = start;
            let end = start.saturating_add(len);
            for segment in self.segments() {
                if (segment.offset()..segment.end()).contains(&at) {
                    at = segment.end();
                }
            }
            at >= end
        };
        let table = self.segments().find_map(|segment| {
            let at = TABLE_OFFSET.checked_sub(segment.offset())?;
            segment.bytes().get(at as usize..)?.get(..TABLE_LEN)
        });
        let table = table.and_then(|bytes| Table::parse(bytes, self.flash_size).ok());
        let (Some(table), Some(_)) = (table, self.rollback) else {
            return false;
        };
        table.iter().all(|partition| {
            let len = if is_data(&partition, SUBTYPE_OTADATA) {
                partition.size
            } else if is_data(&partition, SUBTYPE_NVS) || is_data(&partition, SUBTYPE_PHY) {
                0
            } else if partition.label() == PARTITION_LABEL {
                STATE_SECTORS
            } else {
                SECTOR_SIZE as u32
            };
            covers(partition.offset, len.min(partition.size))
        })
    }

    /// Bytes of flash that are written.
    pub fn bytes(&self) -> u32 {
        self.steps.iter().map(Step::bytes).sum()
    }
}

/// How a board is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup<'a> {
    /// What people call it.
    pub name: &'a str,
    /// Product of an app that no release describes; else that of the project that the app names.
    pub product: Option<&'a str>,
    /// Whom it trusts.
    pub trust: Option<KeySet>,
    /// The network that it joins.
    pub wifi: Option<Credentials>,
    /// Whether there is a `factory` slot besides the two for updates.
    pub factory_slot: bool,
    /// Another bootloader than the bundled one.
    pub bootloader: Option<&'a Bootloader>,
    /// Whether `nvs` stays as it is.
    pub keep_nvs: bool,
    /// Whether the board takes a release only after a statement which one is the newest.
    pub freshness_required: bool,
}

/// A release that carries an app, installed and confirmed in the first slot of an empty board.
///
/// # Errors
/// [`Error::Missing`] for a release that does not carry what it starts with, [`Error::WrongChip`],
/// [`Error::Revision`], [`Error::UnknownSigner`] when the board would not trust it, [`Error::FlashSize`], [`Error::TooBig`],
/// [`Error::NoBootloader`], [`Error::Name`].
pub fn of_release(
    release: &Release,
    target: &Target,
    setup: &Setup<'_>,
) -> Result<Contents, Error> {
    let manifest = release.manifest();
    let Some(app) = release.app() else {
        return Err(Error::Missing(PartKind::App));
    };
    if let (PartState::Running(_), None) = (&manifest.files, release.files()) {
        return Err(Error::Missing(PartKind::Files));
    }
    let signer = release.signer();
    if let Some(trust) = &setup.trust
        && trust.root != signer
        && !trust.release_keys().contains(&signer)
    {
        return Err(Error::UnknownSigner(signer.id()));
    }
    let what = format!("{} {}", manifest.product, manifest.version);
    let slot = first_slot(setup.factory_slot);
    let bootloader = choose_bootloader(target, setup)?;
    let mut factory = new_factory(target, setup, &manifest.product, &bootloader);
    factory.installed = Some((slot, release));
    from_nothing(&factory, target, setup, &what, app.bytes())
}

/// An app image that no release describes, in the first slot of an empty board with an empty file
/// system.
///
/// # Errors
/// [`Error::Image`], [`Error::WrongChip`], [`Error::Revision`], [`Error::FlashSize`], [`Error::TooBig`],
/// [`Error::NoBootloader`], [`Error::Name`], [`Error::NoProduct`].
pub fn of_app(app: &Bytes, target: &Target, setup: &Setup<'_>) -> Result<Contents, Error> {
    let descriptor = Descriptor::parse(app);
    let project = descriptor.map(|d| product_of(d.project));
    let project = project.unwrap_or_default();
    let product = setup.product.unwrap_or(&project);
    let what = match descriptor.map(|d| raw::printable(d.version)) {
        Some(version) if !version.is_empty() && !product.is_empty() => {
            format!("{product} {version}")
        }
        _ => "the app".to_owned(),
    };
    let bootloader = choose_bootloader(target, setup)?;
    let mut factory = new_factory(target, setup, product, &bootloader);
    factory.app = Some(app);
    from_nothing(&factory, target, setup, &what, app)
}

/// The product that a project's name stands for; nothing when there is none.
fn product_of(project: &str) -> String {
    let lower = project.chars().take(MAX_PRODUCT).map(|c| match c {
        'A'..='Z' => c.to_ascii_lowercase(),
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
        _ => '-',
    });
    lower.collect()
}

fn choose_bootloader(target: &Target, setup: &Setup<'_>) -> Result<Bootloader, Error> {
    let Some(given) = setup.bootloader else {
        return bootloader::for_target(target);
    };
    // It may have been read for another board.
    bootloader::check(given.bytes(), target)?;
    Ok(given.clone())
}

fn new_factory<'a>(
    target: &Target,
    setup: &Setup<'a>,
    product: &'a str,
    bootloader: &'a Bootloader,
) -> Factory<'a> {
    // Addresses of 24 bits reach no further.
    let flash_size = (target.flash_size as usize).min(Factory::FLASH_MAX);
    Factory {
        flash_size: flash_size - flash_size % SECTOR_SIZE,
        factory_slot: setup.factory_slot,
        trust: setup.trust,
        freshness_required: setup.freshness_required,
        wifi: setup.wifi,
        bootloader: Some(bootloader),
        ..Factory::untrusting(product, setup.name)
    }
}

/// The steps of a board from nothing that starts `app`.
fn from_nothing(
    factory: &Factory<'_>,
    target: &Target,
    setup: &Setup<'_>,
    what: &str,
    app: &Bytes,
) -> Result<Contents, Error> {
    let layout = factory.layout()?;
    let first = first_slot(factory.factory_slot);
    let place = layout.partition(first);
    let place = place.ok_or(Error::Layout("there is no partition for the app"))?;
    let checked = factory::check_app(app, place.size)?;
    if checked.header.chip_id != target.chip {
        return Err(Error::WrongChip {
            what: "the app".to_owned(),
            found: checked.header.chip_id,
            wanted: target.chip,
        });
    }
    bootloader::check_revision(&checked.header, "the app", target, true)?;
    let table_bytes = factory::table(layout.flash_size, factory.factory_slot)?;
    let table = Table::parse(&table_bytes, layout.flash_size).map_err(Error::Table)?;
    let mut steps = Vec::new();
    if let Some(bootloader) = factory.bootloader {
        steps.push(step(
            "bootloader",
            "Write the bootloader",
            why_bootloader(bootloader),
            segments(bootloader.offset(), bootloader.bytes().clone())?,
        ));
    }
    steps.push(step(
        "partition table",
        "Write the partition table",
        "It says where everything else is.",
        segments(TABLE_OFFSET, table_bytes.to_vec())?,
    ));
    for partition in table.iter() {
        let fill = |len: u32| segments(partition.offset, vec![0xFF; len as usize]);
        let label = partition.label();
        if partition.offset == layout.otadata.offset {
            let bytes = factory::otadata(first);
            let title = format!("Let {} start", first.name());
            let why = "It says which slot the bootloader starts.";
            steps.push(step(label, &title, why, segments(partition.offset, bytes)?));
        } else if partition.offset == layout.airlift.offset {
            let why = why_state(factory);
            let bytes = factory.airlift(&layout)?;
            let segments = segments(partition.offset, bytes)?;
            steps.push(step(label, "Write name, keys and state", &why, segments));
        } else if partition.offset == place.offset {
            let title = format!("Write {what} into {label}");
            let segments = segments(partition.offset, app.clone())?;
            steps.push(step(
                label,
                &title,
                "It is what the board starts.",
                segments,
            ));
        } else if is_slot(&layout, &partition) {
            // Without its first sector an image is none, whatever stands behind.
            let title = format!("Empty {label}");
            let why = "What was in the flash there before must not start.";
            steps.push(step(label, &title, why, fill(SECTOR_SIZE as u32)?));
        } else if layout.vfs.is_some_and(|vfs| vfs.offset == partition.offset) {
            let mut storage = Storage::new();
            let mut tree = factory.files(&mut storage, &layout, partition.size)?;
            let segments = tree.in_use(partition.offset)?;
            let why = "The files of each slot are in a folder of its own.";
            steps.push(step(label, "Make a new file system", why, segments));
        } else if is_data(&partition, SUBTYPE_NVS) {
            if !setup.keep_nvs {
                let why = "It may hold settings of other firmware.";
                steps.push(step(label, "Empty nvs", why, fill(partition.size)?));
            }
        } else if is_data(&partition, SUBTYPE_PHY) {
            let why = "The app brings what it needs.";
            steps.push(step(label, "Empty phy_init", why, fill(partition.size)?));
        }
    }
    let rollback = factory.bootloader.map(Bootloader::rollback);
    Ok(Contents {
        chip: target.chip,
        flash_size: layout.flash_size,
        what: what.to_owned(),
        summary: format!(
            "Puts {what} on the board from nothing, laid out for {} MiB of flash.",
            layout.flash_size >> 20,
        ),
        steps,
        afterwards: afterwards(what, first, factory),
        losses: losses(setup.keep_nvs),
        brings_table: true,
        brings_trust: factory.trust.is_some(),
        rollback,
    })
}

fn is_slot(layout: &Layout, partition: &Partition) -> bool {
    SlotId::ALL
        .into_iter()
        .filter_map(|slot| layout.partition(slot))
        .any(|slot| slot.offset == partition.offset)
}

fn is_data(partition: &Partition, subtype: u8) -> bool {
    partition.kind == TYPE_DATA && partition.subtype == subtype
}

fn step(region: &str, title: &str, why: &str, segments: Vec<Segment>) -> Step {
    Step {
        title: title.to_owned(),
        why: why.to_owned(),
        region: region.to_owned(),
        segments,
    }
}

fn segments(offset: u32, bytes: impl Into<Bytes>) -> Result<Vec<Segment>, Error> {
    let segment = Segment::new(offset, bytes).map_err(|error| Error::Segment {
        what: format!("what goes to {offset:#x}"),
        error,
    })?;
    Ok(vec![segment])
}

/// What people should know of a bootloader.
fn why_bootloader(bootloader: &Bootloader) -> &'static str {
    match (bootloader.is_bundled(), bootloader.rollback()) {
        (true, _) => {
            "The chip starts it first. It is ESP-IDF's own without rollback: the app's boot guard goes \
             back when an update does not confirm."
        }
        (false, Rollback::Yes) => {
            "The chip starts it first. It goes back by itself when an update does not confirm."
        }
        (false, Rollback::No) => {
            "The chip starts it first. It has no rollback: the app's boot guard goes back when an \
             update does not confirm."
        }
        (false, Rollback::Unknown) => {
            "The chip starts it first. Whether it has rollback shows at the first update."
        }
    }
}

fn why_state(factory: &Factory<'_>) -> String {
    let mut why = match factory.trust {
        Some(trust) => format!("The board trusts releases by {}.", trust.root.id()),
        None => "Without keys the board takes no release over the network.".to_owned(),
    };
    if factory.wifi.is_some() {
        why.push_str(" It joins the Wi-Fi that was given.");
    }
    why
}

fn afterwards(what: &str, slot: SlotId, factory: &Factory<'_>) -> String {
    let name = match factory.name {
        "" => String::new(),
        name => format!(" as {}", raw::printable(name)),
    };
    let updates = match factory.trust {
        Some(_) => "and takes updates over the network",
        None => "and takes no updates, as it trusts no key",
    };
    format!(
        "The board starts {what} from {}{name} {updates}.",
        slot.name()
    )
}

fn losses(keep_nvs: bool) -> Vec<String> {
    let mut losses =
        vec!["The apps, files, keys and name that are on the board are lost.".to_owned()];
    if !keep_nvs {
        let nvs = "What nvs holds, such as Wi-Fi credentials and calibration, is lost.";
        losses.push(nvs.to_owned());
    }
    losses
}
