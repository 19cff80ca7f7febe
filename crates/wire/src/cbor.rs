//! Deterministic CBOR (RFC 8949 section 4.2): just what the manifest and the envelope need.
//!
//! General CBOR libraries accept what a signed format must refuse (longer-than-needed lengths,
//! indefinite items, unsorted or repeated keys, trailing bytes), so this reader is our own.

use crate::limits::MAX_CBOR_DEPTH;

/// Why bytes are not the CBOR that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CborError {
    /// The bytes end inside an item.
    Truncated,
    /// A length or number is not in its shortest form, or an item is of indefinite length.
    NotDeterministic,
    /// Another type of item stands there.
    UnexpectedType,
    /// Map keys are not in ascending order, or repeat.
    KeyOrder,
    /// Text is not UTF-8.
    NotUtf8,
    /// A skipped item nests too deeply.
    TooDeep,
    /// Bytes follow the item.
    TrailingBytes,
    /// The output buffer is too small.
    NoRoom,
}

pub const UINT: u8 = 0;
pub const NEGATIVE: u8 = 1;
pub const BYTES: u8 = 2;
pub const TEXT: u8 = 3;
pub const ARRAY: u8 = 4;
pub const MAP: u8 = 5;
pub const TAG: u8 = 6;
pub const SIMPLE: u8 = 7;
/// The encoding of `null`.
pub const NULL: u8 = 0xF6;

/// Reads items from the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], CborError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(CborError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// The first byte of the next item, not consumed.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Major type and argument, the argument in its shortest form.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = *self.take(1)?.first().ok_or(CborError::Truncated)?;
        let (major, info) = (first >> 5, first & 31);
        let extra = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24..=27 => 1usize << (info - 24),
            _ => return Err(CborError::NotDeterministic),
        };
        let value = self
            .take(extra)?
            .iter()
            .fold(0u64, |v, b| v << 8 | u64::from(*b));
        let least = match extra {
            1 => 24,
            2 => 1 << 8,
            4 => 1 << 16,
            _ => 1 << 32,
        };
        // Floats and simple values carry bits, not a number that could be shorter.
        if major != SIMPLE && value < least {
            return Err(CborError::NotDeterministic);
        }
        Ok((major, value))
    }

    fn expect(&mut self, major: u8) -> Result<u64, CborError> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(CborError::UnexpectedType),
        }
    }

    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(UINT)
    }

    /// A negative integer, as its CBOR argument: the value is `-1 - n`.
    pub fn negative(&mut self) -> Result<u64, CborError> {
        self.expect(NEGATIVE)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let len = self.expect(BYTES)?;
        self.take(usize::try_from(len).map_err(|_| CborError::Truncated)?)
    }

    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let len = self.expect(TEXT)?;
        let bytes = self.take(usize::try_from(len).map_err(|_| CborError::Truncated)?)?;
        core::str::from_utf8(bytes).map_err(|_| CborError::NotUtf8)
    }

    pub fn array(&mut self) -> Result<u64, CborError> {
        self.expect(ARRAY)
    }

    pub fn map(&mut self) -> Result<u64, CborError> {
        self.expect(MAP)
    }

    pub fn tag(&mut self) -> Result<u64, CborError> {
        self.expect(TAG)
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), CborError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(CborError::TrailingBytes)
        }
    }

    /// Skips one well-formed, deterministic item.
    pub fn skip(&mut self) -> Result<(), CborError> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), CborError> {
        if depth > MAX_CBOR_DEPTH {
            return Err(CborError::TooDeep);
        }
        let (major, value) = self.head()?;
        match major {
            UINT | NEGATIVE | SIMPLE => {}
            BYTES | TEXT => {
                let len = usize::try_from(value).map_err(|_| CborError::Truncated)?;
                let bytes = self.take(len)?;
                if major == TEXT && core::str::from_utf8(bytes).is_err() {
                    return Err(CborError::NotUtf8);
                }
            }
            ARRAY => {
                // Each item takes a byte at least, so a lying count ends in `Truncated`.
                for _ in 0..value {
                    self.skip_nested(depth + 1)?;
                }
            }
            MAP => {
                let mut previous: Option<&[u8]> = None;
                for _ in 0..value {
                    let start = self.rest;
                    self.skip_nested(depth + 1)?;
                    let key = &start[..start.len() - self.rest.len()];
                    if previous.is_some_and(|p| p >= key) {
                        return Err(CborError::KeyOrder);
                    }
                    previous = Some(key);
                    self.skip_nested(depth + 1)?;
                }
            }
            _ => self.skip_nested(depth + 1)?,
        }
        Ok(())
    }
}

