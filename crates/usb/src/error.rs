//! Why something with a board on a serial port did not work.

use airlift_flash::ReadError;
use airlift_wire::ErrorCode;

/// Why something with a board on a serial port did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no port of that name.
    #[error("there is no serial port {path}")]
    NoSuchPort {
        /// Its name.
        path: String,
    },
    /// Another program has it open.
    #[error("{path} is in use{}", .holder.as_ref().map(|name| format!(" by {name}")).unwrap_or_default())]
    PortBusy {
        /// Its name.
        path: String,
        /// The program, where the system says.
        holder: Option<String>,
    },
    /// This user may not open it.
    #[error("this user may not open {path}{}", .group.as_ref().map(|name| format!(", members of the group {name} may")).unwrap_or_default())]
    PortDenied {
        /// Its name.
        path: String,
        /// The group whose members may.
        group: Option<String>,
    },
    /// No loader answers.
    #[error("no ROM loader answers on {path}")]
    NoAnswer {
        /// Name of the port.
        path: String,
    },
    /// What arrives makes no sense, or nothing arrives.
    #[error("the link to the board is lost: {what}")]
    LinkLost {
        /// What was seen.
        what: String,
    },
    /// The port does not work any more, though there is one of its name.
    #[error("{path} hung up: {why}")]
    HungUp {
        /// Name of the port.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The port is gone.
    #[error("{path} is gone: the board was unplugged")]
    Unplugged {
        /// Name of the port.
        path: String,
    },
    /// It is another board.
    #[error("the board is {found}, not {expected}")]
    WrongBoard {
        /// Chip and address of the one that is expected.
        expected: String,
        /// Of the one that is there.
        found: String,
    },
    /// Fuses forbid it, or what is written would not start.
    #[error("{why}")]
    Secured {
        /// What the fuses say, and what it means.
        why: &'static str,
    },
    /// The loader says that it cannot read or digest flash.
    #[error("the board cannot read {len} bytes of its flash at {offset:#x} (error {status:#04x})")]
    FlashUnreadable {
        /// Where.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// What the loader answered.
        status: u8,
    },
    /// The flash itself does not answer the loader.
    #[error("the board's flash does not answer")]
    NoFlash,
    /// The flash says that it is something that has no known size.
    #[error("the board's flash has an id without a known size: {id:#08x}")]
    UnknownFlash {
        /// Its JEDEC id, manufacturer first.
        id: u32,
    },
    /// Reading back twice gives two answers.
    #[error("what was written at {offset:#x} cannot be verified")]
    VerifyFailed {
        /// Where.
        offset: u32,
    },
    /// A sector holds something else after it was written twice.
    #[error("the flash at {offset:#x} does not take what is written")]
    BadFlash {
        /// First byte of the sector.
        offset: u32,
    },
    /// The loader refuses a command.
    #[error("the board refuses {command} (error {status:#04x})")]
    Refused {
        /// The command.
        command: &'static str,
        /// What the loader answered.
        status: u8,
    },
    /// The range is not whole sectors.
    #[error("{len} bytes at {offset:#x} are not whole sectors")]
    Unaligned {
        /// Where.
        offset: u32,
        /// How many bytes.
        len: u32,
    },
    /// The range is not all in the flash.
    #[error("{len} bytes at {offset:#x} are not all in a flash of {size} bytes")]
    OutOfRange {
        /// Where.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Bytes of flash.
        size: u32,
    },
    /// Two things are to be written at one place.
    #[error("two segments have the sector at {offset:#x}")]
    Overlap {
        /// The first sector of both.
        offset: u32,
    },
    /// The port has no control lines, and nothing on the board listens.
    #[error("{path} has no lines that reset the board")]
    NoReset {
        /// Name of the port.
        path: String,
    },
    /// The file is no backup, or not what it was.
    #[error("{path} is no intact backup: {why}")]
    BadBackup {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The symbols of a program cannot be read.
    #[error("{path} is no ELF with symbols: {why}")]
    BadElf {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing on the board speaks Improv Serial.
    #[error("nothing on the board answers Improv Serial")]
    NoImprov,
    /// The board could not join the network.
    #[error("the board could not join the network")]
    WifiRefused,
    /// Name or password are no credentials: empty, or too long.
    #[error("a network name has 1 to 32 bytes, a password at most 64")]
    BadCredentials,
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// It was cancelled while something long was being written.
    #[error("it was cancelled: what is in the flash from {offset:#x} to {:#x} is incomplete", .offset + .len)]
    Interrupted {
        /// First byte of what is incomplete.
        offset: u32,
        /// How many bytes.
        len: u32,
    },
    /// A file or a port cannot be read or written.
    #[error("{path}: {why}")]
    Io {
        /// The file or the port.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A fault here.
    #[error("a fault in the code that talks to the board: {what}")]
    Internal {
        /// What is known of it.
        what: String,
    },
}

impl Error {
    /// Its stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoSuchPort { .. } => ErrorCode::NoSuchPort,
            Self::PortBusy { .. } => ErrorCode::PortBusy,
            Self::PortDenied { .. } => ErrorCode::PortDenied,
            Self::NoAnswer { .. } => ErrorCode::NoAnswer,
            Self::LinkLost { .. } | Self::HungUp { .. } | Self::Refused { .. } => {
                ErrorCode::LinkLost
            }
            Self::Unplugged { .. } => ErrorCode::Unplugged,
            Self::WrongBoard { .. } => ErrorCode::WrongBoard,
            Self::Secured { .. } => ErrorCode::Secured,
            Self::FlashUnreadable { .. } | Self::NoFlash | Self::UnknownFlash { .. } => {
                ErrorCode::FlashUnreadable
            }
            Self::VerifyFailed { .. } => ErrorCode::VerifyFailed,
            Self::BadFlash { .. } => ErrorCode::BadFlash,
            Self::OutOfRange { .. } => ErrorCode::TooBig,
            Self::NoReset { .. } => ErrorCode::NoReset,
            Self::BadBackup { .. } => ErrorCode::BadBackup,
            Self::NoImprov => ErrorCode::NoImprov,
            Self::WifiRefused => ErrorCode::WifiRefused,
            Self::BadCredentials | Self::Unaligned { .. } | Self::Overlap { .. } => {
                ErrorCode::Usage
            }
            Self::Cancelled | Self::Interrupted { .. } => ErrorCode::Cancelled,
            Self::BadElf { .. } => ErrorCode::BadImage,
            Self::Io { .. } => ErrorCode::Io,
            Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// Whether the port does not work any more and has to be opened again.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Unplugged { .. } | Self::HungUp { .. })
    }

    pub(crate) fn lost(what: impl Into<String>) -> Self {
        Self::LinkLost { what: what.into() }
    }

    pub(crate) fn io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().display().to_string(),
            why: error.to_string(),
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::OutOfRange { offset, len, size } => Self::OutOfRange { offset, len, size },
            other => Self::Link(Box::new(other)),
        }
    }
}

impl From<ReadError> for Error {
    /// An error of ours that went through [`ReadError`] is what it was.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { offset, len, size } => Self::OutOfRange { offset, len, size },
            ReadError::Link(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::lost(other.to_string()),
            },
            other => Self::lost(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_being_one_of_reading() {
        let errors = [
            Error::Unplugged { path: "a".into() },
            Error::OutOfRange {
                offset: 1,
                len: 2,
                size: 2,
            },
        ];
        for error in errors {
            assert_eq!(Error::from(ReadError::from(error.clone())), error);
        }
    }

    #[test]
    fn a_busy_port_names_who_has_it() {
        let holder = Some("minicom".to_string());
        let path = "/dev/ttyUSB0".to_string();
        let busy = Error::PortBusy { path, holder };
        assert_eq!(busy.to_string(), "/dev/ttyUSB0 is in use by minicom");
    }
}
