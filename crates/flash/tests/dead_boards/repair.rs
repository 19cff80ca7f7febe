//! Diagnose, plan, apply, start.

use crate::boards::*;
use crate::cases::{CASES, Case};
use crate::start::{runs_as_it_should, start};
use airlift_flash::diagnosis::{QUICK_BYTES, Verdict};
use airlift_flash::{Depth, Diagnosis, How, Known, Plan, diagnose, repair};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// What became of a board.
pub struct Outcome {
    pub before: Vec<u8>,
    pub quick: Diagnosis,
    pub full: Diagnosis,
    pub plan: Plan,
    pub after: Vec<u8>,
    /// What is found afterwards.
    pub again: Diagnosis,
}

/// What becomes of each board; found out once.
pub fn outcomes() -> impl Iterator<Item = (&'static Case, &'static Outcome)> {
    static OUTCOMES: OnceLock<Vec<Outcome>> = OnceLock::new();
    let outcomes = OUTCOMES.get_or_init(|| CASES.iter().map(carry_out).collect());
    CASES.iter().zip(outcomes)
}

fn carry_out(case: &Case) -> Outcome {
    let before = (case.flash)();
    let library = case.library();
    let identity = identity();
    let mut known = Known::new(CHIP, &library);
    if case.identity {
        known = known.with_identity(&identity);
    }
    let look = |bytes: &[u8], depth| {
        let mut bytes = bytes;
        diagnose(&mut bytes, &known, depth, &mut |_, _| {}).unwrap()
    };
    let quick = look(&before, Depth::Quick);
    let full = look(&before, Depth::Full);
    let plan = repair(&quick, &mut before.as_slice(), &known, case.how).unwrap();
    assert!(plan.still_fits(&mut before.as_slice()).unwrap());
    let mut after = before.clone();
    for segment in plan.segments() {
        put(&mut after, segment.offset(), segment.bytes());
    }
    let again = look(&after, Depth::Full);
    Outcome {
        before,
        quick,
        full,
        plan,
        after,
        again,
    }
}

/// The document says everything exactly; here is what matters most.
#[test]
fn every_board_is_understood_and_mended() {
    for (case, outcome) in outcomes() {
        let Outcome {
            full, plan, after, ..
        } = outcome;
        let name = case.name;
        assert_eq!(
            (full.code, full.verdict),
            (case.code, case.verdict),
            "{name}"
        );
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|s| (s.region.as_str(), s.bytes()))
            .collect();
        assert_eq!(steps, case.steps, "{name}");
        assert_eq!(plan.blocked.is_some(), case.runs.is_none(), "{name}");
        the_quick_look_agrees(case, outcome);
        the_map_is_whole(&outcome.full, after.len() as u32);
        only_what_is_named_changes(case, outcome);
        if let Some((version, slot)) = case.runs {
            it_starts(case, outcome, version, slot.name());
        }
    }
}

/// A quick look reads little, and never says that a board is well that is not.
fn the_quick_look_agrees(case: &Case, outcome: &Outcome) {
    let Outcome { quick, full, .. } = outcome;
    let name = case.name;
    assert!(
        quick.bytes_read <= QUICK_BYTES,
        "{name}: {}",
        quick.bytes_read
    );
    assert!(full.complete, "{name}");
    assert_eq!(quick.boots, full.boots, "{name}");
    if quick.complete {
        assert_eq!(
            (quick.code, quick.verdict),
            (full.code, full.verdict),
            "{name}"
        );
    }
    if quick.verdict == Verdict::Healthy {
        // What a quick look leaves out keeps no board from starting.
        assert!(
            full.findings.iter().all(|finding| finding.harmless),
            "{name}"
        );
    }
}

fn the_map_is_whole(diagnosis: &Diagnosis, size: u32) {
    let mut at = 0;
    for region in &diagnosis.regions {
        assert_eq!(region.offset, at, "{region:?}");
        assert!(region.size > 0 && !region.summary.is_empty(), "{region:?}");
        at += region.size;
    }
    assert_eq!(at, size);
    let boots = diagnosis.regions.iter().filter(|region| region.boots);
    assert!(boots.map(|r| &r.name).eq(&diagnosis.boots));
}

fn only_what_is_named_changes(case: &Case, outcome: &Outcome) {
    let Outcome {
        before,
        after,
        plan,
        ..
    } = outcome;
    let mut named = vec![false; before.len() / 4096];
    for segment in plan.segments() {
        let sectors = segment.offset() as usize / 4096..segment.end() as usize / 4096;
        for sector in &mut named[sectors] {
            assert!(!*sector, "{}: a sector is written twice", case.name);
            *sector = true;
        }
    }
    let sectors = before.chunks(4096).zip(after.chunks(4096)).zip(&named);
    for (n, ((before, after), named)) in sectors.enumerate() {
        assert!(before == after || *named, "{}: sector {n}", case.name);
    }
    if case.how != How::Everything && case.verdict != Verdict::Foreign {
        let nvs = 0x9000 / 4096..0xD000 / 4096;
        assert!(named[nvs].iter().all(|named| !named), "{}", case.name);
        assert_eq!(after[0x9000..][..NVS.len()], NVS, "{}", case.name);
    }
    for step in &plan.steps {
        // Words that a person reads, and a region that is on the map afterwards.
        assert!(
            step.why.ends_with('.') && !step.title.ends_with('.'),
            "{step:?}"
        );
        let region = outcome.again.regions.iter().find(|r| r.name == step.region);
        let region = region.unwrap_or_else(|| panic!("{}: no {}", case.name, step.region));
        for segment in &step.segments {
            let end = region.offset + region.size;
            assert!(
                region.offset <= segment.offset() && segment.end() <= end,
                "{step:?}"
            );
        }
    }
}