/// Checks that unsigned map keys come in ascending order.
#[derive(Default)]
pub struct KeyOrder {
    previous: Option<u64>,
}

impl KeyOrder {
    pub fn check(&mut self, key: u64) -> Result<(), CborError> {
        if self.previous.is_some_and(|p| p >= key) {
            return Err(CborError::KeyOrder);
        }
        self.previous = Some(key);
        Ok(())
    }
}

/// Writes items into a byte slice.
pub struct Writer<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    pub fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CborError> {
        let end = self.len.checked_add(bytes.len()).ok_or(CborError::NoRoom)?;
        self.out
            .get_mut(self.len..end)
            .ok_or(CborError::NoRoom)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation)] // each arm's range fits its type
    pub fn head(&mut self, major: u8, value: u64) -> Result<(), CborError> {
        let top = major << 5;
        match value {
            0..=23 => self.raw(&[top | value as u8]),
            24..=0xFF => self.raw(&[top | 24, value as u8]),
            0x100..=0xFFFF => {
                self.raw(&[top | 25])?;
                self.raw(&(value as u16).to_be_bytes())
            }
            0x1_0000..=0xFFFF_FFFF => {
                self.raw(&[top | 26])?;
                self.raw(&(value as u32).to_be_bytes())
            }
            _ => {
                self.raw(&[top | 27])?;
                self.raw(&value.to_be_bytes())
            }
        }
    }

    pub fn uint(&mut self, value: u64) -> Result<(), CborError> {
        self.head(UINT, value)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CborError> {
        self.head(BYTES, bytes.len() as u64)?;
        self.raw(bytes)
    }

    pub fn text(&mut self, text: &str) -> Result<(), CborError> {
        self.head(TEXT, text.len() as u64)?;
        self.raw(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_longer_than_needed_are_refused() {
        for bytes in [&[0x18, 23][..], &[0x19, 0, 255], &[0x1A, 0, 0, 255, 255]] {
            assert_eq!(
                Reader::new(bytes).uint(),
                Err(CborError::NotDeterministic),
                "{bytes:?}"
            );
        }
        assert_eq!(Reader::new(&[0x18, 24]).uint(), Ok(24));
    }

    #[test]
    fn indefinite_lengths_are_refused() {
        assert_eq!(
            Reader::new(&[0x9F, 0xFF]).array(),
            Err(CborError::NotDeterministic)
        );
        assert_eq!(
            Reader::new(&[0x5F, 0xFF]).skip(),
            Err(CborError::NotDeterministic)
        );
    }

    #[test]
    fn a_skipped_map_must_be_sorted_and_without_repeats() {
        assert_eq!(
            Reader::new(&[0xA2, 1, 0, 0, 0]).skip(),
            Err(CborError::KeyOrder)
        );
        assert_eq!(
            Reader::new(&[0xA2, 1, 0, 1, 0]).skip(),
            Err(CborError::KeyOrder)
        );
        assert_eq!(Reader::new(&[0xA2, 1, 0, 2, 0]).skip(), Ok(()));
    }

    #[test]
    fn deep_nesting_ends_before_the_stack_does() {
        assert_eq!(Reader::new(&[0x81; 4000]).skip(), Err(CborError::TooDeep));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value: u64) {
            let mut buf = [0; 9];
            let mut w = Writer::new(&mut buf);
            w.uint(value).unwrap();
            let len = w.len();
            let mut r = Reader::new(&buf[..len]);
            prop_assert_eq!(r.uint(), Ok(value));
            prop_assert_eq!(r.end(), Ok(()));
        }

        #[test]
        fn skipping_any_bytes_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::new(&bytes).skip();
        }
    }
}
