//! What is written as data, and what is only erased.

use super::SECTOR;
use super::compare::is_blank;

/// Fewest blank sectors in a row that are worth a request of their own: erasing saves programming
/// their pages, some 8 ms each sector, and a request costs some milliseconds and the overlap of
/// wire and flash.
const WORTH_ERASING: usize = 16;

/// Sectors in a row that are written alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First byte, counted from the first of the bytes.
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) erase: bool,
}

/// Cuts bytes, whole sectors, into runs.
pub(super) fn runs(bytes: &[u8]) -> Vec<Run> {
    let sector = SECTOR as usize;
    let mut runs: Vec<Run> = Vec::new();
    let mut add = |start, len, erase| match runs.last_mut() {
        Some(last) if last.erase == erase => last.len += len,
        _ => runs.push(Run { start, len, erase }),
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let blank = rest.chunks(sector).take_while(|s| is_blank(s)).count();
        if blank >= WORTH_ERASING || blank * sector >= bytes.len() {
            add(at, blank * sector, true);
            at += blank * sector;
        } else {
            let len = (blank.max(1) * sector).min(rest.len());
            add(at, len, false);
            at += len;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sectors(kinds: &[(u8, usize)]) -> Vec<u8> {
        let fill = |&(byte, count): &(u8, usize)| vec![byte; count * SECTOR as usize];
        kinds.iter().flat_map(fill).collect()
    }

    fn found(kinds: &[(u8, usize)]) -> Vec<(usize, bool)> {
        let sector = SECTOR as usize;
        let runs = runs(&sectors(kinds));
        runs.iter()
            .map(|run| (run.len / sector, run.erase))
            .collect()
    }

    #[test]
    fn a_long_gap_is_erased_and_a_short_one_written() {
        assert_eq!(
            found(&[(1, 2), (0xFF, 16), (1, 1)]),
            [(2, false), (16, true), (1, false)]
        );
        assert_eq!(found(&[(1, 2), (0xFF, 15), (1, 1)]), [(18, false)]);
    }

    #[test]
    fn nothing_but_blank_is_erased_however_short() {
        assert_eq!(found(&[(0xFF, 2)]), [(2, true)]);
        assert_eq!(found(&[]), []);
    }

    proptest! {
        #[test]
        fn runs_cover_all_and_only_blank_is_erased(
            kinds in proptest::collection::vec((prop_oneof![Just(1_u8), Just(0xFF)], 1_usize..20), 0..6),
        ) {
            let bytes = sectors(&kinds);
            let mut at = 0;
            for run in runs(&bytes) {
                prop_assert_eq!(run.start, at);
                at += run.len;
                prop_assert!(!run.erase || is_blank(&bytes[run.start..at]));
            }
            prop_assert_eq!(at, bytes.len());
        }
    }
}
