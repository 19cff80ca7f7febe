use super::*;
use crate::dto::{FlashStep, Verdict};
use crate::error::info;

pub(crate) const A: &str = "/dev/ttyACM0";

pub(crate) fn found(path: &str, serial: &str) -> Found {
    Found {
        path: path.into(),
        vendor_id: Some(0x303A),
        product_id: Some(0x1001),
        adapter: "USB-Serial-JTAG".into(),
        serial_number: Some(serial.into()),
        likely: None,
        problem: None,
        named: false,
    }
}

fn board(mac: &str) -> UsbBoard {
    UsbBoard {
        chip: "esp32c3".into(),
        revision: None,
        mac: Some(mac.into()),
        device_id: None,
        flash_size: 4 << 20,
        features: Vec::new(),
        secure_boot: false,
        flash_encryption: false,
        secure_download: false,
        refused: None,
    }
}

pub(crate) fn plan(steps: usize) -> FlashPlan {
    let step = FlashStep {
        title: "Point otadata at ota_0".into(),
        why: "Both entries are damaged.".into(),
        region: "otadata".into(),
        offset: 0xF000,
        bytes: 8192,
        seconds: 1,
    };
    FlashPlan {
        id: 0,
        kind: UsbJobKind::Repair,
        sentence: String::new(),
        steps: vec![step; steps],
        bytes: 8192,
        seconds: 1,
        afterwards: String::new(),
        losses: Vec::new(),
        blocked: None,
        others: Vec::new(),
    }
}

fn diagnosis() -> Diagnosis {
    Diagnosis {
        code: "healthy".into(),
        verdict: Verdict::Healthy,
        sentence: String::new(),
        next_boot: String::new(),
        boots: None,
        regions: Vec::new(),
        findings: Vec::new(),
        product: None,
        name: None,
        sequence: None,
        trusts: Vec::new(),
        complete: true,
        bytes_read: 0,
        took_ms: 0,
    }
}

fn connected() -> Table {
    let mut table = Table::default();
    table.list(vec![found(A, "1")]);
    let from = [UsbActivity::Idle];
    table.begin(A, UsbActivity::Connecting, &from).unwrap();
    table.connected(A, board("02:00:00:00:00:01"), None);
    table
}

pub(crate) fn working() -> (Table, u32) {
    let mut table = connected();
    let plan = table.planned(A, plan(2));
    let job = table.start_job(A, plan.id).unwrap();
    (table, job)
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorCode {
    result.unwrap_err().code()
}

fn told(events: &[Event]) -> Vec<&str> {
    let name = |event: &Event| match event {
        Event::UsbPort(_) => "port",
        Event::UsbPortGone(_) => "gone",
        Event::UsbLog { .. } => "log",
        other => panic!("{other:?}"),
    };
    // The lifetime of the names is the program's.
    events.iter().map(name).collect()
}

#[test]
fn a_port_comes_and_goes_with_the_list() {
    let mut table = Table::default();
    assert!(table.list(vec![found(A, "1")]).is_empty());
    assert_eq!(told(&table.due(at(0)).0), ["port"]);
    assert!(table.list(Vec::new()).is_empty());
    assert_eq!(told(&table.due(at(1)).0), ["gone"]);
    assert!(table.views().is_empty());
    assert_eq!(code(table.view(A)), ErrorCode::NoSuchPort);
}

#[test]
fn a_list_that_says_the_same_is_no_news() {
    let mut table = Table::default();
    table.list(vec![found(A, "1")]);
    table.due(at(0));
    table.list(vec![found(A, "1")]);
    let (events, next) = table.due(at(1_000));
    assert_eq!((events.len(), next), (0, None));
}

#[test]
fn a_port_that_was_named_by_hand_stays_and_says_that_it_is_away() {
    let mut table = Table::default();
    let named = Found {
        named: true,
        ..found(A, "1")
    };
    table.list(vec![named]);
    table.list(Vec::new());
    assert!(!table.view(A).unwrap().present);
}

#[test]
fn another_adapter_under_the_same_name_is_another_board() {
    let (mut table, _) = working();
    table.end_job(A, UsbActivity::Idle, &JobEnd::done("It starts.".into()));
    table.list(vec![found(A, "2")]);
    let port = table.view(A).unwrap();
    assert_eq!((port.board, port.job), (None, None));
}

#[test]
fn a_port_in_use_that_goes_away_is_reported_once() {
    let mut table = connected();
    assert_eq!(table.list(Vec::new()), [A]);
    assert!(table.list(Vec::new()).is_empty());
    assert!(!table.view(A).unwrap().present);
}

#[test]
fn what_a_port_is_busy_with_is_said() {
    let (mut table, _) = working();
    let again = table.begin(A, UsbActivity::Monitoring, &[UsbActivity::Idle]);
    let error = again.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Busy);
    assert!(error.to_string().ends_with("is being written"), "{error}");
    let mut idle = Table::default();
    idle.list(vec![found(A, "1")]);
    let from = [UsbActivity::Connected];
    let not = idle.begin(A, UsbActivity::Diagnosing, &from);
    assert_eq!(code(not), ErrorCode::NotConnected);
}

