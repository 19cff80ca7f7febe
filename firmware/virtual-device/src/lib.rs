//! A whole device as a library and a host process.
//!
//! | Module | What it does |
//! | --- | --- |
//! | [`nor`] | NOR flash with its rules, faults at every operation, kept in a file |
//! | [`timing`] | how long a common flash part takes for an operation |

pub mod nor;
pub mod timing;
