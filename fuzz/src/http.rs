//! The HTTP of a device: requests that it answers, answers that it reads.
//!
//! `httparse`, which hyper and with it the host uses, is the judge of what a head says: a device may
//! refuse more, and never reads one in another way.

use crate::device::{Then, Ticks, Wire};
use crate::input::{Input, Pattern};
use airlift_updater::device::Device;
use airlift_updater::fetch::{Fetcher, Head, Resource};
use airlift_updater::platform::{Clock as _, Net, NetError};
use airlift_wire::Digest;
use embassy_futures::{block_on, poll_once};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::pin;

/// Most header fields that the judge takes.
const FIELDS: usize = 256;

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 5], 50_000))
}

/// Up to four connections to one device. Each gets one whole answer or none, the same however its
/// request is cut into pieces.
pub fn http_request(data: &[u8]) {
    let mut input = Input::new(data);
    let (pattern, then) = (input.pattern(), Then::of(input.byte()));
    let mut requests: Vec<&[u8]> = Vec::new();
    while requests.len() < 3 && input.clone().u16() & 0x8000 != 0 {
        let len = input.u16() & 0x7FFF;
        requests.push(input.take(len.into()));
    }
    requests.push(input.rest());
    let whole = answers(&requests, &Pattern::default(), then);
    let pieces = answers(&requests, &pattern, then);
    assert_eq!(whole, pieces, "pieces change the answer");
}

fn answers(requests: &[&[u8]], pattern: &Pattern, then: Then) -> Vec<Vec<u8>> {
    let (device, clock) = (Device::new(), Ticks::default());
    crate::guard::start(&device, &clock);
    let mut answers = Vec::new();
    for request in requests {
        let before = clock.now_ms();
        let mut wire = Wire::new(request, pattern.clone(), then);
        let over = {
            let serving = pin!(device.serve(&mut wire, peer(), &clock, 1000));
            poll_once(serving).is_ready()
        };
        assert!(
            clock.now_ms() - before <= 30_000,
            "a client holds a connection"
        );
        // Whoever watches an update stays; everybody else is done.
        assert!(over || wire.outgoing.starts_with(b"HTTP/1.1 200 "));
        judge_answer(request, &wire.outgoing, over);
        answers.push(wire.outgoing);
    }
    answers
}

