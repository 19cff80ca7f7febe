//! What the window and `--json` see: plain data, camelCase, generated to TypeScript.
//!
//! 64-bit numbers that can pass 2^53 are never used: sizes and times fit. Times are Unix seconds
//! unless the name says otherwise. Digests are 64 lower-case hexadecimal digits.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::Secret;

mod plain;
mod usb;

pub use plain::{Plain, PlainBoard, PlainProgress, PlainState};
pub use usb::{
    Diagnosis, Finding, FlashPart, FlashPlan, FlashRegion, FlashRequest, FlashSource, FlashStep,
    PlanChoice, RegionHealth, UsbActivity, UsbBackup, UsbBoard, UsbEnd, UsbJob, UsbJobKind,
    UsbLogLine, UsbPhase, UsbPort, UsbRecord, Verdict, WifiCredentials,
};

/// Where the TypeScript of these types is committed, from `crates/app/bindings`. A file a type: so a
/// run of some of the tests rewrites some of the files and never half of one.
const BINDINGS: &str = "../../../ui/src/bindings/";

/// An error at the boundary: one sentence, a stable code, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct ErrorInfo {
    /// Stable code, see `wire::ErrorCode`.
    pub code: String,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Everything the window needs at start or after a reload.
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Number of the last event that this already contains; later ones are still to be applied.
    #[ts(as = "Option<u32>", optional)]
    pub seq: u32,
    /// All known devices.
    pub devices: Vec<Device>,
    /// The library, newest first.
    pub releases: Vec<Release>,
    /// Running and recent jobs.
    pub jobs: Vec<Job>,
    /// Keys that this computer has or trusts.
    pub keys: Vec<Key>,
    /// The chunk server.
    pub server: Server,
    /// Settings.
    pub settings: Settings,
    /// Whether virtual devices of this app are running.
    pub virtual_devices: bool,
    /// Serial ports.
    pub usb_ports: Vec<UsbPort>,
    /// Boards that check no signature, and what they are given.
    pub plain: Plain,
    /// What was found damaged at the start, and what became of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[ts(as = "Option<Vec<ErrorInfo>>", optional)]
    pub notices: Vec<ErrorInfo>,
}

/// A device as last seen.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its product.
    pub product: String,
    /// Its chip, such as `esp32c3`.
    pub chip: String,
    /// Best address, `HOST:PORT`.
    pub address: String,
    /// The local address that reached it.
    pub local_address: Option<String>,
    /// Whether it answered the last probe.
    pub online: bool,
    /// When it last answered.
    pub last_seen: Option<f64>,
    /// Version it runs.
    pub version: Option<String>,
    /// Slot it runs from.
    pub slot: String,
    /// `valid`, `new`, `pending`, …
    pub state: String,
    /// Release it runs.
    pub release: Option<String>,
    /// Sequence it runs.
    pub sequence: Option<u32>,
    /// Digest of the app that it runs.
    pub app_sha256: Option<String>,
    /// Digest of the files that it runs with.
    pub files_sha256: Option<String>,
    /// All its slots.
    pub slots: Vec<Slot>,
    /// Key ids that it trusts; the root first.
    pub trusts: Vec<String>,
    /// Id of the key that may change whom it trusts.
    pub root: Option<String>,
    /// Ids of the keys that sign releases for it.
    pub release_keys: Vec<String>,
    /// Epoch of its key set.
    pub epoch: u32,
    /// Whether its bootloader has rollback.
    pub bootloader_rollback: Option<bool>,
    /// Flash size in bytes.
    pub flash_size: u32,
    /// Free memory in bytes.
    pub free_memory: Option<u32>,
    /// Strength of its radio's signal in dBm, if it has one.
    pub signal_dbm: Option<i16>,
    /// Why it restarted last: `power_on`, `software`, `watchdog`, …
    pub reset_reason: Option<String>,
    /// Milliseconds since its start.
    pub uptime_ms: Option<f64>,
    /// How its last update ended.
    pub last_update: Option<LastUpdate>,
    /// Whether it takes a release only with a signed statement that it is the newest.
    pub freshness_required: bool,
    /// The last release that it refused for its age since it started.
    pub stale_offer: Option<StaleOffer>,
    /// `idle`, `updating`, `trial`.
    pub updater: String,
    /// Why it cannot be updated right now, whatever the release.
    pub blocked: Option<ErrorInfo>,
    /// The job that runs on it.
    pub job: Option<u32>,
    /// Whether it is one of this app's virtual devices.
    pub simulated: bool,
}

/// A slot of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// `factory`, `ota_0` or `ota_1`.
    pub slot: String,
    /// State of its otadata entry, or `empty`.
    pub state: String,
    /// Version, if the slot is whole.
    pub version: Option<String>,
    /// Release, if the slot is whole.
    pub release: Option<String>,
}

