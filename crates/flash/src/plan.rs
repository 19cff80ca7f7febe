//! How to mend a board: the smallest steps that work.
//!
//! A plan says for each byte that it writes why, and writes no other. What is in `nvs` stays, and so
//! do files that are not a release's. A release is put on a board only if it is for its product and
//! chip, signed by a key that the board trusts, and not older than what it has confirmed.

mod cache;
mod differ;
mod everything;
mod fail;
mod files;
mod make;
mod steps;
mod target;

use crate::diagnosis::{Depth, Diagnosis, Known, diagnose};
use crate::read::{ReadError, ReadFlash};
use crate::write::Segment;
use airlift_wire::ErrorCode;

/// Which plan is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The fewest bytes after which the board starts as well as it can.
    Smallest,
    /// Back from a release that is on trial to the one before.
    Back,
    /// One slot from a known release.
    Slot,
    /// The file system anew, with the files that can be read.
    Files,
    /// Everything but `nvs` and the files that can be read.
    Everything,
}

impl How {
    /// All, the smallest first.
    pub const ALL: [Self; 5] = [
        Self::Smallest,
        Self::Back,
        Self::Slot,
        Self::Files,
        Self::Everything,
    ];

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Back => "back",
            Self::Slot => "slot",
            Self::Files => "files",
            Self::Everything => "everything",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|how| how.as_str() == text)
    }
}

/// What would be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What it does, one sentence.
    pub sentence: String,
    /// Its steps in the order in which they are to be carried out. Nothing outside them is written.
    pub steps: Vec<Step>,
    /// What the board will be like afterwards, one sentence.
    pub afterwards: String,
    /// What is lost, one sentence each.
    pub losses: Vec<String>,
    /// Why it cannot be carried out; there are no steps then.
    pub blocked: Option<Blocked>,
    /// Other plans for the same board, smallest first.
    pub others: Vec<Choice>,
    /// What was in the flash where it mattered, see [`Plan::still_fits`].
    basis: Vec<Basis>,
}

/// One step of a plan: one region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// A few words.
    pub title: String,
    /// Why it is needed.
    pub why: String,
    /// Name of the region.
    pub region: String,
    /// What is written, in order; whole sectors, apart from each other.
    pub segments: Vec<Segment>,
}

impl Step {
    /// Bytes that it writes.
    pub fn bytes(&self) -> u32 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Where its first segment starts.
    pub fn offset(&self) -> u32 {
        self.segments.first().map_or(0, Segment::offset)
    }
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence, which says what would help.
    pub sentence: String,
}

/// Another plan for the same board.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// How it is asked for.
    pub how: How,
    /// A few words.
    pub title: String,
    /// Bytes that it writes.
    pub bytes: u32,
}

/// A stretch of flash as it was when a plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    offset: u32,
    len: u32,
    md5: [u8; 16],
}

impl Plan {
    fn empty() -> Self {
        Self {
            sentence: String::new(),
            steps: Vec::new(),
            afterwards: String::new(),
            losses: Vec::new(),
            blocked: None,
            others: Vec::new(),
            basis: Vec::new(),
        }
    }

    /// Bytes that its steps write.
    pub fn bytes(&self) -> u32 {
        self.steps.iter().map(Step::bytes).sum()
    }

    /// All that it writes, in order.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.steps.iter().flat_map(|step| &step.segments)
    }

    /// Whether the flash still is as it was when the plan was made, where that matters: what the
    /// plan writes over, and what its steps were chosen by. Costs a few MD5 that the chip computes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn still_fits(&self, flash: &mut dyn ReadFlash) -> Result<bool, ReadError> {
        for basis in &self.basis {
            if flash.md5(basis.offset, basis.len)? != basis.md5 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Plans the repair of what was diagnosed.
///
/// # Errors
/// [`ReadError`] when the flash cannot be read. That there is no way is no error, see
/// [`Plan::blocked`].
pub fn repair(
    diagnosis: &Diagnosis,
    flash: &mut dyn ReadFlash,
    known: &Known<'_>,
    how: How,
) -> Result<Plan, ReadError> {
    let mut cache = cache::Cache::new(flash);
    // A quick look may have left unchecked what decides.
    let full;
    let diagnosis = match diagnosis.complete {
        true => diagnosis,
        false => {
            full = diagnose(&mut cache, known, Depth::Full, &mut |_, _| {})?;
            &full
        }
    };
    let mut maker = make::Maker {
        facts: &diagnosis.facts,
        findings: &diagnosis.findings,
        known,
        flash: &mut cache,
    };
    maker.plan_with_others(how)
}
