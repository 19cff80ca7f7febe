//! What a request gets: the preconditions and ranges of RFC 9110, over content that never changes.

use std::ops::Range;

use airlift_wire::{Digest, digest::parse_hex};
use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST,
            IF_MATCH, IF_NONE_MATCH, IF_RANGE, ORIGIN, RANGE, X_CONTENT_TYPE_OPTIONS,
        },
    },
};
use bytes::Bytes;

use crate::{
    Store,
    range::{self, Wanted},
    refusal::Refusal,
    text::{Text, entity_tag},
};

/// What a digest names never changes: caches may keep it for a year and need not ask again.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

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
    fn find(self, store: &dyn Store, digest: &Digest) -> Option<Bytes> {
        match self {
            Self::Envelope => store.envelope(digest),
            Self::Blob => store.blob(digest),
            Self::Index => store.index(digest),
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Envelope => "application/cose",
            Self::Blob | Self::Index => "application/octet-stream",
        })
    }
}

/// Content for a request.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) digest: Digest,
    /// Length of the whole content.
    pub(crate) len: usize,
    /// What of it is sent.
    pub(crate) range: Range<usize>,
    partial: bool,
    body: Bytes,
}

/// How a request ends that is not refused.
#[derive(Debug)]
pub(crate) enum Answer {
    Content(Found),
    /// `len` is the length of what the client has.
    NotModified {
        digest: Digest,
        len: usize,
    },
}

/// What every path asks of a request, before its path matters.
pub(crate) fn admit(request: &Request) -> Result<(), Refusal> {
    // Devices and command lines send no Origin; a page in somebody's browser does.
    if request.headers().contains_key(ORIGIN) {
        return Err(Refusal::FromWebPage);
    }
    // RFC 9112 section 3.2 has it this strict.
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1
    {
        return Err(Refusal::NoHost);
    }
    Ok(())
}

/// Answers a request for content of `kind`, in the order of RFC 9110 section 13.2.2.
pub(crate) fn answer(store: &dyn Store, kind: Kind, request: &Request) -> Result<Answer, Refusal> {
    admit(request)?;
    let (method, headers) = (request.method(), request.headers());
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Refusal::Method);
    }
    // The path as sent: no escape is decoded, for a digest has none.
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let digest = parse_hex(name).map(Digest).ok_or(Refusal::NotFound)?;
    let whole = kind.find(store, &digest).ok_or(Refusal::NotFound)?;
    let tag = entity_tag(&digest);

    if headers.contains_key(IF_MATCH) && !lists(headers, &IF_MATCH, &tag, Comparison::Strong) {
        return Err(Refusal::IfMatch);
    }
    if lists(headers, &IF_NONE_MATCH, &tag, Comparison::Weak) {
        return Ok(Answer::NotModified {
            digest,
            len: whole.len(),
        });
    }
    let len = whole.len();
    let (range, partial) = match wanted(method, headers, &tag, len) {
        Wanted::Whole => (0..len, false),
        Wanted::Part(range) => (range, true),
        Wanted::Nothing => return Err(Refusal::Range { len }),
    };
    let body = if *method == Method::HEAD {
        Bytes::new()
    } else {
        whole.slice(range.clone())
    };
    Ok(Answer::Content(Found {
        kind,
        digest,
        len,
        range,
        partial,
        body,
    }))
}

fn wanted(method: &Method, headers: &HeaderMap, tag: &[u8], len: usize) -> Wanted {
    // Section 14.2: a range is defined for GET alone.
    let (Some(range), true) = (once(headers, &RANGE), *method == Method::GET) else {
        return Wanted::Whole;
    };
    // Strong comparison; a date never matches, for nothing here has a Last-Modified.
    if headers.contains_key(IF_RANGE)
        && once(headers, &IF_RANGE).is_none_or(|condition| condition.trim_ascii() != tag)
    {
        return Wanted::Whole;
    }
    range::resolve(range, len)
}

/// The value of a field that is no list: one that is repeated means nothing.
fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a field lists `tag`, or everything with `*` (RFC 9110 section 8.8.3.2).
///
/// A tag of ours holds no comma, so splitting at one inside a foreign tag cannot make a match.
fn lists(headers: &HeaderMap, name: &HeaderName, tag: &[u8], comparison: Comparison) -> bool {
    let matches = |item: &[u8]| {
        item == b"*"
            || item == tag
            || (comparison == Comparison::Weak && item.strip_prefix(b"W/") == Some(tag))
    };
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    lines.any(|line| {
        line.split(|&byte| byte == b',')
            .any(|item| matches(item.trim_ascii()))
    })
}

impl Answer {
    pub(crate) fn respond(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        // Ten fields with Date, without growing on the way.
        headers.reserve(8);
        headers.insert(CACHE_CONTROL, IMMUTABLE);
        let found = match self {
            Self::Content(found) => found,
            Self::NotModified { digest, len } => {
                headers.insert(ETAG, Text::new().bytes(&entity_tag(&digest)).value());
                // Section 8.6 wants this length or none; left out, axum would add 0 to an answer to HEAD.
                measure(headers, len);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return response;
            }
        };
        headers.insert(ETAG, Text::new().bytes(&entity_tag(&found.digest)).value());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, found.kind.content_type());
        measure(headers, found.range.len());
        if found.partial {
            let text = Text::new()
                .words("bytes ")
                .number(found.range.start)
                .words("-");
            let text = text
                .number(found.range.end - 1)
                .words("/")
                .number(found.len);
            headers.insert(CONTENT_RANGE, text.value());
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        *response.body_mut() = Body::from(found.body);
        response
    }
}

/// The fields of an answer with a body of `len` bytes, whose type nobody is to guess.
pub(crate) fn measure(headers: &mut HeaderMap, len: usize) {
    headers.insert(CONTENT_LENGTH, Text::new().number(len).value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
