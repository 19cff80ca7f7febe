//! What a loader answers, and why it refuses.

use crate::flash::{OutOfRange, Work};

/// Why a request is refused: code of a ROM, code of a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such command here, or its body is malformed.
    Malformed,
    /// Something about the flash.
    Flash,
    /// The checksum is wrong.
    Checksum,
    /// Data without a begin.
    NotBegun,
    /// The zlib stream is wrong.
    Inflate,
    /// More data than announced.
    TooMuch,
    /// The stub has no such command.
    Unknown,
}

impl Refusal {
    /// The codes are those of Espressif's "Serial Protocol".
    pub(super) const fn code(self, stub: bool) -> u8 {
        match (self, stub) {
            (Self::Malformed | Self::Unknown | Self::NotBegun, false) => 0x05,
            (Self::TooMuch, false) => 0x06,
            (Self::Checksum, false) => 0x07,
            (Self::Flash, false) => 0x08,
            (Self::Inflate, false) => 0x0B,
            (Self::Malformed, true) => 0xC0,
            (Self::Checksum, true) => 0xC1,
            (Self::Flash, true) => 0xC4,
            (Self::NotBegun, true) => 0xC6,
            (Self::Inflate, true) => 0xC7,
            (Self::TooMuch, true) => 0xC9,
            (Self::Unknown, true) => 0xFF,
        }
    }
}

impl From<OutOfRange> for Refusal {
    fn from(_: OutOfRange) -> Self {
        Self::Flash
    }
}

/// What a request leads to.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Payloads of frames, in their order.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Work before the first of them is sent.
    pub(crate) before: Work,
    /// What else happens, after that.
    pub(crate) then: Option<Then>,
}

/// What happens after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The board is at another baud rate.
    Baud(u32),
    /// The ROM loader starts again.
    Loader,
    /// The application starts.
    Application,
}

/// Data in an answer, and its value.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) value: u32,
    pub(super) data: Vec<u8>,
    pub(super) then: Option<Then>,
}

impl From<u32> for Reply {
    fn from(value: u32) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

impl From<Vec<u8>> for Reply {
    fn from(data: Vec<u8>) -> Self {
        Self {
            data,
            ..Self::default()
        }
    }
}

impl From<Then> for Reply {
    fn from(then: Then) -> Self {
        Self {
            then: Some(then),
            ..Self::default()
        }
    }
}
