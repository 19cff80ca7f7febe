//! The boards that do not start, as `airlift-flash` has them, each on a serial port: it is looked at
//! and mended over the wire, and then a device starts with what is in the file of its flash.
#![cfg(unix)]

#[path = "../../flash/tests/dead_boards/boards.rs"]
mod boards;
#[path = "../../flash/tests/dead_boards/cases.rs"]
mod cases;
#[path = "../../flash/tests/dead_boards/start.rs"]
mod start;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use airlift_flash::{Depth, Diagnosis, Known, Plan, ReadFlash, Segment, diagnose, repair};
use airlift_rom_loader::{Config, Kind, Operation, RomLoader, Running};
use airlift_usb::backup::Backup;
use airlift_usb::write::BackupTo;
use airlift_usb::{
    After, Cancel, ConnectOptions, Error, Flash, Report, Session, WriteOptions, apply,
};
use boards::{CHIP, FLASH, identity};
use cases::{CASES, Case};

const SECTOR: u32 = 4096;
/// Boards that are played at the same time: what one waits for, another one uses.
const AT_ONCE: usize = 4;

/// What is found on a board, by both looks, and what is to be done about it.
type Found = (Diagnosis, Diagnosis, Plan);

#[test]
fn every_board_is_mended_over_the_wire() {
    let otadata_repairs = Mutex::new(Vec::new());
    let boards = Mutex::new(CASES.iter());
    let next = || boards.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let (plan, report) = play(case);
                    if is_otadata_repair(&plan) {
                        otadata_repairs.lock().unwrap().push(report.bytes());
                    }
                }
            });
        }
    });
    let otadata_repairs = otadata_repairs.into_inner().unwrap();
    assert!(otadata_repairs.len() >= 6, "{otadata_repairs:?}");
    // Both entries; 4096 where one was right already.
    assert!(otadata_repairs.contains(&8192), "{otadata_repairs:?}");
}

fn is_otadata_repair(plan: &Plan) -> bool {
    matches!(&plan.steps[..], [step] if step.region == "otadata")
}

/// The whole life of a board: found, mended, started.
fn play(case: &'static Case) -> (Plan, Report) {
    let name = case.name;
    let folder = tempfile::tempdir().unwrap();
    let (file, backup) = (folder.path().join("flash"), folder.path().join("backup"));
    let before = (case.flash)();
    std::fs::write(&file, &before).unwrap();
    let board = RomLoader::start(Config {
        size: FLASH,
        flash: Some(file.clone()),
        ..Config::default()
    });
    let board = board.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (plan, report) = runtime
        .unwrap()
        .block_on(mend(case, &board, &before, &backup));
    let journal = board.take_journal();
    drop(board);
    let after = std::fs::read(&file).unwrap();
    only_the_plan_was_written(name, &plan, &report, &journal);
    the_flash_is_as_planned(name, &plan, &before, &after);
    the_backup_undoes_it(name, &report, &backup, &before, &after);
    start::runs_as_it_should(case, &after);
    (plan, report)
}

/// Finds out and mends. The journal begins with the first thing that is done about it.
async fn mend(
    case: &'static Case,
    board: &Running,
    before: &[u8],
    backup: &Path,
) -> (Plan, Report) {
    let name = case.name;
    let mut options = ConnectOptions::new(board.path().to_string_lossy());
    options.wait_for_boot = Some(Duration::ZERO);
    let session = Session::connect(options, |_| {}).await.unwrap();
    assert_eq!(session.board().chip_id, CHIP);

    let (quick, full, plan): Found = session
        .run(move |link| find(case, &mut Flash(link)))
        .await
        .unwrap();
    assert_eq!(
        format!("{:?}", (&quick, &full, &plan)),
        format!("{:?}", find(case, &mut &*before).unwrap()),
        "{name}: the wire changes nothing"
    );
    assert_eq!(
        (full.code, full.verdict),
        (case.code, case.verdict),
        "{name}"
    );
    let steps = plan.steps.iter().map(|s| (s.region.as_str(), s.bytes()));
    assert!(steps.eq(case.steps.iter().copied()), "{name}: {plan:?}");
    assert_eq!(plan.blocked.is_some(), case.runs.is_none(), "{name}");
    let journal = board.take_journal();
    assert!(!journal.is_empty(), "{name}");
    assert!(
        !journal.iter().any(changes),
        "{name}: a look changes nothing"
    );

    let segments: Vec<Segment> = plan.segments().cloned().collect();
    let options = WriteOptions {
        backup: Some(BackupTo {
            path: backup.to_owned(),
            time: 1_795_400_000,
            summary: name.to_owned(),
        }),
        ..WriteOptions::default()
    };
    let report = session
        .run(move |link| apply(link, &segments, &options, &Cancel::new(), &mut |_| {}))
        .await
        .unwrap();
    session.close(After::Stay).await.unwrap();
    (plan, report)
}

fn find(case: &Case, flash: &mut dyn ReadFlash) -> Result<Found, Error> {
    let (library, identity) = (case.library(), identity());
    let mut known = Known::new(CHIP, &library);
    if case.identity {
        known = known.with_identity(&identity);
    }
    let quick = diagnose(flash, &known, Depth::Quick, &mut |_, _| {})?;
    let full = diagnose(flash, &known, Depth::Full, &mut |_, _| {})?;
    let plan = repair(&quick, flash, &known, case.how)?;
    Ok((quick, full, plan))
}

fn changes(done: &Operation) -> bool {
    matches!(done.kind, Kind::Erase | Kind::Write)
}

/// The sectors of ranges.
fn sectors(ranges: impl Iterator<Item = (u32, u32)>) -> BTreeSet<u32> {
    let sectors = ranges.flat_map(|(at, len)| at / SECTOR..(at + len).div_ceil(SECTOR));
    sectors.collect()
}

/// What the flash was told to do, whatever came of it.
fn only_the_plan_was_written(name: &str, plan: &Plan, report: &Report, journal: &[Operation]) {
    let named = sectors(plan.segments().map(|s| (s.offset(), s.size())));
    let reported = sectors(report.written.iter().copied());
    let done = journal.iter().filter(|done| changes(done));
    let touched = sectors(done.map(|done| (done.offset, done.length)));
    assert!(touched.is_subset(&named), "{name}: {journal:?}");
    assert_eq!(touched, reported, "{name}");
    assert_eq!(report.bytes() + report.skipped, plan.bytes(), "{name}");
    assert_eq!(report.unfinished, None, "{name}");
    if is_otadata_repair(plan) {
        let otadata = sectors([(0xD000, 8192)].into_iter());
        assert_eq!((&named, plan.bytes()), (&otadata, 8192), "{name}");
    }
}

fn the_flash_is_as_planned(name: &str, plan: &Plan, before: &[u8], after: &[u8]) {
    let mut wanted = before.to_vec();
    for segment in plan.segments() {
        boards::put(&mut wanted, segment.offset(), segment.bytes());
    }
    assert!(after == wanted, "{name}");
}

/// What was overwritten can be put back, to the last bit.
fn the_backup_undoes_it(name: &str, report: &Report, path: &Path, before: &[u8], after: &[u8]) {
    assert_eq!(report.backup.is_some(), report.bytes() > 0, "{name}");
    if report.backup.is_none() {
        return;
    }
    let backup = Backup::open(path).unwrap();
    assert_eq!(backup.size(), report.bytes(), "{name}");
    let mut undone = after.to_vec();
    for segment in backup.segments().unwrap() {
        boards::put(&mut undone, segment.offset(), segment.bytes());
    }
    assert!(undone == before, "{name}");
}
