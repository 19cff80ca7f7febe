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
use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, in the syntax of `tracing-subscriber`.
const LOG_VARIABLE: &str = "AIRLIFT_LOG";

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
        .with_env_filter(log_filter())
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

/// Errors only, unless the variable asks for more. mDNS calls every interface that it cannot send on
/// an error, and a computer has many of those.
fn log_filter() -> EnvFilter {
    EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("error,mdns_sd=off"))
}
