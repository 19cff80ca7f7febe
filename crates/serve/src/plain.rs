//! The plain protocol: for boards whose updater checks no signature.
//!
//! | Request | Answer |
//! | --- | --- |
//! | `GET` or `POST /updatemeta` | JSON: `partition` and `vfs`, each `url`, `size`, `hash` (SHA-256 in hex); once at the top level and once in `update` |
//! | `GET /chunk/part/N`, `GET /chunk/vfs/N` | 512 bytes from byte `512 * N`; without `N` the first |
//!
//! Anyone on the network can take the host's place, so this is off until somebody asks for it for
//! one release. Such clients never look at the status, follow no redirect, read no chunked encoding
//! and build the rest on what they are told:
//!
//! - An app of a whole number of chunks is served with 16 bytes of `FF` after it: clients size their
//!   first read by `size % 512`, and 0 breaks their check. Sizes and hashes are of what is served.
//! - URLs hold the address that this server listens on, never a name that a client sent.

use std::net::SocketAddr;
use std::sync::Arc;

use airlift_wire::Digest;
use airlift_wire::tar::{self, BLOCK, Kind};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;

/// Bytes of a chunk of the plain protocol.
pub const PLAIN_CHUNK: usize = 512;
/// What is added to an app of a whole number of chunks.
const FILLER: [u8; 16] = [0xFF; 16];
/// Longest path in a tar that plain clients unpack.
const MAX_NAME: usize = 99;

/// A release as plain clients can take it.
#[derive(Clone, Debug)]
pub struct PlainRelease {
    app: Option<Served>,
    files: Option<Served>,
}

#[derive(Clone, Debug)]
struct Served {
    bytes: Bytes,
    sha256: Digest,
}

/// Why a release cannot be given to plain clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainError {
    /// It carries neither app nor files.
    #[error("the release carries nothing, and plain clients would copy and restart for ever")]
    Nothing,
    /// Plain clients make folders at the top only.
    #[error("the plain protocol knows no folder in a folder, and there is {0}")]
    NestedFolder(String),
    /// Plain clients read names of at most 99 bytes.
    #[error("the plain protocol knows names of at most 99 bytes, and there is {0}")]
    LongName(String),
    /// The files are not a canonical tar.
    #[error("the files are not a canonical tar: {0}")]
    Tar(#[from] tar::TarError),
}

impl PlainRelease {
    /// Prepares the parts of a verified release: `files` is a canonical tar.
    pub fn new(app: Option<Bytes>, files: Option<Bytes>) -> Result<Self, PlainError> {
        if app.is_none() && files.is_none() {
            return Err(PlainError::Nothing);
        }
        if let Some(files) = &files {
            check_names(files)?;
        }
        Ok(Self {
            app: app.map(fill).map(Served::new),
            files: files.map(Served::new),
        })
    }

    /// The routes, with URLs of the server at `address`.
    pub fn router(self, address: SocketAddr) -> Router {
        Router::new()
            .route("/updatemeta", get(meta).post(meta))
            .route("/chunk/{part}", get(first))
            .route("/chunk/{part}/", get(first))
            .route("/chunk/{part}/{n}", get(chunk))
            .with_state(Arc::new((self, address)))
    }

    fn part(&self, name: &str) -> Option<&Served> {
        match name {
            "part" => self.app.as_ref(),
            "vfs" => self.files.as_ref(),
            _ => None,
        }
    }
}

impl Served {
    fn new(bytes: Bytes) -> Self {
        Self {
            sha256: Digest::of(&bytes),
            bytes,
        }
    }
}

fn fill(app: Bytes) -> Bytes {
    if app.len().is_multiple_of(PLAIN_CHUNK) {
        Bytes::from([&app[..], &FILLER].concat())
    } else {
        app
    }
}

fn check_names(files: &[u8]) -> Result<(), PlainError> {
    let mut at = 0;
    while let Some(block) = files.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        if block[0] == 0 {
            break;
        }
        let entry = tar::parse(block)?;
        let folders = entry.path.matches('/').count();
        if entry.kind == Kind::Folder && folders > 1 {
            return Err(PlainError::NestedFolder(entry.path.to_owned()));
        }
        if entry.path.len() > MAX_NAME {
            return Err(PlainError::LongName(entry.path.to_owned()));
        }
        at += BLOCK + entry.size as usize + tar::padding(entry.size);
    }
    Ok(())
}

type Content = State<Arc<(PlainRelease, SocketAddr)>>;

async fn meta(State(content): Content) -> Response {
    let (release, address) = &*content;
    let of = |key: &str, name: &str| {
        release.part(name).map(|part| {
            let (size, hash) = (part.bytes.len(), part.sha256);
            format!(
                "\"{key}\":{{\"url\":\"http://{address}/chunk/{name}\",\"size\":{size},\"hash\":\"{hash}\"}}"
            )
        })
    };
    let parts: Vec<String> = [of("partition", "part"), of("vfs", "vfs")]
        .into_iter()
        .flatten()
        .collect();
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

async fn first(content: Content, Path(part): Path<String>) -> Response {
    answer(&content, &part, 0)
}

async fn chunk(content: Content, Path((part, n)): Path<(String, String)>) -> Response {
    // Digits only, and nothing that a number type would also take.
    let number = n
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| n.parse().ok())
        .flatten();
    match number {
        Some(n) => answer(&content, &part, n),
        None => nothing(),
    }
}

