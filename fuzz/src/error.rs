//! What `line.rs` needs of its own crate's error.

use airlift_wire::ErrorCode;

/// A code and a sentence.
#[derive(Debug)]
pub struct Error {
    code: ErrorCode,
    message: String,
}

impl Error {
    /// An error with this code.
    pub fn refused(code: ErrorCode, message: String) -> Self {
        Self { code, message }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}
