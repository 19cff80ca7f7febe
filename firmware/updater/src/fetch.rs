//! The HTTP client of the updater: envelope, index pages and ranges of chunks.
//!
//! HTTP/1.1 with keep-alive (RFC 9112), no redirects, no chunked encoding. A range is accepted
//! only as a 206 whose `Content-Range` is exactly what was asked for (RFC 9110 section 15.3.7): a
//! server that ignores `Range` must not shift bytes.

use crate::Failure;
use crate::field::{field, is_text};
use crate::platform::{Clock, Connection, InTime as _, Net, within};
use airlift_wire::{Digest, ErrorCode};
use core::fmt::{self, Write as _};
use core::net::SocketAddr;
use core::ops::Range;

/// Longest head of an answer.
const MAX_HEAD: usize = 768;
/// How long a connection may take.
const CONNECT_MS: u32 = 5_000;
/// How long the host may be silent before the connection is given up.
const SILENCE_MS: u32 = 5_000;
/// How long no chunk may arrive before the update is given up.
pub const STALLED_MS: u64 = 30_000;
/// First wait before a connection is tried again; it doubles up to [`MAX_BACKOFF_MS`].
const BACKOFF_MS: u32 = 100;
const MAX_BACKOFF_MS: u32 = 3_200;

/// What is fetched.
#[derive(Clone, Copy, Debug)]
pub enum Resource {
    /// `GET /v1/releases/{id}`
    Release(Digest),
    /// `GET /v1/blobs/{sha256}`
    Blob(Digest),
    /// `GET /v1/indexes/{sha256}`
    Index(Digest),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(id) => write!(f, "/v1/releases/{id}"),
            Self::Blob(sha256) => write!(f, "/v1/blobs/{sha256}"),
            Self::Index(sha256) => write!(f, "/v1/indexes/{sha256}"),
        }
    }
}

/// Why an answer could not be read. All are worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// No connection in time.
    Unreachable,
    /// The connection broke or went silent.
    Lost,
    /// The answer is not what was asked for.
    Protocol,
}

/// A connection to the host and what is left of its current answer.
pub struct Fetcher<'n, N: Net, C: Clock> {
    net: &'n mut N,
    clock: &'n C,
    host: SocketAddr,
    connection: Option<N::Connection>,
    /// Bytes that arrived with the head, and how many of them were taken.
    buffered: [u8; MAX_HEAD],
    taken: usize,
    filled: usize,
    /// Bytes of the current answer's content that were not taken.
    left: u32,
    /// Whether the host closes after this answer.
    closes: bool,
    progress_ms: u64,
    backoff_ms: u32,
}

struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl<'n, N: Net, C: Clock> Fetcher<'n, N, C> {
    /// A client of one host.
    pub fn new(net: &'n mut N, clock: &'n C, host: SocketAddr) -> Self {
        let progress_ms = clock.now_ms();
        Self {
            net,
            clock,
            host,
            connection: None,
            buffered: [0; MAX_HEAD],
            taken: 0,
            filled: 0,
            left: 0,
            closes: false,
            progress_ms,
            backoff_ms: BACKOFF_MS,
        }
    }

    /// Notes that a checked chunk arrived: the clock of [`STALLED_MS`] starts again.
    pub fn progress(&mut self) {
        self.progress_ms = self.clock.now_ms();
        self.backoff_ms = BACKOFF_MS;
    }

    /// Starts the clock of [`STALLED_MS`]: what the device did by itself before does not count.
    pub fn start_waiting(&mut self) {
        self.progress_ms = self.clock.now_ms();
    }

    /// Closes the connection and waits a little, longer each time. Fails when nothing arrived for too
    /// long, and says what went wrong last.
    pub async fn back_off(&mut self, error: FetchError) -> Result<(), Failure> {
        self.close();
        let waited = self.clock.now_ms().saturating_sub(self.progress_ms);
        let left = STALLED_MS.saturating_sub(waited);
        let wait = u64::from(self.backoff_ms).min(left);
        // Another try without any time left would only end in silence and hide this error.
        self.clock.sleep_ms(wait as u32).await;
        if wait == left {
            return Err(match error {
                FetchError::Unreachable | FetchError::Lost => {
                    Failure::new(ErrorCode::Stalled, "no chunk arrived for 30 seconds")
                }
                FetchError::Protocol => Failure::new(
                    ErrorCode::BadRequest,
                    "the host kept answering with something else than was asked for",
                ),
            });
        }
        self.backoff_ms = (self.backoff_ms * 2).min(MAX_BACKOFF_MS);
        Ok(())
    }

    /// Drops the connection, and with it what is left of an answer.
    pub fn close(&mut self) {
        self.connection = None;
        self.left = 0;
        self.taken = 0;
        self.filled = 0;
    }

    /// Asks for a whole small resource into `out` and returns its length.
    pub async fn get_whole(&mut self, what: Resource, out: &mut [u8]) -> Result<usize, FetchError> {
        let total = self.request(what, None).await?;
        let out = usize::try_from(total).ok().and_then(|n| out.get_mut(..n));
        let out = out.ok_or(FetchError::Protocol)?;
        self.read_exact(out).await?;
        Ok(out.len())
    }

    /// Asks for `range`; its bytes follow with [`Fetcher::read_exact`].
    pub async fn get_range(&mut self, what: Resource, range: Range<u32>) -> Result<(), FetchError> {
        self.request(what, Some(range)).await.map(|_| ())
    }

    /// Reads the next bytes of the answer's content.
    pub async fn read_exact(&mut self, mut out: &mut [u8]) -> Result<(), FetchError> {
        if out.len() > self.left as usize {
            return Err(FetchError::Protocol);
        }
        while !out.is_empty() {
            let n = if self.taken < self.filled {
                let n = out.len().min(self.filled - self.taken);
                out[..n].copy_from_slice(&self.buffered[self.taken..self.taken + n]);
                self.taken += n;
                n
            } else {
                let ms = patience_ms(self.clock, self.progress_ms);
                let connection = self.connection.as_mut().ok_or(FetchError::Lost)?;
                match within(self.clock, ms, connection.read(out)).await.in_time() {
                    Some(Ok(n)) if n > 0 && n <= out.len() => n,
                    _ => {
                        self.close();
                        return Err(FetchError::Lost);
                    }
                }
            };
            self.left -= n as u32;
            out = &mut out[n..];
        }
        if self.left == 0 && self.closes {
            self.close();
        }
        Ok(())
    }

    async fn request(
        &mut self,
        what: Resource,
        range: Option<Range<u32>>,
    ) -> Result<u32, FetchError> {
        if self.left > 0 {
            self.close();
        }
        if self.connection.is_none() {
            let connecting = self.net.connect(self.host);
            match within(self.clock, CONNECT_MS, connecting).await.in_time() {
                Some(Ok(connection)) => self.connection = Some(connection),
                _ => return Err(FetchError::Unreachable),
            }
        }
        let result = self.exchange(what, range).await;
        if result.is_err() {
            self.close();
        }
        result
    }

    async fn exchange(
        &mut self,
        what: Resource,
        range: Option<Range<u32>>,
    ) -> Result<u32, FetchError> {
        let connection = self.connection.as_mut().ok_or(FetchError::Lost)?;
        let mut line = Line {
            bytes: [0; 256],
            len: 0,
        };
        let host = self.host;
        write!(line, "GET {what} HTTP/1.1\r\nHost: {host}\r\n")
            .map_err(|_| FetchError::Protocol)?;
        if let Some(Range { start, end }) = &range {
            let last = end.checked_sub(1).ok_or(FetchError::Protocol)?;
            write!(line, "Range: bytes={start}-{last}\r\n").map_err(|_| FetchError::Protocol)?;
        }
        line.write_str("\r\n").map_err(|_| FetchError::Protocol)?;
        let sending = connection.write_all(&line.bytes[..line.len]);
        match within(self.clock, SILENCE_MS, sending).await.in_time() {
            Some(Ok(())) => {}
            _ => return Err(FetchError::Lost),
        }
        let (mut filled, mut from) = (0, 0);
        let head_len = loop {
            let room = self
                .buffered
                .get_mut(filled..)
                .ok_or(FetchError::Protocol)?;
            if room.is_empty() {
                return Err(FetchError::Protocol);
            }
            let ms = patience_ms(self.clock, self.progress_ms);
            match within(self.clock, ms, connection.read(room))
                .await
                .in_time()
            {
                Some(Ok(n)) if n > 0 && n <= room.len() => filled += n,
                _ => return Err(FetchError::Lost),
            }
            let end = self.buffered[from..filled]
                .windows(4)
                .position(|w| w == b"\r\n\r\n");
            if let Some(at) = end {
                break from + at + 4;
            }
            from = filled.saturating_sub(3);
        };
        let head = Head::parse(&self.buffered[..head_len]).ok_or(FetchError::Protocol)?;
        let len = head.content_length.ok_or(FetchError::Protocol)?;
        match &range {
            None if head.status == 200 => {}
            Some(range)
                if head.status == 206
                    && head.content_range == Some(range.clone())
                    && len == range.end - range.start => {}
            _ => return Err(FetchError::Protocol),
        }
        if filled - head_len > len as usize {
            return Err(FetchError::Protocol);
        }
        self.taken = head_len;
        self.filled = filled;
        self.left = len;
        self.closes = head.closes;
        Ok(len)
    }
}

