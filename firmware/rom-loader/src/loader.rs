//! The loader itself: a request in, responses out. No port, no clock, no thread.
//!
//! Until a stub is uploaded it behaves as the ROM, then as Espressif's flasher stub. The differences
//! that a host sees:
//!
//! | | ROM | Stub |
//! | --- | --- | --- |
//! | status | 4 bytes: 1, error, 0, 0 | 2 bytes: error, 0 |
//! | data block | answered when it is in flash | answered when it arrived; an error comes with the next command, which is not done |
//! | erase | at the begin, all of it | before what is written; sectors that are blank are left, until one was not |
//! | MD5 | 32 digits | 16 bytes |
//! | reading | 64 bytes a command | a stream with acknowledgements |

mod answer;
mod memory;
mod reading;
mod writing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use md5::{Digest, Md5};

use self::answer::Reply;
pub(crate) use self::answer::{Answer, Refusal, Then};
use self::memory::Memory;
use self::reading::Reading;
use self::writing::Writing;
use crate::chip::{Chip, SecurityInfo};
use crate::config::Security;
use crate::faults::Faults;
use crate::flash::{BLOCK, Flash, Kind, SECTOR};
use crate::packet::{self, Command, Request};

/// Most that a ROM reads of flash at a command.
const SLOW_READ: u32 = 64;
/// What a ROM puts into the value of its answers to a sync; a stub puts 0.
const SYNC_VALUE: u32 = 0x2012_0707;
const SYNC_ANSWERS: usize = 8;
/// Says that a stub runs.
const GREETING: &[u8] = b"OHAI";

/// The state of a loader since the last reset.
#[derive(Debug)]
pub(crate) struct Loader {
    chip: Chip,
    security: Security,
    chip_id: u32,
    memory: Memory,
    flash: Arc<Mutex<Flash>>,
    stub: bool,
    /// Bytes that were uploaded to RAM.
    uploaded: u32,
    writing: Option<Writing>,
    reading: Option<Reading>,
    /// The command that was answered last, while work for it is left.
    answered: Option<u8>,
    /// A stub's error that the next command is answered with.
    owed: Option<Refusal>,
}

impl Loader {
    pub(crate) fn new(
        chip: Chip,
        mac: [u8; 6],
        security: Security,
        faults: &Faults,
        flash: Arc<Mutex<Flash>>,
    ) -> Self {
        let mut loader = Self {
            chip,
            security,
            chip_id: chip.id(),
            memory: Memory::new(chip, mac, security),
            flash,
            stub: false,
            uploaded: 0,
            writing: None,
            reading: None,
            answered: None,
            owed: None,
        };
        loader.set_faults(faults);
        loader
    }

    /// Whether what arrives next acknowledges flash that was sent.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// What the chip says that it is, from now on.
    pub(crate) fn set_faults(&mut self, faults: &Faults) {
        self.chip_id = faults.chip_id.unwrap_or(self.chip.id());
        self.memory.set_faults(faults);
    }

    /// What answers this frame at this baud rate.
    pub(crate) fn take(&mut self, frame: &[u8], baud: u32) -> Answer {
        if let Some(reading) = &mut self.reading {
            let (answer, done) = reading.acknowledge(frame, &self.flash);
            if done {
                self.reading = None;
            }
            return answer;
        }
        let Some(request) = Request::parse(frame) else {
            let code = frame.get(1).copied().unwrap_or_default();
            return match frame.first() {
                // A ROM takes anything else for noise; a stub answers what is a request by its first byte.
                Some(0) if self.stub => self.refuse(code, Refusal::Malformed),
                _ => Answer::default(),
            };
        };
        if let Some(owed) = self.owed.take() {
            return self.refuse(request.code, owed);
        }
        match self.perform(&request, baud) {
            Err(refusal) => {
                let before = lock(&self.flash).take_work();
                Answer {
                    before,
                    ..self.refuse(request.code, refusal)
                }
            }
            Ok(reply) => {
                let mut answer = self.accept(&request, reply);
                answer.before = lock(&self.flash).take_work();
                self.answered = self.stub.then_some(request.code);
                answer
            }
        }
    }

    /// What a stub does once its answer has left: it works on a block, or sends what is read.
    pub(crate) fn follow_up(&mut self) -> Answer {
        let command = self.answered.take().and_then(Command::from_code);
        match (command, &mut self.writing, &mut self.reading) {
            (
                Some(
                    Command::FlashBegin
                    | Command::FlashData
                    | Command::FlashDeflBegin
                    | Command::FlashDeflData,
                ),
                Some(writing),
                _,
            ) => {
                let mut flash = lock(&self.flash);
                self.owed = writing.work(&mut flash).err();
                Answer {
                    before: flash.take_work(),
                    ..Answer::default()
                }
            }
            (Some(Command::ReadFlash), _, Some(reading)) => {
                let (first, done) = reading.first(&self.flash);
                if done {
                    self.reading = None;
                }
                first
            }
            _ => Answer::default(),
        }
    }

