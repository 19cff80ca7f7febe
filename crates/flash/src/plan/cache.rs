//! Flash that is read once, though several plans look at it.

use crate::read::{ReadError, ReadFlash};
use std::collections::HashMap;

/// Bytes of a line. File systems read in multiples of it.
const LINE: usize = 1024;

/// A flash with what was read of it so far, and the MD5s that were computed.
pub(super) struct Cache<'f> {
    flash: &'f mut dyn ReadFlash,
    lines: HashMap<u32, Box<[u8]>>,
    md5s: HashMap<(u32, u32), [u8; 16]>,
}

impl<'f> Cache<'f> {
    pub fn new(flash: &'f mut dyn ReadFlash) -> Self {
        Self {
            flash,
            lines: HashMap::new(),
            md5s: HashMap::new(),
        }
    }
}

impl ReadFlash for Cache<'_> {
    fn size(&self) -> u32 {
        self.flash.size()
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        let numbers = || (offset..).step_by(LINE);
        let whole = offset.is_multiple_of(LINE as u32) && out.len().is_multiple_of(LINE);
        if !whole {
            return self.flash.read(offset, out);
        }
        let mut wanted = numbers().take(out.len() / LINE);
        if wanted.all(|at| self.lines.contains_key(&at)) {
            for (at, to) in numbers().zip(out.chunks_exact_mut(LINE)) {
                if let Some(line) = self.lines.get(&at) {
                    to.copy_from_slice(line);
                }
            }
            return Ok(());
        }
        self.flash.read(offset, out)?;
        for (at, from) in numbers().zip(out.chunks_exact(LINE)) {
            self.lines.insert(at, from.into());
        }
        Ok(())
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        if let Some(known) = self.md5s.get(&(offset, len)) {
            return Ok(*known);
        }
        let md5 = self.flash.md5(offset, len)?;
        self.md5s.insert((offset, len), md5);
        Ok(md5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the bytes that are read.
    struct Counted(Vec<u8>, usize);

    impl ReadFlash for Counted {
        fn size(&self) -> u32 {
            self.0.len() as u32
        }

        fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
            self.1 += out.len();
            self.0.as_slice().read(offset, out)
        }

        fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
            self.1 += 1;
            self.0.as_slice().md5(offset, len)
        }
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let bytes: Vec<u8> = (0..8192u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        let mut flash = Counted(bytes.clone(), 0);
        let mut cache = Cache::new(&mut flash);
        for (offset, len) in [(1024, 3072), (2048, 1024), (1024, 2048), (1024, 3072)] {
            let mut out = vec![0; len];
            cache.read(offset, &mut out).unwrap();
            assert_eq!(out, bytes[offset as usize..][..len]);
        }
        assert_eq!(cache.md5(0, 100).unwrap(), cache.md5(0, 100).unwrap());
        assert!(cache.read(8192, &mut [0; 1024]).is_err());
        assert_eq!(flash.1, 3072 + 1 + 1024, "the refused one was asked for");
    }
}