/// How long to wait for the next bytes: not longer than silence may last, and not beyond the time
/// by which a chunk must have arrived, or a host that sends a byte now and then holds the device for
/// hours.
fn patience_ms(clock: &impl Clock, progress_ms: u64) -> u32 {
    let waited = clock.now_ms().saturating_sub(progress_ms);
    let left = u32::try_from(STALLED_MS.saturating_sub(waited));
    left.map_or(SILENCE_MS, |left| left.min(SILENCE_MS))
}

/// The head of an answer, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// `Content-Length`.
    pub content_length: Option<u32>,
    /// First and one past the last byte of `Content-Range: bytes first-last/total`.
    pub content_range: Option<Range<u32>>,
    /// Whether the connection ends after the content.
    pub closes: bool,
}

impl Head {
    /// Parses a head that ends in an empty line; `None` for anything that is not plain HTTP/1.1
    /// with a length: transfer codings, repeated lengths and repeated ranges are refused (RFC 9112
    /// section 6.3).
    pub fn parse(head: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let status_line = lines.next()?;
        let rest = status_line.strip_prefix("HTTP/1.")?;
        let (minor, rest) = rest.split_at_checked(1)?;
        let (status, reason) = rest.strip_prefix(' ')?.split_at_checked(3)?;
        let is_line = matches!(minor, "0" | "1")
            && status.bytes().all(|b| b.is_ascii_digit())
            && (reason.is_empty() || reason.starts_with(' '))
            && is_text(reason);
        if !is_line {
            return None;
        }
        let mut parsed = Self {
            status: status.parse().ok()?,
            content_length: None,
            content_range: None,
            closes: minor != "1",
        };
        let mut has_range = false;
        for line in lines {
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case("content-length") {
                let length = number(value)?;
                if parsed.content_length.replace(length).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case("content-range") {
                let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
                if total != "*" {
                    number(total)?;
                }
                // `*` is the range of an answer without one: 416.
                let range = match range.split_once('-') {
                    Some((first, last)) => Some(number(first)?..number(last)?.checked_add(1)?),
                    None if range == "*" => None,
                    None => return None,
                };
                if core::mem::replace(&mut has_range, true) {
                    return None;
                }
                parsed.content_range = range;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return None;
            } else if name.eq_ignore_ascii_case("connection") {
                parsed.closes |= value.eq_ignore_ascii_case("close");
            }
        }
        Some(parsed)
    }
}

/// Digits only: `+1`, which the standard library accepts, is no length.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_206_is_read_whatever_the_case_of_its_fields() {
        let head = b"HTTP/1.1 206 Partial Content\r\ncontent-length: 10\r\n\
                     CONTENT-RANGE: bytes 5-14/100\r\n\r\n";
        let expected = Head {
            status: 206,
            content_length: Some(10),
            content_range: Some(5..15),
            closes: false,
        };
        assert_eq!(Head::parse(head), Some(expected));
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes 0-0/2\r\nContent-Range: bytes 1-1/2\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes */2\r\nContent-Range: bytes 1-1/2\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes x/2\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes 0-0/x\r\n\r\n",
            "HTTP/1.1 200 O\nK\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.7 200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(Head::parse(head.as_bytes()), None, "{head:?}");
        }
    }

    #[test]
    fn an_old_or_closing_server_closes() {
        let old = Head::parse(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
        assert!(old.closes);
        let closing = Head::parse(b"HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n").unwrap();
        assert!(closing.closes && closing.content_length.is_none());
    }

    proptest! {
        #[test]
        fn any_head_is_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Head::parse(&bytes);
        }
    }
}