    fn accept(&mut self, request: &Request, reply: Reply) -> Answer {
        let status: &[u8] = if self.stub { &[0; 2] } else { &[0; 4] };
        let response = packet::response(request.code, reply.value, &reply.data, status);
        let mut frames = vec![response];
        match Command::from_code(request.code) {
            Some(Command::Sync) => frames = vec![frames.remove(0); SYNC_ANSWERS],
            Some(Command::MemEnd) if !self.stub && request.word(0) == 0 && self.uploaded > 0 => {
                self.stub = true;
                frames.push(GREETING.to_vec());
            }
            _ => {}
        }
        Answer {
            frames,
            then: reply.then,
            ..Answer::default()
        }
    }

    /// The answer that refuses a command.
    pub(crate) fn refuse(&self, code: u8, refusal: Refusal) -> Answer {
        self.error(code, refusal.code(self.stub))
    }

    /// The answer with an error of this code.
    pub(crate) fn error(&self, code: u8, error: u8) -> Answer {
        let status: &[u8] = if self.stub {
            &[error, 0]
        } else {
            &[1, error, 0, 0]
        };
        Answer {
            frames: vec![packet::response(code, 0, &[], status)],
            ..Answer::default()
        }
    }

    fn perform(&mut self, request: &Request, baud: u32) -> Result<Reply, Refusal> {
        let command = Command::from_code(request.code).ok_or(Refusal::Unknown)?;
        if !self.knows(command) {
            return Err(Refusal::Unknown);
        }
        match command {
            Command::Sync => Ok(if self.stub { 0 } else { SYNC_VALUE }.into()),
            Command::ReadReg => {
                expect_length(request, &[4])?;
                Ok(self.memory.read(request.word(0), baud).into())
            }
            Command::WriteReg => self.write_memory(request),
            Command::GetSecurityInfo => self.security_info(),
            Command::MemBegin => {
                expect_length(request, &[16])?;
                self.uploaded = 0;
                Ok(Reply::default())
            }
            Command::MemData => {
                self.uploaded = self.uploaded.saturating_add(block(request)?.len() as u32);
                Ok(Reply::default())
            }
            Command::MemEnd => {
                expect_length(request, &[8])?;
                Ok(Reply::default())
            }
            Command::SpiAttach => Ok(Reply::default()),
            Command::SpiSetParams => {
                expect_length(request, &[24])?;
                Ok(Reply::default())
            }
            Command::ChangeBaudrate => {
                expect_length(request, &[8])?;
                Ok(Then::Baud(request.word(0)).into())
            }
            Command::FlashBegin | Command::FlashDeflBegin => self.begin(command, request),
            Command::FlashData | Command::FlashDeflData => self.data(command, request),
            Command::FlashEnd | Command::FlashDeflEnd => self.end(request),
            Command::SpiFlashMd5 => self.digest(request),
            Command::ReadFlashSlow => self.read_slow(request),
            Command::ReadFlash => {
                expect_length(request, &[16])?;
                self.reading = Some(Reading::new(request)?);
                Ok(Reply::default())
            }
            Command::EraseFlash => {
                let mut flash = lock(&self.flash);
                for offset in (0..flash.size()).step_by(BLOCK as usize) {
                    flash.erase(offset, BLOCK)?;
                }
                Ok(Reply::default())
            }
            Command::EraseRegion => {
                expect_length(request, &[8])?;
                let (offset, length) = (request.word(0), request.word(1));
                if !offset.is_multiple_of(SECTOR) || !length.is_multiple_of(SECTOR) {
                    return Err(Refusal::Malformed);
                }
                erase(&mut lock(&self.flash), offset, length)?;
                Ok(Reply::default())
            }
            Command::RunUserCode => Ok(Then::Application.into()),
        }
    }

    /// Whether ROM or stub has this command, and whether it is allowed.
    fn knows(&self, command: Command) -> bool {
        let stub_only = matches!(
            command,
            Command::EraseFlash | Command::EraseRegion | Command::ReadFlash | Command::RunUserCode
        );
        let rom_only = command == Command::ReadFlashSlow;
        // Memory and reading are what secure download mode is there to forbid.
        let forbidden = matches!(
            command,
            Command::ReadReg
                | Command::WriteReg
                | Command::MemBegin
                | Command::MemData
                | Command::MemEnd
                | Command::ReadFlashSlow
                | Command::SpiFlashMd5
        );
        !(stub_only && !self.stub
            || rom_only && self.stub
            || forbidden && self.security.secure_download
            || command == Command::GetSecurityInfo
                && self.chip.security_info() == SecurityInfo::Refused)
    }

    /// Address, value, mask and delay, any number of times.
    fn write_memory(&mut self, request: &Request) -> Result<Reply, Refusal> {
        if request.body.is_empty() || !request.body.len().is_multiple_of(16) {
            return Err(Refusal::Malformed);
        }
        let mut then = None;
        for write in 0..request.body.len() / 16 {
            let word = |index| request.word(4 * write + index);
            let resets = self.memory.write(word(0), word(1), word(2), &self.flash);
            if resets {
                then = Some(Then::Application);
            }
        }
        Ok(Reply {
            then,
            ..Reply::default()
        })
    }

