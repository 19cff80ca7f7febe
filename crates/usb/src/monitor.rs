//! A board that runs: its log, line by line.
