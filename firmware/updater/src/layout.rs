//! Which partitions a device has, which slot it runs from, and which is next.

use crate::Failure;
use crate::platform::Flash;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::otadata::{self, Entry, ImageState};
use airlift_wire::partition::{
    Partition, SUBTYPE_FACTORY, SUBTYPE_OTA_0, SUBTYPE_OTADATA, TABLE_LEN, TABLE_OFFSET, TYPE_APP,
    TYPE_DATA, Table,
};
use airlift_wire::state::{FIRST_ENVELOPE_SECTOR, PARTITION_LABEL};

/// A slot: an app partition and the folder of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotId {
    /// Never written over the air.
    Factory,
    /// First OTA slot.
    Ota0,
    /// Second OTA slot.
    Ota1,
}

impl SlotId {
    /// All slots in the order of their envelope sectors.
    pub const ALL: [Self; 3] = [Self::Factory, Self::Ota0, Self::Ota1];

    /// Partition label and folder name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Ota0 => "ota_0",
            Self::Ota1 => "ota_1",
        }
    }

    /// The slot of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }

    /// Where it stands in [`SlotId::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Factory => 0,
            Self::Ota0 => 1,
            Self::Ota1 => 2,
        }
    }

    /// Its number among the OTA slots.
    pub const fn ota(self) -> Option<u32> {
        match self {
            Self::Factory => None,
            Self::Ota0 => Some(0),
            Self::Ota1 => Some(1),
        }
    }

    /// Where the next update goes: factory → ota_0 → ota_1 → ota_0.
    pub const fn next(self) -> Self {
        match self {
            Self::Factory | Self::Ota1 => Self::Ota0,
            Self::Ota0 => Self::Ota1,
        }
    }
}

/// The partitions that matter to the updater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Two sectors that select an app.
    pub otadata: Partition,
    /// State and envelopes.
    pub airlift: Partition,
    /// `factory`, if there is one.
    pub factory: Option<Partition>,
    /// `ota_0` and `ota_1`.
    pub ota: [Partition; 2],
    /// The file system, if there is one.
    pub vfs: Option<Partition>,
    /// The slot that the bootloader started.
    pub running: SlotId,
    /// Bytes of the whole flash.
    pub flash_size: u32,
}

impl Layout {
    /// Reads the partition table. `scratch` holds at least 0xC00 bytes.
    pub async fn load(
        flash: &mut impl Flash,
        flash_size: u32,
        running: SlotId,
        scratch: &mut [u8],
    ) -> Result<Self, Failure> {
        let bytes = scratch.get_mut(..TABLE_LEN).ok_or(Failure::LAYOUT)?;
        flash.read(TABLE_OFFSET, bytes).await.map_err(|_| FLASH)?;
        let table = Table::parse(bytes, flash_size).map_err(|_| Failure::LAYOUT)?;
        Self::from_table(&table, flash_size, running).ok_or(Failure::LAYOUT)
    }

    /// From a table that was parsed; `None` when it does not allow updates.
    pub fn from_table(table: &Table<'_>, flash_size: u32, running: SlotId) -> Option<Self> {
        let otadata = table.find(TYPE_DATA, SUBTYPE_OTADATA)?;
        // Labels are free text: one must not make an app or otadata the place of something else.
        let data = |label| {
            let labelled = table.labelled(label);
            labelled.filter(|p| p.kind == TYPE_DATA && p.offset != otadata.offset)
        };
        let layout = Self {
            otadata,
            airlift: data(PARTITION_LABEL)?,
            factory: table.find(TYPE_APP, SUBTYPE_FACTORY),
            ota: [
                table.find(TYPE_APP, SUBTYPE_OTA_0)?,
                table.find(TYPE_APP, SUBTYPE_OTA_0 + 1)?,
            ],
            vfs: data(FILES_LABEL),
            running,
            flash_size,
        };
        let sectors = FIRST_ENVELOPE_SECTOR + SlotId::ALL.len() as u32;
        let enough = layout.otadata.size >= 2 * SECTOR_SIZE as u32
            && layout.airlift.size >= sectors * SECTOR_SIZE as u32
            && table.ota_count() == 2
            && layout.partition(running).is_some();
        enough.then_some(layout)
    }

    /// The app partition of a slot.
    pub fn partition(&self, slot: SlotId) -> Option<Partition> {
        match slot {
            SlotId::Factory => self.factory,
            SlotId::Ota0 => Some(self.ota[0]),
            SlotId::Ota1 => Some(self.ota[1]),
        }
    }

    /// First byte of the sector that holds a slot's envelope.
    pub fn envelope_offset(&self, slot: SlotId) -> u32 {
        let sector = FIRST_ENVELOPE_SECTOR + slot.index() as u32;
        self.airlift.offset + sector * SECTOR_SIZE as u32
    }

