//! What an update tells whoever watches it.

use crate::Failure;
use airlift_wire::Digest;
use core::fmt;

/// A part of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartName {
    /// The app image.
    App,
    /// The files.
    Files,
}

impl PartName {
    /// The name in the progress lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Files => "files",
        }
    }
}

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host is asked for the release.
    Preflight,
    /// Signature, product, chip, sequence, sizes.
    Signature,
    /// The app part.
    App,
    /// The files part.
    Files,
    /// All is read again from flash.
    Check,
    /// The envelope is stored and the slot selected.
    Switch,
}

impl Phase {
    /// The name in the progress lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Signature => "signature",
            Self::App => "app",
            Self::Files => "files",
            Self::Check => "check",
            Self::Switch => "switch",
        }
    }
}

/// What happened to chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkState {
    /// Was already there.
    Kept,
    /// Requested.
    Fetching,
    /// Arrived with the right hash.
    Checked,
    /// In flash.
    Written,
    /// Read back from flash.
    ReadBack,
}

impl ChunkState {
    /// The name in the progress lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Fetching => "fetching",
            Self::Checked => "checked",
            Self::Written => "written",
            Self::ReadBack => "read_back",
        }
    }
}

/// One line of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job began, or a connection attached to it.
    Started {
        /// Cancels the job.
        token: [u8; 8],
        /// Release.
        release: Digest,
        /// Chunks of the app, 0 when it is not carried.
        app: u32,
        /// Chunks of the files, 0 when they are not carried.
        files: u32,
    },
    /// A phase began.
    Phase(Phase),
    /// Something happened to `count` chunks from `n`.
    Chunk {
        /// Part.
        part: PartName,
        /// First chunk.
        n: u32,
        /// How many.
        count: u32,
        /// What happened.
        state: ChunkState,
    },
    /// A chunk arrived with a wrong hash and never touched flash.
    Refused {
        /// Part.
        part: PartName,
        /// Chunk.
        n: u32,
        /// Which try, from 1.
        attempt: u32,
        /// Hash in the signed index.
        expected: Digest,
        /// Hash of what arrived.
        computed: Digest,
    },
    /// A whole part was read back.
    Part {
        /// Part.
        part: PartName,
        /// Digest in the manifest, or of the part that was copied.
        expected: Digest,
        /// Digest of what is in flash.
        computed: Digest,
    },
    /// The last line: the device restarts into the slot.
    Rebooting {
        /// `ota_0` or `ota_1`.
        slot: &'static str,
    },
    /// The last line: the update failed or was cancelled.
    Failed(Failure),
}

impl Event {
    /// Whether it is the last line of a job.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Rebooting { .. } | Self::Failed(_))
    }

    /// Writes the event as one JSON object, without a line end.
    pub fn write_json(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Started {
                token,
                release,
                app,
                files,
            } => {
                out.write_str("{\"event\":\"started\",\"token\":\"")?;
                airlift_wire::digest::write_hex(out, token)?;
                write!(out, "\",\"release\":\"{release}\",\"parts\":{{")?;
                if *app > 0 {
                    write!(out, "\"app\":{app}")?;
                }
                if *files > 0 {
                    let comma = if *app > 0 { "," } else { "" };
                    write!(out, "{comma}\"files\":{files}")?;
                }
                out.write_str("}}")
            }
            Self::Phase(phase) => {
                write!(
                    out,
                    "{{\"event\":\"phase\",\"phase\":\"{}\"}}",
                    phase.as_str()
                )
            }
            Self::Chunk {
                part,
                n,
                count,
                state,
            } => write!(
                out,
                "{{\"event\":\"chunk\",\"part\":\"{}\",\"n\":{n},\"count\":{count},\"state\":\"{}\"}}",
                part.as_str(),
                state.as_str()
            ),
            Self::Refused {
                part,
                n,
                attempt,
                expected,
                computed,
            } => write!(
                out,
                "{{\"event\":\"chunk\",\"part\":\"{}\",\"n\":{n},\"state\":\"refused\",\"try\":{attempt},\
                 \"expected\":\"{expected}\",\"computed\":\"{computed}\"}}",
                part.as_str()
            ),
            Self::Part {
                part,
                expected,
                computed,
            } => write!(
                out,
                "{{\"event\":\"part\",\"part\":\"{}\",\"expected\":\"{expected}\",\"computed\":\"{computed}\"}}",
                part.as_str()
            ),
            Self::Rebooting { slot } => {
                write!(out, "{{\"event\":\"rebooting\",\"slot\":\"{slot}\"}}")
            }
            // Messages are our own literals without quotes or backslashes.
            Self::Failed(Failure { code, message }) => write!(
                out,
                "{{\"event\":\"failed\",\"code\":\"{code}\",\"message\":\"{message}\"}}"
            ),
        }
    }
}

/// Whoever watches an update and may cancel it.
pub trait Observer {
    /// Takes an event. May wait a little for a slow reader, never for long.
    async fn event(&mut self, event: Event);
    /// Whether somebody cancelled; asked between chunks.
    fn is_cancelled(&self) -> bool;
}

/// Checks for cancellation.
pub(crate) fn go_on(observer: &impl Observer) -> Result<(), Failure> {
    if observer.is_cancelled() {
        Err(Failure::CANCELLED)
    } else {
        Ok(())
    }
}
