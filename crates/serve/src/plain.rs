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
//! - "Nothing to update" is an error whose body is no JSON. A client that could read it as an object
//!   without parts would copy what it runs and restart, for ever.
//!
//! [`PlainRelease`] is a release that such clients can take, [`PlainOffer`] the switch and the routes.

mod offer;

use airlift_wire::tar::{self, BLOCK, Kind};
use airlift_wire::{Digest, ErrorCode};
use bytes::Bytes;

pub use self::offer::{PlainAsked, PlainOffer, PlainRequest};
pub(crate) use self::offer::{is_plain, nothing};

/// Bytes of a chunk of the plain protocol.
pub const PLAIN_CHUNK: usize = 512;
/// What is added to an app of a whole number of chunks.
const FILLER: [u8; 16] = [0xFF; 16];
/// Longest path in a tar that plain clients unpack.
const MAX_NAME: usize = 99;

/// A release as plain clients can take it.
#[derive(Clone, Debug)]
pub struct PlainRelease {
    id: Digest,
    app: Option<Served>,
    files: Option<Served>,
}

/// A part of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlainPart {
    /// `part` in URLs.
    App,
    /// `vfs` in URLs.
    Files,
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

impl PlainError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Tar(_) => ErrorCode::BadTar,
            _ => ErrorCode::NotForPlain,
        }
    }
}

impl PlainRelease {
    /// Prepares the parts of the verified release `id`: `files` is a canonical tar.
    ///
    /// # Errors
    ///
    /// Whatever plain clients could not take, with the reason.
    pub fn new(id: Digest, app: Option<Bytes>, files: Option<Bytes>) -> Result<Self, PlainError> {
        if app.is_none() && files.is_none() {
            return Err(PlainError::Nothing);
        }
        if let Some(files) = &files {
            check_names(files)?;
        }
        Ok(Self {
            id,
            app: app.map(fill).map(Served::new),
            files: files.map(Served::new),
        })
    }

    /// The release that it was made of.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// How many chunks a part has as it is served; none when it is not carried.
    pub fn chunks(&self, part: PlainPart) -> Option<usize> {
        self.part(part).map(Served::chunks)
    }

