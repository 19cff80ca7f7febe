//! Connections in memory.

use super::scheduler::Scheduler;
use crate::device::Listener;
use airlift_updater::platform::{Connection, Net, NetError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Bytes that are on their way in one direction at most, unless [`Network::set_window`] says less.
const WINDOW: usize = 64 * 1024;
/// First port of outgoing connections.
const FIRST_PORT: u16 = 50_000;

/// Connects addresses. Clones are the same network.
#[derive(Clone, Default)]
pub struct Network(Rc<Inner>);

#[derive(Default)]
struct Inner {
    scheduler: Scheduler,
    listeners: RefCell<BTreeMap<SocketAddr, Rc<Backlog>>>,
    silent: RefCell<BTreeSet<SocketAddr>>,
    latency: Cell<Duration>,
    window: Cell<usize>,
    ports: Cell<u16>,
    connections: RefCell<Vec<std::rc::Weak<Link>>>,
}

#[derive(Default)]
struct Backlog {
    waiting: RefCell<VecDeque<(MemoryConnection, SocketAddr)>>,
    accepting: RefCell<Vec<Waker>>,
}

/// Both directions of a connection.
struct Link {
    ends: [SocketAddr; 2],
    ways: [Way; 2],
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What is on its way, and when it arrives.
    queue: RefCell<VecDeque<(Duration, Vec<u8>)>>,
    in_flight: Cell<usize>,
    /// The sender is gone: what is on its way still arrives.
    ended: Cell<bool>,
    /// When it broke: what had arrived by then can be read, the rest is lost.
    broken: Cell<Option<Duration>>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Way {
    fn wake(&self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    fn end(&self) {
        self.ended.set(true);
        self.wake();
    }

    fn cut(&self, now: Duration) {
        if self.broken.get().is_none() {
            self.broken.set(Some(now));
        }
        self.wake();
    }
}

impl Network {
    /// A network without latency.
    pub fn new(scheduler: &Scheduler) -> Self {
        Self(Rc::new(Inner {
            scheduler: scheduler.clone(),
            ports: Cell::new(FIRST_PORT),
            window: Cell::new(WINDOW),
            ..Inner::default()
        }))
    }

    /// How long bytes are on their way, and a connection takes to be made.
    pub fn set_latency(&self, latency: Duration) {
        self.0.latency.set(latency);
    }

    /// How many bytes may be on their way in one direction before a sender has to wait.
    pub fn set_window(&self, bytes: usize) {
        self.0.window.set(bytes);
    }

    /// Whether connections to `address` are neither made nor refused, as behind a firewall.
    pub fn set_silent(&self, address: SocketAddr, silent: bool) {
        let mut all = self.0.silent.borrow_mut();
        if silent {
            all.insert(address);
        } else {
            all.remove(&address);
        }
    }

    /// Breaks all connections between two addresses of hosts.
    pub fn break_connections(&self, a: IpAddr, b: IpAddr) {
        let mut connections = self.0.connections.borrow_mut();
        connections.retain(|link| link.strong_count() > 0);
        for link in connections.iter().filter_map(std::rc::Weak::upgrade) {
            let ips = link.ends.map(|end| end.ip());
            if ips == [a, b] || ips == [b, a] {
                link.ways
                    .iter()
                    .for_each(|way| way.cut(self.0.scheduler.now()));
            }
        }
    }

    /// Opens a port; closed when the listener is dropped.
    pub fn listen(&self, address: SocketAddr) -> MemoryListener {
        let backlog = Rc::new(Backlog::default());
        let mut listeners = self.0.listeners.borrow_mut();
        listeners.insert(address, Rc::clone(&backlog));
        MemoryListener {
            network: self.clone(),
            address,
            backlog,
        }
    }

    /// The way to the network of a host.
    pub fn interface(&self, ip: IpAddr) -> Interface {
        Interface {
            network: self.clone(),
            ip,
        }
    }
}

/// Outgoing connections of one host.
#[derive(Clone)]
pub struct Interface {
    network: Network,
    ip: IpAddr,
}

impl Net for Interface {
    type Connection = MemoryConnection;

    async fn connect(&mut self, peer: SocketAddr) -> Result<MemoryConnection, NetError> {
        let inner = &self.network.0;
        inner.scheduler.sleep(inner.latency.get()).await;
        if inner.silent.borrow().contains(&peer) {
            return pending().await;
        }
        let backlog = inner.listeners.borrow().get(&peer).cloned();
        let backlog = backlog.ok_or(NetError)?;
        let port = inner.ports.get();
        inner.ports.set(port.checked_add(1).unwrap_or(FIRST_PORT));
        let here = SocketAddr::new(self.ip, port);
        let link = Rc::new(Link {
            ends: [here, peer],
            ways: Default::default(),
        });
        inner.connections.borrow_mut().push(Rc::downgrade(&link));
        let end = |out| MemoryConnection {
            link: Rc::clone(&link),
            out,
            network: self.network.clone(),
        };
        backlog.waiting.borrow_mut().push_back((end(1), here));
        for waker in backlog.accepting.take() {
            waker.wake();
        }
        Ok(end(0))
    }
}

/// An open port.
pub struct MemoryListener {
    network: Network,
    address: SocketAddr,
    backlog: Rc<Backlog>,
}

impl Listener for MemoryListener {
    type Connection = MemoryConnection;

    async fn accept(&self) -> (MemoryConnection, SocketAddr) {
        poll_fn(|context| {
            if let Some(next) = self.backlog.waiting.borrow_mut().pop_front() {
                return Poll::Ready(next);
            }
            let waker = context.waker();
            let mut accepting = self.backlog.accepting.borrow_mut();
            if !accepting.iter().any(|other| other.will_wake(waker)) {
                accepting.push(waker.clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let mut listeners = self.network.0.listeners.borrow_mut();
        let ours = listeners
            .get(&self.address)
            .is_some_and(|other| Rc::ptr_eq(other, &self.backlog));
        if ours {
            listeners.remove(&self.address);
        }
    }
}

/// One end of a connection.
pub struct MemoryConnection {
    link: Rc<Link>,
    /// The way that this end writes to.
    out: usize,
    network: Network,
}

impl Connection for MemoryConnection {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        let way = &self.link.ways[1 - self.out];
        let scheduler = &self.network.0.scheduler;
        loop {
            let arrives = poll_fn(|context| {
                let broken = way.broken.get();
                if let Some((at, _)) = way.queue.borrow().front()
                    && broken.is_none_or(|broken| *at <= broken)
                {
                    return Poll::Ready(Ok(Some(*at)));
                }
                if broken.is_some() {
                    return Poll::Ready(Err(NetError));
                }
                if way.ended.get() {
                    return Poll::Ready(Ok(None));
                }
                *way.reader.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            })
            .await?;
            let Some(at) = arrives else {
                return Ok(0);
            };
            if at > scheduler.now() {
                // It may break meanwhile.
                scheduler.sleep_until(at).await;
                continue;
            }
            let mut queue = way.queue.borrow_mut();
            let Some((_, bytes)) = queue.front_mut() else {
                continue;
            };
            let n = bytes.len().min(buf.len());
            buf[..n].copy_from_slice(&bytes[..n]);
            bytes.drain(..n);
            if bytes.is_empty() {
                queue.pop_front();
            }
            way.in_flight.set(way.in_flight.get() - n);
            if let Some(waker) = way.writer.take() {
                waker.wake();
            }
            return Ok(n);
        }
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        let way = &self.link.ways[self.out];
        let window = self.network.0.window.get();
        let mut rest = data;
        while !rest.is_empty() {
            poll_fn(|context| {
                if way.broken.get().is_some() {
                    return Poll::Ready(Err(NetError));
                }
                if way.in_flight.get() < window {
                    return Poll::Ready(Ok(()));
                }
                *way.writer.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            })
            .await?;
            let n = rest.len().min(window.saturating_sub(way.in_flight.get()));
            let inner = &self.network.0;
            let at = inner.scheduler.now() + inner.latency.get();
            way.queue.borrow_mut().push_back((at, rest[..n].to_vec()));
            way.in_flight.set(way.in_flight.get() + n);
            if let Some(waker) = way.reader.take() {
                waker.wake();
            }
            rest = &rest[n..];
        }
        Ok(())
    }
}

impl MemoryConnection {
    /// Breaks it for both ends; what is on its way is lost.
    pub fn reset(&self) {
        let now = self.network.0.scheduler.now();
        self.link.ways.iter().for_each(|way| way.cut(now));
    }
}

impl Drop for MemoryConnection {
    fn drop(&mut self) {
        self.link.ways[self.out].end();
        // Nobody reads the other way any more.
        self.link.ways[1 - self.out].cut(self.network.0.scheduler.now());
    }
}
