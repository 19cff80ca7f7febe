//! Several processes on one home at once: window and commands share it.
//!
//! Each test starts real processes that do the same things at the same moment, and then counts.
#![allow(clippy::unwrap_used, clippy::panic)]

mod work;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use airlift_app::dto::End;
use airlift_app::{Airlift, Options, sample};
use airlift_release::{FilesInput, PackOptions, SigningKey, keys, pack};
use airlift_virtual_device::{Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;
use serde_json::{Value, json};

use work::{DESK, GO, MARK, ROLE};

/// How many processes run at once.
const PROCESSES: usize = 4;
/// How often each of them does what it does.
const ROUNDS: u32 = 5;

struct Desk {
    dir: tempfile::TempDir,
    key: SigningKey,
    product: String,
}

impl Desk {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[23; 32]);
        keys::write_private(&dir.path().join("maker.pem"), &key.to_pem(None).unwrap()).unwrap();
        keys::write_public(&dir.path().join("maker.pub.pem"), &key.public()).unwrap();
        let product = format!("{name}-{}", std::process::id());
        Self { dir, key, product }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn release(&self, name: &str, sequence: u32) {
        let mut options = PackOptions::new(&self.product, sequence, &self.key);
        options.version = Some(name);
        options.files = Some(FilesInput::from_iter([("main.py", name.to_owned())]));
        let release = pack(options).unwrap().release;
        std::fs::write(self.path(&format!("{name}.airlift")), release.to_file()).unwrap();
    }

    /// Lets `PROCESSES` processes do `role` at the same moment, and returns what each said.
    fn together(&self, role: &str) -> Vec<Vec<Value>> {
        let paper = json!({"rounds": ROUNDS, "product": self.product});
        std::fs::write(self.path("paper.json"), paper.to_string()).unwrap();
        let start = |n: usize| -> Child {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "work::in_a_role", "--ignored", "--nocapture"])
                .env(DESK, self.dir.path())
                .env(ROLE, format!("{role} {n}"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<Child> = (0..PROCESSES).map(start).collect();
        std::fs::write(self.path(GO), "").unwrap();
        let said = children.into_iter().map(|child| {
            let output = child.wait_with_output().unwrap();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{role}: {out}\n{err}");
            let lines = out.lines().filter_map(|line| line.strip_prefix(MARK));
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        });
        let said: Vec<Vec<Value>> = said.collect();
        std::fs::remove_file(self.path(GO)).unwrap();
        said
    }

    async fn open(&self) -> Airlift {
        let mut options = Options::command(self.path("home"));
        options.mdns = false;
        let app = Airlift::open(options).await.unwrap();
        assert_eq!(app.notices(), []);
        app
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// From an empty folder on: the database is made once, and every key, release, row and setting that
/// any of them wrote is there.
#[tokio::test]
async fn nothing_that_any_of_them_wrote_is_lost() {
    let desk = Desk::new("together-write");
    desk.release("shared", 1);
    for n in 0..PROCESSES {
        for round in 0..ROUNDS {
            desk.release(&format!("own-{n}-{round}"), 10 + 10 * n as u32 + round);
        }
    }
    let said = desk.together("write");
    let wrote: BTreeSet<String> = said.concat().iter().map(ToString::to_string).collect();

    let app = desk.open().await;
    let releases = app.releases();
    assert_eq!(
        releases.len(),
        PROCESSES * ROUNDS as usize + 1,
        "their own, and the shared one"
    );
    let keys = app.keys().await.unwrap();
    // Each made as many, and all of them imported the same one.
    let signing = keys
        .iter()
        .filter(|key| key.can_sign && key.trusted)
        .count();
    assert_eq!(signing, PROCESSES * ROUNDS as usize + 1, "{keys:?}");
    for key in keys.iter().filter(|key| key.name != "maker") {
        assert!(
            wrote.contains(&json!({"key": key.id}).to_string()),
            "{key:?}"
        );
    }
    let port = app.snapshot().await.unwrap().settings.port;
    assert!(
        (50_000..50_000 + PROCESSES as u16).contains(&port),
        "somebody's settings: {port}"
    );
    app.close().await;
    assert_eq!(files(&desk.path("home/releases")).len(), releases.len());
    let left = files(&desk.path("home/run"));
    assert!(!left.iter().any(|name| name.ends_with(".lock")), "{left:?}");
}

/// Two releases with one sequence would be two that devices take for one another.
#[tokio::test]
async fn every_release_that_is_made_gets_a_sequence_of_its_own() {
    let desk = Desk::new("together-sequence");
    desk.release("old", 7);
    let app = desk.open().await;
    app.import_key(&desk.path("maker.pem"), None).await.unwrap();
    app.add_release(&desk.path("old.airlift")).await.unwrap();
    app.close().await;
    let mut sequences: Vec<u64> = desk
        .together("sequence")
        .concat()
        .iter()
        .map(|said| said["sequence"].as_u64().unwrap())
        .collect();
    sequences.sort_unstable();
    let wanted: Vec<u64> = (8..8 + (PROCESSES as u64 * u64::from(ROUNDS))).collect();
    assert_eq!(sequences, wanted);
}

/// Each has its own chunk server, from the port in the settings on.
#[tokio::test(flavor = "multi_thread")]
async fn each_updates_its_own_device_and_one_device_gets_one_job() {
    let desk = Desk::new("together-update");
    let trust = KeySet::new(1, desk.key.public(), &[desk.key.public()]).unwrap();
    let old = sample::OLD.pack(&desk.product, 0, &desk.key).unwrap();
    let software = Software::Release(Box::new(old));
    let folder = desk.path("devices");
    let mut config = SimulationConfig::new(folder, PROCESSES + 1, &desk.product, trust, software);
    config.announce = false;
    config.settings.boot_ms = 20;
    let simulation = Simulation::start(&config).unwrap();
    let devices = simulation.devices();
    let addresses: Vec<String> = devices
        .iter()
        .map(|device| device.address.to_string())
        .collect();
    std::fs::write(desk.path("devices.json"), json!(addresses).to_string()).unwrap();
    let new = sample::NEW.pack(&desk.product, 0, &desk.key).unwrap();
    std::fs::write(desk.path("new.airlift"), new.to_file()).unwrap();

    // The port in the settings is taken, so each goes on to a free one after it.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = desk.open().await;
    app.trust_key(&desk.path("maker.pub.pem")).await.unwrap();
    let mut settings = app.snapshot().await.unwrap().settings;
    settings.port = taken.local_addr().unwrap().port();
    app.set_settings(settings).await.unwrap();
    app.close().await;

    let said = desk.together("update").concat();
    let count = |what: &str| said.iter().filter(|line| line["shared"] == what).count();
    // The device that all of them want: one does it, the others are told, or come when it is done.
    assert!(
        count("done") >= 1 && count("done") + count("busy") == PROCESSES,
        "{said:?}"
    );
    let app = desk.open().await;
    let history = app.history().await.unwrap();
    let of = |id: &str| history.iter().filter(|row| row.device == id).count();
    for device in &devices[..PROCESSES] {
        assert_eq!(of(&device.id), 1, "{history:?}");
    }
    assert_eq!(of(&devices[PROCESSES].id), count("done"), "{history:?}");
    assert!(
        history.iter().all(|row| row.end == Some(End::Done)),
        "{history:?}"
    );
    let jobs: BTreeSet<u32> = history.iter().map(|row| row.job).collect();
    assert_eq!(jobs.len(), history.len());
    app.close().await;
}
