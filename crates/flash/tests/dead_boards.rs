//! Boards that do not start, or not as they should: what Airlift says of each, what it writes, and that
//! a device then runs that very flash. `docs/recovery.md` is written from this suite, and
//! `crates/usb/tests/dead_boards.rs` plays the same boards over the wire.

#[path = "dead_boards/boards.rs"]
mod boards;
#[path = "dead_boards/cases.rs"]
mod cases;
#[path = "dead_boards/damage.rs"]
mod damage;
#[path = "dead_boards/documentation.rs"]
mod documentation;
#[path = "dead_boards/repair.rs"]
mod repair;
#[path = "dead_boards/start.rs"]
mod start;
#[path = "dead_boards/untouched.rs"]
mod untouched;
