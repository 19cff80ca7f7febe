//! The loader of a board, once its stub runs: requests out, responses in.

use std::time::{Duration, Instant};

use espflash::command::Command;
use espflash::target::Chip;
use md5::{Digest as _, Md5};

use crate::board::Board;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::exchange::{Exchange, SYNC_WAIT};
use crate::line::{BASE_BAUD, Line};
use crate::link::{After, Link};
use crate::packet::{self, Response, Speaker};

mod compress;
mod reset;

use compress::Stream;
pub(crate) use reset::{ResetLines, pulse};

const SECTOR: u32 = airlift_wire::limits::SECTOR_SIZE as u32;
/// Bytes of compressed data in a block; what the stub has room for.
const BLOCK: usize = 0x4000;
/// Bytes of flash in one request to read: a digest for each.
const READ_PIECE: usize = 64 * 1024;
/// Bytes of flash in one packet that is read; the stub's buffer.
const READ_PACKET: u32 = SECTOR;
/// Bytes that the stub sends ahead of what was acknowledged.
const READ_AHEAD: u32 = 4 * READ_PACKET;
/// How often something that can be repeated is tried.
const TRIES: u32 = 3;
/// A word of ROM that every loader lets read.
pub(crate) const MAGIC: u32 = 0x4000_1000;
/// How long a board may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer that needs no work in flash.
    pub answer: Duration,
    /// For erasing or writing a megabyte; data sheets say up to 20 s.
    pub write_megabyte: Duration,
    /// For the digest of a megabyte, or reading it, without the time on the wire.
    pub read_megabyte: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(3),
            write_megabyte: Duration::from_secs(40),
            read_megabyte: Duration::from_secs(8),
        }
    }
}

impl Patience {
    fn write(&self, len: u32) -> Duration {
        self.answer + self.write_megabyte.mul_f64(f64::from(len) / 1e6)
    }

    fn read(&self, len: u32) -> Duration {
        self.answer + self.read_megabyte.mul_f64(f64::from(len) / 1e6)
    }
}

/// A board whose stub runs, on a line.
pub(crate) struct Loader<L> {
    exchange: Exchange<L>,
    board: Board,
    chip: Chip,
    patience: Patience,
    lines: ResetLines,
    /// Why nothing can be asked any more.
    over: Option<Error>,
}

impl<L: Line> Loader<L> {
    pub(crate) fn new(
        exchange: Exchange<L>,
        chip: Chip,
        board: Board,
        patience: Patience,
        lines: ResetLines,
    ) -> Self {
        Self {
            exchange,
            board,
            chip,
            patience,
            lines,
            over: None,
        }
    }

    /// The line, and what has arrived on it and was not asked for.
    pub(crate) fn into_parts(self) -> (L, Vec<u8>) {
        self.exchange.into_parts()
    }

    /// Why nothing can be asked any more, if so.
    pub(crate) fn over(&self) -> Option<&Error> {
        self.over.as_ref()
    }

    /// Looks whether the port is still there; what arrived meanwhile is nobody's.
    pub(crate) fn probe(&mut self) -> Result<(), Error> {
        let mut byte = [0; 64];
        let probed = self
            .exchange
            .line
            .receive(&mut byte, Duration::ZERO)
            .map(drop);
        self.note(probed)
    }

