//! One module a command.

mod inspect;
mod key;
mod pack;
mod serve;
mod signer;
mod trust;

use crate::args::Command;
use crate::failure::Failure;
use trust::trusted_keys;

/// Runs a command and returns its exit code.
pub fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Key(args) => key::run(args),
        Command::Pack(args) => pack::pack(args),
        Command::Resign(args) => pack::resign(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Verify(args) => inspect::verify(args),
        Command::Serve(args) => serve::run(args),
        _ => Err(Failure::usage("not yet")),
    }
}