fn it_starts(case: &Case, outcome: &Outcome, version: &str, slot: &str) {
    let Outcome {
        after, plan, again, ..
    } = outcome;
    let name = case.name;
    assert!(
        plan.afterwards.contains(version) && plan.afterwards.contains(slot),
        "{name}"
    );
    assert_eq!(again.boots.as_deref(), Some(slot), "{name}: {again:#?}");
    assert!(
        matches!(again.verdict, Verdict::Healthy | Verdict::Impaired),
        "{name}"
    );
    if !plan.steps.is_empty() {
        assert!(
            again
                .findings
                .iter()
                .all(|f| f.code != case.code || f.region.as_deref() != Some(slot)),
            "{name}"
        );
    }
    runs_as_it_should(case, after);
    let lost_files = plan.losses.iter().any(|loss| loss.contains("files"));
    assert!(
        case.keeps_files || lost_files || had_none(outcome),
        "{name}: {:?}",
        plan.losses
    );
}

/// Whether there were no files that could get lost.
fn had_none(outcome: &Outcome) -> bool {
    let erased = outcome.before[0x2E_8000..].iter().all(|byte| *byte == 0xFF);
    erased
        || outcome.plan.steps.iter().all(|s| s.region != "vfs")
        || !outcome.plan.losses.is_empty()
}

/// What is written after a repair is taken as if nothing had been: the board goes on to the next release.
#[test]
fn a_mended_board_takes_the_next_release() {
    let next = &releases()[2];
    for (case, outcome) in outcomes() {
        let Some((version, _)) = case.runs else {
            continue;
        };
        // Going back to the release that was tried is refused, as it should be.
        if outcome.plan.steps.is_empty() || version == "1.2.0" || case.library.contains(&"1.2.0") {
            continue;
        }
        let after = update(outcome.after.clone(), next);
        let info = start(&after);
        assert_eq!(info["running"]["version"], "1.2.0", "{}", case.name);
    }
}

#[test]
fn a_plan_does_not_fit_a_board_that_has_changed() {
    let names = [
        "the slot that starts is cut short",
        "there is no bootloader",
    ];
    for (_, outcome) in outcomes().filter(|(case, _)| names.contains(&case.name)) {
        let Outcome {
            before,
            plan,
            after,
            ..
        } = outcome;
        assert!(plan.still_fits(&mut before.as_slice()).unwrap());
        assert!(!plan.still_fits(&mut after.as_slice()).unwrap());
        let mut other = before.clone();
        other[0x8010] ^= 1;
        assert!(!plan.still_fits(&mut other.as_slice()).unwrap());
    }
}

#[test]
fn an_otadata_repair_writes_8_kib_and_nothing_else() {
    let mut found = 0;
    for (case, outcome) in outcomes() {
        let Outcome {
            before,
            plan,
            after,
            ..
        } = outcome;
        let [step] = &plan.steps[..] else { continue };
        if step.region != "otadata" {
            continue;
        }
        found += 1;
        assert_eq!(
            (plan.bytes(), step.offset()),
            (8192, 0xD000),
            "{}",
            case.name
        );
        assert!(before[..0xD000] == after[..0xD000], "{}", case.name);
        assert!(before[0xF000..] == after[0xF000..], "{}", case.name);
    }
    assert!(found >= 6, "{found}");
}

#[test]
fn cases_have_names_of_their_own() {
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
}

#[test]
fn a_trial_that_has_not_failed_goes_on_unless_someone_ends_it() {
    let outcome = |name| outcomes().find(|(case, _)| case.name == name).unwrap().1;
    let stays = &outcome("a release is on trial").plan;
    assert!(stays.steps.is_empty() && stays.losses.is_empty());
    assert!(stays.others.iter().any(|other| other.how == How::Back));
    let back = &outcome("a new release dies before its boot guard").plan;
    let named = |loss: &String| loss.starts_with("The trial of dead-board 1.2.0 in ota_0");
    assert!(back.losses.iter().any(named), "{:?}", back.losses);
    let died = &outcome("a trial has died, and the boot guard will notice").plan;
    assert!(died.losses.is_empty(), "{:?}", died.losses);
    let others = died.others.iter();
    assert!(others.clone().all(|other| other.how != How::Back));
}
