//! `airlift usb`, on boards that are pseudo-terminals.

use crate::support::{Desk, Run, Running as Program};
use airlift_rom_loader::flash::Kind;
use airlift_rom_loader::{
    Application, Config, Faults, Improv, Mode, Operation, RomLoader, Running as Board, Timing,
};
use airlift_virtual_device::boot::{Bootloader, boot};
use airlift_virtual_device::nor::{NorFlash, SharedNor};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Chip id of an ESP32-C3.
const C3: u16 = 5;
const SECTOR: u32 = 4096;
/// Where the default layout for 4 MiB has otadata.
const OTADATA: u32 = 0xD000;

/// A desk with a key that is trusted, two releases, and a board.
pub struct Bench {
    pub desk: Desk,
    pub board: Board,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let desk = Desk::with_key();
        desk.run("key trust key.pub.pem").succeeded();
        desk.pack("old.airlift", 1, "--version 1.0.0").succeeded();
        let board = RomLoader::start(config).expect("a terminal");
        Self { desk, board }
    }

    /// One with release `p 1.0.0` on it.
    pub fn flashed() -> Self {
        let bench = Self::new();
        bench.usb("flash old.airlift").succeeded();
        bench.board.take_journal();
        bench
    }

    /// Another board in its place, with nothing on it.
    pub fn plug_in_another(&mut self) {
        self.board = RomLoader::start(Config::default()).expect("a terminal");
    }

    fn port(&self) -> String {
        self.board.path().to_string_lossy().into_owned()
    }

    fn line(&self, rest: &str) -> String {
        let (command, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        format!("usb {command} --port {} {rest}", self.port())
    }

    /// Somebody holds BOOT and presses RESET, then runs `airlift usb`.
    pub fn usb(&self, rest: &str) -> Run {
        self.board.reset(Mode::Download);
        self.desk.run(&self.line(rest))
    }

    fn start(&self, rest: &str) -> Program {
        self.board.reset(Mode::Download);
        self.desk.start(&self.line(rest))
    }

    /// Which slot ESP-IDF's bootloader starts.
    pub fn boots(&self) -> Option<String> {
        let nor = NorFlash::from_image(self.board.snapshot()).expect("flash");
        let slot = boot(&SharedNor::new(nor), Bootloader::Plain, C3);
        slot.ok().map(|slot| slot.name().to_owned())
    }

    pub fn changes(&self) -> Vec<Operation> {
        let journal = self.board.take_journal().into_iter();
        journal
            .filter(|o| matches!(o.kind, Kind::Erase | Kind::Write))
            .collect()
    }
}

pub fn only(run: &Run) -> Value {
    let mut lines = run.json();
    assert_eq!(lines.len(), 1, "{run:?}");
    lines.remove(0)
}

