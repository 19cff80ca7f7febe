//! littlefs over NOR flash in memory.

mod faults;
mod files;
mod folders;
mod model;
mod ram;
