//! The `airlift` command line: a thin front on `airlift-app`.
//!
//! Every command parses its arguments, calls a use case, and prints. Errors go to standard error
//! as one sentence, a stable code and what to do; exit codes are in [`exit`].

mod args;
mod command;
mod exit;
mod failure;
mod interrupt;
mod output;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::DONE
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("AIRLIFT_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let json = args.command.wants_json();
    match command::run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(exit::of(failure.code()))
        }
    }
}