    /// Flags, how often encryption was toggled, purposes of seven keys; chip id and interface version.
    fn security_info(&self) -> Result<Reply, Refusal> {
        let security = &self.security;
        let flags = u32::from(security.secure_boot) | u32::from(security.secure_download) << 2;
        let mut data = flags.to_le_bytes().to_vec();
        data.push(if security.flash_encryption { 0b111 } else { 0 });
        data.extend([0; 7]);
        if self.chip.security_info() == SecurityInfo::WithChip {
            data.extend(self.chip_id.to_le_bytes());
            data.extend(1u32.to_le_bytes());
        }
        Ok(data.into())
    }

    /// Size, number of blocks, their length, offset, and of newer chips whether to encrypt.
    fn begin(&mut self, command: Command, request: &Request) -> Result<Reply, Refusal> {
        expect_length(request, &[16, 20])?;
        let compressed = command == Command::FlashDeflBegin;
        let (size, offset) = (request.word(0), request.word(3));
        let mut flash = lock(&self.flash);
        if u64::from(offset) + u64::from(size) > flash.size().into() {
            return Err(Refusal::Flash);
        }
        let mut writing = Writing::new(offset, size, compressed);
        if !self.stub {
            writing.erase_all(&mut flash)?;
        }
        self.writing = Some(writing);
        Ok(Reply::default())
    }

    fn data(&mut self, command: Command, request: &Request) -> Result<Reply, Refusal> {
        let data = block(request)?;
        if request.checksum != packet::checksum(data) {
            return Err(Refusal::Checksum);
        }
        let writing = self.writing.as_mut().ok_or(Refusal::NotBegun)?;
        if writing.is_compressed() != (command == Command::FlashDeflData) {
            return Err(Refusal::NotBegun);
        }
        writing.queue(data);
        if !self.stub {
            writing.work(&mut lock(&self.flash))?;
        }
        Ok(Reply::default())
    }

    /// 0 restarts, 1 stays (stub) or starts the application (ROM).
    fn end(&mut self, request: &Request) -> Result<Reply, Refusal> {
        expect_length(request, &[4])?;
        let restarts = request.word(0) == 0;
        let writing = self.writing.as_ref().ok_or(Refusal::NotBegun)?;
        if self.stub && writing.remaining() != 0 {
            return Err(Refusal::Malformed);
        }
        self.writing = None;
        Ok(match (restarts, self.stub) {
            // The boot pin was read at the last reset of the whole chip: the loader again.
            (true, _) => Then::Loader.into(),
            (false, true) => Reply::default(),
            (false, false) => Then::Application.into(),
        })
    }

    fn digest(&mut self, request: &Request) -> Result<Reply, Refusal> {
        expect_length(request, &[16])?;
        let mut flash = lock(&self.flash);
        let digest = Md5::digest(flash.read(Kind::Digest, request.word(0), request.word(1))?);
        if self.stub {
            return Ok(digest.to_vec().into());
        }
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(digits.into_bytes().into())
    }

    /// Always answers 64 bytes, of which so many count as were asked for.
    fn read_slow(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let (offset, length) = (request.word(0), request.word(1));
        if request.body.len() < 8 || length > SLOW_READ {
            return Err(Refusal::Malformed);
        }
        let mut data = lock(&self.flash).read(Kind::Read, offset, length)?.to_vec();
        data.resize(SLOW_READ as usize, 0);
        Ok(data.into())
    }
}

/// Erases whole sectors, in blocks where that is possible.
fn erase(flash: &mut Flash, mut offset: u32, length: u32) -> Result<(), Refusal> {
    let end = u64::from(offset) + u64::from(length);
    if end > flash.size().into() {
        return Err(Refusal::Flash);
    }
    while u64::from(offset) < end {
        let unit = erase_unit(offset, end as u32);
        flash.erase(offset, unit)?;
        offset += unit;
    }
    Ok(())
}

/// What is erased at once at `offset` when all up to `end` is to be.
fn erase_unit(offset: u32, end: u32) -> u32 {
    if offset.is_multiple_of(BLOCK) && end - offset >= BLOCK {
        BLOCK
    } else {
        SECTOR
    }
}

/// The data of a data block: length, sequence number and two words that mean nothing come before.
fn block<'a>(request: &Request<'a>) -> Result<&'a [u8], Refusal> {
    let data = request.body.get(16..).ok_or(Refusal::Malformed)?;
    if request.word(0) as usize != data.len() {
        return Err(Refusal::Malformed);
    }
    Ok(data)
}

fn expect_length(request: &Request, lengths: &[usize]) -> Result<(), Refusal> {
    if lengths.contains(&request.body.len()) {
        Ok(())
    } else {
        Err(Refusal::Malformed)
    }
}

/// A panic elsewhere leaves a flash that is as good as any.
pub(crate) fn lock(flash: &Mutex<Flash>) -> MutexGuard<'_, Flash> {
    flash.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
