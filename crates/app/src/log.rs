//! A device's log, over the network, as lines for people.

use std::fmt::Write as _;
use std::net::SocketAddr;

use airlift_discover::{LogPiece, read_log};

use crate::dto::DeviceLog;
use crate::{Airlift, Error};

/// Most answers of a device that one look at its log takes; with [`airlift_discover::MAX_LOG`] the
/// bound of what is kept in memory.
const MOST_PIECES: usize = 64;
/// A line that goes on for longer is cut here, in characters.
const LONGEST_LINE: usize = 1000;
/// So much without an end of line is shown as it is, in bytes.
const UNENDED: usize = 4096;

impl Airlift {
    /// What a device has logged from byte `from` on, counted since its start, as far as its lines are
    /// complete. Ask again with [`DeviceLog::next`].
    ///
    /// # Errors
    /// `no_such_device` when it is not known or does not answer.
    pub async fn device_log(&self, id: &str, from: u64) -> Result<DeviceLog, Error> {
        let unknown = || Error::NoSuchDevice(id.to_owned());
        let device = self.devices().into_iter().find(|device| device.id == id);
        let address = device.ok_or_else(unknown)?.address;
        let address: SocketAddr = address.parse().map_err(|_| unknown())?;
        let mut log = Reading::new(from);
        for _ in 0..MOST_PIECES {
            let Some(piece) = read_log(address, log.at).await? else {
                log.kept = false;
                break;
            };
            if !log.take(&piece) {
                break;
            }
        }
        Ok(log.finish())
    }
}

/// Pieces of a log, put together.
struct Reading {
    /// The byte to ask for.
    at: u64,
    bytes: Vec<u8>,
    skipped: u64,
    restarted: bool,
    kept: bool,
}

impl Reading {
    fn new(from: u64) -> Self {
        Self {
            at: from,
            bytes: Vec::new(),
            skipped: 0,
            restarted: false,
            kept: true,
        }
    }

    /// Adds a piece; whether there may be more.
    fn take(&mut self, piece: &LogPiece) -> bool {
        if piece.start < self.at {
            // It counts from its start, so it has started again. A device that says so twice in one look
            // is not believed.
            let first = !self.restarted;
            self.restarted = true;
            self.bytes.clear();
            self.at = 0;
            return first;
        }
        if piece.bytes.is_empty() {
            return false;
        }
        let gap = piece.start - self.at;
        if gap > 0 && self.at > 0 {
            self.skipped = self.skipped.saturating_add(gap);
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(&piece.bytes);
        self.at = piece.start.saturating_add(piece.bytes.len() as u64);
        true
    }

    fn finish(self) -> DeviceLog {
        let ended = self.bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = match ended {
            Some(at) => at + 1,
            None if self.bytes.len() >= UNENDED => self.bytes.len(),
            None => 0,
        };
        let (whole, rest) = self.bytes.split_at(whole);
        let lines = whole.split(|byte| *byte == b'\n').map(shown);
        DeviceLog {
            lines: lines.filter(|line| !line.is_empty()).collect(),
            next: (self.at - rest.len() as u64) as f64,
            skipped: self.skipped as f64,
            restarted: self.restarted,
            kept: self.kept,
        }
    }
}

/// A line that is safe for a terminal and a window: what is no text, and what would move the cursor or
/// turn the text around, is shown by its number.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::new();
    let mut left = LONGEST_LINE;
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            if left == 0 {
                text.push('…');
                return text;
            }
            left -= 1;
            if c == '\t' || airlift_wire::text::is_printable(c) {
                text.push(c);
            } else {
                text.extend(c.escape_default());
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(start: u64, bytes: &[u8]) -> LogPiece {
        let bytes = bytes.to_vec().into();
        LogPiece { start, bytes }
    }

    fn read(from: u64, pieces: &[LogPiece]) -> DeviceLog {
        let mut log = Reading::new(from);
        let more = pieces.iter().map(|piece| log.take(piece)).last();
        assert_eq!(more, Some(false), "the last one ends it");
        log.finish()
    }

    #[test]
    fn a_line_that_is_cut_between_two_pieces_is_one_line() {
        let log = read(
            0,
            &[piece(0, b"1 one\n2 t"), piece(9, b"wo\n3"), piece(13, b"")],
        );
        assert_eq!(log.lines, ["1 one", "2 two"]);
        assert_eq!(log.next, 12.0, "the third is asked for again");
        assert!(!log.restarted && log.skipped == 0.0);
    }

    #[test]
    fn what_is_not_kept_any_more_is_counted_and_not_joined() {
        let log = read(5, &[piece(5, b"abc"), piece(20, b"def\n"), piece(24, b"")]);
        assert_eq!(log.lines, ["abc", "def"]);
        assert_eq!((log.skipped, log.next), (12.0, 24.0));
        let first = read(0, &[piece(100, b"x\n"), piece(102, b"")]);
        assert_eq!(first.skipped, 0.0, "nobody has asked before");
    }

    #[test]
    fn a_device_that_restarted_is_read_from_its_start() {
        let log = read(900, &[piece(40, b""), piece(0, b"1 boot\n"), piece(7, b"")]);
        assert!(log.restarted);
        assert_eq!((log.lines, log.next), (vec!["1 boot".to_owned()], 7.0));
        // One that goes on restarting is not followed for ever.
        let log = read(900, &[piece(40, b""), piece(0, b"1\n"), piece(1, b"")]);
        assert!(log.restarted && log.lines.is_empty() && log.next == 0.0);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_by_their_numbers() {
        assert_eq!(
            shown(b"\x1b[31mred\xff\t\xe2\x80\xae\r"),
            "\\u{1b}[31mred\\xff\t\\u{202e}"
        );
        assert_eq!(shown("grün".as_bytes()), "grün");
        let long = "x".repeat(LONGEST_LINE + 1);
        assert_eq!(shown(long.as_bytes()).chars().count(), LONGEST_LINE + 1);
    }

    #[test]
    fn much_without_an_end_is_shown_all_the_same() {
        let log = read(0, &[piece(0, &[b'x'; UNENDED]), piece(UNENDED as u64, b"")]);
        assert_eq!((log.lines.len(), log.next), (1, UNENDED as f64));
    }
}
