//! The plan that writes everything anew.

use super::differ::only_different;
use super::fail::{Fail, too_big};
use super::make::Maker;
use super::steps::segment;
use super::target::{Rules, Target};
use super::{Plan, Step};
use crate::diagnosis::findings::is_unfinished;
use crate::diagnosis::slot::Image;
use crate::diagnosis::table::layout;
use crate::write::Segment;
use crate::{Error, factory};
use airlift_updater::{Layout, SlotId};
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::{self, Partition};

impl Maker<'_> {
    /// Everything but `nvs` and the files that can be read.
    pub(super) fn everything(&mut self) -> Result<Plan, Fail> {
        let rules = Rules::new(self.facts, self.known);
        let newest = rules.releases().into_iter().next();
        let newest = newest.ok_or_else(|| self.nothing_fits(&rules))?;
        let app = newest.app().map_or(0, |app| app.size());
        let size = self.facts.flash_size;
        let (list, is_new) = match self.facts.partitions.layout {
            Some(_) => (self.facts.partitions.list.clone(), false),
            None => {
                let room =
                    |list: &[Partition]| list.iter().any(|p| p.label() == "ota_0" && p.size >= app);
                let (list, n) = partition::default_layout(size, true);
                let list = match room(&list[..n]) {
                    true => list[..n].to_vec(),
                    false => {
                        let (list, n) = partition::default_layout(size, false);
                        list[..n].to_vec()
                    }
                };
                (list, true)
            }
        };
        let layout = layout(&list, size).ok_or(Error::FlashSize(size))?;
        let id = [SlotId::Factory, SlotId::Ota0]
            .into_iter()
            .find(|id| layout.partition(*id).is_some_and(|p| p.size >= app))
            .ok_or_else(|| too_big(newest))?;
        let target = rules
            .install(self.facts, id, newest)
            .ok_or_else(|| self.nothing_fits(&rules))?;
        let mut losses = Vec::new();
        let mut steps = Vec::new();
        // One that is right may do more than the one that would be written, such as roll back.
        if !self.facts.bootloader.is_right() {
            steps.push(self.bootloader()?);
        }
        steps.push(self.table(&list, "It says where everything is.")?);
        if is_new {
            steps.extend(self.erase_old(&list, &mut losses)?);
        }
        let partition = layout.partition(id).ok_or_else(|| too_big(newest))?;
        let app = target.app.clone().unwrap_or_default();
        factory::check_app(&app, partition.size)?;
        steps.push(Step {
            title: format!("Write {} into {}", target.title, partition.label()),
            why: "The board starts it from here.".to_owned(),
            region: partition.label().to_owned(),
            segments: vec![segment(partition.offset, app)?],
        });
        steps.extend(self.clear_others(&layout, id)?);
        if let Some(vfs) = layout.vfs {
            let (step, lost) = self.new_files(vfs, &target, true)?;
            steps.push(step);
            if !is_new {
                losses.extend(lost);
            }
        }
        steps.push(Step {
            title: format!("Note that {} holds {}", partition.label(), target.title),
            why: "The board believes only what is signed.".to_owned(),
            region: "airlift".to_owned(),
            segments: self.envelopes(&layout, id, &target)?,
        });
        steps.push(Step {
            title: format!("Point otadata at {}", partition.label()),
            why: format!("It is to start {} from there.", target.title),
            region: "otadata".to_owned(),
            segments: vec![segment(layout.otadata.offset, self.otadata(id))?],
        });
        let mut plan = self.finish(&layout, steps, &target, losses)?;
        plan.sentence = format!("Write everything anew: {}.", target.title);
        Ok(plan)
    }

    /// Erased, where other partitions were: what `nvs`, `phy_init` and `airlift` take for their own.
    fn erase_old(
        &mut self,
        list: &[Partition],
        losses: &mut Vec<String>,
    ) -> Result<Vec<Step>, Fail> {
        let before = &self.facts.partitions.list;
        if !self.facts.blank {
            losses.push("All that is in the flash now: it is not Airlift's.".to_owned());
        }
        let mut steps = Vec::new();
        for partition in list
            .iter()
            .filter(|p| ["nvs", "phy_init", "airlift"].contains(&p.label()))
        {
            let same = |p: &&Partition| {
                (p.kind, p.subtype, p.offset, p.size)
                    == (
                        partition.kind,
                        partition.subtype,
                        partition.offset,
                        partition.size,
                    )
            };
            if before.iter().any(|p| same(&p)) {
                continue;
            }
            let erased = segment(partition.offset, vec![0xFF; partition.size as usize])?;
            steps.push(Step {
                title: format!("Erase {}", partition.label()),
                why: "Something else was there.".to_owned(),
                region: partition.label().to_owned(),
                segments: only_different(self.flash, &erased)?,
            });
        }
        Ok(steps)
    }

    /// The start of each slot that holds something which does not start: an erased slot is an empty one.
    fn clear_others(&mut self, layout: &Layout, target: SlotId) -> Result<Vec<Step>, Fail> {
        let mut steps = Vec::new();
        for id in SlotId::ALL.into_iter().filter(|id| *id != target) {
            let Some(partition) = layout.partition(id) else {
                continue;
            };
            let right = self.facts.slots.iter().enumerate().any(|(n, slot)| {
                slot.partition == partition
                    && (slot.image.may_start() || slot.image == Image::Empty)
                    && !is_unfinished(self.facts, n)
            });
            if right {
                continue;
            }
            let erased = segment(partition.offset, vec![0xFF; SECTOR_SIZE])?;
            steps.push(Step {
                title: format!("Erase the start of {}", partition.label()),
                why: "What is in it does not start.".to_owned(),
                region: partition.label().to_owned(),
                segments: only_different(self.flash, &erased)?,
            });
        }
        Ok(steps)
    }

    /// All three envelopes: the target's, those of whole slots, and none where there is no release.
    fn envelopes(
        &mut self,
        layout: &Layout,
        id: SlotId,
        target: &Target,
    ) -> Result<Vec<Segment>, Fail> {
        let mut all = Vec::new();
        for other in SlotId::ALL {
            let whole = self
                .facts
                .slot(other)
                .is_some_and(|slot| self.facts.is_whole(slot));
            if other == id {
                let envelope = target.envelope.clone().unwrap_or_default();
                all.extend(self.envelope(layout, id, &envelope)?);
            } else if !whole {
                let erased = segment(layout.envelope_offset(other), vec![0xFF; SECTOR_SIZE])?;
                all.extend(only_different(self.flash, &erased)?);
            }
        }
        Ok(all)
    }
}
