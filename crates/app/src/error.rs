//! What can go wrong in a use case, as one list.

use std::io;
use std::path::{Path, PathBuf};

use airlift_wire::ErrorCode;

use crate::dto::ErrorInfo;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A release, a key or an input for one is refused.
    #[error(transparent)]
    Release(#[from] airlift_release::Error),
    /// A device cannot be found, reached or understood.
    #[error(transparent)]
    Discover(#[from] airlift_discover::Error),
    /// No image can be made of an ELF file.
    #[error(transparent)]
    Elf(#[from] crate::elf::ElfError),
    /// Python cannot be compiled.
    #[error(transparent)]
    Mpy(#[from] crate::mpy::MpyError),
    /// The chunk server does not run.
    #[error(transparent)]
    Serve(#[from] airlift_serve::Error),
    /// Flash cannot be made, or not be looked at.
    #[error(transparent)]
    Flash(#[from] airlift_flash::Error),
    /// A board on a serial port does not do what it was asked.
    #[error(transparent)]
    Usb(#[from] airlift_usb::Error),
    /// A file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The database cannot be read or written. It is left as it is.
    #[error("the database {} cannot be used: {source}", .path.display())]
    Database {
        /// Its file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database is damaged and another process has it open. It is left as it is.
    #[error("the database {} is damaged and another Airlift is using it: {source}", .path.display())]
    DamagedInUse {
        /// Its file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The database was written by a newer version and is left as it is.
    #[error("the database {} has version {found}, and this Airlift knows {known}", .path.display())]
    NewerDatabase {
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// No release of that id in the library.
    #[error("there is no release {0} in the library")]
    NoSuchRelease(String),
    /// No device of that id is known.
    #[error("no device {0} is known")]
    NoSuchDevice(String),
    /// No job of that number, or it has ended.
    #[error("there is no running job {0}")]
    NoSuchJob(u32),
    /// No key of that id or name.
    #[error("there is no key {0} on this computer")]
    NoSuchKey(String),
    /// A release or device cannot be taken for a reason with its own code.
    #[error("{message}")]
    Refused {
        /// The reason.
        code: ErrorCode,
        /// One sentence.
        message: String,
    },
    /// What was asked for makes no sense as it is.
    #[error("{0}")]
    Usage(String),
    /// A fault in this program.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        use airlift_discover::Error as Discover;
        match self {
            Self::Release(error) => error.code(),
            Self::Elf(error) => error.code(),
            Self::Mpy(error) => error.code(),
            Self::Flash(error) => error.code(),
            Self::Usb(error) => error.code(),
            Self::Discover(Discover::BadAddress { .. } | Discover::Full { .. }) => ErrorCode::Usage,
            Self::Discover(Discover::Stopped) => ErrorCode::Internal,
            Self::Discover(_) | Self::NoSuchDevice(_) => ErrorCode::NoSuchDevice,
            Self::Serve(_) => ErrorCode::CannotListen,
            Self::Io { .. } => ErrorCode::Io,
            Self::Database { .. } | Self::DamagedInUse { .. } | Self::NewerDatabase { .. } => {
                ErrorCode::Database
            }
            Self::NoSuchRelease(_) => ErrorCode::NoSuchRelease,
            Self::NoSuchJob(_) => ErrorCode::NoSuchJob,
            Self::NoSuchKey(_) => ErrorCode::BadKey,
            Self::Refused { code, .. } => *code,
            Self::Usage(_) => ErrorCode::Usage,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// What a person can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Release(error) => error.help(),
            Self::Elf(error) => error.help(),
            Self::Flash(error) => error.help(),
            Self::Io { source, .. } => disk_help(source.kind()).unwrap_or(self.code().help()),
            Self::Database { source, .. } => {
                let kind = match source.sqlite_error_code() {
                    Some(rusqlite::ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
                    Some(rusqlite::ErrorCode::ReadOnly) => io::ErrorKind::ReadOnlyFilesystem,
                    Some(rusqlite::ErrorCode::PermissionDenied) => io::ErrorKind::PermissionDenied,
                    _ => io::ErrorKind::Other,
                };
                disk_help(kind).unwrap_or(self.code().help())
            }
            Self::DamagedInUse { .. } => {
                "Close every window and command of Airlift and start one: it saves what can be read."
            }
            Self::NewerDatabase { .. } => {
                "Start the newer Airlift, or choose another AIRLIFT_HOME."
            }
            Self::NoSuchKey(_) => "Look at airlift key list.",
            _ => self.code().help(),
        }
    }

    /// Whether a row of the database holds what this version cannot read.
    pub(crate) fn is_unreadable_row(&self) -> bool {
        let source = match self {
            Self::Database { source, .. } => source,
            _ => return false,
        };
        matches!(source, rusqlite::Error::FromSqlConversionFailure(..))
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// What the window shows of an error of the release crate.
    pub(crate) fn from_release(error: &airlift_release::Error) -> Self {
        Self::Refused {
            code: error.code(),
            message: error.to_string(),
        }
    }

    pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused {
            code,
            message: message.into(),
        }
    }
}

/// What to do about a disk that takes nothing.
fn disk_help(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free some space on that disk and try again; nothing that was kept is lost."
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "Make that disk writable, or choose another folder with AIRLIFT_HOME."
        }
        io::ErrorKind::PermissionDenied => {
            "Give yourself the right to write there, or choose another folder with AIRLIFT_HOME."
        }
        _ => return None,
    })
}

impl From<airlift_flash::ReadError> for Error {
    /// An error of ours or of the port that went through reading flash is what it was.
    fn from(error: airlift_flash::ReadError) -> Self {
        use airlift_flash::ReadError;
        match error {
            ReadError::Link(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::Usb(ReadError::Link(other).into()),
            },
            other => Self::Usb(other.into()),
        }
    }
}

impl From<&Error> for ErrorInfo {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().as_str().to_owned(),
            message: sentence(&error.to_string()),
            help: error.help().to_owned(),
        }
    }
}

/// An error of a code, with the code's own help.
pub(crate) fn info(code: ErrorCode, message: impl AsRef<str>) -> ErrorInfo {
    ErrorInfo {
        code: code.as_str().to_owned(),
        message: sentence(message.as_ref()),
        help: code.help().to_owned(),
    }
}

/// An error as a device names it: the code may be one that is not known here, and the text may
/// hold anything.
pub(crate) fn info_named(code: &str, message: &str) -> ErrorInfo {
    let message = &printable(message);
    match ErrorCode::parse(code) {
        Some(code) => info(code, message),
        None => ErrorInfo {
            code: code
                .chars()
                .filter(|c| is_printable_name(*c))
                .take(64)
                .collect(),
            message: sentence(message),
            help: "Update Airlift; the device names a reason that this version does not know."
                .into(),
        },
    }
}

/// Text from the network, safe for a terminal and a line of a window: no control characters, none
/// that change the direction of text, not endless.
pub(crate) fn printable(text: &str) -> String {
    const MOST: usize = 300;
    let shown = |c: char| {
        let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().take(MOST).map(shown).collect()
}

/// Whether a character may be in the name of a file that is made here.
pub(crate) fn is_printable_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// A message as a sentence: a capital letter first and a full stop at the end.
fn sentence(message: &str) -> String {
    let mut chars = message.trim().chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    // A path or a device id at the start keeps its letters.
    let word = message.split_whitespace().next().unwrap_or_default();
    let plain = word.chars().all(|c| c.is_ascii_alphabetic());
    let mut text: String = if plain {
        first.to_uppercase().chain(chars).collect()
    } else {
        message.trim().to_owned()
    };
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_at_the_boundary_is_a_sentence_with_a_code_and_help() {
        let error = Error::NoSuchRelease("ab12".into());
        let info = ErrorInfo::from(&error);
        assert_eq!(info.code, "no_such_release");
        assert_eq!(info.message, "There is no release ab12 in the library.");
        assert!(!info.help.is_empty());
    }

    #[test]
    fn a_path_at_the_start_keeps_its_letters() {
        let error = Error::io(
            Path::new("keys/a.pem"),
            io::Error::from(io::ErrorKind::NotFound),
        );
        assert!(ErrorInfo::from(&error).message.starts_with("keys/a.pem: "));
    }

    #[test]
    fn what_a_device_says_cannot_take_over_a_terminal() {
        let info = info_named("\x1b]0;owned\x07", "\x1b[2Jgone\u{202e}txt");
        assert_eq!(info.code, "0owned");
        assert!(
            !info.message.contains(['\x1b', '\u{202e}']),
            "{:?}",
            info.message
        );
        assert!(info_named("busy", &"x".repeat(9_999)).message.len() <= 301);
    }

    #[test]
    fn a_code_from_a_newer_device_is_passed_on() {
        let info = info_named("gremlins", "gremlins in the flash");
        assert_eq!(
            (info.code.as_str(), info.message.as_str()),
            ("gremlins", "Gremlins in the flash.")
        );
        assert!(info.help.contains("Update Airlift"));
    }
}
