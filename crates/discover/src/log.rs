//! Asking a device for its log: `GET /v1/log?from=N`.

use std::io;
use std::net::SocketAddr;

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;
use crate::probe::{MAX_FIELDS, MAX_HEAD, broken, host};
use crate::table::PROBE_TIMEOUT;

/// The most of a log that one answer may bring, in bytes.
pub const MAX_LOG: usize = 16 * 1024;
/// Where in the log an answer begins.
const START: &str = "airlift-log-start";

/// A piece of a device's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// The byte that it begins with, counted since the device's start. Above the one that was asked
    /// for, when the device keeps no more of what lies between; below, when it has restarted.
    pub start: u64,
    /// At most [`MAX_LOG`] bytes, of whatever the device logged; none when there is nothing newer.
    pub bytes: Bytes,
}

/// Asks the device at `addr` for its log from byte `from` on, on a connection of its own. `None` from
/// a device whose updater is too old to have one.
///
/// # Errors
/// Those of [`probe`](crate::probe()).
pub async fn read_log(addr: SocketAddr, from: u64) -> Result<Option<LogPiece>, Error> {
    match tokio::time::timeout(PROBE_TIMEOUT, ask(addr, from)).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut { addr }),
    }
}

async fn ask(addr: SocketAddr, from: u64) -> Result<Option<LogPiece>, Error> {
    let unreachable = |e: io::Error| Error::Unreachable {
        addr,
        reason: e.to_string(),
    };
    let stream = TcpStream::connect(addr).await.map_err(unreachable)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|e| broken(addr, &e))?;
    let request = Request::get(format!("/v1/log?from={from}"))
        .header(header::HOST, host(addr))
        .body(Empty::new())
        .map_err(|e| not_a_device(addr, e.to_string()))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        read(addr, response.map_err(|e| broken(addr, &e))?).await
    };
    tokio::select! {
        piece = exchange => piece,
        // What the connection fails with, the exchange fails with too, and says more.
        piece = async { let _ = connection.await; std::future::pending().await } => piece,
    }
}

async fn read(addr: SocketAddr, response: Response<Incoming>) -> Result<Option<LogPiece>, Error> {
    let (head, body) = response.into_parts();
    match head.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        other => {
            let reason = format!("it answers with status {}", other.as_u16());
            return Err(not_a_device(addr, reason));
        }
    }
    let start = head.headers.get(START).and_then(|v| v.to_str().ok());
    let start = start
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| not_a_device(addr, "it does not say where its log begins".into()))?;
    let body = Limited::new(body, MAX_LOG).collect().await;
    let body = body.map_err(|e| match e.downcast::<hyper::Error>() {
        Ok(e) => broken(addr, &e),
        Err(_) => not_a_device(addr, format!("its log is longer than {MAX_LOG} bytes")),
    })?;
    let bytes = body.to_bytes();
    Ok(Some(LogPiece { start, bytes }))
}

fn not_a_device(addr: SocketAddr, reason: String) -> Error {
    Error::NotADevice { addr, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// What comes of this answer, and what was asked.
    async fn answered(answer: &str) -> (Result<Option<LogPiece>, Error>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let n = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            request.truncate(n);
            String::from_utf8(request).unwrap()
        };
        tokio::join!(read_log(addr, 70), serve)
    }

    fn ok(headers: &str, body: &str) -> String {
        let len = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n{headers}\r\n{body}")
    }

    #[tokio::test]
    async fn a_piece_says_where_it_begins() {
        let (piece, asked) = answered(&ok("Airlift-Log-Start: 100\r\n", "5 INFO hello\n")).await;
        let piece = piece.unwrap().unwrap();
        assert_eq!(
            (piece.start, &piece.bytes[..]),
            (100, &b"5 INFO hello\n"[..])
        );
        assert!(
            asked.starts_with("GET /v1/log?from=70 HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(!asked.to_lowercase().contains("origin"), "{asked}");
    }

    #[tokio::test]
    async fn an_updater_without_a_log_has_none() {
        let (piece, _) = answered("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(piece, Ok(None));
    }

    #[tokio::test]
    async fn an_answer_without_its_start_or_without_an_end_is_refused() {
        let (piece, _) = answered(&ok("", "x")).await;
        assert!(matches!(piece, Err(Error::NotADevice { .. })), "{piece:?}");
        let long = "x".repeat(MAX_LOG + 1);
        let (piece, _) = answered(&ok("Airlift-Log-Start: 0\r\n", &long)).await;
        assert!(matches!(piece, Err(Error::NotADevice { .. })), "{piece:?}");
    }
}
