//! A listener with its connections on a thread of their own.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use axum::Router;
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Error,
    connection::{self, Shared},
    crowd::Crowd,
};

/// What clients may take of the server's time and memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. For one more, the one that was of no use for longest is closed, of the
    /// address that has most; if all were of use just now, the new one is.
    pub connections: usize,
    /// Connections at once from one address (of IPv6: one /64) that were sent nothing just now. For
    /// one more, its own that was of no use for longest is closed. Behind a proxy or a router many
    /// devices share an address, so those that are in use do not count.
    pub of_one_address: usize,
    /// From the last byte of an answer (at first, from connecting) to the end of the next request's
    /// head: how long a connection may be idle, or its requests may trickle in.
    pub request: Duration,
    /// How long a client may take no byte of an answer that is being sent.
    pub stall: Duration,
    /// How long answers that are being sent may go on after [`Server::stop`].
    pub grace: Duration,
}

impl Default for Limits {
    /// 1024 connections, 128 from one address that do nothing, 60 s from answer to request, 20 s for a stalled reader, 2 s to stop.
    fn default() -> Self {
        Self {
            connections: 1024,
            // Devices behind one address that are between two requests, or have just come.
            of_one_address: 128,
            // Many times what a device takes to erase, write and read back what it fetched.
            request: Duration::from_secs(60),
            stall: Duration::from_secs(20),
            grace: Duration::from_secs(2),
        }
    }
}

/// A running server. Dropping it ends it at once; [`stop`](Self::stop) lets answers finish.
pub struct Server {
    local_addr: SocketAddr,
    stop: CancellationToken,
    abort: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Serves `router` on `listener` (from [`bind`](crate::bind)).
    ///
    /// It runs on one thread of its own, so that neither the caller's work delays a transfer nor a
    /// transfer the caller's work; it needs no runtime and may be called inside one.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when the thread or its event loop cannot be made.
    pub fn start(listener: TcpListener, router: Router, limits: Limits) -> Result<Self, Error> {
        Self::spawn(listener, router, limits).map_err(Error::Start)
    }

    fn spawn(listener: TcpListener, router: Router, limits: Limits) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        allow_open_files();
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let (end, ended) = oneshot::channel();
        let shared = Arc::new(Shared {
            router,
            crowd: Crowd::new(limits.connections, limits.of_one_address),
            limits,
            stop: stop.clone(),
        });
        let aborted = abort.clone();
        // The runtime is made on its thread: dropping one inside another runtime panics, and that is
        // where a failure would drop it here.
        let (ready, started) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("airlift-serve".into())
            .spawn(move || {
                let (runtime, listener) = match runtime(listener) {
                    Ok(made) => made,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, shared) => {}
                        () = aborted.cancelled() => {}
                    }
                });
                // Ends the connections that are left, and with them their sockets.
                drop(runtime);
                let _ = end.send(());
            })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self {
            local_addr,
            stop,
            abort,
            ended,
        })
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops: nothing new is accepted, idle connections close, answers that are being sent may
    /// finish within [`Limits::grace`]. When it returns, every socket is closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort.cancel();
    }
}

/// One thread does the work: an answer is a few microseconds, most of them in the kernel, and a
/// wake-up of another thread would cost as much.
fn runtime(listener: TcpListener) -> io::Result<(Runtime, tokio::net::TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept(&listener, &connections, &shared) => {}
        () = shared.stop.cancelled() => {}
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(shared.limits.grace, connections.wait()).await;
}

async fn accept(
    listener: &tokio::net::TcpListener,
    connections: &TaskTracker,
    shared: &Arc<Shared>,
) {
    /// How long the system gets to close what was given up, when it has no room left.
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without a place it is closed.
                if let Some(place) = shared.crowd.enter(peer.ip()) {
                    connections.spawn(connection::serve(stream, peer, place, shared.clone()));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                // No descriptor or no memory is left: trying again at once would burn the core, and
                // waiting alone would leave the newcomer to those who do nothing.
                shared.crowd.shed();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Lets the process open as many files as it may, up to what all connections of a few listeners and
/// the rest of the program need: often it starts with 1024.
#[cfg(unix)]
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const ENOUGH: u64 = 8192;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = ENOUGH.min(maximum.unwrap_or(ENOUGH));
    if current.is_some_and(|current| current < wanted) {
        let current = Some(wanted);
        // Refused, there are fewer connections at once.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }
}

#[cfg(not(unix))]
fn allow_open_files() {}

/// The connection failed before it was accepted; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
