//! Making plans.

use super::differ::only_different;
use super::target::{Folder, Rules, Target, place};
use super::{Basis, Blocked, Choice, How, Plan, Step, files};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::files::FilesState;
use crate::diagnosis::slot::Image;
use crate::diagnosis::table::{Source, TableState, layout};
use crate::diagnosis::words::{chip, is_unfinished, title};
use crate::diagnosis::{FindingCode, Known, boot};
use crate::read::{ReadError, ReadFlash};
use crate::write::Segment;
use crate::{Bootloader, Error, bootloader, factory};
use airlift_release::Release;
use airlift_updater::{Layout, SlotId};
use airlift_wire::ErrorCode;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::{self, Partition, TABLE_LEN, TABLE_OFFSET};
use airlift_wire::state::State;
use std::cmp::Reverse;

const SECTOR: u32 = SECTOR_SIZE as u32;

/// Why a plan is not made.
pub(super) enum Fail {
    Read(ReadError),
    Blocked(Blocked),
}

impl From<ReadError> for Fail {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        match error {
            Error::Read(error) => Self::Read(error),
            other => {
                let text = other.to_string();
                let mut letters = text.chars();
                let first = letters.next().map(|c| c.to_ascii_uppercase());
                let sentence = first.into_iter().chain(letters).collect::<String>() + ".";
                Self::Blocked(Blocked {
                    code: other.code(),
                    sentence,
                })
            }
        }
    }
}

fn blocked(code: ErrorCode, sentence: impl Into<String>) -> Fail {
    Fail::Blocked(Blocked {
        code,
        sentence: sentence.into(),
    })
}

/// A plan that is being made.
pub(super) struct Maker<'a> {
    pub facts: &'a Facts,
    pub findings: &'a [crate::diagnosis::Finding],
    pub known: &'a Known<'a>,
    pub flash: &'a mut dyn ReadFlash,
}

/// What the steps of a target are, and what they cost.
struct Way {
    target: Target,
    steps: Vec<Step>,
    losses: Vec<String>,
}

impl Way {
    fn bytes(&self) -> u32 {
        self.steps.iter().map(Step::bytes).sum()
    }
}

