//! `airlift update` to devices that want to be told which release is the newest, and to versions
//! that are not fit to stay.

use crate::support::{Desk, Run, Running};
use serde_json::Value;

/// One virtual device on 1.0.0, a desk with 1.1.0 for it, and its key with a passphrase.
struct Bench {
    desk: Desk,
    _simulation: Running,
    address: String,
}

const SECRET: &[(&str, &str)] = &[("SECRET", "correct horse battery")];

impl Bench {
    fn new(product: &str, more: &str) -> Self {
        let desk = Desk::new();
        desk.run_with("key new key.pem --passphrase-env SECRET", SECRET)
            .succeeded();
        for (version, sequence) in [("1.0.0", 1), ("1.1.0", 2)] {
            let app = format!("@demo-{version}.bin");
            let line = format!(
                "pack --product {product} --version {version} --sequence {sequence} --app {app} \
                 --key key.pem --passphrase-env SECRET -o {version}.airlift"
            );
            desk.run_with(&line, SECRET).succeeded();
        }
        desk.run("key trust key.pub.pem").succeeded();
        let mut simulation = desk.start(&format!(
            "simulate --dir devices --count 1 --trust key.pub.pem --product {product} \
             --installed 1.0.0.airlift --no-mdns --json {more}"
        ));
        let device = simulation.json_line();
        Self {
            desk,
            _simulation: simulation,
            address: device["address"].as_str().expect("an address").to_owned(),
        }
    }

    fn update(&self, more: &str) -> Run {
        let address = &self.address;
        let line = format!("update 1.1.0.airlift --device {address} --no-mdns {more}");
        self.desk.run_with(&line, SECRET)
    }

    fn devices(&self) -> Vec<Value> {
        let line = "devices --no-mdns --json --wait 1";
        self.desk.run(line).succeeded().json()
    }
}

#[test]
fn a_device_that_requires_a_statement_is_updated_with_the_key_and_not_without() {
    let bench = Bench::new("cli-fresh", "--require-fresh");
    let run = bench.update("--json");
    assert_eq!(run.code, 5, "{run:?}");
    let last = run.json().pop().expect("a line");
    assert_eq!(
        (&last["end"], &last["code"]),
        (&"failed".into(), &"freshness_required".into())
    );
    assert_eq!(bench.devices()[0]["freshness_required"], true);

    // For people too, with what to do.
    let run = bench.update("");
    assert!(
        run.out.contains("signed statement that it is the newest"),
        "{run:?}"
    );
    assert!(
        run.out.contains("Open a key that the device trusts"),
        "{run:?}"
    );

    bench.update("--key key.pem").refused(1, "bad_passphrase");
    let run = bench.update("--key key.pem --passphrase-env SECRET --json");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(bench.devices()[0]["version"], "1.1.0");
}

#[test]
fn a_passphrase_without_a_key_file_opens_the_key_of_this_computer() {
    let bench = Bench::new("cli-fresh-home", "--require-fresh");
    let run = bench.update("--passphrase-env SECRET");
    assert_ne!(run.code, 0, "there is none yet: {run:?}");
    std::fs::copy(
        bench.desk.path("key.pem"),
        bench.desk.path("home/keys/key.pem"),
    )
    .expect("a copy");
    std::fs::copy(
        bench.desk.path("key.pub.pem"),
        bench.desk.path("home/keys/key.pub.pem"),
    )
    .expect("a copy");
    let run = bench.update("--passphrase-env SECRET");
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn what_the_new_versions_own_check_said_is_told() {
    let bench = Bench::new("cli-unfit", "--fails-check 1.1.0");
    let run = bench.update("");
    assert_eq!(run.code, 5, "{run:?}");
    let words = "1.1.0 was on trial, and its own check said “sensor missing”.";
    assert!(run.out.contains(words), "{run:?}");
    let history = bench.desk.run("history").succeeded();
    assert!(history.out.contains(words), "{history:?}");
}
