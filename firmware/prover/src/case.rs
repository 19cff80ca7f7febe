//! Names of cases: `SCENARIO:OP:CUT` and `SCENARIO:OP:CUT:OP2:CUT2`.

use crate::cut::Point;
use std::fmt;
use std::str::FromStr;

/// One case: a scenario and where the power goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the scenario.
    pub scenario: String,
    /// In the update, counted in the run without a cut.
    pub first: Point,
    /// In what follows, counted in the run that follows the first cut.
    pub second: Option<Point>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scenario, self.first)?;
        match self.second {
            Some(second) => write!(f, ":{second}"),
            None => Ok(()),
        }
    }
}

/// Not the name of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotACase(String);

impl fmt::Display for NotACase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = "a case is SCENARIO:OP:CUT or SCENARIO:OP:CUT:OP:CUT";
        write!(f, "{:?} is no case: {form}", self.0)
    }
}

impl std::error::Error for NotACase {}

impl FromStr for Case {
    type Err = NotACase;

    fn from_str(text: &str) -> Result<Self, NotACase> {
        let wrong = || NotACase(text.to_owned());
        let point = |op: &str, cut: &str| {
            Some(Point {
                op: op.parse().ok()?,
                cut: cut.parse().ok()?,
            })
        };
        let parts: Vec<_> = text.split(':').collect();
        let (scenario, first, second) = match parts[..] {
            [scenario, op, cut] => (scenario, point(op, cut), None),
            [scenario, op, cut, op2, cut2] => {
                let second = point(op2, cut2).ok_or_else(wrong)?;
                (scenario, point(op, cut), Some(second))
            }
            _ => return Err(wrong()),
        };
        Ok(Self {
            scenario: scenario.to_owned(),
            first: first.ok_or_else(wrong)?,
            second,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_reads_back_as_it_is_printed() {
        for text in [
            "both/plain:12:torn450",
            "third/rollback:0:before:7:unstable999.1",
        ] {
            assert_eq!(text.parse::<Case>().map(|c| c.to_string()), Ok(text.into()));
        }
        for text in [
            "",
            "both",
            "both:x:before",
            "both:1:before:2",
            "a:1:b:2:c:3",
        ] {
            assert!(text.parse::<Case>().is_err(), "{text}");
        }
    }
}