/// How a device says that its last update ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct LastUpdate {
    /// Release.
    pub release: String,
    /// `done`, `rolled_back`, `failed`, `cancelled`, `trial`.
    pub end: String,
    /// Cause, such as `watchdog`.
    pub cause: String,
    /// Why, in the words of the release's own check.
    pub detail: Option<String>,
    /// How often the new release was booted.
    pub boots: u32,
}

/// A release that a device was offered and refused: it is not the newest, or nobody said it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct StaleOffer {
    /// Release that was offered.
    pub release: String,
    /// Its sequence.
    pub offered: u32,
    /// Its version, if the library has it.
    pub offered_version: Option<String>,
    /// Sequence of the newest release, if the device was told.
    pub newest: Option<u32>,
    /// Its version, if the library has it.
    pub newest_version: Option<String>,
    /// Address of who offered it.
    pub by: Option<String>,
    /// All of it in plain words.
    pub sentence: String,
}

/// What a release says of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Part {
    /// The release carries it.
    #[serde(rename_all = "camelCase")]
    Carried {
        /// Bytes.
        size: u32,
        /// Number of chunks.
        chunks: u32,
        /// SHA-256.
        sha256: String,
    },
    /// The device must already run it.
    #[serde(rename_all = "camelCase")]
    Running {
        /// SHA-256.
        sha256: String,
    },
    /// Whatever the device runs.
    Any,
}

/// A release in the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// SHA-256 of its envelope.
    pub id: String,
    /// Product.
    pub product: String,
    /// Version for people.
    pub version: String,
    /// Sequence.
    pub sequence: u32,
    /// Chip name, or `any`.
    pub chip: String,
    /// When it was made.
    pub created: f64,
    /// When it was added here.
    pub added: f64,
    /// App part.
    pub app: Part,
    /// Files part.
    pub files: Part,
    /// Bytes of all carried parts.
    pub size: u32,
    /// Id of the key that signed.
    pub key_id: String,
    /// Whom devices trust once they have confirmed it, when it changes that.
    #[serde(default)]
    pub keys: Option<KeySet>,
    /// Ids of the devices that run it.
    pub running_on: Vec<String>,
}

/// Where a job is. The order of the phases is the order of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for its turn or its device.
    Queued,
    /// Product, chip, sequence, sizes.
    Preflight,
    /// The device checks the signature.
    Signature,
    /// The app part.
    App,
    /// The files part.
    Files,
    /// All is read again from flash.
    Check,
    /// The device selects the new slot and restarts.
    Switch,
    /// The new version is on trial.
    Confirm,
    /// Over.
    Ended,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Back on the new version, confirmed.
    Done,
    /// Back on the old version.
    RolledBack,
    /// Failed before the switch, or not seen again.
    Failed,
    /// Cancelled.
    Cancelled,
}

/// One device's update to one release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Number, unique in this library.
    pub id: u32,
    /// Device id.
    pub device: String,
    /// Device name at the start.
    pub device_name: String,
    /// Release id.
    pub release: String,
    /// Product.
    pub product: String,
    /// Version before, if known.
    pub from_version: Option<String>,
    /// Version of the release.
    pub to_version: String,
    /// Slot before.
    pub from_slot: Option<String>,
    /// Slot after, once known.
    pub to_slot: Option<String>,
    /// Where it is.
    pub phase: Phase,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// Why, when it did not end well.
    pub error: Option<ErrorInfo>,
    /// One plain sentence about where it is or how it ended.
    pub summary: String,
    /// App and files, as far as the release carries them.
    pub parts: Vec<PartProgress>,
    /// Bytes a second over the last seconds; none while nothing is fetched.
    pub rate: Option<f64>,
    /// Seconds left, estimated.
    pub seconds_left: Option<f64>,
    /// When it started.
    pub started: f64,
    /// When it ended.
    pub ended: Option<f64>,
    /// Whether Cancel can still do something.
    pub can_cancel: bool,
    /// Whether Retry makes sense.
    pub can_retry: bool,
}

/// How far a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct PartProgress {
    /// `app` or `files`.
    pub part: String,
    /// Bytes of the part.
    pub size: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// Chunks that were already there.
    pub kept: u32,
    /// Chunks fetched, checked and written.
    pub fetched: u32,
    /// Chunks refused (wrong hash), each fetched again.
    pub refused: u32,
    /// Expected SHA-256 of the part.
    pub expected: String,
    /// SHA-256 that the device computed from its flash, once it has.
    pub computed: Option<String>,
}

/// State of a chunk in the chunk map; the number is its code in [`JobDetail::chunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum ChunkState {
    /// Nothing yet.
    Empty,
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
    /// Arrived with a wrong hash.
    Refused,
}

