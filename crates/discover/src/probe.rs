//! Asking an address who it is: one `GET /v1/device`.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::Error;
use crate::device::{DeviceInfo, MAX_DEVICE_JSON};
use crate::table::{Answer, PROBE_TIMEOUT};

/// The longest head of an answer, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// The most header fields of an answer.
pub(crate) const MAX_FIELDS: usize = 32;

/// Asks the device at `addr` about itself, on a connection of its own.
///
/// The host closes the connection first, so that the wait that TCP prescribes after a close
/// (RFC 9293 section 3.6.1) costs a socket of the host's and not of the device's.
///
/// # Errors
/// [`Error::Unreachable`] when there is no connection or it breaks, [`Error::TimedOut`] when the
/// whole takes longer than [`PROBE_TIMEOUT`], [`Error::NotADevice`] when the answer is not a 200 with
/// JSON of at most [`MAX_DEVICE_JSON`] bytes (a redirect is not followed), [`Error::BadDevice`] when
/// the JSON is no device's.
pub async fn probe(addr: SocketAddr) -> Result<Answer, Error> {
    match tokio::time::timeout(PROBE_TIMEOUT, ask(addr)).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut { addr }),
    }
}

async fn ask(addr: SocketAddr) -> Result<Answer, Error> {
    let start = Instant::now();
    let unreachable = |e: io::Error| Error::Unreachable {
        addr,
        reason: e.to_string(),
    };
    let stream = TcpStream::connect(addr).await.map_err(unreachable)?;
    let local_addr = stream.local_addr().map_err(unreachable)?.ip();
    let info = ask_on(addr, stream).await?;
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Ok(Answer {
        info,
        local_addr,
        round_trip: start.elapsed(),
        unix,
    })
}

/// The conversation of [`probe`] on a connection that is there: a door for the fuzz target.
///
/// # Errors
/// As [`probe`].
pub async fn ask_on<S>(addr: SocketAddr, stream: S) -> Result<DeviceInfo, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|e| broken(addr, &e))?;
    let exchange = async {
        let response = sender
            .send_request(request(addr)?)
            .await
            .map_err(|e| broken(addr, &e))?;
        read(addr, response).await
    };
    let json = tokio::select! {
        json = exchange => json?,
        // What the connection fails with, the exchange fails with too, and says more.
        json = async { let _ = connection.await; std::future::pending().await } => json,
    };
    DeviceInfo::parse(&json)
}

/// An address as the host of a request: without the scope of a link-local address, which means nothing
/// to the other side.
pub(crate) fn host(addr: SocketAddr) -> String {
    SocketAddr::new(addr.ip(), addr.port()).to_string()
}

fn request(addr: SocketAddr) -> Result<Request<Empty<Bytes>>, Error> {
    Request::get(Uri::from_static("/v1/device"))
        .header(header::HOST, host(addr))
        .header(header::ACCEPT, "application/json")
        .body(Empty::new())
        .map_err(|e| Error::NotADevice {
            addr,
            reason: e.to_string(),
        })
}

async fn read(addr: SocketAddr, response: Response<Incoming>) -> Result<Bytes, Error> {
    let refuse = |reason: String| Error::NotADevice { addr, reason };
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(refuse(format!(
            "it answers with status {}",
            head.status.as_u16()
        )));
    }
    let field = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = field(header::CONTENT_TYPE).and_then(|text| text.split(';').next());
    if !media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json")) {
        return Err(refuse("its answer is not JSON".into()));
    }
    if field(header::TRANSFER_ENCODING).is_some() {
        return Err(refuse("its answer comes without a length".into()));
    }
    let too_long = || refuse(format!("its answer is longer than {MAX_DEVICE_JSON} bytes"));
    if body.size_hint().lower() > MAX_DEVICE_JSON as u64 {
        return Err(too_long());
    }
    match Limited::new(body, MAX_DEVICE_JSON).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(too_long()),
        Err(e) => Err(match e.downcast::<hyper::Error>() {
            Ok(e) => broken(addr, &e),
            Err(e) => Error::Unreachable {
                addr,
                reason: e.to_string(),
            },
        }),
    }
}

pub(crate) fn broken(addr: SocketAddr, error: &hyper::Error) -> Error {
    if error.is_parse() {
        return Error::NotADevice {
            addr,
            reason: "it does not speak HTTP".into(),
        };
    }
    let reason = error
        .source()
        .map_or_else(|| error.to_string(), |cause| cause.to_string());
    Error::Unreachable { addr, reason }
}

#[cfg(test)]
mod tests;
