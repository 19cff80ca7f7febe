//! What devices and strangers on the network send the host.

use crate::input::{Input, Pattern};
use crate::line::{DeviceLine, Lines, MAX_LINE};
use airlift_discover::device::{DeviceId, MAX_DEVICE_JSON, MAX_KEYS, MAX_SLOTS};
use airlift_discover::table::{Answer, Effect, MAX_ADDRESSES, MAX_PROBES, ProbeToken, Table};
use airlift_discover::{Change, DeviceInfo, Error};
use airlift_serve::{MemoryStore, router};
use airlift_updater::event::{ChunkState, Event, PartName, Phase};
use airlift_updater::{Failure, SlotId};
use airlift_wire::{Digest, ErrorCode};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::ServiceExt as _;

/// A description that is read keeps its limits and is written to one that reads the same.
pub fn device_json(data: &[u8]) {
    let Ok(info) = DeviceInfo::parse(data) else {
        return;
    };
    assert!(data.len() <= MAX_DEVICE_JSON);
    assert!(info.slots.len() <= MAX_SLOTS);
    assert!(
        info.trust
            .as_ref()
            .is_none_or(|trust| trust.keys.len() <= MAX_KEYS)
    );
    let id = info.id.as_str();
    assert!(id.parse::<DeviceId>().is_ok() && !id.contains(['/', '.', '%']));
    let texts = [&info.name, &info.product, &info.chip];
    let version = info
        .slots
        .iter()
        .chain([&info.running])
        .filter_map(|s| s.version.as_ref());
    for text in texts.into_iter().chain(version) {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    let json = serde_json::to_vec(&info).expect("JSON");
    let again = DeviceInfo::parse(&json).expect("what was written");
    assert_eq!(again, info);
    assert!(again.same_news(&info));
}

/// Lines are the same however they arrive, and each is bounded; what a device writes is read as
/// what it means.
pub fn progress_lines(data: &[u8]) {
    let mut input = Input::new(data);
    let pattern = input.pattern();
    line_of_a_device(&mut input.clone());
    let stream = input.rest();
    let whole = lines(stream, Pattern::default());
    assert_eq!(whole, lines(stream, pattern));
    for line in &whole.0 {
        assert!((1..=MAX_LINE).contains(&line.len()) && !line.contains(&b'\n'));
        let _ = DeviceLine::parse(line);
    }
}

fn lines(mut stream: &[u8], mut pattern: Pattern) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    while !stream.is_empty() {
        let (now, later) = stream.split_at(pattern.next_size().min(stream.len()));
        if lines.push(now, |line| found.push(line.to_vec())).is_err() {
            return (found, false);
        }
        stream = later;
    }
    (found, true)
}

fn line_of_a_device(input: &mut Input<'_>) {
    use DeviceLine as Line;
    let part = [PartName::App, PartName::Files][usize::from(input.byte() % 2)];
    let states = [
        ChunkState::Kept,
        ChunkState::Fetching,
        ChunkState::Checked,
        ChunkState::Written,
        ChunkState::ReadBack,
    ];
    let (kind, n, count, attempt) = (input.byte(), input.u32(), input.u32(), input.u32());
    let state = states[usize::from(input.byte()) % states.len()];
    let (expected, computed) = (Digest(input.array()), Digest(input.array()));
    let code = ErrorCode::ALL[usize::from(input.byte()) % ErrorCode::ALL.len()];
    let (part_name, text) = (part.as_str().to_owned(), |d: Digest| d.to_string());
    let (event, line) = match kind % 7 {
        0 => (
            Event::Started {
                token: [kind; 8],
                release: expected,
                app: n,
                files: count,
            },
            Line::Started {
                token: format!("{kind:02x}").repeat(8),
                release: text(expected),
            },
        ),
        1 => (
            Event::Phase(Phase::Preflight),
            Line::Phase {
                phase: "preflight".to_owned(),
            },
        ),
        2 => (
            Event::Chunk {
                part,
                n,
                count,
                state,
            },
            Line::Chunk {
                part: part_name,
                n,
                count,
                state: state.as_str().to_owned(),
                attempt: 0,
                expected: String::new(),
                computed: String::new(),
            },
        ),
        3 => (
            Event::Refused {
                part,
                n,
                attempt,
                expected,
                computed,
            },
            Line::Chunk {
                part: part_name,
                n,
                count: 1,
                state: "refused".to_owned(),
                attempt,
                expected: text(expected),
                computed: text(computed),
            },
        ),
        4 => (
            Event::Part {
                part,
                expected,
                computed,
            },
            Line::Part {
                part: part_name,
                expected: text(expected),
                computed: text(computed),
            },
        ),
        5 => {
            let slot = SlotId::ALL[usize::from(kind % 3)].name();
            let line = Line::Rebooting {
                slot: Some(slot.to_owned()),
            };
            (Event::Rebooting { slot }, line)
        }
        _ => {
            let message = "the update was cancelled";
            let line = Line::Failed {
                code: code.as_str().to_owned(),
                message: message.to_owned(),
            };
            (Event::Failed(Failure::new(code, message)), line)
        }
    };
    let mut json = String::new();
    event.write_json(&mut json).expect("room");
    assert!(json.len() < 300, "{json}");
    assert_eq!(
        DeviceLine::parse(json.as_bytes()).ok(),
        Some(line),
        "{json}"
    );
}