/// A chunk that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct RefusedChunk {
    /// `app` or `files`.
    pub part: String,
    /// Chunk number.
    pub n: u32,
    /// Which try, from 1.
    pub attempt: u32,
    /// Hash in the signed index.
    pub expected: String,
    /// Hash of what arrived.
    pub computed: String,
}

/// A job with its chunk map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct JobDetail {
    /// Number of the last event that this already contains; later ones are still to be applied.
    #[ts(as = "Option<u32>", optional)]
    pub seq: u32,
    /// The job.
    pub job: Job,
    /// A digit a chunk (the place of its [`ChunkState`]), app then files, in the order of
    /// [`Job::parts`].
    pub chunks: String,
    /// The last refused chunks, newest last.
    pub refused: Vec<RefusedChunk>,
    /// What the device said, one line each, newest last.
    pub log: Vec<String>,
}

/// A run of chunks that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct ChunkRun {
    /// First cell of the map: files follow app.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// New state.
    pub state: ChunkState,
}

/// An event and its number. Numbers rise by one; a gap means that the listener was too slow and
/// needs a new [`Snapshot`].
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Numbered {
    /// Number of the event, from 1.
    pub seq: u32,
    /// The event.
    pub event: Event,
}

/// What the app tells the window, in order, each with the next `seq`.
#[expect(
    clippy::large_enum_variant,
    reason = "events are sent one at a time and never kept in bulk"
)]
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", tag = "kind", content = "data")]
pub enum Event {
    /// A device appeared or changed.
    Device(Device),
    /// A device was forgotten.
    DeviceForgotten(String),
    /// The library changed.
    Releases(Vec<Release>),
    /// A job changed; at most ten a second and always its end.
    Job(Job),
    /// Chunks of a job changed.
    #[serde(rename_all = "camelCase")]
    Chunks {
        /// Job.
        job: u32,
        /// What changed since the last such event.
        runs: Vec<ChunkRun>,
        /// Newly refused chunks.
        refused: Vec<RefusedChunk>,
    },
    /// Keys changed.
    Keys(Vec<Key>),
    /// The chunk server changed.
    Server(Server),
    /// Settings changed.
    Settings(Settings),
    /// What boards that check no signature are given, or one of them, changed.
    Plain(Plain),
    /// Virtual devices of this app were started or stopped.
    VirtualDevices(bool),
    /// A serial port appeared or changed; at most ten times a second while a job runs.
    UsbPort(UsbPort),
    /// A serial port is gone and nothing runs on it.
    UsbPortGone(String),
    /// Lines of a board's log.
    #[serde(rename_all = "camelCase")]
    UsbLog {
        /// Port.
        port: String,
        /// New lines.
        lines: Vec<UsbLogLine>,
    },
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// First 8 bytes of the SHA-256 of the public key.
    pub id: String,
    /// Name of its file without ending.
    pub name: String,
    /// Whether the private part is here, so that it can sign.
    pub can_sign: bool,
    /// Whether the private part needs a passphrase.
    pub needs_passphrase: bool,
    /// Whether releases signed by it are accepted here.
    pub trusted: bool,
    /// Whether it was made here and its private part is kept elsewhere.
    pub offline: bool,
}

/// The keys that a device trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct KeySet {
    /// Rises with each change.
    pub epoch: u32,
    /// Id of the root.
    pub root: String,
    /// Ids of the release keys.
    pub keys: Vec<String>,
}

/// An offline key to be made: its private part goes to a file and stays nowhere else.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOfflineKey {
    /// Name of its public part here.
    pub name: String,
    /// File for the private part; must not exist.
    pub path: String,
    /// Opens it.
    #[ts(as = "String")]
    pub passphrase: Secret,
}

/// What it takes to change the keys of some devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct KeyChangePlan {
    /// Epoch of the new set.
    pub epoch: u32,
    /// The roots of the devices; one of them must sign.
    pub roots: Vec<RootOfDevices>,
    /// Devices whose keys cannot be changed over the network now, and why.
    pub refused: Vec<RefusedDevice>,
}

/// A root and the devices that trust it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct RootOfDevices {
    /// Key id.
    pub id: String,
    /// The key, if it is known here.
    pub key: Option<Key>,
    /// Ids of the devices.
    pub devices: Vec<String>,
}

/// A device that something cannot be done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct RefusedDevice {
    /// Device id.
    pub device: String,
    /// Why.
    pub error: ErrorInfo,
}

/// A change of keys: the filled-in form.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyChange {
    /// Ids of the devices; all trust the same root.
    pub devices: Vec<String>,
    /// Id of that root; its private part is here unless `signer_file` says where.
    pub signer: String,
    /// File of the root's private part, when that is not kept here.
    pub signer_file: Option<String>,
    /// Opens it.
    #[ts(as = "Option<String>")]
    pub passphrase: Option<Secret>,
    /// Id of the new root.
    pub root: String,
    /// Ids of the new release keys, one to four.
    pub release_keys: Vec<String>,
}

