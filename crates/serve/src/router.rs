//! The server as an axum router: for tests without sockets, and for hosts that have their own.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, Response},
    routing::any,
};
use std::net::SocketAddr;

use crate::{
    Store,
    answer::{self, Query},
};

/// The chunk server over `store`.
pub fn router<S: Store>(store: Arc<S>) -> Router {
    Router::new()
        .route("/v1/releases/{id}", any(handle::<S>))
        .route("/v1/blobs/{sha256}", any(handle::<S>))
        .route("/v1/indexes/{sha256}", any(handle::<S>))
        .fallback(handle::<S>)
        .with_state(store)
}

async fn handle<S: Store>(State(store): State<Arc<S>>, request: Request) -> Response<Body> {
    let mut query = Query {
        method: request.method().as_str(),
        path: request.uri().path(),
        ..Query::default()
    };
    for (name, value) in request.headers() {
        query.field(name.as_str(), value.as_bytes());
    }
    let answer = answer::answer(&*store, &query);
    let _ = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let mut response = Response::new(());
    *response.status_mut() = answer.status();
    let headers = response.headers_mut();
    answer.fields(|name, value| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value))
        {
            headers.insert(name, value);
        }
    });
    response.map(|()| Body::from(answer.body))
}
