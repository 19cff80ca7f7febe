//! What a request gets, decided without any I/O.
//!
//! [`answer`] is the whole meaning of the server. The axum router and the connection loop only turn
//! a request into a [`Query`] and an [`Answer`] into bytes, so both say the same thing.

use std::ops::Range;

use airlift_wire::{Digest, ErrorCode, digest::parse_hex};
use bytes::Bytes;
use http::StatusCode;

use crate::{
    Store,
    range::{self, Wanted},
    text::{Text, entity_tag},
};

/// Methods that a known path answers, as its `Allow` field says them.
const ALLOWED: &str = "GET, HEAD";
/// What a digest names never changes: caches may keep it for a year and need not ask again.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Refusals are about now: the same URL may exist after the next release is offered.
const NO_STORE: &str = "no-store";

/// Which kind of content a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/v1/releases/{id}`: the signed envelope.
    Envelope,
    /// `/v1/blobs/{sha256}`: a part.
    Blob,
    /// `/v1/indexes/{sha256}`: the index pages of a part.
    Index,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Envelope => "application/cose",
            Self::Blob | Self::Index => "application/octet-stream",
        }
    }

    fn find(self, store: &dyn Store, digest: &Digest) -> Option<Bytes> {
        match self {
            Self::Envelope => store.envelope(digest),
            Self::Blob => store.blob(digest),
            Self::Index => store.index(digest),
        }
    }
}

/// A field that may be there once: a request that repeats it means nothing by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Field<'a> {
    pub(crate) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }
}

/// The parts of a request that an answer depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) method: &'a str,
    /// The path as sent, without the query component: no escape is decoded, for a digest has none.
    pub(crate) path: &'a str,
    pub(crate) origin: Field<'a>,
    pub(crate) range: Field<'a>,
    pub(crate) if_match: Field<'a>,
    pub(crate) if_none_match: Field<'a>,
    pub(crate) if_range: Field<'a>,
}

impl<'a> Query<'a> {
    /// Notes a header field when it matters. `name` may have any case.
    pub(crate) fn field(&mut self, name: &str, value: &'a [u8]) {
        let slot = match name.len() {
            5 if name.eq_ignore_ascii_case("range") => &mut self.range,
            6 if name.eq_ignore_ascii_case("origin") => &mut self.origin,
            8 if name.eq_ignore_ascii_case("if-range") => &mut self.if_range,
            8 if name.eq_ignore_ascii_case("if-match") => &mut self.if_match,
            13 if name.eq_ignore_ascii_case("if-none-match") => &mut self.if_none_match,
            _ => return,
        };
        slot.add(value);
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    HeadTooLong,
    OriginRefused,
    NotFound,
    MethodNotAllowed,
    PreconditionFailed,
    RangeNotSatisfiable { len: usize },
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::RangeNotSatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The body, JSON. The words hold nothing that would need escaping.
    fn body(self) -> String {
        let (code, message) = match self {
            Self::Malformed => (ErrorCode::BadRequest, "this is not an HTTP/1.1 request"),
            Self::HeadTooLong => (ErrorCode::BadRequest, "the head of the request is too long"),
            Self::OriginRefused => (
                ErrorCode::BadRequest,
                "requests that come from a web page are refused",
            ),
            Self::NotFound => (
                ErrorCode::NoSuchRelease,
                "no release that is offered has this",
            ),
            Self::MethodNotAllowed => (ErrorCode::BadRequest, "only GET and HEAD are answered"),
            Self::PreconditionFailed => (
                ErrorCode::BadRequest,
                "the content is not the one that If-Match names",
            ),
            Self::RangeNotSatisfiable { .. } => (
                ErrorCode::BadRequest,
                "the range holds no byte of the content",
            ),
        };
        format!(r#"{{"code":"{code}","message":"{message}"}}"#)
    }
}

/// Content found for a request.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    /// Length of the whole content.
    pub(crate) len: usize,
    /// The bytes of it that the answer is about.
    pub(crate) range: Range<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// 200 or, when `partial`, 206.
    Content { found: Found, partial: bool },
    /// 304.
    NotModified(Digest),
    /// `len` is the length of the JSON that a GET gets.
    Refused { refusal: Refusal, len: usize },
}

/// An answer, complete but for what the connection adds (`Date`, `Connection`).
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// What goes after the head: empty for HEAD and 304.
    pub(crate) body: Bytes,
}

/// Answers `query` from `store`.
pub(crate) fn answer(store: &dyn Store, query: &Query<'_>) -> Answer {
    let head = query.method == "HEAD";
    match find(store, query) {
        Ok((outcome, body)) => Answer {
            outcome,
            body: if head { Bytes::new() } else { body },
        },
        Err(refusal) => Answer::refuse(refusal, head),
    }
}

