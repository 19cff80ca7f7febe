//! One connection: requests in, answers out, every wait bounded.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{
    Limits, Observer, Served, Store,
    answer::{Answer, Outcome},
    http1::{self, Date, MAX_HEAD, Persistence, Step},
};

/// How long a closed connection waits for the peer to have read the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) observer: Option<Observer>,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
}

/// Serves `stream` until the peer, a limit or the server ends it.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let timer = pin!(tokio::time::sleep(shared.limits.head));
    let stopped = pin!(shared.stop.cancelled());
    let connection = Connection {
        stream,
        peer,
        shared: &shared,
        timer,
        stopped,
        input: Input::new(),
        head: Vec::with_capacity(512),
        date: Date::default(),
    };
    // An error here is a peer that went away: there is nobody left to tell.
    let _ = connection.run().await;
}

struct Connection<'a, 's> {
    stream: TcpStream,
    peer: SocketAddr,
    shared: &'s Shared,
    /// One timer for the whole connection: moving it is cheap, a new one per request is not.
    timer: Pin<&'a mut Sleep>,
    stopped: Pin<&'a mut WaitForCancellationFuture<'s>>,
    input: Input,
    head: Vec<u8>,
    date: Date,
}

impl Connection<'_, '_> {
    async fn run(mut self) -> io::Result<()> {
        // The timer runs for a first head from the start: a connection that says nothing is a slow
        // head. After an answer the peer may be idle, until the first byte of the next head.
        let mut in_head = true;
        loop {
            match http1::step(&*self.shared.store, self.input.bytes()) {
                Step::More => {
                    if !in_head && !self.input.bytes().is_empty() {
                        in_head = true;
                        self.within(self.shared.limits.head);
                    }
                    if !self.read().await? {
                        return Ok(());
                    }
                }
                Step::Reply {
                    consumed,
                    answer,
                    mut persistence,
                } => {
                    self.input.consume(consumed);
                    if self.shared.stop.is_cancelled() {
                        persistence = Persistence::Close;
                    }
                    self.send(&answer, persistence).await?;
                    self.report(&answer);
                    if persistence == Persistence::Close {
                        return self.close().await;
                    }
                    in_head = false;
                    self.within(self.shared.limits.idle);
                }
            }
        }
    }

    fn within(&mut self, limit: Duration) {
        self.timer.as_mut().reset(Instant::now() + limit);
    }

    /// Reads something; false when the peer, the clock or the server says that this is the end.
    async fn read(&mut self) -> io::Result<bool> {
        tokio::select! {
            biased;
            len = self.stream.read(&mut self.input.buffer[self.input.end..]) => {
                let len = len?;
                self.input.end += len;
                Ok(len > 0)
            }
            () = &mut self.timer => Ok(false),
            () = &mut self.stopped => Ok(false),
        }
    }

    async fn send(&mut self, answer: &Answer, persistence: Persistence) -> io::Result<()> {
        self.head.clear();
        http1::write_head(
            answer,
            persistence,
            &mut self.date,
            SystemTime::now(),
            &mut self.head,
        );
        let (mut head, mut body) = (&self.head[..], &answer.body[..]);
        while !(head.is_empty() && body.is_empty()) {
            let slices = [IoSlice::new(head), IoSlice::new(body)];
            match self.stream.try_write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => {
                    let in_head = len.min(head.len());
                    head = &head[in_head..];
                    body = &body[len - in_head..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // From here to the next byte that the peer takes.
                    self.timer
                        .as_mut()
                        .reset(Instant::now() + self.shared.limits.write);
                    tokio::select! {
                        biased;
                        ready = self.stream.writable() => ready?,
                        () = &mut self.timer => return Err(io::ErrorKind::TimedOut.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn report(&self, answer: &Answer) {
        if let Some(observer) = &self.shared.observer
            && let Outcome::Content { found, .. } = &answer.outcome
            && !answer.body.is_empty()
        {
            observer.report(Served {
                peer: self.peer,
                kind: found.kind,
                digest: found.digest,
                range: found.range.clone(),
                len: found.len,
            });
        }
    }

    /// Says that no more comes, and waits until the peer has said the same.
    ///
    /// Closing while bytes of the peer are unread resets the connection, and the reset may overtake
    /// the last answer (RFC 9112 section 9.6).
    async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        self.within(LINGER);
        loop {
            self.input.consume(self.input.end);
            if !self.read().await? {
                return Ok(());
            }
        }
    }
}

/// Bytes that were read and not yet understood.
struct Input {
    buffer: Box<[u8; MAX_HEAD]>,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self {
            buffer: Box::new([0; MAX_HEAD]),
            end: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.end]
    }

    fn consume(&mut self, len: usize) {
        self.buffer.copy_within(len..self.end, 0);
        self.end -= len;
    }
}
