//! The command line as scripts see it: arguments in; text, JSON and exit codes out.

mod disk;
mod documented;
#[path = "../../../app/tests/support/elf.rs"]
mod elf;
mod freshness;
mod keys;
mod killed;
mod looking;
mod packing;
mod rotation;
mod running;
mod serving;
mod support;
mod updating;
mod usage;
#[cfg(unix)]
mod usb;
#[cfg(unix)]
mod usb_left;
#[cfg(unix)]
mod usb_sources;
