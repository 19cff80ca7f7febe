//! Requests and responses, as in Espressif's "Serial Protocol"
//! (<https://docs.espressif.com/projects/esptool/en/latest/esp32c3/advanced-topics/serial-protocol.html>).
//!
//! | Bytes | Request | Response |
//! | --- | --- | --- |
//! | 0 | 0 | 1 |
//! | 1 | command | command |
//! | 2–3 | length of the body | length of data and status |
//! | 4–7 | checksum of the data | value |
//! | 8… | body | data, then status and error: 2 bytes by a stub, 4 by a ROM |

use std::fmt;
use std::str::FromStr;

/// Bytes before the body.
pub const HEADER: usize = 8;
const CHECKSUM_SEED: u8 = 0xEF;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What a host asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Command {
            $($(#[$doc])* $name = $code,)*
        }

        impl Command {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The command with this code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in texts, for example in a rule of [`Faults`](crate::Faults).
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

commands! {
    /// Erase (ROM) or prepare (stub), then take data.
    FlashBegin = 0x02, "flash_begin";
    /// A block of data.
    FlashData = 0x03, "flash_data";
    /// The end of it.
    FlashEnd = 0x04, "flash_end";
    /// Prepare for data to RAM.
    MemBegin = 0x05, "mem_begin";
    /// The end of it; jump there.
    MemEnd = 0x06, "mem_end";
    /// A block of it.
    MemData = 0x07, "mem_data";
    /// Find each other's baud rate and frames.
    Sync = 0x08, "sync";
    /// Write words of memory.
    WriteReg = 0x09, "write_reg";
    /// Read a word of memory.
    ReadReg = 0x0A, "read_reg";
    /// Size and geometry of the flash.
    SpiSetParams = 0x0B, "spi_set_params";
    /// Connect the pins of the flash.
    SpiAttach = 0x0D, "spi_attach";
    /// Read up to 64 bytes of flash (ROM).
    ReadFlashSlow = 0x0E, "read_flash_slow";
    /// Another baud rate.
    ChangeBaudrate = 0x0F, "change_baudrate";
    /// As [`Self::FlashBegin`], for a zlib stream.
    FlashDeflBegin = 0x10, "flash_defl_begin";
    /// A block of it.
    FlashDeflData = 0x11, "flash_defl_data";
    /// The end of it.
    FlashDeflEnd = 0x12, "flash_defl_end";
    /// MD5 of a range of flash.
    SpiFlashMd5 = 0x13, "spi_flash_md5";
    /// Flags of secure boot and flash encryption, chip id.
    GetSecurityInfo = 0x14, "get_security_info";
    /// Erase all (stub).
    EraseFlash = 0xD0, "erase_flash";
    /// Erase sectors (stub).
    EraseRegion = 0xD1, "erase_region";
    /// Read flash as a stream (stub).
    ReadFlash = 0xD2, "read_flash";
    /// Leave, and start the application (stub).
    RunUserCode = 0xD3, "run_user_code";
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Command {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|command| command.name() == text)
            .ok_or_else(|| format!("{text:?} is no command, for example flash_data"))
    }
}

/// A request as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The code of a [`Command`], or of something unknown.
    pub code: u8,
    /// Of the data of a data block.
    pub checksum: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// From a frame; `None` when it is no request or its length is wrong.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let (header, body) = frame.split_at_checked(HEADER)?;
        let length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        (header[0] == 0 && length == body.len()).then(|| Self {
            code: header[1],
            checksum: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
            body,
        })
    }

    /// The word at `index` of the body, 0 when the body is shorter.
    pub fn word(&self, index: usize) -> u32 {
        let bytes = self.body.get(4 * index..4 * index + 4);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }
}

/// A response, not yet framed. `status` is 0 and 0, or 1 and an error of a ROM, or an error of a stub
/// and 0.
pub fn response(code: u8, value: u32, data: &[u8], status: &[u8]) -> Vec<u8> {
    let length = (data.len() + status.len()) as u16;
    let mut bytes = vec![1, code];
    bytes.extend(length.to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes.extend(data);
    bytes.extend(status);
    bytes
}

/// The checksum of the data of a block.
pub fn checksum(data: &[u8]) -> u32 {
    data.iter()
        .fold(CHECKSUM_SEED, |sum, byte| sum ^ byte)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_length_that_it_says() {
        let frame = [0, 0x0A, 4, 0, 0, 0, 0, 0, 0x00, 0x10, 0x00, 0x40];
        let request = Request::parse(&frame).unwrap();
        assert_eq!(Command::from_code(request.code), Some(Command::ReadReg));
        assert_eq!(request.word(0), 0x4000_1000);
        assert_eq!(request.word(1), 0, "there is no second word");
        assert_eq!(Request::parse(&frame[..11]), None);
        assert_eq!(Request::parse(&frame[..7]), None);
    }

    #[test]
    fn a_response_is_no_request() {
        assert_eq!(Request::parse(&response(8, 0, &[], &[0, 0])), None);
    }

    #[test]
    fn names_are_read_back() {
        for command in Command::ALL {
            assert_eq!(command.name().parse(), Ok(*command));
            assert_eq!(Command::from_code(*command as u8), Some(*command));
        }
        assert!("flash".parse::<Command>().is_err());
    }
}