pub fn event<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["event"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

#[test]
fn ports_are_listed_and_the_only_board_is_meant() {
    let bench = Bench::new();
    let port = bench.port();
    let variables = [("AIRLIFT_USB_PORTS", port.as_str())];
    let list = bench
        .desk
        .run_with("usb list --json", &variables)
        .succeeded();
    let lines = list.json();
    let line = lines.iter().find(|line| line["port"] == port.as_str());
    let line = line.expect("it is listed");
    assert_eq!((&line["schema"], &line["code"]), (&1.into(), &Value::Null));
    let info = bench
        .desk
        .run_with("usb info --json", &variables)
        .succeeded();
    let info = only(&info);
    assert_eq!(info["port"], port.as_str());
    assert_eq!(
        (&info["chip"], &info["mac"]),
        (&"esp32c3".into(), &"7c:df:a1:00:00:01".into())
    );
    assert_eq!(info["flash_size"], 4 << 20);
    assert_eq!(info["device_id"], "c3-7cdfa1000001");
}

#[test]
fn without_a_board_or_with_two_it_says_so() {
    let desk = Desk::new();
    let gone = desk.path("no-such-port");
    let line = format!("usb info --port {}", gone.display());
    desk.run(&line).refused(4, "no_such_port");
    let (a, b) = (Bench::new(), Bench::new());
    let both = format!("{}:{}", a.port(), b.port());
    let run = desk.run_with("usb info", &[("AIRLIFT_USB_PORTS", &both)]);
    assert!(
        run.err.contains(&a.port()) && run.err.contains(&b.port()),
        "{run:?}"
    );
    run.refused(2, "usage");
}

#[test]
fn a_blank_board_is_said_to_be_blank_and_nothing_is_written() {
    let bench = Bench::new();
    let run = bench.usb("diagnose --json");
    assert_eq!(run.code, 5, "{run:?}");
    let found = only(&run);
    assert_eq!(
        (&found["code"], &found["verdict"]),
        (&"blank_flash".into(), &"foreign".into())
    );
    assert_eq!(found["complete"], true);
    assert!(bench.changes().is_empty());
    let text = bench.usb("diagnose");
    assert!(text.out.contains("[blank_flash]"), "{text:?}");
}

#[test]
fn a_release_is_flashed_and_the_board_starts_it() {
    let bench = Bench::new();
    let run = bench
        .usb("flash old.airlift --name porch --label rack-3 --json")
        .succeeded();
    let lines = run.json();
    assert_eq!(event(&lines, "plan")["kind"], "flash");
    let job = event(&lines, "job");
    assert_eq!(job["end"], "done", "{job}");
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
    let healthy = bench.usb("diagnose --json").succeeded();
    let healthy = only(&healthy);
    assert_eq!(
        (&healthy["code"], &healthy["boots"]),
        (&"healthy".into(), &"ota_0".into())
    );
    assert_eq!(
        (&healthy["product"], &healthy["name"]),
        (&"p".into(), &"porch".into())
    );
    let keys = bench.desk.run("key list --json").succeeded().json();
    assert_eq!(healthy["trusts"][0], keys[0]["id"]);
    // The same again is nothing to write.
    bench.board.take_journal();
    let again = bench
        .usb("flash old.airlift --name porch --json")
        .succeeded();
    let summary = event(&again.json(), "job")["summary"].to_string();
    assert!(
        summary.contains("Everything was right already."),
        "{summary}"
    );
    assert!(bench.changes().is_empty());
    let records = bench.desk.run("usb records --json").succeeded().json();
    assert_eq!(records.len(), 2);
    let first = &records[1];
    assert_eq!(
        (&first["what"], &first["end"]),
        (&"p 1.0.0".into(), &"done".into())
    );
    assert_eq!(
        (&first["label"], &first["mac"]),
        (&"rack-3".into(), &"7c:df:a1:00:00:01".into())
    );
    bench.desk.run("usb records --csv out.csv").succeeded();
    let csv = String::from_utf8(bench.desk.read("out.csv")).expect("text");
    assert!(csv.contains(",rack-3,flash,p 1.0.0,"), "{csv}");
}

#[test]
fn a_repair_of_otadata_writes_8_kib_and_nothing_else_and_can_be_taken_back() {
    let bench = Bench::flashed();
    let good = bench.board.snapshot();
    let damage = [0x5A; 2 * SECTOR as usize];
    assert!(bench.board.put(OTADATA, &damage));
    let damaged = bench.board.snapshot();
    let plan = bench.usb("repair --plan").succeeded();
    assert!(plan.out.contains("otadata, 8192 B from 0xd000"), "{plan:?}");
    assert!(bench.changes().is_empty());

    let run = bench.usb("repair --yes --json").succeeded();
    let lines = run.json();
    assert_eq!(event(&lines, "plan")["bytes"], 8192);
    let job = event(&lines, "job");
    assert_eq!(job["end"], "done", "{job}");
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
    let mut outside = bench.board.snapshot();
    let otadata = OTADATA as usize..(OTADATA + 2 * SECTOR) as usize;
    outside[otadata.clone()].copy_from_slice(&good[otadata.clone()]);
    assert!(outside == good, "nothing else has changed");
    for operation in bench.changes() {
        let end = operation.offset + operation.length;
        let inside = operation.offset >= OTADATA && end <= OTADATA + 2 * SECTOR;
        assert!(inside, "{operation:?}");
    }

    let backups = bench.desk.run("usb backups --json").succeeded().json();
    assert_eq!((backups.len(), &backups[0]["bytes"]), (1, &8192.into()));
    let id = backups[0]["id"].as_str().expect("an id");
    assert_eq!(job["backup"], id);
    bench.usb(&format!("restore {id} --yes")).succeeded();
    assert!(bench.board.snapshot() == damaged, "as it was");
}

#[test]
fn a_backup_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::flashed();
    assert!(bench.board.put(OTADATA, &[0x5A; 64]));
    bench.usb("repair --yes").succeeded();
    let backups = std::fs::read_dir(bench.desk.path("home/backups")).expect("a folder");
    let files: Vec<_> = backups.map(|file| file.expect("a file")).collect();
    assert_eq!(files.len(), 1);
    let mode = files[0].metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_repair_asks_on_a_terminal_only_and_a_healthy_board_needs_none() {
    let bench = Bench::flashed();
    let healthy = bench.usb("repair --json").succeeded();
    assert_eq!(event(&healthy.json(), "plan")["bytes"], 0);
    assert!(bench.board.put(OTADATA, &[0x5A; 64]));
    let run = bench.usb("repair");
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.err.contains("--yes"), "{run:?}");
    assert!(bench.changes().is_empty());
}

