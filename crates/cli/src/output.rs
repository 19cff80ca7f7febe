//! What commands print, for people or as JSON.

use serde::Serialize;
use std::io::Write as _;

use crate::failure::Failure;
use airlift_wire::ErrorCode;

/// Prints one JSON object on a line of its own.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    line(&text)
}

/// Prints a line. A reader that has gone away (`airlift … | head`) ends the command quietly.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(ErrorCode::Io, error.to_string())),
    }
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(192_464), "188.0 KiB");
        assert_eq!(size(16 * 1024 * 1024), "16.0 MiB");
    }
}
