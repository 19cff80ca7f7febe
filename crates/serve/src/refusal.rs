//! Requests that get no content.

use airlift_wire::ErrorCode;
use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Method, Response, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE},
    },
};

use crate::{answer::measure, text::Text};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoHost,
    FromWebPage,
    NotFound,
    Method,
    IfMatch,
    /// `len` is the length of the content.
    Range {
        len: usize,
    },
}

impl Refusal {
    /// The answer: a small JSON object with a stable code and a sentence.
    pub(crate) fn respond(self, method: &Method) -> Response<Body> {
        let (status, code, message) = self.words();
        // The words hold nothing that would need escaping.
        let body = format!(r#"{{"code":"{code}","message":"{message}"}}"#);
        let mut response = Response::new(());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // It is about now: the same URL may exist after the next release is offered.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        measure(headers, body.len());
        self.explain(headers);
        response.map(|()| {
            if *method == Method::HEAD {
                Body::empty()
            } else {
                body.into()
            }
        })
    }

    fn words(self) -> (StatusCode, ErrorCode, &'static str) {
        use ErrorCode::{BadRequest, NoSuchRelease};
        match self {
            Self::NoHost => (
                StatusCode::BAD_REQUEST,
                BadRequest,
                "the request needs exactly one Host field",
            ),
            Self::FromWebPage => (
                StatusCode::FORBIDDEN,
                BadRequest,
                "requests of web pages are refused",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                NoSuchRelease,
                "no release that is offered has this",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                BadRequest,
                "only GET and HEAD are answered",
            ),
            Self::IfMatch => (
                StatusCode::PRECONDITION_FAILED,
                BadRequest,
                "the content is not the one that If-Match names",
            ),
            Self::Range { .. } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                BadRequest,
                "the range holds no byte of the content",
            ),
        }
    }

    fn explain(self, headers: &mut HeaderMap) {
        match self {
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Range { len } => {
                let text = Text::new().words("bytes */").number(len);
                headers.insert(CONTENT_RANGE, text.value());
            }
            _ => {}
        }
    }
}
