use std::sync::Arc;
use std::time::Duration;

use airlift_wire::ErrorCode;
use tokio::time::timeout;

use super::to_csv;
use crate::airlift::{Airlift, Options};
use crate::dto::{
    FlashPart, FlashPlan, FlashRequest, FlashSource, UsbActivity, UsbEnd, UsbJob, UsbJobKind,
    UsbPort, UsbRecord,
};
use crate::usb::fake::{FakeBoards, board};

const A: &str = "/dev/a";
const B: &str = "/dev/b";
/// Where a board comes back.
const MOVED: &str = "/dev/moved";
/// So that a test that hangs fails.
const SOON: Duration = Duration::from_secs(20);

struct Bench {
    app: Airlift,
    boards: FakeBoards,
    dir: tempfile::TempDir,
}

impl Bench {
    /// A board on A, and one on B.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let boards = FakeBoards::default();
        boards.plug(A, board(1));
        boards.plug(B, board(2));
        let mut options = Options::command(dir.path().join("home"));
        options.mdns = false;
        options.usb = true;
        options.patience = None;
        let app = Airlift::open_with(options, Arc::new(boards.clone()))
            .await
            .unwrap();
        Self { app, boards, dir }
    }

    fn port(&self, path: &str) -> UsbPort {
        self.app.shared.usb.table().view(path).unwrap()
    }

    /// A plan that writes `sectors` sectors at 1 MiB.
    async fn plan(&self, path: &str, sectors: usize) -> FlashPlan {
        let file = self.dir.path().join("blob.bin");
        let blob: Vec<u8> = (0..sectors * 4096)
            .map(|n| (n / 4096) as u8 | 0x40)
            .collect();
        std::fs::write(&file, blob).unwrap();
        let part = FlashPart {
            offset: 1 << 20,
            path: file.to_string_lossy().into_owned(),
        };
        let request = FlashRequest {
            source: FlashSource::Parts { parts: vec![part] },
            name: None,
            trusts: Vec::new(),
            wifi: None,
            factory_slot: false,
            bootloader: None,
            keep_nvs: true,
            backup: true,
        };
        self.app.usb_plan_flash(path, request).await.unwrap()
    }

    async fn connect_and_plan(&self, path: &str, sectors: usize) -> u32 {
        self.app.usb_connect(path).await.unwrap();
        self.plan(path, sectors).await.id
    }

    async fn wait(&self, path: &str, job: u32) -> UsbJob {
        let ended = timeout(SOON, self.app.usb_wait(path, job)).await;
        ended.expect("it ends").unwrap()
    }

    async fn carry_out(&self, path: &str, plan: u32) -> UsbJob {
        let job = self.app.usb_carry_out(path, plan).await.unwrap();
        self.wait(path, job).await
    }

    async fn becomes(&self, path: &str, activity: UsbActivity) {
        let is = async {
            while self.port(path).activity != activity {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, is).await.expect("it becomes that");
    }

    fn written(&self, path: &str) -> Vec<u32> {
        self.boards.written(path)
    }
}

