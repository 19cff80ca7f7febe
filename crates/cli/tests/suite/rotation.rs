//! `airlift rekey`, and releases that bring keys, on virtual devices.

use crate::support::{Desk, Run, Running};
use serde_json::Value;

const PHRASE: (&str, &str) = ("PHRASE", "correct horse");

/// Virtual devices that trust `key.pem` as root and release key, an offline root on a stick and a
/// key `next.pem`.
pub struct Fleet {
    pub desk: Desk,
    product: &'static str,
    pub devices: Vec<Value>,
    _simulation: Running,
}

impl Fleet {
    pub fn new(product: &'static str, count: usize) -> Self {
        let desk = Desk::with_key();
        desk.run("key trust key.pub.pem").succeeded();
        std::fs::create_dir(desk.path("stick")).expect("a folder");
        let mut simulation = desk.start(&format!(
            "simulate --dir devices --count {count} --product {product} --trust key.pub.pem \
             --no-mdns --json"
        ));
        let devices = (0..count).map(|_| simulation.json_line()).collect();
        Self {
            desk,
            product,
            devices,
            _simulation: simulation,
        }
    }

    /// With the keys that they get: an offline root, and `next.pem`.
    fn with_keys(product: &'static str, count: usize) -> Self {
        let fleet = Self::new(product, count);
        let offline = "key offline stick/root.pem --passphrase-env PHRASE";
        fleet.desk.run_with(offline, &[PHRASE]).succeeded();
        fleet.desk.run("key new next.pem").succeeded();
        fleet.desk.run("key trust next.pub.pem").succeeded();
        fleet
    }

    fn named(&self) -> String {
        let names = self.devices.iter().map(|device| {
            let address = device["address"].as_str().expect("an address");
            format!("--device {address}")
        });
        names.collect::<Vec<_>>().join(" ")
    }

    fn pack(&self, output: &str, version: &str, sequence: u32, key: &str) {
        let product = self.product;
        self.desk
            .run(&format!(
                "pack --product {product} --sequence {sequence} --app @demo-{version}.bin \
                 --files @files/{version} --key {key} -o {output}"
            ))
            .succeeded();
    }

    fn update(&self, release: &str) -> Run {
        let named = self.named();
        self.desk
            .run(&format!("update {release} {named} --no-mdns --json"))
    }

    fn rekey(&self, rest: &str) -> Run {
        let named = self.named();
        let line = format!("rekey {named} --no-mdns --json {rest}");
        self.desk.run_with(&line, &[PHRASE])
    }

    fn key(&self, name: &str) -> Value {
        let keys = self.desk.run("key list --json").succeeded().json();
        let named = keys.into_iter().find(|key| key["name"] == name);
        named.expect(name)
    }
}

/// How the jobs ended, and with which code.
fn ends(run: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = run.json();
    let jobs = lines.iter().filter(|line| line["event"] == "job");
    jobs.map(|job| (text(&job["end"]), text(&job["code"])))
        .collect()
}

fn fetched(run: &Run) -> u64 {
    let lines = run.json();
    let jobs = lines.iter().filter(|line| line["event"] == "job");
    jobs.map(|job| job["fetched"].as_u64().unwrap_or(u64::MAX))
        .sum()
}

fn done(count: usize) -> Vec<(String, String)> {
    vec![("done".to_owned(), String::new()); count]
}

#[test]
fn after_rekey_the_old_keys_releases_are_refused_and_the_new_keys_are_taken() {
    let fleet = Fleet::with_keys("cli-rekey", 2);
    fleet.pack("old.airlift", "1.1.0", 2, "key.pem");
    let run = fleet.update("old.airlift").succeeded();
    assert_eq!(ends(&run), done(2));

    let new = "--new-root stick/root.pub.pem --new-release-key next.pub.pem";
    let run = fleet.rekey(&format!("--key key.pem {new}")).succeeded();
    assert_eq!((ends(&run), fetched(&run)), (done(2), 0));
    let (root, next, old) = (fleet.key("root"), fleet.key("next"), fleet.key("key"));
    let count = |key: &Value, field: &str| key[field].as_array().map(Vec::len);
    assert_eq!(count(&root, "root_of"), Some(2));
    assert_eq!(count(&next, "release_key_of"), Some(2));
    assert_eq!(count(&old, "root_of"), Some(0));
    assert_eq!(count(&old, "release_key_of"), Some(0));

    fleet.pack("stale.airlift", "1.0.0", 8, "key.pem");
    let run = fleet.update("stale.airlift");
    let refused = ("failed".to_owned(), "unknown_key".to_owned());
    assert_eq!((run.code, ends(&run)), (3, vec![refused; 2]));
    fleet.pack("new.airlift", "1.0.0", 9, "next.pem");
    let run = fleet.update("new.airlift").succeeded();
    assert_eq!(ends(&run), done(2));

    // The old root changes nothing any more; the offline one does, with its passphrase.
    let again = "--new-release-key key.pub.pem";
    fleet
        .rekey(&format!("--key key.pem {again}"))
        .refused_json(3, "bad_key_set");
    fleet
        .rekey(&format!("--key stick/root.pem {again}"))
        .refused_json(1, "bad_passphrase");
    let signed = "--key stick/root.pem --passphrase-env PHRASE";
    let stale = format!("{signed} {again} --epoch 2");
    fleet.rekey(&stale).refused_json(3, "bad_key_set");
    let run = fleet.rekey(&format!("{signed} {again}")).succeeded();
    assert_eq!(ends(&run), done(2));
    fleet.pack("back.airlift", "1.1.0", 20, "key.pem");
    let run = fleet.update("back.airlift").succeeded();
    assert_eq!(ends(&run), done(2));
}

