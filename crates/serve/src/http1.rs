//! One request of HTTP/1.1 (RFC 9112) in bytes, one head of an answer in bytes; no I/O.

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;

use crate::{
    Store,
    answer::{self, Answer, Query, Refusal},
};

/// The longest head of a request, in bytes. A device sends about 200, a browser about 1000.
pub const MAX_HEAD: usize = 8192;
/// The most header fields of a request.
pub const MAX_FIELDS: usize = 64;

/// What the bytes that have come so far amount to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Not a whole head yet.
    More,
    /// A whole head, or something that will never be one.
    Reply {
        /// How many bytes it took.
        consumed: usize,
        answer: Answer,
        persistence: Persistence,
    },
}

/// Whether the connection lives on after the answer (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// HTTP/1.1: it does, and nothing needs saying.
    Default,
    /// HTTP/1.0 that asked for it: the answer says `keep-alive`.
    KeepAlive,
    /// The answer says `close`.
    Close,
}

/// Reads one request from the start of `input` and answers it.
pub(crate) fn step(store: &dyn Store, input: &[u8]) -> Step {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(input) {
        Ok(httparse::Status::Complete(consumed)) => {
            let (answer, persistence) = reply(store, &request);
            Step::Reply {
                consumed,
                answer,
                persistence,
            }
        }
        Ok(httparse::Status::Partial) if input.len() < MAX_HEAD => Step::More,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            refuse(input.len(), Refusal::HeadTooLong)
        }
        Err(_) => refuse(input.len(), Refusal::Malformed),
    }
}

/// Where the next request starts is unknown, so this is the last answer of the connection.
fn refuse(consumed: usize, refusal: Refusal) -> Step {
    let answer = Answer::refuse(refusal, false);
    Step::Reply {
        consumed,
        answer,
        persistence: Persistence::Close,
    }
}

fn reply(store: &dyn Store, request: &httparse::Request<'_, '_>) -> (Answer, Persistence) {
    let method = request.method.unwrap_or_default();
    let mut query = Query {
        method,
        path: path(request.path.unwrap_or_default()),
        ..Query::default()
    };
    let mut connection = Connection::default();
    for field in request.headers.iter() {
        query.field(field.name, field.value);
        connection.field(field.name, field.value);
    }
    let http_1_1 = request.version == Some(1);
    // RFC 9112 section 3.2: a request of HTTP/1.1 without exactly one Host is answered with 400.
    if http_1_1 && connection.hosts != 1 {
        return (
            Answer::refuse(Refusal::Malformed, method == "HEAD"),
            Persistence::Close,
        );
    }
    (
        answer::answer(store, &query),
        connection.persistence(http_1_1),
    )
}

/// The path of a request target: without the query, and without the `http://host` that a request
/// made for a proxy has (RFC 9112 section 3.2.2).
fn path(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// What the fields say about the connection and not about the answer.
#[derive(Default)]
struct Connection {
    hosts: usize,
    close: bool,
    keep_alive: bool,
    /// A body follows. It is not read: the answer is the last one, so that no byte of the body
    /// can be taken for a request.
    body: bool,
}

impl Connection {
    fn field(&mut self, name: &str, value: &[u8]) {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.hosts += 1,
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.body |= value != b"0",
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.body = true,
            _ => {}
        }
    }

    fn persistence(&self, http_1_1: bool) -> Persistence {
        match (self.close || self.body, http_1_1, self.keep_alive) {
            (false, true, _) => Persistence::Default,
            (false, false, true) => Persistence::KeepAlive,
            _ => Persistence::Close,
        }
    }
}

/// Writes the head of `answer` to `out`.
pub(crate) fn write_head(
    answer: &Answer,
    persistence: Persistence,
    date: &mut Date,
    now: SystemTime,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(status_line(answer.status()));
    answer.fields(|name, value| write_field(out, name, value));
    write_field(out, "Date", date.at(now));
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => write_field(out, "Connection", b"keep-alive"),
        Persistence::Close => write_field(out, "Connection", b"close"),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn status_line(status: StatusCode) -> &'static [u8] {
    match status {
        StatusCode::OK => b"HTTP/1.1 200 OK\r\n",
        StatusCode::PARTIAL_CONTENT => b"HTTP/1.1 206 Partial Content\r\n",
        StatusCode::NOT_MODIFIED => b"HTTP/1.1 304 Not Modified\r\n",
        StatusCode::BAD_REQUEST => b"HTTP/1.1 400 Bad Request\r\n",
        StatusCode::FORBIDDEN => b"HTTP/1.1 403 Forbidden\r\n",
        StatusCode::NOT_FOUND => b"HTTP/1.1 404 Not Found\r\n",
        StatusCode::METHOD_NOT_ALLOWED => b"HTTP/1.1 405 Method Not Allowed\r\n",
        StatusCode::PRECONDITION_FAILED => b"HTTP/1.1 412 Precondition Failed\r\n",
        StatusCode::RANGE_NOT_SATISFIABLE => b"HTTP/1.1 416 Range Not Satisfiable\r\n",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
        }
        _ => b"HTTP/1.1 500 Internal Server Error\r\n",
    }
}

/// The `Date` field, formatted again only when the second changes.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: Option<u64>,
    text: String,
}

impl Date {
    fn at(&mut self, now: SystemTime) -> &[u8] {
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = httpdate::fmt_http_date(now.max(UNIX_EPOCH));
        }
        self.text.as_bytes()
    }
}
