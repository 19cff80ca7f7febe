//! `airlift serve`

use crate::args::Serve;
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_release::UnverifiedRelease;

pub fn run(args: Serve) -> Result<u8, Failure> {
    let _ = (
        UnverifiedRelease::read_file(&args.release)?,
        args.bind,
        exit::DONE,
    );
    output::line("")?;
    Err(Failure::usage("not yet"))
}