    /// Remembers what ends the session.
    fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.is_gone()
        {
            self.over = Some(error.clone());
        }
        result
    }

    fn usable(&self) -> Result<(), Error> {
        self.over.clone().map_or(Ok(()), Err)
    }

    fn ask(&mut self, command: &Command<'_>, wait: Duration) -> Result<Response, Error> {
        self.usable()?;
        let asked = self.exchange.ask(command, wait);
        self.note(asked)
    }

    /// Something that does no harm when it is done twice: again when the line had an accident.
    fn insist<T>(
        &mut self,
        mut once: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match once(self) {
                Err(Error::LinkLost { what }) if tries > 0 => {
                    tracing::debug!(what, "asking again");
                    self.recover()?;
                }
                other => return other,
            }
        }
    }

    fn read_piece(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Error> {
        let len = out.len() as u32;
        self.ask(
            &Command::ReadFlash {
                offset,
                size: len,
                block_size: READ_PACKET,
                max_in_flight: READ_AHEAD,
            },
            self.patience.answer,
        )?;
        let mut filled = 0;
        while filled < out.len() {
            let wait =
                self.patience.read(READ_PACKET) + self.exchange.on_wire(READ_PACKET as usize);
            let deadline = Instant::now() + wait;
            let packet = self.exchange.frame(deadline)?;
            let expected = (out.len() - filled).min(READ_PACKET as usize);
            if packet.len() != expected {
                return Err(Error::lost("a block of flash has another length"));
            }
            out[filled..filled + expected].copy_from_slice(packet);
            filled += expected;
            self.exchange.send(&(filled as u32).to_le_bytes())?;
        }
        let deadline = Instant::now() + self.patience.answer;
        if self.exchange.frame(deadline)? != Md5::digest(&*out).as_slice() {
            return Err(Error::lost("a digest of flash does not match its bytes"));
        }
        Ok(())
    }

    fn write_stream(
        &mut self,
        stream: &Stream,
        cancel: &Cancel,
        on_sent: &mut dyn FnMut(u32),
    ) -> Result<(), Error> {
        let blocks = stream.blocks.len() as u32;
        self.ask(
            &Command::FlashDeflBegin {
                size: stream.size,
                blocks,
                block_size: BLOCK as u32,
                offset: stream.offset,
                // A field that only ROM loaders take.
                supports_encryption: false,
            },
            self.patience.write(stream.size),
        )?;
        // The stub confirms a block before it works on it: it may still be at the one before.
        let mut before = 0;
        for (sequence, block) in (0..).zip(&stream.blocks) {
            cancel.check()?;
            let wait = self.patience.write(before + block.flash) + self.exchange.on_wire(BLOCK);
            self.ask(
                &Command::FlashDeflData {
                    data: &block.bytes,
                    pad_to: 0,
                    pad_byte: 0xFF,
                    sequence,
                },
                wait,
            )?;
            before = block.flash;
            on_sent(block.flash);
        }
        // Confirmed when all is in flash; an error of the last block shows here.
        self.ask(
            &Command::FlashDeflEnd { reboot: false },
            self.patience.write(before),
        )?;
        Ok(())
    }

    /// Talks at another rate, when the board does too.
    ///
    /// Returns the rate at which it answers then: the new one or the old one.
    pub(crate) fn raise_baud(&mut self, baud: u32) -> Result<u32, Error> {
        let before = self.exchange.baud();
        let change = Command::ChangeBaudrate {
            new_baud: baud,
            prior_baud: before,
        };
        match self.ask(&change, self.patience.answer) {
            Ok(_) => {}
            Err(Error::Refused { .. }) => return Ok(before),
            Err(Error::LinkLost { .. }) => {
                self.recover()?;
                return Ok(before);
            }
            Err(other) => return Err(other),
        }
        self.exchange.set_baud(baud)?;
        // The board changes once its answer has left.
        std::thread::sleep(BAUD_CHANGE);
        for _ in 0..2 {
            if self
                .ask(&Command::ReadReg { address: MAGIC }, SYNC_WAIT)
                .is_ok()
            {
                return Ok(baud);
            }
            self.usable()?;
        }
        tracing::debug!(baud, "the board does not answer at this rate");
        self.exchange.set_baud(before)?;
        self.recover()?;
        Ok(before)
    }

    /// Back to the rate at which the next one looks for it.
    pub(crate) fn lower_baud(&mut self) {
        if self.exchange.baud() != BASE_BAUD && self.over.is_none() {
            let lowered = self.raise_baud(BASE_BAUD);
            tracing::debug!(?lowered, "baud rate at the end of the session");
        }
    }

    fn sectors(&self, offset: u32, len: u32) -> Result<(), Error> {
        self.board.writable()?;
        if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
            return Err(Error::Unaligned { offset, len });
        }
        self.board.range(offset, len)
    }

    fn readable(&self, offset: u32, len: u32) -> Result<(), Error> {
        if self.board.security.secure_download {
            return self.board.writable();
        }
        self.board.range(offset, len)
    }
}

/// How often a lost board is called.
const SYNC_TRIES: u32 = 6;
/// How long a board takes to change its rate.
pub(crate) const BAUD_CHANGE: Duration = Duration::from_millis(10);

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A refusal to read is about flash.
fn unreadable(error: Error, offset: u32, len: u32) -> Error {
    match error {
        Error::Refused { status, .. } => Error::FlashUnreadable {
            offset,
            len,
            status,
        },
        other => other,
    }
}

impl<L: Line> Link for Loader<L> {
    fn board(&self) -> &Board {
        &self.board
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Error> {
        self.readable(offset, length(out))?;
        for (at, piece) in (offset..)
            .step_by(READ_PIECE)
            .zip(out.chunks_mut(READ_PIECE))
        {
            let len = length(piece);
            let read = self.insist(|loader| {
                let read = loader.read_piece(at, piece);
                loader.note(read)
            });
            read.map_err(|error| unreadable(error, at, len))?;
        }
        Ok(())
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], Error> {
        self.readable(offset, len)?;
        let digest = self.insist(|loader| {
            let wait = loader.patience.read(len);
            let response = loader.ask(&Command::FlashMd5 { offset, size: len }, wait)?;
            packet::md5(&response.data).ok_or_else(|| Error::lost("a digest has another length"))
        });
        digest.map_err(|error| unreadable(error, offset, len))
    }

    fn write(
        &mut self,
        offset: u32,
        bytes: &[u8],
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(u32),
    ) -> Result<(), Error> {
        self.sectors(offset, length(bytes))?;
        let mut sent = 0;
        compress::each_stream(offset, bytes, |stream| {
            self.write_stream(stream, cancel, &mut |flash| {
                sent += flash;
                on_progress(sent);
            })
        })
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Error> {
        self.sectors(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        self.insist(|loader| {
            let wait = loader.patience.write(len);
            loader.ask(&Command::EraseRegion { offset, size: len }, wait)?;
            Ok(())
        })
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.usable()?;
        let quiet = self.exchange.quiet();
        let found = quiet.and_then(|()| match self.exchange.sync(SYNC_TRIES)? {
            Speaker::Stub => Ok(()),
            Speaker::Rom => Err(Error::lost("the board was reset meanwhile")),
        });
        if let Err(error) = &found {
            self.over = Some(error.clone());
        }
        found
    }

    fn reset(&mut self, after: After) -> Result<(), Error> {
        match after {
            After::Stay => Ok(()),
            After::Run => {
                let run = self.run_flash();
                self.note(run)
            }
        }
    }
}
