//! Which plan is made.

use super::fail::{Fail, blocked, too_big};
use super::steps::Way;
use super::target::{Rules, Target, place};
use super::{Basis, Choice, How, Plan, Step};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::words::{chip, title};
use crate::diagnosis::{Finding, FindingCode, Known};
use crate::read::{ReadError, ReadFlash};
use airlift_updater::{Layout, SlotId};
use airlift_wire::ErrorCode;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::{Partition, TABLE_OFFSET};
use airlift_wire::state::State;
use std::cmp::Reverse;

const SECTOR: u32 = SECTOR_SIZE as u32;

/// A plan that is being made.
pub(super) struct Maker<'a> {
    pub facts: &'a Facts,
    pub findings: &'a [Finding],
    pub known: &'a Known<'a>,
    pub flash: &'a mut dyn ReadFlash,
}

impl Maker<'_> {
    /// One plan, without others.
    pub fn plan(&mut self, how: How) -> Result<Plan, ReadError> {
        let made = match how {
            _ if self.facts.is_foreign() => Err(foreign()),
            How::Smallest => self.smallest(),
            How::Back => self.back(),
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
        let mut seen = vec![plan.steps.clone()];
        for other in How::ALL.into_iter().filter(|other| *other != how) {
            let other_plan = self.plan(other)?;
            let is_new = other_plan.blocked.is_none()
                && !other_plan.steps.is_empty()
                && !seen.contains(&other_plan.steps)
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
                seen.push(other_plan.steps);
            }
        }
        plan.others.sort_by_key(|choice| choice.bytes);
        plan.basis = self.basis(&plan)?;
        Ok(plan)
    }

    pub(super) fn has(&self, code: FindingCode) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    fn smallest(&mut self) -> Result<Plan, Fail> {
        if self.facts.blank {
            return self.everything();
        }
        let layout = self.layout()?;
        let mut steps = self.ground()?;
        let rules = Rules::new(self.facts, self.known);
        let way = self.best_way(&rules, rules.targets(self.facts), &layout)?;
        let losses = way.losses.clone();
        let target = way.target;
        steps.extend(way.steps);
        self.finish(&layout, steps, &target, losses)
    }

    /// Back from a trial that has not failed.
    fn back(&mut self) -> Result<Plan, Fail> {
        let layout = self.layout()?;
        if self.facts.trial().is_none() {
            return Err(blocked(ErrorCode::NoRepair, "No release is on trial."));
        }
        let mut steps = self.ground()?;
        let rules = Rules::new(self.facts, self.known);
        let mut targets = rules.targets(self.facts);
        targets.retain(|target| !target.keeps_trial);
        let way = self.best_way(&rules, targets, &layout)?;
        steps.extend(way.steps);
        let mut plan = self.finish(&layout, steps, &way.target, way.losses)?;
        plan.sentence = format!("End the trial, and start {}.", way.target.title);
        Ok(plan)
    }

    /// The way that costs least among those that let a trial go on, and do not go back to an older
    /// release than the one that was confirmed last, if that is there, or that the board would run by
    /// itself; then also those.
    fn best_way(
        &mut self,
        rules: &Rules<'_>,
        targets: Vec<Target>,
        layout: &Layout,
    ) -> Result<Way, Fail> {
        let now = self.facts.confirmed().or_else(|| {
            let runs = self.facts.boot.runs.map(|n| &self.facts.slots[n]);
            runs.filter(|slot| !self.facts.is_doubtful(slot))
        });
        let now = now.and_then(|slot| slot.release()).map(|r| r.sequence);
        let mut best: Option<(_, Way)> = None;
        let mut reason = None;
        let is_on_trial = self.facts.trial().is_some();
        for target in targets {
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
                is_on_trial && !way.target.keeps_trial,
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
    pub(super) fn nothing_fits(&self, rules: &Rules<'_>) -> Fail {
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
        Err(if self.facts.partitions.state.is_accepted() {
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

    /// Puts a plan together: what selects a slot comes last.
    pub(super) fn finish(
        &mut self,
        layout: &Layout,
        mut steps: Vec<Step>,
        target: &Target,
        mut losses: Vec<String>,
    ) -> Result<Plan, Fail> {
        if let Some(step) = self.state(layout, target)? {
            let at = steps.iter().position(|step| step.region == "otadata");
            steps.insert(at.unwrap_or(steps.len()), step);
            losses.extend(self.take_over());
        }
        steps.retain(|step| !step.segments.is_empty());
        let has_rollback = |state: &State| state.bootloader_rollback;
        if self.facts.state().is_some_and(has_rollback)
            && steps.iter().any(|step| step.region == "bootloader")
        {
            losses.push(
                "The bootloader's own rollback: the board had one at its last trial, and the one that \
                 is written may have none. The boot guard still goes back."
                    .to_owned(),
            );
        }
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
        if let Some(trial) = self.facts.trial()
            && !target.keeps_trial
            && !steps.is_empty()
        {
            losses.push(format!(
                "The trial of {} in {}, which has not failed: it has to be installed again.",
                title(self.facts, trial),
                trial.label()
            ));
        }
        let partition = layout.partition(target.id);
        let label = partition
            .as_ref()
            .map_or(target.id.name(), Partition::label);
        let it = format!("{} from {label}", target.title);
        let trial = if target.keeps_trial {
            ", which has to confirm within its time"
        } else {
            ""
        };
        let keys = if keyless {
            ", and takes no updates: it has no keys"
        } else {
            ""
        };
        Ok(Plan {
            sentence: sentence(&steps),
            afterwards: format!("It starts {it}{trial}{keys}."),
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
        let partition = layout.partition(id);
        let label = partition.as_ref().map_or(id.name(), Partition::label);
        let sentence = format!("Rewrite {label} from {}.", way.target.title);
        let mut plan = self.finish(&layout, steps, &way.target, way.losses)?;
        if !plan.steps.is_empty() {
            plan.sentence = sentence;
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
        let way = self.best_way(&rules, rules.targets(self.facts), &layout)?;
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
        let size = self.facts.flash_size;
        ranges.retain(|(offset, len)| offset.checked_add(*len).is_some_and(|end| end <= size));
        for (offset, len) in ranges {
            let md5 = self.flash.md5(offset, len)?;
            basis.push(Basis { offset, len, md5 });
        }
        Ok(basis)
    }
}

/// Nobody who asks for a repair asks for other firmware to be destroyed.
fn foreign() -> Fail {
    blocked(
        ErrorCode::NoRepair,
        "Nothing of Airlift is in this flash, and Airlift does not mend other firmware; to replace it \
         with a release, use airlift usb flash.",
    )
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
                3 => format!("{}, then one more step, then {last}.", first.title),
                n => format!("{}, then {} more steps, then {last}.", first.title, n - 2),
            }
        }
    }
}
