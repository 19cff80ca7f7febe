//! Everything that was looked at, before it is judged.

use super::boot::{self, NextBoot};
use super::bootloader::{self, Bootloader};
use super::files::{self, Files};
use super::reader::Reader;
use super::slot::{self, Image, Slot};
use super::store::{self, Store};
use super::table::{self, Partitions};
use super::{Depth, Known};
use crate::read::ReadError;
use airlift_updater::SlotId;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::otadata::{ENTRY_LEN, Entry};
use airlift_wire::partition::{Partition, SUBTYPE_OTADATA, TYPE_DATA};

/// Bytes at the start of a partition by which it is told whether anything is in it.
const HEAD: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub chip: u16,
    pub flash_size: u32,
    /// Product by the state, or else as the user says it.
    pub product: Option<String>,
    pub bootloader: Bootloader,
    pub partitions: Partitions,
    /// Where `otadata` is, and its entries.
    pub otadata: Option<(Partition, [Entry; 2])>,
    /// Partition `airlift`, when the partitions allow updates.
    pub store: Option<Store>,
    pub slots: Vec<Slot>,
    pub files: Files,
    pub boot: NextBoot,
    /// Partitions that nothing is known about and that begin with erased bytes.
    pub empty: Vec<u32>,
    /// Whether there is not one byte where anything could begin.
    pub blank: bool,
    /// Whether all that matters was checked.
    pub complete: bool,
}

impl Facts {
    /// Looks at everything.
    pub fn collect(
        reader: &mut Reader<'_>,
        known: &Known<'_>,
        depth: Depth,
    ) -> Result<Self, ReadError> {
        let mut bootloader = bootloader::look(reader, known)?;
        let partitions = table::look(reader, known.chip)?;
        bootloader.check_against(partitions.end(), reader.size());
        let is_otadata = |p: &&Partition| (p.kind, p.subtype) == (TYPE_DATA, SUBTYPE_OTADATA);
        let otadata = match partitions.list.iter().find(is_otadata) {
            Some(partition) if partition.size >= 2 * SECTOR_SIZE as u32 => {
                let first: [u8; ENTRY_LEN] = reader.array(partition.offset)?;
                let second = reader.array(partition.offset + SECTOR_SIZE as u32)?;
                Some((*partition, [Entry::decode(&first), Entry::decode(&second)]))
            }
            _ => None,
        };
        let store = match &partitions.layout {
            Some(layout) => Some(store::look(reader, layout, known)?),
            None => None,
        };
        let mut slots = slot::list(&partitions.list, partitions.layout.is_some());
        for slot in &mut slots {
            if let (Some(store), Some(id)) = (&store, slot.id) {
                slot.stored = *store.of(id);
            }
            slot::glance(reader, slot, known)?;
        }
        let state = store.as_ref().and_then(|store| store.state);
        let said = state.map(|state| state.product.as_str().to_owned());
        let mut facts = Self {
            chip: known.chip,
            flash_size: reader.size(),
            product: said.or(known.identity.map(|identity| identity.product.clone())),
            bootloader,
            partitions,
            otadata,
            store,
            slots,
            files: Files::none(),
            boot: NextBoot::default(),
            empty: Vec::new(),
            blank: false,
            complete: false,
        };
        facts.look_closer(reader, depth)?;
        facts.look_at_the_rest(reader)?;
        Ok(facts)
    }

    /// Reads images and files: all of them, or those that will run, as far as a quick look may.
    fn look_closer(&mut self, reader: &mut Reader<'_>, depth: Depth) -> Result<(), ReadError> {
        let vfs = self.partitions.layout.as_ref().and_then(|l| l.vfs);
        self.boot = self.next_boot();
        if depth == Depth::Full {
            self.read_images(reader, |_| true)?;
            self.boot = self.next_boot();
            let wanted: Vec<_> = self.slots.iter().filter_map(|slot| slot.id).collect();
            self.files = files::look(reader, vfs, &wanted, depth)?;
        } else {
            let runs = self.boot.runs;
            let wanted = runs.and_then(|n| self.slots[n].id);
            self.files = files::look(reader, vfs, wanted.as_slice(), depth)?;
            // One that turns out to be bad makes room for the next.
            for _ in 0..self.slots.len() {
                let runs = self.boot.runs;
                self.read_images(reader, |n| Some(n) == runs)?;
                self.boot = self.next_boot();
            }
        }
        let unread = |slot: &Slot| matches!(slot.image, Image::Unchecked { .. });
        let folder_unread = |slot: &Slot| {
            let folder = slot.id.map(|id| self.files.folder(id));
            folder.is_some_and(|f| f.there && f.digest.is_none() && f.damage.is_none())
        };
        self.complete = self.files.state != files::FilesState::Unchecked
            && !self.slots.iter().any(unread)
            && !self.slots.iter().any(folder_unread);
        Ok(())
    }