fn answer(content: &Content, part: &str, n: usize) -> Response {
    let bytes = content.0.0.part(part).and_then(|part| {
        let start = n
            .checked_mul(PLAIN_CHUNK)
            .filter(|start| *start < part.bytes.len())?;
        let end = (start + PLAIN_CHUNK).min(part.bytes.len());
        Some(part.bytes.slice(start..end))
    });
    match bytes {
        Some(bytes) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
        }
        None => nothing(),
    }
}

/// No JSON: a plain client that took it for an answer would copy and restart for ever.
fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such chunk\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    const ADDRESS: &str = "10.0.0.5:7410";

    fn tar_of(entries: &[(&str, &[u8])]) -> Bytes {
        let mut out = Vec::new();
        for (path, content) in entries {
            let kind = if path.ends_with('/') {
                Kind::Folder
            } else {
                Kind::File
            };
            let entry = tar::Entry {
                path,
                kind,
                size: content.len() as u32,
            };
            out.extend_from_slice(&tar::header(&entry).unwrap());
            out.extend_from_slice(content);
            out.resize(out.len() + tar::padding(entry.size), 0);
        }
        out.resize(out.len() + tar::TRAILER, 0);
        out.into()
    }

    async fn ask(release: &PlainRelease, method: &str, path: &str) -> (StatusCode, Bytes) {
        let router = release.clone().router(ADDRESS.parse().unwrap());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    /// Downloads a part as a plain client does: by size, 512 bytes a request.
    async fn download(release: &PlainRelease, part: &str, size: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for n in 0..size.div_ceil(PLAIN_CHUNK) {
            let (status, bytes) = ask(release, "GET", &format!("/chunk/{part}/{n}")).await;
            assert_eq!(status, StatusCode::OK);
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[tokio::test]
    async fn both_parts_arrive_in_pieces_of_512_bytes_with_the_announced_hash() {
        let files = tar_of(&[
            ("lib/", b""),
            ("lib/x.py", b"x = 1\n"),
            ("main.py", b"import lib.x\n"),
        ]);
        let release = PlainRelease::new(Some(Bytes::from(vec![7; 1300])), Some(files)).unwrap();
        for (part, served) in [("part", &release.app), ("vfs", &release.files)] {
            let served = served.as_ref().unwrap();
            let got = download(&release, part, served.bytes.len()).await;
            assert_eq!(Digest::of(&got), served.sha256);
        }
    }

    #[tokio::test]
    async fn the_announcement_is_given_flat_and_nested_to_get_and_to_post() {
        let release = PlainRelease::new(Some(Bytes::from(vec![7; 1300])), None).unwrap();
        let hash = Digest::of(&[7; 1300]);
        let part = format!(
            "\"partition\":{{\"url\":\"http://{ADDRESS}/chunk/part\",\"size\":1300,\"hash\":\"{hash}\"}}"
        );
        let expected = format!("{{{part},\"update\":{{{part}}}}}");
        for method in ["GET", "POST"] {
            let (status, body) = ask(&release, method, "/updatemeta").await;
            assert_eq!((status, &body[..]), (StatusCode::OK, expected.as_bytes()));
        }
    }

    #[tokio::test]
    async fn an_app_of_whole_chunks_gets_16_bytes_more() {
        let release = PlainRelease::new(Some(Bytes::from(vec![7; 1024])), None).unwrap();
        let got = download(&release, "part", 1040).await;
        assert_eq!((got.len(), &got[1024..]), (1040, &FILLER[..]));
        assert_eq!(release.app.unwrap().sha256, Digest::of(&got));
    }

    #[tokio::test]
    async fn without_a_number_it_is_the_first_chunk_and_past_the_end_there_is_none() {
        let release = PlainRelease::new(Some(Bytes::from(vec![7; 600])), None).unwrap();
        for path in ["/chunk/part", "/chunk/part/", "/chunk/part/0"] {
            assert_eq!(ask(&release, "GET", path).await.1.len(), 512, "{path}");
        }
        for path in [
            "/chunk/part/2",
            "/chunk/vfs/0",
            "/chunk/x/0",
            "/chunk/part/-1",
            "/chunk/part/%2B1",
        ] {
            let (status, body) = ask(&release, "GET", path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(
                !body.starts_with(b"{"),
                "{path}: a client would take JSON for an answer"
            );
        }
    }

    #[test]
    fn what_plain_clients_cannot_unpack_is_refused_with_the_reason() {
        assert_eq!(
            PlainRelease::new(None, None).err(),
            Some(PlainError::Nothing)
        );
        let nested = tar_of(&[("a/", b""), ("a/b/", b""), ("a/b/c", b"")]);
        let error = PlainRelease::new(None, Some(nested)).err();
        assert_eq!(error, Some(PlainError::NestedFolder("a/b/".into())));
        let name = "x".repeat(100);
        let error = PlainRelease::new(None, Some(tar_of(&[(&name, b"")]))).err();
        assert_eq!(error, Some(PlainError::LongName(name)));
    }
}