#[test]
fn only_the_last_plan_of_a_port_is_carried_out_and_only_once() {
    let mut table = connected();
    let old = table.planned(A, plan(1));
    let new = table.planned(A, plan(1));
    assert_eq!(code(table.start_job(A, old.id)), ErrorCode::PlanStale);
    table.start_job(A, new.id).unwrap();
    assert_eq!(code(table.start_job(A, new.id)), ErrorCode::Busy);
    table.end_job(A, UsbActivity::Connected, &JobEnd::done(String::new()));
    assert_eq!(code(table.start_job(A, new.id)), ErrorCode::PlanStale);
}

#[test]
fn a_plan_that_is_blocked_is_not_carried_out() {
    let mut table = connected();
    let blocked = FlashPlan {
        blocked: Some(info(ErrorCode::NoRepair, "no release fits")),
        ..plan(0)
    };
    let id = table.planned(A, blocked).id;
    assert_eq!(code(table.start_job(A, id)), ErrorCode::NoRepair);
    assert_eq!(table.view(A).unwrap().activity, UsbActivity::Connected);
}

#[test]
fn another_board_on_the_port_has_neither_the_diagnosis_nor_the_plan_nor_the_label_of_the_first() {
    let mut table = connected();
    table.diagnosed(A, diagnosis());
    table.planned(A, plan(1));
    table.set_label(A, Some("porch".into())).unwrap();
    table.set_activity(A, UsbActivity::Idle);
    table.connected(A, board("02:00:00:00:00:01"), None);
    let same = table.view(A).unwrap();
    assert!(same.diagnosis.is_some() && same.plan.is_none());
    assert_eq!(same.label.as_deref(), Some("porch"));
    table.connected(A, board("02:00:00:00:00:02"), None);
    let other = table.view(A).unwrap();
    assert_eq!((other.diagnosis, other.label), (None, None));
}

#[test]
fn a_label_that_was_given_before_the_board_was_known_is_its_label() {
    let mut table = Table::default();
    table.list(vec![found(A, "1")]);
    table.set_label(A, Some("rack 3".into())).unwrap();
    table.connected(A, board("02:00:00:00:00:01"), Some("older".into()));
    assert_eq!(table.view(A).unwrap().label.as_deref(), Some("rack 3"));
}