    fn read_images(
        &mut self,
        reader: &mut Reader<'_>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<(), ReadError> {
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let unread = matches!(slot.image, Image::Unchecked { .. });
            if wanted(n) && unread {
                slot::read(reader, slot)?;
            }
        }
        Ok(())
    }

    /// What is in partitions of which only this matters.
    fn look_at_the_rest(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        for partition in &self.partitions.list {
            let head: [u8; HEAD] = reader.array(partition.offset)?;
            if head.iter().all(|byte| *byte == 0xFF) {
                self.empty.push(partition.offset);
            }
        }
        self.blank = self.bootloader.state == bootloader::State::Erased
            && self.partitions.state == table::TableState::Erased
            && self.partitions.list.is_empty()
            && reader.is_erased(0, self.flash_size)?;
        Ok(())
    }

    fn next_boot(&self) -> NextBoot {
        let rollback = self.state().is_some_and(|state| state.bootloader_rollback);
        let entries = self.otadata.as_ref().map(|(_, entries)| entries);
        boot::next(&self.slots, entries, rollback, self.store.is_some())
    }

    /// Whether something is in the flash, and nothing of Airlift. It need not be broken: firmware
    /// may start without ESP-IDF's bootloader, or have its partition table somewhere else.
    pub fn is_foreign(&self) -> bool {
        // The state was looked for where a layout has it, and is what a layout is guessed by.
        !self.blank && self.partitions.layout.is_none() && !self.partitions.names_airlift
    }

    /// What the board remembers.
    pub fn state(&self) -> Option<&airlift_wire::state::State> {
        self.store.as_ref()?.state.as_ref()
    }

    /// The slot that runs after the next start.
    pub fn runs(&self) -> Option<&Slot> {
        if !self.bootloader.works() || !self.partitions.state.is_accepted() {
            return None;
        }
        self.boot.runs.map(|n| &self.slots[n])
    }

    /// Whether there is a slot that a bootloader would start.
    pub fn can_start(&self) -> bool {
        self.slots.iter().any(|slot| slot.image.may_start())
    }

    /// Whether the files of a slot are those of its release; `None` when that is not known, or when its
    /// release says nothing of them.
    pub fn files_match(&self, slot: &Slot) -> Option<bool> {
        let wanted = slot.release()?.files?;
        self.files.partition?;
        let folder = self.files.folder(slot.id?);
        if self.files.state == files::FilesState::Unchecked || self.files.is_foreign() {
            return None;
        }
        if !self.files.mounts() || !folder.there || folder.damage.is_some() {
            return Some(false);
        }
        // Without `VERSION` an update was cut short, and what is there may be any part of it.
        match folder.digest {
            Some(digest) => Some(digest == wanted && folder.version.is_some()),
            None if folder.version.is_none() => Some(false),
            None => None,
        }
    }

    /// Whether a slot holds its release as a whole, as far as is known.
    pub fn is_whole(&self, slot: &Slot) -> bool {
        slot.release().is_some()
            && slot.image.may_start()
            && slot.app_matches() != Some(false)
            && self.files_match(slot) != Some(false)
    }

    /// The entry of otadata that was made for a slot last.
    pub fn entry_of(&self, slot: &Slot) -> Option<&Entry> {
        let ota = slot.ota?;
        let count = self.slots.iter().filter(|s| s.ota.is_some()).count() as u32;
        let (_, entries) = self.otadata.as_ref()?;
        let own = entries
            .iter()
            .filter(|e| e.has_right_crc() && e.slot(count) == Some(ota));
        own.max_by_key(|e| e.sequence)
    }

    /// Whether a slot is on trial, or its trial ended badly: not one to go back to.
    pub fn is_doubtful(&self, slot: &Slot) -> bool {
        use airlift_wire::otadata::ImageState::{Aborted, Invalid};
        let entry = self.entry_of(slot).map(|entry| entry.state);
        let given_up = matches!(entry, Some(Invalid | Aborted));
        let trial = entry.is_some_and(boot::is_trial);
        let rolled_back = self.state().and_then(|state| state.rolled_back);
        let was_rolled_back =
            rolled_back.is_some() && slot.release().map(|release| release.id) == rolled_back;
        given_up || trial || was_rolled_back
    }

    /// The slot that is on trial, and will be started for it or goes on: nothing says that it failed.
    pub fn trial(&self) -> Option<&Slot> {
        let boot = &self.boot;
        let goes_on = boot.state.is_some_and(boot::is_trial) && !boot.died;
        let slot = boot
            .selected
            .filter(|_| goes_on && boot.started == boot.selected)?;
        Some(&self.slots[slot])
    }

    /// The slot with the release that was confirmed last, if its app is there as it was.
    pub fn confirmed(&self) -> Option<&Slot> {
        let id = self.state()?.confirmed?;
        let holds = |slot: &&Slot| slot.release().is_some_and(|release| release.id == id);
        let slot = self.slots.iter().find(holds)?;
        let is_there = slot.image.may_start() && slot.app_matches() != Some(false);
        (is_there && !self.is_doubtful(slot)).then_some(slot)
    }

    /// A slot by its id.
    pub fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.id == Some(id))
    }
}
