//! Tables for spreadsheets (RFC 4180).

/// A line of fields that a spreadsheet neither splits nor takes for formulas: names come from boards
/// and from the network.
pub(crate) fn line(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|text| field(text)).collect();
    fields.join(",") + "\r\n"
}

fn field(text: &str) -> String {
    // What spreadsheets begin a formula with; some of them after dropping a tab or an end of line.
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_field_and_no_formula() {
        assert_eq!(line(&["porch", ""]), "porch,\r\n");
        assert_eq!(field("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(field("two\nlines"), "\"two\nlines\"");
        for formula in ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert_eq!(field(formula), format!("'{formula}"));
        }
        assert_eq!(field("\r=1"), "\"'\r=1\"");
    }
}
