//! `airlift serve`

use crate::support::{Desk, Run, Running};
use std::io::{Read, Write};
use std::net::TcpStream;

fn desk() -> Desk {
    let desk = Desk::with_key();
    desk.run("key trust key.pub.pem").succeeded();
    desk.pack("r.airlift", 1, "").succeeded();
    desk
}

/// `HOST:PORT` and path of the next URL that it prints.
fn url(running: &mut Running) -> (String, String) {
    let line = running.line();
    let rest = line
        .strip_prefix("http://")
        .unwrap_or_else(|| panic!("a URL: {line}"));
    let (address, path) = rest.split_once('/').expect("a path");
    (address.to_owned(), format!("/{path}"))
}

fn get(address: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    answer
}

#[cfg(unix)]
#[test]
fn it_serves_the_release_at_the_url_that_it_prints_until_ctrl_c() {
    let desk = desk();
    let mut running = desk.start("serve r.airlift --bind 127.0.0.1:0");
    assert_eq!(running.line(), "Serving p 1.1.0 until Ctrl-C:");
    let (address, path) = url(&mut running);
    let answer = get(&address, &path);
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let envelope = desk.read("r.airlift");
    let id = airlift_release::UnverifiedRelease::read(envelope)
        .expect("a release")
        .id();
    assert_eq!(path, format!("/v1/releases/{id}"));
    assert!(get(&address, "/v1/blobs/none").starts_with(b"HTTP/1.1 404 "));
    running.interrupt();
    assert_eq!(running.end().code, 0);
    assert!(
        TcpStream::connect(&address).is_err(),
        "nobody listens any more"
    );
}

#[cfg(unix)]
#[test]
fn the_plain_protocol_is_off_until_asked_for_and_then_says_what_is_lost() {
    let desk = desk();
    let mut running = desk.start("serve r.airlift --bind 127.0.0.1:0");
    running.line();
    let (address, _) = url(&mut running);
    assert!(get(&address, "/updatemeta").starts_with(b"HTTP/1.1 404 "));
    running.interrupt();
    running.end();

    let mut running = desk.start("serve r.airlift --bind 127.0.0.1:0 --plain");
    running.line();
    let (address, _) = url(&mut running);
    let (_, meta) = url(&mut running);
    assert_eq!(meta, "/updatemeta");
    let answer = String::from_utf8(get(&address, &meta)).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-length: ") && !head.contains("transfer-encoding"),
        "{head}"
    );
    let meta: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(meta["partition"], meta["update"]["partition"]);
    let size = meta["partition"]["size"].as_u64().expect("a size");
    assert_ne!(size % 512, 0, "clients read their first piece by the rest");
    assert_eq!(
        meta["partition"]["url"],
        format!("http://{address}/chunk/part")
    );
    let chunk = get(&address, "/chunk/part/1");
    assert_eq!(
        chunk.len()
            - chunk
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
                .expect("a head")
            - 4,
        512
    );
    let asked = running.line();
    assert!(asked.starts_with("127.0.0.1: Was told of "), "{asked}");
    let fetches = running.line();
    assert!(fetches.starts_with("127.0.0.1: Fetches "), "{fetches}");
    assert!(fetches.contains("app 1 of "), "{fetches}");
    running.interrupt();
    let end = running.end();
    assert!(end.err.contains("no signature"), "{}", end.err);
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let desk = desk();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let run = desk
        .run(&format!("serve r.airlift --bind {address}"))
        .refused(1, "cannot_listen");
    assert!(run.err.contains(&address), "{}", run.err);
}

#[test]
fn a_release_of_a_stranger_is_not_served() {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "").succeeded();
    let serve = |release: &str| -> Run { desk.run(&format!("serve {release} --bind 127.0.0.1:0")) };
    serve("r.airlift").refused(3, "unknown_key");
    serve("key.pem").refused(3, "bad_release");
    serve("nothing").refused(1, "io");
}
