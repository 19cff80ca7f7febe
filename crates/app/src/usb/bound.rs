//! Plans, bound to the board that they were made for and to what was in its flash.

use airlift_flash::{Diagnosis, Plan, ReadError, ReadFlash, Segment};
use airlift_usb::Board;
use airlift_wire::ErrorCode;

use crate::Error;
use crate::dto::UsbJobKind;

/// What a plan writes, and when it may.
pub(crate) struct Bound {
    /// Number that it is asked for by.
    pub(crate) id: u32,
    /// What it does.
    pub(crate) kind: UsbJobKind,
    /// What it writes, for the records: `demo 1.1.0` or a file name.
    pub(crate) what: String,
    /// Whether what it overwrites is saved first.
    pub(crate) backup: bool,
    /// The segments of each step.
    pub(crate) steps: Vec<Vec<Segment>>,
    /// What is in the flash afterwards, if that follows from what is written.
    pub(crate) after: Option<Box<Diagnosis>>,
    /// The board.
    pub(crate) board: Board,
    pub(crate) basis: Basis,
}

/// What was in the flash when a plan was made.
pub(crate) enum Basis {
    /// A repair knows what it was chosen by.
    Repair(Box<Plan>),
    /// Stretches of flash and their MD5.
    Stretches(Vec<(u32, u32, [u8; 16])>),
}

/// A stretch that was digested has at most so many bytes: what is larger is written anew, whatever
/// it held.
const DIGESTED: u32 = 64 * 1024;

impl Basis {
    /// What decides whether a plan that writes a board anew still makes sense: everything small, which
    /// says what the board is, unless the board changes it by itself.
    pub(crate) fn of(diagnosis: &Diagnosis, flash: &mut dyn ReadFlash) -> Result<Self, ReadError> {
        use airlift_flash::diagnosis::RegionKind as Kind;
        let small = diagnosis.regions.iter().filter(|region| {
            let fixed = !matches!(region.kind, Kind::Nvs | Kind::Phy | Kind::Free);
            fixed && region.size <= DIGESTED
        });
        let mut stretches = Vec::new();
        for region in small {
            let md5 = flash.md5(region.offset, region.size)?;
            stretches.push((region.offset, region.size, md5));
        }
        Ok(Self::Stretches(stretches))
    }

    /// Whether the flash is still as it was.
    pub(crate) fn still_fits(&self, flash: &mut dyn ReadFlash) -> Result<bool, ReadError> {
        match self {
            Self::Repair(plan) => plan.still_fits(flash),
            Self::Stretches(stretches) => {
                for (offset, size, md5) in stretches {
                    if flash.md5(*offset, *size)? != *md5 {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }
}

impl Bound {
    /// Everything that it writes, in order.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.steps.iter().flatten().cloned().collect()
    }

    /// The step that writes at an offset.
    pub(crate) fn step_at(&self, offset: u32) -> usize {
        let covers = |segment: &Segment| (segment.offset()..segment.end()).contains(&offset);
        let step = self.steps.iter().position(|step| step.iter().any(covers));
        step.unwrap_or(0)
    }

    /// Whether it was made for this board.
    ///
    /// # Errors
    /// `wrong_board`, with both.
    pub(crate) fn is_for(&self, board: &Board) -> Result<(), Error> {
        board.require(&self.board.chip, self.board.mac.as_deref())?;
        if board.flash_size != self.board.flash_size {
            let message = "the board has another flash than the one that the plan was made for";
            return Err(Error::refused(ErrorCode::WrongBoard, message));
        }
        Ok(())
    }
}
