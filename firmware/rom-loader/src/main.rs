//! A board's serial ROM loader on a pseudo-terminal, as a program.

#[cfg(unix)]
mod program;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    program::main()
}

#[cfg(not(unix))]
fn main() -> std::process::ExitCode {
    eprintln!("There are no pseudo-terminals here.");
    std::process::ExitCode::FAILURE
}
