//! The `Range` header field of RFC 9110 section 14, for one byte range.

use std::ops::Range;

/// What a `Range` field asks of a representation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The field is malformed, or asks for several ranges: it is ignored, as section 14.2 allows.
    Whole,
    /// One range that holds at least one byte.
    Part(Range<usize>),
    /// A well-formed range that holds no byte of this representation: 416.
    Nothing,
}

/// Resolves `field` against a representation of `len` bytes.
pub(crate) fn resolve(field: &[u8], len: usize) -> Wanted {
    let Some((first, last)) = parse(field) else {
        return Wanted::Whole;
    };
    match (first, last) {
        // Nothing can be said with `Content-Range` about an empty representation.
        _ if len == 0 => Wanted::Whole,
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), _) if first >= len => Wanted::Nothing,
        (Some(first), None) => Wanted::Part(first..len),
        (Some(first), Some(last)) => Wanted::Part(first..last.min(len - 1) + 1),
        (None, Some(0)) => Wanted::Nothing,
        (None, Some(suffix)) => Wanted::Part(len.saturating_sub(suffix)..len),
        (None, None) => Wanted::Whole,
    }
}

/// Splits `bytes=FIRST-LAST` into its two numbers, either of which may be absent.
fn parse(field: &[u8]) -> Option<(Option<usize>, Option<usize>)> {
    let (unit, set) = field.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let set = set.trim_ascii();
    let dash = set.iter().position(|&byte| byte == b'-')?;
    Some((number(&set[..dash])?, number(&set[dash + 1..])?))
}

/// Reads decimal digits: `Some(None)` when there are none, `None` when there is anything else.
///
/// A number too large to hold means "beyond any representation", which saturating says as well.
fn number(digits: &[u8]) -> Option<Option<usize>> {
    if digits.is_empty() {
        return Some(None);
    }
    let mut value = 0_usize;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'));
    }
    Some(Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_resolve_as_the_rfc_says() {
        let table: &[(&str, usize, Wanted)] = &[
            ("bytes=0-0", 10, Wanted::Part(0..1)),
            ("bytes=0-9", 10, Wanted::Part(0..10)),
            ("bytes=3-", 10, Wanted::Part(3..10)),
            ("bytes=9-", 10, Wanted::Part(9..10)),
            ("bytes=-4", 10, Wanted::Part(6..10)),
            ("bytes=-11", 10, Wanted::Part(0..10)),
            ("bytes=5-99", 10, Wanted::Part(5..10)),
            ("Bytes=5-6", 10, Wanted::Part(5..7)),
            ("bytes= 5-6 ", 10, Wanted::Part(5..7)),
            (
                "bytes=0-99999999999999999999999999",
                10,
                Wanted::Part(0..10),
            ),
            ("bytes=-99999999999999999999999999", 10, Wanted::Part(0..10)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=10-12", 10, Wanted::Nothing),
            ("bytes=99999999999999999999999999-", 10, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=6-5", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=", 10, Wanted::Whole),
            ("bytes=a-b", 10, Wanted::Whole),
            ("bytes=1-2-3", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes=0x1-2", 10, Wanted::Whole),
            ("bytes=0-1,4-5", 10, Wanted::Whole),
            ("bytes 0-1", 10, Wanted::Whole),
            ("chunks=0-1", 10, Wanted::Whole),
            ("", 10, Wanted::Whole),
            ("bytes=0-", 0, Wanted::Whole),
            ("bytes=-1", 0, Wanted::Whole),
        ];
        for (field, len, wanted) in table {
            assert_eq!(
                resolve(field.as_bytes(), *len),
                *wanted,
                "{field:?} of {len}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_resolved_range_is_inside_and_never_empty(field in "bytes=[0-9]{0,5}-[0-9]{0,5}", len in 0_usize..70_000) {
            if let Wanted::Part(range) = resolve(field.as_bytes(), len) {
                prop_assert!(range.start < range.end && range.end <= len);
            }
        }

        #[test]
        fn any_bytes_at_all_resolve(field in proptest::collection::vec(any::<u8>(), 0..40), len in any::<usize>()) {
            let _ = resolve(&field, len);
        }
    }
}
