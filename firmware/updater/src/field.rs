//! Header fields of HTTP/1.1 (RFC 9112 section 5), of requests and of answers.

/// Splits a field line into name and value, the spaces around the value taken off.
///
/// `None` for a name that is no token and for a value with a control character: a space before the
/// colon, a folded line, a lone line end. Another reader could take such a line for another field.
pub(crate) fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    (is_token(name) && is_text(value)).then(|| (name, value.trim_matches([' ', '\t'])))
}

/// Whether it is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let mark = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

/// Whether it has no control character but tabs.
pub(crate) fn is_text(text: &str) -> bool {
    text.bytes().all(|b| b == b'\t' || !b.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_name_and_a_value_without_the_spaces_around_it() {
        assert_eq!(field("Host: \td \t"), Some(("Host", "d")));
        assert_eq!(field("x-a_b!:"), Some(("x-a_b!", "")));
        assert_eq!(field("a:b:c"), Some(("a", "b:c")));
    }

    #[test]
    fn lines_that_others_read_in_another_way_are_no_fields() {
        for line in [
            "Content-Length : 1",
            " Content-Length: 1",
            ": 1",
            "no colon",
            "a: b\nContent-Length: 1",
            "a: b\rc",
            "a: \u{0}",
            "a: \u{7f}",
            "é: 1",
            "",
        ] {
            assert_eq!(field(line), None, "{line:?}");
        }
    }
}
