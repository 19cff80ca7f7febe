//! The lines of a board's log, not endlessly many.

use std::collections::VecDeque;

use crate::dto::UsbLogLine;

/// How many lines are kept.
pub(crate) const LINES: usize = 20_000;
/// How many bytes of them are kept.
pub(crate) const BYTES: usize = 8 * 1024 * 1024;
/// How many lines are handed out in one go.
pub(crate) const AT_ONCE: usize = 5_000;

/// The newest lines since the monitor was started.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: VecDeque<UsbLogLine>,
    bytes: usize,
    next: u32,
}

impl Lines {
    /// Adds a line under the next number, and lets the oldest go when there are too many.
    pub(crate) fn push(&mut self, mut line: UsbLogLine) -> UsbLogLine {
        line.n = self.next;
        self.next = self.next.saturating_add(1);
        self.bytes += weight(&line);
        self.lines.push_back(line.clone());
        while self.lines.len() > LINES || self.bytes > BYTES {
            let Some(gone) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= weight(&gone);
        }
        line
    }

    /// The lines from number `from` on that are still here, at most [`AT_ONCE`].
    pub(crate) fn from(&self, from: u32) -> Vec<UsbLogLine> {
        let start = self.lines.partition_point(|line| line.n < from);
        let lines = self.lines.range(start..).take(AT_ONCE);
        lines.cloned().collect()
    }

    /// All of it, as a file has it: a line each, with what its addresses mean below it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes);
        for line in &self.lines {
            text.push_str(&line.text);
            text.push('\n');
            for resolved in &line.resolved {
                text.push_str("    ");
                text.push_str(resolved);
                text.push('\n');
            }
        }
        text
    }
}

fn weight(line: &UsbLogLine) -> usize {
    let resolved = line.resolved.iter().map(String::len);
    line.text.len() + resolved.sum::<usize>() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> UsbLogLine {
        UsbLogLine {
            n: 0,
            ms: 0,
            text: text.to_owned(),
            kind: "log".to_owned(),
            resolved: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_lines_go_and_numbers_stay() {
        let mut lines = Lines::default();
        for n in 0..LINES as u32 + 10 {
            lines.push(line(&n.to_string()));
        }
        let first = lines.from(0);
        assert_eq!((first[0].n, first[0].text.as_str()), (10, "10"));
        assert_eq!(first.len(), AT_ONCE);
        let last = lines.from(LINES as u32 + 8);
        assert_eq!(
            last.iter().map(|l| l.n).collect::<Vec<_>>(),
            [20_008, 20_009]
        );
        assert!(lines.from(u32::MAX).is_empty());
    }

    #[test]
    fn long_lines_count_by_their_bytes() {
        let mut lines = Lines::default();
        let long = "x".repeat(BYTES / 4);
        for _ in 0..8 {
            lines.push(line(&long));
        }
        assert_eq!(lines.from(0).len(), 3);
    }

    #[test]
    fn a_saved_log_has_what_addresses_mean_below_them() {
        let mut lines = Lines::default();
        lines.push(line("boot"));
        let mut backtrace = line("Backtrace: 0x42000000");
        backtrace.resolved = vec!["main at src/main.rs:7".into()];
        lines.push(backtrace);
        assert_eq!(
            lines.text(),
            "boot\nBacktrace: 0x42000000\n    main at src/main.rs:7\n"
        );
    }
}
