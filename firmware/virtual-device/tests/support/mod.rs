//! Devices, a chunk server and a client for tests over real sockets on loopback.
#![allow(dead_code)] // each test binary uses what it needs

use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_serve::{Limits, MemoryStore, Server, bind, router};
use airlift_virtual_device::{SimulationConfig, Software};
use airlift_wire::KeySet;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const OLD: &[u8] = include_bytes!("../../../../tests/fixtures/demo-1.0.0.bin");
pub const NEW: &[u8] = include_bytes!("../../../../tests/fixtures/demo-1.1.0.bin");
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn release(key: &SigningKey, sequence: u32) -> Release {
    let mut options = PackOptions::new("sim-test", sequence, key);
    options.app = Some(NEW.into());
    options.files = Some(FilesInput::from_iter([
        ("main.py", "import lib.x\n"),
        ("lib/x.py", "print('x')\n"),
    ]));
    pack(options).unwrap().release
}

pub fn config(dir: &std::path::Path, count: usize, key: &SigningKey) -> SimulationConfig {
    let trust = KeySet::new(1, key.public(), &[key.public()]).unwrap();
    let software = Software::App(OLD.to_vec());
    let mut config = SimulationConfig::new(dir, count, "sim-test", trust, software);
    config.announce = false;
    config.settings.boot_ms = 20;
    config
}

pub fn ask(address: SocketAddr) -> Option<Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /v1/device HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

/// Asks until the answer is as wanted.
pub fn wait_for(address: SocketAddr, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask(address) {
            Some(info) if wanted(&info) => return info,
            other => assert!(Instant::now() < end, "waited too long: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends an envelope and returns the lines of progress.
pub fn update(address: SocketAddr, host: SocketAddr, release: &Release) -> Vec<Value> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let envelope = release.envelope();
    let len = envelope.len();
    write!(
        stream,
        "POST /v1/update?from=http://{host} HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/cose\r\nContent-Length: {len}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(envelope).unwrap();
    let lines = BufReader::new(stream).lines();
    lines
        .map_while(Result::ok)
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

pub fn serve(release: &Release) -> Server {
    let store = Arc::new(MemoryStore::default());
    let parts = release.parts().map(|(_, part)| part.bytes().clone());
    let parts: Vec<_> = parts.collect();
    store.insert(release.envelope().clone(), parts).unwrap();
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Server::start(listener, router(store), Limits::default()).unwrap()
}