#[test]
fn a_board_that_nothing_known_mends_says_what_would() {
    let bench = Bench::new();
    let run = bench.usb("repair --yes --json");
    assert_eq!(run.code, 5, "{run:?}");
    let lines = run.json();
    let blocked = &event(&lines, "plan")["blocked"];
    assert_eq!(blocked["code"], "no_trust");
    let help = blocked["help"].as_str().expect("text");
    assert!(help.contains("airlift usb flash"), "{help}");
    assert!(bench.changes().is_empty());
}

#[test]
fn files_go_to_their_offsets() {
    let bench = Bench::new();
    bench.desk.write("a.bin", [0x11; 5000]);
    bench.desk.write("b.bin", [0x22; 16]);
    bench.usb("flash 0x200000=a.bin 0x300000=b.bin").succeeded();
    let flash = bench.board.snapshot();
    assert_eq!(flash[0x20_0000..0x20_1388], [0x11; 5000]);
    assert_eq!(
        (flash[0x20_1388], flash[0x30_0000], flash[0x30_0010]),
        (0xFF, 0x22, 0xFF)
    );
    let odd = bench.usb("flash 0x200001=a.bin");
    odd.refused(2, "usage");
    let mixed = bench.usb("flash a.bin 0x0=b.bin");
    mixed.refused(2, "usage");
}

#[test]
fn several_boards_are_written_at_once_and_one_that_fails_stops_no_other() {
    let bench = Bench::new();
    let faults = Faults::rule("bad_sector=0x20000").expect("a rule");
    let mac = [2, 0, 0, 0, 0, 9];
    let bad = RomLoader::start(Config {
        faults,
        mac,
        ..Config::default()
    });
    let bad = bad.expect("a terminal");
    let other = bad.path().to_string_lossy().into_owned();
    let line = format!("flash old.airlift --port {other} --label left --label right --json");
    let run = bench.usb(&line);
    assert_eq!(run.code, 5, "{run:?}");
    let lines = run.json();
    let job = |port: &str| {
        let mut jobs = lines.iter().filter(|line| line["event"] == "job");
        jobs.find(|line| line["port"] == port)
            .expect("it has ended")
    };
    assert_eq!(job(&bench.port())["end"], "done");
    let failed = job(&other);
    assert_eq!(
        (&failed["end"], &failed["error"]["code"]),
        (&"failed".into(), &"bad_flash".into())
    );
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
    let records = bench.desk.run("usb records --json").succeeded().json();
    let mut labels: Vec<_> = records.iter().map(|r| r["label"].to_string()).collect();
    labels.sort();
    assert_eq!(labels, ["\"left\"", "\"right\""]);
}

/// A board that takes as long as one does, so that there is time to do something to it.
fn slow() -> Bench {
    Bench::with(Config {
        timing: Some(Timing::TYPICAL),
        ..Config::default()
    })
}

/// Waits until the program has noticed that the board is gone.
fn until_unplugged(program: &mut Program) {
    loop {
        let line = program.json_line();
        if line["event"] == "waiting" {
            assert_eq!(line["code"], "unplugged");
            return;
        }
    }
}

/// Waits until the board is being written to.
fn until_writing(program: &mut Program) {
    while program.json_line()["phase"] != "write" {}
}

#[test]
fn ctrl_c_ends_a_flash_and_the_next_one_goes_on() {
    let bench = slow();
    let mut program = bench.start("flash old.airlift --json");
    until_writing(&mut program);
    program.interrupt();
    let run = program.end();
    assert_eq!(run.code, 6, "{run:?}");
    assert_eq!(event(&run.json(), "job")["end"], "cancelled");
    let run = bench.usb("flash old.airlift --json").succeeded();
    let lines = run.json();
    let job = event(&lines, "job");
    assert_eq!(job["end"], "done");
    assert!(job["skipped"].as_u64() > Some(0), "{job}");
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
}

