//! Boards from nothing: what is written, what is refused, and that a virtual device starts it.

#[path = "contents/esptool.rs"]
mod esptool;
#[path = "contents/kit.rs"]
mod kit;
#[path = "contents/nothing.rs"]
mod nothing;
#[path = "contents/raw.rs"]
mod raw;
