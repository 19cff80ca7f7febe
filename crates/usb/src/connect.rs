//! Bringing a board into its loader: reset, find the loader, upload the stub, ask what it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use espflash::command::Command;
use espflash::connection::{Connection, ResetAfterOperation, ResetBeforeOperation};
use espflash::flasher::{FlashSize, Flasher};
use espflash::target::{Chip, XtalFrequency, efuse};
use serialport::UsbPortInfo;

use crate::board::{Board, Security};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::exchange::{Exchange, SYNC_WAIT};
use crate::line::{BASE_BAUD, Line as _, Pulse, SerialLine};
use crate::loader::{BAUD_CHANGE, Loader, MAGIC, ResetLines};
use crate::packet::Speaker;
use crate::session::{ConnectOptions, Reset, State};

/// Espressif's vendor id, and the product id of USB-Serial-JTAG.
const USB_JTAG: (u16, u16) = (0x303A, 0x1001);
/// Espressif's vendor id, and the product ids of loaders that drive USB-OTG: of ESP32-S2, S3 and P4.
const USB_OTG: [(u16, u16); 3] = [(0x303A, 0x0002), (0x303A, 0x0009), (0x303A, 0x0012)];
/// How often the lines are tried before somebody has to press buttons.
const RESETS: u32 = 4;
/// How often a loader is called after each reset, and between two looks at the cancel.
const SYNCS: u32 = 4;
/// How often connecting starts again after an accident on the line.
const ACCIDENTS: u32 = 2;
/// A rate that nearly every adapter can, when it cannot the higher one.
const MIDDLE_BAUD: u32 = 460_800;
/// Chips whose ROM computes a baud rate from a crystal that it knows: C3, S3, C6 and H2.
const FAST_ROMS: [u16; 4] = [5, 9, 13, 16];
/// Until a port that cannot be opened is tried again.
const REOPEN: Duration = Duration::from_millis(100);

/// What a loader said about itself.
struct Found {
    speaker: Speaker,
    /// What its fuses forbid, if it can say.
    info: Option<SecurityInfo>,
}

/// The answer to `GET_SECURITY_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SecurityInfo {
    security: Security,
    chip_id: Option<u16>,
}

/// A board whose stub runs.
pub(crate) fn connect(
    options: &ConnectOptions,
    given_up: &Cancel,
    pulse: &Pulse,
    on_state: &dyn Fn(State),
) -> Result<Loader<SerialLine>, Error> {
    let mut attempt = Attempt {
        options,
        given_up,
        pulse,
        lines: reset_lines(options),
        resets: 0,
        by_hand_since: None,
        raise_baud: true,
        raise_early: true,
    };
    let mut accidents = 0;
    loop {
        attempt.check()?;
        let error = match attempt.once(on_state) {
            Ok(loader) => return Ok(loader),
            Err(error) => error,
        };
        tracing::debug!(%error, path = options.path, "connecting");
        match error {
            Error::LinkLost { .. } | Error::HungUp { .. } | Error::Refused { .. }
                if accidents < ACCIDENTS =>
            {
                accidents += 1;
            }
            // A board that is reset by hand leaves the bus, and comes back.
            Error::Unplugged { .. } | Error::NoSuchPort { .. }
                if attempt.by_hand_since.is_some() && !attempt.waited() =>
            {
                sleep(REOPEN);
            }
            error => return Err(error),
        }
    }
}

/// What the lines of a port are good for.
pub(crate) fn reset_lines(options: &ConnectOptions) -> ResetLines {
    match (options.reset, options.usb) {
        (Reset::None, _) => ResetLines::None,
        (Reset::Automatic, Some(USB_JTAG)) => ResetLines::UsbJtag { by_hand: false },
        (Reset::Automatic, Some(usb)) if USB_OTG.contains(&usb) => ResetLines::UsbOtg,
        (Reset::Automatic, _) => ResetLines::Uart,
    }
}

struct Attempt<'a> {
    options: &'a ConnectOptions,
    given_up: &'a Cancel,
    pulse: &'a Pulse,
    lines: ResetLines,
    resets: u32,
    /// Since when somebody has to press buttons.
    by_hand_since: Option<Instant>,
    raise_baud: bool,
    /// Whether the stub is uploaded at the higher rate.
    raise_early: bool,
}

