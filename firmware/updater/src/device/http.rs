//! The device's HTTP API (RFC 9112): one request a connection.

mod describe;
mod freshness;
mod update;

use super::Device;
use super::answer::{Refusal, error, refuse, send_text};
use super::request::{MAX_REQUEST_HEAD, Method, Request, read_head};
use super::vitals::{Moment, Vitals};
use crate::platform::{Clock, Connection, InTime as _, NetError, within};
use airlift_wire::ErrorCode;
use core::net::SocketAddr;

/// How long a client may take to send its request.
const REQUEST_MS: u32 = 5_000;
/// How long a client may take to read what is written to it at once.
const WRITE_MS: u32 = 5_000;

const MALFORMED: Refusal = refuse(
    "400 Bad Request",
    ErrorCode::BadRequest,
    "the request is malformed",
);

/// A connection that is given up when the other side does not take what is written: the device
/// answers few at a time, and a client that is gone without a word must not keep one of them.
struct Bounded<'c, C, K> {
    inner: &'c mut C,
    clock: &'c K,
}

impl<C: Connection, K: Clock> Connection for Bounded<'_, C, K> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        self.inner.read(buf).await
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        let written = within(self.clock, WRITE_MS, self.inner.write_all(data))
            .await
            .in_time();
        written.unwrap_or(Err(NetError))
    }
}

impl Device {
    /// Answers the one request of a connection. Returns when the answer is sent, or, for an
    /// update, when it ended.
    pub async fn serve(
        &self,
        connection: &mut impl Connection,
        peer: SocketAddr,
        clock: &impl Clock,
        free_memory: u32,
    ) {
        self.serve_with(connection, peer, clock, &free_memory).await;
    }

    /// The same, for a device that knows more of itself than its free memory.
    pub async fn serve_with(
        &self,
        connection: &mut impl Connection,
        peer: SocketAddr,
        clock: &impl Clock,
        vitals: &impl Vitals,
    ) {
        let mut connection = Bounded {
            inner: connection,
            clock,
        };
        // A lost connection concerns only its client.
        let _ = self.answer(&mut connection, peer, clock, vitals).await;
    }

    async fn answer<C: Connection>(
        &self,
        connection: &mut C,
        peer: SocketAddr,
        clock: &impl Clock,
        vitals: &impl Vitals,
    ) -> Result<(), NetError> {
        match self.route(connection, peer, clock, vitals).await? {
            Ok(()) => Ok(()),
            Err(refusal) => error(connection, refusal).await,
        }
    }

    async fn route<C: Connection>(
        &self,
        connection: &mut C,
        peer: SocketAddr,
        clock: &impl Clock,
        vitals: &impl Vitals,
    ) -> Result<Result<(), Refusal>, NetError> {
        let mut head = [0; MAX_REQUEST_HEAD];
        let read = within(clock, REQUEST_MS, read_head(connection, &mut head))
            .await
            .in_time();
        let Some((head_len, filled)) = read.ok_or(NetError)?? else {
            return Ok(Err(MALFORMED));
        };
        let Some(request) = Request::parse(&head[..head_len]) else {
            return Ok(Err(MALFORMED));
        };
        if request.has_origin {
            let message = "requests from web pages are refused";
            return Ok(Err(refuse("403 Forbidden", ErrorCode::BadRequest, message)));
        }
        if request.method == Method::Get && request.path == "/v1/device" {
            // The answer takes the place of the request.
            let moment = Moment {
                now_ms: clock.now_ms(),
                free_memory: vitals.free_memory(),
                reset_reason: vitals.reset_reason(),
                signal_dbm: vitals.signal_dbm(),
            };
            return self.device(connection, moment, &mut head).await;
        }
        if request.method == Method::Get && request.path == "/v1/log" {
            let from = request.parameter("from").unwrap_or("0");
            let Ok(from) = from.parse() else {
                return Ok(Err(MALFORMED));
            };
            let (start, n) = vitals.log(from, &mut head);
            let lines = head.get(..n).unwrap_or_default();
            return send_text(connection, start, lines).await.map(Ok);
        }
        // A connection has one request: what comes behind its content is nobody's.
        let early = &head[head_len..filled];
        let early = &early[..early.len().min(request.content_length.unwrap_or(0))];
        match (&request.method, request.path) {
            (Method::Get, "/v1/nonce") => self.nonce(connection, clock).await,
            (Method::Post, "/v1/freshness") => {
                self.statement(connection, &request, early, clock).await
            }
            (Method::Post, "/v1/update/cancel") => self.cancel_request(connection, &request).await,
            (Method::Post, "/v1/update") => {
                self.update_request(connection, &request, early, peer, clock)
                    .await
            }
            (
                _,
                "/v1/device" | "/v1/log" | "/v1/nonce" | "/v1/freshness" | "/v1/update"
                | "/v1/update/cancel",
            ) => {
                let message = "the method is not allowed here";
                let status = "405 Method Not Allowed";
                Ok(Err(refuse(status, ErrorCode::BadRequest, message)))
            }
            _ => {
                let message = "there is nothing at this address";
                Ok(Err(refuse("404 Not Found", ErrorCode::BadRequest, message)))
            }
        }
    }
}

const STARTING: Refusal = refuse(
    "503 Service Unavailable",
    ErrorCode::Busy,
    "the device is still starting",
);

#[cfg(test)]
mod tests;
