//! A chunk server in memory that keeps count and can be made to misbehave.

use super::network::{MemoryConnection, Network};
use super::scheduler::Scheduler;
use crate::device::Listener;
use airlift_release::Release;
use airlift_updater::platform::{Connection, NetError};
use airlift_wire::Digest;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// Bytes that are sent at once.
const PIECE: usize = 4096;
const MAX_HEAD: usize = 2048;

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path.
    pub path: String,
    /// The range that was asked for.
    pub range: Option<Range<usize>>,
}

/// Up to 4096 bytes of an answer that are about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'p> {
    /// Path of the request.
    pub path: &'p str,
    /// First byte in the whole resource.
    pub offset: usize,
    /// Pieces that were sent before, of all answers.
    pub index: u64,
}

/// What becomes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is sent, as it is now.
    Send,
    /// The connection breaks instead.
    Reset,
    /// Nothing more is sent on this connection.
    Stall,
}

/// What a host does on a connection in place of the right answer, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes again and again for as long as anybody takes them, a thousand times a
    /// second.
    Repeat(Vec<u8>),
    /// Sends these bytes one at a time, each after a pause.
    Drip(Vec<u8>, Duration),
    /// Keeps the connection open and sends nothing more.
    Stall,
    /// Ends the connection; what was sent arrives.
    Close,
    /// Breaks the connection; what is on its way is lost.
    Reset,
}

/// A thousand times a second: time must pass, or a device that never has enough would never end.
const REPEAT_EVERY: Duration = Duration::from_millis(1);