#[test]
fn an_unplugged_board_is_waited_for_and_the_job_goes_on() {
    let bench = slow();
    let mut program = bench.start("flash old.airlift --json");
    until_writing(&mut program);
    bench.board.unplug();
    until_unplugged(&mut program);
    bench.board.reset(Mode::Download);
    bench.board.plug();
    let run = program.end();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(event(&run.json(), "job")["end"], "done");
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
}

#[test]
fn another_board_in_its_place_gets_nothing() {
    let link = tempfile::tempdir().expect("a folder");
    let link = link.path().join("port");
    let config = |mac: u8| Config {
        timing: Some(Timing::TYPICAL),
        link: Some(link.clone()),
        mac: [2, 0, 0, 0, 0, mac],
        ..Config::default()
    };
    let bench = Bench::with(config(1));
    let mut program = bench.start("flash old.airlift --json");
    until_writing(&mut program);
    let Bench { desk, board } = bench;
    drop(board);
    until_unplugged(&mut program);
    let other = RomLoader::start(config(2)).expect("a terminal");
    let run = program.end();
    assert_eq!(run.code, 5, "{run:?}");
    let lines = run.json();
    assert_eq!(event(&lines, "job")["error"]["code"], "wrong_board");
    assert!(other.snapshot().iter().all(|byte| *byte == 0xFF));
    drop(desk);
}

#[test]
fn the_log_of_a_board_is_shown_and_saved() {
    let bench = Bench::flashed();
    bench.board.reset(Mode::Application);
    let save = bench.desk.path("board.log");
    let line = bench.line(&format!("monitor --json --save {}", save.display()));
    let mut program = bench.desk.start(&line);
    let mut seen = Vec::new();
    // It listens at some time; until then nobody hears what the board says.
    for _ in 0..100 {
        bench.board.print("panicked at src/main.rs:7");
        std::thread::sleep(Duration::from_millis(50));
        if save_or_line(&mut program, &mut seen) {
            break;
        }
    }
    program.interrupt();
    assert_eq!(program.end().code, 0);
    assert!(seen.iter().any(|line| line["kind"] == "panic"), "{seen:?}");
    let saved = String::from_utf8(bench.desk.read("board.log")).expect("text");
    assert!(saved.contains("panicked at src/main.rs:7\n"), "{saved}");
}

/// Reads a line of the program; the board has printed one, so one comes.
fn save_or_line(program: &mut Program, seen: &mut Vec<Value>) -> bool {
    let line = program.json_line();
    let panic = line["kind"] == "panic";
    seen.push(line);
    panic
}

#[test]
fn a_board_joins_the_network_that_it_is_told_and_no_password_is_said() {
    let improv = Improv {
        firmware: "lamp".into(),
        version: "1.0.0".into(),
        name: "porch".into(),
        url: "http://192.0.2.7/".into(),
        network: ("home".into(), "correct horse".into()),
    };
    let application = Application {
        log: Vec::new(),
        improv: Some(improv),
    };
    let bench = Bench::with(Config {
        application,
        ..Config::default()
    });
    // When it is done, the board starts what was written.
    bench.usb("flash old.airlift").succeeded();
    let line = bench.line("wifi home --password-env WIFI --json");
    let run = bench.desk.run_with(&line, &[("WIFI", "correct horse")]);
    let joined = only(&run.succeeded());
    let (ssid, address) = (&joined["ssid"], joined["address"].as_str());
    assert_eq!((ssid, address), (&"home".into(), Some("http://192.0.2.7/")));
    let run = bench.desk.run_with(&line, &[("WIFI", "wrong")]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(
        run.err.contains("wifi_refused") && !run.err.contains("wrong"),
        "{run:?}"
    );
}

#[test]
fn the_udev_rule_is_printed() {
    let rule = Desk::new().run("usb rule").succeeded().out;
    assert!(rule.contains("303a") && rule.contains("uaccess"), "{rule}");
}

#[test]
fn a_password_is_not_on_the_command_line_and_not_in_what_is_said() {
    let bench = Bench::new();
    let mut command: Command = bench
        .desk
        .command(&bench.line("flash old.airlift --wifi home --password-env WIFI --json"));
    let output = command
        .env("WIFI", "correct horse")
        .env("AIRLIFT_LOG", "trace")
        .output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("correct horse"));
    let flash = bench.board.snapshot();
    assert!(flash.windows(13).any(|bytes| bytes == b"correct horse"));
}
