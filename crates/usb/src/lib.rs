//! Boards on a serial port: find them, read and write their flash, show their log.
//!
//! Non-goals: what the bytes in flash mean (`airlift-flash`).