type Tamper = Box<dyn FnMut(Piece<'_>, &mut Vec<u8>) -> Fate>;
type Script = Box<dyn FnMut(&Request, &Bytes) -> Option<Vec<Step>>>;

/// Serves releases as the design says. Clones are the same host.
#[derive(Clone, Default)]
pub struct ReleaseHost(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    resources: BTreeMap<String, Bytes>,
    requests: Vec<Request>,
    sent: BTreeMap<String, u64>,
    pieces: u64,
    tamper: Option<Tamper>,
    script: Option<Script>,
}

impl ReleaseHost {
    /// A host that serves nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a release and its parts from now on.
    pub fn add(&self, release: &Release) {
        self.add_resource(format!("/v1/releases/{}", release.id()), release.envelope());
        for (_, part) in release.parts() {
            self.add_resource(format!("/v1/blobs/{}", part.digest()), part.bytes());
            self.add_resource(format!("/v1/indexes/{}", part.digest()), part.index());
        }
    }

    /// Serves any bytes at a path.
    pub fn add_resource(&self, path: String, bytes: &Bytes) {
        let mut state = self.0.borrow_mut();
        state.resources.insert(path, bytes.clone());
    }

    /// Looks at, and changes, everything that is sent from now on.
    pub fn set_tamper(&self, tamper: impl FnMut(Piece<'_>, &mut Vec<u8>) -> Fate + 'static) {
        self.0.borrow_mut().tamper = Some(Box::new(tamper));
    }

    /// Sends everything as it is.
    pub fn clear_tamper(&self) {
        self.0.borrow_mut().tamper = None;
    }

    /// From now on, answers a request for a resource with these steps, or as it should with `None`.
    /// Unless it ends with [`Step::Stall`], [`Step::Close`] or [`Step::Reset`], the connection then
    /// waits for the next request.
    pub fn set_script(&self, script: impl FnMut(&Request, &Bytes) -> Option<Vec<Step>> + 'static) {
        self.0.borrow_mut().script = Some(Box::new(script));
    }

    /// Answers everything as it should.
    pub fn clear_script(&self) {
        self.0.borrow_mut().script = None;
    }

    /// Requests that were answered, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.0.borrow().requests.clone()
    }

    /// Bytes of a part that were sent.
    pub fn bytes_sent(&self, part: Digest) -> u64 {
        let path = format!("/v1/blobs/{part}");
        self.0.borrow().sent.get(&path).copied().unwrap_or(0)
    }

    /// Forgets requests and counts.
    pub fn reset_counts(&self) {
        let mut state = self.0.borrow_mut();
        state.requests.clear();
        state.sent.clear();
        state.pieces = 0;
    }

    /// Listens at an address.
    pub fn start(&self, scheduler: &Scheduler, network: &Network, address: SocketAddr) {
        let listener = network.listen(address);
        let (host, own) = (self.clone(), scheduler.clone());
        scheduler.spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await;
                let (host, scheduler) = (host.clone(), own.clone());
                own.spawn(async move {
                    // A client that goes away concerns nobody.
                    let _ = host.answer_all(&mut connection, &scheduler).await;
                });
            }
        });
    }

    async fn answer_all(
        &self,
        connection: &mut MemoryConnection,
        scheduler: &Scheduler,
    ) -> Result<(), NetError> {
        let mut pending_bytes = Vec::new();
        loop {
            let end = loop {
                let end = pending_bytes.windows(4).position(|w| w == b"\r\n\r\n");
                if let Some(end) = end {
                    break end + 4;
                }
                let mut buf = [0; 512];
                let n = connection.read(&mut buf).await?;
                if n == 0 || pending_bytes.len() > MAX_HEAD {
                    return Err(NetError);
                }
                pending_bytes.extend_from_slice(&buf[..n]);
            };
            let head: Vec<u8> = pending_bytes.drain(..end).collect();
            let head = String::from_utf8(head).map_err(|_| NetError)?;
            self.answer(connection, &head, scheduler).await?;
        }
    }

    async fn answer(
        &self,
        connection: &mut MemoryConnection,
        head: &str,
        scheduler: &Scheduler,
    ) -> Result<(), NetError> {
        let mut lines = head.split("\r\n");
        let path = lines.next().and_then(|line| line.split(' ').nth(1));
        let path = path.ok_or(NetError)?.to_owned();
        let range = lines
            .find_map(|line| line.strip_prefix("Range: bytes="))
            .and_then(|range| range.split_once('-'))
            .and_then(|(first, last)| Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1));
        let found = self.0.borrow().resources.get(&path).cloned();
        let Some(bytes) = found else {
            let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            return connection.write_all(missing).await;
        };
        let request = Request {
            path: path.clone(),
            range: range.clone(),
        };
        let steps = match &mut self.0.borrow_mut().script {
            Some(script) => script(&request, &bytes),
            None => None,
        };
        self.0.borrow_mut().requests.push(request);
        if let Some(steps) = steps {
            return play(steps, connection, scheduler).await;
        }
        let total = bytes.len();
        let (range, head) = match range {
            Some(range) if range.start < range.end && range.end <= total => {
                let (first, last, len) = (range.start, range.end - 1, range.len());
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {len}\r\n\
                     Content-Range: bytes {first}-{last}/{total}\r\n\r\n"
                );
                (range, head)
            }
            Some(_) => {
                let head = b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n";
                return connection.write_all(head).await;
            }
            None => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
                (0..total, head)
            }
        };
        connection.write_all(head.as_bytes()).await?;
        let mut offset = range.start;
        while offset < range.end {
            let end = range.end.min(offset + PIECE);
            let mut piece = bytes[offset..end].to_vec();
            match self.tamper(&path, offset, &mut piece) {
                Fate::Send => connection.write_all(&piece).await?,
                Fate::Reset => {
                    connection.reset();
                    return Err(NetError);
                }
                Fate::Stall => return pending().await,
            }
            let mut state = self.0.borrow_mut();
            *state.sent.entry(path.clone()).or_default() += (end - offset) as u64;
            offset = end;
        }
        Ok(())
    }

    fn tamper(&self, path: &str, offset: usize, bytes: &mut Vec<u8>) -> Fate {
        let state = &mut *self.0.borrow_mut();
        let index = state.pieces;
        state.pieces += 1;
        let piece = Piece {
            path,
            offset,
            index,
        };
        match &mut state.tamper {
            Some(tamper) => tamper(piece, bytes),
            None => Fate::Send,
        }
    }
}

async fn play(
    steps: Vec<Step>,
    connection: &mut MemoryConnection,
    scheduler: &Scheduler,
) -> Result<(), NetError> {
    for step in steps {
        match step {
            Step::Send(bytes) => connection.write_all(&bytes).await?,
            Step::Repeat(bytes) => loop {
                connection.write_all(&bytes).await?;
                scheduler.sleep(REPEAT_EVERY).await;
            },
            Step::Drip(bytes, pause) => {
                for byte in bytes {
                    scheduler.sleep(pause).await;
                    connection.write_all(&[byte]).await?;
                }
            }
            Step::Stall => return pending().await,
            Step::Close => return Err(NetError),
            Step::Reset => {
                connection.reset();
                return Err(NetError);
            }
        }
    }
    Ok(())
}
