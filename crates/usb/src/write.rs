//! Puts bytes into flash: only the sectors that differ, saved before, checked after.
//!
//! 1. Everything is compared, by digests that the board computes.
//! 2. What will be overwritten is read and saved in a file.
//! 3. Segment by segment, in their order: the sectors that differ are written, then verified. A
//!    segment is begun when the one before it is right, so a plan can have what switches to new
//!    bytes last.
//!
//! A cancel is heard between two segments, and within those of more than 64 KiB, which are apps and
//! file systems.
//!
//! Doing it again after a cancel, an unplug or an error goes on where it was: what is right already
//! is skipped, and the file of the first time keeps what was there before the first time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use airlift_flash::Segment;

use crate::backup::Backup;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::link::Link;

mod compare;
mod put;
mod runs;

use compare::REGION;

/// Longest segment that is written to its end once it is begun: a bootloader, a partition table,
/// otadata. Half of one starts no board, and all of it takes a second or two.
const WHOLE: u32 = 64 * 1024;

pub(crate) const SECTOR: u32 = airlift_wire::limits::SECTOR_SIZE as u32;

/// How to write.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Where what is overwritten is saved; nowhere without.
    pub backup: Option<BackupTo>,
    /// Whether sectors that are right already are left alone.
    pub skip_unchanged: bool,
    /// Whether what was written is verified. Leave it on.
    pub verify: bool,
    /// How often writing goes on after an accident on the line, in all.
    pub retries: u32,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            backup: None,
            skip_unchanged: true,
            verify: true,
            retries: 3,
        }
    }
}

/// Where a backup goes, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupTo {
    /// The file. One of the same board that is there already is kept, and added to.
    pub path: PathBuf,
    /// When it is taken, Unix seconds.
    pub time: u64,
    /// Before what it is taken, one line.
    pub summary: String,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Finding out what is there already.
    Compare,
    /// Saving what will be overwritten.
    Backup,
    /// Writing.
    Write,
    /// Checking what was written.
    Verify,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The segment that it is at, from 0.
    pub segment: usize,
    /// Bytes of flash done in this phase, over all segments; never fewer than before.
    pub bytes: u32,
    /// Bytes of flash of this phase, over all segments.
    pub total: u32,
    /// Bytes that were right already; known once the comparison is over.
    pub skipped: u32,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Offset and length of what was written and is right, in the order of writing.
    pub written: Vec<(u32, u32)>,
    /// What was being written when it ended early: erased, or written in part.
    pub unfinished: Option<(u32, u32)>,
    /// Bytes that were right already.
    pub skipped: u32,
    /// Where what was overwritten is saved; none when nothing had to be.
    pub backup: Option<PathBuf>,
    /// How often it went on after an accident on the line.
    pub retries: u32,
}

impl Report {
    /// Bytes that were written and are right.
    pub fn bytes(&self) -> u32 {
        self.written.iter().map(|(_, len)| len).sum()
    }
}

/// It ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Stopped {
    /// Why.
    pub error: Error,
    /// What was done until then.
    pub report: Box<Report>,
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        stopped.error
    }
}

impl From<Error> for Stopped {
    /// Before anything was done.
    fn from(error: Error) -> Self {
        let report = Box::default();
        Self { error, report }
    }
}

/// Makes flash hold what the segments say. Nothing outside of them is erased or written.
///
/// # Errors
/// [`Error::Secured`] for a board that is locked, [`Error::OutOfRange`] and [`Error::Overlap`] for
/// segments that cannot be, before anything is written; [`Error::Cancelled`] between two segments,
/// [`Error::Interrupted`] within a long one;
/// [`Error::BadFlash`] or [`Error::VerifyFailed`] when a sector is not right after it was written
/// twice; those of the link.
pub fn apply(
    link: &mut dyn Link,
    segments: &[Segment],
    options: &WriteOptions,
    cancel: &Cancel,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report, Stopped> {
    let to_its_end = Cancel::new();
    let mut apply = Apply {
        link,
        options,
        cancel,
        on_progress,
        segments,
        progress: Progress {
            phase: Phase::Compare,
            segment: 0,
            bytes: 0,
            total: 0,
            skipped: 0,
        },
        report: Report::default(),
    };
    match apply.run(&to_its_end) {
        Ok(()) => Ok(apply.report),
        Err(error) => Err(Stopped {
            error: apply.interrupted(error),
            report: Box::new(apply.report),
        }),
    }
}

struct Apply<'a> {
    link: &'a mut dyn Link,
    options: &'a WriteOptions,
    cancel: &'a Cancel,
    on_progress: &'a mut dyn FnMut(Progress),
    segments: &'a [Segment],
    progress: Progress,
    report: Report,
}

