//! What a command ends with when it does not do what it was asked.

use airlift_wire::ErrorCode;
use std::fmt;
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
        if json {
            eprintln!("{}", self.object(None));
        } else {
            eprintln!("error: {self}");
        }
    }

    /// It as one JSON object, of one board among several.
    pub fn object(&self, port: Option<&str>) -> serde_json::Value {
        let (code, message, help) = (self.code.as_str(), &self.message, &self.help);
        let mut line = serde_json::json!({
            "schema": 1, "event": "error", "code": code, "message": message, "help": help,
        });
        if let Some(port) = port {
            line["port"] = port.into();
        }
        line
    }
}

/// What is wrong and its code; what to do on a line of its own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]\n  {}", self.message, self.code, self.help)
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
