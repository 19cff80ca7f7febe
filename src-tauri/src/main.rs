//! The desktop app of Airlift.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

use std::process::ExitCode;

use airlift_desktop::{Args, USAGE, run};

fn main() -> ExitCode {
    match Args::parse(std::env::args_os().skip(1)) {
        Ok(Args { help: true, .. }) => print!("{USAGE}"),
        Ok(Args { version: true, .. }) => println!("airlift-desktop {}", env!("CARGO_PKG_VERSION")),
        Ok(args) => {
            if let Err(error) = run(args) {
                eprintln!("airlift-desktop: {error}");
                return ExitCode::FAILURE;
            }
        }
        Err(unknown) => {
            eprint!("airlift-desktop: unknown argument {unknown}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
