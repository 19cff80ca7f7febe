//! `POST /v1/update` and `POST /v1/update/cancel`: starting, watching and stopping an update.

use super::REQUEST_MS;
use crate::device::answer::{Refusal, busy, line, refuse, send, stream_head};
use crate::device::request::{Request, host_of};
use crate::device::{Device, EVENT_QUEUE, MAX_WATCHERS, Maybe, Status, may_check};
use crate::event::Event;
use crate::platform::{Clock, Connection, InTime as _, NetError, within};
use airlift_wire::digest::{Hasher, parse_hex};
use airlift_wire::limits::MAX_ENVELOPE;
use airlift_wire::{Digest, ErrorCode};
use core::net::SocketAddr;
use embassy_sync::pubsub::WaitResult;

const TOO_MANY: Refusal = refuse(
    "429 Too Many Requests",
    ErrorCode::RateLimited,
    "ten signatures were checked in the last minute",
);

const WATCHERS: Refusal = refuse(
    "503 Service Unavailable",
    ErrorCode::Busy,
    "two connections watch this update already; ask for the state, or try again",
);

impl Device {
    pub(super) async fn cancel_request<C: Connection>(
        &self,
        connection: &mut C,
        request: &Request<'_>,
    ) -> Result<Result<(), Refusal>, NetError> {
        let token = request.parameter("token").and_then(parse_hex::<8>);
        let verdict = {
            let mut job = self.job.borrow_mut();
            if job.status != Status::Running || job.started.as_ref().is_none() {
                Err(refuse(
                    "404 Not Found",
                    ErrorCode::NoSuchJob,
                    "no update is running",
                ))
            } else if token != Some(job.token) {
                let message = "the token is not the one of the running update";
                Err(refuse("403 Forbidden", ErrorCode::BadRequest, message))
            } else {
                job.cancelled = true;
                Ok(())
            }
        };
        match verdict {
            Ok(()) => send(connection, "200 OK", b"{\"cancelling\":true}")
                .await
                .map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Receives an envelope, starts or joins its job, and sends the lines of progress.
    pub(super) async fn update_request<C: Connection>(
        &self,
        connection: &mut C,
        request: &Request<'_>,
        early: &[u8],
        peer: SocketAddr,
        clock: &impl Clock,
    ) -> Result<Result<(), Refusal>, NetError> {
        let len = match request.content_length {
            Some(len @ 1..=MAX_ENVELOPE) => len,
            _ => {
                let message = "an envelope has 1 to 4080 bytes and a Content-Length";
                let status = "413 Content Too Large";
                return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
            }
        };
        if !request.is_cose {
            let message = "an update is sent as application/cose";
            let status = "415 Unsupported Media Type";
            return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
        }
        let Some(host) = host_of(request.parameter("from"), peer) else {
            let message = "from must be an http URL with the address that this request came from";
            return Ok(Err(refuse(
                "400 Bad Request",
                ErrorCode::BadRequest,
                message,
            )));
        };
        let claim = Claim::new(self);
        let receiving = self.receive(connection, early, len, claim.is_some());
        let id = within(clock, REQUEST_MS, receiving)
            .await
            .in_time()
            .ok_or(NetError)??;
        if let Some(claim) = claim {
            if !may_check(&self.checks, clock.now_ms()) {
                return Ok(Err(TOO_MANY));
            }
            let Ok(mut events) = self.events.subscriber() else {
                return Ok(Err(WATCHERS));
            };
            {
                let mut job = self.job.borrow_mut();
                job.status = Status::Running;
                job.release = id;
                job.len = len;
                job.host = host;
                job.by = peer;
                job.retry = request.parameter("retry") == Some("1");
                job.cancelled = false;
                job.started = Maybe::Nothing;
                job.phase = Maybe::Nothing;
                job.done = [0; 2];
                job.waited_ms = 0;
            }
            claim.keep();
            self.submitted.signal(());
            stream_head(connection).await?;
            return watch(self, connection, &mut events).await.map(Ok);
        }
        let job = *self.job.borrow();
        if job.status != Status::Running || job.release != id {
            return busy(connection, &job).await.map(Ok);
        }
        let Ok(mut events) = self.events.subscriber() else {
            return Ok(Err(WATCHERS));
        };
        stream_head(connection).await?;
        for event in job.so_far() {
            line(connection, &event).await?;
        }
        watch(self, connection, &mut events).await.map(Ok)
    }

    /// Reads an envelope, into the inbox if it is ours, and returns its digest.
    async fn receive<C: Connection>(
        &self,
        connection: &mut C,
        early: &[u8],
        len: usize,
        keep: bool,
    ) -> Result<Digest, NetError> {
        let mut hasher = Hasher::new();
        let mut at = 0;
        let mut take = |bytes: &[u8]| {
            hasher.update(bytes);
            if keep {
                let mut inbox = self.inbox.borrow_mut();
                inbox[at..at + bytes.len()].copy_from_slice(bytes);
            }
            at += bytes.len();
            at
        };
        let mut got = take(early);
        let mut buf = [0; 256];
        while got < len {
            let want = buf.len().min(len - got);
            let n = connection.read(&mut buf[..want]).await?;
            if n == 0 || n > want {
                return Err(NetError);
            }
            got = take(&buf[..n]);
        }
        Ok(hasher.finish())
    }
}

/// The right to write to the inbox; given back unless a job takes it over.
struct Claim<'d>(&'d Device);

impl<'d> Claim<'d> {
    fn new(device: &'d Device) -> Option<Self> {
        let mut job = device.job.borrow_mut();
        if job.status != Status::Idle {
            return None;
        }
        job.status = Status::Receiving;
        Some(Self(device))
    }

    fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.job.borrow_mut().status = Status::Idle;
    }
}

async fn watch<C: Connection>(
    device: &Device,
    connection: &mut C,
    events: &mut embassy_sync::pubsub::Subscriber<
        '_,
        embassy_sync::blocking_mutex::raw::NoopRawMutex,
        Event,
        { EVENT_QUEUE },
        { MAX_WATCHERS },
        1,
    >,
) -> Result<(), NetError> {
    loop {
        match events.next_message().await {
            WaitResult::Message(event) => {
                line(connection, &event).await?;
                if event.is_last() {
                    return Ok(());
                }
            }
            // A slow client lost lines: the summary that a new one gets makes up for them.
            WaitResult::Lagged(_) => {
                let summary = device.job.borrow().so_far();
                for event in summary {
                    line(connection, &event).await?;
                }
            }
        }
    }
}
