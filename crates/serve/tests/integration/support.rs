//! A release to offer, requests to make, and a client that sees every byte.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use airlift_serve::{Limits, MemoryStore, Server, bind, router};
use airlift_wire::Digest;
use axum::{Router, body::Body};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

/// A release with one part, offered by a store.
pub struct Offer {
    pub store: Arc<MemoryStore>,
    pub envelope: Bytes,
    pub part: Bytes,
    pub id: Digest,
    pub sha256: Digest,
}

impl Offer {
    /// A part of two and a half chunks.
    pub fn new() -> Self {
        Self::of_len(10_000)
    }

    pub fn of_len(len: usize) -> Self {
        // A period that no chunk size divides.
        let pattern: Vec<u8> = (0..4093_u32).map(|i| (i * i % 251) as u8).collect();
        let part: Bytes = pattern.repeat(len.div_ceil(pattern.len()))[..len]
            .to_vec()
            .into();
        let envelope = Bytes::from_static(b"an envelope, which the server does not read");
        let store = Arc::new(MemoryStore::default());
        let id = store.insert(envelope.clone(), [part.clone()]).unwrap();
        Self {
            store,
            id,
            sha256: Digest::of(&part),
            envelope,
            part,
        }
    }

    pub fn envelope_path(&self) -> String {
        format!("/v1/releases/{}", self.id)
    }

    pub fn blob_path(&self) -> String {
        format!("/v1/blobs/{}", self.sha256)
    }

    pub fn index_path(&self) -> String {
        format!("/v1/indexes/{}", self.sha256)
    }

    pub fn tag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }

    pub fn index(&self) -> Vec<u8> {
        self.part
            .chunks(4096)
            .flat_map(|chunk| Digest::of(chunk).0)
            .collect()
    }

    pub fn router(&self) -> Router {
        router(self.store.clone())
    }

    pub fn serve(&self) -> Server {
        self.serve_within(Limits::default())
    }

    pub fn serve_within(&self, limits: Limits) -> Server {
        start(self.router(), limits)
    }
}

pub fn start(router: Router, limits: Limits) -> Server {
    Server::start(
        bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap(),
        router,
        limits,
    )
    .unwrap()
}

#[derive(Clone)]
pub struct Request {
    method: &'static str,
    pub path: String,
    fields: Vec<(&'static str, String)>,
}

pub fn get(path: &str) -> Request {
    Request {
        method: "GET",
        path: path.into(),
        fields: vec![("Host", "airlift.test".into())],
    }
}

impl Request {
    pub fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| *other != name);
        self
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub fn is_get(&self) -> bool {
        self.method == "GET"
    }

    pub fn text(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n"
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    /// The only field of that name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name);
        let value = values.next()?;
        assert!(values.next().is_none(), "{name} is there twice");
        Some(&value.1)
    }

    /// The fields that two answers to one question have in common, sorted.
    pub fn timeless(&self) -> Vec<&(String, String)> {
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .filter(|(name, _)| name != "date")
            .collect();
        fields.sort();
        fields
    }
}

/// The two ways to the server.
pub enum Over {
    Router(Router),
    Socket(SocketAddr),
}

impl Over {
    pub async fn send(&mut self, request: &Request) -> Answer {
        match self {
            Self::Router(router) => {
                let mut built = axum::http::Request::builder()
                    .method(request.method)
                    .uri(&request.path);
                for (name, value) in &request.fields {
                    built = built.header(*name, value);
                }
                let request = built.body(Body::empty()).unwrap();
                let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
                let fields = head.headers.iter();
                let fields =
                    fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
                Answer {
                    status: head.status.as_u16(),
                    fields: fields.collect(),
                    body: body.collect().await.unwrap().to_bytes(),
                }
            }
            Self::Socket(addr) => {
                let mut client = Client::connect(*addr).await;
                client.send(request).await;
                client.answer(request.method == "HEAD").await.unwrap()
            }
        }
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    /// What came and was not used yet.
    pub input: Vec<u8>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(addr).await.unwrap(),
            input: Vec::new(),
        }
    }

    pub async fn send(&mut self, request: &Request) {
        self.stream
            .write_all(request.text().as_bytes())
            .await
            .unwrap();
    }

    /// Reads one answer. An answer without a length, or cut short, is an error.
    pub async fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let head = loop {
            if let Some(at) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.input.split_off(at + 4);
                break std::mem::replace(&mut self.input, rest);
            }
            self.more().await?;
        };
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let mut answer = Answer {
            status,
            fields: fields.collect(),
            body: Bytes::new(),
        };
        if !to_head && status != 304 {
            let len: usize = answer
                .field("content-length")
                .expect("a length")
                .parse()
                .unwrap();
            while self.input.len() < len {
                self.more().await?;
            }
            answer.body = self.input.drain(..len).collect();
        }
        Ok(answer)
    }

    /// Whether the server has closed the connection, waiting for it to say something.
    pub async fn is_closed(&mut self) -> bool {
        self.more().await.is_err()
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
