//! Talking to a device: sending an envelope and reading its progress, cancelling.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use airlift_wire::freshness::Nonce;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Error;
use crate::job::line::Lines;

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a device may take for the head of its answer: it checks a signature, and that it can
/// reach the host, which alone may take it 5 s.
const ANSWER: Duration = Duration::from_secs(20);
/// The longest body of an error, in bytes.
const MAX_ERROR: usize = 4096;

/// What a device made of an envelope.
pub(crate) enum Taken {
    /// It streams its progress.
    Progress(Progress),
    /// It does not take it.
    Refused {
        /// Stable code.
        code: String,
        /// One sentence.
        message: String,
    },
}

/// The progress of a device, line by line.
pub(crate) struct Progress {
    body: Incoming,
    lines: Lines,
    ready: VecDeque<Bytes>,
    _connection: Connection,
}

/// Ends the connection's task with whoever uses the connection.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends an envelope. `from` is the URL that the device fetches from.
///
/// # Errors
/// One sentence: the connection could not be opened, broke, or what answers is no device.
pub(crate) async fn send_update(
    device: SocketAddr,
    envelope: Bytes,
    from: &str,
    retry: bool,
) -> Result<Taken, String> {
    let retry = if retry { "&retry=1" } else { "" };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/update?from={from}{retry}"))
        .header(header::CONTENT_TYPE, "application/cose")
        .header(header::HOST, device.to_string())
        .body(Full::new(envelope))
        .map_err(|e| e.to_string())?;
    let (response, connection) = exchange(device, request).await?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(Taken::Progress(Progress {
            body: response.into_body(),
            lines: Lines::default(),
            ready: VecDeque::new(),
            _connection: connection,
        }));
    }
    let body = short_body(response).await;
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(Refusal { code, message }) => Ok(Taken::Refused { code, message }),
        Err(_) => Err(format!(
            "{device} answers with HTTP status {status} and no reason"
        )),
    }
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    #[serde(default)]
    message: String,
}

/// Asks a device to stop. It answers on the progress connection.
pub(crate) async fn send_cancel(device: SocketAddr, token: &str) -> Result<(), String> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v1/update/cancel?token={token}"))
        .header(header::HOST, device.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let (response, _connection) = exchange(device, request).await?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!(
            "{device} answers the cancellation with HTTP status {status}"
        )),
    }
}

/// Asks a device for a nonce to state over. `None` when it gives none: it is older than that.
pub(crate) async fn ask_nonce(device: SocketAddr) -> Result<Option<Nonce>, String> {
    let request = Request::builder()
        .method(Method::GET)
        .uri("/v1/nonce")
        .header(header::HOST, device.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let (response, _connection) = exchange(device, request).await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let body = short_body(response).await;
    let given = serde_json::from_slice::<Given>(&body).ok();
    let nonce = given.and_then(|given| given.nonce.parse().ok());
    nonce
        .map(Some)
        .ok_or_else(|| format!("{device} answers with something that is no nonce"))
}

#[derive(Deserialize)]
struct Given {
    nonce: String,
}

/// Tells a device which release is the newest. The inner error is its code and its sentence.
pub(crate) async fn send_statement(
    device: SocketAddr,
    statement: Bytes,
) -> Result<Result<(), (String, String)>, String> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/freshness")
        .header(header::CONTENT_TYPE, "application/cose")
        .header(header::HOST, device.to_string())
        .body(Full::new(statement))
        .map_err(|e| e.to_string())?;
    let (response, _connection) = exchange(device, request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(Ok(()));
    }
    let body = short_body(response).await;
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(Refusal { code, message }) => Ok(Err((code, message))),
        Err(_) => Err(format!(
            "{device} answers with HTTP status {status} and no reason"
        )),
    }
}

/// The body of an answer that has a few bytes; empty when it does not come.
async fn short_body(response: Response<Incoming>) -> Bytes {
    let body = Limited::new(response.into_body(), MAX_ERROR).collect();
    let body = timeout(ANSWER, body).await;
    body.ok()
        .and_then(Result::ok)
        .map(|b| b.to_bytes())
        .unwrap_or_default()
}

async fn exchange<B>(
    device: SocketAddr,
    request: Request<B>,
) -> Result<(Response<Incoming>, Connection), String>
where
    B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    let stream = match timeout(CONNECT, TcpStream::connect(device)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(format!("{device} cannot be reached: {e}")),
        Err(_) => return Err(format!("{device} does not answer")),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(device, &e))?;
    let connection = Connection(tokio::spawn(async move {
        // Whoever reads the body learns of the same error.
        let _ = connection.await;
    }));
    match timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(response)) => Ok((response, connection)),
        Ok(Err(e)) => Err(broken(device, &e)),
        Err(_) => Err(format!("{device} does not answer")),
    }
}

fn broken(device: SocketAddr, error: &hyper::Error) -> String {
    format!("the connection to {device} broke: {error}")
}

impl Progress {
    /// The next line as it came; `None` when the device ended its answer. Safe to drop while it
    /// waits.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|e| format!("the connection broke: {e}"))?;
            if let Ok(data) = frame.into_data() {
                let Self { lines, ready, .. } = self;
                let each = |line: &[u8]| ready.push_back(Bytes::copy_from_slice(line));
                lines.push(&data, each).map_err(|e: Error| e.to_string())?;
            }
        }
    }
}