/// The chunk server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Addresses it listens on, `HOST:PORT`.
    pub addresses: Vec<String>,
    /// Why it does not listen.
    pub error: Option<ErrorInfo>,
}

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// First port that the chunk server tries.
    pub port: u16,
    /// Interface names to use; empty means all that reach devices.
    pub interfaces: Vec<String>,
    /// Whether the system is told when a job ends.
    pub notify: bool,
}

/// What a drop would do; shown while it is held over the window and acted on when let go.
#[expect(clippy::large_enum_variant, reason = "one at a time, straight to JSON")]
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum DropPlan {
    /// A `.airlift` file whose signature is good.
    #[serde(rename_all = "camelCase")]
    AddRelease {
        /// File.
        path: String,
        /// Sentence such as "Add release demo 1.1.0".
        sentence: String,
        /// Whether the library has it already.
        known: bool,
    },
    /// A public key.
    #[serde(rename_all = "camelCase")]
    TrustKey {
        /// File.
        path: String,
        /// Sentence.
        sentence: String,
        /// Key id.
        key_id: String,
    },
    /// An app image, a tar or a folder: open the new-release sheet.
    #[serde(rename_all = "camelCase")]
    NewRelease {
        /// Sentence such as "New release from blink.bin and web/".
        sentence: String,
        /// What the sheet starts with.
        draft: Draft,
    },
    /// Nothing that Airlift knows.
    #[serde(rename_all = "camelCase")]
    Refuse {
        /// Why.
        error: ErrorInfo,
    },
}

/// What the new-release sheet starts with.
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// Product, offered.
    pub product: String,
    /// Version, offered.
    pub version: String,
    /// Next sequence of the product.
    pub sequence: u32,
    /// Chip from the image; fixed when there is one.
    pub chip: Option<String>,
    /// App file and what was found in it.
    pub app: Option<DraftPart>,
    /// Tar or folder and what was found in it.
    pub files: Option<DraftPart>,
    /// Keys that can sign.
    pub keys: Vec<Key>,
    /// Releases of the same product that a missing part can come from, newest first.
    pub bases: Vec<Release>,
    /// Problems, at the field that causes them.
    pub problems: Vec<FieldProblem>,
}

/// A file or folder of a draft.
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct DraftPart {
    /// Path on this computer.
    pub path: String,
    /// Bytes of the part that it becomes.
    pub size: u32,
    /// One line a finding: project, version, chip, checksum; number of files, what was skipped.
    pub found: Vec<String>,
}

/// A problem of one field.
#[derive(Clone, Debug, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct FieldProblem {
    /// `product`, `version`, `sequence`, `chip`, `app`, `files`, `key`.
    pub field: String,
    /// What is wrong and what to do.
    pub error: ErrorInfo,
    /// Whether it can be packed all the same.
    pub warning: bool,
}

/// The filled-in sheet.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRelease {
    /// Product.
    pub product: String,
    /// Version.
    pub version: String,
    /// Sequence.
    pub sequence: u32,
    /// App file.
    pub app: Option<String>,
    /// Tar or folder.
    pub files: Option<String>,
    /// Release that gives the digest of the part that is not carried.
    pub base: Option<String>,
    /// Key id.
    pub key_id: String,
    /// Passphrase of the key.
    #[ts(as = "Option<String>")]
    pub passphrase: Option<Secret>,
}

/// What a device has logged since somebody looked.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLog {
    /// Its lines, with nothing in them that is not text.
    pub lines: Vec<String>,
    /// The byte to ask for next.
    pub next: f64,
    /// Bytes that it did not keep until somebody looked.
    pub skipped: f64,
    /// Whether it has restarted since: what came before these lines is another run.
    pub restarted: bool,
    /// Whether it keeps a log at all.
    pub kept: bool,
}

/// A row of the history.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRow {
    /// Job.
    pub job: u32,
    /// Device id.
    pub device: String,
    /// Device name.
    pub device_name: String,
    /// Product.
    pub product: String,
    /// Version before.
    pub from_version: Option<String>,
    /// Version of the release.
    pub to_version: String,
    /// Release id.
    pub release: String,
    /// When it started.
    pub started: f64,
    /// When it ended.
    pub ended: Option<f64>,
    /// How it ended; none while it runs.
    pub end: Option<End>,
    /// Code, when it did not end well. One without an end was interrupted: its process is gone.
    pub code: Option<String>,
    /// The sentence.
    pub summary: String,
    /// Chunks kept.
    pub kept: u32,
    /// Chunks fetched.
    pub fetched: u32,
    /// Chunks refused.
    pub refused: u32,
}
