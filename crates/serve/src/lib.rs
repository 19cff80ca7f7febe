//! The chunk server
mod answer;
mod bounded;
mod connection;
mod error;
mod listen;
mod observe;
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
    router::{observed_router, router},
    server::{Limits, Server},
    store::{DEFAULT_STORE_LIMIT, MemoryStore, Store},
};
