//! Devices that want to be told which release is the newest, and new versions that are not fit to
//! stay, from the flash of the device to the sentence in the window.

use std::time::Duration;

use airlift_app::dto::{Device, End, Job};
use airlift_app::{Airlift, NewKeys, Options, Secret, sample};
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, keys, pack};
use airlift_virtual_device::{Behaviour, Settings, Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;

/// One virtual device that runs the old sample, and an Airlift that knows it and trusts its key
/// without having it.
struct Bench {
    dir: tempfile::TempDir,
    product: String,
    key: SigningKey,
    simulation: Simulation,
    airlift: Airlift,
}

impl Bench {
    /// `name` makes the product unique to the test, the process id to the run.
    async fn new(name: &str, require_fresh: bool, mut settings: Settings) -> Self {
        let product = format!("{name}-{}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[42; 32]);
        let old = sample::OLD.pack(&product, 0, &key).unwrap();
        let trust = KeySet::new(1, key.public(), &[key.public()]).unwrap();
        let software = Software::Release(Box::new(old));
        let folder = dir.path().join("devices");
        settings.boot_ms = 50;
        let mut config = SimulationConfig::new(folder, 1, &product, trust, software);
        config.announce = false;
        config.require_fresh = require_fresh;
        config.settings = settings;
        let simulation = Simulation::start(&config).unwrap();
        let mut options = Options::new(dir.path().join("home"));
        options.mdns = false;
        let airlift = Airlift::open(options).await.unwrap();
        let public = dir.path().join("k.pub.pem");
        keys::write_public(&public, &key.public()).unwrap();
        airlift.trust_key(&public).await.unwrap();
        let bench = Self {
            dir,
            product,
            key,
            simulation,
            airlift,
        };
        let address = bench.simulation.devices()[0].address.to_string();
        for _ in 0..50 {
            if bench.airlift.add_device(&address).await.is_ok() {
                return bench;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the device does not answer at {address}");
    }

    /// Takes the private key over, with or without a passphrase.
    async fn import_key(&self, passphrase: Option<&str>) -> String {
        let path = self.dir.path().join("k.pem");
        keys::write_private(&path, &self.key.to_pem(passphrase).unwrap()).unwrap();
        let key = self.airlift.import_key(&path, passphrase).await.unwrap();
        key.id
    }

    async fn add(&self, release: &Release) -> String {
        let file = self.dir.path().join(format!("{}.airlift", release.id()));
        std::fs::write(&file, release.to_file()).unwrap();
        self.airlift.add_release(&file).await.unwrap().id
    }

    fn made(&self, version: &str, sequence: u32) -> Release {
        let mut options = PackOptions::new(&self.product, sequence, &self.key);
        options.version = Some(version);
        options.files = Some(FilesInput::from_iter([(
            "main.py",
            format!("print('{version}')\n"),
        )]));
        pack(options).unwrap().release
    }

    async fn update_to(&self, release: &str) -> Job {
        let device = self.simulation.devices()[0].id.clone();
        let started = self.airlift.start_update(&[device], release, false).await;
        let end = self.airlift.wait_for(started.unwrap()[0]);
        tokio::time::timeout(Duration::from_secs(60), end)
            .await
            .expect("it ends")
            .unwrap()
    }

    /// The device once it looks like this.
    async fn device_when(&self, right: impl Fn(&Device) -> bool) -> Device {
        for _ in 0..100 {
            let device = self.airlift.devices().remove(0);
            if right(&device) {
                return device;
            }
            let _ = self.airlift.add_device(&device.address).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:#?}", self.airlift.devices());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_requires_it_is_told_the_newest_by_whoever_has_the_key() {
    let bench = Bench::new("fresh-key", true, Settings::default()).await;
    bench.import_key(None).await;
    let device = bench.airlift.devices().remove(0);
    assert!(device.freshness_required);
    assert_eq!(device.blocked, None);
    let new = bench.add(&bench.made("1.1.0", 9)).await;
    let job = bench.update_to(&new).await;
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
    let log = bench.airlift.job_detail(job.id).await.unwrap().log;
    assert!(
        log.iter().any(|line| line.contains("1.1.0 is the newest")),
        "{log:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_nothing_is_sent_and_the_error_says_what_to_do() {
    let bench = Bench::new("fresh-no-key", true, Settings::default()).await;
    let blocked = bench.airlift.devices().remove(0).blocked.unwrap();
    assert_eq!(blocked.code, "freshness_required");
    let new = bench.add(&bench.made("1.1.0", 9)).await;
    let job = bench.update_to(&new).await;
    assert_eq!(job.end, Some(End::Failed));
    let error = job.error.unwrap();
    assert_eq!(error.code, "freshness_required");
    assert!(error.help.contains("passphrase"), "{}", error.help);
    let log = bench.airlift.job_detail(job.id).await.unwrap().log;
    assert!(!log.iter().any(|line| line.contains("took the release")));

    // With a passphrase the key is here, but not open; once it is, the same release goes.
    let key = bench.import_key(Some("correct horse")).await;
    let blocked = bench.airlift.devices().remove(0).blocked.unwrap();
    assert_eq!(blocked.code, "freshness_required");
    let wrong = bench.airlift.unlock_key(&key, &Secret::from("wrong")).await;
    assert_eq!(wrong.unwrap_err().code().as_str(), "bad_passphrase");
    let secret = Secret::from("correct horse");
    let opened = bench.airlift.unlock_key(&key, &secret);
    assert_eq!(opened.await.unwrap().id, key);
    assert_eq!(bench.airlift.devices().remove(0).blocked, None);
    let job = bench.update_to(&new).await;
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_requires_it_gets_no_old_release_from_an_honest_host() {
    let bench = Bench::new("fresh-old", true, Settings::default()).await;
    bench.import_key(None).await;
    let old = bench.add(&bench.made("1.1.0", 9)).await;
    bench.add(&bench.made("1.2.0", 10)).await;
    let job = bench.update_to(&old).await;
    assert_eq!(job.end, Some(End::Failed));
    let error = job.error.unwrap();
    assert_eq!(error.code, "stale");
    assert!(
        error.message.contains("1.2.0 (sequence 10)"),
        "{}",
        error.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_require_it_takes_the_release_that_was_chosen() {
    let bench = Bench::new("fresh-free", false, Settings::default()).await;
    bench.import_key(None).await;
    let old = bench.add(&bench.made("1.1.0", 9)).await;
    bench.add(&bench.made("1.2.0", 10)).await;
    let job = bench.update_to(&old).await;
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_offered_is_shown_with_who_it_was() {
    let bench = Bench::new("fresh-stranger", true, Settings::default()).await;
    let (old, new) = (bench.made("1.1.0", 9), bench.made("1.2.0", 10));
    bench.add(&old).await;
    bench.add(&new).await;
    let address = bench.simulation.devices()[0].address;
    offer(address, old.envelope()).await;
    let device = bench
        .device_when(|device| device.stale_offer.is_some())
        .await;
    let said = device.stale_offer.unwrap();
    assert_eq!((said.offered, said.newest), (9, None));
    assert_eq!(
        said.sentence,
        "127.0.0.1 offered it 1.1.0 (sequence 9) and no statement that this is the newest. It was \
         refused. The newest one here is 1.2.0 (sequence 10)."
    );
}

/// Sends an envelope as anybody on the network can, and waits for the last line.
async fn offer(device: std::net::SocketAddr, envelope: &[u8]) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(device).await.unwrap();
    let head = format!(
        "POST /v1/update HTTP/1.1\r\nHost: d\r\nContent-Type: application/cose\r\n\
         Content-Length: {}\r\n\r\n",
        envelope.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(envelope).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("freshness_required"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_is_stated_by_the_root_that_signs_it_and_by_nobody_afterwards() {
    let bench = Bench::new("fresh-rekey", true, Settings::default()).await;
    let device = bench.simulation.devices()[0].id.clone();
    let next = SigningKey::from_seed(&[44; 32]);
    let new = NewKeys {
        root: bench.key.public(),
        release: vec![next.public()],
        epoch: None,
    };
    let root = SigningKey::from_seed(&[42; 32]);
    let jobs = bench.airlift.rekey(&[device], root, new).await.unwrap();
    let job = bench.airlift.wait_for(jobs[0]).await.unwrap();
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
    let closed = |device: &Device| device.epoch == 2 && device.blocked.is_some();
    let device = bench.device_when(closed).await;
    assert_eq!(device.blocked.unwrap().code, "freshness_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_whose_change_of_keys_does_not_start_is_not_kept_in_use() {
    let bench = Bench::new("fresh-rekey-fails", true, Settings::default()).await;
    let device = bench.simulation.devices()[0].id.clone();
    let new = NewKeys {
        root: bench.key.public(),
        release: vec![SigningKey::from_seed(&[44; 32]).public()],
        epoch: None,
    };
    let root = SigningKey::from_seed(&[42; 32]);
    let twice = [device.clone(), device];
    let error = bench.airlift.rekey(&twice, root, new).await.unwrap_err();
    assert_eq!(error.code().as_str(), "busy");
    let closed = |device: &Device| device.job.is_none() && device.blocked.is_some();
    let device = bench.device_when(closed).await;
    assert_eq!(device.blocked.unwrap().code, "freshness_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_not_being_fit_is_said_in_a_sentence() {
    let cases = [
        (
            "fit-check",
            Behaviour::FailsCheck,
            "its own check said “sensor missing”.",
        ),
        (
            "fit-never",
            Behaviour::NeverReady,
            "it did not confirm in time; last it said “waits for the sensor”.",
        ),
        (
            "fit-network",
            Behaviour::NoNetwork,
            "it did not reach the network: “no address”.",
        ),
        ("fit-panic", Behaviour::Panics, "its program panicked."),
        (
            "fit-blocks",
            Behaviour::Blocks,
            "it hung or did not confirm in time (reset reason: watchdog).",
        ),
    ];
    let tries = cases.map(|(name, behaviour, words)| async move {
        let mut settings = Settings::default().with_trial("1.1.0", behaviour);
        (settings.confirm_ms, settings.min_uptime_ms) = (3_000, 2_000);
        settings.watchdog_ms = 1_000;
        let bench = Bench::new(name, false, settings).await;
        let new = sample::NEW.pack(&bench.product, 0, &bench.key).unwrap();
        let new = bench.add(&new).await;
        let job = bench.update_to(&new).await;
        assert_eq!(job.end, Some(End::RolledBack), "{}", job.summary);
        let expected = format!("Went back to 1.0.0. 1.1.0 was on trial, and {words}");
        assert_eq!(job.summary, expected);
        let device = bench
            .device_when(|device| device.last_update.is_some())
            .await;
        let detail = device.last_update.unwrap().detail.unwrap_or_default();
        assert!(job.summary.contains(&detail));
        bench.simulation.stop();
    });
    let tries = tries.map(tokio::spawn);
    for one in tries {
        one.await.unwrap();
    }
}
