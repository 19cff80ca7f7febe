//! Connections: how long they live, how many there are, and how they end.

use std::{future::pending, time::Duration};

use airlift_serve::{Kind, Limits, observed_router, observer};
use axum::{Router, routing::get as route};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use crate::support::{Client, Offer, get, start};

/// Long enough that a test which waits for it has failed.
const NEVER: Duration = Duration::from_secs(60);
/// A limit that a test waits for.
const SHORT: Duration = Duration::from_millis(50);
/// More than the kernel takes into its buffers on behalf of a client that does not read.
const MORE_THAN_BUFFERS: usize = 16 << 20;

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.request, limits.stall, limits.grace) = (NEVER, NEVER, NEVER);
    limits
}

/// Fails a test that would otherwise hang.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(NEVER / 2, what)
        .await
        .expect("this takes no time at all")
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    for i in 0..2000 {
        let first = i * 4 % 9000;
        let range = format!("bytes={first}-{}", first + 511);
        client
            .send(&get(&offer.blob_path()).field("Range", &range))
            .await;
        let answer = client.answer(false).await.unwrap();
        assert_eq!(answer.body, offer.part[first..first + 512]);
        assert_eq!(answer.field("connection"), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    let ranges: Vec<_> = (0..50).map(|i| i * 100..i * 100 + 100).collect();
    for range in &ranges {
        let field = format!("bytes={}-{}", range.start, range.end - 1);
        client
            .send(&get(&offer.blob_path()).field("Range", &field))
            .await;
    }
    for range in ranges {
        assert_eq!(client.answer(false).await.unwrap().body, offer.part[range]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_arrives_byte_by_byte_is_answered() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in get(&offer.envelope_path()).text().bytes() {
        client.stream.write_u8(byte).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer(false).await.unwrap().body, offer.envelope);
    server.stop().await;
}

#[tokio::test]
async fn http_1_0_gets_its_answer_and_the_end() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    let request = format!("GET {} HTTP/1.0\r\n\r\n", offer.blob_path());
    client.stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(client.answer(false).await.unwrap().body, offer.part);
    assert!(soon(client.is_closed()).await);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_wants_to_close_is_obeyed() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    client
        .send(&get(&offer.blob_path()).field("Connection", "close"))
        .await;
    assert_eq!(client.answer(false).await.unwrap().body, offer.part);
    assert!(soon(client.is_closed()).await);
    server.stop().await;
}

#[tokio::test]
async fn the_body_of_a_request_is_never_taken_for_a_request() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let smuggled = get(&offer.blob_path()).text();
    for framing in [
        format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        ),
    ] {
        let mut client = Client::connect(server.local_addr()).await;
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: h\r\n{framing}",
            offer.blob_path()
        );
        client.stream.write_all(request.as_bytes()).await.unwrap();
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.answer(false).await.unwrap().status, 405);
        assert!(soon(client.is_closed()).await);
        assert!(client.input.is_empty(), "one request, one answer");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    // The server may close before it has taken all of it.
    let _ = client.stream.write_all(request.as_bytes()).await;
    match soon(client.answer(false)).await {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    client
        .stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(soon(client.answer(false)).await.unwrap().status, 400);
    assert!(soon(client.is_closed()).await);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let offer = Offer::new();
    let server = offer.serve_within(Limits {
        request: SHORT,
        ..limits()
    });
    let mut silent = Client::connect(server.local_addr()).await;
    assert!(soon(silent.is_closed()).await);
    let mut idle = Client::connect(server.local_addr()).await;
    idle.send(&get(&offer.envelope_path())).await;
    assert_eq!(idle.answer(false).await.unwrap().status, 200);
    assert!(soon(idle.is_closed()).await);
    server.stop().await;
}

