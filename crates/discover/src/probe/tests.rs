use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Serves one connection: reads the head of a request, writes `answer`, and closes.
async fn serve(answer: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // A refused answer may be cut off by the other side.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(head).unwrap()
    });
    (addr, task)
}

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}").into_bytes()
}

fn json() -> String {
    crate::device::tests::example().to_string()
}

async fn refused(answer: Vec<u8>) -> Error {
    let (addr, _task) = serve(answer).await;
    probe(addr).await.expect_err("it must be refused")
}

#[tokio::test]
async fn a_device_is_asked_with_a_plain_get_and_its_local_address_is_known() {
    let json = json();
    let fields = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        json.len()
    );
    let (addr, task) = serve(answer("200 OK", &fields, &json)).await;
    let answer = probe(addr).await.unwrap();
    assert_eq!(answer.info.id.as_str(), "c3-7cdfa1b2c3d4");
    assert_eq!(answer.local_addr, addr.ip());
    assert!(answer.round_trip <= PROBE_TIMEOUT);
    let head = task.await.unwrap();
    assert!(head.starts_with("GET /v1/device HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {addr}\r\n")), "{head}");
    assert!(
        !head.to_lowercase().contains("origin:"),
        "a device refuses an Origin"
    );
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_read() {
    let fields = "Content-Type: application/json; charset=utf-8\r\nConnection: close\r\n";
    let (addr, _task) = serve(answer("200 OK", fields, &json())).await;
    assert!(probe(addr).await.is_ok());
}

#[tokio::test]
async fn what_is_not_a_device_is_said_to_be_none() {
    let json_type = "Content-Type: application/json\r\n";
    let cases = [
        (answer("404 Not Found", json_type, "{}"), "status 404"),
        (
            answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
            "status 302",
        ),
        (
            answer("200 OK", "Content-Type: text/html\r\n", "{}"),
            "not JSON",
        ),
        (answer("200 OK", "", "{}"), "not JSON"),
        (
            answer(
                "200 OK",
                "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n",
                "0\r\n\r\n",
            ),
            "without a length",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "does not speak HTTP"),
    ];
    for (bytes, words) in cases {
        match refused(bytes).await {
            Error::NotADevice { reason, .. } => assert!(reason.contains(words), "{reason}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    let text = answer("200 OK", json_type, "{\"schema\":1}");
    assert!(matches!(refused(text).await, Error::BadDevice { .. }));
}

#[tokio::test]
async fn an_answer_longer_than_the_limit_is_refused_with_and_without_a_length() {
    let long = " ".repeat(MAX_DEVICE_JSON + 1);
    let stated = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        u64::MAX / 2
    );
    let unstated = "Content-Type: application/json\r\n";
    for bytes in [
        answer("200 OK", &stated, ""),
        answer("200 OK", unstated, &long),
    ] {
        match refused(bytes).await {
            Error::NotADevice { reason, .. } => assert!(reason.contains("longer"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let many = "X-Field: 1\r\n".repeat(MAX_FIELDS + 1);
    assert!(matches!(
        refused(answer("200 OK", &many, "")).await,
        Error::NotADevice { .. }
    ));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unreachable() {
    let bytes = answer(
        "200 OK",
        "Content-Type: application/json\r\nContent-Length: 99\r\n",
        "{",
    );
    assert!(matches!(refused(bytes).await, Error::Unreachable { .. }));
    assert!(matches!(
        refused(Vec::new()).await,
        Error::Unreachable { .. }
    ));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(probe(addr).await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn a_silent_host_and_one_that_drips_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let drip = tokio::spawn(async move {
        let (_silent, _) = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        let _ = stream
            .write_all(&answer("200 OK", "Content-Type: application/json\r\n", ""))
            .await;
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Keeps the silent connection open.
        std::future::pending::<()>().await;
    });
    let (silent, dripping) = tokio::join!(probe(addr), probe(addr));
    assert_eq!(silent, Err(Error::TimedOut { addr }));
    assert_eq!(dripping, Err(Error::TimedOut { addr }));
    drip.abort();
}
