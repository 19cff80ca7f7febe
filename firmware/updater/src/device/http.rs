//! The device's HTTP API (RFC 9112): one request a connection.

use super::answer::{Refusal, busy, error, line, refuse, send, send_head, send_text, stream_head};
use super::json::{Fixed, Json, Measure, Window};
use super::request::{MAX_REQUEST_HEAD, Method, Request, host_of, read_head};
use super::vitals::{Moment, Vitals};
use super::{Device, FRESH_MS, Maybe, Status, may_check};
use crate::Failure;
use crate::event::Event;
use crate::platform::{Clock, Connection, InTime as _, NetError, within};
use airlift_wire::digest::{Hasher, parse_hex};
use airlift_wire::limits::{MAX_ENVELOPE, MAX_STATEMENT};
use airlift_wire::state::Cause;
use airlift_wire::{Digest, ErrorCode};
use core::net::SocketAddr;
use embassy_sync::pubsub::WaitResult;

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

    /// Sends what the device says of itself, piece by piece: all of it never is in memory. Each piece
    /// is cut out of the whole text, which is written anew for it.
    async fn device<C: Connection>(
        &self,
        connection: &mut C,
        moment: Moment,
        piece: &mut [u8; MAX_REQUEST_HEAD],
    ) -> Result<Result<(), Refusal>, NetError> {
        if self.info.borrow().as_ref().is_none() {
            return Ok(Err(STARTING));
        }
        let whole = self.describe(piece, 0, &moment)?;
        send_head(connection, "200 OK", whole.len).await?;
        let mut at = 0;
        while at < whole.len {
            // Half of one answer and half of another is neither.
            if self.describe(piece, at, &moment)? != whole {
                return Err(NetError);
            }
            let n = (whole.len - at).min(piece.len());
            connection.write_all(&piece[..n]).await?;
            at += n;
        }
        Ok(Ok(()))
    }

    /// Writes what the device says of itself, of which the bytes from `start` on land in `piece`.
    fn describe(
        &self,
        piece: &mut [u8],
        start: usize,
        moment: &Moment,
    ) -> Result<Measure, NetError> {
        let mut window = Window::new(piece, start);
        self.write_json(&mut Json(&mut window), moment)
            .map_err(|_| NetError)?;
        Ok(window.measure)
    }

    fn write_json<W: core::fmt::Write>(
        &self,
        json: &mut Json<'_, W>,
        moment: &Moment,
    ) -> core::fmt::Result {
        let info = self.info.borrow();
        let info = info.as_ref().ok_or(core::fmt::Error)?;
        let job = self.job.borrow();
        info.write_json(json)?;
        json.raw(",\"updater\":{\"state\":")?;
        if job.status == Status::Running {
            json.raw("\"updating\",\"release\":")?;
            json.digest(Some(job.release))?;
            json.format(format_args!(",\"by\":\"{}\"}}", job.by.ip()))?;
        } else {
            json.raw(if info.trial {
                "\"trial\"}"
            } else {
                "\"idle\"}"
            })?;
        }
        let now_ms = moment.now_ms;
        self.freshness_json(info.freshness_required, now_ms, json)?;
        json.raw(",\"reset_reason\":")?;
        match moment.reset_reason {
            Cause::None => json.raw("null")?,
            cause => json.string(cause.name())?,
        }
        match moment.signal_dbm {
            None => json.raw(",\"signal_dbm\":null")?,
            Some(dbm) => json.format(format_args!(",\"signal_dbm\":{dbm}"))?,
        }
        let free_memory = moment.free_memory;
        json.format(format_args!(
            ",\"uptime_ms\":{now_ms},\"free_memory\":{free_memory}}}"
        ))
    }

    /// What is known of the newest release, and the last offer that was refused for its age.
    fn freshness_json<W: core::fmt::Write>(
        &self,
        required: bool,
        now_ms: u64,
        json: &mut Json<'_, W>,
    ) -> core::fmt::Result {
        json.format(format_args!(
            ",\"freshness\":{{\"required\":{required},\"newest\":"
        ))?;
        json.number(self.newest(now_ms).map(|newest| newest.sequence))?;
        json.raw("},\"stale_offer\":")?;
        let Some(offer) = self.stale_offer() else {
            return json.raw("null");
        };
        json.raw("{\"release\":")?;
        json.digest(Some(offer.release))?;
        json.format(format_args!(",\"offered\":{},\"newest\":", offer.offered))?;
        json.number(offer.newest)?;
        let (by, at_ms) = (offer.by, offer.at_ms);
        json.format(format_args!(",\"by\":\"{by}\",\"at_ms\":{at_ms}}}"))
    }

    /// A nonce for a statement of freshness.
    async fn nonce<C: Connection>(
        &self,
        connection: &mut C,
        clock: &impl Clock,
    ) -> Result<Result<(), Refusal>, NetError> {
        let Some(nonce) = self.with_freshness(|f| f.give(clock.now_ms())) else {
            return Ok(Err(STARTING));
        };
        let mut body = Fixed::<96>::new();
        Json(&mut body)
            .format(format_args!("{{\"schema\":1,\"nonce\":\"{nonce}\"}}"))
            .map_err(|_| NetError)?;
        send(connection, "200 OK", body.bytes()).await.map(Ok)
    }

    /// Receives a statement which release is the newest.
    async fn statement<C: Connection>(
        &self,
        connection: &mut C,
        request: &Request<'_>,
        early: &[u8],
        clock: &impl Clock,
    ) -> Result<Result<(), Refusal>, NetError> {
        let len = match request.content_length {
            Some(len @ 1..=MAX_STATEMENT) => len,
            _ => {
                let message = "a statement has 1 to 320 bytes and a Content-Length";
                let status = "413 Content Too Large";
                return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
            }
        };
        if !request.is_cose {
            let message = "a statement is sent as application/cose";
            let status = "415 Unsupported Media Type";
            return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
        }
        let mut message = [0; MAX_STATEMENT];
        message[..early.len()].copy_from_slice(early);
        let receiving = async {
            let mut got = early.len();
            while got < len {
                let n = connection.read(&mut message[got..len]).await?;
                if n == 0 || n > len - got {
                    return Err(NetError);
                }
                got += n;
            }
            Ok(())
        };
        within(clock, REQUEST_MS, receiving)
            .await
            .in_time()
            .ok_or(NetError)??;
        let now_ms = clock.now_ms();
        let (trust, product, id) = {
            let info = self.info.borrow();
            let Some(info) = info.as_ref() else {
                return Ok(Err(STARTING));
            };
            (info.trust, info.product, info.id)
        };
        let Some(trust) = trust else {
            let message = "the device was given no keys";
            return Ok(Err(refuse("403 Forbidden", ErrorCode::NoTrust, message)));
        };
        if !may_check(&self.statement_checks, now_ms) {
            return Ok(Err(TOO_MANY_STATEMENTS));
        }
        let (product, id) = (product.as_str(), id.as_str());
        let taken = self.with_freshness(|f| f.take(&message[..len], &trust, product, id, now_ms));
        match taken {
            Ok(newest) => {
                let left = FRESH_MS.saturating_sub(now_ms.saturating_sub(newest.at_ms));
                let mut body = Fixed::<96>::new();
                Json(&mut body)
                    .format(format_args!(
                        "{{\"schema\":1,\"newest\":{},\"fresh_ms\":{left}}}",
                        newest.sequence
                    ))
                    .map_err(|_| NetError)?;
                send(connection, "200 OK", body.bytes()).await.map(Ok)
            }
            Err(Failure { code, message }) => {
                let status = match code {
                    ErrorCode::BadStatement => "400 Bad Request",
                    _ => "403 Forbidden",
                };
                Ok(Err(refuse(status, code, message)))
            }
        }
    }

    async fn cancel_request<C: Connection>(
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
    async fn update_request<C: Connection>(
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

const STARTING: Refusal = refuse(
    "503 Service Unavailable",
    ErrorCode::Busy,
    "the device is still starting",
);

const TOO_MANY: Refusal = refuse(
    "429 Too Many Requests",
    ErrorCode::RateLimited,
    "ten signatures were checked in the last minute",
);

const TOO_MANY_STATEMENTS: Refusal = refuse(
    "429 Too Many Requests",
    ErrorCode::RateLimited,
    "five statements were checked in the last minute",
);

const WATCHERS: Refusal = refuse(
    "503 Service Unavailable",
    ErrorCode::Busy,
    "two connections watch this update already; ask for the state, or try again",
);

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
        { super::EVENT_QUEUE },
        { super::MAX_WATCHERS },
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

#[cfg(test)]
mod tests {
    use super::super::tests::Hasty;
    use super::*;
    use embassy_futures::block_on;

    fn peer() -> SocketAddr {
        "10.0.0.5:50000".parse().unwrap()
    }

    /// A client that sends `request`; what it is sent goes to `answer`, or nowhere, for ever.
    struct Peer<'a> {
        request: &'a [u8],
        answer: Option<std::vec::Vec<u8>>,
    }

    impl Connection for Peer<'_> {
        async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
            let n = self.request.len().min(buf.len());
            let (now, later) = self.request.split_at(n);
            buf[..n].copy_from_slice(now);
            self.request = later;
            Ok(n)
        }

        async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
            match &mut self.answer {
                Some(answer) => answer.extend_from_slice(data),
                None => core::future::pending::<()>().await,
            }
            Ok(())
        }
    }

    const ASK: &[u8] = b"GET /v1/device HTTP/1.1\r\n\r\n";

    #[test]
    fn a_client_that_reads_nothing_does_not_keep_a_connection() {
        let mut client = Peer {
            request: ASK,
            answer: None,
        };
        let (device, clock) = (Device::new(), Hasty::default());
        let mut serving = core::pin::pin!(device.serve(&mut client, peer(), &clock, 0));
        let over = embassy_futures::poll_once(serving.as_mut()).is_ready();
        assert!(over, "every wait of this clock is over at once");
    }

    #[test]
    fn what_comes_behind_the_content_changes_nothing() {
        let mut client = Peer {
            request: b"POST /v1/update HTTP/1.1\r\nContent-Type: application/cose\r\n\
                       Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
            answer: Some(std::vec::Vec::new()),
        };
        let (device, clock) = (Device::new(), Hasty::default());
        let watching = {
            let serving = core::pin::pin!(device.serve(&mut client, peer(), &clock, 0));
            embassy_futures::poll_once(serving).is_pending()
        };
        assert!(watching && device.is_updating());
        assert!(client.answer.unwrap().starts_with(b"HTTP/1.1 200 OK"));
    }

    /// A client in whose turn to read the device changes.
    struct Meddler<'a> {
        device: &'a Device,
        request: &'a [u8],
        answer: std::vec::Vec<u8>,
    }

    impl Connection for Meddler<'_> {
        async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
            buf[..self.request.len()].copy_from_slice(self.request);
            Ok(self.request.len())
        }

        async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
            self.answer.extend_from_slice(data);
            let mut info = crate::device::Info::new();
            info.name = airlift_wire::state::Text::new("another");
            *self.device.info.borrow_mut() = Maybe::Just(info);
            Ok(())
        }
    }

    #[test]
    fn a_device_that_has_not_started_says_so() {
        let mut client = Peer {
            request: ASK,
            answer: Some(std::vec::Vec::new()),
        };
        block_on(Device::new().serve(&mut client, peer(), &Hasty::default(), 0));
        let answer = std::string::String::from_utf8(client.answer.unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }

    #[test]
    fn an_answer_is_never_half_of_one_and_half_of_another() {
        let device = Device::new();
        *device.info.borrow_mut() = Maybe::Just(crate::device::Info::new());
        let mut client = Meddler {
            device: &device,
            request: ASK,
            answer: std::vec::Vec::new(),
        };
        block_on(device.serve(&mut client, peer(), &Hasty::default(), 0));
        let answer = std::string::String::from_utf8(client.answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "nothing follows: {answer}");
    }

    #[test]
    fn the_log_is_read_from_any_byte_and_says_where_it_begins() {
        struct Logged;
        impl Vitals for Logged {
            fn free_memory(&self) -> u32 {
                0
            }

            fn log(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
                // The first hundred bytes are not kept any more.
                let start = from.max(100);
                out[..6].copy_from_slice(b"lines\n");
                (start, 6)
            }
        }
        let ask = |request: &'static [u8]| {
            let mut client = Peer {
                request,
                answer: Some(std::vec::Vec::new()),
            };
            let (device, clock) = (Device::new(), Hasty::default());
            block_on(device.serve_with(&mut client, peer(), &clock, &Logged));
            std::string::String::from_utf8(client.answer.unwrap()).unwrap()
        };
        let answer = ask(b"GET /v1/log HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("Airlift-Log-Start: 100\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nlines\n"), "{answer}");
        let answer = ask(b"GET /v1/log?from=4000000000000 HTTP/1.1\r\n\r\n");
        assert!(answer.contains("Airlift-Log-Start: 4000000000000\r\n"));
        let answer = ask(b"GET /v1/log?from=-1 HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let answer = ask(b"GET /v1/log HTTP/1.1\r\nOrigin: http://x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }

    #[test]
    fn a_device_with_the_longest_texts_can_describe_itself() {
        use crate::layout::SlotId;
        use airlift_wire::state::{Cause, Detail, End, LastUpdate, Text};
        use airlift_wire::{KeySet, PublicKey};
        const WORST: &str = "\u{1}";
        let (key, digest) = (PublicKey([0xFF; 32]), Digest([0xFF; 32]));
        let slot = |slot| {
            Some(crate::device::SlotInfo {
                slot,
                state: "undefined",
                release: Some(digest),
                version: Some(Text::new(&WORST.repeat(64))),
                sequence: Some(u32::MAX),
                app: Some(digest),
                files: Some(digest),
            })
        };
        let device = Device::new();
        *device.info.borrow_mut() = Maybe::Just(crate::device::Info {
            id: Text::new(&"x".repeat(32)),
            name: Text::new(&WORST.repeat(32)),
            product: Text::new(&"x".repeat(64)),
            chip: 20,
            flash_size: u32::MAX,
            running: SlotId::Factory,
            trial: true,
            slots: SlotId::ALL.map(slot),
            trust: KeySet::new(u32::MAX, key, &[key; 4]),
            bootloader_rollback: false,
            last: Some(LastUpdate {
                release: digest,
                sequence: u32::MAX,
                end: End::RolledBack,
                cause: Cause::NotConfirmed,
                boots: u8::MAX,
            }),
            detail: Detail::printable(&"\\".repeat(48)),
            freshness_required: true,
        });
        let stale = crate::device::StaleOffer {
            release: digest,
            offered: u32::MAX,
            newest: Some(u32::MAX),
            by: "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(),
            at_ms: u64::MAX,
        };
        device.with_freshness(|f| f.stale = Some(stale));
        {
            let mut job = device.job.borrow_mut();
            job.status = Status::Running;
            job.by = "[1111:2222:3333:4444:5555:6666:7777:8888]:1"
                .parse()
                .unwrap();
        }
        let clock = Hasty::default();
        block_on(clock.sleep_ms(u32::MAX));
        let mut client = Peer {
            request: ASK,
            answer: Some(std::vec::Vec::new()),
        };
        block_on(device.serve(&mut client, peer(), &clock, u32::MAX));
        let answer = std::string::String::from_utf8(client.answer.unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("\"free_memory\":4294967295}"));
    }
}
