//! The steps that plans are made of.

use super::Step;
use super::differ::only_different;
use super::fail::{Fail, blocked};
use super::files;
use super::make::Maker;
use super::target::{Folder, Rules, Target};
use crate::diagnosis::files::FilesState;
use crate::diagnosis::store::{Origin, keys_of};
use crate::diagnosis::table::Source;
use crate::diagnosis::words::{chip, title};
use crate::diagnosis::{FindingCode, Identity, boot};
use crate::read::ReadError;
use crate::write::Segment;
use crate::{Bootloader, Error, bootloader, factory};
use airlift_updater::{Layout, SlotId};
use airlift_wire::ErrorCode;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::partition::{self, Partition, TABLE_LEN, TABLE_OFFSET};
use airlift_wire::state::State;

const SECTOR: u32 = SECTOR_SIZE as u32;

/// A target, the steps that it takes, and what they lose.
pub(super) struct Way {
    pub target: Target,
    pub steps: Vec<Step>,
    pub losses: Vec<String>,
}

impl Way {
    pub fn bytes(&self) -> u32 {
        self.steps.iter().map(Step::bytes).sum()
    }
}

impl Maker<'_> {
    /// Bootloader and partition table, where they do not do.
    pub(super) fn ground(&mut self) -> Result<Vec<Step>, Fail> {
        let mut steps = Vec::new();
        if !self.facts.bootloader.works() {
            steps.push(self.bootloader()?);
        }
        if !self.facts.partitions.state.is_accepted() {
            let list = self.facts.partitions.list.clone();
            let why = match self.facts.partitions.source {
                Source::Default => "The default partitions fit what is in the flash.",
                _ => "What is left of the table fits what is in the flash.",
            };
            steps.push(self.table(&list, why)?);
        }
        Ok(steps)
    }

    pub(super) fn bootloader(&mut self) -> Result<Step, Fail> {
        let bundled;
        let it: &Bootloader = match self.known.bootloader {
            Some(given) => given,
            None => {
                bundled = bootloader::for_chip(self.known.chip, self.facts.flash_size)?;
                &bundled
            }
        };
        let segment = segment(it.offset(), it.bytes().clone())?;
        Ok(Step {
            title: format!("Write a bootloader for {}", chip(self.known.chip)),
            why: "Without it the chip starts nothing.".to_owned(),
            region: "bootloader".to_owned(),
            segments: only_different(self.flash, &segment)?,
        })
    }

    pub(super) fn table(&mut self, list: &[Partition], why: &str) -> Result<Step, Fail> {
        let mut bytes = [0xFF; TABLE_LEN];
        partition::encode(list, &mut bytes).map_err(Error::Table)?;
        let segment = segment(TABLE_OFFSET, bytes.to_vec())?;
        Ok(Step {
            title: "Write the partition table".to_owned(),
            why: why.to_owned(),
            region: "partition table".to_owned(),
            segments: only_different(self.flash, &segment)?,
        })
    }

    /// What a target takes: its app, its folder, its envelope, and otadata.
    pub(super) fn way(&mut self, target: Target, layout: &Layout) -> Result<Way, Fail> {
        let mut way = Way {
            target,
            steps: Vec::new(),
            losses: Vec::new(),
        };
        let id = way.target.id;
        let partition = layout
            .partition(id)
            .ok_or(Error::Layout("there is no such slot"))?;
        if let Some(app) = &way.target.app {
            factory::check_app(app, partition.size)?;
            let segment = segment(partition.offset, app.clone())?;
            way.steps.push(Step {
                title: format!("Write {} into {}", way.target.title, partition.label()),
                why: "The board starts it from here.".to_owned(),
                region: partition.label().to_owned(),
                segments: only_different(self.flash, &segment)?,
            });
        }
        if let Some(vfs) = layout.vfs {
            self.add_files(&mut way, vfs)?;
        }
        if let Some(envelope) = &way.target.envelope {
            way.steps.push(Step {
                title: format!("Note that {} holds {}", partition.label(), way.target.title),
                why: "The board believes only what is signed.".to_owned(),
                region: "airlift".to_owned(),
                segments: self.envelope(layout, id, envelope)?,
            });
        }
        if self.needs_selection(&way.target) {
            let segment = segment(layout.otadata.offset, self.otadata(id))?;
            way.steps.push(Step {
                title: format!("Point otadata at {}", partition.label()),
                why: format!("It is to start {} from there.", way.target.title),
                region: "otadata".to_owned(),
                segments: vec![segment],
            });
        }
        way.steps.retain(|step| !step.segments.is_empty());
        Ok(way)
    }

    pub(super) fn envelope(
        &mut self,
        layout: &Layout,
        id: SlotId,
        envelope: &[u8],
    ) -> Result<Vec<Segment>, Fail> {
        let mut sector = (envelope.len() as u32).to_le_bytes().to_vec();
        sector.extend_from_slice(envelope);
        let segment = segment(layout.envelope_offset(id), sector)?;
        Ok(only_different(self.flash, &segment)?)
    }

    /// The step that makes the files right: one folder, or all anew when the rest is not right either.
    fn add_files(&mut self, way: &mut Way, vfs: Partition) -> Result<(), Fail> {
        let id = way.target.id;
        let files = &self.facts.files;
        if files.is_foreign() {
            // It may be whole, and be somebody's: only who asks for a new one gets it.
            if let Folder::Write { tar: Some(_), .. } = way.target.folder {
                way.losses.push(format!(
                    "The files of {}: what is in {} stays, and they cannot be put into it.",
                    way.target.title,
                    vfs.label()
                ));
            }
            return Ok(());
        }
        let is_sound = files.mounts()
            && files.damage.is_none()
            && files.folders.iter().all(|folder| folder.damage.is_none());
        if is_sound {
            match files::change(self.flash, vfs, id, &way.target.folder) {
                Ok(segments) => {
                    way.steps.push(Step {
                        title: format!(
                            "Write the files of {} into {}",
                            way.target.title,
                            id.name()
                        ),
                        why: "The app runs with the files it was released with.".to_owned(),
                        region: vfs.label().to_owned(),
                        segments: self.different(&segments)?,
                    });
                    return Ok(());
                }
                Err(Error::Read(error)) => return Err(error.into()),
                // What could not be changed can be made anew.
                Err(_) => {}
            }
        }
        let (step, losses) = self.new_files(vfs, &way.target, false)?;
        way.losses.extend(losses);
        way.steps.push(step);
        Ok(())
    }

    fn different(&mut self, segments: &[Segment]) -> Result<Vec<Segment>, ReadError> {
        let mut all = Vec::new();
        for segment in segments {
            all.extend(only_different(self.flash, segment)?);
        }
        Ok(all)
    }

    /// The file system anew. Each slot that the target gives no files keeps its folder if that can be
    /// read, or gets the files of the release that it should hold.
    pub(super) fn new_files(
        &mut self,
        vfs: Partition,
        target: &Target,
        whole: bool,
    ) -> Result<(Step, Vec<String>), Fail> {
        let rules = Rules::new(self.facts, self.known);
        let mut folders = Vec::new();
        if target.folder != Folder::Keep {
            folders.push((target.id, target.folder.clone()));
        }
        let mut lost = Vec::new();
        for slot in &self.facts.slots {
            let is_given = |id: &SlotId| folders.iter().any(|(given, _)| given == id);
            let Some(id) = slot.id.filter(|id| !is_given(id)) else {
                continue;
            };
            let folder = self.facts.files.folder(id);
            let readable = self.facts.files.mounts() && folder.damage.is_none();
            let mended = slot.release().and_then(|release| {
                let tar = rules.files_of(release)?;
                let version = release.version.as_str().to_owned();
                Some(Folder::Write { tar, version })
            });
            let right = readable && self.facts.files_match(slot) != Some(false);
            folders.push((
                id,
                match mended {
                    Some(mended) if !right => mended,
                    _ => Folder::Keep,
                },
            ));
            let has_none = folders.last().is_some_and(|(_, f)| *f == Folder::Keep) && !readable;
            if has_none
                && slot
                    .release()
                    .is_some_and(|release| release.files.is_some())
            {
                let title = title(self.facts, slot);
                lost.push(format!(
                    "The files of {title} in {}: no release here has them.",
                    id.name()
                ));
            }
        }
        let made = files::make(self.flash, vfs, self.facts, &folders)?;
        lost.extend(made.losses);
        let step = Step {
            title: "Make the file system anew".to_owned(),
            why: match self.facts.files.state {
                FilesState::Mounted(_) => "What can be read of it is kept.".to_owned(),
                _ if self.facts.files.is_foreign() => {
                    "What is there is no littlefs that boards of Airlift read.".to_owned()
                }
                _ => "What is there does not mount.".to_owned(),
            },
            region: vfs.label().to_owned(),
            segments: if whole {
                made.segments
            } else {
                self.different(&made.segments)?
            },
        };
        Ok((step, lost))
    }

    /// Both sectors of an otadata that selects a slot. Of another one that was tried, it still says that
    /// it did not do.
    pub(super) fn otadata(&self, id: SlotId) -> Vec<u8> {
        let mut bytes = factory::otadata(id);
        for slot in &self.facts.slots {
            let Some(ota) = slot.ota.filter(|ota| Some(*ota) != id.ota()) else {
                continue;
            };
            let sector = if id == SlotId::Factory {
                ota as usize
            } else {
                1
            };
            let place = bytes.get_mut(sector * SECTOR_SIZE..).unwrap_or_default();
            if let Some(place) = place.first_chunk_mut()
                && self.facts.is_doubtful(slot)
            {
                *place = Entry::new(ota + 1, ImageState::Aborted).encode();
            }
        }
        bytes
    }

    /// Whether otadata has to be written so that this slot starts, for good or as long as its trial
    /// lets it.
    fn needs_selection(&self, target: &Target) -> bool {
        let (facts, id) = (self.facts, target.id);
        let at = |n: Option<usize>| n.and_then(|n| facts.slots[n].id);
        let on_trial = facts.boot.state.is_some_and(boot::is_trial) && !target.keeps_trial;
        let lost = self.has(FindingCode::OtadataLost);
        match at(facts.boot.selected) {
            Some(selected) => selected != id || on_trial || facts.boot.died,
            // Without an entry `factory` starts, or the first slot.
            None => lost || facts.slots.first().and_then(|slot| slot.id) != Some(id),
        }
    }

    /// A board that has forgotten whom it trusts, and still has releases of somebody else, does not
    /// become this computer's.
    fn check_origin(&self, identity: &Identity) -> Result<(), Fail> {
        let keys = keys_of(&identity.trust);
        let is_own = |origin: &&Origin| {
            origin.product == identity.product && keys.iter().any(|key| key.id() == origin.signer)
        };
        let origins = self.facts.store.iter().flat_map(|store| &store.origins);
        match origins.clone().find(|origin| !is_own(origin)) {
            Some(other) if !origins.clone().any(|origin| is_own(&origin)) => Err(blocked(
                ErrorCode::NoTrust,
                format!(
                    "The board has forgotten whom it trusts, and holds a release of {}, signed by key \
                     {}: only who has that key and that product mends it.",
                    other.product, other.signer
                ),
            )),
            _ => Ok(()),
        }
    }

    /// What is lost when a board that says nothing of itself gets product and keys.
    pub(super) fn take_over(&self) -> Option<String> {
        let store = self.facts.store.as_ref()?;
        let identity = self.known.identity?;
        let is_silent = store.state.is_none() && store.origins.is_empty();
        is_silent.then(|| {
            format!(
                "What the board was and whom it trusted, if anybody: nothing in it tells, and it becomes \
                 a {} that trusts the keys of this computer.",
                identity.product
            )
        })
    }

    /// The state, when the board has none or trusts nobody, and it is known what to write.
    pub(super) fn state(&mut self, layout: &Layout, target: &Target) -> Result<Option<Step>, Fail> {
        let Some(identity) = self.known.identity else {
            return Ok(None);
        };
        if self
            .facts
            .state()
            .is_some_and(|state| state.trust.is_some())
        {
            return Ok(None);
        }
        self.check_origin(identity)?;
        let (mut state, title) = match self.facts.state() {
            Some(state) => (*state, "Write the keys"),
            None => {
                let mut state = State::new(&identity.product, &identity.name, None);
                if let Some((id, sequence)) = target.release {
                    state.sequence = sequence;
                    state.confirmed = Some(id);
                }
                (state, "Write product, name and keys")
            }
        };
        state.trust = Some(identity.trust);
        state.counter = state.counter.saturating_add(1);
        // Over the copy that does not count.
        let current = self.facts.store.as_ref().and_then(|store| store.current);
        let n = current.map_or(0, |n| 1 - n as u32);
        let segment = segment(layout.airlift.offset + n * SECTOR, state.encode().to_vec())?;
        Ok(Some(Step {
            title: title.to_owned(),
            why: "Without keys the board takes no update.".to_owned(),
            region: "airlift".to_owned(),
            segments: vec![segment],
        }))
    }
}

pub(super) fn segment(offset: u32, bytes: impl Into<bytes::Bytes>) -> Result<Segment, Fail> {
    Segment::new(offset, bytes).map_err(|error| {
        Fail::from(Error::Segment {
            what: "a region".to_owned(),
            error,
        })
    })
}
