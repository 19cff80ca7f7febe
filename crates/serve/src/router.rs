//! The server's routes.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{Method, Response},
    routing::{MethodRouter, any},
};

use crate::{
    Kind, Observer, Served, Store,
    answer::{self, Answer, Found},
    plain,
    refusal::Refusal,
};

/// The chunk server over `store`: the whole of it, for any server that takes an axum router.
pub fn router<S: Store>(store: Arc<S>) -> Router {
    routes(Content {
        store,
        observer: None,
    })
}

/// As [`router`], and tells `observer` what it serves to whom.
///
/// Only under a server that says who the peer is ([`ConnectInfo`], as [`Server`](crate::Server)
/// does) there is something to report.
pub fn observed_router<S: Store>(store: Arc<S>, observer: Observer) -> Router {
    routes(Content {
        store,
        observer: Some(observer),
    })
}

struct Content {
    store: Arc<dyn Store>,
    observer: Option<Observer>,
}

fn routes(content: Content) -> Router {
    Router::new()
        .route("/v1/releases/{id}", of(Kind::Envelope))
        .route("/v1/blobs/{sha256}", of(Kind::Blob))
        .route("/v1/indexes/{sha256}", of(Kind::Index))
        .fallback(nothing)
        .with_state(Arc::new(content))
}

/// Every method: which ones are allowed is part of the answer.
fn of(kind: Kind) -> MethodRouter<Arc<Content>> {
    any(
        move |State(content): State<Arc<Content>>, request: Request| async move {
            match answer::answer(&*content.store, kind, &request) {
                Ok(answer) => {
                    if let Answer::Content(found) = &answer {
                        content.report(&request, found);
                    }
                    answer.respond()
                }
                Err(refusal) => refusal.respond(request.method()),
            }
        },
    )
}

async fn nothing(request: Request) -> Response<Body> {
    if plain::is_plain(request.uri().path()) {
        return plain::nothing();
    }
    let refusal = answer::admit(&request).err().unwrap_or(Refusal::NotFound);
    refusal.respond(request.method())
}

impl Content {
    fn report(&self, request: &Request, found: &Found) {
        if let Some(observer) = &self.observer
            && *request.method() == Method::GET
            && let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>()
        {
            observer.report(Served {
                peer: *peer,
                kind: found.kind,
                digest: found.digest,
                range: found.range.clone(),
                len: found.len,
            });
        }
    }
}
