//! The server as a client sees it.

mod answers;
mod connections;
mod support;