/// A stream on which everything arrives once something was asked.
struct Stream<'a> {
    incoming: &'a [u8],
    pattern: Pattern,
    asked: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Stream<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let n = self.pattern.next_size().min(buf.remaining());
        let (now, later) = self.incoming.split_at(n.min(self.incoming.len()));
        buf.put_slice(now);
        self.incoming = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// An address that answers anything is a device or is not, however its answer arrives.
pub fn probe_answer(data: &[u8]) {
    let mut input = Input::new(data);
    let pattern = input.pattern();
    let incoming = input.rest();
    let whole = ask(incoming, Pattern::default());
    let pieces = ask(incoming, pattern);
    let info = |result: &Result<DeviceInfo, Error>| result.as_ref().ok().cloned();
    assert_eq!(info(&whole), info(&pieces), "{whole:?}\n{pieces:?}");
    if let Ok(info) = whole {
        assert!(incoming.starts_with(b"HTTP/1."));
        assert_eq!(info.schema, 1);
    }
}

/// Whether the first seed of [`probe_answer`] is a device: with nothing that is, nothing is tested.
pub fn a_device_is_found() -> bool {
    let seed = &crate::seeds::of("probe_answer")[0];
    let mut input = Input::new(seed);
    let pattern = input.pattern();
    ask(input.rest(), pattern).is_ok()
}

fn ask(incoming: &[u8], pattern: Pattern) -> Result<DeviceInfo, Error> {
    let stream = Stream {
        incoming,
        pattern,
        asked: false,
        reader: None,
    };
    run(airlift_discover::ask_on(([10, 0, 0, 2], 80).into(), stream))
}

/// Any response of multicast DNS is read or refused, without questions: the door into `mdns-sd` counts
/// those that are of an unknown type, and its parser does not.
pub fn mdns_packet(data: &[u8]) {
    let mut packet = data.to_vec();
    if let Some(questions) = packet.get_mut(4..6) {
        questions.fill(0);
    }
    mdns_sd::fuzz_api::parse_packet(&packet);
}

/// Any history of announcements, answers and silence: the table stays bounded, asks for no more than
/// it may, and what it tells adds up to what it holds.
pub fn discovery(data: &[u8]) {
    use airlift_discover::table::Input as Happens;
    static INFO: LazyLock<DeviceInfo> =
        LazyLock::new(|| DeviceInfo::parse(crate::seeds::DEVICE.as_bytes()).expect("a device"));
    let mut input = Input::new(data);
    let mut table = Table::new(u64::from(input.byte()));
    let mut now = Duration::from_secs(100);
    let mut probes: Vec<(ProbeToken, SocketAddr)> = Vec::new();
    let mut online = BTreeSet::new();
    let id = |n: u8| format!("d{}", n % 6).parse::<DeviceId>().expect("an id");
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        let (kind, n) = (input.byte(), input.byte());
        let mut at = |count: u8| {
            (0..count % 12)
                .map(|_| place(input.byte()))
                .collect::<Vec<_>>()
        };
        let happens = match kind % 16 {
            0..=3 => Happens::Announced {
                instance: format!("i{}._airlift._tcp.local.", n % 8),
                addresses: at(kind >> 4),
            },
            4 => Happens::Withdrawn {
                instance: format!("i{}._airlift._tcp.local.", n % 8),
            },
            5 => Happens::Remembered {
                id: id(n),
                info: (n & 0x80 == 0).then(|| described(&INFO, id(n), 0)),
                addresses: at(kind >> 4),
                last_seen_unix: None,
            },
            6 => Happens::Manual(place(n)),
            7 => Happens::RemoveManual(place(n)),
            8 => Happens::ProbeNow(id(n)),
            9 => Happens::Forget(id(n)),
            10 if n == 0 => Happens::InterfacesChanged,
            11..=13 if !probes.is_empty() => {
                let (token, addr) = probes.swap_remove(usize::from(n) % probes.len());
                let result = match kind >> 4 {
                    0..=4 => Err(Error::TimedOut { addr }),
                    5 => Err(Error::NotADevice {
                        addr,
                        reason: String::new(),
                    }),
                    which => Ok(Box::new(Answer {
                        info: *described(&INFO, id(which), u64::from(n) * 1000),
                        local_addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
                        round_trip: Duration::ZERO,
                        unix: 0,
                    })),
                };
                Happens::Probed { token, result }
            }
            _ => {
                now += Duration::from_millis(u64::from(n) * u64::from(kind >> 4) * 8);
                Happens::Tick
            }
        };
        for effect in table.handle(happens, now) {
            match effect {
                Effect::Probe { token, addr } => probes.push((token, addr)),
                Effect::Change(change) => match *change {
                    Change::Appeared(seen) => assert!(online.insert(seen.id), "it appeared twice"),
                    Change::Changed(seen) => assert_eq!(online.contains(&seen.id), seen.online),
                    Change::Gone(seen) => assert!(online.remove(&seen.id), "it was not there"),
                    Change::Forgotten(id) => drop(online.remove(&id)),
                },
            }
        }
        assert!(probes.len() <= MAX_PROBES);
        assert!(
            probes
                .iter()
                .all(|(_, addr)| addr.port() != 0 && !addr.ip().is_unspecified())
        );
        assert!(
            table.next_wake().is_none_or(|at| at > now),
            "it never rests"
        );
        let devices = table.devices();
        let answering = devices.iter().filter(|d| d.online).map(|d| d.id.clone());
        assert_eq!(answering.collect::<BTreeSet<_>>(), online);
        assert!(devices.iter().all(|d| d.addresses.len() <= MAX_ADDRESSES));
    }
}

