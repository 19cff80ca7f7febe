//! What a device says about itself: the JSON of `GET /v1/device`.
//!
//! The JSON comes from the network. Types, lengths and alphabets are checked while it is read, so a
//! [`DeviceInfo`] that exists keeps the limits below. Fields this version does not know are skipped:
//! a device may be newer than the host. What a slot does not have (an empty one has nearly
//! nothing) is `null` or absent, and both read as `None`.

use airlift_wire::{Digest, KeyId, limits};
use serde::{Deserialize, Serialize};

use crate::Error;

mod hex;
mod ids;
mod text;

pub use ids::DeviceId;

/// The only `schema` this version reads.
pub const SCHEMA: u32 = 1;
/// The longest JSON a device may answer with, in bytes.
pub const MAX_DEVICE_JSON: usize = 16 * 1024;
/// The longest device id, in bytes of `[a-z0-9-]`.
pub const MAX_ID: usize = 64;
/// The longest device name, in characters.
pub const MAX_NAME: usize = 64;
/// The longest product, in bytes of `[a-z0-9._-]`.
pub const MAX_PRODUCT: usize = limits::MAX_PRODUCT;
/// The longest chip name, in bytes of `[a-z0-9]`.
pub const MAX_CHIP: usize = 16;
/// The longest version, in bytes.
pub const MAX_VERSION: usize = limits::MAX_VERSION;
/// The longest code (`cause`, `phase`), in bytes of `[a-z0-9_]`.
pub const MAX_CODE: usize = 64;
/// The longest reason of a device's own check, in bytes.
pub const MAX_DETAIL: usize = limits::MAX_DETAIL;
/// The most slots a device may list.
pub const MAX_SLOTS: usize = 4;
/// The most release keys a device may list.
pub const MAX_KEYS: usize = limits::MAX_RELEASE_KEYS;

/// A device as it described itself in one answer to `GET /v1/device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The version of this description: always [`SCHEMA`].
    #[serde(deserialize_with = "text::schema")]
    pub schema: u32,
    /// Who the device is, whatever its address.
    pub id: DeviceId,
    /// What its owner calls it: at most [`MAX_NAME`] printable characters, may be empty.
    #[serde(deserialize_with = "text::name")]
    pub name: String,
    /// The product whose releases it takes.
    #[serde(deserialize_with = "text::product")]
    pub product: String,
    /// The chip, as in `esp32c3`.
    #[serde(deserialize_with = "text::chip")]
    pub chip: String,
    /// The size of its flash, in bytes.
    pub flash_size: u64,
    /// The slot it runs from.
    pub running: SlotInfo,
    /// Every slot it has, in the device's order, each at most once.
    #[serde(deserialize_with = "text::slots")]
    pub slots: Vec<SlotInfo>,
    /// Whose releases it takes; `None` on a device that was given no keys yet.
    #[serde(default)]
    pub trust: Option<Trust>,
    /// Whether the installed bootloader rolls back by itself; `None` when the device cannot tell.
    #[serde(default)]
    pub bootloader_rollback: Option<bool>,
    /// What its updater is doing.
    pub updater: Updater,
    /// How the last update ended; `None` before the first one.
    #[serde(default)]
    pub last_update: Option<LastUpdate>,
    /// What it knows of the newest release; `None` on a device that takes no statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// The last release that it refused for its age since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_offer: Option<StaleOffer>,
    /// Why it restarted last, as a stable code; `None` when it cannot tell.
    #[serde(
        default,
        deserialize_with = "text::code",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset_reason: Option<String>,
    /// Strength of its radio's signal, in dBm; `None` without a radio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal_dbm: Option<i16>,
    /// Time since it booted, in milliseconds.
    pub uptime_ms: u64,
    /// Free memory, in bytes.
    #[serde(default)]
    pub free_memory: Option<u64>,
}

/// A slot: an app partition and the folder of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInfo {
    /// Which one.
    pub slot: Slot,
    /// What the boot data says about it.
    #[serde(default)]
    pub state: SlotState,
    /// The release that is in it, when it is whole.
    #[serde(default, with = "hex::nullable")]
    pub release: Option<Digest>,
    /// That release's version, as text for people.
    #[serde(default, deserialize_with = "text::version")]
    pub version: Option<String>,
    /// That release's sequence.
    #[serde(default)]
    pub sequence: Option<u32>,
    /// The SHA-256 of its app.
    #[serde(default, with = "hex::nullable")]
    pub app_sha256: Option<Digest>,
    /// The SHA-256 of its files, as canonical tar.
    #[serde(default, with = "hex::nullable")]
    pub files_sha256: Option<Digest>,
}

/// The name of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// Written over USB only.
    #[serde(rename = "factory")]
    Factory,
    /// The first slot updates go to.
    #[serde(rename = "ota_0")]
    Ota0,
    /// The second one.
    #[serde(rename = "ota_1")]
    Ota1,
}

