//! The server as a client sees it.

mod answers;
mod connections;
mod crowds;
mod support;