fn described(info: &DeviceInfo, id: DeviceId, uptime_ms: u64) -> Box<DeviceInfo> {
    Box::new(DeviceInfo {
        id,
        uptime_ms,
        ..info.clone()
    })
}

fn place(n: u8) -> SocketAddr {
    let v6 = |n: u8| Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, n.into());
    match n % 24 {
        0 => (Ipv4Addr::UNSPECIFIED, 80).into(),
        1 => (Ipv4Addr::new(224, 0, 0, 251), 80).into(),
        2 => (Ipv4Addr::new(192, 0, 2, 1), 0).into(),
        n if n % 2 == 0 => (Ipv4Addr::new(192, 0, 2, n), 80).into(),
        n => SocketAddrV6::new(v6(n), 80, 0, 3).into(),
    }
}

/// The part that the chunk server of [`host_request`] has.
pub(crate) static PART: LazyLock<Bytes> =
    LazyLock::new(|| (0..10_000_u32).map(|n| (n * n % 251) as u8).collect());

/// Any request to the chunk server: what is sent is what its head says, byte for byte.
pub fn host_request(data: &[u8]) {
    static STORE: LazyLock<Arc<MemoryStore>> = LazyLock::new(|| {
        let store = MemoryStore::default();
        let envelope = Bytes::from_static(b"an envelope");
        store.insert(envelope, [PART.clone()]).expect("room");
        Arc::new(store)
    });
    let mut input = Input::new(data);
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
    let method = methods[usize::from(input.byte()) % methods.len()].clone();
    let path = match input.byte() {
        0 => format!("/v1/blobs/{}", Digest::of(&PART)),
        1 => format!("/v1/indexes/{}", Digest::of(&PART)),
        _ => String::from_utf8_lossy(input.piece()).into_owned(),
    };
    let mut fields = BTreeMap::new();
    for name in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH] {
        let value = input.piece();
        if !value.is_empty() {
            fields.insert(name.as_str().to_owned(), (name, value.to_vec()));
        }
    }
    let mut request = Request::builder().method(method.clone()).uri(path);
    for (name, value) in fields.into_values() {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Empty::<Bytes>::new()) else {
        return;
    };
    let (head, body) = run(async {
        let response = router(STORE.clone()).oneshot(request.map(axum_body)).await;
        let (head, body) = response.expect("never fails").into_parts();
        (head, body.collect().await.expect("in memory").to_bytes())
    });
    let field = |name| head.headers.get(name).map(|v| v.to_str().expect("text"));
    let length = field(header::CONTENT_LENGTH).map(|text| text.parse::<usize>().expect("digits"));
    if method == Method::HEAD {
        assert!(body.is_empty());
    } else if let Some(length) = length {
        assert_eq!(length, body.len());
    }
    if head.status == StatusCode::PARTIAL_CONTENT {
        let range = field(header::CONTENT_RANGE).expect("what part it is");
        let (range, _) = range
            .strip_prefix("bytes ")
            .expect("bytes")
            .split_once('/')
            .expect("of");
        let (first, last) = range.split_once('-').expect("first and last");
        let (first, last): (usize, usize) = (
            first.parse().expect("digits"),
            last.parse().expect("digits"),
        );
        assert_eq!(length, Some(last + 1 - first));
        if method == Method::GET && length != Some(96) {
            assert!(body == PART[first..=last] || last < 96, "{first}-{last}");
        }
    }
}

fn axum_body(_: Empty<Bytes>) -> axum::body::Body {
    axum::body::Body::empty()
}
