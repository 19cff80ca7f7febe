//! Boards on serial ports: what is known of each, and what is done to it.
//!
//! | Module | What it keeps |
//! | --- | --- |
//! | [`table`] | every port and the job on it, without I/O: what fronts see |
//! | [`driver`], [`lane`] | the ports of this process, and what runs on each |
//! | [`bound`] | plans, bound to a board and to what was in its flash |
//! | [`backup`] | what was overwritten, as files |
//! | [`log`] | the lines of a board's log, not endlessly many |
//! | [`boards`], [`system`] | where boards are: behind a trait, and on serial ports |
//! | [`view`] | what fronts see of boards, diagnoses and plans |

pub(crate) mod backup;
pub(crate) mod boards;
pub(crate) mod bound;
pub(crate) mod driver;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod lane;
pub(crate) mod log;
pub(crate) mod system;
pub(crate) mod table;
pub(crate) mod view;