/// The steps in the order of RFC 9110 section 13.2.2.
fn find(store: &dyn Store, query: &Query<'_>) -> Result<(Outcome, Bytes), Refusal> {
    // Devices and command lines send no Origin; a page in somebody's browser does.
    if query.origin != Field::Absent {
        return Err(Refusal::OriginRefused);
    }
    let (kind, name) = split(query.path).ok_or(Refusal::NotFound)?;
    if !matches!(query.method, "GET" | "HEAD") {
        return Err(Refusal::MethodNotAllowed);
    }
    let digest = parse_hex(name).map(Digest).ok_or(Refusal::NotFound)?;
    let whole = kind.find(store, &digest).ok_or(Refusal::NotFound)?;
    let tag = entity_tag(&digest);

    match query.if_match {
        Field::Once(tags) if !any_tag(tags, &tag, Comparison::Strong) => {
            return Err(Refusal::PreconditionFailed);
        }
        _ => {}
    }
    if let Field::Once(tags) = query.if_none_match
        && any_tag(tags, &tag, Comparison::Weak)
    {
        return Ok((Outcome::NotModified(digest), Bytes::new()));
    }

    let len = whole.len();
    let (range, partial) = match wanted(query, &tag, len) {
        Wanted::Whole => (0..len, false),
        Wanted::Part(range) => (range, true),
        Wanted::Nothing => return Err(Refusal::RangeNotSatisfiable { len }),
    };
    let body = if partial {
        whole.slice(range.clone())
    } else {
        whole
    };
    Ok((
        Outcome::Content {
            found: Found {
                kind,
                digest,
                len,
                range,
            },
            partial,
        },
        body,
    ))
}

fn split(path: &str) -> Option<(Kind, &str)> {
    let (kind, name) = path.strip_prefix("/v1/")?.split_once('/')?;
    let kind = match kind {
        "blobs" => Kind::Blob,
        "indexes" => Kind::Index,
        "releases" => Kind::Envelope,
        _ => return None,
    };
    // A further segment makes it a path that nobody answers, whatever the method.
    (!name.is_empty() && !name.contains('/')).then_some((kind, name))
}

fn wanted(query: &Query<'_>, tag: &[u8], len: usize) -> Wanted {
    // Section 14.2: a range is defined for GET alone.
    let (Field::Once(range), "GET") = (query.range, query.method) else {
        return Wanted::Whole;
    };
    match query.if_range {
        Field::Absent => range::resolve(range, len),
        // Strong comparison; a date never matches, for nothing here has a Last-Modified.
        Field::Once(condition) if condition.trim_ascii() == tag => range::resolve(range, len),
        Field::Once(_) | Field::Repeated => Wanted::Whole,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags, or `*`, has `tag` (RFC 9110 section 8.8.3.2).
///
/// A tag of ours holds no comma, so splitting at one inside a foreign tag cannot make a match.
fn any_tag(list: &[u8], tag: &[u8], comparison: Comparison) -> bool {
    list.trim_ascii() == b"*"
        || list
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|item| {
                item == tag
                    || (comparison == Comparison::Weak && item.strip_prefix(b"W/") == Some(tag))
            })
}

impl Answer {
    pub(crate) fn refuse(refusal: Refusal, head: bool) -> Self {
        let body = refusal.body();
        Self {
            outcome: Outcome::Refused {
                refusal,
                len: body.len(),
            },
            body: if head { Bytes::new() } else { body.into() },
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match &self.outcome {
            Outcome::Content { partial: false, .. } => StatusCode::OK,
            Outcome::Content { partial: true, .. } => StatusCode::PARTIAL_CONTENT,
            Outcome::NotModified(_) => StatusCode::NOT_MODIFIED,
            Outcome::Refused { refusal, .. } => refusal.status(),
        }
    }

    /// Hands out every header field, each name once.
    pub(crate) fn fields(&self, mut put: impl FnMut(&'static str, &[u8])) {
        match &self.outcome {
            Outcome::Content { found, partial } => {
                let Found {
                    kind,
                    digest,
                    len,
                    range,
                } = found;
                put("Content-Type", kind.content_type().as_bytes());
                put("Content-Length", Text::new().number(range.len()).as_bytes());
                if *partial {
                    let text = Text::new().words("bytes ").number(range.start).words("-");
                    let text = text.number(range.end - 1).words("/").number(*len);
                    put("Content-Range", text.as_bytes());
                }
                put("ETag", &entity_tag(digest));
                put("Accept-Ranges", b"bytes");
                put("Cache-Control", IMMUTABLE.as_bytes());
            }
            Outcome::NotModified(digest) => {
                put("ETag", &entity_tag(digest));
                put("Cache-Control", IMMUTABLE.as_bytes());
            }
            Outcome::Refused { refusal, len } => {
                put("Content-Type", b"application/json");
                put("Content-Length", Text::new().number(*len).as_bytes());
                match refusal {
                    Refusal::MethodNotAllowed => put("Allow", ALLOWED.as_bytes()),
                    Refusal::RangeNotSatisfiable { len } => {
                        let text = Text::new().words("bytes */").number(*len);
                        put("Content-Range", text.as_bytes());
                    }
                    _ => {}
                }
                put("Cache-Control", NO_STORE.as_bytes());
            }
        }
        put("X-Content-Type-Options", b"nosniff");
    }
}
