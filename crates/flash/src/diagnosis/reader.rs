//! Reading with a bound, a count and progress.

use crate::read::{ReadError, ReadFlash};

/// Bytes that are read at once of a large stretch.
pub(crate) const STEP: usize = 16 * 1024;

/// A flash that is being looked at.
pub(crate) struct Reader<'f> {
    flash: &'f mut dyn ReadFlash,
    on_progress: &'f mut dyn FnMut(u32, u32),
    bytes_read: u32,
    /// Bytes that may still be read; `None` is no limit.
    left: Option<u32>,
    /// Bytes looked at, and as many as there will be as far as is known.
    done: u32,
    total: u32,
}

impl<'f> Reader<'f> {
    pub fn new(
        flash: &'f mut dyn ReadFlash,
        limit: Option<u32>,
        on_progress: &'f mut dyn FnMut(u32, u32),
    ) -> Self {
        Self {
            flash,
            on_progress,
            bytes_read: 0,
            left: limit,
            done: 0,
            total: 0,
        }
    }

    pub fn size(&self) -> u32 {
        self.flash.size()
    }

    pub fn bytes_read(&self) -> u32 {
        self.bytes_read
    }

    /// Whether `len` more bytes may be read.
    pub fn allows(&self, len: u32) -> bool {
        self.left.is_none_or(|left| len <= left)
    }

    /// So many bytes more will be looked at next.
    pub fn expect(&mut self, len: u32) {
        self.total = self.total.max(self.done.saturating_add(len));
        (self.on_progress)(self.done, self.total);
    }

    fn looked_at(&mut self, len: u32) {
        self.done = self.done.saturating_add(len);
        self.expect(0);
    }

    /// Nothing more will be looked at.
    pub fn end(&mut self) {
        self.done = self.total;
        self.expect(0);
    }

    /// Fills `out` from `offset` on.
    pub fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.flash.read(offset, out)?;
        let len = out.len() as u32;
        self.bytes_read = self.bytes_read.saturating_add(len);
        self.left = self.left.map(|left| left.saturating_sub(len));
        self.looked_at(len);
        Ok(())
    }

    /// The `N` bytes at `offset`; all ones where there is no flash.
    pub fn array<const N: usize>(&mut self, offset: u32) -> Result<[u8; N], ReadError> {
        let mut out = [0xFF; N];
        let end = offset.checked_add(N as u32);
        if end.is_some_and(|end| end <= self.size()) {
            self.read(offset, &mut out)?;
        }
        Ok(out)
    }

    /// The MD5 of a range, which the chip computes.
    pub fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        self.expect(len);
        let md5 = self.flash.md5(offset, len)?;
        self.looked_at(len);
        Ok(md5)
    }

    /// Whether all of a range is erased, by its MD5.
    pub fn is_erased(&mut self, offset: u32, len: u32) -> Result<bool, ReadError> {
        use md5::Digest as _;
        let mut md5 = md5::Md5::new();
        let ones = [0xFF; 4096];
        let mut left = len as usize;
        while left > 0 {
            let n = left.min(ones.len());
            md5.update(&ones[..n]);
            left -= n;
        }
        let wanted: [u8; 16] = md5.finalize().into();
        Ok(self.md5(offset, len)? == wanted)
    }
}

impl ReadFlash for Reader<'_> {
    fn size(&self) -> u32 {
        self.flash.size()
    }

    /// As [`Reader::read`], with [`LimitReached`] as the error when no more bytes may be read.
    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        if !self.allows(out.len() as u32) {
            return Err(ReadError::Link(Box::new(LimitReached)));
        }
        Reader::read(self, offset, out)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        Reader::md5(self, offset, len)
    }
}

/// No more bytes may be read.
#[derive(Debug, thiserror::Error)]
#[error("more would have to be read than a quick look may")]
pub(crate) struct LimitReached;

/// Whether reading ended only because no more bytes may be read.
pub(crate) fn is_limit(error: &ReadError) -> bool {
    matches!(error, ReadError::Link(inner) if inner.is::<LimitReached>())
}
