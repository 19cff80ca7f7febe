//! Devices in a process: tokio's clock and sockets.

use crate::device::{Environment, Listener};
use crate::pace::Pace;
use airlift_updater::device::Info;
use airlift_updater::platform::{Clock, Connection, Net, NetError, Random};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// How often the port is tried before another one is taken.
const BIND_TRIES: u32 = 40;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// Real time since the device started.
#[derive(Clone, Copy, Debug)]
pub struct HostClock(Instant);

impl HostClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for HostClock {
    fn now_ms(&self) -> u64 {
        // A device that runs for 500 million years may be wrong.
        self.0.elapsed().as_millis() as u64
    }

    async fn sleep_ms(&self, ms: u32) {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }
}

impl Pace for HostClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    async fn pause(&self, duration: Duration) {
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct HostRandom;

impl Random for HostRandom {
    fn fill(&mut self, buf: &mut [u8]) {
        if getrandom::fill(buf).is_err() {
            // Tokens of a simulated device: no secret depends on them.
            tracing::warn!("the operating system has no randomness");
        }
    }
}

/// Outgoing connections to loopback addresses; others are refused.
#[derive(Clone, Copy, Debug)]
pub struct LoopbackNet;

impl Net for LoopbackNet {
    type Connection = Tcp;

    async fn connect(&mut self, peer: SocketAddr) -> Result<Tcp, NetError> {
        if !peer.ip().is_loopback() {
            return Err(NetError);
        }
        let stream = TcpStream::connect(peer).await.map_err(|_| NetError)?;
        // Requests are small and their answers are waited for.
        let _ = stream.set_nodelay(true);
        Ok(Tcp(stream))
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct Tcp(TcpStream);

impl Connection for Tcp {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        self.0.read(buf).await.map_err(|_| NetError)
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        self.0.write_all(data).await.map_err(|_| NetError)
    }
}

impl Listener for TcpListener {
    type Connection = Tcp;

    async fn accept(&self) -> (Tcp, SocketAddr) {
        loop {
            match TcpListener::accept(self).await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return (Tcp(stream), peer);
                }
                // Out of file descriptors, mostly: wait for connections to end.
                Err(_) => tokio::time::sleep(BIND_PAUSE).await,
            }
        }
    }
}

/// Opens `port`, or any port for 0, on 127.0.0.1.
pub(crate) fn bind(port: u16) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A device on this computer's loopback interface.
pub(crate) struct Loopback<F> {
    /// The port, and its listener until the first start takes it.
    port: Cell<u16>,
    first: RefCell<Option<std::net::TcpListener>>,
    /// Told after each start, with the port.
    started: Rc<F>,
}

impl<F: Fn(&Info, u16)> Loopback<F> {
    pub fn new(port: u16, first: Option<std::net::TcpListener>, started: F) -> Self {
        Self {
            port: Cell::new(port),
            first: RefCell::new(first),
            started: Rc::new(started),
        }
    }

    /// The port again; after [`BIND_TRIES`] any other.
    async fn bind(&self) -> TcpListener {
        let mut tries = 0;
        loop {
            let port = if tries < BIND_TRIES {
                self.port.get()
            } else {
                0
            };
            if let Ok(listener) = bind(port).and_then(TcpListener::from_std) {
                return listener;
            }
            tries += 1;
            tokio::time::sleep(BIND_PAUSE).await;
        }
    }
}

impl<F: Fn(&Info, u16)> Environment for Loopback<F> {
    type Net = LoopbackNet;
    type Clock = HostClock;
    type Random = HostRandom;
    type Listener = TcpListener;

    fn net(&self) -> LoopbackNet {
        LoopbackNet
    }

    fn clock(&self) -> HostClock {
        HostClock::start()
    }

    fn random(&self) -> HostRandom {
        HostRandom
    }

    async fn listen(&self) -> TcpListener {
        let first = self.first.take().map(TcpListener::from_std);
        let listener = match first {
            Some(Ok(listener)) => listener,
            _ => self.bind().await,
        };
        if let Ok(address) = listener.local_addr() {
            self.port.set(address.port());
        }
        listener
    }

    fn started(&self, info: &Info) {
        (self.started)(info, self.port.get());
    }
}
