//! How much slower a device is served while a thousand slow connections are held: fetches a part chunk
//! by chunk, alone and among them, in turns, and prints medians and their ratio.

use std::{
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};

use airlift_serve::{Limits, MemoryStore, Server, bind, router};
use airlift_wire::Digest;
use socket2::{Domain, Socket, Type};

const PART: usize = 4 << 20;
const CHUNK: usize = 4096;
const ROUNDS: usize = 7;
/// Addresses of loopback, and connections from each.
const CROWD: (u8, usize) = (8, 125);

fn main() -> Result<(), Box<dyn Error>> {
    let part: Vec<u8> = (0..PART).map(|i| (i * i % 251) as u8).collect();
    let path = format!("/v1/blobs/{}", Digest::of(&part));
    let store = Arc::new(MemoryStore::default());
    store.insert("not signed".into(), [part.into()])?;
    let mut limits = Limits::default();
    // Nobody is given up while it is measured.
    (limits.request, limits.stall) = (std::time::Duration::MAX / 4, std::time::Duration::MAX / 4);
    let server = Server::start(
        bind((Ipv4Addr::LOCALHOST, 0).into())?,
        router(store),
        limits,
    )?;
    let to = server.local_addr();

    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(device(to, &path)?);
        let held = crowd(to, &path)?;
        among.push(device(to, &path)?);
        drop(held);
    }
    let (alone, among) = (median(alone), median(among));
    println!("chunks of 4096 bytes a second, one at a time: {alone:.0} alone, {among:.0} among");
    println!(
        "{} slow connections: {:.2} of the rate",
        usize::from(CROWD.0) * CROWD.1,
        among / alone
    );
    Ok(())
}

/// A quarter each: silent, half a head, a reader that does not read, idle after a request.
fn crowd(to: SocketAddr, path: &str) -> Result<Vec<Socket>, Box<dyn Error>> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n");
    let part = format!("{head}\r\n");
    let byte = format!("{head}Range: bytes=0-0\r\n\r\n");
    let sent = ["", &head, &part, &byte];
    let mut held = Vec::new();
    for address in 1..=CROWD.0 {
        for n in 0..CROWD.1 {
            let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, address), 0)).into())?;
            socket.connect(&to.into())?;
            socket.write_all(sent[n % sent.len()].as_bytes())?;
            held.push(socket);
        }
    }
    Ok(held)
}

/// Fetches the whole part and returns the chunks a second.
fn device(to: SocketAddr, path: &str) -> Result<f64, Box<dyn Error>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; CHUNK + 1024];
    let start = Instant::now();
    for first in (0..PART).step_by(CHUNK) {
        let last = first + CHUNK - 1;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: h\r\nRange: bytes={first}-{last}\r\n\r\n"
        )?;
        let mut len = 0;
        loop {
            let read = stream.read(&mut answer[len..])?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            len += read;
            let head = answer[..len]
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            if head.is_some_and(|head| len == head + 4 + CHUNK) {
                break;
            }
        }
    }
    Ok((PART / CHUNK) as f64 / start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