    fn part(&self, part: PlainPart) -> Option<&Served> {
        match part {
            PlainPart::App => self.app.as_ref(),
            PlainPart::Files => self.files.as_ref(),
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

    fn chunks(&self) -> usize {
        self.bytes.len().div_ceil(PLAIN_CHUNK)
    }

    fn chunk(&self, n: usize) -> Option<Bytes> {
        let start = n
            .checked_mul(PLAIN_CHUNK)
            .filter(|start| *start < self.bytes.len())?;
        let end = (start + PLAIN_CHUNK).min(self.bytes.len());
        Some(self.bytes.slice(start..end))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::observer;
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use std::net::SocketAddr;
    use tower::ServiceExt as _;

    const ADDRESS: &str = "10.0.0.5:7410";
    const PEER: &str = "10.0.0.30:49152";
    const ID: Digest = Digest([0x1D; 32]);

    fn release(app: Option<Vec<u8>>, files: Option<Bytes>) -> Result<PlainRelease, PlainError> {
        PlainRelease::new(ID, app.map(Bytes::from), files)
    }

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
        let offer = PlainOffer::default();
        offer.set(Some(release.clone()));
        ask_of(&offer, method, path, &[]).await
    }

    async fn ask_of(
        offer: &PlainOffer,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (StatusCode, Bytes) {
        let router = offer.router(ADDRESS.parse().unwrap());
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer: SocketAddr = PEER.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
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
        let release = release(Some(vec![7; 1300]), Some(files)).unwrap();
        for (part, served) in [("part", &release.app), ("vfs", &release.files)] {
            let served = served.as_ref().unwrap();
            let got = download(&release, part, served.bytes.len()).await;
            assert_eq!(Digest::of(&got), served.sha256);
        }
    }

    #[tokio::test]
    async fn the_announcement_is_given_flat_and_nested_to_get_and_to_post() {
        let release = release(Some(vec![7; 1300]), None).unwrap();
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
        let release = release(Some(vec![7; 1024]), None).unwrap();
        let got = download(&release, "part", 1040).await;
        assert_eq!((got.len(), &got[1024..]), (1040, &FILLER[..]));
        assert_eq!(release.app.unwrap().sha256, Digest::of(&got));
    }

    #[tokio::test]
    async fn without_a_number_it_is_the_first_chunk_and_past_the_end_there_is_none() {
        let release = release(Some(vec![7; 600]), None).unwrap();
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
        assert_eq!(release(None, None).err(), Some(PlainError::Nothing));
        let nested = tar_of(&[("a/", b""), ("a/b/", b""), ("a/b/c", b"")]);
        let error = release(None, Some(nested)).err();
        assert_eq!(error, Some(PlainError::NestedFolder("a/b/".into())));
        let name = "x".repeat(100);
        let error = release(None, Some(tar_of(&[(&name, b"")]))).err();
        assert_eq!(error, Some(PlainError::LongName(name)));
        assert_eq!(error.map(|e| e.code()), Some(ErrorCode::NotForPlain));
    }

    #[tokio::test]
    async fn without_a_release_every_answer_is_an_error_that_is_no_json() {
        let offer = PlainOffer::default();
        for path in ["/updatemeta", "/chunk/part", "/chunk/vfs/0"] {
            for method in ["GET", "POST"] {
                let (status, body) = ask_of(&offer, method, path, &[]).await;
                assert!(status.is_client_error(), "{method} {path}: {status}");
                assert!(!body.starts_with(b"{"), "{method} {path}");
            }
        }
        offer.set(Some(release(Some(vec![7; 600]), None).unwrap()));
        let (status, _) = ask_of(&offer, "GET", "/updatemeta", &[]).await;
        assert_eq!(status, StatusCode::OK);
        offer.set(None);
        let (status, _) = ask_of(&offer, "GET", "/chunk/part/1", &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "it can be turned off again");
    }

    #[tokio::test]
    async fn a_page_in_a_browser_is_told_nothing_and_is_no_board() {
        let (observer, mut heard) = observer(8);
        let offer = PlainOffer::observed(observer);
        offer.set(Some(release(Some(vec![7; 600]), None).unwrap()));
        let origin = [("origin", "http://example.com")];
        let (status, _) = ask_of(&offer, "POST", "/updatemeta", &origin).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let (status, _) = ask_of(&offer, "GET", "/chunk/part/1", &origin).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        drop(offer);
        assert_eq!(heard.next().await, None);
    }

    #[tokio::test]
    async fn an_observer_hears_who_asked_and_which_chunks_were_served() {
        let (observer, mut heard) = observer(8);
        let offer = PlainOffer::observed(observer);
        let _ = ask_of(&offer, "GET", "/updatemeta", &[]).await;
        offer.set(Some(release(Some(vec![7; 600]), None).unwrap()));
        let _ = ask_of(&offer, "POST", "/updatemeta", &[]).await;
        for path in [
            "/chunk/part",
            "/chunk/part/1",
            "/chunk/part/2",
            "/chunk/vfs/0",
        ] {
            let _ = ask_of(&offer, "GET", path, &[]).await;
        }
        let _ = ask_of(&offer, "HEAD", "/chunk/part/0", &[]).await;
        drop(offer);
        let mut all = Vec::new();
        while let Some(request) = heard.next().await {
            assert_eq!(request.peer.to_string(), PEER);
            all.push((request.release, request.asked));
        }
        let chunk = |n| {
            let part = PlainPart::App;
            (Some(ID), PlainAsked::Chunk { part, n, of: 2 })
        };
        let update = |release| (release, PlainAsked::Update);
        assert_eq!(all, [update(None), update(Some(ID)), chunk(0), chunk(1)]);
    }
}
