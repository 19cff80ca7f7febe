//! A thousand connections that hold on and do nothing, and a device among them.
//!
//! They come from several addresses of loopback, which Linux answers for without being asked.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Duration,
};

use airlift_serve::Limits;
use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{Client, Offer, get};

/// Bytes of the part: more than the kernel takes on behalf of a reader that does not read.
const PART: usize = 4 << 20;
const CHUNK: usize = 4096;
/// How long any of this may take before it is called hanging.
const HANGS: Duration = Duration::from_secs(60);
/// What a thousand slow connections may cost the server's own memory, in KiB: 48 each.
const MEMORY: u64 = 48 * 1024;

/// What a connection does instead of fetching.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// Says nothing at all, as a peer does that has lost its power.
    Silent,
    /// Sends half a head.
    Head,
    /// Asks for a whole part and reads nothing of it.
    Reader,
    /// Has had an answer and keeps the connection.
    Idle,
}

const KINDS: [Slow; 4] = [Slow::Silent, Slow::Head, Slow::Reader, Slow::Idle];

impl Slow {
    async fn open(self, from: Ipv4Addr, to: SocketAddr, offer: &Offer) -> std::io::Result<Client> {
        let socket = TcpSocket::new_v4()?;
        // A small window, so that what is not read stays with the server.
        socket.set_recv_buffer_size(4096)?;
        socket.bind((from, 0).into())?;
        let mut client = Client {
            stream: socket.connect(to).await?,
            input: Vec::new(),
        };
        let request = get(&offer.blob_path());
        match self {
            Self::Silent => {}
            Self::Head => {
                client
                    .stream
                    .write_all(&request.text().as_bytes()[..20])
                    .await?
            }
            Self::Reader => client.stream.write_all(request.text().as_bytes()).await?,
            Self::Idle => {
                let request = get(&offer.envelope_path()).text();
                client.stream.write_all(request.as_bytes()).await?;
                client.answer(false).await?;
            }
        }
        Ok(client)
    }
}

/// Opens connections, `each` from every address, of all kinds.
async fn crowd(addresses: u8, each: usize, to: SocketAddr, offer: &Offer) -> Vec<Client> {
    crowd_of(&KINDS, addresses, each, to, offer).await
}

async fn crowd_of(
    kinds: &[Slow],
    addresses: u8,
    each: usize,
    to: SocketAddr,
    offer: &Offer,
) -> Vec<Client> {
    let mut held = Vec::new();
    for address in 1..=addresses {
        for n in 0..each {
            let from = Ipv4Addr::new(127, 0, 1, address);
            // One that finds no place, or loses it at once, is gone again.
            held.extend(kinds[n % kinds.len()].open(from, to, offer).await);
        }
    }
    held
}

/// Fetches envelope, index and every chunk, as a device does, and counts the chunks.
async fn download(to: SocketAddr, offer: &Offer) -> usize {
    let fetch = async {
        let mut device = Client::connect(to).await;
        for (path, wanted) in [
            (offer.envelope_path(), offer.envelope.clone()),
            (offer.index_path(), offer.index().into()),
        ] {
            device.send(&get(&path)).await;
            assert!(device.answer(false).await.unwrap().body == wanted);
        }
        let mut chunks = 0;
        for (n, chunk) in offer.part.chunks(CHUNK).enumerate() {
            let first = n * CHUNK;
            let range = format!("bytes={first}-{}", first + chunk.len() - 1);
            device
                .send(&get(&offer.blob_path()).field("Range", &range))
                .await;
            let answer = device.answer(false).await.unwrap();
            assert_eq!(answer.status, 206);
            assert!(answer.body == Bytes::copy_from_slice(chunk), "chunk {n}");
            chunks += 1;
        }
        chunks
    };
    timeout(HANGS, fetch)
        .await
        .expect("the device is kept from its chunks")
}

/// A server in a process of its own.
struct Process {
    child: Child,
    addr: SocketAddr,
    /// Those that it has without any connection.
    sockets: usize,
}

const ROLE: &str = "AIRLIFT_TEST_SERVER";

