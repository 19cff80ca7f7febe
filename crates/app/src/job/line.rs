//! The progress lines of a device, as JSON.

use serde::Deserialize;

use crate::Error;
use airlift_wire::ErrorCode;

/// The longest line that is read, in bytes. A device's own lines stay below 300.
pub const MAX_LINE: usize = 4096;

/// One line of progress. Fields and events that this version does not know are skipped: a device
/// may be newer than the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceLine {
    /// The job began, or this connection attached to it.
    Started {
        /// Cancels the job.
        #[serde(default)]
        token: String,
        /// Release.
        release: String,
    },
    /// A phase began.
    Phase {
        /// Its name.
        phase: String,
    },
    /// Something happened to chunks.
    Chunk {
        /// `app` or `files`.
        part: String,
        /// First chunk.
        n: u32,
        /// How many.
        #[serde(default = "one")]
        count: u32,
        /// What happened.
        state: String,
        /// Which try, from 1; refused chunks only.
        #[serde(default, rename = "try")]
        attempt: u32,
        /// Hash in the signed index; refused chunks only.
        #[serde(default)]
        expected: String,
        /// Hash of what arrived; refused chunks only.
        #[serde(default)]
        computed: String,
    },
    /// A whole part was read back.
    Part {
        /// `app` or `files`.
        part: String,
        /// Digest in the manifest.
        expected: String,
        /// Digest of what is in flash.
        computed: String,
    },
    /// The last line: the device restarts.
    Rebooting {
        /// Into which slot.
        #[serde(default)]
        slot: Option<String>,
    },
    /// The last line: it failed or was cancelled.
    Failed {
        /// Stable code.
        code: String,
        /// One sentence.
        #[serde(default)]
        message: String,
    },
    /// A line that this version does not know.
    #[serde(other)]
    Unknown,
}

fn one() -> u32 {
    1
}

impl DeviceLine {
    /// Reads a line.
    ///
    /// # Errors
    /// `bad_request` when it is not a JSON object with a known shape.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(line).map_err(|e| {
            let message = format!("the device sent a progress line that cannot be read: {e}");
            Error::refused(ErrorCode::BadRequest, message)
        })
    }
}

/// Splits a stream of bytes into lines, each of at most [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Adds bytes as they came and hands every line that they end to `each`.
    ///
    /// # Errors
    /// `bad_request` when a line is too long.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (head, tail) = bytes.split_at(end);
            self.append(head)?;
            let line = self.pending.trim_ascii();
            if !line.is_empty() {
                each(line);
            }
            self.pending.clear();
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.append(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.pending.len() + bytes.len() > MAX_LINE {
            let message = format!("the device sent a progress line of more than {MAX_LINE} bytes");
            return Err(Error::refused(ErrorCode::BadRequest, message));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> DeviceLine {
        DeviceLine::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_lines_of_the_design_are_read() {
        let started = line(r#"{"event":"started","token":"ab","release":"cd","parts":{"app":47}}"#);
        assert_eq!(
            started,
            DeviceLine::Started {
                token: "ab".into(),
                release: "cd".into()
            }
        );
        let chunk = line(r#"{"event":"chunk","part":"app","n":12,"count":8,"state":"kept"}"#);
        assert!(matches!(
            chunk,
            DeviceLine::Chunk {
                n: 12,
                count: 8,
                attempt: 0,
                ..
            }
        ));
        let refused = r#"{"event":"chunk","part":"app","n":12,"state":"refused","try":2,
            "expected":"aa","computed":"bb"}"#;
        assert!(matches!(
            line(refused),
            DeviceLine::Chunk {
                count: 1,
                attempt: 2,
                ..
            }
        ));
        let last = line(r#"{"event":"rebooting","slot":"ota_1","in_ms":500}"#);
        assert_eq!(
            last,
            DeviceLine::Rebooting {
                slot: Some("ota_1".into())
            }
        );
    }

    #[test]
    fn an_event_from_a_newer_device_is_skipped_and_no_error() {
        assert_eq!(
            line(r#"{"event":"heartbeat","rssi":-70}"#),
            DeviceLine::Unknown
        );
    }

    #[test]
    fn what_is_not_a_line_is_a_bad_request() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"event":"chunk"}"#,
            r#"{"event":"phase","phase":7}"#,
        ] {
            let error = DeviceLine::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::BadRequest, "{text}");
        }
    }

    #[test]
    fn an_endless_line_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::default();
        lines.push(&[b'x'; MAX_LINE], |_| ()).unwrap();
        assert!(lines.push(b"x", |_| ()).is_err());
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            texts in proptest::collection::vec("[a-z]{1,20}", 0..8),
            step in 1usize..40,
        ) {
            let stream: String = texts.iter().map(|t| format!("{t}\r\n\n")).collect();
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for piece in stream.as_bytes().chunks(step) {
                lines.push(piece, |l| got.push(String::from_utf8(l.to_vec()).unwrap())).unwrap();
            }
            prop_assert_eq!(got, texts);
        }

        #[test]
        fn any_bytes_are_a_line_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = DeviceLine::parse(&bytes);
        }
    }
}
