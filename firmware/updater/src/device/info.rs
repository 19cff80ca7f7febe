//! What a device says about itself.

use super::json::Json;
use crate::layout::SlotId;
use airlift_wire::otadata::ImageState;
use airlift_wire::state::{Detail, End, LastUpdate, Text};
use airlift_wire::{Digest, KeySet, image};
use core::fmt;

/// What a device is, whatever it runs.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its id: `[a-z0-9-]`, unique on the network, the same for life.
    pub id: Text<32>,
    /// `chip_id` of its chip.
    pub chip: u16,
    /// Bytes of its flash.
    pub flash_size: u32,
}

/// One slot.
#[derive(Clone, Copy, Debug)]
pub struct SlotInfo {
    /// Which.
    pub slot: SlotId,
    /// `empty`, or the state of its otadata entry.
    pub state: &'static str,
    /// Release, if the slot is whole.
    pub release: Option<Digest>,
    /// Version text, if the slot is whole.
    pub version: Option<Text<64>>,
    /// Sequence, if the slot is whole.
    pub sequence: Option<u32>,
    /// Digest of its app.
    pub app: Option<Digest>,
    /// Digest of its files.
    pub files: Option<Digest>,
}

impl SlotInfo {
    /// A slot with nothing in it.
    pub const fn empty(slot: SlotId) -> Self {
        Self {
            slot,
            state: "empty",
            release: None,
            version: None,
            sequence: None,
            app: None,
            files: None,
        }
    }
}

/// Everything that `GET /v1/device` says except what changes by the second.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Id.
    pub id: Text<32>,
    /// Name.
    pub name: Text<32>,
    /// Product.
    pub product: Text<64>,
    /// Chip.
    pub chip: u16,
    /// Bytes of flash.
    pub flash_size: u32,
    /// Which slot runs; its row is in `slots`.
    pub running: SlotId,
    /// Whether the running slot is on trial.
    pub trial: bool,
    /// The slots that have a partition.
    pub slots: [Option<SlotInfo>; 3],
    /// Whom it trusts.
    pub trust: Option<KeySet>,
    /// Whether the bootloader turned *new* into *pending*.
    pub bootloader_rollback: bool,
    /// The last update.
    pub last: Option<LastUpdate>,
    /// Why it ended so, in the application's words; may be empty.
    pub detail: Detail,
    /// Whether a release is taken only after a statement which one is the newest.
    pub freshness_required: bool,
}

impl Info {
    pub(super) const fn new() -> Self {
        Self {
            id: Text::empty(),
            name: Text::empty(),
            product: Text::empty(),
            chip: 0,
            flash_size: 0,
            running: SlotId::Factory,
            trial: false,
            slots: [None; 3],
            trust: None,
            bootloader_rollback: false,
            last: None,
            detail: Text::empty(),
            freshness_required: false,
        }
    }

    /// The running slot's row.
    pub fn running_slot(&self) -> SlotInfo {
        self.slots[self.running.index()].unwrap_or(SlotInfo::empty(self.running))
    }

    /// Writes all fields of the JSON object but its closing brace.
    pub(super) fn write_json<W: fmt::Write>(&self, out: &mut Json<'_, W>) -> fmt::Result {
        out.raw("{\"schema\":1,\"id\":")?;
        out.string(self.id.as_str())?;
        out.raw(",\"name\":")?;
        out.string(self.name.as_str())?;
        out.raw(",\"product\":")?;
        out.string(self.product.as_str())?;
        out.raw(",\"chip\":")?;
        out.string(image::chip_name(self.chip).unwrap_or("unknown"))?;
        out.format(format_args!(
            ",\"flash_size\":{},\"running\":",
            self.flash_size
        ))?;
        slot_json(&self.running_slot(), out)?;
        out.raw(",\"slots\":[")?;
        for (n, slot) in self.slots.iter().flatten().enumerate() {
            out.raw(if n > 0 { "," } else { "" })?;
            slot_json(slot, out)?;
        }
        out.raw("],\"trust\":")?;
        match &self.trust {
            None => out.raw("null")?,
            Some(trust) => {
                let (epoch, root) = (trust.epoch, trust.root.id());
                out.format(format_args!(
                    "{{\"epoch\":{epoch},\"root\":\"{root}\",\"keys\":["
                ))?;
                for (n, key) in trust.release_keys().iter().enumerate() {
                    let comma = if n > 0 { "," } else { "" };
                    out.format(format_args!("{comma}\"{}\"", key.id()))?;
                }
                out.raw("]}")?;
            }
        }
        out.format(format_args!(
            ",\"bootloader_rollback\":{}",
            self.bootloader_rollback
        ))?;
        out.raw(",\"last_update\":")?;
        match &self.last {
            Some(last) if last.end != End::None => {
                out.format(format_args!(
                    "{{\"release\":\"{}\",\"end\":\"{}\",\"cause\":\"{}\",\"boots\":{}",
                    last.release,
                    last.end.name(),
                    last.cause.name(),
                    last.boots
                ))?;
                if !self.detail.as_str().is_empty() {
                    out.raw(",\"detail\":")?;
                    out.string(self.detail.as_str())?;
                }
                out.raw("}")
            }
            _ => out.raw("null"),
        }
    }
}

fn slot_json<W: fmt::Write>(slot: &SlotInfo, out: &mut Json<'_, W>) -> fmt::Result {
    out.format(format_args!(
        "{{\"slot\":\"{}\",\"state\":\"{}\",\"release\":",
        slot.slot.name(),
        slot.state
    ))?;
    out.digest(slot.release)?;
    out.raw(",\"version\":")?;
    match &slot.version {
        Some(version) => out.string(version.as_str())?,
        None => out.raw("null")?,
    }
    match slot.sequence {
        Some(sequence) => out.format(format_args!(",\"sequence\":{sequence}"))?,
        None => out.raw(",\"sequence\":null")?,
    }
    out.raw(",\"app_sha256\":")?;
    out.digest(slot.app)?;
    out.raw(",\"files_sha256\":")?;
    out.digest(slot.files)?;
    out.raw("}")
}

/// The name of a slot's state: of its entry, or `valid` for a slot that needs none.
pub(super) fn state_name(state: Option<ImageState>, whole: bool) -> &'static str {
    match state {
        Some(state) => state.name(),
        None if whole => "valid",
        None => "empty",
    }
}
