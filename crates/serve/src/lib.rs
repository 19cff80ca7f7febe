//! The chunk server
mod answer;
mod connection;
mod error;
mod http1;
mod listen;
mod observe;
mod range;
mod router;
mod server;
mod store;
mod text;

pub use self::{
    answer::Kind,
    error::Error,
    http1::{MAX_FIELDS, MAX_HEAD},
    listen::{DEFAULT_PORT, PORTS_TRIED, bind, bind_from},
    observe::{Observations, Observer, Served, observer},
    router::router,
    server::{Limits, Options, Server},
    store::{DEFAULT_STORE_LIMIT, MemoryStore, Store},
};
