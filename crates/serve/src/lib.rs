//! The chunk server: releases over plain HTTP/1.1, for devices that check every byte themselves.
//!
//! | Request | Answer |
//! | --- | --- |
//! | `GET /v1/releases/{id}` | the envelope, `application/cose`; `id` is its SHA-256 |
//! | `GET /v1/blobs/{sha256}` | a part, `application/octet-stream` |
//! | `GET /v1/indexes/{sha256}` | the index pages of that part, concatenated |
//!
//! Names are 64 lower-case hexadecimal digits and are looked up in a [`Store`]: no URL ever becomes
//! a path. `HEAD` works as `GET`; any other method is 405. All content is immutable, its entity tag
//! is its name, and a length is always given, never chunked encoding.
//!
//! One byte range is answered with 206 or 416 (RFC 9110 section 14), `If-Range`, `If-Match` and
//! `If-None-Match` by strong or weak comparison as section 13 has it; several ranges in one request
//! get the whole content, as section 14.2 allows. A request with an `Origin` field comes from a web
//! page and gets 403. A refusal has a JSON body, `{"code":…,"message":…}`, with a code of
//! [`airlift_wire::ErrorCode`].
//!
//! # Use
//!
//! ```
//! use std::{net::Ipv4Addr, sync::Arc};
//! use airlift_serve::{DEFAULT_PORT, Limits, MemoryStore, Server, bind_from, router};
//!
//! # fn main() -> Result<(), airlift_serve::Error> {
//! let store = Arc::new(MemoryStore::default());
//! let listener = bind_from(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)?;
//! let server = Server::start(listener, router(store.clone()), Limits::default())?;
//! let id = store.insert("an envelope".into(), ["a part".into()])?;
//! println!("http://{}/v1/releases/{id}", server.local_addr());
//! # Ok(())
//! # }
//! ```
//!
//! [`router()`] alone is the whole meaning of the server, for tests and for other listeners.
//! [`Server`] adds what a LAN asks for: [`Limits`] on connections and on every wait, a device that gets
//! in whoever else holds connections, and a stop that an idle connection cannot hold up. [`observer`] tells who fetched what.
//!
//! # Speed
//!
//! A part is held once and sent from there: a range is a slice of shared memory, and one request is
//! one `recv`, one `writev` and a share of an `epoll_wait`. Two thirds of the time are the kernel's.
//! `tests/bench/serve` measures it against nginx. For ranges it needs less processor time; for a
//! whole part it answers more requests a second, but nginx, which copies nothing in `sendfile`, spends
//! less on each.
//!
//! Two things were tried and left out, for they measured no better: an HTTP/1.1 loop written by hand
//! in place of hyper and axum (3 to 5 % less processor time for small ranges, none for large ones),
//! and `sendfile` from a memory file (no difference up to 64 KiB, slower for a whole part, whose 4 KiB
//! pages the kernel then handles one by one).
//!
//! # Non-goals
//!
//! Secrecy: there is no TLS, a release is not a secret, and devices trust signatures and hashes and
//! not the server. Reading releases: the server neither knows nor checks the formats it offers.

mod answer;
mod bounded;
mod connection;
mod crowd;
mod error;
mod listen;
mod observe;
mod plain;
mod range;
mod refusal;
mod router;
mod server;
mod store;
mod text;

pub use self::{
    answer::Kind,
    error::Error,
    listen::{DEFAULT_PORT, PORTS_TRIED, bind, bind_from},
    observe::{Observations, Observer, Served, observer},
    plain::{
        PLAIN_CHUNK, PlainAsked, PlainError, PlainOffer, PlainPart, PlainRelease, PlainRequest,
    },
    router::{observed_router, router},
    server::{Limits, Server},
    store::{DEFAULT_STORE_LIMIT, MemoryStore, Store},
};
