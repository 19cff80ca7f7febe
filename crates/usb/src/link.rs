//! What can be asked of a board in its loader.

use airlift_flash::{ReadError, ReadFlash};

use crate::board::Board;
use crate::cancel::Cancel;
use crate::error::Error;

/// A board whose loader answers. Every call ends: with an answer, or with an error in bounded time.
///
/// Offsets and lengths are bytes of flash.
pub trait Link: Send {
    /// What it is.
    fn board(&self) -> &Board;

    /// Fills `out` from `offset` on. What is returned has the digest that the board computed.
    ///
    /// # Errors
    /// [`Error`]; what `out` holds then is not to be used.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Error>;

    /// The MD5 of a range, computed by the board.
    ///
    /// # Errors
    /// [`Error`].
    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], Error>;

    /// Erases whole sectors and writes them, no others. Not verified.
    ///
    /// `on_progress` is told how many bytes of flash were sent so far. After an error or a cancel
    /// any of the sectors may be erased, or written in part.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Cancelled`] between two blocks.
    fn write(
        &mut self,
        offset: u32,
        bytes: &[u8],
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(u32),
    ) -> Result<(), Error>;

    /// Erases whole sectors, no others.
    ///
    /// # Errors
    /// [`Error`].
    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Error>;

    /// Finds the board again after an error: waits for quiet, and until it answers.
    ///
    /// # Errors
    /// [`Error::LinkLost`] when it does not, [`Error::Unplugged`] when it is gone.
    fn recover(&mut self) -> Result<(), Error>;

    /// Leaves the loader or not.
    ///
    /// # Errors
    /// [`Error`].
    fn reset(&mut self, after: After) -> Result<(), Error>;
}

/// What a board does when the session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It starts what is in its flash.
    Run,
    /// It stays in its loader.
    Stay,
}

/// The flash of a board as code that only reads sees it: `&mut Flash(link)`.
pub struct Flash<'a>(pub &'a mut dyn Link);

impl ReadFlash for Flash<'_> {
    fn size(&self) -> u32 {
        self.0.board().flash_size
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.0.read(offset, out).map_err(ReadError::from)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        self.0.md5(offset, len).map_err(ReadError::from)
    }
}
