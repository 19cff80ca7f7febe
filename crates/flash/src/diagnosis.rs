//! What is in a board's flash, what is wrong with it, and what it will do at its next start.
//!
//! Nothing is written and nothing of what is read is believed: lengths and addresses are checked
//! before they are used, and how much is read has a bound. [`Depth::Quick`] is for a board that was
//! just plugged in: it reads at most [`QUICK_BYTES`] and has the chip itself compute the MD5 of what
//! a known release would have put there. [`Depth::Full`] checks all that matters: each image up to
//! its last byte, each file of each slot. What is proved by the MD5 of known bytes neither reads.
//!
//! | Module | What it looks at |
//! | --- | --- |
//! | `bootloader` | the second-stage bootloader |
//! | `table` | the partition table, and which one it was when it is damaged |
//! | `store` | partition `airlift`: the state and the envelopes |
//! | `slot` | the app partitions |
//! | `files` | the file system |
//! | `boot` | which slot ESP-IDF's bootloader starts, and what the boot guard then does |
//! | `findings`, `regions`, `words` | what is wrong, the map of the flash, the sentences |

pub(crate) mod boot;
mod bootloader;
pub(crate) mod facts;
pub(crate) mod files;
mod finding;
pub(crate) mod findings;
mod image;
mod reader;
mod regions;
pub(crate) mod slot;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod words;

pub use finding::{Finding, FindingCode};

use crate::bootloader::Bootloader;
use crate::read::{ReadError, ReadFlash};
use airlift_release::Release;
use airlift_wire::{KeyId, KeySet};
use facts::Facts;
use reader::Reader;

/// Most bytes that [`Depth::Quick`] reads.
pub const QUICK_BYTES: u32 = 256 * 1024;

/// What is known besides what is in the flash.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Known<'a> {
    /// The chip as the loader says it: an id of the image header.
    pub chip: u16,
    /// Releases whose bytes are here.
    pub releases: &'a [Release],
    /// The bootloader that is written where one is missing; without one the bundled one.
    pub bootloader: Option<&'a Bootloader>,
    /// What to write when the board has forgotten what it is and whom it trusts.
    pub identity: Option<&'a Identity>,
}

impl<'a> Known<'a> {
    /// A chip and releases that may be for it.
    pub fn new(chip: u16, releases: &'a [Release]) -> Self {
        Self {
            chip,
            releases,
            bootloader: None,
            identity: None,
        }
    }

    /// With another bootloader than the bundled one.
    #[must_use]
    pub fn with_bootloader(mut self, bootloader: &'a Bootloader) -> Self {
        self.bootloader = Some(bootloader);
        self
    }

    /// With what to write on a board that has no state.
    #[must_use]
    pub fn with_identity(mut self, identity: &'a Identity) -> Self {
        self.identity = Some(identity);
        self
    }
}

/// What a board is and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Product.
    pub product: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Keys.
    pub trust: KeySet,
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At most [`QUICK_BYTES`] are read; large images that no known release explains stay unchecked.
    Quick,
    /// All that matters is checked.
    Full,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It starts, and everything is right.
    Healthy,
    /// It starts, and something is not right.
    Impaired,
    /// It does not start.
    Dead,
    /// Nothing of Airlift is in it: other firmware, which may well start, or none.
    Foreign,
}

/// How a stretch of flash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Checked and right.
    Good,
    /// Erased.
    Empty,
    /// Checked and wrong.
    Damaged,
    /// Not checked, or not to be checked.
    Unknown,
    /// Right, but not what belongs there.
    Foreign,
}

/// What a stretch of flash is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionKind {
    /// Second-stage bootloader.
    Bootloader,
    /// Partition table.
    Table,
    /// What selects the app.
    Otadata,
    /// An app.
    App,
    /// State and envelopes.
    Airlift,
    /// The file system.
    Files,
    /// Key-value storage, such as Wi-Fi credentials.
    Nvs,
    /// Radio calibration.
    Phy,
    /// Other data.
    Data,
    /// In no partition.
    Free,
}

impl RegionKind {
    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootloader => "bootloader",
            Self::Table => "table",
            Self::Otadata => "otadata",
            Self::App => "app",
            Self::Airlift => "airlift",
            Self::Files => "files",
            Self::Nvs => "nvs",
            Self::Phy => "phy",
            Self::Data => "data",
            Self::Free => "free",
        }
    }
}

/// A stretch of flash.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Label of the partition, or `bootloader`, `partition table`, `free`.
    pub name: String,
    /// What it is for.
    pub kind: RegionKind,
    /// Where it starts.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Bytes in use, if known.
    pub used: Option<u32>,
    /// How it is.
    pub health: Health,
    /// What is in it, a few words.
    pub summary: String,
    /// More lines, for whoever looks closer.
    pub details: Vec<String>,
    /// Whether the next start runs it.
    pub boots: bool,
}

/// What was found in a flash.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Of the worst finding.
    pub code: FindingCode,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is wrong, one sentence.
    pub sentence: String,
    /// What will happen at the next start, one sentence.
    pub next_boot: String,
    /// Label of the slot that runs after the next start, if any will; what the boot guard does is
    /// counted in.
    pub boots: Option<String>,
    /// The whole flash in order, without gaps.
    pub regions: Vec<Region>,
    /// Everything found, worst first.
    pub findings: Vec<Finding>,
    /// Product, if the board says one.
    pub product: Option<String>,
    /// Name, if the board has one.
    pub name: Option<String>,
    /// Highest sequence that was confirmed.
    pub sequence: Option<u32>,
    /// Ids of the keys that it trusts; the root first.
    pub trusts: Vec<KeyId>,
    /// Whether all that matters was checked.
    pub complete: bool,
    /// Bytes that were read; those that the chip digested by itself do not count.
    pub bytes_read: u32,
    pub(crate) facts: Facts,
}

/// Looks at a flash. `on_progress` is told bytes looked at and bytes to look at, as far as is known.
///
/// # Errors
/// [`ReadError`] when the flash cannot be read; what is wrong with what was read is no error.
pub fn diagnose(
    flash: &mut dyn ReadFlash,
    known: &Known<'_>,
    depth: Depth,
    on_progress: &mut dyn FnMut(u32, u32),
) -> Result<Diagnosis, ReadError> {
    let limit = match depth {
        Depth::Quick => Some(QUICK_BYTES),
        Depth::Full => None,
    };
    let mut reader = Reader::new(flash, limit, on_progress);
    let facts = Facts::collect(&mut reader, known, depth)?;
    reader.end();
    let bytes_read = reader.bytes_read();
    let findings = findings::all(&facts);
    let state = facts.state();
    let trust = state.and_then(|state| state.trust);
    let trusts = trust.iter().flat_map(|trust| {
        let root = std::iter::once(trust.root.id());
        root.chain(trust.release_keys().iter().map(|key| key.id()))
    });
    let name = state.map(|state| state.name.as_str().to_owned());
    Ok(Diagnosis {
        code: findings
            .first()
            .map_or(FindingCode::Healthy, |worst| worst.code),
        verdict: words::verdict(&facts, &findings),
        sentence: words::sentence(&facts, &findings),
        next_boot: words::next_boot(&facts),
        boots: facts.runs().map(|slot| slot.label().to_owned()),
        regions: regions::all(&facts),
        product: state.map(|state| state.product.as_str().to_owned()),
        name: name.filter(|name| !name.is_empty()),
        sequence: state.map(|state| state.sequence),
        trusts: trusts.collect(),
        complete: facts.complete,
        bytes_read,
        findings,
        facts,
    })
}
