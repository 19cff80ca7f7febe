//! What requests get: the same table through the router alone and through real sockets.

use std::sync::Arc;

use airlift_serve::{MemoryStore, router};
use axum::http::StatusCode;
use bytes::Bytes;
use proptest::prelude::*;

use crate::support::{Answer, Offer, Over, Request, get};

/// Every field that an answer may have. A new one is a decision, not an accident.
const FIELDS: &[&str] = &[
    "accept-ranges",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "x-content-type-options",
];

/// What a case expects: a status, and either the bytes or the code of the refusal.
enum Expect {
    Bytes(u16, Vec<u8>),
    Refused(u16, &'static str),
    NotModified,
}

fn cases(offer: &Offer) -> Vec<(&'static str, Request, Expect)> {
    use Expect::{Bytes, NotModified, Refused};
    let (blob, tag) = (offer.blob_path(), offer.tag());
    let part = offer.part.to_vec();
    let len = part.len();
    let whole = || Bytes(200, part.clone());
    let slice = |range: std::ops::Range<usize>| Bytes(206, part[range].to_vec());
    let upper = format!("/v1/blobs/{}", offer.sha256.to_string().to_uppercase());
    let other = format!("\"{}\"", "0".repeat(64));
    vec![
        (
            "the envelope",
            get(&offer.envelope_path()),
            Bytes(200, offer.envelope.to_vec()),
        ),
        ("a part", get(&blob), whole()),
        (
            "its index",
            get(&offer.index_path()),
            Bytes(200, offer.index()),
        ),
        (
            "a query is no part of the name",
            get(&format!("{blob}?x=1")),
            whole(),
        ),
        (
            "a first chunk",
            get(&blob).field("Range", "bytes=0-4095"),
            slice(0..4096),
        ),
        (
            "one byte",
            get(&blob).field("Range", "bytes=7-7"),
            slice(7..8),
        ),
        (
            "an open range",
            get(&blob).field("Range", "bytes=4096-"),
            slice(4096..len),
        ),
        (
            "a suffix",
            get(&blob).field("Range", "bytes=-10"),
            slice(len - 10..len),
        ),
        (
            "a range past the end",
            get(&blob).field("Range", "bytes=9000-99999"),
            slice(9000..len),
        ),
        (
            "a range of an index",
            get(&offer.index_path()).field("Range", "bytes=32-63"),
            Bytes(206, offer.index()[32..64].to_vec()),
        ),
        (
            "a range of an envelope",
            get(&offer.envelope_path()).field("Range", "bytes=0-3"),
            Bytes(206, offer.envelope[..4].to_vec()),
        ),
        (
            "a range after the end",
            get(&blob).field("Range", &format!("bytes={len}-")),
            Refused(416, "bad_request"),
        ),
        (
            "an empty suffix",
            get(&blob).field("Range", "bytes=-0"),
            Refused(416, "bad_request"),
        ),
        (
            "several ranges",
            get(&blob).field("Range", "bytes=0-1,4-5"),
            whole(),
        ),
        (
            "a malformed range",
            get(&blob).field("Range", "bytes=b-a"),
            whole(),
        ),
        (
            "another unit",
            get(&blob).field("Range", "chunks=0-1"),
            whole(),
        ),
        (
            "two range fields",
            get(&blob)
                .field("Range", "bytes=0-1")
                .field("Range", "bytes=0-1"),
            whole(),
        ),
        (
            "a range of what it was",
            get(&blob)
                .field("Range", "bytes=1-2")
                .field("If-Range", &tag),
            slice(1..3),
        ),
        (
            "a range of something else",
            get(&blob)
                .field("Range", "bytes=1-2")
                .field("If-Range", &other),
            whole(),
        ),
        (
            "a weak tag in If-Range",
            get(&blob)
                .field("Range", "bytes=1-2")
                .field("If-Range", &format!("W/{tag}")),
            whole(),
        ),
        (
            "a date in If-Range",
            get(&blob)
                .field("Range", "bytes=1-2")
                .field("If-Range", "Sun, 22 Nov 2026 08:49:37 GMT"),
            whole(),
        ),
        (
            "a range after the end of something else",
            get(&blob)
                .field("Range", "bytes=99999-")
                .field("If-Range", &other),
            whole(),
        ),
        (
            "what the client has",
            get(&blob).field("If-None-Match", &tag),
            NotModified,
        ),
        (
            "what the client has, weakly, among others",
            get(&blob).field("If-None-Match", &format!("{other}, W/{tag}")),
            NotModified,
        ),
        (
            "what the client has, in a second field",
            get(&blob)
                .field("If-None-Match", &other)
                .field("If-None-Match", &tag),
            NotModified,
        ),
        (
            "anything new",
            get(&blob).field("If-None-Match", "*"),
            NotModified,
        ),
        (
            "what the client has before any range",
            get(&blob)
                .field("If-None-Match", &tag)
                .field("Range", "bytes=0-1"),
            NotModified,
        ),
        (
            "what the client has not",
            get(&blob).field("If-None-Match", &other),
            whole(),
        ),
        (
            "what it must be",
            get(&blob).field("If-Match", &tag),
            whole(),
        ),
        ("whatever it is", get(&blob).field("If-Match", "*"), whole()),
        (
            "what it is not",
            get(&blob).field("If-Match", &other),
            Refused(412, "bad_request"),
        ),
        (
            "weakly what it must be",
            get(&blob).field("If-Match", &format!("W/{tag}")),
            Refused(412, "bad_request"),
        ),
        (
            "a web page",
            get(&blob).field("Origin", "https://example.org"),
            Refused(403, "bad_request"),
        ),
        (
            "a sandboxed web page",
            get("/").field("Origin", "null"),
            Refused(403, "bad_request"),
        ),
        (
            "upper-case hex",
            get(&upper),
            Refused(404, "no_such_release"),
        ),
        (
            "an escape",
            get(&blob.replacen('a', "%61", 1)),
            Refused(404, "no_such_release"),
        ),
        (
            "a short digest",
            get(&blob[..blob.len() - 1]),
            Refused(404, "no_such_release"),
        ),
        (
            "a long digest",
            get(&format!("{blob}0")),
            Refused(404, "no_such_release"),
        ),
        (
            "a slash at the end",
            get(&format!("{blob}/")),
            Refused(404, "no_such_release"),
        ),
        (
            "no digest",
            get("/v1/blobs/"),
            Refused(404, "no_such_release"),
        ),
        (
            "a digest of nothing",
            get(&format!("/v1/blobs/{}", "0".repeat(64))),
            Refused(404, "no_such_release"),
        ),
        (
            "a part as a release",
            get(&format!("/v1/releases/{}", offer.sha256)),
            Refused(404, "no_such_release"),
        ),
        (
            "a release as a part",
            get(&format!("/v1/blobs/{}", offer.id)),
            Refused(404, "no_such_release"),
        ),
        ("the root", get("/"), Refused(404, "no_such_release")),
        (
            "a path to a file",
            get("/v1/blobs/../../etc/passwd"),
            Refused(404, "no_such_release"),
        ),
        (
            "an escaped path to a file",
            get("/v1/blobs/..%2f..%2fetc%2fpasswd"),
            Refused(404, "no_such_release"),
        ),
        (
            "a POST",
            get(&blob).method("POST"),
            Refused(405, "bad_request"),
        ),
        (
            "a PUT",
            get(&blob).method("PUT"),
            Refused(405, "bad_request"),
        ),
        (
            "a DELETE",
            get(&blob).method("DELETE"),
            Refused(405, "bad_request"),
        ),
        (
            "OPTIONS",
            get(&blob).method("OPTIONS"),
            Refused(405, "bad_request"),
        ),
        (
            "a POST to nothing",
            get("/v2").method("POST"),
            Refused(404, "no_such_release"),
        ),
    ]
}

#[tokio::test]
async fn the_router_answers_as_the_table_says() {
    let offer = Offer::new();
    check(&offer, Over::Router(offer.router())).await;
}

#[tokio::test]
async fn the_server_answers_as_the_table_says() {
    let offer = Offer::new();
    let server = offer.serve();
    check(&offer, Over::Socket(server.local_addr())).await;
    server.stop().await;
}

async fn check(offer: &Offer, mut over: Over) {
    for (what, request, expect) in cases(offer) {
        let answer = over.send(&request).await;
        // HEAD ignores ranges (RFC 9110 section 14.2), so it is the twin of the GET without one.
        let twin = request.clone().without("Range");
        let whole = over.send(&twin).await;
        let head = over.send(&twin.method("HEAD")).await;
        if request.is_get() && whole.status != 304 {
            assert_eq!(
                head.timeless(),
                whole.timeless(),
                "{what}: HEAD has the fields of GET"
            );
            assert_eq!(head.status, whole.status, "{what}: HEAD");
        }
        assert!(head.body.is_empty(), "{what}: HEAD has no body");
        check_fields(what, &answer);

        match expect {
            Expect::Bytes(status, bytes) => {
                assert_eq!(answer.status, status, "{what}");
                assert!(answer.body == bytes, "{what}: {} bytes", answer.body.len());
                assert_eq!(answer.field("accept-ranges"), Some("bytes"), "{what}");
                check_immutable(what, offer, &request, &answer);
            }
            Expect::NotModified => {
                assert_eq!(answer.status, 304, "{what}");
                // RFC 9110 section 8.6: the length of what it did not send, or none.
                let len = offer.part.len().to_string();
                for answer in [&answer, &head] {
                    assert_eq!(
                        answer.field("content-length").unwrap_or(&len),
                        len,
                        "{what}"
                    );
                }
                assert!(answer.body.is_empty(), "{what}");
                check_immutable(what, offer, &request, &answer);
            }
            Expect::Refused(status, code) => {
                assert_eq!(answer.status, status, "{what}");
                let start = format!(r#"{{"code":"{code}","message":""#);
                let body = String::from_utf8(answer.body.to_vec()).unwrap();
                assert!(
                    body.starts_with(&start) && body.ends_with("\"}"),
                    "{what}: {body}"
                );
                assert_eq!(
                    answer.field("content-type"),
                    Some("application/json"),
                    "{what}"
                );
                assert_eq!(answer.field("cache-control"), Some("no-store"), "{what}");
                assert_eq!(answer.field("etag"), None, "{what}");
            }
        }
        let range = answer.field("content-range").map(str::to_owned);
        match StatusCode::from_u16(answer.status).unwrap() {
            StatusCode::PARTIAL_CONTENT => check_range(what, offer, &request, &answer),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                assert_eq!(
                    range,
                    Some(format!("bytes */{}", offer.part.len())),
                    "{what}"
                );
            }
            _ => assert_eq!(range, None, "{what}"),
        }
        let allow = (answer.status == 405).then_some("GET, HEAD");
        assert_eq!(answer.field("allow"), allow, "{what}");
    }
}

fn check_fields(what: &str, answer: &Answer) {
    for (name, _) in &answer.fields {
        assert!(
            FIELDS.contains(&name.as_str()),
            "{what}: unexpected field {name}"
        );
    }
    if answer.status != 304 {
        let len = answer.body.len().to_string();
        assert_eq!(answer.field("content-length"), Some(len.as_str()), "{what}");
        assert_eq!(
            answer.field("x-content-type-options"),
            Some("nosniff"),
            "{what}"
        );
    }
}

fn check_immutable(what: &str, offer: &Offer, request: &Request, answer: &Answer) {
    let immutable = "public, max-age=31536000, immutable";
    assert_eq!(answer.field("cache-control"), Some(immutable), "{what}");
    let release = request.path.starts_with("/v1/releases/");
    let digest = if release { offer.id } else { offer.sha256 };
    assert_eq!(
        answer.field("etag"),
        Some(format!("\"{digest}\"").as_str()),
        "{what}"
    );
    if answer.status != 304 {
        let kind = if release {
            "application/cose"
        } else {
            "application/octet-stream"
        };
        assert_eq!(answer.field("content-type"), Some(kind), "{what}");
    }
}

/// `Content-Range` describes the bytes that came: found by searching, not by computing it again.
fn check_range(what: &str, offer: &Offer, request: &Request, answer: &Answer) {
    let whole = match request.path.split('/').nth(2) {
        Some("blobs") => offer.part.to_vec(),
        Some("indexes") => offer.index(),
        _ => offer.envelope.to_vec(),
    };
    let field = answer.field("content-range").expect(what);
    let (range, total) = field
        .strip_prefix("bytes ")
        .and_then(|f| f.split_once('/'))
        .expect(what);
    let (first, last) = range.split_once('-').expect(what);
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    assert_eq!(total, whole.len().to_string(), "{what}");
    assert_eq!(whole[first..=last], answer.body, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_valid_range_equals_the_slice(
        part in proptest::collection::vec(any::<u8>(), 1..20_000),
        a in any::<proptest::sample::Index>(),
        b in any::<proptest::sample::Index>(),
    ) {
        let (a, b) = (a.index(part.len()), b.index(part.len()));
        let (first, last) = (a.min(b), a.max(b));
        let store = Arc::new(MemoryStore::default());
        store.insert(Bytes::from_static(b"envelope"), [part.clone().into()]).unwrap();
        let path = format!("/v1/blobs/{}", airlift_wire::Digest::of(&part));
        let mut over = Over::Router(router(store));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (range, expected) in [
            (format!("bytes={first}-{last}"), &part[first..=last]),
            (format!("bytes={first}-"), &part[first..]),
            (format!("bytes=-{}", last + 1), &part[part.len() - last - 1..]),
        ] {
            let request = get(&path).field("Range", &range);
            let answer = runtime.block_on(over.send(&request));
            prop_assert_eq!(answer.status, 206);
            prop_assert!(answer.body == expected, "{}", range);
        }
    }
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let offer = Offer::new();
    let server = offer.serve();
    let mut over = Over::Socket(server.local_addr());
    for request in [get("/").without("Host"), get("/").field("Host", "again")] {
        assert_eq!(over.send(&request).await.status, 400);
    }
    server.stop().await;
}

/// A client of the plain protocol that could read the answer would copy what it runs and restart.
#[tokio::test]
async fn a_board_that_checks_no_signature_gets_no_json_from_a_server_that_has_nothing_for_it() {
    let mut over = Over::Router(Offer::new().router());
    for path in ["/updatemeta", "/chunk/part/0"] {
        let answer = over.send(&get(path)).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.starts_with(b"{"), "{path}");
    }
}

#[tokio::test]
async fn a_release_that_is_taken_back_is_gone_and_one_that_is_offered_is_there() {
    let offer = Offer::new();
    let server = offer.serve();
    let mut over = Over::Socket(server.local_addr());
    let request = get(&offer.envelope_path());
    assert_eq!(over.send(&request).await.status, 200);
    assert!(offer.store.remove(&offer.id));
    assert_eq!(over.send(&request).await.status, 404);
    offer
        .store
        .insert(offer.envelope.clone(), [offer.part.clone()])
        .unwrap();
    assert_eq!(over.send(&request).await.status, 200);
    server.stop().await;
}