fn failed(job: &UsbJob) -> &str {
    assert_eq!(job.end, Some(UsbEnd::Failed), "{job:?}");
    &job.error.as_ref().expect("it says why").code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_says_what_it_is_and_is_looked_at() {
    let bench = Bench::new().await;
    let port = bench.app.usb_connect(A).await.unwrap();
    assert_eq!(port.activity, UsbActivity::Connected);
    let board = port.board.unwrap();
    assert_eq!(board.device_id.as_deref(), Some("c3-020000000001"));
    assert_eq!(port.diagnosis.unwrap().code, "blank_flash");
    let again = bench.app.usb_connect(A).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::Busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_names_is_written_and_nothing_else_and_it_is_recorded() {
    let bench = Bench::new().await;
    let plan = bench.connect_and_plan(A, 2).await;
    let job = bench.carry_out(A, plan).await;
    assert_eq!(
        (job.end, &job.error),
        (Some(UsbEnd::Done), &None),
        "{job:?}"
    );
    assert!(
        job.summary.starts_with("Wrote and verified 8 KiB. "),
        "{}",
        job.summary
    );
    assert_eq!(bench.written(A), [0x10_0000, 0x10_1000]);
    assert_eq!(
        (bench.boards.starts(A), bench.port(A).activity),
        (1, UsbActivity::Idle)
    );
    let records = bench.app.usb_records().await.unwrap();
    let record = &records[0];
    assert_eq!(
        (records.len(), record.bytes, record.end),
        (1, 8192, UsbEnd::Done)
    );
    assert_eq!(record.mac.as_deref(), Some("02:00:00:00:00:01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_good_once_and_for_what_was_in_the_flash() {
    let bench = Bench::new().await;
    let plan = bench.connect_and_plan(A, 1).await;
    // Something that says what the board is, and that the plan does not write.
    bench.boards.put(A, 0, &[0; 16]);
    let job = bench.carry_out(A, plan).await;
    assert_eq!(failed(&job), "plan_stale");
    assert!(bench.written(A).is_empty());
    let again = bench.app.usb_carry_out(A, plan).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::PlanStale);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unplugged_board_is_waited_for_and_the_rest_is_written() {
    let bench = Bench::new().await;
    let plan = bench.connect_and_plan(A, 8).await;
    bench.boards.after(A, 3, |boards| boards.unplug(A));
    let job = bench.app.usb_carry_out(A, plan).await.unwrap();
    bench.becomes(A, UsbActivity::Unplugged).await;
    let port = bench.port(A);
    assert_eq!(port.error.unwrap().code, "unplugged");
    assert_eq!(port.job.unwrap().end, None);
    let busy = bench.app.usb_disconnect(A).await.unwrap_err();
    assert_eq!(busy.code(), ErrorCode::Busy);
    bench.boards.plug(A, board(1));
    let job = bench.wait(A, job).await;
    assert_eq!(job.end, Some(UsbEnd::Done), "{job:?}");
    let written: Vec<u32> = (0..8).map(|n| 0x10_0000 + n * 0x1000).collect();
    assert_eq!(bench.written(A), written, "each once");
    // One backup, of what was there before the first attempt.
    let id = job.backup.unwrap();
    let path = crate::usb::backup::path(&bench.app.shared.home, &id);
    assert_eq!(std::fs::read(path).unwrap()[0x10_0000], 0xFF);
    assert_eq!(bench.app.usb_records().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_comes_back_under_another_name_is_written_there() {
    for serial_number in [Some("F412FA000001"), None] {
        let bench = Bench::new().await;
        bench.boards.identify(A, serial_number);
        bench.app.usb_look().await.unwrap();
        bench.app.usb_label(A, Some("rack 3".into())).await.unwrap();
        let plan = bench.connect_and_plan(A, 8).await;
        bench.boards.after(A, 3, |boards| boards.replug(A, MOVED));
        let job = bench.app.usb_carry_out(A, plan).await.unwrap();
        // Whoever waits knows the old name only.
        let job = bench.wait(A, job).await;
        assert_eq!(job.end, Some(UsbEnd::Done), "{job:?}");
        let written: Vec<u32> = (0..8).map(|n| 0x10_0000 + n * 0x1000).collect();
        assert_eq!(bench.written(MOVED), written, "each once");
        let port = bench.port(MOVED);
        assert_eq!(port.label.as_deref(), Some("rack 3"));
        assert_eq!(port.activity, UsbActivity::Idle);
        assert!(bench.app.shared.usb.table().view(A).is_err(), "it is gone");
        let again = bench.wait(MOVED, job.id).await;
        assert_eq!(again.id, job.id);
        let record = &bench.app.usb_records().await.unwrap()[0];
        assert_eq!(record.port, MOVED);
        // It is used as any other.
        bench.connect_and_plan(MOVED, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_board_that_looks_the_same_is_started_again_and_left_alone() {
    let bench = Bench::new().await;
    bench.boards.identify(A, None);
    bench.boards.plug("/dev/before", board(8));
    bench.boards.identify("/dev/before", None);
    bench.app.usb_look().await.unwrap();
    let plan = bench.connect_and_plan(A, 8).await;
    bench.boards.after(A, 3, |boards| {
        boards.unplug(A);
        boards.plug("/dev/other", board(9));
        boards.identify("/dev/other", None);
    });
    let job = bench.app.usb_carry_out(A, plan).await.unwrap();
    bench.becomes(A, UsbActivity::Unplugged).await;
    let asked = async {
        while bench.boards.starts("/dev/other") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, asked).await.expect("it is asked");
    bench.becomes("/dev/other", UsbActivity::Idle).await;
    assert_eq!(bench.port(A).activity, UsbActivity::Unplugged);
    bench.boards.replug(A, MOVED);
    let job = bench.wait(A, job).await;
    assert_eq!(job.end, Some(UsbEnd::Done), "{job:?}");
    assert_eq!(bench.written(MOVED).len(), 8);
    assert!(bench.written("/dev/other").is_empty());
    assert_eq!(bench.boards.starts("/dev/other"), 1, "asked once");
    assert_eq!(bench.boards.starts("/dev/before"), 0, "never asked");
    assert_eq!(bench.port("/dev/other").board, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_board_on_the_port_gets_nothing() {
    let bench = Bench::new().await;
    let plan = bench.connect_and_plan(A, 8).await;
    bench.boards.after(A, 3, |boards| {
        boards.unplug(A);
        boards.plug(A, board(9));
    });
    let job = bench.carry_out(A, plan).await;
    assert_eq!(failed(&job), "wrong_board");
    assert!(bench.written(A).is_empty(), "the other one");
    assert_eq!(bench.port(A).activity, UsbActivity::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_between_sectors_and_while_its_board_is_away() {
    let bench = Bench::new().await;
    let plan = bench.connect_and_plan(A, 8).await;
    let app = bench.app.clone();
    bench
        .boards
        .after(A, 3, move |_| app.shared.usb.lane(A).cancel());
    let job = bench.carry_out(A, plan).await;
    assert_eq!((job.end, &job.error), (Some(UsbEnd::Cancelled), &None));
    assert_eq!(bench.written(A).len(), 3);
    assert_eq!(
        bench.port(A).activity,
        UsbActivity::Connected,
        "still there"
    );

    let plan = bench.plan(A, 8).await.id;
    bench.boards.after(A, 5, |boards| boards.unplug(A));
    let job = bench.app.usb_carry_out(A, plan).await.unwrap();
    bench.becomes(A, UsbActivity::Unplugged).await;
    bench.app.usb_cancel(A).await.unwrap();
    assert_eq!(bench.wait(A, job).await.end, Some(UsbEnd::Cancelled));
    assert_eq!(bench.port(A).activity, UsbActivity::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_fails_stops_no_other() {
    let bench = Bench::new().await;
    let (a, b) = (
        bench.connect_and_plan(A, 4).await,
        bench.connect_and_plan(B, 4).await,
    );
    bench.boards.break_sector(A, 0x10_1000);
    let a = bench.app.usb_carry_out(A, a).await.unwrap();
    let b = bench.app.usb_carry_out(B, b).await.unwrap();
    let (a, b) = tokio::join!(bench.wait(A, a), bench.wait(B, b));
    assert_eq!(failed(&a), "bad_flash");
    assert_eq!(b.end, Some(UsbEnd::Done));
    let path = bench.dir.path().join("records.csv");
    bench
        .app
        .usb_export_records(&path.to_string_lossy())
        .await
        .unwrap();
    let csv = std::fs::read_to_string(path).unwrap();
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.contains(",failed,bad_flash"), "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_stays_with_its_board() {
    let bench = Bench::new().await;
    bench
        .app
        .usb_label(A, Some(" rack 3 ".into()))
        .await
        .unwrap();
    bench.app.usb_connect(A).await.unwrap();
    bench.app.usb_disconnect(A).await.unwrap();
    // The same board, plugged in elsewhere.
    bench.boards.unplug(A);
    bench.boards.plug("/dev/c", board(1));
    bench.app.usb_look().await.unwrap();
    let port = bench.app.usb_connect("/dev/c").await.unwrap();
    assert_eq!(port.label.as_deref(), Some("rack 3"));
    let long = bench.app.usb_label(A, Some("x".repeat(65))).await;
    assert_eq!(long.unwrap_err().code(), ErrorCode::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_is_locked_is_connected_and_left_alone() {
    let bench = Bench::new().await;
    let mut locked = board(7);
    locked.security.secure_boot = true;
    bench.boards.plug("/dev/locked", locked);
    bench.app.usb_look().await.unwrap();
    let port = bench.app.usb_connect("/dev/locked").await.unwrap();
    assert_eq!(port.board.unwrap().refused.unwrap().code, "secured");
    assert_eq!(port.diagnosis, None);
    let plan = bench.app.usb_plan_repair("/dev/locked", "smallest").await;
    assert_eq!(plan.unwrap_err().code(), ErrorCode::Secured);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_board_that_is_unplugged_says_so() {
    let bench = Bench::new().await;
    bench.app.usb_connect(A).await.unwrap();
    bench.boards.unplug(A);
    bench.app.usb_look().await.unwrap();
    let port = bench.port(A);
    assert_eq!((port.activity, port.present), (UsbActivity::Idle, false));
    assert_eq!(port.error.unwrap().code, "unplugged");
    let plan = bench.app.usb_plan_repair(A, "smallest").await;
    assert_eq!(plan.unwrap_err().code(), ErrorCode::NotConnected);
}

#[test]
fn records_are_lines_and_a_label_is_no_formula() {
    let record = |time, label: &str| UsbRecord {
        time,
        port: "COM3".into(),
        serial_number: None,
        chip: "esp32c3".into(),
        mac: Some("7c:df:a1:b2:c3:d4".into()),
        label: Some(label.into()),
        kind: UsbJobKind::Flash,
        what: "demo 1.1.0".into(),
        bytes: 8192,
        end: UsbEnd::Done,
        code: None,
    };
    let newest_first = [record(2.0, "=cmd|' /C calc'!A0"), record(1.0, "a, b")];
    assert_eq!(
        to_csv(&newest_first),
        "time,port,serial_number,chip,mac,label,kind,what,bytes,end,code\r\n\
         1,COM3,,esp32c3,7c:df:a1:b2:c3:d4,\"a, b\",flash,demo 1.1.0,8192,done,\r\n\
         2,COM3,,esp32c3,7c:df:a1:b2:c3:d4,'=cmd|' /C calc'!A0,flash,demo 1.1.0,8192,done,\r\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_board_trusts_the_keys_of_this_computer_and_an_offline_one_is_the_root() {
    let bench = Bench::new().await;
    let shared = &bench.app.shared;
    let none = shared.keys_for_board(&[]).unwrap_err();
    assert_eq!(none.code(), ErrorCode::NoTrust);
    let release = bench.app.new_key("release", None).await.unwrap().id;
    let ids = |set: airlift_wire::KeySet| {
        let keys = set.release_keys().iter().map(|key| key.id().to_string());
        (set.root.id().to_string(), keys.collect::<Vec<_>>())
    };
    let both = (release.clone(), vec![release.clone()]);
    assert_eq!(ids(shared.keys_for_board(&[]).unwrap()), both);
    let form = crate::dto::NewOfflineKey {
        name: "stick".into(),
        path: bench
            .dir
            .path()
            .join("stick.pem")
            .to_string_lossy()
            .into_owned(),
        passphrase: "correct horse".into(),
    };
    let root = bench.app.new_offline_key(form).await.unwrap().id;
    let set = shared.keys_for_board(&[]).unwrap();
    assert_eq!(ids(set), (root.clone(), vec![release.clone()]));
    // Named ones are taken as they are named, the root first.
    let named = shared.keys_for_board(&[release.clone(), root.clone()]);
    assert_eq!(ids(named.unwrap()), (release, vec![root]));
    let unknown = shared.keys_for_board(&["0000000000000000".into()]);
    assert_eq!(unknown.unwrap_err().code(), ErrorCode::BadKey);
}
