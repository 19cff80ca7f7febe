//! The `airlift` command line.
fn main() {}
