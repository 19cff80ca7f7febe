//! One connection: hyper between a socket and the router.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::{
    Limits,
    bounded::Bounded,
    crowd::{Crowd, Place},
};

/// The longest head of a request, in bytes. A device sends about 200, a browser about 1000.
const MAX_HEAD: usize = 8192;

/// What the kernel may hold of an answer that the peer has not taken yet, in bytes, by how many
/// connections there are already; Linux doubles it to make room for its own bookkeeping.
///
/// It bounds what a slow reader costs, which Linux would let grow to 4 MiB. The first ones get much:
/// it makes a whole part a fifth cheaper to send, and what is copied into it stays in the processor's
/// cache. A thousand readers that read nothing hold 128 MiB together, and not a gigabyte.
const SEND_BUFFERS: [(usize, usize); 3] =
    [(32, 512 * 1024), (128, 128 * 1024), (usize::MAX, 48 * 1024)];

/// Of an answer that the peer has not taken yet, this much is handed to the kernel ahead of what is
/// on its way. A reader that takes half of it within [`Limits::stall`] is slow and not stalled.
#[cfg(target_os = "linux")]
const AHEAD: u32 = 64 * 1024;

fn send_buffer(connections: usize) -> usize {
    let step = SEND_BUFFERS.iter().find(|(below, _)| connections < *below);
    step.map_or(0, |(_, bytes)| *bytes)
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) stop: CancellationToken,
}

/// Serves `stream` until the peer, a limit, the server or somebody with a better claim ends it.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, shared: Arc<Shared>) {
    // The head and the body of an answer leave in one call: nothing may hold the last segment back.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_send_buffer_size(send_buffer(place.before));
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(AHEAD);
    let stream = Bounded::new(stream, shared.limits.request, shared.limits.stall)
        .telling(place.used.clone(), shared.crowd.start());
    let router = shared.router.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready, and a clone of it is a clone of an `Arc`.
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        // A client that has said all it will say still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    // An error is a peer that went away, timed out or spoke no HTTP: hyper has answered what can be
    // answered, and there is nobody left to tell.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = place.leave.cancelled() => return,
        () = shared.stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_kernel_holds_for_readers_that_do_not_read_is_bounded() {
        let most = Limits::default().connections;
        let total: usize = (0..most).map(send_buffer).sum();
        // Linux doubles what it is given.
        assert!(2 * total <= 144 << 20, "{} MiB", (2 * total) >> 20);
        assert_eq!(send_buffer(0), 512 * 1024);
        assert!(send_buffer(most) > 4096, "a few chunks fit");
    }
}
