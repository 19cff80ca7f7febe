//! The app partitions.

use super::Known;
use super::image::{self, Found};
use super::reader::Reader;
use super::store::Stored;
use crate::read::ReadError;
use airlift_updater::SlotId;
use airlift_updater::store::SlotRelease;
use airlift_wire::Digest;
use airlift_wire::image::{DESCRIPTOR_LEN, DESCRIPTOR_OFFSET, Descriptor, Header, ImageError};
use airlift_wire::partition::{Partition, SUBTYPE_FACTORY, SUBTYPE_OTA_0, TYPE_APP};

/// The head of an image: its header and what its descriptor says.
const HEAD_LEN: usize = DESCRIPTOR_OFFSET + DESCRIPTOR_LEN;
/// Most OTA slots that a partition table can have.
const MAX_OTA: u8 = 16;

/// What an app partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// Nothing.
    Empty,
    /// Something that is no image.
    Other,
    /// An image for another chip.
    WrongChip(u16),
    /// An image that is not whole.
    Bad {
        /// Why.
        error: ImageError,
        /// From where on it is erased, when the end is missing.
        erased_from: Option<u32>,
    },
    /// An image that was not read.
    Unchecked {
        /// Its length.
        len: u32,
        /// Whether it is known not to be the one of its release.
        differs: bool,
    },
    /// A whole image.
    Whole {
        /// Its length.
        len: u32,
        /// SHA-256 of all of it.
        digest: Digest,
    },
}

impl Image {
    /// Whether a bootloader starts it, as far as is known.
    pub fn may_start(&self) -> bool {
        matches!(
            self,
            Self::Whole { .. } | Self::Unchecked { differs: false, .. }
        )
    }

    /// Its length.
    pub fn len(&self) -> Option<u32> {
        match self {
            Self::Whole { len, .. } | Self::Unchecked { len, .. } => Some(*len),
            _ => None,
        }
    }

    /// Its digest.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Whole { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

/// An app partition and all that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub partition: Partition,
    /// Number among the OTA slots; `None` for `factory`.
    pub ota: Option<u32>,
    /// Which of the updater's slots it is.
    pub id: Option<SlotId>,
    pub image: Image,
    /// Project and version by the descriptor.
    pub names: Option<(String, String)>,
    pub stored: Stored,
}

impl Slot {
    /// Its label.
    pub fn label(&self) -> &str {
        self.partition.label()
    }

    /// The release that it should hold.
    pub fn release(&self) -> Option<&SlotRelease> {
        self.stored.release()
    }

    /// Whether its image is the one that its release names; `None` when that is not known.
    pub fn app_matches(&self) -> Option<bool> {
        let wanted = self.release()?.app?;
        match self.image {
            Image::Whole { digest, .. } => Some(digest == wanted),
            Image::Unchecked { differs: true, .. } => Some(false),
            Image::Unchecked { .. } => None,
            _ => Some(false),
        }
    }
}

/// The app partitions in the order in which a bootloader counts them: `factory`, then the OTA slots.
pub(crate) fn list(partitions: &[Partition], has_layout: bool) -> Vec<Slot> {
    let find = |subtype| {
        let is = |p: &&Partition| p.kind == TYPE_APP && p.subtype == subtype;
        partitions.iter().find(is).copied()
    };
    let factory = find(SUBTYPE_FACTORY).map(|partition| (partition, None));
    let ota = (0..MAX_OTA).map_while(|n| Some((find(SUBTYPE_OTA_0 + n)?, Some(u32::from(n)))));
    let slot = |(partition, ota): (Partition, Option<u32>)| Slot {
        id: match ota {
            _ if !has_layout => None,
            None => Some(SlotId::Factory),
            Some(0) => Some(SlotId::Ota0),
            Some(1) => Some(SlotId::Ota1),
            Some(_) => None,
        },
        partition,
        ota,
        image: Image::Empty,
        names: None,
        stored: Stored::Erased,
    };
    factory.into_iter().chain(ota).map(slot).collect()
}

/// Looks at an image without reading it: its headers, and whether it is one that is known.
pub(crate) fn glance(
    reader: &mut Reader<'_>,
    slot: &mut Slot,
    known: &Known<'_>,
) -> Result<(), ReadError> {
    let (offset, room) = (slot.partition.offset, slot.partition.size);
    let head: [u8; HEAD_LEN] = reader.array(offset)?;
    slot.image = match Header::parse(&head) {
        Err(_) if head.iter().all(|byte| *byte == 0xFF) => Image::Empty,
        Err(_) => Image::Other,
        Ok(header) if header.chip_id != known.chip => Image::WrongChip(header.chip_id),
        Ok(_) => match image::length(reader, offset, room)? {
            Err(error) => Image::Bad {
                error,
                erased_from: None,
            },
            Ok(len) => compare(reader, slot, known, &head, len)?,
        },
    };
    slot.names = Descriptor::parse(&head)
        .map(|d| (d.project.to_owned(), d.version.to_owned()))
        .filter(|(project, version)| {
            let printable = |text: &str| text.chars().all(airlift_wire::text::is_printable);
            !project.is_empty() && printable(project) && printable(version)
        });
    Ok(())
}

/// Compares an image with that of a known release which has the same head.
fn compare(
    reader: &mut Reader<'_>,
    slot: &Slot,
    known: &Known<'_>,
    head: &[u8],
    len: u32,
) -> Result<Image, ReadError> {
    use md5::Digest as _;
    let wanted = slot.release().and_then(|release| release.app);
    let mut seen = Vec::new();
    for release in known.releases {
        let Some(app) = release.app() else { continue };
        let looks_like_it = app.size() == len && app.bytes().starts_with(head);
        if !looks_like_it || seen.contains(&app.digest()) {
            continue;
        }
        seen.push(app.digest());
        let md5: [u8; 16] = md5::Md5::digest(app.bytes()).into();
        if reader.md5(slot.partition.offset, len)? == md5 {
            let digest = app.digest();
            return Ok(Image::Whole { len, digest });
        }
    }
    let differs = wanted.is_some_and(|wanted| seen.contains(&wanted));
    Ok(Image::Unchecked { len, differs })
}

/// Reads an image that a glance did not settle, if so many bytes may be read.
pub(crate) fn read(reader: &mut Reader<'_>, slot: &mut Slot) -> Result<(), ReadError> {
    let Some(len) = slot.image.len().filter(|len| reader.allows(*len)) else {
        return Ok(());
    };
    let partition = slot.partition;
    slot.image = match image::read_whole(reader, partition.offset, partition.size)? {
        Found::Whole { digest, .. } => Image::Whole { len, digest },
        Found::Bad { error, erased_from } => Image::Bad { error, erased_from },
    };
    Ok(())
}
