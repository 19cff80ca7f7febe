//! A board's serial ROM loader on a pseudo-terminal, as a program.

fn main() {}
