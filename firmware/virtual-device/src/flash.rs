//! The updater's flash: the NOR model, taking the time that a real part takes.

use crate::nor::{ALIGNMENT, NorError, OpKind, SECTOR_SIZE, SharedNor};
use crate::pace::{Pace, Pacer};
use crate::power::Power;
use crate::timing::Timing;
use airlift_updater::platform::{Flash, FlashError};

/// [`Flash`] over a [`SharedNor`].
///
/// Without power no operation returns: the program that asked has ended.
pub struct ChipFlash<C> {
    nor: SharedNor,
    pacer: Pacer<C>,
    power: Power,
}

impl<C: Pace> ChipFlash<C> {
    /// The flash of a device with power; operations take the time that `timing` says.
    pub fn new(nor: SharedNor, timing: Timing, clock: C) -> Self {
        Self::powered(nor, timing, clock, Power::default())
    }

    pub(crate) fn powered(nor: SharedNor, timing: Timing, clock: C, power: Power) -> Self {
        let pacer = Pacer::new(clock, timing);
        Self { nor, pacer, power }
    }

    async fn done(
        &mut self,
        result: Result<(), NorError>,
        kind: OpKind,
        offset: u32,
        len: usize,
    ) -> Result<(), FlashError> {
        match result {
            Ok(()) => {
                // No operation is longer than a sector.
                let took = self.pacer.timing().duration(kind, offset, len as u32);
                self.pacer.spend(took).await;
                Ok(())
            }
            Err(NorError::PowerLost) => self.power.cut().await,
            Err(_) => Err(FlashError { offset }),
        }
    }
}

impl<C: Pace> Flash for ChipFlash<C> {
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let to_boundary = (SECTOR_SIZE - at % SECTOR_SIZE) as usize;
            let (piece, behind) = rest.split_at_mut(to_boundary.min(rest.len()));
            let start = at - at % ALIGNMENT;
            let skip = (at - start) as usize;
            let whole = (skip + piece.len()).next_multiple_of(ALIGNMENT as usize);
            let read = if skip == 0 && whole == piece.len() {
                self.nor.read(at, piece)
            } else {
                let mut words = vec![0; whole];
                self.nor.read(start, &mut words).map(|()| {
                    piece.copy_from_slice(&words[skip..skip + piece.len()]);
                })
            };
            self.done(read, OpKind::Read, start, whole).await?;
            at += piece.len() as u32;
            rest = behind;
        }
        Ok(())
    }

    async fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        let erased = self.nor.erase(offset);
        let len = SECTOR_SIZE as usize;
        self.done(erased, OpKind::Erase, offset, len).await
    }

    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        if data.is_empty() {
            return Ok(());
        }
        let written = self.nor.write(offset, data);
        self.done(written, OpKind::Write, offset, data.len()).await
    }
}
