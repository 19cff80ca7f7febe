//! Requests to a loader, and its responses.

use std::time::{Duration, Instant};

use espflash::command::{Command, CommandType};

use crate::error::Error;
use crate::line::{BASE_BAUD, Line};
use crate::packet::{self, Response, Speaker};
use crate::slip::{self, Decoder};

/// How long a loader may take to answer that it is there.
pub(crate) const SYNC_WAIT: Duration = Duration::from_millis(150);
/// How long the line must be silent before it counts as quiet, and when noise is given up on.
const QUIET: Duration = Duration::from_millis(50);
const NOISE: Duration = Duration::from_millis(500);
/// Longest that a request may take to leave, without its time on the wire.
const SEND_WAIT: Duration = Duration::from_secs(2);

/// A line with a loader at its other end.
pub(crate) struct Exchange<L> {
    pub(crate) line: L,
    decoder: Decoder,
    /// What has arrived and was not decoded yet.
    arrived: Vec<u8>,
    pub(crate) speaker: Speaker,
    baud: u32,
}

impl<L: Line> Exchange<L> {
    pub(crate) fn new(line: L, speaker: Speaker) -> Self {
        Self {
            line,
            decoder: Decoder::default(),
            arrived: Vec::new(),
            speaker,
            baud: BASE_BAUD,
        }
    }

    /// The line, and what has arrived on it and was not asked for.
    pub(crate) fn into_parts(self) -> (L, Vec<u8>) {
        (self.line, self.arrived)
    }

    pub(crate) fn baud(&self) -> u32 {
        self.baud
    }

    pub(crate) fn set_baud(&mut self, baud: u32) -> Result<(), Error> {
        self.line.set_baud(baud)?;
        self.baud = baud;
        Ok(())
    }

    /// How long so many bytes take on the wire, twice over.
    pub(crate) fn on_wire(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(20.0 * bytes as f64 / f64::from(self.baud.max(1)))
    }

    /// Sends bytes as a frame.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut frame = Vec::new();
        slip::encode(payload, &mut frame);
        let wait = SEND_WAIT + self.on_wire(frame.len());
        self.line.send(&frame, wait)
    }

    /// Sends a request; what arrived before cannot be its response.
    pub(crate) fn request(&mut self, command: &Command<'_>) -> Result<(), Error> {
        let mut packet = Vec::new();
        let written = command.write(&mut packet);
        written.map_err(|error| Error::Internal {
            what: error.to_string(),
        })?;
        self.line.discard()?;
        self.arrived.clear();
        self.decoder.clear();
        self.send(&packet)
    }

    /// The next frame before `deadline`.
    pub(crate) fn frame(&mut self, deadline: Instant) -> Result<&[u8], Error> {
        loop {
            let mut taken = 0;
            let complete = self.arrived.iter().any(|byte| {
                taken += 1;
                self.decoder.take(*byte)
            });
            self.arrived.drain(..taken);
            if complete {
                return Ok(self.decoder.frame());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::lost("no answer in time"));
            }
            let mut bytes = [0; 4096];
            let count = self.line.receive(&mut bytes, left)?;
            self.arrived
                .extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
    }

    /// The response to a command; whatever else arrives is noise.
    pub(crate) fn response(
        &mut self,
        command: CommandType,
        wait: Duration,
    ) -> Result<Response, Error> {
        let deadline = Instant::now() + wait;
        let speaker = self.speaker;
        loop {
            let frame = self.frame(deadline)?;
            if let Some(response) = packet::parse(frame, speaker)
                && response.command == command as u8
            {
                return Ok(response);
            }
        }
    }

    /// A request and its response, an error if it says one.
    pub(crate) fn ask(&mut self, command: &Command<'_>, wait: Duration) -> Result<Response, Error> {
        self.request(command)?;
        let response = self.response(command.command_type(), wait)?;
        match response.error {
            None => Ok(response),
            Some(status) => Err(Error::Refused {
                command: name(command.command_type()),
                status,
            }),
        }
    }

    /// Asks whether a loader is there, several times, and finds out which. It answers several
    /// times, too; the next request forgets the rest.
    pub(crate) fn sync(&mut self, tries: u32) -> Result<Speaker, Error> {
        for _ in 0..tries {
            self.request(&Command::Sync)?;
            let deadline = Instant::now() + SYNC_WAIT;
            loop {
                match self.frame(deadline).map(packet::speaker) {
                    Ok(Some(speaker)) => {
                        self.speaker = speaker;
                        return Ok(speaker);
                    }
                    Ok(None) => {}
                    Err(Error::LinkLost { .. }) => break,
                    Err(other) => return Err(other),
                }
            }
        }
        Err(Error::lost("no loader answers"))
    }

    /// Waits until nothing arrives; noise without end is no reason to wait for ever.
    pub(crate) fn quiet(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + NOISE;
        let mut bytes = [0; 4096];
        while Instant::now() < deadline {
            if self.line.receive(&mut bytes, QUIET)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Names of commands in errors, as Espressif's documentation has them.
fn name(command: CommandType) -> &'static str {
    match command {
        CommandType::FlashBegin => "FLASH_BEGIN",
        CommandType::FlashEnd => "FLASH_END",
        CommandType::FlashDeflBegin => "FLASH_DEFL_BEGIN",
        CommandType::FlashDeflData => "FLASH_DEFL_DATA",
        CommandType::FlashDeflEnd => "FLASH_DEFL_END",
        CommandType::FlashMd5 => "SPI_FLASH_MD5",
        CommandType::EraseRegion => "ERASE_REGION",
        CommandType::ReadFlash => "READ_FLASH",
        CommandType::ReadReg => "READ_REG",
        CommandType::WriteReg => "WRITE_REG",
        CommandType::ChangeBaudrate => "CHANGE_BAUDRATE",
        CommandType::GetSecurityInfo => "GET_SECURITY_INFO",
        CommandType::Sync => "SYNC",
        _ => "a command",
    }
}
