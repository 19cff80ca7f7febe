//! `airlift update`, `devices`, `history` and `simulate`, on virtual devices.

use crate::support::{Desk, Running, fixture};
use serde_json::Value;

/// Two releases of a product of its own, and its key trusted.
fn desk(product: &str) -> Desk {
    let desk = Desk::with_key();
    desk.run(&["key", "trust", "key.pub.pem"]).succeeded();
    for (version, sequence) in [("1.0.0", "1"), ("1.1.0", "2")] {
        let app = fixture(&format!("demo-{version}.bin"));
        let files = fixture(&format!("files/{version}"));
        let output = format!("{version}.airlift");
        let (app, files) = (app.to_str().expect("UTF-8"), files.to_str().expect("UTF-8"));
        desk.run(&[
            "pack",
            "--product",
            product,
            "--sequence",
            sequence,
            "--app",
            app,
            "--files",
            files,
            "--key",
            "key.pem",
            "-o",
            &output,
        ])
        .succeeded();
    }
    desk
}

/// Starts virtual devices that run 1.0.0 and returns them with their descriptions.
fn simulate(desk: &Desk, product: &str, count: &str, more: &[&str]) -> (Running, Vec<Value>) {
    let mut args = vec![
        "simulate",
        "--dir",
        "devices",
        "--count",
        count,
        "--product",
        product,
    ];
    args.extend([
        "--trust",
        "key.pub.pem",
        "--installed",
        "1.0.0.airlift",
        "--no-mdns",
        "--json",
    ]);
    args.extend(more);
    let mut running = desk.start(&args);
    let count = count.parse().expect("a number");
    let lines = (0..count).map(|_| running.json_line()).collect();
    (running, lines)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The last word on each job.
fn ends(lines: &[Value]) -> Vec<(&str, &str)> {
    let jobs = lines.iter().filter(|line| line["event"] == "job");
    jobs.map(|job| (text(job, "device"), text(job, "end")))
        .collect()
}

/// What the devices say, found without mDNS.
fn devices(desk: &Desk) -> Vec<Value> {
    desk.run(&["devices", "--no-mdns", "--json", "--wait", "1.5"])
        .succeeded()
        .json()
}

#[test]
fn an_update_ends_with_every_device_on_the_new_version() {
    let product = "cli-update-two";
    let desk = desk(product);
    let (_running, two) = simulate(&desk, product, "2", &[]);
    let (first, second) = (text(&two[0], "address"), text(&two[1], "address"));
    let run = desk
        .run(&[
            "update",
            "1.1.0.airlift",
            "--device",
            first,
            "--device",
            second,
            "--device",
            first,
            "--no-mdns",
            "--json",
        ])
        .succeeded();
    let lines = run.json();
    assert!(
        lines
            .iter()
            .all(|line| line["schema"] == 1 && line["device"].is_string())
    );
    assert_eq!(
        lines[0]["event"], "started",
        "the devices' own lines come first"
    );
    let mut ends = ends(&lines);
    ends.sort_unstable();
    let mut wanted = [(text(&two[0], "id"), "done"), (text(&two[1], "id"), "done")];
    wanted.sort_unstable();
    assert_eq!(ends, wanted);
    let job = lines
        .iter()
        .find(|line| line["event"] == "job")
        .expect("a job");
    assert_eq!((&job["kept"], &job["fetched"]), (&0.into(), &58.into()));
    assert_eq!(
        (&job["from_version"], &job["to_version"]),
        (&"1.0.0".into(), &"1.1.0".into())
    );

    let seen = devices(&desk);
    assert_eq!(seen.len(), 2);
    for device in &seen {
        let what = ["product", "version", "slot"].map(|field| text(device, field));
        assert_eq!(what, [product, "1.1.0", "ota_0"]);
        assert_eq!(
            (&device["schema"], &device["online"]),
            (&1.into(), &true.into())
        );
    }
    let history = desk.run(&["history", "--json"]).succeeded().json();
    assert_eq!(history.len(), 2);
    assert!(
        history
            .iter()
            .all(|row| row["end"] == "done" && row["schema"] == 1),
        "{history:?}"
    );
}

#[test]
fn people_read_sentences_and_a_count() {
    let product = "cli-update-text";
    let desk = desk(product);
    let (_running, one) = simulate(&desk, product, "1", &[]);
    let address = text(&one[0], "address");
    let update = |release: &str| {
        desk.run(&["update", release, "--device", address, "--no-mdns"])
            .succeeded()
            .out
    };
    let out = update("1.1.0.airlift");
    assert!(out.contains("kitchen: Sending the app.\n"), "{out}");
    assert!(
        out.contains("kitchen: done. Running 1.1.0 from ota_0"),
        "{out}"
    );
    assert!(
        out.ends_with("1 of 1 devices updated, 58 chunks verified\n"),
        "{out}"
    );
    let again = update("1.1.0.airlift");
    assert!(
        again.contains("kitchen: done. Already runs 1.1.0."),
        "{again}"
    );
    let table = desk
        .run(&["devices", "--no-mdns", "--wait", "1"])
        .succeeded()
        .out;
    let [head, row] = <[&str; 2]>::try_from(table.lines().collect::<Vec<_>>()).expect("a device");
    assert!(
        head.starts_with("NAME") && row.starts_with("kitchen"),
        "{table}"
    );
    let history = desk.run(&["history"]).succeeded().out;
    assert!(
        history
            .lines()
            .nth(1)
            .is_some_and(|row| row.contains("kitchen")),
        "{history}"
    );
}

#[test]
fn a_release_that_does_not_fit_is_exit_3_and_nothing_is_fetched() {
    let product = "cli-update-misfit";
    let desk = desk(product);
    let (_running, one) = simulate(&desk, product, "1", &[]);
    let address = text(&one[0], "address");
    let update = |release: &str| {
        desk.run(&[
            "update",
            release,
            "--device",
            address,
            "--no-mdns",
            "--json",
        ])
    };
    update("1.1.0.airlift").succeeded();
    desk.pack("other.airlift", "9", &[]).succeeded();
    for (release, code) in [
        ("1.0.0.airlift", "lower_sequence"),
        ("other.airlift", "wrong_product"),
    ] {
        let run = update(release);
        assert_eq!(run.code, 3, "{run:?}");
        let lines = run.json();
        let [job] = &lines[..] else {
            panic!("one line: {run:?}")
        };
        assert_eq!(
            (&job["end"], &job["code"]),
            (&"failed".into(), &code.into())
        );
        assert_eq!(job["fetched"], 0);
    }

    // Signed by somebody else: refused before any device is asked.
    desk.run(&["key", "new", "stranger.pem"]).succeeded();
    desk.run(&[
        "resign",
        "1.1.0.airlift",
        "--sequence",
        "9",
        "--key",
        "stranger.pem",
        "-o",
        "strange.airlift",
    ])
    .succeeded();
    let run = desk.run(&[
        "update",
        "strange.airlift",
        "--device",
        address,
        "--no-mdns",
    ]);
    run.refused(3, "unknown_key");
}

#[test]
fn a_release_that_never_confirms_is_exit_5_and_said_to_be_rolled_back() {
    let product = "cli-update-never";
    let desk = desk(product);
    let faults = ["--never-confirms", "1.1.0", "--confirm-within", "1"];
    let (_running, one) = simulate(&desk, product, "1", &faults);
    let (id, address) = (text(&one[0], "id"), text(&one[0], "address"));
    let update = |more: &[&str]| {
        let mut args = vec![
            "update",
            "1.1.0.airlift",
            "--device",
            address,
            "--no-mdns",
            "--json",
        ];
        args.extend(more);
        desk.run(&args)
    };
    let run = update(&[]);
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(ends(&run.json()), [(id, "rolled_back")]);
    let device = devices(&desk).remove(0);
    assert_eq!(
        (&device["version"], &device["slot"]),
        (&"1.0.0".into(), &"factory".into())
    );

    // Without --retry it is not taken a second time.
    let run = update(&[]);
    assert_eq!(run.code, 5, "{run:?}");
    let lines = run.json();
    let job = lines.last().expect("the job");
    assert_eq!(
        (&job["end"], &job["code"]),
        (&"failed".into(), &"rolled_back_before".into())
    );
    let run = update(&["--retry"]);
    assert_eq!(ends(&run.json()), [(id, "rolled_back")], "{run:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_and_the_next_update_keeps_what_is_there() {
    let product = "cli-update-cancel";
    let desk = desk(product);
    let (_running, one) = simulate(&desk, product, "1", &["--rate", "100000"]);
    let (id, address) = (text(&one[0], "id"), text(&one[0], "address"));
    let args = [
        "update",
        "1.1.0.airlift",
        "--device",
        address,
        "--no-mdns",
        "--json",
    ];
    let mut update = desk.start(&args);
    let mut written = 0;
    while written < 8 {
        let line = update.json_line();
        written += u32::from(line["state"] == "read_back");
    }
    update.interrupt();
    let run = update.end();
    assert_eq!(run.code, 6, "{run:?}");
    assert_eq!(ends(&run.json()), [(id, "cancelled")]);
    let device = devices(&desk).remove(0);
    assert_eq!(
        (&device["version"], &device["slot"]),
        (&"1.0.0".into(), &"factory".into())
    );

    let run = desk.run(&args).succeeded();
    let lines = run.json();
    let job = lines.last().expect("the job");
    let count = |field: &str| job[field].as_u64().unwrap_or_default();
    assert!(count("kept") >= 8, "{job}");
    assert_eq!(count("kept") + count("fetched"), 58, "{job}");
}

#[cfg(unix)]
#[test]
fn an_update_that_was_killed_is_continued_by_the_next_as_the_same_job() {
    let product = "cli-update-killed";
    let desk = desk(product);
    let (_running, one) = simulate(&desk, product, "1", &["--rate", "100000"]);
    let address = text(&one[0], "address");
    let args = [
        "update",
        "1.1.0.airlift",
        "--device",
        address,
        "--no-mdns",
        "--json",
    ];
    let mut update = desk.start(&args);
    while update.json_line()["state"] != "read_back" {}
    update.kill();
    let run = desk.run(&args).succeeded();
    let lines = run.json();
    assert_eq!(lines.last().expect("the job")["job"], 1);
    let history = desk.run(&["history", "--json"]).succeeded().json();
    assert_eq!(history.len(), 1, "{history:?}");
}

#[test]
fn a_device_that_is_not_there_is_exit_4() {
    let desk = desk("cli-update-nobody");
    let update = |device: &str| {
        desk.run(&[
            "update",
            "1.1.0.airlift",
            "--device",
            device,
            "--no-mdns",
            "--wait",
            "0",
        ])
    };
    update("c3-000000000000").refused(4, "no_such_device");
    // Port 1 on loopback: nobody listens there.
    update("127.0.0.1:1").refused(4, "no_such_device");
    let all = [
        "update",
        "1.1.0.airlift",
        "--all",
        "--no-mdns",
        "--wait",
        "0",
    ];
    desk.run(&all).refused(4, "no_such_device");
    let run = desk.run(&[
        "update",
        "nothing.airlift",
        "--all",
        "--no-mdns",
        "--wait",
        "0",
    ]);
    run.refused(1, "io");
}

#[test]
fn all_is_every_device_that_is_not_there_yet() {
    let product = "cli-update-all";
    let desk = desk(product);
    let (_running, two) = simulate(&desk, product, "2", &[]);
    let update = |more: &[&str]| {
        let mut args = vec!["update", "1.1.0.airlift", "--no-mdns", "--json"];
        args.extend(more);
        desk.run(&args).succeeded().json()
    };
    // One by its address, so that it is known; the other by being asked for the list.
    update(&["--device", text(&two[0], "address")]);
    update(&[
        "--device",
        text(&two[1], "address"),
        "--device",
        text(&two[0], "id"),
    ]);
    assert_eq!(update(&["--all", "--wait", "1.5"]), [] as [Value; 0]);

    desk.run(&[
        "resign",
        "1.0.0.airlift",
        "--sequence",
        "3",
        "--key",
        "key.pem",
        "-o",
        "back.airlift",
    ])
    .succeeded();
    let args = [
        "update",
        "back.airlift",
        "--all",
        "--no-mdns",
        "--wait",
        "1.5",
        "--json",
    ];
    let lines = desk.run(&args).succeeded().json();
    assert_eq!(ends(&lines).len(), 2);
    assert!(
        devices(&desk)
            .iter()
            .all(|device| device["version"] == "1.0.0")
    );
}

#[test]
fn two_commands_share_one_home() {
    let product = "cli-update-shared";
    let desk = desk(product);
    let (_running, two) = simulate(&desk, product, "2", &[]);
    let update = |device: &Value| {
        let address = text(device, "address");
        desk.start(&[
            "update",
            "1.1.0.airlift",
            "--device",
            address,
            "--no-mdns",
            "--json",
        ])
    };
    let both = [update(&two[0]), update(&two[1])];
    for (running, device) in both.into_iter().zip(&two) {
        let run = running.end();
        assert_eq!(
            (run.code, ends(&run.json())),
            (0, vec![(text(device, "id"), "done")])
        );
    }
    let history = desk.run(&["history", "--json"]).succeeded().json();
    assert_eq!(history.len(), 2, "{history:?}");
}

#[cfg(unix)]
#[test]
fn simulated_devices_keep_id_and_port_and_software() {
    let product = "cli-simulate";
    let desk = desk(product);
    let (running, before) = simulate(&desk, product, "2", &[]);
    let address = text(&before[0], "address");
    desk.run(&["update", "1.1.0.airlift", "--device", address, "--no-mdns"])
        .succeeded();
    running.interrupt();
    assert_eq!(running.end().code, 0, "Ctrl-C is how it ends");
    let (_running, after) = simulate(&desk, product, "2", &[]);
    assert_eq!(before, after);
    let seen = devices(&desk);
    assert_eq!(seen[0]["version"], "1.1.0");
}

#[test]
fn simulate_refuses_what_devices_cannot_run() {
    let desk = desk("cli-simulate-bad");
    let simulate = |more: &[&str]| {
        let mut args = vec!["simulate", "--dir", "devices", "--no-mdns"];
        args.extend(more);
        desk.run(&args)
    };
    simulate(&["--trust", "nothing.pem"]).refused(1, "io");
    desk.write("app.bin", "not an image");
    simulate(&["--trust", "key.pub.pem", "--app", "app.bin"]).refused(3, "bad_image");
    desk.run(&["key", "new", "other.pem"]).succeeded();
    let installed = ["--trust", "other.pub.pem", "--installed", "1.0.0.airlift"];
    simulate(&installed).refused(3, "unknown_key");
    assert!(!desk.exists("devices"));
}

#[test]
fn the_demo_updates_two_devices_and_proves_it() {
    let desk = Desk::new();
    let run = desk.run(&["demo"]).succeeded();
    let last = run.out.lines().last().unwrap_or_default();
    assert_eq!(
        last, "2 of 2 devices updated, 116 chunks verified",
        "{}",
        run.out
    );
    assert!(!desk.exists("home"), "it has a home of its own");
}

#[test]
fn without_history_and_devices_people_are_told_so_and_scripts_read_nothing() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["history", "--json"]).succeeded().out, "");
    assert!(
        desk.run(&["history"])
            .succeeded()
            .out
            .starts_with("No update")
    );
    let none = ["devices", "--no-mdns", "--wait", "0"];
    assert!(desk.run(&none).succeeded().out.starts_with("No device"));
    assert_eq!(
        desk.run(&["devices", "--no-mdns", "--wait", "0", "--json"])
            .succeeded()
            .out,
        ""
    );
}
