//! What a device ran before an update, and what of a job outlives the process that runs it.

use airlift_discover::DeviceInfo;
use airlift_discover::device::{Slot, UpdateEnd};
use serde::{Deserialize, Serialize};

use crate::dto::Release;

/// What the device ran before: decides the target slot and what "back on the old version" is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Version.
    pub version: Option<String>,
    /// Slot.
    pub slot: Slot,
    /// Digest of the app, if the device knows it.
    pub app: Option<String>,
    /// Digest of the files, if the device knows it.
    pub files: Option<String>,
    /// Whether its record of the last update already was "this release was rolled back".
    pub rolled_back: bool,
}

impl Before {
    pub(super) fn of(device: &DeviceInfo, release: &Release) -> Self {
        let running = &device.running;
        Self {
            version: running.version.clone(),
            slot: running.slot,
            app: running.app_sha256.map(|d| d.to_string()),
            files: running.files_sha256.map(|d| d.to_string()),
            rolled_back: rolled_back_record(device, release),
        }
    }

    /// The slot that an update goes to: factory → ota_0 → ota_1 → ota_0.
    pub fn target(&self) -> Slot {
        match self.slot {
            Slot::Factory | Slot::Ota1 => Slot::Ota0,
            Slot::Ota0 => Slot::Ota1,
        }
    }
}

/// Whether the device remembers that it went back from this release.
pub(super) fn rolled_back_record(device: &DeviceInfo, release: &Release) -> bool {
    device.last_update.as_ref().is_some_and(|last| {
        last.end == UpdateEnd::RolledBack
            && last.release.is_some_and(|r| r.to_string() == release.id)
    })
}

/// What has to outlive this process for a job to be picked up by the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// What the device ran before.
    pub before: Before,
    /// Whether the device took the envelope.
    pub accepted: bool,
    /// Whether it said that it restarts.
    pub switched: bool,
}
