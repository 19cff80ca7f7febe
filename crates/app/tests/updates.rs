//! Updates of virtual devices through everything that can come between.

use std::time::Duration;

use airlift_app::dto::{End, Job, Phase};
use airlift_app::{Airlift, Options, sample};
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{Behaviour, Settings, Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;

/// One virtual device that runs the old sample, and an Airlift that knows it.
struct Bench {
    dir: tempfile::TempDir,
    product: String,
    key: SigningKey,
    simulation: Simulation,
    airlift: Airlift,
}

impl Bench {
    /// `name` makes the product unique to the test, the process id to the run.
    async fn new(name: &str, settings: Settings) -> Self {
        let product = format!("{name}-{}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[42; 32]);
        let old = sample::OLD.pack(&product, 0, &key).unwrap();
        let trust = KeySet::new(1, key.public(), &[key.public()]).unwrap();
        let software = Software::Release(Box::new(old));
        let folder = dir.path().join("devices");
        let mut config = SimulationConfig::new(folder, 1, &product, trust, software);
        config.announce = false;
        config.settings = settings;
        config.settings.boot_ms = 50;
        let simulation = Simulation::start(&config).unwrap();
        let airlift = open(&dir).await;
        airlift_release::keys::write_public(&dir.path().join("k.pub.pem"), &key.public()).unwrap();
        airlift
            .trust_key(&dir.path().join("k.pub.pem"))
            .await
            .unwrap();
        let this = Self {
            dir,
            product,
            key,
            simulation,
            airlift,
        };
        this.find().await;
        this
    }

    async fn find(&self) {
        let address = self.simulation.devices()[0].address.to_string();
        for _ in 0..50 {
            if self.airlift.add_device(&address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the device does not answer at {address}");
    }

    fn device(&self) -> String {
        self.simulation.devices()[0].id.clone()
    }

    async fn add(&self, release: &Release) -> String {
        let file = self.dir.path().join(format!("{}.airlift", release.id()));
        std::fs::write(&file, release.to_file()).unwrap();
        self.airlift.add_release(&file).await.unwrap().id
    }

    /// Starts the update to the new sample.
    async fn start(&self) -> u32 {
        let id = self
            .add(&sample::NEW.pack(&self.product, 0, &self.key).unwrap())
            .await;
        self.airlift
            .start_update(&[self.device()], &id, false)
            .await
            .unwrap()[0]
    }

    async fn update_to(&self, release: &Release) -> Job {
        let id = self.add(release).await;
        let job = self
            .airlift
            .start_update(&[self.device()], &id, false)
            .await
            .unwrap()[0];
        self.end_of(job).await
    }

    async fn end_of(&self, job: u32) -> Job {
        let end = tokio::time::timeout(Duration::from_secs(60), self.airlift.wait_for(job));
        end.await.expect("it ends").unwrap()
    }

    /// Waits until some of the app has been written.
    async fn until_under_way(&self, job: u32) {
        for _ in 0..600 {
            let job = self.airlift.job(job).await.unwrap();
            assert_eq!(job.end, None, "{}", job.summary);
            if job.phase == Phase::App && job.parts[0].fetched >= 8 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing was written");
    }
}

async fn open(dir: &tempfile::TempDir) -> Airlift {
    let mut options = Options::new(dir.path().join("home"));
    options.mdns = false;
    Airlift::open(options).await.unwrap()
}

/// Slow enough to be interrupted, quick enough for a test: about 20 ms a chunk.
fn slow() -> Settings {
    let mut settings = Settings::default();
    settings.timing = Timing::Scaled(0.4);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_confirms_comes_back_on_the_old_version_and_says_why() {
    let mut settings = Settings::default().with_trial("1.1.0", Behaviour::NeverConfirms);
    settings.confirm_ms = 1_500;
    let bench = Bench::new("never-confirms", settings).await;
    let job = bench.end_of(bench.start().await).await;
    assert_eq!(job.end, Some(End::RolledBack), "{}", job.summary);
    assert_eq!(job.error.as_ref().unwrap().code, "rolled_back");
    assert!(
        job.summary.starts_with("Went back to 1.0.0"),
        "{}",
        job.summary
    );

    let again = bench
        .airlift
        .start_update(&[bench.device()], &job.release, false)
        .await
        .unwrap();
    let refused = bench.end_of(again[0]).await;
    assert_eq!(
        refused.error.unwrap().code,
        "rolled_back_before",
        "nothing is sent unasked"
    );
    let retried = bench.airlift.retry_job(job.id).await.unwrap();
    assert_eq!(
        bench.end_of(retried).await.end,
        Some(End::RolledBack),
        "it was sent again"
    );
    let codes: Vec<_> = bench
        .airlift
        .history()
        .await
        .unwrap()
        .into_iter()
        .filter_map(|row| row.code)
        .collect();
    assert_eq!(codes, ["rolled_back", "rolled_back_before", "rolled_back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_on_where_it_was_after_airlift_was_started_again() {
    let mut bench = Bench::new("app-restart", slow()).await;
    let job = bench.start().await;
    bench.until_under_way(job).await;
    bench.airlift.close().await;
    // The old one has to be gone before the new one looks for orphans.
    let (_, aside) = (bench.device(), tempfile::tempdir().unwrap());
    let mut options = Options::new(aside.path());
    options.mdns = false;
    bench.airlift = Airlift::open(options).await.unwrap();
    bench.airlift = open(&bench.dir).await;
    let ended = bench.end_of(job).await;
    assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
    let detail = bench.airlift.job_detail(job).await.unwrap();
    assert!(
        detail.log.iter().any(|line| line.contains("Picked up")),
        "{:?}",
        detail.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_loses_power_goes_on_with_the_chunks_it_does_not_hold() {
    let bench = Bench::new("power-cut", slow()).await;
    let job = bench.start().await;
    bench.until_under_way(job).await;
    bench.simulation.kill(0);
    bench.simulation.start_device(0);
    let ended = bench.end_of(job).await;
    assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
    let app = &ended.parts[0];
    assert!(app.kept >= 6, "{} of {} chunks kept", app.kept, app.chunks);
    assert_eq!(app.kept + app.fetched, app.chunks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_update_leaves_the_device_as_it_was() {
    let bench = Bench::new("cancel", slow()).await;
    let job = bench.start().await;
    bench.until_under_way(job).await;
    bench.airlift.cancel_job(job).await.unwrap();
    let ended = bench.end_of(job).await;
    assert_eq!(ended.end, Some(End::Cancelled), "{}", ended.summary);
    assert_eq!(ended.summary, "Cancelled; what the device has is kept.");
    let error = bench.airlift.cancel_job(job).await.unwrap_err();
    assert_eq!(error.code().as_str(), "no_such_job");
    let device = &bench.airlift.devices()[0];
    assert_eq!(
        (device.version.as_deref(), device.slot.as_str()),
        (Some("1.0.0"), "factory")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_flips_bits_and_breaks_connections_is_survived_and_counted() {
    let mut settings = Settings::default();
    settings.network.flips_permille = 50;
    settings.network.resets_permille = 5;
    let bench = Bench::new("hostile", settings).await;
    let job = bench.end_of(bench.start().await).await;
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
    let refused: u32 = job.parts.iter().map(|part| part.refused).sum();
    assert!(refused > 0, "every flipped bit is refused and shown");
    for part in &job.parts {
        assert_eq!(part.computed.as_ref(), Some(&part.expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_device_is_refused_before_anything_is_sent() {
    let bench = Bench::new("preflight", Settings::default()).await;
    let files = || FilesInput::from_iter([("main.py", "print('other')\n")]);
    let made = |product: &str, sequence: u32, chip: &str, key: &SigningKey| {
        let mut options = PackOptions::new(product, sequence, key);
        options.version = Some("2.0.0");
        options.chip = Some(chip);
        options.files = Some(files());
        pack(options).unwrap().release
    };
    let stranger = SigningKey::from_seed(&[43; 32]);
    let path = bench.dir.path().join("stranger.pub.pem");
    airlift_release::keys::write_public(&path, &stranger.public()).unwrap();
    bench.airlift.trust_key(&path).await.unwrap();

    let (product, key) = (bench.product.as_str(), &bench.key);
    let lower = sample::OLD.sequence.checked_sub(1);
    let mut cases = vec![
        (made("preflight-lamp", 9, "esp32c3", key), "wrong_product"),
        (made(product, 9, "esp32s3", key), "wrong_chip"),
        (made(product, 9, "esp32c3", &stranger), "unknown_key"),
        (
            made(product, sample::OLD.sequence, "esp32c3", key),
            "sequence_conflict",
        ),
    ];
    if let Some(lower) = lower.filter(|lower| *lower > 0) {
        cases.push((made(product, lower, "esp32c3", key), "lower_sequence"));
    }
    for (release, code) in cases {
        let job = bench.update_to(&release).await;
        assert_eq!(job.end, Some(End::Failed), "{}", job.summary);
        assert_eq!(job.error.unwrap().code, code, "{}", job.summary);
        let log = bench.airlift.job_detail(job.id).await.unwrap().log;
        assert!(
            !log.iter().any(|line| line.contains("took the release")),
            "{log:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_signs_the_old_parts_again_and_the_device_takes_them() {
    let bench = Bench::new("go-back", Settings::default()).await;
    let pem = bench.key.to_pem(None).unwrap();
    let path = bench.dir.path().join("signer.pem");
    airlift_release::keys::write_private(&path, &pem).unwrap();
    let key = bench.airlift.import_key(&path, None).await.unwrap();
    let old = bench
        .add(&sample::OLD.pack(&bench.product, 0, &bench.key).unwrap())
        .await;
    let done = bench.end_of(bench.start().await).await;
    assert_eq!(done.end, Some(End::Done), "{}", done.summary);

    let back = bench.airlift.go_back(&old, &key.id, None).await.unwrap();
    assert_eq!(
        (back.version.as_str(), back.sequence),
        ("1.0.0", sample::NEW.sequence + 1)
    );
    let job = bench
        .airlift
        .start_update(&[bench.device()], &back.id, false)
        .await
        .unwrap()[0];
    let ended = bench.end_of(job).await;
    assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
    assert_eq!(ended.to_slot.as_deref(), Some("ota_1"));
    let running = bench
        .airlift
        .releases()
        .into_iter()
        .find(|r| r.id == back.id)
        .unwrap();
    assert_eq!(running.running_on, [bench.device()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_airlifts_on_one_home_do_not_update_one_device_twice() {
    let bench = Bench::new("two-windows", slow()).await;
    let job = bench.start().await;
    bench.until_under_way(job).await;
    let mut options = Options::command(bench.dir.path().join("home"));
    options.mdns = false;
    let other = Airlift::open(options).await.unwrap();
    let address = bench.simulation.devices()[0].address.to_string();
    other.add_device(&address).await.unwrap();
    let release = bench.airlift.job(job).await.unwrap().release;
    let error = other
        .start_update(&[bench.device()], &release, false)
        .await
        .unwrap_err();
    assert_eq!(error.code().as_str(), "busy");
    assert_eq!(bench.end_of(job).await.end, Some(End::Done));
    let history = other.history().await.unwrap();
    assert_eq!(
        (history.len(), history[0].end),
        (1, Some(End::Done)),
        "both see it"
    );
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_windows_virtual_devices_are_offered_a_release_and_take_it() {
    let dir = tempfile::tempdir().unwrap();
    let airlift = open(&dir).await;
    airlift.start_virtual_devices(1).await.unwrap();
    let mut device = None;
    for _ in 0..100 {
        device = airlift.devices().into_iter().find(|device| device.online);
        if device.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let device = device.unwrap();
    assert!(
        device.simulated && device.blocked.is_none(),
        "{:?}",
        device.blocked
    );
    let snapshot = airlift.snapshot().await.unwrap();
    assert!(snapshot.virtual_devices);
    let versions: Vec<_> = snapshot
        .releases
        .iter()
        .map(|r| r.version.as_str())
        .collect();
    assert_eq!(versions, ["1.1.0", "1.0.0"]);
    airlift.stop_virtual_devices().await.unwrap();
    assert!(airlift.devices().is_empty(), "they are not remembered");
    airlift.close().await;
}
