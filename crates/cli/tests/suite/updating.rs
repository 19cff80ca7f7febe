//! `airlift update`, `devices`, `history` and `simulate`, on virtual devices.
//!
//! Devices are named by id or address, listen on loopback, and nobody announces or browses.

use crate::support::{Desk, Run, Running};
use serde_json::Value;

/// Virtual devices that run 1.0.0 of a product of their own, and a desk that can update them.
struct Fleet {
    desk: Desk,
    product: &'static str,
    simulation: Running,
    devices: Vec<Value>,
}

impl Fleet {
    fn new(product: &'static str, count: usize, faults: &'static str) -> Self {
        let desk = releases(product);
        let (simulation, devices) = simulate(&desk, product, count, faults);
        Self {
            desk,
            product,
            simulation,
            devices,
        }
    }

    fn id(&self, n: usize) -> &str {
        text(&self.devices[n], "id")
    }

    fn address(&self, n: usize) -> &str {
        text(&self.devices[n], "address")
    }

    /// The words that name every device, by its address.
    fn all(&self) -> String {
        let name = |n| format!("--device {}", self.address(n));
        let names: Vec<_> = (0..self.devices.len()).map(name).collect();
        names.join(" ")
    }

    fn update(&self, release: &str, devices: &str) -> Run {
        self.desk
            .run(&format!("update {release} {devices} --no-mdns --json"))
    }

    /// The last words on each job, by device.
    fn ended<'a>(&self, ends: &[&'a str]) -> Vec<(&str, &'a str)> {
        let ended = ends.iter().enumerate().map(|(n, end)| (self.id(n), *end));
        sorted(ended.collect())
    }

    /// What the devices say, once all of them are online and as wanted. A command looks for a time
    /// and no longer, so this asks it again.
    #[track_caller]
    fn say(&self, what: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        for _ in 0..50 {
            let look = "devices --no-mdns --json --wait 0.2";
            seen = self.desk.run(look).succeeded().json();
            let online = |device: &Value| device["online"] == true && what(device);
            if seen.len() == self.devices.len() && seen.iter().all(online) {
                return seen;
            }
        }
        panic!("never as wanted: {seen:?}");
    }

    #[track_caller]
    fn all_run(&self, version: &str, slot: &str) {
        self.say(|device| device["version"] == version && device["slot"] == slot);
    }

    fn history(&self) -> Vec<Value> {
        self.desk.run("history --json").succeeded().json()
    }

    /// Chunks of both parts of 1.1.0.
    fn chunks(&self) -> u64 {
        let release = self.desk.run("inspect 1.1.0.airlift --json").succeeded();
        let release = release.json().remove(0);
        number(&release["app"], "chunks") + number(&release["files"], "chunks")
    }
}

/// A key that is trusted, and 1.0.0 and 1.1.0 of a product.
fn releases(product: &str) -> Desk {
    let desk = Desk::with_key();
    desk.run("key trust key.pub.pem").succeeded();
    for (version, sequence) in [("1.0.0", 1), ("1.1.0", 2)] {
        desk.run(&format!(
            "pack --product {product} --sequence {sequence} --app @demo-{version}.bin \
             --files @files/{version} --key key.pem -o {version}.airlift"
        ))
        .succeeded();
    }
    desk
}

fn simulate(desk: &Desk, product: &str, count: usize, faults: &str) -> (Running, Vec<Value>) {
    let mut running = desk.start(&format!(
        "simulate --dir devices --count {count} --product {product} --trust key.pub.pem \
         --installed 1.0.0.airlift --no-mdns --json {faults}"
    ));
    let lines = (0..count).map(|_| running.json_line()).collect();
    (running, lines)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_default()
}

fn jobs(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "job").collect()
}