impl Process {
    /// With room for this many files, if given.
    fn start(files: Option<u32>) -> Self {
        let limit = files.map_or(String::new(), |files| format!("ulimit -n {files} && "));
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!(
                r#"{limit}exec "$0" --exact crowds::in_a_role --ignored --nocapture"#
            ))
            .arg(std::env::current_exe().unwrap())
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let addr = lines
            .find_map(|line| line.strip_prefix("@ ").map(str::to_owned))
            .unwrap();
        let sockets = sockets(&child);
        let addr = addr.parse().unwrap();
        Self {
            child,
            addr,
            sockets,
        }
    }

    /// How many connections it has. Whoever asks has closed its own, which takes it a moment to see.
    async fn connections(&self, wanted: impl Fn(usize) -> bool) -> usize {
        let count = || sockets(&self.child) - self.sockets;
        for _ in 0..100 {
            if wanted(count()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        count()
    }

    /// What is in memory, in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn sockets(child: &Child) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let links = files
        .flatten()
        .flat_map(|file| std::fs::read_link(file.path()));
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "this is the server of the other tests"]
fn in_a_role() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let offer = Offer::of_len(PART);
    let server = offer.serve_within(Limits::default());
    println!("@ {}", server.local_addr());
    std::io::stdout().flush().unwrap();
    // Until whoever started this lets go.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[tokio::test]
async fn a_thousand_that_do_nothing_keep_no_device_from_its_chunks() {
    let offer = Offer::of_len(PART);
    let process = Process::start(None);
    let alone = download(process.addr, &offer).await;
    let before = process.memory();
    let held = crowd(8, 125, process.addr, &offer).await;
    assert_eq!(download(process.addr, &offer).await, alone);
    assert_eq!(alone, PART / CHUNK);
    let there = process.connections(|n| n == held.len()).await;
    assert_eq!(there, 1000, "they were there all the time");
    let grown = process.memory().saturating_sub(before);
    eprintln!("1000 slow connections: {grown} KiB of the server's memory, {alone} chunks intact");
    assert!(grown < MEMORY, "{grown} KiB");
}

#[tokio::test]
async fn when_all_places_are_held_a_device_still_gets_one() {
    let offer = Offer::of_len(PART);
    let process = Process::start(None);
    let held = crowd(9, 120, process.addr, &offer).await;
    assert_eq!(download(process.addr, &offer).await, PART / CHUNK);
    let most = Limits::default().connections;
    let open = process.connections(|n| n < most).await;
    assert!(
        open < most && open > most - 60,
        "{open} of {} are open",
        held.len()
    );
}

#[tokio::test]
async fn one_address_holds_its_share_of_those_that_take_nothing_and_no_more() {
    let offer = Offer::of_len(PART);
    let process = Process::start(None);
    let held = crowd_of(&[Slow::Silent, Slow::Head], 1, 400, process.addr, &offer).await;
    assert_eq!(download(process.addr, &offer).await, PART / CHUNK);
    let share = Limits::default().of_one_address;
    let open = process.connections(|n| n == share).await;
    assert_eq!(open, share, "of {}", held.len());
}

/// As behind a proxy: each of them takes something all the time.
#[tokio::test]
async fn more_devices_than_its_share_are_served_behind_one_address() {
    let offer = Offer::of_len(PART);
    let limits = Limits {
        of_one_address: 8,
        ..Limits::default()
    };
    let server = offer.serve_within(limits);
    let mut devices = Vec::new();
    let request = get(&offer.envelope_path());
    for _ in 0..40 {
        devices.push(Client::connect(server.local_addr()).await);
        for device in &mut devices {
            device.send(&request).await;
            let answer = device.answer(false).await.expect("it keeps its connection");
            assert!(answer.body == offer.envelope);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_process_without_files_left_gives_up_those_that_do_nothing() {
    let offer = Offer::of_len(PART);
    let process = Process::start(Some(48));
    let open = |n: u8| {
        let (to, offer) = (process.addr, &offer);
        async move {
            Slow::Head
                .open(Ipv4Addr::new(127, 0, 1, n % 8 + 1), to, offer)
                .await
                .unwrap()
        }
    };
    let mut held = Vec::new();
    for n in 0..100 {
        held.push(open(n).await);
    }
    assert_eq!(download(process.addr, &offer).await, PART / CHUNK);
    let open = process.connections(|n| n < 48).await;
    assert!(open < 48, "{open} of {} are open with 48 files", held.len());
}

/// Reads steadily, a little at a time, and so slowly that what the kernel would hold takes longer
/// than the limit on a stall.
#[tokio::test]
async fn a_slow_reader_that_keeps_reading_is_not_taken_for_a_stalled_one() {
    let offer = Offer::of_len(PART);
    let limits = Limits {
        stall: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = offer.serve_within(limits);
    let from = Ipv4Addr::LOCALHOST;
    let mut reader = Slow::Reader
        .open(from, server.local_addr(), &offer)
        .await
        .unwrap();
    // 160 KiB within the limit, and more altogether than the kernel sends on after a server gave up.
    for _ in 0..90 {
        take(&mut reader.stream, 16 * 1024).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}

async fn take(stream: &mut TcpStream, most: usize) {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = vec![0; most];
    stream
        .read_exact(&mut bytes)
        .await
        .expect("the server goes on sending");
}
