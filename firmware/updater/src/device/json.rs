//! JSON out; a device never reads any.

use airlift_wire::Digest;
use core::fmt::{self, Write};

/// Writes JSON values to any text sink.
pub(super) struct Json<'w, W>(pub &'w mut W);

impl<W: Write> Json<'_, W> {
    pub fn raw(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)
    }

    pub fn format(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        self.0.write_fmt(args)
    }

    /// A string, escaped (RFC 8259 section 7).
    pub fn string(&mut self, text: &str) -> fmt::Result {
        self.0.write_char('"')?;
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.0.write_char('\\')?;
                    self.0.write_char(c)?;
                }
                c if u32::from(c) < 0x20 => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.write_char(c)?,
            }
        }
        self.0.write_char('"')
    }

    pub fn number(&mut self, number: Option<u32>) -> fmt::Result {
        match number {
            Some(number) => write!(self.0, "{number}"),
            None => self.0.write_str("null"),
        }
    }

    pub fn digest(&mut self, digest: Option<Digest>) -> fmt::Result {
        match digest {
            Some(digest) => write!(self.0, "\"{digest}\""),
            None => self.0.write_str("null"),
        }
    }
}

/// Text in a fixed buffer; what does not fit is an error.
pub(super) struct Fixed<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Fixed<N> {
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> Write for Fixed<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        let mut out = Fixed::<64>::new();
        Json(&mut out).string("a\"b\\c\nd\u{1}é").unwrap();
        assert_eq!(out.bytes(), "\"a\\\"b\\\\c\\u000ad\\u0001é\"".as_bytes());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Fixed::<3>::new().write_str("four").is_err());
    }
}
