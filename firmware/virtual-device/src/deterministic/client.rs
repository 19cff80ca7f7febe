//! Somebody who uses a device's API.

use super::network::{Interface, MemoryConnection};
use airlift_release::Release;
use airlift_updater::platform::{Connection, Net, NetError};
use std::net::SocketAddr;

const MAX_ANSWER: usize = 64 * 1024;

/// Sends requests to one device.
#[derive(Clone)]
pub struct Client {
    interface: Interface,
    device: SocketAddr,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Content as text.
    pub text: String,
}

impl Answer {
    /// The content as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// An answer whose content comes line by line.
pub struct Lines {
    /// Status code.
    pub status: u16,
    connection: MemoryConnection,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when there is no more.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return String::from_utf8(line)
                    .ok()
                    .map(|l| l.trim_end().to_owned());
            }
            let mut buf = [0; 1024];
            match self.connection.read(&mut buf).await {
                Ok(n) if n > 0 => self.rest.extend_from_slice(&buf[..n]),
                _ if self.rest.is_empty() => return None,
                _ => {
                    let line = std::mem::take(&mut self.rest);
                    return String::from_utf8(line).ok();
                }
            }
        }
    }

    /// All lines until the end.
    pub async fn all(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

impl Client {
    pub(super) fn new(interface: Interface, device: SocketAddr) -> Self {
        Self { interface, device }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`NetError`] when there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer, NetError> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n"), &[])
            .await
    }

    /// Any request, its head given as it is sent.
    ///
    /// # Errors
    /// [`NetError`] when there is no answer.
    pub async fn request(&self, head: &str, content: &[u8]) -> Result<Answer, NetError> {
        let lines = self.open(head, content).await?;
        let status = lines.status;
        let text = lines.all().await.join("\n");
        Ok(Answer { status, text })
    }

    /// `POST /v1/update` with the envelope of a release, and `query` behind the path.
    ///
    /// # Errors
    /// [`NetError`] when there is no answer.
    pub async fn update(&self, release: &Release, query: &str) -> Result<Lines, NetError> {
        self.post_envelope(release.envelope(), query).await
    }

    /// `POST /v1/update` with any bytes.
    ///
    /// # Errors
    /// [`NetError`] when there is no answer.
    pub async fn post_envelope(&self, envelope: &[u8], query: &str) -> Result<Lines, NetError> {
        let len = envelope.len();
        let head = format!(
            "POST /v1/update{query} HTTP/1.1\r\nHost: d\r\nContent-Type: application/cose\r\n\
             Content-Length: {len}\r\n\r\n"
        );
        self.open(&head, envelope).await
    }

    /// Sends a request and reads the head of its answer.
    ///
    /// # Errors
    /// [`NetError`] when there is no answer.
    pub async fn open(&self, head: &str, content: &[u8]) -> Result<Lines, NetError> {
        let mut connection = self.interface.clone().connect(self.device).await?;
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(content).await?;
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let mut buf = [0; 1024];
            let n = connection.read(&mut buf).await?;
            if n == 0 || bytes.len() > MAX_ANSWER {
                return Err(NetError);
            }
            bytes.extend_from_slice(&buf[..n]);
        };
        let rest = bytes.split_off(end);
        let head = String::from_utf8(bytes).map_err(|_| NetError)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Lines {
            status: status.ok_or(NetError)?,
            connection,
            rest,
        })
    }
}