impl<'a> Apply<'a> {
    fn run(&mut self, to_its_end: &'a Cancel) -> Result<(), Error> {
        let cancel = self.cancel;
        self.check()?;
        let total = self.segments.iter().map(Segment::size).sum();
        self.phase(Phase::Compare, total);
        let mut plan = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            self.progress.segment = index;
            plan.push(self.compare(segment)?);
        }
        let changed = plan.iter().flatten().map(|sectors| sectors.len).sum();
        self.progress.skipped = total - changed;
        self.report.skipped = total - changed;
        if let Some(to) = &self.options.backup {
            self.back_up(to, &plan)?;
        }
        // Both phases take turns, and each counts on.
        let mut written = 0;
        let mut verified = 0;
        for (index, (segment, differing)) in self.segments.iter().zip(&plan).enumerate() {
            self.progress.segment = index;
            let len: u32 = differing.iter().map(|sectors| sectors.len).sum();
            if len == 0 {
                continue;
            }
            cancel.check()?;
            self.cancel = if segment.size() <= WHOLE {
                to_its_end
            } else {
                cancel
            };
            self.phase(Phase::Write, changed);
            self.advance(written);
            self.put(segment, differing)?;
            written += len;
            if self.options.verify {
                self.phase(Phase::Verify, changed);
                self.advance(verified);
                self.verify(segment, differing)?;
                verified += len;
            }
            let done = differing
                .iter()
                .map(|sectors| (sectors.offset, sectors.len));
            self.report.written.extend(done);
            self.report.unfinished = None;
        }
        Ok(())
    }

    /// A cancel while a segment is being written leaves it half done.
    fn interrupted(&self, error: Error) -> Error {
        let segment = self.segments.get(self.progress.segment);
        match (error, self.report.unfinished, segment) {
            (Error::Cancelled, Some(_), Some(segment)) => Error::Interrupted {
                offset: segment.offset(),
                len: segment.size(),
            },
            (error, ..) => error,
        }
    }

    /// Whether the segments can be written to this board at all.
    fn check(&self) -> Result<(), Error> {
        let board = self.link.board();
        board.writable()?;
        let mut ends = BTreeMap::new();
        for segment in self.segments {
            board.range(segment.offset(), segment.size())?;
            let next = ends.range(..segment.end()).next_back();
            if let Some((_, end)) = next
                && *end > segment.offset()
                && segment.size() > 0
            {
                let offset = segment.offset();
                return Err(Error::Overlap { offset });
            }
            if segment.size() > 0 {
                ends.insert(segment.offset(), segment.end());
            }
        }
        Ok(())
    }

    fn back_up(&mut self, to: &BackupTo, plan: &[Vec<compare::Differing>]) -> Result<(), Error> {
        let board = self.link.board();
        let mut backup = Backup::new(board, to.time, &to.summary);
        if to.path.exists() {
            backup = Backup::open(&to.path)?;
            board.require(&backup.chip, backup.mac.as_deref())?;
        }
        let sectors = plan.iter().flatten();
        let missing = backup.missing(sectors.map(|s| (s.offset, s.len, s.blank)));
        let total = missing.iter().map(|(_, len, _)| len).sum();
        self.phase(Phase::Backup, total);
        if missing.is_empty() {
            self.report.backup = to.path.exists().then(|| to.path.clone());
            return Ok(());
        }
        for (offset, len, blank) in missing {
            let mut bytes = vec![0xFF; len as usize];
            if !blank {
                for (at, piece) in (offset..)
                    .step_by(REGION as usize)
                    .zip(bytes.chunks_mut(REGION as usize))
                {
                    self.cancel.check()?;
                    self.link.read(at, piece)?;
                    self.advance(piece.len() as u32);
                }
            } else {
                self.advance(len);
            }
            backup.add(offset, bytes)?;
        }
        backup.save(&to.path)?;
        self.report.backup = Some(to.path.clone());
        Ok(())
    }

    fn phase(&mut self, phase: Phase, total: u32) {
        self.progress.phase = phase;
        self.progress.bytes = 0;
        self.progress.total = total;
        (self.on_progress)(self.progress);
    }

    fn advance(&mut self, bytes: u32) {
        if bytes > 0 {
            self.progress.bytes += bytes;
            (self.on_progress)(self.progress);
        }
    }
}
