//! Data on its way into flash, plain or as a zlib stream.

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::{Refusal, erase, erase_unit};
use crate::flash::{Flash, SECTOR};

/// A stub writes when its window of the zlib stream is full.
const WINDOW: usize = 32 * 1024;

/// Between a begin and an end.
pub(crate) struct Writing {
    /// Where the next byte goes.
    offset: u32,
    /// Bytes that are still to come.
    remaining: u32,
    next_erase: u32,
    erase_end: u32,
    /// A sector was not blank: no more looking.
    seen_dirty: bool,
    inflate: Option<Box<InflateState>>,
    finished: bool,
    /// Inflated, not yet written.
    window: Vec<u8>,
    queued: Option<Vec<u8>>,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("offset", &self.offset)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

impl Writing {
    /// The range is within the flash.
    pub(crate) fn new(offset: u32, size: u32, compressed: bool) -> Self {
        Self {
            offset,
            remaining: size,
            next_erase: offset - offset % SECTOR,
            erase_end: (offset + size).next_multiple_of(SECTOR),
            seen_dirty: false,
            inflate: compressed.then(|| InflateState::new_boxed(DataFormat::Zlib)),
            finished: false,
            window: Vec::new(),
            queued: None,
        }
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.inflate.is_some()
    }

    pub(crate) fn remaining(&self) -> u32 {
        self.remaining
    }

    /// As a ROM does at the begin.
    pub(crate) fn erase_all(&mut self, flash: &mut Flash) -> Result<(), Refusal> {
        erase(flash, self.next_erase, self.erase_end - self.next_erase)?;
        self.next_erase = self.erase_end;
        Ok(())
    }

    /// Takes a block; [`Self::work`] puts it into flash.
    pub(crate) fn queue(&mut self, data: &[u8]) {
        self.queued = Some(data.to_vec());
    }

    /// Erases and writes, or only starts to erase when no block is there.
    pub(crate) fn work(&mut self, flash: &mut Flash) -> Result<(), Refusal> {
        match self.queued.take() {
            None => self.erase_next(flash),
            Some(data) if self.inflate.is_some() => self.inflate(&data, flash),
            Some(data) => {
                // The last block is padded to the length of the others.
                let length = data.len().min(self.remaining as usize);
                self.put(&data[..length], flash)
            }
        }
    }

    fn inflate(&mut self, mut data: &[u8], flash: &mut Flash) -> Result<(), Refusal> {
        let mut out = [0; 4096];
        loop {
            let Some(state) = &mut self.inflate else {
                return Err(Refusal::NotBegun);
            };
            if self.finished {
                // Padding after the end of the stream.
                return Ok(());
            }
            let step = inflate(state, data, &mut out, MZFlush::None);
            data = &data[step.bytes_consumed..];
            self.window.extend(&out[..step.bytes_written]);
            match step.status {
                Ok(MZStatus::StreamEnd) => self.finished = true,
                Ok(_) | Err(MZError::Buf) => {}
                Err(_) => return Err(Refusal::Inflate),
            }
            while self.window.len() >= WINDOW || self.finished && !self.window.is_empty() {
                let length = self.window.len().min(WINDOW);
                let bytes: Vec<u8> = self.window.drain(..length).collect();
                self.put(&bytes, flash)?;
            }
            if step.bytes_written < out.len() && data.is_empty() {
                return Ok(());
            }
        }
    }

    fn put(&mut self, bytes: &[u8], flash: &mut Flash) -> Result<(), Refusal> {
        let length = bytes.len() as u32;
        if length > self.remaining {
            return Err(Refusal::TooMuch);
        }
        while self.next_erase < self.offset + length {
            self.erase_next(flash)?;
        }
        flash.write(self.offset, bytes)?;
        self.offset += length;
        self.remaining -= length;
        Ok(())
    }

    /// The next sector or block; a blank sector is left as it is until one was not blank, because a
    /// used chip is mostly used from its start.
    fn erase_next(&mut self, flash: &mut Flash) -> Result<(), Refusal> {
        if self.next_erase >= self.erase_end {
            return Ok(());
        }
        if !self.seen_dirty && flash.is_blank(self.next_erase)? {
            self.next_erase += SECTOR;
            return Ok(());
        }
        self.seen_dirty = true;
        let unit = erase_unit(self.next_erase, self.erase_end);
        flash.erase(self.next_erase, unit)?;
        self.next_erase += unit;
        Ok(())
    }
}