#[test]
fn progress_has_a_rate_and_seconds_left_for_each_phase_of_its_own() {
    let (mut table, _) = working();
    let progress = |phase, bytes| Progress {
        phase,
        step: 9,
        bytes,
        total: 400_000,
        skipped: 0,
    };
    for n in 0..=10 {
        let bytes = n * 10_000;
        table.progress(A, progress(UsbPhase::Write, bytes), at(u64::from(n) * 100));
    }
    let job = table.view(A).unwrap().job.unwrap();
    let rate = job.rate.unwrap();
    assert!((90_000.0..=120_000.0).contains(&rate), "{rate}");
    assert_eq!(job.seconds_left, Some((300_000.0 / rate).ceil() as u32));
    assert_eq!(job.step, 1, "never past the last one");
    table.progress(A, progress(UsbPhase::Verify, 0), at(1_100));
    assert_eq!(table.view(A).unwrap().job.unwrap().rate, None);
}

#[test]
fn the_next_plan_says_how_long_it_takes_by_the_last_job() {
    let (mut table, _) = working();
    for n in 0..=10 {
        let progress = Progress {
            phase: UsbPhase::Write,
            step: 0,
            bytes: n * 10_000,
            total: 100_000,
            skipped: 0,
        };
        table.progress(A, progress, at(u64::from(n) * 10_000));
    }
    table.end_job(A, UsbActivity::Connected, &JobEnd::done(String::new()));
    let next = table.planned(A, plan(1));
    assert_eq!((next.seconds, next.steps[0].seconds), (9, 9));
    assert_eq!(table.view(A).unwrap().plan, Some(next));
}

#[test]
fn a_port_is_told_about_at_most_ten_times_a_second_and_its_end_is_not_lost() {
    let (mut table, job) = working();
    let mut count = 0;
    let mut last = None;
    for ms in 0..1_000 {
        let progress = Progress {
            phase: UsbPhase::Write,
            step: 0,
            bytes: ms,
            total: 1_000,
            skipped: 0,
        };
        table.progress(A, progress, at(ms.into()));
        count += table.due(at(ms.into())).0.len();
    }
    table.end_job(A, UsbActivity::Idle, &JobEnd::done("Done.".into()));
    let mut now = at(1_000);
    loop {
        let (events, next) = table.due(now);
        last = events.into_iter().last().or(last);
        match next {
            Some(next) => now = next,
            None => break,
        }
    }
    assert!(count <= 10, "{count}");
    let Some(Event::UsbPort(port)) = last else {
        panic!("{last:?}")
    };
    let ended = port.job.unwrap();
    assert_eq!((ended.id, ended.end), (job, Some(UsbEnd::Done)));
    assert_eq!((port.plan, port.activity), (None, UsbActivity::Idle));
}

#[test]
fn ports_do_not_wait_for_each_other() {
    let mut table = Table::default();
    table.list(vec![found(A, "1")]);
    table.due(at(0));
    table.list(vec![found(A, "1"), found("/dev/ttyUSB0", "2")]);
    assert_eq!(told(&table.due(at(1)).0), ["port"]);
}

#[test]
fn lines_of_a_log_are_told_together_and_a_flood_is_cut() {
    let mut table = connected();
    table.due(at(0));
    let line = |n| UsbLogLine {
        n,
        ms: n,
        text: String::new(),
        kind: "log".into(),
        resolved: Vec::new(),
    };
    table.logged(A, (0..1_500).map(line).collect());
    table.logged(A, (1_500..3_000).map(line).collect());
    assert!(table.due(at(50)).0.is_empty());
    let (events, next) = table.due(at(100));
    let [Event::UsbLog { lines, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    let numbers = (lines[0].n, lines.last().map(|line| line.n), next);
    assert_eq!(numbers, (1_000, Some(2_999), None));
}

#[test]
fn a_cancelled_job_is_no_failure_and_a_failed_one_says_why() {
    let error = |code| Error::refused(code, "it was so");
    let cancelled = JobEnd::of(&error(ErrorCode::Cancelled));
    assert_eq!((cancelled.end, cancelled.error), (UsbEnd::Cancelled, None));
    let failed = JobEnd::of(&error(ErrorCode::VerifyFailed));
    assert_eq!(failed.end, UsbEnd::Failed);
    assert_eq!(failed.error.unwrap().code, "verify_failed");
}
