//! The command line as scripts see it: arguments in; text, JSON and exit codes out.

mod keys;
mod looking;
mod packing;
mod serving;
mod support;
mod updating;
mod usage;
