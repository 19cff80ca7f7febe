//! How flash is read, wherever it is.

/// Flash that can be read: of a board on a wire, or bytes in memory.
pub trait ReadFlash {
    /// Bytes of flash.
    fn size(&self) -> u32;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// [`ReadError`] when the range is not in the flash or the link is gone. What `out` holds then
    /// is not to be used.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError>;

    /// The MD5 of a range, computed where the flash is: much quicker than reading it over a wire.
    ///
    /// # Errors
    /// As for [`ReadFlash::read`].
    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError>;
}

/// Why flash cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not all of the range is in the flash.
    #[error("{len} bytes at {offset:#x} are not all in a flash of {size} bytes")]
    OutOfRange {
        /// Start of the range.
        offset: u32,
        /// Bytes.
        len: u32,
        /// Bytes of flash.
        size: u32,
    },
    /// The link to the board.
    #[error("{0}")]
    Link(Box<dyn std::error::Error + Send + Sync>),
}

/// The part of `size` bytes that `len` bytes at `offset` are.
fn range(size: usize, offset: u32, len: usize) -> Result<std::ops::Range<usize>, ReadError> {
    let start = offset as usize;
    match start.checked_add(len) {
        Some(end) if end <= size => Ok(start..end),
        _ => Err(ReadError::OutOfRange {
            offset,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            size: u32::try_from(size).unwrap_or(u32::MAX),
        }),
    }
}

impl ReadFlash for &[u8] {
    fn size(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        out.copy_from_slice(&self[range(self.len(), offset, out.len())?]);
        Ok(())
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        use md5::Digest as _;
        let range = range(self.len(), offset, len as usize)?;
        Ok(md5::Md5::digest(&self[range]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_are_flash() {
        let mut flash: &[u8] = &[1, 2, 3, 4];
        let mut out = [0; 2];
        flash.read(1, &mut out).unwrap();
        assert_eq!(out, [2, 3]);
        let whole = flash.md5(0, 4).unwrap();
        assert_ne!(whole, flash.md5(0, 3).unwrap());
    }

    #[test]
    fn a_range_past_the_end_is_refused() {
        let mut flash: &[u8] = &[0; 4];
        for (offset, len) in [(3, 2), (5, 0), (u32::MAX, 1)] {
            let read = flash.read(offset, &mut vec![0; len]);
            assert!(matches!(read, Err(ReadError::OutOfRange { .. })));
        }
    }
}