impl Slot {
    /// The name as the device, the partition table and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Ota0 => "ota_0",
            Self::Ota1 => "ota_1",
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A slot's state: the `esp_ota_img_states_t` of ESP-IDF's otadata, and `empty`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SlotState {
    /// Nothing whole is in it.
    Empty,
    /// Chosen, and not booted yet.
    New,
    /// Booted for a trial, and not confirmed yet.
    Pending,
    /// Confirmed.
    Valid,
    /// Found bad.
    Invalid,
    /// Its trial died.
    Aborted,
    /// The boot data says nothing about it.
    Undefined,
    /// A state this version does not know, or none given.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Whose releases a device takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The epoch of its key set.
    pub epoch: u64,
    /// The root key.
    #[serde(with = "hex")]
    pub root: KeyId,
    /// The release keys, at most [`MAX_KEYS`].
    #[serde(with = "hex::keys")]
    pub keys: Vec<KeyId>,
}

/// What a device's updater is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updater {
    /// Idle or not.
    pub state: UpdaterState,
    /// The release it is taking.
    #[serde(
        default,
        with = "hex::nullable",
        skip_serializing_if = "Option::is_none"
    )]
    pub release: Option<Digest>,
    /// Who asked for it: the peer's address, as text for people.
    #[serde(
        default,
        deserialize_with = "text::by",
        skip_serializing_if = "Option::is_none"
    )]
    pub by: Option<String>,
    /// Where it is, as in the `phase` progress lines.
    #[serde(
        default,
        deserialize_with = "text::code",
        skip_serializing_if = "Option::is_none"
    )]
    pub phase: Option<String>,
}

/// The state of a device's updater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpdaterState {
    /// It would take an update.
    Idle,
    /// It is taking one.
    Updating,
    /// It runs a release on trial, and has not confirmed it yet.
    Trial,
    /// Something this version does not know: not idle.
    #[serde(other)]
    Unknown,
}

/// How an update ended, as the device remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUpdate {
    /// The release it was to.
    #[serde(default, with = "hex::nullable")]
    pub release: Option<Digest>,
    /// How it ended.
    pub end: UpdateEnd,
    /// Why, as a stable code.
    #[serde(
        default,
        deserialize_with = "text::code",
        skip_serializing_if = "Option::is_none"
    )]
    pub cause: Option<String>,
    /// Why, in the words of the release's own check: at most [`MAX_DETAIL`] printable characters.
    #[serde(
        default,
        deserialize_with = "text::detail",
        skip_serializing_if = "Option::is_none"
    )]
    pub detail: Option<String>,
    /// How many times the release was booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<u32>,
}

/// Whether a device wants to be told which release is the newest, and what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// Whether it takes a release only after such a statement.
    #[serde(default)]
    pub required: bool,
    /// The sequence that was stated in the last ten minutes.
    #[serde(default)]
    pub newest: Option<u32>,
}

/// A release that was offered to a device and is not the newest, or that nobody said is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleOffer {
    /// The release.
    #[serde(with = "hex")]
    pub release: Digest,
    /// Its sequence.
    pub offered: u32,
    /// The newest sequence, if the device knew it.
    #[serde(default)]
    pub newest: Option<u32>,
    /// Who offered it: the peer's address, as text for people.
    #[serde(default, deserialize_with = "text::by")]
    pub by: Option<String>,
    /// When, in milliseconds since the device's start.
    #[serde(default)]
    pub at_ms: u64,
}

/// The end of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpdateEnd {
    /// Not yet: it is on trial.
    Trial,
    /// It runs, confirmed.
    Done,
    /// It did not confirm, and the old release runs.
    RolledBack,
    /// It never became whole.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

impl DeviceInfo {
    /// Reads the body of an answer to `GET /v1/device`.
    ///
    /// # Errors
    /// [`Error::BadDevice`] with the rule that is broken: too long, not JSON, a field missing or of
    /// another type, a limit or an alphabet not kept.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        if json.len() > MAX_DEVICE_JSON {
            let reason = format!("{} bytes, more than {MAX_DEVICE_JSON}", json.len());
            return Err(Error::BadDevice { reason });
        }
        serde_json::from_slice(json).map_err(|e| Error::BadDevice {
            reason: e.to_string(),
        })
    }

    /// The slot of that name, as listed in `slots`.
    pub fn slot(&self, slot: Slot) -> Option<&SlotInfo> {
        self.slots.iter().find(|s| s.slot == slot)
    }

    /// Whether two descriptions differ in nothing but uptime, free memory and signal, which change
    /// with every answer and are no news.
    pub fn same_news(&self, other: &Self) -> bool {
        let Self {
            schema,
            id,
            name,
            product,
            chip,
            flash_size,
            running,
            slots,
            ..
        } = self;
        let Self {
            trust,
            bootloader_rollback,
            updater,
            last_update,
            freshness,
            stale_offer,
            reset_reason,
            ..
        } = self;
        *schema == other.schema
            && *id == other.id
            && *name == other.name
            && *product == other.product
            && *chip == other.chip
            && *flash_size == other.flash_size
            && *running == other.running
            && *slots == other.slots
            && *trust == other.trust
            && *bootloader_rollback == other.bootloader_rollback
            && *updater == other.updater
            && *last_update == other.last_update
            && *freshness == other.freshness
            && *stale_offer == other.stale_offer
            && *reset_reason == other.reset_reason
    }
}

#[cfg(test)]
pub(crate) mod tests;
