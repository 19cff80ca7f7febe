//! MicroPython's own version string in an image.
//!
//! Every port greets with `MicroPython VERSION on YYYY-MM-DD` (its `MICROPY_BANNER_NAME_AND_VERSION`,
//! also the end of `sys.version`). VERSION is what `git describe` said, or a hash.

use airlift_wire::limits::MAX_PART_SIZE;

/// Where the string starts.
const NAME: &[u8] = b"MicroPython ";
/// Between version and date.
const ON: &[u8] = b" on ";
/// A digit for each `0`.
const DATE: &[u8] = b"0000-00-00";
/// Longest version that is taken, in bytes.
const MAX_VERSION: usize = 64;

/// The version in the first string of that form. Looks at each byte of an image once, and no further
/// than the largest part.
pub(super) fn version(image: &[u8]) -> Option<&str> {
    let image = &image[..image.len().min(MAX_PART_SIZE as usize)];
    let mut rest = image;
    loop {
        let at = rest.iter().position(|b| *b == NAME[0])?;
        rest = &rest[at..];
        if let Some(found) = rest.strip_prefix(NAME).and_then(version_and_date) {
            return Some(found);
        }
        rest = &rest[1..];
    }
}

fn version_and_date(text: &[u8]) -> Option<&str> {
    let len = text
        .iter()
        .take(MAX_VERSION + 1)
        .position(|b| !(b.is_ascii_alphanumeric() || b".-+_".contains(b)))?;
    let (version, rest) = text.split_at(len);
    let date = rest.strip_prefix(ON)?.get(..DATE.len())?;
    let is_date = date.iter().zip(DATE).all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        other => found == other,
    });
    let version = str::from_utf8(version).ok()?;
    (is_date && !version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_stands_between_name_and_date() {
        for (text, found) in [
            ("MicroPython v1.28.0 on 2026-04-01; ", Some("v1.28.0")),
            (
                "3.4.0; MicroPython v1.29.0-preview.12.g0a1b2c3-dirty on 2026-08-29",
                Some("v1.29.0-preview.12.g0a1b2c3-dirty"),
            ),
            (
                "MMicroPython MicroPython 9458e3a23f on 2026-07-05\0",
                Some("9458e3a23f"),
            ),
            ("Welcome to MicroPython!\0MicroPython ", None),
            ("MicroPython  on 2026-07-05", None),
            ("MicroPython is on 20260705..", None),
            ("MicroPython v1 on 2026-07-0", None),
            ("MicroPython v1\u{1B}[2J on 2026-07-05", None),
            ("micropython v1 on 2026-07-05", None),
        ] {
            assert_eq!(version(text.as_bytes()), found, "{text}");
        }
    }

    #[test]
    fn a_version_that_does_not_end_is_none() {
        for (len, is_version) in [(MAX_VERSION, true), (MAX_VERSION + 1, false)] {
            let text = format!("MicroPython {} on 2026-07-05", "1".repeat(len));
            assert_eq!(version(text.as_bytes()).is_some(), is_version);
        }
    }
}