#[test]
fn a_release_that_is_signed_again_brings_keys_and_says_so() {
    let fleet = Fleet::with_keys("cli-resign-keys", 1);
    let desk = &fleet.desk;
    fleet.pack("r.airlift", "1.1.0", 2, "key.pem");
    assert_eq!(ends(&fleet.update("r.airlift")), done(1));
    let new = "--new-root stick/root.pub.pem --new-release-key next.pub.pem";
    let change = format!("resign r.airlift --sequence 3 --key key.pem {new} -o change.airlift");
    desk.run(&change).refused_by_clap("--epoch");
    desk.run(&format!("{change} --epoch 1"))
        .refused(3, "bad_key_set");
    desk.run(&format!("{change} --epoch 0"))
        .refused(3, "bad_key_set");
    let made = desk.run(&format!("{change} --epoch 2")).succeeded();
    let says = "once a device has confirmed this release, it trusts root ";
    for line in [
        "inspect change.airlift",
        "verify change.airlift --trust key.pub.pem",
    ] {
        let out = desk.run(line).succeeded().out;
        assert!(
            out.contains(says) && out.contains("(root), release key"),
            "{out}"
        );
        assert!(out.contains("no other key (epoch 2)"), "{out}");
    }
    assert!(made.out.contains(says), "{}", made.out);
    assert_eq!(ends(&fleet.update("change.airlift")), done(1));
    let shown = desk.run("key show root").succeeded().out;
    let id = fleet.devices[0]["id"].as_str().expect("an id");
    assert!(shown.contains(&format!("root of         {id}")), "{shown}");

    // From here on the old root is no longer theirs: that is said, and the epoch is known.
    let stale = format!(
        "{} --epoch 3",
        change.replace("--sequence 3", "--sequence 4")
    );
    let warned = desk
        .run(&stale.replace("change.airlift", "late.airlift"))
        .succeeded();
    assert!(
        warned.err.contains(" is not the root of device "),
        "{}",
        warned.err
    );
    let run = fleet.update("late.airlift");
    assert_eq!(
        ends(&run),
        [("failed".to_owned(), "unknown_key".to_owned())]
    );
}

#[test]
fn keys_alone_make_a_release_and_wrong_ones_do_not() {
    let desk = Desk::with_key();
    for name in ["a", "b", "c", "d", "e"] {
        desk.run(&format!("key new {name}.pem")).succeeded();
    }
    let pack = |keys: &str| {
        desk.run(&format!(
            "pack --product p --version 1 --sequence 5 --chip esp32c3 --key key.pem \
             -o r.airlift {keys}"
        ))
    };
    let each = |names: &[&str]| {
        let names = names
            .iter()
            .map(|n| format!("--new-release-key {n}.pub.pem"));
        names.collect::<Vec<_>>().join(" ")
    };
    pack("").refused(2, "usage");
    pack(&each(&["a"])).refused_by_clap("--epoch");
    pack("--epoch 2").refused_by_clap("--new-release-key");
    let five = each(&["a", "b", "c", "d", "e"]);
    pack(&format!("{five} --epoch 2")).refused(3, "bad_key_set");
    pack(&format!("{} --epoch 2", each(&["a", "a"]))).refused(3, "bad_key_set");
    pack("--new-release-key a.pem --epoch 2").refused(1, "bad_key");
    assert!(!desk.exists("r.airlift"));
    let made = pack(&format!("{} --epoch 2", each(&["a", "b"]))).succeeded();
    assert!(made.out.contains("(epoch 2)"), "{}", made.out);
    let [json] = <[_; 1]>::try_from(desk.run("inspect r.airlift --json").succeeded().json())
        .expect("one object");
    assert_eq!(json["keys"]["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        json["keys"]["root"], json["key"],
        "the root stays the one that signs"
    );
}

impl Run {
    /// It refused with this exit code and error code, as JSON.
    #[track_caller]
    pub fn refused_json(self, exit: i32, code: &str) -> Self {
        assert_eq!(self.code, exit, "{self:?}");
        let error: Value = serde_json::from_str(self.err.trim()).expect("one object");
        assert_eq!(error["code"], code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        self
    }

    /// The command line was not complete: `missing` is named.
    #[track_caller]
    fn refused_by_clap(self, missing: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.contains(missing), "{self:?}");
    }
}
