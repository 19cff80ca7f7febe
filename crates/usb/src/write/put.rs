//! Writing what differs, and checking it.

use airlift_flash::Segment;

use super::compare::{Differing, bytes, digest, is_right};
use super::runs::runs;
use super::{Apply, REGION, SECTOR};
use crate::error::Error;

impl Apply<'_> {
    /// Writes the sectors of a segment that differ.
    pub(super) fn put(&mut self, segment: &Segment, differing: &[Differing]) -> Result<(), Error> {
        for sectors in differing {
            let flash = bytes(segment, sectors.offset, sectors.len);
            for run in runs(flash) {
                let offset = sectors.offset + run.start as u32;
                self.put_run(segment, offset, run.len as u32, run.erase)?;
            }
        }
        Ok(())
    }

    fn put_run(
        &mut self,
        segment: &Segment,
        offset: u32,
        len: u32,
        erase: bool,
    ) -> Result<(), Error> {
        let end = self.progress.bytes + len;
        let mut again = vec![(offset, len)];
        loop {
            self.cancel.check()?;
            self.report.unfinished = Some((offset, len));
            let Err(error) = self.attempt(segment, &again, erase, end) else {
                self.advance(end - self.progress.bytes);
                return Ok(());
            };
            if !is_accident(&error) || self.report.retries >= self.options.retries {
                return Err(error);
            }
            tracing::debug!(%error, offset, len, "writing goes on");
            self.report.retries += 1;
            self.link.recover()?;
            // What arrived of it need not be sent again.
            again = self.wrong_sectors(segment, offset, len)?;
        }
    }

    /// Progress goes on from where it is, at most to `end`: what is written again was counted.
    fn attempt(
        &mut self,
        segment: &Segment,
        ranges: &[(u32, u32)],
        erase: bool,
        end: u32,
    ) -> Result<(), Error> {
        for &(offset, len) in ranges {
            if erase {
                // In pieces, so that it can be cancelled and shows how far it is.
                for (at, len) in super::compare::regions(offset, len) {
                    self.cancel.check()?;
                    self.link.erase(at, len)?;
                    self.advance(len.min(end - self.progress.bytes));
                }
                continue;
            }
            let Self {
                link,
                cancel,
                progress,
                on_progress,
                ..
            } = self;
            let start = progress.bytes;
            link.write(offset, bytes(segment, offset, len), cancel, &mut |sent| {
                progress.bytes = (start + sent).min(end);
                on_progress(*progress);
            })?;
        }
        Ok(())
    }

    /// The sectors of a range that are not what they should be, joined.
    fn wrong_sectors(
        &mut self,
        segment: &Segment,
        offset: u32,
        len: u32,
    ) -> Result<Vec<(u32, u32)>, Error> {
        let mut wrong: Vec<(u32, u32)> = Vec::new();
        for (region, len) in super::compare::regions(offset, len) {
            if is_right(self.link, segment, region, len)? {
                continue;
            }
            for sector in (region..region + len).step_by(SECTOR as usize) {
                self.cancel.check()?;
                if is_right(self.link, segment, sector, SECTOR)? {
                    continue;
                }
                match wrong.last_mut() {
                    Some((start, len)) if *start + *len == sector => *len += SECTOR,
                    _ => wrong.push((sector, SECTOR)),
                }
            }
        }
        Ok(wrong)
    }

    /// Checks what was written; what is wrong is written once more, and then has to be right.
    pub(super) fn verify(
        &mut self,
        segment: &Segment,
        differing: &[Differing],
    ) -> Result<(), Error> {
        for (offset, len) in spans(differing) {
            self.cancel.check()?;
            if !is_right(self.link, segment, offset, len)? {
                for (offset, len) in self.wrong_sectors(segment, offset, len)? {
                    tracing::debug!(offset, len, "not as written, once more");
                    let flash = bytes(segment, offset, len);
                    self.link.write(offset, flash, self.cancel, &mut |_| {})?;
                    self.settle(segment, offset, len)?;
                }
            }
            let within = |sectors: &&Differing| (offset..offset + len).contains(&sectors.offset);
            let written = differing
                .iter()
                .filter(within)
                .map(|sectors| sectors.len)
                .sum();
            self.advance(written);
        }
        Ok(())
    }

    /// Sectors that were written twice: right now, or the flash or the link is bad.
    fn settle(&mut self, segment: &Segment, offset: u32, len: u32) -> Result<(), Error> {
        let wrong = self.wrong_sectors(segment, offset, len)?;
        let Some(&(offset, _)) = wrong.first() else {
            return Ok(());
        };
        let mut there = [0; SECTOR as usize];
        self.link.read(offset, &mut there)?;
        if there == bytes(segment, offset, SECTOR)
            || digest(&there) != self.link.md5(offset, SECTOR)?
        {
            return Err(Error::VerifyFailed { offset });
        }
        Err(Error::BadFlash { offset })
    }
}

/// Whether it is worth going on.
fn is_accident(error: &Error) -> bool {
    matches!(error, Error::LinkLost { .. } | Error::Refused { .. })
}

/// What is verified at once: what was written with the right sectors between, when these are few.
fn spans(differing: &[Differing]) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for sectors in differing {
        let end = sectors.offset + sectors.len;
        match spans.last_mut() {
            Some((start, len)) if sectors.offset - (*start + *len) < REGION => *len = end - *start,
            _ => spans.push((sectors.offset, sectors.len)),
        }
    }
    spans
}