/// An answer is one whole HTTP answer, and to the request as others read it.
fn judge_answer(request: &[u8], answer: &[u8], over: bool) {
    if answer.is_empty() {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(answer).expect("an answer in HTTP");
    let body = &answer[parsed.unwrap()..];
    let status = head.code.expect("a status");
    if over {
        let mut length = head.headers.iter().filter(|f| f.name == "Content-Length");
        let length = length
            .next()
            .map(|f| std::str::from_utf8(f.value).expect("digits"));
        assert_eq!(length.map(str::parse), Some(Ok(body.len())));
        serde_json::from_slice::<serde_json::Value>(body).expect("JSON");
    } else {
        for line in body.split_inclusive(|b| *b == b'\n') {
            serde_json::from_slice::<serde_json::Value>(line).expect("a line of JSON");
        }
    }
    if matches!(status, 400) {
        return;
    }
    let mut fields = vec![httparse::EMPTY_HEADER; FIELDS];
    let mut judged = httparse::Request::new(&mut fields);
    let end = match judged.parse(request) {
        Ok(httparse::Status::Complete(end)) => end,
        other => panic!("{status} to what is no request: {other:?}"),
    };
    let values = |name: &str| -> Vec<&[u8]> {
        let ours = judged
            .headers
            .iter()
            .filter(|f| f.name.eq_ignore_ascii_case(name));
        ours.map(|f| f.value).collect()
    };
    assert!(values("transfer-encoding").is_empty());
    assert!(values("content-length").len() <= 1, "a length that is two");
    assert_eq!(
        status == 403 && contains(body, "web pages"),
        !values("origin").is_empty()
    );
    let target = judged.path.expect("a target");
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    match (judged.method.expect("a method"), path) {
        ("GET", "/v1/device") => assert!(matches!(status, 200 | 403)),
        ("POST", "/v1/update") if status == 200 => {
            let [length] = values("content-length")[..] else {
                panic!("an update without one length");
            };
            let length: usize = std::str::from_utf8(length)
                .expect("text")
                .parse()
                .expect("digits");
            assert!((1..=4080).contains(&length) && request.len() - end >= length);
        }
        ("GET", "/v1/nonce") | ("POST", "/v1/freshness") => {}
        _ => assert_ne!(status, 200),
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

/// The host's side of a few connections.
struct Host<'a> {
    streams: VecDeque<&'a [u8]>,
    pattern: Pattern,
    then: Then,
    /// What arrives on the connection that was made last.
    current: &'a [u8],
    connections: usize,
}

impl<'a> Net for Host<'a> {
    type Connection = Wire<'a>;

    async fn connect(&mut self, _: SocketAddr) -> Result<Wire<'a>, NetError> {
        let stream = self.streams.pop_front().ok_or(NetError)?;
        self.connections += 1;
        self.current = stream;
        Ok(Wire::new(stream, self.pattern.clone(), self.then))
    }
}

/// A few requests to a host that answers anything: what a device takes for an answer, everybody does.
pub fn http_response(data: &[u8]) {
    let mut input = Input::new(data);
    head(input.clone().rest());
    let (pattern, then) = (input.pattern(), Then::of(input.byte()));
    let mut requests = Vec::new();
    for _ in 0..=input.byte() % 4 {
        let (start, len) = (u32::from(input.u16()), u32::from(input.u16()) % 5000 + 1);
        requests.push((input.byte() & 1 == 0).then_some(start..start + len));
    }
    let mut streams = VecDeque::new();
    while streams.len() < 3 && input.clone().u16() & 0x8000 != 0 {
        let len = input.u16() & 0x7FFF;
        streams.push_back(input.take(len.into()));
    }
    streams.push_back(input.rest());
    let clock = Ticks::default();
    let mut host = Host {
        streams,
        pattern,
        then,
        current: &[],
        connections: 0,
    };
    // Borrowed by the fetcher for as long as it lives, so what it read is followed by address.
    let mut read = Vec::new();
    {
        let mut fetcher = Fetcher::new(&mut host, &clock, peer());
        for range in &requests {
            let before = clock.now_ms();
            let got = block_on(exchange(&mut fetcher, range.clone()));
            assert!(clock.now_ms() - before <= 15_000, "a host holds the device");
            read.push(got);
        }
    }
    judge_content(data, &requests, &read);
}

async fn exchange(
    fetcher: &mut Fetcher<'_, Host<'_>, Ticks>,
    range: Option<Range<u32>>,
) -> Option<Vec<u8>> {
    let what = Resource::Blob(Digest([7; 32]));
    let mut out = vec![0xA5; 5000];
    match range {
        None => {
            let len = fetcher.get_whole(what, &mut out).await.ok()?;
            out.truncate(len);
        }
        Some(range) => {
            out.truncate(range.len());
            fetcher.get_range(what, range.clone()).await.ok()?;
            // In two reads, as chunks are; never more than was asked for.
            let (first, second) = out.split_at_mut(range.len() / 2);
            fetcher.read_exact(first).await.ok()?;
            fetcher.read_exact(second).await.ok()?;
            assert!(fetcher.read_exact(&mut [0]).await.is_err());
        }
    }
    Some(out)
}

/// What was read stands in the input, behind a head that says so.
fn judge_content(data: &[u8], requests: &[Option<Range<u32>>], read: &[Option<Vec<u8>>]) {
    for (range, content) in requests.iter().zip(read) {
        let Some(content) = content else { continue };
        let fits = (0..data.len()).any(|at| {
            let mut fields = vec![httparse::EMPTY_HEADER; FIELDS];
            let mut head = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(end)) = head.parse(&data[at..]) else {
                return false;
            };
            let value = |name: &str| {
                let mut ours = head
                    .headers
                    .iter()
                    .filter(|f| f.name.eq_ignore_ascii_case(name));
                let value = ours.next().map(|f| f.value)?;
                // Two lengths are no length.
                ours.next().is_none().then_some(value)
            };
            let length = value("content-length").and_then(|v| std::str::from_utf8(v).ok());
            let right = match range {
                None => head.code == Some(200),
                Some(range) => {
                    let found = value("content-range").and_then(|v| std::str::from_utf8(v).ok());
                    head.code == Some(206) && found.and_then(numbers) == Some(range.clone())
                }
            };
            right
                && length.and_then(|text| text.trim().parse().ok()) == Some(content.len())
                && data[at + end..].starts_with(content)
        });
        assert!(fits, "content that no answer has");
    }
}

/// The range of `bytes FIRST-LAST/TOTAL`.
fn numbers(value: &str) -> Option<Range<u32>> {
    let (range, _) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u32>().ok()?.checked_add(1)?)
}

/// A head that a device reads is one to the judge as well, with the same status and length.
fn head(bytes: &[u8]) {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return;
    };
    let Some(ours) = Head::parse(&bytes[..end + 4]) else {
        return;
    };
    let mut fields = vec![httparse::EMPTY_HEADER; FIELDS];
    let mut judged = httparse::Response::new(&mut fields);
    let parsed = match judged.parse(&bytes[..end + 4]) {
        Err(httparse::Error::TooManyHeaders) => return,
        parsed => parsed.expect("a head to a device and to nobody else"),
    };
    assert_eq!(parsed, httparse::Status::Complete(end + 4));
    assert_eq!(judged.code, Some(ours.status));
    let mut lengths = judged
        .headers
        .iter()
        .filter(|f| f.name.eq_ignore_ascii_case("content-length"));
    let length = lengths
        .next()
        .map(|f| std::str::from_utf8(f.value).expect("digits").parse());
    assert_eq!(length, ours.content_length.map(Ok));
    assert_eq!(lengths.next(), None);
}