#[tokio::test]
async fn a_client_whose_head_trickles_in_is_closed() {
    let offer = Offer::new();
    let server = offer.serve_within(Limits {
        request: SHORT,
        ..limits()
    });
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    soon(async {
        while stream.write_u8(b'x').await.is_ok() {
            tokio::time::sleep(SHORT / 5).await
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_others_are_served() {
    let offer = Offer::of_len(MORE_THAN_BUFFERS);
    let server = offer.serve_within(Limits {
        stall: SHORT,
        connections: 2,
        ..limits()
    });
    let mut stalled = Client::connect(server.local_addr()).await;
    stalled.send(&get(&offer.blob_path())).await;
    let mut other = Client::connect(server.local_addr()).await;
    other.send(&get(&offer.blob_path())).await;
    assert!(soon(other.answer(false)).await.unwrap().body == offer.part);
    // Its place is free only when the server has given up on it.
    soon(async {
        loop {
            let mut third = Client::connect(server.local_addr()).await;
            // A connection too many is closed at once, which may fail this as well.
            let _ = third.stream.write_all(get("/").text().as_bytes()).await;
            if third.answer(false).await.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = soon(stalled.answer(false)).await.unwrap_err();
    assert!(
        matches!(
            error.kind(),
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
        ),
        "{error}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_a_place_that_is_left_is_free_again() {
    let offer = Offer::new();
    let server = offer.serve_within(Limits {
        connections: 2,
        ..limits()
    });
    let request = get(&offer.envelope_path());
    let mut places = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(server.local_addr()).await;
        client.send(&request).await;
        assert_eq!(client.answer(false).await.unwrap().status, 200);
        places.push(client);
    }
    let mut third = Client::connect(server.local_addr()).await;
    assert!(soon(third.is_closed()).await);
    // The connections that were there are not harmed.
    places[0].send(&request).await;
    assert_eq!(places[0].answer(false).await.unwrap().status, 200);
    places.pop();
    soon(async {
        loop {
            let mut next = Client::connect(server.local_addr()).await;
            let _ = next.stream.write_all(request.text().as_bytes()).await;
            if next.answer(false).await.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_a_stop() {
    let offer = Offer::new();
    let server = offer.serve_within(limits());
    let mut idle = Client::connect(server.local_addr()).await;
    idle.send(&get(&offer.envelope_path())).await;
    assert_eq!(idle.answer(false).await.unwrap().status, 200);
    let mut fresh = Client::connect(server.local_addr()).await;
    let addr = server.local_addr();
    soon(server.stop()).await;
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_stop_lets_an_answer_finish() {
    let offer = Offer::of_len(MORE_THAN_BUFFERS);
    let server = offer.serve_within(limits());
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&get(&offer.blob_path())).await;
    // The first byte shows that the answer has begun.
    client.input.push(client.stream.read_u8().await.unwrap());
    let stop = tokio::spawn(server.stop());
    let answer = soon(client.answer(false)).await.unwrap();
    assert!(answer.body == offer.part);
    soon(stop).await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_reader_that_stalls() {
    let offer = Offer::of_len(MORE_THAN_BUFFERS);
    let server = offer.serve_within(Limits {
        grace: SHORT,
        ..limits()
    });
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&get(&offer.blob_path())).await;
    client.input.push(client.stream.read_u8().await.unwrap());
    soon(server.stop()).await;
    assert!(client.answer(false).await.is_err(), "it was cut off");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_half_a_request() {
    let offer = Offer::new();
    let server = offer.serve_within(Limits {
        grace: SHORT,
        ..limits()
    });
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&get(&offer.envelope_path())).await;
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    client.stream.write_all(b"GET / HT").await.unwrap();
    soon(server.stop()).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_dropped_server_ends_at_once() {
    let (entered, mut running) = mpsc::channel::<()>(1);
    let router = Router::new().route(
        "/hang",
        route(|| async move {
            let _ = entered.send(()).await;
            pending::<()>().await
        }),
    );
    let server = start(router, limits());
    let mut client = Client::connect(server.local_addr()).await;
    client.send(&get("/hang")).await;
    running.recv().await.unwrap();
    drop(server);
    assert!(soon(client.is_closed()).await);
}

#[tokio::test]
async fn an_observer_hears_what_was_served_to_whom() {
    let offer = Offer::new();
    let (observer, mut heard) = observer(8);
    let server = start(observed_router(offer.store.clone(), observer), limits());
    let mut client = Client::connect(server.local_addr()).await;
    for request in [
        get(&offer.envelope_path()),
        get(&offer.blob_path()).method("HEAD"),
        get(&offer.blob_path()).field("If-None-Match", &offer.tag()),
        get("/v1/blobs/nothing"),
        get(&offer.blob_path()).field("Range", "bytes=4096-8191"),
    ] {
        client.send(&request).await;
        client.answer(!request.is_get()).await.unwrap();
    }
    let envelope = heard.next().await.unwrap();
    assert_eq!((envelope.kind, envelope.digest), (Kind::Envelope, offer.id));
    assert_eq!(
        (envelope.range, envelope.len),
        (0..offer.envelope.len(), offer.envelope.len())
    );
    assert_eq!(envelope.peer, client.stream.local_addr().unwrap());
    let chunk = heard.next().await.unwrap();
    assert_eq!((chunk.kind, chunk.digest), (Kind::Blob, offer.sha256));
    assert_eq!((chunk.range, chunk.len), (4096..8192, offer.part.len()));
    server.stop().await;
    assert_eq!(heard.next().await, None, "nothing else was served");
}

#[tokio::test]
async fn an_observer_that_does_not_listen_slows_nothing() {
    let offer = Offer::new();
    let (observer, mut heard) = observer(1);
    let server = start(observed_router(offer.store.clone(), observer), limits());
    let mut client = Client::connect(server.local_addr()).await;
    for _ in 0..10 {
        client.send(&get(&offer.envelope_path())).await;
        assert_eq!(soon(client.answer(false)).await.unwrap().status, 200);
    }
    assert_eq!(heard.missed(), 9);
    assert!(heard.next().await.is_some());
    server.stop().await;
}
