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

use crate::{Limits, bounded::Bounded};

/// The longest head of a request, in bytes. A device sends about 200, a browser about 1000.
const MAX_HEAD: usize = 8192;

/// What the kernel may hold of an answer that the peer has not taken yet, in bytes; Linux doubles it
/// to make room for its own bookkeeping.
///
/// It bounds what a slow reader costs, which Linux would let grow to 4 MiB; and it makes a whole part
/// a fifth cheaper to send, for what is copied into it stays in the processor's cache.
const SEND_BUFFER: usize = 512 * 1024;

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
}

/// Serves `stream` until the peer, a limit or the server ends it.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // The head and the body of an answer leave in one call: nothing may hold the last segment back.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let stream = Bounded::new(stream, shared.limits.request, shared.limits.stall);
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
        () = shared.stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