impl Maker<'_> {
    /// One plan, without others.
    pub fn plan(&mut self, how: How) -> Result<Plan, ReadError> {
        let made = match how {
            How::Smallest => self.smallest(),
            How::Slot => self.slot(),
            How::Files => self.files(),
            How::Everything => self.everything(),
        };
        match made {
            Ok(plan) => Ok(plan),
            Err(Fail::Read(error)) => Err(error),
            Err(Fail::Blocked(blocked)) => Ok(Plan {
                sentence: "Nothing can be mended with what is here.".to_owned(),
                afterwards: "The board stays as it is.".to_owned(),
                blocked: Some(blocked),
                ..Plan::empty()
            }),
        }
    }

    /// The plan with all others that would write something else.
    pub fn plan_with_others(&mut self, how: How) -> Result<Plan, ReadError> {
        let mut plan = self.plan(how)?;
        for other in How::ALL.into_iter().filter(|other| *other != how) {
            let other_plan = self.plan(other)?;
            let is_new = other_plan.blocked.is_none()
                && !other_plan.steps.is_empty()
                && other_plan.steps != plan.steps
                && !plan.others.iter().any(|choice| {
                    (choice.title.as_str(), choice.bytes)
                        == (
                            other_plan.sentence.trim_end_matches('.'),
                            other_plan.bytes(),
                        )
                });
            if is_new {
                plan.others.push(Choice {
                    how: other,
                    title: other_plan.sentence.trim_end_matches('.').to_owned(),
                    bytes: other_plan.bytes(),
                });
            }
        }
        plan.others.sort_by_key(|choice| choice.bytes);
        plan.basis = self.basis(&plan)?;
        Ok(plan)
    }

    fn has(&self, code: FindingCode) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    fn smallest(&mut self) -> Result<Plan, Fail> {
        if self.facts.blank {
            return self.everything();
        }
        let layout = self.layout()?;
        let mut steps = self.ground()?;
        let rules = Rules::new(self.facts, self.known);
        let way = self.best_way(&rules, &layout)?;
        let losses = way.losses.clone();
        let target = way.target;
        steps.extend(way.steps);
        self.finish(&layout, steps, &target, losses)
    }

    /// The way that costs least among those that do not go back to an older release than the board
    /// would run by itself; then also those.
    fn best_way(&mut self, rules: &Rules<'_>, layout: &Layout) -> Result<Way, Fail> {
        let runs = self.facts.boot.runs.map(|n| &self.facts.slots[n]);
        let runs = runs.filter(|slot| !self.facts.is_doubtful(slot));
        let now = match self.facts.state() {
            // Not where it stands now, but where it was.
            Some(state) if self.has(FindingCode::OlderSelected) => Some(state.sequence),
            _ => runs.and_then(|slot| slot.release()).map(|r| r.sequence),
        };
        let mut best: Option<(_, Way)> = None;
        let mut reason = None;
        for target in rules.targets(self.facts) {
            let way = match self.way(target, layout) {
                Ok(way) => way,
                Err(Fail::Blocked(why)) => {
                    reason = Some(why);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let sequence = way.target.sequence();
            let is_older = now.is_some_and(|now| sequence.is_none_or(|s| s < now));
            let key = (
                is_older,
                !way.target.is_whole,
                way.bytes(),
                Reverse(sequence),
            );
            if best.as_ref().is_none_or(|(than, _)| key < *than) {
                best = Some((key, way));
            }
        }
        match (best, reason) {
            (Some((_, way)), _) => Ok(way),
            (None, Some(why)) => Err(Fail::Blocked(why)),
            (None, None) => Err(self.nothing_fits(rules)),
        }
    }

    /// What would help.
    fn nothing_fits(&self, rules: &Rules<'_>) -> Fail {
        let chip = chip(self.known.chip);
        if rules.knows_no_keys() || rules.product().is_none() {
            return blocked(
                ErrorCode::NoTrust,
                "The board does not say what it is and whom it trusts: choose its product and its keys.",
            );
        }
        let product = rules.product().unwrap_or_default();
        let from = match rules.floor() {
            0 => String::new(),
            floor => format!(", sequence {floor} or higher"),
        };
        blocked(
            ErrorCode::NoRepair,
            format!(
                "This needs a release of {product} for {chip} in the library{from}, signed by a key \
                 that the board trusts."
            ),
        )
    }

    /// The partitions that the board has or had.
    fn layout(&self) -> Result<Layout, Fail> {
        if let Some(layout) = self.facts.partitions.layout {
            return Ok(layout);
        }
        Err(if self.has(FindingCode::ForeignFirmware) {
            blocked(
                ErrorCode::NoRepair,
                "The board runs other firmware, which Airlift does not mend; writing everything \
                 anew replaces it.",
            )
        } else if self.facts.partitions.state == TableState::Right {
            blocked(
                ErrorCode::BadLayout,
                "The partitions do not allow updates; only writing everything anew changes them.",
            )
        } else {
            blocked(
                ErrorCode::NoRepair,
                "Nothing says where the partitions were; only writing everything anew helps.",
            )
        })
    }

    /// Bootloader and partition table, where they do not do.
    fn ground(&mut self) -> Result<Vec<Step>, Fail> {
        let mut steps = Vec::new();
        if !self.facts.bootloader.works() {
            steps.push(self.bootloader()?);
        }
        if self.facts.partitions.state != TableState::Right {
            let list = self.facts.partitions.list.clone();
            let why = match self.facts.partitions.source {
                Source::Default => "The default partitions fit what is in the flash.",
                _ => "What is left of the table fits what is in the flash.",
            };
            steps.push(self.table(&list, why)?);
        }
        Ok(steps)
    }

    fn bootloader(&mut self) -> Result<Step, Fail> {
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

    fn table(&mut self, list: &[Partition], why: &str) -> Result<Step, Fail> {
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
    fn way(&mut self, target: Target, layout: &Layout) -> Result<Way, Fail> {
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
                title: format!("Write {} into {}", way.target.title, id.name()),
                why: "The board starts it from here.".to_owned(),
                region: id.name().to_owned(),
                segments: only_different(self.flash, &segment)?,
            });
        }
        if let Some(vfs) = layout.vfs {
            self.add_files(&mut way, vfs)?;
        }
        if let Some(envelope) = &way.target.envelope {
            way.steps.push(Step {
                title: format!("Note that {} holds {}", id.name(), way.target.title),
                why: "The board believes only what is signed.".to_owned(),
                region: "airlift".to_owned(),
                segments: self.envelope(layout, id, envelope)?,
            });
        }
        if self.needs_selection(id) {
            let segment = segment(layout.otadata.offset, factory::otadata(id))?;
            way.steps.push(Step {
                title: format!("Point otadata at {}", id.name()),
                why: format!("It is to start {} from there.", way.target.title),
                region: "otadata".to_owned(),
                segments: vec![segment],
            });
        }
        way.steps.retain(|step| !step.segments.is_empty());
        Ok(way)
    }

    fn envelope(
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

    /// The file system anew. Each slot besides the target keeps its folder if that can be read, or gets
    /// the files of the release that it should hold.
    fn new_files(
        &mut self,
        vfs: Partition,
        target: &Target,
        whole: bool,
    ) -> Result<(Step, Vec<String>), Fail> {
        let rules = Rules::new(self.facts, self.known);
        let mut folders = vec![(target.id, target.folder.clone())];
        let mut lost = Vec::new();
        for slot in &self.facts.slots {
            let Some(id) = slot.id.filter(|id| *id != target.id) else {
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
        if target.folder == Folder::Keep && !self.facts.files.mounts() {
            // A slot without a release had a folder that nothing describes.
            folders[0].1 = Folder::Keep;
        }
        let made = files::make(self.flash, vfs, self.facts, &folders)?;
        lost.extend(made.losses);
        let step = Step {
            title: "Make the file system anew".to_owned(),
            why: match self.facts.files.state {
                FilesState::Mounted(_) => "What can be read of it is kept.".to_owned(),
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

    /// Whether otadata has to be written so that this slot starts, for good.
    fn needs_selection(&self, id: SlotId) -> bool {
        let facts = self.facts;
        let at = |n: Option<usize>| n.and_then(|n| facts.slots[n].id);
        let on_trial = facts.boot.state.is_some_and(boot::is_trial);
        let lost = self.has(FindingCode::OtadataLost);
        match at(facts.boot.selected) {
            Some(selected) => selected != id || on_trial || facts.boot.died,
            // Without an entry `factory` starts, or the first slot.
            None => lost || facts.slots.first().and_then(|slot| slot.id) != Some(id),
        }
    }

    /// The state, when the board has none or trusts nobody, and it is known what to write.
    fn state(&mut self, layout: &Layout, target: &Target) -> Result<Option<Step>, Fail> {
        let Some(identity) = self.known.identity else {
            return Ok(None);
        };
        let (mut state, title) = match self.facts.state() {
            Some(state) if state.trust.is_some() => return Ok(None),
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

    /// Puts a plan together: what selects a slot comes last.
    fn finish(
        &mut self,
        layout: &Layout,
        mut steps: Vec<Step>,
        target: &Target,
        mut losses: Vec<String>,
    ) -> Result<Plan, Fail> {
        if let Some(step) = self.state(layout, target)? {
            let at = steps.iter().position(|step| step.region == "otadata");
            steps.insert(at.unwrap_or(steps.len()), step);
        }
        steps.retain(|step| !step.segments.is_empty());
        let keyless = self.facts.state().is_none_or(|state| state.trust.is_none())
            && self.known.identity.is_none();
        if steps.is_empty() && keyless {
            return Err(blocked(
                ErrorCode::NoTrust,
                "The board does not say whom it trusts: choose its product and its keys.",
            ));
        }
        let confirmed = self.facts.state().map(|state| state.sequence);
        if let (Some(confirmed), Some(sequence)) = (confirmed, target.sequence())
            && sequence < confirmed
            && !steps.is_empty()
        {
            losses.push(format!(
                "The newer release: the board goes back to {}, until it is updated.",
                target.title
            ));
        }
        let it = format!("{} from {}", target.title, target.id.name());
        let keys = if keyless {
            ", and takes no updates: it has no keys"
        } else {
            ""
        };
        Ok(Plan {
            sentence: sentence(&steps),
            afterwards: format!("It starts {it}{keys}."),
            steps,
            losses,
            ..Plan::empty()
        })
    }

    /// One slot from a known release.
    fn slot(&mut self) -> Result<Plan, Fail> {
        let layout = self.layout()?;
        let mut steps = self.ground()?;
        let rules = Rules::new(self.facts, self.known);
        let newest = rules.releases().into_iter().next();
        let newest = newest.ok_or_else(|| self.nothing_fits(&rules))?;
        let id = place(self.facts, newest).ok_or_else(|| too_big(newest))?;
        let target = rules
            .install(self.facts, id, newest)
            .ok_or_else(|| self.nothing_fits(&rules))?;
        let way = self.way(target, &layout)?;
        steps.extend(way.steps);
        let title = format!("Rewrite {} from {}", id.name(), way.target.title);
        let mut plan = self.finish(&layout, steps, &way.target, way.losses)?;
        if !plan.steps.is_empty() {
            plan.sentence = format!("{title}.");
        }
        Ok(plan)
    }

    /// The file system anew.
    fn files(&mut self) -> Result<Plan, Fail> {
        let layout = self.layout()?;
        let vfs = layout.vfs.ok_or_else(|| {
            blocked(
                ErrorCode::BadLayout,
                "The board has no partition for files.",
            )
        })?;
        let mut steps = self.ground()?;
        let rules = Rules::new(self.facts, self.known);
        let way = self.best_way(&rules, &layout)?;
        let (step, losses) = self.new_files(vfs, &way.target, false)?;
        let others = way
            .steps
            .into_iter()
            .filter(|step| step.region != vfs.label());
        steps.extend(others);
        let at = steps
            .iter()
            .position(|step| step.region == "airlift" || step.region == "otadata");
        steps.insert(at.unwrap_or(steps.len()), step);
        let mut plan = self.finish(&layout, steps, &way.target, losses)?;
        if !plan.steps.is_empty() {
            plan.sentence = "Make the file system anew.".to_owned();
        }
        Ok(plan)
    }

    /// Everything but `nvs` and the files that can be read.
    fn everything(&mut self) -> Result<Plan, Fail> {
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
        let mut steps = vec![
            self.bootloader()?,
            self.table(&list, "It says where everything is.")?,
        ];
        if is_new {
            steps.extend(self.erase_old(&list, &mut losses)?);
        }
        let partition = layout.partition(id).ok_or_else(|| too_big(newest))?;
        let app = target.app.clone().unwrap_or_default();
        factory::check_app(&app, partition.size)?;
        steps.push(Step {
            title: format!("Write {} into {}", target.title, id.name()),
            why: "The board starts it from here.".to_owned(),
            region: id.name().to_owned(),
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
            title: format!("Note that {} holds {}", id.name(), target.title),
            why: "The board believes only what is signed.".to_owned(),
            region: "airlift".to_owned(),
            segments: self.envelopes(&layout, id, &target)?,
        });
        steps.push(Step {
            title: format!("Point otadata at {}", id.name()),
            why: format!("It is to start {} from there.", target.title),
            region: "otadata".to_owned(),
            segments: vec![segment(layout.otadata.offset, factory::otadata(id))?],
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
                title: format!("Erase the start of {}", id.name()),
                why: "What is in it does not start.".to_owned(),
                region: id.name().to_owned(),
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

    /// What a plan rests on.
    fn basis(&mut self, plan: &Plan) -> Result<Vec<Basis>, ReadError> {
        let mut ranges = vec![(TABLE_OFFSET, SECTOR)];
        if let Some(layout) = &self.facts.partitions.layout {
            ranges.push((layout.otadata.offset, 2 * SECTOR));
            let envelopes = SlotId::ALL.len() as u32;
            ranges.push((layout.airlift.offset, (2 + envelopes) * SECTOR));
        }
        ranges.extend(plan.segments().map(|s| (s.offset(), s.size())));
        let mut basis = Vec::new();
        for (offset, len) in ranges {
            let md5 = self.flash.md5(offset, len)?;
            basis.push(Basis { offset, len, md5 });
        }
        Ok(basis)
    }
}

fn too_big(release: &Release) -> Fail {
    let manifest = release.manifest();
    blocked(
        ErrorCode::TooBig,
        format!(
            "{} {} does not fit a slot of this board.",
            manifest.product, manifest.version
        ),
    )
}

fn segment(offset: u32, bytes: impl Into<bytes::Bytes>) -> Result<Segment, Fail> {
    Segment::new(offset, bytes).map_err(|error| {
        Fail::from(Error::Segment {
            what: "a region".to_owned(),
            error,
        })
    })
}

/// What the steps do, in one sentence.
fn sentence(steps: &[Step]) -> String {
    match steps {
        [] => "Nothing has to be written.".to_owned(),
        [one] => format!("{}.", one.title),
        [first, .., last] => {
            let mut last = last.title.clone();
            if let Some(letter) = last.get_mut(..1) {
                letter.make_ascii_lowercase();
            }
            match steps.len() {
                2 => format!("{}, then {last}.", first.title),
                n => format!("{}, then {} more steps, then {last}.", first.title, n - 2),
            }
        }
    }
}
