//! What was done to the cells, to be done again.

use super::hook::OpKind;
use super::{NorError, NorFlash};

/// One erase or write as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// [`OpKind::Erase`] or [`OpKind::Write`].
    pub kind: OpKind,
    /// Where.
    pub offset: u32,
    /// What a write wrote.
    pub data: Box<[u8]>,
}

impl Change {
    pub(super) fn new(kind: OpKind, offset: u32, data: &[u8]) -> Self {
        Self {
            kind,
            offset,
            data: data.into(),
        }
    }

    /// Does it to a flash.
    ///
    /// # Errors
    /// Those of [`NorFlash::erase`] and [`NorFlash::write`].
    pub fn apply(&self, flash: &mut NorFlash) -> Result<(), NorError> {
        match self.kind {
            OpKind::Erase => flash.erase(self.offset),
            OpKind::Write | OpKind::Read => flash.write(self.offset, &self.data),
        }
    }
}
