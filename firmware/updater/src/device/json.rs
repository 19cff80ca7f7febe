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

/// What a text was: two are equal when they have the same length and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub len: usize,
    /// FNV-1a. Against chance, not against anybody: the device wrote both texts.
    hash: u32,
}

/// A text of any length, of which only the bytes from `start` on that fit are kept.
pub(super) struct Window<'b> {
    bytes: &'b mut [u8],
    start: usize,
    pub measure: Measure,
}

impl<'b> Window<'b> {
    pub fn new(bytes: &'b mut [u8], start: usize) -> Self {
        let measure = Measure {
            len: 0,
            hash: 0x811C_9DC5,
        };
        Self {
            bytes,
            start,
            measure,
        }
    }
}

impl Write for Window<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Measure { len, hash } = &mut self.measure;
        for byte in text.bytes() {
            *hash = (*hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            let kept = len.checked_sub(self.start);
            if let Some(place) = kept.and_then(|n| self.bytes.get_mut(n)) {
                *place = byte;
            }
            *len += 1;
        }
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
    fn windows_put_together_are_the_text() {
        let text = "a text that no window holds: é";
        let mut whole = std::vec::Vec::new();
        let mut measures = std::vec::Vec::new();
        for start in (0..text.len()).step_by(7) {
            let mut bytes = [0; 7];
            let mut window = Window::new(&mut bytes, start);
            window.write_str(text).unwrap();
            measures.push(window.measure);
            whole.extend_from_slice(&bytes[..(text.len() - start).min(7)]);
        }
        assert_eq!(whole, text.as_bytes());
        assert!(
            measures
                .iter()
                .all(|m| *m == measures[0] && m.len == text.len())
        );
    }

    #[test]
    fn a_text_of_the_same_length_has_another_measure() {
        let measure = |text: &str| {
            let mut window = Window::new(&mut [], 0);
            window.write_str(text).unwrap();
            window.measure
        };
        assert_ne!(measure("kitchen"), measure("kitschn"));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Fixed::<3>::new().write_str("four").is_err());
    }
}
