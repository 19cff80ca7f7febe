//! What a release is made of, and every way in which somebody may get it wrong.
//!
//! One binary: the modules share the inputs in `given`.

mod files;
mod foreign;
mod given;
mod images;
mod inspecting;
mod interop;
mod keys;
mod opening;
mod packing;
