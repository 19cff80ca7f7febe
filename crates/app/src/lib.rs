//! The use cases of Airlift: library, devices, jobs, history, settings.
//!
//! Knows nothing of Tauri or clap: the command line and the desktop shell are thin fronts on it.

pub mod dto;
