//! Field values put together without `core::fmt` and on the stack: each answer has several.

use airlift_wire::Digest;
use axum::http::HeaderValue;

/// Three 64-bit numbers with the words of a `Content-Range` between them are 68 bytes.
const CAPACITY: usize = 72;

/// A short field value, put together piece by piece. What does not fit is cut off.
pub(crate) struct Text {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Text {
    pub(crate) fn new() -> Self {
        Self {
            bytes: [0; CAPACITY],
            len: 0,
        }
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let rest = &mut self.bytes[self.len..];
        let len = bytes.len().min(rest.len());
        rest[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
        self
    }

    pub(crate) fn words(self, words: &str) -> Self {
        self.bytes(words.as_bytes())
    }

    pub(crate) fn number(self, number: usize) -> Self {
        self.bytes(itoa::Buffer::new().format(number).as_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As a field value; empty if it is none, which no caller's text is.
    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The strong entity tag of what `digest` names: its hex in double quotes (RFC 9110 section 8.8.3).
pub(crate) fn entity_tag(digest: &Digest) -> [u8; 66] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut tag = [b'"'; 66];
    for (pair, byte) in tag[1..65].chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_content_range_fits() {
        let most = u64::MAX as usize;
        let text = Text::new()
            .words("bytes ")
            .number(most)
            .words("-")
            .number(most)
            .words("/");
        assert_eq!(
            text.number(most).as_bytes(),
            format!("bytes {most}-{most}/{most}").as_bytes()
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let text = Text::new().words(&"x".repeat(CAPACITY + 1)).number(7);
        assert_eq!(text.as_bytes(), "x".repeat(CAPACITY).as_bytes());
    }

    #[test]
    fn an_entity_tag_is_the_digest_in_quotes() {
        let digest = Digest::of(b"abc");
        assert_eq!(entity_tag(&digest), *format!("\"{digest}\"").as_bytes());
    }
}
