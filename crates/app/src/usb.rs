//! Boards on serial ports: what is known of each, and what is done to it.
//!
//! | Module | What it keeps |
//! | --- | --- |
//! | [`table`] | every port and the job on it, without I/O: what fronts see |
//! | [`log`] | the lines of a board's log, not endlessly many |

pub(crate) mod log;
pub(crate) mod table;
