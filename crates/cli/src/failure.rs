//! What a command ends with when it does not do what it was asked.

use airlift_wire::ErrorCode;
use std::path::Path;

/// One sentence, a stable code, what to do.
#[derive(Debug)]
pub struct Failure {
    code: ErrorCode,
    message: String,
    help: String,
}

impl Failure {
    /// A failure with the help of its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            help: code.help().to_owned(),
        }
    }

    /// A wrong use of the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Usage, message)
    }

    /// A file that cannot be read or written.
    pub fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::new(ErrorCode::Io, format!("{}: {error}", path.display()))
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Prints it to standard error, for people or as one JSON object.
    pub fn print(&self, json: bool) {
        let Self {
            code,
            message,
            help,
        } = self;
        if json {
            let line = serde_json::json!({
                "schema": 1, "event": "error", "code": code.as_str(), "message": message, "help": help,
            });
            eprintln!("{line}");
        } else {
            eprintln!("error: {message} [{code}]");
            eprintln!("  {help}");
        }
    }
}

impl From<airlift_release::Error> for Failure {
    fn from(error: airlift_release::Error) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
            help: error.help().to_owned(),
        }
    }
}

impl From<airlift_app::Error> for Failure {
    fn from(error: airlift_app::Error) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
            help: error.help().to_owned(),
        }
    }
}

impl From<airlift_serve::Error> for Failure {
    fn from(error: airlift_serve::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<airlift_virtual_device::Error> for Failure {
    fn from(error: airlift_virtual_device::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
