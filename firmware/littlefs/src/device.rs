//! The flash under the file system.

/// Why a block device could not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoError {
    /// The operation failed; trying elsewhere would not help (power lost, bus error).
    Device,
    /// This block is worn or holds bits that will not take the data. littlefs writes to another block;
    /// without one left the operation ends in [`Error::NoSpace`](crate::Error::NoSpace).
    BadBlock,
}

/// A partition of NOR flash.
///
/// Offsets are bytes from the start of the partition. Offsets and lengths of reads and programs are
/// multiples of [`READ_SIZE`](crate::READ_SIZE) and [`PROGRAM_SIZE`](crate::PROGRAM_SIZE), an erase is
/// one [`BLOCK_SIZE`](crate::BLOCK_SIZE) block at a multiple of it; no call crosses a block or the end
/// of the [`Geometry`](crate::Geometry). Calls must not unwind: a panic in one aborts.
pub trait BlockDevice {
    /// Fill `buf` from `offset`.
    ///
    /// # Errors
    /// [`IoError::Device`] if the flash cannot be read.
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError>;

    /// Program `data` at `offset`, which is erased. Reading back is not needed: littlefs does.
    ///
    /// # Errors
    /// [`IoError::BadBlock`] if the bits did not take, [`IoError::Device`] otherwise.
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError>;

    /// Erase the block that starts at `offset`.
    ///
    /// # Errors
    /// [`IoError::BadBlock`] if the block is worn, [`IoError::Device`] otherwise.
    fn erase(&mut self, offset: u32) -> Result<(), IoError>;

    /// Return when everything programmed and erased so far is on the flash.
    ///
    /// # Errors
    /// [`IoError::Device`] if that cannot be said.
    fn sync(&mut self) -> Result<(), IoError>;
}

impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        (**self).read(offset, buf)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        (**self).program(offset, data)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        (**self).erase(offset)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        (**self).sync()
    }
}