    /// First byte of otadata's sector `n`.
    pub fn otadata_offset(&self, n: usize) -> u32 {
        self.otadata.offset + if n == 0 { 0 } else { SECTOR_SIZE as u32 }
    }

    /// Reads both entries of otadata.
    pub async fn read_otadata(&self, flash: &mut impl Flash) -> Result<[Entry; 2], Failure> {
        let mut bytes = [0; otadata::ENTRY_LEN];
        flash
            .read(self.otadata_offset(0), &mut bytes)
            .await
            .map_err(|_| FLASH)?;
        let first = Entry::decode(&bytes);
        flash
            .read(self.otadata_offset(1), &mut bytes)
            .await
            .map_err(|_| FLASH)?;
        Ok([first, Entry::decode(&bytes)])
    }

    /// The active entry, if it selects the running slot.
    pub fn running_entry(&self, entries: &[Entry; 2]) -> Option<usize> {
        let n = otadata::active(entries)?;
        let slot = entries[n].slot(2)?;
        (Some(slot) == self.running.ota()).then_some(n)
    }

    /// The state of the running slot: its active entry's. *Valid* for the factory app, which needs none.
    ///
    /// A slot that the bootloader fell back to counts as what its own entry says, if that was decided;
    /// a trial that is not selected is no trial any more. Without an entry nothing was ever confirmed.
    pub fn running_state(&self, entries: &[Entry; 2]) -> ImageState {
        if let Some(n) = self.running_entry(entries) {
            return entries[n].state;
        }
        let Some(ota) = self.running.ota() else {
            return ImageState::Valid;
        };
        let own = entries
            .iter()
            .filter(|e| e.has_right_crc() && e.slot(2) == Some(ota))
            .max_by_key(|e| e.sequence)
            .map(|e| e.state);
        match own {
            Some(state @ (ImageState::Valid | ImageState::Invalid | ImageState::Aborted)) => state,
            _ => ImageState::Undefined(u32::MAX),
        }
    }
}

/// Label of the partition that holds the file system.
const FILES_LABEL: &str = "vfs";

pub(crate) const FLASH: Failure = Failure::new(
    airlift_wire::ErrorCode::FlashFault,
    "the flash does not answer as it should",
);

/// Writes an entry so that a cut at any point leaves no entry that counts: erase, then all but the
/// CRC word, read back, then the CRC word, read back.
pub async fn write_entry(
    flash: &mut impl Flash,
    offset: u32,
    entry: &Entry,
) -> Result<(), Failure> {
    let bytes = entry.encode();
    let (body, crc) = bytes.split_at(otadata::BODY_LEN);
    let mut back = [0; otadata::ENTRY_LEN];
    flash.erase(offset).await.map_err(|_| FLASH)?;
    flash.write(offset, body).await.map_err(|_| FLASH)?;
    flash.read(offset, &mut back).await.map_err(|_| FLASH)?;
    if back[..otadata::BODY_LEN] != *body || back[otadata::BODY_LEN..] != [0xFF; 4] {
        return Err(FLASH);
    }
    flash
        .write(offset + otadata::BODY_LEN as u32, crc)
        .await
        .map_err(|_| FLASH)?;
    flash.read(offset, &mut back).await.map_err(|_| FLASH)?;
    if back != bytes { Err(FLASH) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_wire::partition;

    const FLASH_SIZE: u32 = 0x2_0000;

    /// A table in which the state is where the partition `label`, of this type, is.
    fn layout(label: &str, kind: u8, subtype: u8) -> Option<Layout> {
        let partitions = [
            Partition::new(label, kind, subtype, 0x9000, 0x8000),
            Partition::new("otadata", TYPE_DATA, SUBTYPE_OTADATA, 0x1_1000, 0x2000),
            Partition::new("app 0", TYPE_APP, SUBTYPE_OTA_0, 0x1_4000, 0x1000),
            Partition::new("app 1", TYPE_APP, SUBTYPE_OTA_0 + 1, 0x1_5000, 0x1000),
        ];
        let mut bytes = [0; TABLE_LEN];
        partition::encode(&partitions, &mut bytes).unwrap();
        let table = Table::parse(&bytes, FLASH_SIZE).unwrap();
        Layout::from_table(&table, FLASH_SIZE, SlotId::Ota0)
    }

    #[test]
    fn a_label_does_not_make_an_app_or_otadata_the_place_of_the_state() {
        assert!(layout(PARTITION_LABEL, TYPE_DATA, 0x40).is_some());
        assert_eq!(layout("other", TYPE_DATA, 0x40), None);
        assert_eq!(layout(PARTITION_LABEL, TYPE_APP, SUBTYPE_OTA_0), None);
        assert_eq!(layout(PARTITION_LABEL, TYPE_APP, SUBTYPE_FACTORY), None);
        assert_eq!(layout(PARTITION_LABEL, TYPE_DATA, SUBTYPE_OTADATA), None);
    }
}
