//! Where and how the power goes.

use airlift_virtual_device::nor::{OpKind, Verdict};
use std::fmt;
use std::str::FromStr;

/// What the power going does to the operation that it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It does not happen.
    Before,
    /// It happens, and no one learns of it.
    After,
    /// It happens so far, in thousandths: bits of it are changed and others are not.
    Torn(u16),
    /// It happens so far, and bits on their way read differently each time.
    Unstable(u16),
}

/// A cut: how, and the seed that decides which bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// How.
    pub kind: Kind,
    /// Which bits, where only some change.
    pub seed: u8,
}

/// An operation of a run, counted from 0, and how the power goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// Erases and writes before it.
    pub op: usize,
    /// How.
    pub cut: Cut,
}

const fn cut(kind: Kind, seed: u8) -> Cut {
    Cut { kind, seed }
}

/// What is tried at an erase: nothing of it; while bits are still cleared; all cleared; while they are
/// raised; all but done.
const ERASE: &[Cut] = &[
    cut(Kind::Before, 0),
    cut(Kind::Torn(150), 0),
    cut(Kind::Torn(500), 0),
    cut(Kind::Torn(850), 0),
    cut(Kind::Torn(998), 0),
    cut(Kind::Unstable(200), 0),
    cut(Kind::Unstable(700), 0),
    cut(Kind::Unstable(998), 0),
    cut(Kind::Unstable(999), 0),
    cut(Kind::Unstable(999), 1),
    cut(Kind::After, 0),
];

/// What is tried at a write.
const WRITE: &[Cut] = &[
    cut(Kind::Before, 0),
    cut(Kind::Torn(100), 0),
    cut(Kind::Torn(450), 0),
    cut(Kind::Torn(800), 0),
    cut(Kind::Torn(985), 0),
    cut(Kind::Unstable(150), 0),
    cut(Kind::Unstable(550), 0),
    cut(Kind::Unstable(950), 0),
    cut(Kind::Unstable(999), 0),
    cut(Kind::Unstable(999), 1),
    cut(Kind::After, 0),
];

impl Cut {
    /// All that is tried at an operation.
    pub fn all(kind: OpKind) -> &'static [Self] {
        match kind {
            OpKind::Erase => ERASE,
            OpKind::Read | OpKind::Write => WRITE,
        }
    }

    /// What the flash is told; equal cuts of different operations change other bits.
    pub fn verdict(self, op: usize) -> Verdict {
        let seed = (op as u64) << 8 | u64::from(self.seed);
        match self.kind {
            Kind::Before => Verdict::CutBefore,
            Kind::After => Verdict::CutAfter,
            Kind::Torn(permille) => Verdict::Tear { permille, seed },
            Kind::Unstable(permille) => Verdict::Unsettle { permille, seed },
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Before => f.write_str("before")?,
            Kind::After => f.write_str("after")?,
            Kind::Torn(permille) => write!(f, "torn{permille}")?,
            Kind::Unstable(permille) => write!(f, "unstable{permille}")?,
        }
        match self.seed {
            0 => Ok(()),
            seed => write!(f, ".{seed}"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.op, self.cut)
    }
}

/// Not a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACut;

impl fmt::Display for NotACut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a cut is before, after, tornN or unstableN, N thousandths, and .SEED behind it",
        )
    }
}

impl std::error::Error for NotACut {}

impl FromStr for Cut {
    type Err = NotACut;

    fn from_str(text: &str) -> Result<Self, NotACut> {
        let (name, seed) = text.split_once('.').unwrap_or((text, "0"));
        let permille = |digits: &str| match digits.parse() {
            Ok(permille @ 0..=1000) => Ok(permille),
            _ => Err(NotACut),
        };
        let kind = match name {
            "before" => Kind::Before,
            "after" => Kind::After,
            _ => match (name.strip_prefix("torn"), name.strip_prefix("unstable")) {
                (Some(digits), _) => Kind::Torn(permille(digits)?),
                (_, Some(digits)) => Kind::Unstable(permille(digits)?),
                _ => return Err(NotACut),
            },
        };
        let seed = seed.parse().map_err(|_| NotACut)?;
        Ok(Self { kind, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_reads_back_as_it_is_printed() {
        for cut in ERASE.iter().chain(WRITE) {
            assert_eq!(cut.to_string().parse(), Ok(*cut));
        }
        for text in ["", "torn", "torn1001", "unstable5.x", "between"] {
            assert_eq!(text.parse::<Cut>(), Err(NotACut), "{text}");
        }
    }
}
