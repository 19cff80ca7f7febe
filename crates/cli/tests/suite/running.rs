//! `airlift run`, on virtual devices.

use crate::elf::Elf;
use crate::rotation::Fleet;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn fleet(product: &'static str, version: &str) -> Fleet {
    let fleet = Fleet::new(product, 1);
    fleet.desk.write("app.elf", Elf::new(version).bytes());
    fleet
}

fn line(fleet: &Fleet, more: &str) -> String {
    let address = fleet.devices[0]["address"].as_str().expect("an address");
    format!("run app.elf --device {address} --no-mdns {more}")
}

/// What the device says that it runs.
fn running(fleet: &Fleet) -> Value {
    let address = fleet.devices[0]["address"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let ask = b"GET /v1/device HTTP/1.1\r\nHost: device\r\n\r\n";
    stream.write_all(ask).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (_, json) = answer.split_once("\r\n\r\n").expect("a head");
    let device: Value = serde_json::from_str(json).expect(json);
    device["running"].clone()
}

#[test]
fn a_build_becomes_the_next_release_and_runs() {
    let fleet = fleet("cli-run-next", "7.0.0");
    let builds = [("7.0.0", 1, "ota_0"), ("7.0.1", 2, "ota_1")];
    for (version, sequence, slot) in builds {
        fleet.desk.write("app.elf", Elf::new(version).bytes());
        let run = fleet.desk.run(&line(&fleet, "--key key.pem --no-log"));
        let out = run.succeeded().out;
        let first = format!("release  cli-run-next {version} sequence {sequence}\n");
        assert!(out.starts_with(&first), "{out}");
        let now = running(&fleet);
        assert_eq!(now["version"], version, "{now}");
        assert_eq!(
            (&now["sequence"], &now["slot"]),
            (&sequence.into(), &slot.into())
        );
    }
    // The same build again is nothing to send.
    let run = fleet.desk.run(&line(&fleet, "--key key.pem --no-log"));
    assert_eq!(run.succeeded().out, "The device runs this build already.\n");
    assert_eq!(fleet.desk.run("history --json").succeeded().json().len(), 2);
}

#[test]
fn files_that_the_device_runs_with_stay_and_are_named() {
    let fleet = fleet("cli-run-files", "7.1.0");
    let with_files = line(&fleet, "--key key.pem --no-log --files @files/1.1.0");
    fleet.desk.run(&with_files).succeeded();
    let before = running(&fleet)["files_sha256"].clone();
    assert!(before.is_string(), "{before}");
    fleet.desk.write("app.elf", Elf::new("7.2.0").bytes());
    fleet
        .desk
        .run(&line(&fleet, "--key key.pem --no-log"))
        .succeeded();
    let after = running(&fleet);
    assert_eq!(
        (&after["version"], &after["files_sha256"]),
        (&"7.2.0".into(), &before)
    );
}

#[cfg(unix)]
#[test]
fn the_log_of_the_device_follows_until_ctrl_c() {
    let fleet = fleet("cli-run-log", "7.3.0");
    let mut run = fleet.desk.start(&line(&fleet, "--key key.pem --json"));
    let mut seen = Vec::new();
    loop {
        let line = run.json_line();
        if line["event"] == "log" {
            let text = line["line"].as_str().expect("text").to_owned();
            let last = text.ends_with(" is ready");
            seen.push(text);
            if last {
                break;
            }
        }
    }
    assert!(seen[0].contains("ota_0 runs after software"), "{seen:?}");
    run.interrupt();
    assert_eq!(run.end().code, 0);
}

#[test]
fn a_build_that_cannot_run_there_is_refused_before_anything_is_sent() {
    let fleet = fleet("cli-run-refused", "7.4.0");
    let mut other = Elf::new("1");
    other.chip = Some("esp32c6");
    fleet.desk.write("app.elf", other.bytes());
    fleet
        .desk
        .run(&line(&fleet, "--key key.pem"))
        .refused(3, "wrong_chip");
    other.chip = None;
    other.section(".flash.appdesc").name = ".rodata.first";
    fleet.desk.write("app.elf", other.bytes());
    fleet
        .desk
        .run(&line(&fleet, "--key key.pem"))
        .refused(3, "bad_image");
    fleet.desk.write("app.elf", Elf::new("1").bytes());
    fleet.desk.run(&line(&fleet, "")).refused(1, "bad_key");
    fleet
        .desk
        .run("run app.elf --device nobody-1 --no-mdns --wait 0")
        .refused(4, "no_such_device");
    assert_eq!(running(&fleet)["slot"], "factory");
}
