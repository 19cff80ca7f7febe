//! Boards of the plain protocol, which checks no signature.

use serde::Serialize;
use ts_rs::TS;

use super::BINDINGS;

/// What is served without a signature, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Plain {
    /// Release that is served so; none while it is off, as it is at every start.
    pub release: Option<String>,
    /// Boards that asked lately, by address.
    pub boards: Vec<PlainBoard>,
}

/// A board that asked, known by its address alone.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct PlainBoard {
    /// Its IP address.
    pub address: String,
    /// Release that it was told of, if any.
    pub release: Option<String>,
    /// How far it is.
    pub state: PlainState,
    /// All of it in one sentence.
    pub summary: String,
    /// App and files, as far as the release carries them.
    pub parts: Vec<PlainProgress>,
    /// When it asked for anything last.
    pub last_seen: f64,
}

/// How many chunks of a part a board was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct PlainProgress {
    /// `app` or `files`.
    pub part: String,
    /// Different chunks that it was sent.
    pub fetched: u32,
    /// Chunks of the part; 512 bytes each.
    pub chunks: u32,
}

/// How far a board of the plain protocol is, as far as that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum PlainState {
    /// It asked, and nothing was served.
    Refused,
    /// It was told of the release and has fetched nothing.
    Asked,
    /// It fetches.
    Fetching,
    /// It asks no more and does not have everything.
    Stopped,
    /// It fetched everything; what it runs, it does not say.
    Unknown,
    /// Something else proves that it runs the release.
    Updated,
}
