//! The routes of the plain protocol, and the switch behind them.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use airlift_wire::Digest;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{PlainPart, PlainRelease};
use crate::Observer;

/// Whether plain clients ask for this path.
pub(crate) fn is_plain(path: &str) -> bool {
    path == "/updatemeta" || path.starts_with("/chunk/")
}

/// What plain clients are given now: nothing, until a release is [set](Self::set). Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PlainOffer {
    current: Arc<RwLock<Option<Arc<PlainRelease>>>>,
    observer: Option<Observer<PlainRequest>>,
}

/// What a plain client asked for and got, reported when the answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRequest {
    /// Who asked.
    pub peer: SocketAddr,
    /// The release that is offered; none when there is none, and the client was told so.
    pub release: Option<Digest>,
    /// What was asked.
    pub asked: PlainAsked,
}

/// What a plain client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainAsked {
    /// `/updatemeta`: whether there is an update.
    Update,
    /// A chunk, which it got.
    Chunk {
        /// Of which part.
        part: PlainPart,
        /// Its number, from 0.
        n: usize,
        /// How many chunks the part has.
        of: usize,
    },
}

impl PlainOffer {
    /// One that tells `observer` who asks for what.
    pub fn observed(observer: Observer<PlainRequest>) -> Self {
        Self {
            current: Arc::default(),
            observer: Some(observer),
        }
    }

    /// Serves `release` from now on, in place of the one before; nothing with `None`.
    pub fn set(&self, release: Option<PlainRelease>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = release.map(Arc::new);
    }

    /// The routes, for the server at `address`: URLs hold it.
    pub fn router(&self, address: SocketAddr) -> Router {
        Router::new()
            .route("/updatemeta", get(meta).post(meta))
            .route("/chunk/{part}", get(first))
            .route("/chunk/{part}/", get(first))
            .route("/chunk/{part}/{n}", get(chunk))
            .with_state(Content {
                offer: self.clone(),
                address,
            })
    }

    fn current(&self) -> Option<Arc<PlainRelease>> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn report(&self, request: &Request, release: Option<Digest>, asked: PlainAsked) {
        if let Some(observer) = &self.observer
            && *request.method() != Method::HEAD
            && let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>()
        {
            let peer = *peer;
            observer.report(PlainRequest {
                peer,
                release,
                asked,
            });
        }
    }
}

#[derive(Clone)]
struct Content {
    offer: PlainOffer,
    address: SocketAddr,
}

async fn meta(State(content): State<Content>, request: Request) -> Response {
    if is_from_web_page(&request) {
        return forbidden();
    }
    let current = content.offer.current();
    let id = current.as_ref().map(|release| release.id);
    content.offer.report(&request, id, PlainAsked::Update);
    match current {
        Some(release) => announce(&release, content.address),
        None => (StatusCode::NOT_FOUND, "there is nothing to update\n").into_response(),
    }
}

fn announce(release: &PlainRelease, address: SocketAddr) -> Response {
    let of = |key: &str, part: PlainPart| {
        release.part(part).map(|served| {
            let (name, size, hash) = (in_url(part), served.bytes.len(), served.sha256);
            format!(
                "\"{key}\":{{\"url\":\"http://{address}/chunk/{name}\",\"size\":{size},\"hash\":\"{hash}\"}}"
            )
        })
    };
    let parts = [of("partition", PlainPart::App), of("vfs", PlainPart::Files)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let parts = parts.join(",");
    let body = format!("{{{parts},\"update\":{{{parts}}}}}");
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}

async fn first(
    State(content): State<Content>,
    Path(part): Path<String>,
    request: Request,
) -> Response {
    content.answer(&request, &part, 0)
}

async fn chunk(
    State(content): State<Content>,
    Path((part, n)): Path<(String, String)>,
    request: Request,
) -> Response {
    // Digits only, and nothing that a number type would also take.
    let number = n
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| n.parse().ok())
        .flatten();
    match number {
        Some(n) => content.answer(&request, &part, n),
        None => nothing(),
    }
}

impl Content {
    fn answer(&self, request: &Request, name: &str, n: usize) -> Response {
        if is_from_web_page(request) {
            return forbidden();
        }
        let found = self.offer.current().and_then(|release| {
            let parts = [PlainPart::App, PlainPart::Files];
            let part = parts.into_iter().find(|part| in_url(*part) == name)?;
            let served = release.part(part)?;
            let of = served.chunks();
            let asked = PlainAsked::Chunk { part, n, of };
            Some((release.id, asked, served.chunk(n)?))
        });
        let Some((id, asked, bytes)) = found else {
            return nothing();
        };
        self.offer.report(request, Some(id), asked);
        ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
    }
}

fn in_url(part: PlainPart) -> &'static str {
    match part {
        PlainPart::App => "part",
        PlainPart::Files => "vfs",
    }
}

/// Boards send no Origin; a page in somebody's browser does.
fn is_from_web_page(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN)
}

fn forbidden() -> Response {
    (StatusCode::FORBIDDEN, "requests of web pages are refused\n").into_response()
}

/// No JSON: a plain client that took it for an answer would copy and restart for ever.
pub(crate) fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such chunk\n").into_response()
}
