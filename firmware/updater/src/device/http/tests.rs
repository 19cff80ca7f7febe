use super::*;
use crate::device::tests::Hasty;
use crate::device::{Maybe, Status};
use airlift_wire::Digest;
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
