//! Bytes as lines of text, without colours and control characters.

/// Longest line; a longer one is several.
const MAX_LINE: usize = 4096;

/// Text of a board for people: what a terminal would take for an order stands as a replacement
/// character. Tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let clean = |c: char| match c {
        '\t' => c,
        c if airlift_wire::text::is_printable(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    };
    text.chars().map(clean).collect()
}

/// What the colour of a line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Colour {
    #[default]
    Plain,
    Red,
    Yellow,
}

/// Where in a control sequence (ECMA-48) the bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// Parameters, until a letter.
    Parameters,
    /// A text for the terminal, until BEL or ESC.
    Text,
}

/// Cuts bytes into lines. Memory is bounded, whatever arrives.
#[derive(Debug, Default)]
pub(super) struct Text {
    line: Vec<u8>,
    colour: Colour,
    escape: Escape,
    parameter: u16,
    /// The last byte was a carriage return, which a line feed may belong to.
    returned: bool,
}

impl Text {
    /// Takes a byte; the line that it ends, if it does.
    pub(super) fn take(&mut self, byte: u8) -> Option<(String, Colour)> {
        if self.escape != Escape::None {
            self.escaped(byte);
            return None;
        }
        let returned = std::mem::take(&mut self.returned);
        match byte {
            b'\n' if returned => None,
            b'\n' => Some(self.end()),
            b'\r' => {
                self.returned = true;
                Some(self.end())
            }
            0x1B => {
                self.escape = Escape::Begun;
                None
            }
            b'\t' | 0x20..=0x7E | 0x80.. => {
                self.line.push(byte);
                (self.line.len() >= MAX_LINE).then(|| self.end())
            }
            _ => None,
        }
    }

    /// The line that was begun, if there is one: nothing more came for a while.
    pub(super) fn flush(&mut self) -> Option<(String, Colour)> {
        (!self.line.is_empty()).then(|| self.end())
    }

    fn end(&mut self) -> (String, Colour) {
        let line = printable(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        (line, std::mem::take(&mut self.colour))
    }

    fn escaped(&mut self, byte: u8) {
        self.escape = match (self.escape, byte) {
            (Escape::Begun, b'[') => {
                self.parameter = 0;
                Escape::Parameters
            }
            (Escape::Begun, b']') => Escape::Text,
            (Escape::Parameters, b'0'..=b'9') => {
                let digit = u16::from(byte - b'0');
                self.parameter = self.parameter.saturating_mul(10).saturating_add(digit);
                Escape::Parameters
            }
            (Escape::Parameters, b';' | b'm') => {
                // Normal and bright; the end of a colour at the end of a line changes nothing.
                match self.parameter {
                    31 | 91 => self.colour = Colour::Red,
                    33 | 93 => self.colour = Colour::Yellow,
                    _ => {}
                }
                self.parameter = 0;
                if byte == b'm' {
                    Escape::None
                } else {
                    Escape::Parameters
                }
            }
            (Escape::Parameters, 0x20..=0x3F) => Escape::Parameters,
            (Escape::Text, 0x07 | b'\n') => Escape::None,
            (_, 0x1B) => Escape::Begun,
            (Escape::Text, _) => Escape::Text,
            _ => Escape::None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<(String, Colour)> {
        let mut text = Text::default();
        let mut lines: Vec<_> = bytes.iter().filter_map(|byte| text.take(*byte)).collect();
        lines.extend(text.flush());
        lines
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        lines(bytes).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn colours_are_taken_out_and_remembered() {
        let found = lines(b"\x1b[0;31mE (5) wifi: no\x1b[0m\r\nplain\n\x1b[33mW\n");
        let expected = [
            ("E (5) wifi: no", Colour::Red),
            ("plain", Colour::Plain),
            ("W", Colour::Yellow),
        ];
        assert_eq!(
            found,
            expected.map(|(text, colour)| (text.to_string(), colour))
        );
    }

    #[test]
    fn no_order_for_a_terminal_is_left() {
        // The control characters of ISO 8859-1, as UTF-8, and marks that turn text around.
        let found = texts("a\u{9b}31mb\u{85}\u{202e}c\td\n".as_bytes());
        assert_eq!(found, ["a\u{fffd}31mb\u{fffd}\u{fffd}c\td"]);
    }

    #[test]
    fn every_end_of_a_line_is_one() {
        assert_eq!(texts(b"a\r\nb\nc\rd"), ["a", "b", "c", "d"]);
        assert_eq!(texts(b"\r\n\r\n"), ["", ""]);
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        assert_eq!(texts(b"a\xFFb\x00c\n"), ["a\u{FFFD}bc"]);
        assert_eq!(texts(b"\x1b]0;title\x07x\x1b[2Jy\x1bcz\n"), ["xyz"]);
    }

    #[test]
    fn a_line_without_an_end_is_several() {
        let found = texts(&vec![b'x'; 2 * MAX_LINE + 1]);
        let lengths: Vec<_> = found.iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 1]);
    }

    proptest! {
        #[test]
        fn no_bytes_leave_control_characters(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            for (text, _) in lines(&bytes) {
                prop_assert!(text.chars().all(|c| c == '\t' || (!c.is_ascii_control())), "{text:?}");
            }
        }
    }
}