fn ends(lines: &[Value]) -> Vec<(&str, &str)> {
    let jobs = jobs(lines).into_iter();
    sorted(
        jobs.map(|job| (text(job, "device"), text(job, "end")))
            .collect(),
    )
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

#[test]
fn an_update_ends_with_every_device_on_the_new_version() {
    let fleet = Fleet::new("cli-update-two", 2, "");
    // The first one twice, by address and by id.
    let first = format!("--device {}", fleet.address(0));
    let run = fleet.update("1.1.0.airlift", &format!("{} {first}", fleet.all()));
    let lines = run.succeeded().json();
    for line in &lines {
        assert!(line["schema"] == 1 && line["device"].is_string(), "{line}");
    }
    assert_eq!(lines[0]["event"], "started", "first come the devices' own");
    assert_eq!(ends(&lines), fleet.ended(&["done", "done"]));
    let chunks = fleet.chunks();
    for job in jobs(&lines) {
        assert_eq!((number(job, "kept"), number(job, "fetched")), (0, chunks));
        let versions = ["from_version", "to_version"].map(|field| text(job, field));
        assert_eq!(versions, ["1.0.0", "1.1.0"]);
        assert_eq!((&job["code"], &job["help"]), (&Value::Null, &Value::Null));
    }
    for device in fleet.say(|device| device["version"] == "1.1.0") {
        let what = ["product", "chip", "slot"].map(|field| text(&device, field));
        assert_eq!(what, [fleet.product, "esp32c3", "ota_0"]);
        assert_eq!(device["schema"], 1);
    }
    let history = fleet.history();
    assert_eq!(history.len(), 2);
    for row in &history {
        assert!(row["end"] == "done" && row["schema"] == 1, "{row}");
        assert!(row["ended"].as_f64() >= row["started"].as_f64(), "{row}");
    }
}

#[test]
fn people_read_sentences_and_a_count() {
    let fleet = Fleet::new("cli-update-text", 1, "");
    let update = format!("update 1.1.0.airlift {} --no-mdns", fleet.all());
    let out = fleet.desk.run(&update).succeeded().out;
    assert!(out.contains("kitchen: Sending the app.\n"), "{out}");
    assert!(
        out.contains("kitchen: done. Running 1.1.0 from ota_0"),
        "{out}"
    );
    let last = format!(
        "1 of 1 devices updated, {} chunks verified\n",
        fleet.chunks()
    );
    assert!(out.ends_with(&last), "{out}");
    let out = fleet.desk.run(&update).succeeded().out;
    assert!(out.contains("kitchen: done. Already runs 1.1.0."), "{out}");

    let table = fleet.desk.run("devices --no-mdns --wait 0").succeeded().out;
    let rows: Vec<_> = table.lines().collect();
    assert!(
        rows[0].starts_with("NAME") && rows[1].starts_with("kitchen"),
        "{table}"
    );
    let history = fleet.desk.run("history").succeeded().out;
    assert_eq!(history.lines().count(), 3, "{history}");
}

#[test]
fn a_release_that_does_not_fit_is_exit_3_and_nothing_is_fetched() {
    let fleet = Fleet::new("cli-update-misfit", 1, "");
    fleet.update("1.1.0.airlift", &fleet.all()).succeeded();
    fleet.desk.pack("other.airlift", 9, "").succeeded();
    for (release, code) in [
        ("1.0.0.airlift", "lower_sequence"),
        ("other.airlift", "wrong_product"),
    ] {
        let run = fleet.update(release, &fleet.all());
        assert_eq!(run.code, 3, "{run:?}");
        let lines = run.json();
        let [job] = &lines[..] else {
            panic!("one line: {run:?}")
        };
        assert_eq!([text(job, "end"), text(job, "code")], ["failed", code]);
        assert_eq!(number(job, "fetched"), 0);
    }
    // Signed by somebody else: refused before any device is asked.
    fleet.desk.run("key new stranger.pem").succeeded();
    let resign = "resign 1.1.0.airlift --sequence 9 --key stranger.pem -o strange.airlift";
    fleet.desk.run(resign).succeeded();
    let run = fleet.update("strange.airlift", &fleet.all());
    assert_eq!((run.code, run.out.as_str()), (3, ""));
    assert!(run.err.contains("unknown_key"), "{run:?}");
    fleet.all_run("1.1.0", "ota_0");
}

#[test]
fn a_release_that_never_confirms_is_exit_5_and_said_to_be_rolled_back() {
    let faults = "--never-confirms 1.1.0 --confirm-within 1";
    let fleet = Fleet::new("cli-update-never", 1, faults);
    let run = fleet.update("1.1.0.airlift", &fleet.all());
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(ends(&run.json()), fleet.ended(&["rolled_back"]));
    fleet.all_run("1.0.0", "factory");

    // Without --retry it is not taken a second time.
    let run = fleet.update("1.1.0.airlift", &fleet.all());
    assert_eq!(run.code, 5, "{run:?}");
    let lines = run.json();
    assert_eq!(text(jobs(&lines)[0], "code"), "rolled_back_before");
    let retry = format!("{} --retry", fleet.all());
    let run = fleet.update("1.1.0.airlift", &retry);
    assert_eq!(ends(&run.json()), fleet.ended(&["rolled_back"]), "{run:?}");
}

#[test]
fn chunks_that_arrive_damaged_are_refused_counted_and_fetched_again() {
    let fleet = Fleet::new("cli-update-flips", 1, "--flips 5");
    let run = fleet.update("1.1.0.airlift", &fleet.all()).succeeded();
    let lines = run.json();
    let refused = lines
        .iter()
        .filter(|line| line["state"] == "refused")
        .count();
    let job = jobs(&lines)[0];
    assert!(refused > 0, "the fault did not show: {job}");
    assert_eq!(number(job, "refused"), refused as u64);
    assert_eq!(number(job, "fetched"), fleet.chunks());
    fleet.all_run("1.1.0", "ota_0");
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_and_the_next_update_keeps_what_is_there() {
    let fleet = Fleet::new("cli-update-cancel", 1, "--rate 100000");
    let line = format!("update 1.1.0.airlift {} --no-mdns --json", fleet.all());
    let mut update = fleet.desk.start(&line);
    let mut written = 0;
    while written < 8 {
        written += u64::from(update.json_line()["state"] == "read_back");
    }
    update.interrupt();
    let run = update.end();
    assert_eq!(run.code, 6, "{run:?}");
    assert_eq!(ends(&run.json()), fleet.ended(&["cancelled"]));
    fleet.all_run("1.0.0", "factory");

    let run = fleet.desk.run(&line).succeeded();
    let lines = run.json();
    let job = jobs(&lines)[0];
    let (kept, fetched) = (number(job, "kept"), number(job, "fetched"));
    assert!(kept >= written, "{job}");
    assert_eq!(kept + fetched, fleet.chunks(), "{job}");
}

#[test]
fn an_update_that_was_killed_is_continued_by_the_next_as_the_same_job() {
    let fleet = Fleet::new("cli-update-killed", 1, "--rate 100000");
    let line = format!("update 1.1.0.airlift {} --no-mdns --json", fleet.all());
    let mut update = fleet.desk.start(&line);
    while update.json_line()["state"] != "read_back" {}
    update.kill();
    let history = fleet.desk.run("history").succeeded().out;
    assert!(
        history.contains("interrupted") && history.contains("update it again"),
        "{history}"
    );
    let row = fleet.history().remove(0);
    assert_eq!(
        (&row["end"], text(&row, "code")),
        (&Value::Null, "connection_lost")
    );
    let run = fleet.desk.run(&line).succeeded();
    let lines = run.json();
    assert_eq!(jobs(&lines)[0]["job"], 1);
    let history = fleet.history();
    assert_eq!(history.len(), 1, "{history:?}");
}

#[test]
fn a_device_that_is_not_there_is_exit_4() {
    let desk = releases("cli-update-nobody");
    let update = |devices: &str| {
        desk.run(&format!(
            "update 1.1.0.airlift {devices} --no-mdns --wait 0"
        ))
    };
    update("--device c3-000000000000").refused(4, "no_such_device");
    // Port 1 on loopback: nobody listens there.
    update("--device 127.0.0.1:1").refused(4, "no_such_device");
    update("--all").refused(4, "no_such_device");
    let run = desk.run("update nothing.airlift --all --no-mdns --wait 0");
    run.refused(1, "io");
}

#[test]
fn all_is_every_device_that_is_not_there_yet() {
    let fleet = Fleet::new("cli-update-all", 2, "");
    fleet.update("1.1.0.airlift", &fleet.all()).succeeded();
    fleet.say(|_| true);
    let run = fleet.update("1.1.0.airlift", "--all --wait 2").succeeded();
    assert_eq!(run.out, "", "both are there already");

    let resign = "resign 1.0.0.airlift --sequence 3 --key key.pem -o back.airlift";
    fleet.desk.run(resign).succeeded();
    let by_id = format!("--device {}", fleet.id(1));
    fleet.update("back.airlift", &by_id).succeeded();
    let lines = fleet
        .update("back.airlift", "--all --wait 2")
        .succeeded()
        .json();
    assert_eq!(ends(&lines), [(fleet.id(0), "done")]);
    fleet.all_run("1.0.0", "ota_1");
}

#[test]
fn two_commands_share_one_home() {
    let fleet = Fleet::new("cli-update-shared", 2, "");
    let update = |n| {
        let address = fleet.address(n);
        let line = format!("update 1.1.0.airlift --device {address} --no-mdns --json");
        (n, fleet.desk.start(&line))
    };
    for (n, running) in [update(0), update(1)] {
        let run = running.end().succeeded();
        assert_eq!(ends(&run.json()), [(fleet.id(n), "done")]);
    }
    let history = fleet.history();
    assert_eq!(history.len(), 2, "{history:?}");
}

#[cfg(unix)]
#[test]
fn simulated_devices_keep_id_port_and_software() {
    let mut fleet = Fleet::new("cli-simulate", 2, "");
    fleet.update("1.1.0.airlift", &fleet.all()).succeeded();
    fleet.simulation.interrupt();
    fleet.simulation.wait().succeeded();
    let (simulation, after) = simulate(&fleet.desk, fleet.product, 2, "");
    fleet.simulation = simulation;
    assert_eq!(fleet.devices, after);
    fleet.all_run("1.1.0", "ota_0");
}

#[test]
fn simulate_refuses_what_devices_cannot_run() {
    let desk = releases("cli-simulate-bad");
    let simulate = |more: &str| desk.run(&format!("simulate --dir devices --no-mdns {more}"));
    simulate("--trust nothing.pem").refused(1, "io");
    desk.write("app.bin", "not an image");
    simulate("--trust key.pub.pem --app app.bin").refused(3, "bad_image");
    desk.run("key new other.pem").succeeded();
    simulate("--trust other.pub.pem --installed 1.0.0.airlift").refused(3, "unknown_key");
    assert!(!desk.exists("devices"));
}

#[test]
fn the_demo_updates_two_devices_and_proves_it() {
    let desk = Desk::new();
    let run = desk.run("demo").succeeded();
    let last = run.out.lines().last().unwrap_or_default();
    assert!(last.starts_with("2 of 2 devices updated, "), "{}", run.out);
    assert!(last.ends_with(" chunks verified"), "{}", run.out);
    assert!(!desk.exists("home"), "it has a home of its own");
}

#[test]
fn without_history_and_devices_people_are_told_so_and_scripts_read_nothing() {
    let desk = Desk::new();
    assert_eq!(desk.run("history --json").succeeded().out, "");
    let history = desk.run("history").succeeded().out;
    assert!(history.starts_with("No update"), "{history}");
    assert_eq!(
        desk.run("devices --no-mdns --wait 0 --json")
            .succeeded()
            .out,
        ""
    );
    let devices = desk.run("devices --no-mdns --wait 0").succeeded().out;
    assert!(devices.starts_with("No device"), "{devices}");
}