impl Attempt<'_> {
    fn once(&mut self, on_state: &dyn Fn(State)) -> Result<Loader<SerialLine>, Error> {
        let line = self.open()?;
        let (mut exchange, found) = self.find(line, on_state)?;
        if let Some(info) = found.info
            && info.security.secure_download
        {
            return locked(exchange, info, self);
        }
        self.hurry_rom(&mut exchange, &found)?;
        // espflash believes what it is told.
        let baud = exchange.baud();
        let path = exchange.line.name().to_string();
        let connection = self.connection(exchange.line, ResetBeforeOperation::NoReset, baud);
        let (connection, chip, board) = guarded(|| introduce(connection, &found, self.lines))
            .map_err(|failure| failure.into_error(&path, self.pulse))?;
        let line = SerialLine::new(connection.into_serial(), &path, self.pulse.clone());
        let mut exchange = Exchange::new(line, Speaker::Stub);
        exchange.set_baud(baud)?;
        if self.by_hand_since.is_some()
            && let ResetLines::UsbJtag { by_hand } = &mut self.lines
        {
            *by_hand = true;
        }
        let patience = self.options.patience;
        let mut loader = Loader::new(exchange, chip, board, patience, self.lines);
        if baud < self.options.baud {
            self.hurry(&mut loader)?;
        }
        Ok(loader)
    }

    fn check(&self) -> Result<(), Error> {
        self.options.cancel.check()?;
        self.given_up.check()
    }

    /// Opens the port; one that was just plugged in belongs to nobody for a moment.
    fn open(&self) -> Result<SerialLine, Error> {
        let deadline = Instant::now() + self.options.settle;
        loop {
            match SerialLine::open(&self.options.path, self.pulse.clone()) {
                Err(Error::PortDenied { .. } | Error::PortBusy { .. })
                    if Instant::now() < deadline =>
                {
                    self.check()?;
                    sleep(REOPEN);
                }
                other => return other,
            }
        }
    }

    fn connection(&self, line: SerialLine, before: ResetBeforeOperation, baud: u32) -> Connection {
        let (vid, pid) = match self.lines {
            ResetLines::UsbJtag { .. } => USB_JTAG,
            _ => self.options.usb.unwrap_or_default(),
        };
        let info = UsbPortInfo {
            vid,
            pid,
            serial_number: None,
            manufacturer: None,
            product: None,
        };
        let after = ResetAfterOperation::NoResetNoStub;
        Connection::new(line.into_port(), info, after, before, baud)
    }

    /// Resets by the lines, longer every second time.
    fn reset(&mut self, line: SerialLine) -> Result<SerialLine, Error> {
        let path = line.name().to_string();
        let mut connection = self.connection(line, ResetBeforeOperation::DefaultReset, BASE_BAUD);
        let long = self.resets % 2 == 1;
        self.resets += 1;
        let reset = connection.reset_to_flash(long);
        self.pulse.beat();
        let mut line = SerialLine::new(connection.into_serial(), &path, self.pulse.clone());
        if let Err(error) = reset {
            // Either it is gone, which receiving tells, or it has no such lines.
            tracing::debug!(%error, path, "reset lines");
            line.receive(&mut [0; 64], Duration::ZERO)?;
            self.lines = ResetLines::None;
        }
        Ok(line)
    }

    /// Until a loader answers, or nobody waits any more.
    fn find(
        &mut self,
        mut line: SerialLine,
        on_state: &dyn Fn(State),
    ) -> Result<(Exchange<SerialLine>, Found), Error> {
        loop {
            let lines_help = self.lines.help() && self.by_hand_since.is_none();
            if lines_help {
                line = self.reset(line)?;
            }
            let mut exchange = Exchange::new(line, Speaker::Rom);
            exchange.set_baud(BASE_BAUD)?;
            if let Some(found) = self.call(&mut exchange)? {
                return Ok((exchange, found));
            }
            // A stub that a program before left, at the rate of before.
            if self.lines == ResetLines::None && self.options.baud > BASE_BAUD {
                exchange.set_baud(self.options.baud)?;
                if let Some(found) = self.call(&mut exchange)? {
                    return Ok((exchange, found));
                }
            }
            line = exchange.line;
            self.check()?;
            if lines_help && self.resets < RESETS {
                continue;
            }
            if self.by_hand_since.is_none() {
                self.by_hand_since = Some(Instant::now());
                if self.options.wait_for_boot != Some(Duration::ZERO) {
                    on_state(State::WaitingForBoot);
                }
            }
            if self.waited() {
                return Err(Error::NoAnswer {
                    path: self.options.path.clone(),
                });
            }
        }
    }

    /// Whether it took too long until somebody pressed the buttons.
    fn waited(&self) -> bool {
        let limit = self.options.wait_for_boot;
        self.by_hand_since
            .zip(limit)
            .is_some_and(|(since, limit)| since.elapsed() >= limit)
    }

    /// Calls the loader, and asks who it is; `None` when it does not answer.
    fn call(&self, exchange: &mut Exchange<SerialLine>) -> Result<Option<Found>, Error> {
        let speaker = match exchange.sync(SYNCS) {
            Ok(speaker) => speaker,
            // It hung up, or nothing answers; receiving knows the difference.
            Err(Error::LinkLost { .. }) => {
                exchange.line.receive(&mut [0; 64], Duration::ZERO)?;
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        let info = self.security_info(exchange)?;
        // A bit that the wire changed would make a locked board one to write to.
        if info.is_some() && self.security_info(exchange)? != info {
            return Err(Error::lost("it tells its security state in two ways"));
        }
        Ok(Some(Found { speaker, info }))
    }

    fn security_info(
        &self,
        exchange: &mut Exchange<SerialLine>,
    ) -> Result<Option<SecurityInfo>, Error> {
        match exchange.ask(&Command::GetSecurityInfo, self.options.patience.answer) {
            Ok(response) => {
                let info = SecurityInfo::parse(&response.data);
                let info = info.ok_or_else(|| Error::lost("the security state makes no sense"))?;
                Ok(Some(info))
            }
            // ESP32 knows no such command; the fuses will tell.
            Err(Error::Refused { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// As fast as both ends can, before the stub is uploaded: that is most of connecting.
    fn hurry_rom(
        &mut self,
        exchange: &mut Exchange<SerialLine>,
        found: &Found,
    ) -> Result<(), Error> {
        let id = found.info.and_then(|info| info.chip_id);
        let known = id.is_some_and(|id| FAST_ROMS.contains(&id));
        let before = exchange.baud();
        if found.speaker == Speaker::Stub
            || !known
            || self.lines.is_native()
            || !self.raise_early
            || self.options.baud <= before
        {
            return Ok(());
        }
        let change = Command::ChangeBaudrate {
            new_baud: self.options.baud,
            // What a ROM is told.
            prior_baud: 0,
        };
        // Once is enough: whatever goes wrong, the next time without.
        self.raise_early = false;
        match exchange.ask(&change, self.options.patience.answer) {
            Ok(_) => {}
            Err(Error::Refused { .. }) => return Ok(()),
            Err(other) => return Err(other),
        }
        exchange.set_baud(self.options.baud)?;
        sleep(BAUD_CHANGE);
        exchange.ask(&Command::ReadReg { address: MAGIC }, SYNC_WAIT)?;
        Ok(())
    }

    /// As fast as both ends can.
    fn hurry(&mut self, loader: &mut Loader<SerialLine>) -> Result<(), Error> {
        if self.lines.is_native() || !self.raise_baud {
            return Ok(());
        }
        for baud in [self.options.baud, MIDDLE_BAUD] {
            if baud <= BASE_BAUD || baud > self.options.baud {
                continue;
            }
            match loader.raise_baud(baud) {
                Ok(now) if now == baud => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    // It changed, and cannot be found again: the next time without.
                    self.raise_baud = false;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl SecurityInfo {
    /// Flags, count of the encryption fuse, seven key purposes, and newer chips' id and revision.
    fn parse(data: &[u8]) -> Option<Self> {
        let (flags, rest) = data.split_first_chunk::<4>()?;
        let flags = u32::from_le_bytes(*flags);
        let count = rest.first()?;
        let chip_id = data.get(12..16).and_then(|id| id.try_into().ok());
        let chip_id = chip_id.map(u32::from_le_bytes);
        Some(Self {
            security: Security {
                secure_boot: flags & 1 != 0,
                flash_encryption: count.count_ones() % 2 == 1,
                secure_download: flags & 1 << 2 != 0,
            },
            chip_id: chip_id.and_then(|id| u16::try_from(id).ok()),
        })
    }
}

/// A board that tells no more than what it is.
fn locked(
    exchange: Exchange<SerialLine>,
    info: SecurityInfo,
    attempt: &Attempt<'_>,
) -> Result<Loader<SerialLine>, Error> {
    // Of the chips that have this mode, only ESP32-S2 leaves its id out.
    let chip = info.chip_id.map_or(Ok(Chip::Esp32s2), Chip::try_from);
    let chip = chip.map_err(|error| Error::lost(error.to_string()))?;
    let board = Board {
        chip: chip.to_string(),
        chip_id: chip.id(),
        revision: None,
        mac: None,
        flash_size: 0,
        crystal: None,
        features: Vec::new(),
        security: info.security,
    };
    let patience = attempt.options.patience;
    Ok(Loader::new(exchange, chip, board, patience, attempt.lines))
}

/// What went wrong inside espflash, and the connection if it survived.
enum Failure {
    Error(espflash::Error, Option<Box<Connection>>),
    Lost(Error),
    Panic,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl Failure {
    fn into_error(self, path: &str, pulse: &Pulse) -> Error {
        match self {
            Self::Lost(error) => error,
            Self::Panic => Error::lost("its answers make no sense"),
            Self::Error(espflash::Error::FlashConnect, _) => Error::NoFlash,
            Self::Error(error, connection) => {
                if let Some(connection) = connection {
                    let port = connection.into_serial();
                    let mut line = SerialLine::new(port, path, pulse.clone());
                    let probed = line.receive(&mut [0], Duration::ZERO);
                    if let Err(gone) = probed {
                        return gone;
                    }
                }
                Error::lost(chain(&error))
            }
        }
    }
}

/// An error with its causes, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// espflash panics on some answers that make no sense.
fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Failure::Panic))
}

/// Has espflash upload its stub, and asks what the board is.
fn introduce(
    connection: Connection,
    found: &Found,
    lines: ResetLines,
) -> Result<(Connection, Chip, Board), Failure> {
    let mut flasher = match found.speaker {
        Speaker::Rom => Flasher::try_connect(connection, true, false, false, None, None)
            .map_err(|failed| Failure::Error(failed.0, Some(Box::new(failed.1))))?,
        Speaker::Stub => resume(connection)?,
    };
    if matches!(lines, ResetLines::UsbJtag { .. }) {
        // Not every stub stops it, and it bites after a while.
        let stopped = flasher.disable_watchdog();
        stopped.map_err(|error| Failure::Error(error, None))?;
    }
    let chip = flasher.chip();
    let described = describe(&mut flasher, found.info);
    let connection = flasher.into_connection();
    match described {
        Ok(board) => Ok((connection, chip, board)),
        Err(Failure::Error(error, _)) => Err(Failure::Error(error, Some(Box::new(connection)))),
        Err(other) => Err(other),
    }
}

/// A stub that runs already: uploading another over it would crash it.
fn resume(connection: Connection) -> Result<Flasher, Failure> {
    let baud = connection
        .baud()
        .map_err(|error| Failure::Error(error, None))?;
    let pid = connection.usb_pid();
    let info = UsbPortInfo {
        vid: 0,
        pid,
        serial_number: None,
        manufacturer: None,
        product: None,
    };
    let mut connection = Connection::new(
        connection.into_serial(),
        info,
        ResetAfterOperation::NoResetNoStub,
        ResetBeforeOperation::NoResetNoSync,
        baud,
    );
    let chip = match connection.detect_chip(true) {
        Ok(chip) => chip,
        Err(error) => return Err(Failure::Error(error, Some(Box::new(connection)))),
    };
    let mut flasher = Flasher::try_connect(connection, true, false, false, Some(chip), None)
        .map_err(|failed| Failure::Error(failed.0, Some(Box::new(failed.1))))?;
    match flasher.flash_detect() {
        Ok(Some(size)) => {
            flasher.set_flash_size(size);
            Ok(flasher)
        }
        Ok(None) => Err(Failure::Error(espflash::Error::FlashConnect, None)),
        Err(error) => {
            let connection = Box::new(flasher.into_connection());
            Err(Failure::Error(error, Some(connection)))
        }
    }
}

fn describe(flasher: &mut Flasher, info: Option<SecurityInfo>) -> Result<Board, Failure> {
    let chip = flasher.chip();
    let fail = |error| Failure::Error(error, None);
    let device = flasher.device_info().map_err(fail)?;
    let flash_size = flash_size(flasher)?;
    // Responses have no checksum, and a bit that the wire changed would become an address.
    let again = flasher.device_info().map_err(fail)?;
    let revision = chip.revision(flasher.connection()).map_err(fail)?;
    if again != device || device.revision != Some(revision) || device.flash_size != flash_size {
        return Err(Error::lost("it describes itself in two ways").into());
    }
    let security = match info {
        Some(info) => {
            if info.chip_id.is_some_and(|id| id != chip.id()) {
                return Err(Error::lost("it says that it is two chips").into());
            }
            info.security
        }
        None if chip == Chip::Esp32 => {
            let security = fuses(flasher).map_err(fail)?;
            if fuses(flasher).map_err(fail)? != security {
                return Err(Error::lost("it tells its fuses in two ways").into());
            }
            security
        }
        // Written blindly, it might never start again.
        None => return Err(Error::lost("it does not say whether it is locked").into()),
    };
    Ok(Board {
        chip: chip.to_string(),
        chip_id: chip.id(),
        revision: device.revision,
        mac: device.mac_address,
        flash_size: device.flash_size.size(),
        crystal: Some(match device.crystal_frequency {
            XtalFrequency::_26Mhz => 26,
            XtalFrequency::_32Mhz => 32,
            XtalFrequency::_48Mhz => 48,
            _ => 40,
        }),
        features: device.features,
        security,
    })
}

/// What the flash says that it is. espflash takes what it does not know for 4 MB.
fn flash_size(flasher: &mut Flasher) -> Result<FlashSize, Failure> {
    let fail = |error| Failure::Error(error, None);
    let size = flasher.flash_detect().map_err(fail)?;
    let answer = flasher.chip().spi_registers().w0();
    let id = flasher.connection().read_reg(answer).map_err(fail)?;
    // Manufacturer, kind, and size as a power of two (JEDEC JEP106, JESD68).
    let [manufacturer, _, power, _] = id.to_le_bytes();
    match size {
        _ if matches!(manufacturer, 0x00 | 0xFF) => Err(Error::NoFlash.into()),
        Some(size) if FlashSize::from_detected(power).is_ok_and(|known| known == size) => Ok(size),
        _ => Err(Error::UnknownFlash { id }.into()),
    }
}

/// ESP32 has no command for it: the fuses of its technical reference manual.
fn fuses(flasher: &mut Flasher) -> Result<Security, espflash::Error> {
    let chip = flasher.chip();
    let mut fuse = |field| -> Result<u32, espflash::Error> {
        chip.read_efuse_le::<u32>(flasher.connection(), field)
    };
    let encryption = fuse(efuse::esp32::FLASH_CRYPT_CNT)?;
    let boot = fuse(efuse::esp32::ABS_DONE_0)? | fuse(efuse::esp32::ABS_DONE_1)?;
    Ok(Security {
        secure_boot: boot != 0,
        flash_encryption: encryption.count_ones() % 2 == 1,
        secure_download: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_info_is_read_with_and_without_a_chip() {
        let mut data = [0; 20];
        data[0] = 0b101;
        data[4] = 0b111;
        data[12] = 5;
        let info = SecurityInfo::parse(&data).unwrap();
        assert_eq!(info.chip_id, Some(5));
        assert!(info.security.secure_boot && info.security.secure_download);
        assert!(info.security.flash_encryption, "three bits are odd");
        let info = SecurityInfo::parse(&[0; 12]).unwrap();
        assert_eq!((info.chip_id, info.security), (None, Security::default()));
        assert_eq!(SecurityInfo::parse(&[0; 4]), None);
    }
}
