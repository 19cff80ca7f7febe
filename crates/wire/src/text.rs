//! Text that people are shown: versions, names of devices.

/// Whether a character may stand in a line of text: no control character, no line end, and none of
/// the marks that change the direction of the text after them. Host and device draw the line at the
/// same place: a device must not take what makes its host refuse to read it afterwards.
pub fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
