//! What only the board itself knows.

use airlift_wire::state::Cause;

/// What the API says of the board besides releases: asked once an answer.
pub trait Vitals {
    /// Free memory, in bytes.
    fn free_memory(&self) -> u32;

    /// Why the device restarted last; [`Cause::None`] when it cannot tell.
    fn reset_reason(&self) -> Cause {
        Cause::None
    }

    /// Strength of the radio's signal, in dBm; `None` without a radio.
    fn signal_dbm(&self) -> Option<i8> {
        None
    }

    /// Copies what was logged from byte `from` on, counted since the start, into `out`; at which byte
    /// that begins, and how much it is. What is not kept any more is skipped.
    fn log(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        let _ = out;
        (from, 0)
    }
}

/// A device that knows its free memory and no more.
impl Vitals for u32 {
    fn free_memory(&self) -> u32 {
        *self
    }
}

/// What holds for the whole of one answer.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub now_ms: u64,
    pub free_memory: u32,
    pub reset_reason: Cause,
    pub signal_dbm: Option<i8>,
}
