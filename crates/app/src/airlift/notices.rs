//! What was found damaged when the folder was opened, in a sentence each.

use std::path::Path;

use airlift_wire::ErrorCode;

use crate::Error;
use crate::dto::ErrorInfo;
use crate::error::info;

/// The settings cannot be read.
pub(super) fn settings() -> ErrorInfo {
    let mut info = info(
        ErrorCode::Database,
        "the settings cannot be read, so they are the usual ones",
    );
    info.help = "Look through Settings and change what should be different.".to_owned();
    info
}

/// A release or key file is left out.
pub(super) fn file(path: &Path, error: &Error) -> ErrorInfo {
    let mut info = info(
        error.code(),
        format!("{} is left out: {error}", path.display()),
    );
    info.help = match error.code() {
        ErrorCode::Io => error.help().to_owned(),
        ErrorCode::BadKey => "Put a backup of the key in its place, or delete the file.".to_owned(),
        _ => "Add the release again from where you have it, or delete the file.".to_owned(),
    };
    info
}
