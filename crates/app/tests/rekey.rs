//! Whom virtual devices trust, changed over the network.

use std::path::PathBuf;
use std::time::Duration;

use airlift_app::dto::{Device, End, Job, Key, KeyChange, NewOfflineKey, Part};
use airlift_app::{Airlift, Error, NewKeys, Options, Secret, sample};
use airlift_release::{SigningKey, keys as files};
use airlift_virtual_device::{Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;

const PASSPHRASE: &str = "correct horse";

/// Virtual devices that run the old sample and trust one key, and an Airlift that has it.
struct Bench {
    dir: tempfile::TempDir,
    product: String,
    first: SigningKey,
    simulation: Simulation,
    airlift: Airlift,
}

impl Bench {
    async fn new(name: &str, count: usize) -> Self {
        let first = SigningKey::from_seed(&[42; 32]);
        let old = sample::OLD.pack(&product(name), 0, &first).unwrap();
        Self::with(name, count, Software::Release(Box::new(old))).await
    }

    async fn with(name: &str, count: usize, software: Software) -> Self {
        let product = product(name);
        let dir = tempfile::tempdir().unwrap();
        let first = SigningKey::from_seed(&[42; 32]);
        let trust = KeySet::new(1, first.public(), &[first.public()]).unwrap();
        let folder = dir.path().join("devices");
        let mut config = SimulationConfig::new(folder, count, &product, trust, software);
        config.announce = false;
        config.settings.boot_ms = 50;
        let simulation = Simulation::start(&config).unwrap();
        let mut options = Options::new(dir.path().join("home"));
        options.mdns = false;
        let airlift = Airlift::open(options).await.unwrap();
        let pem = dir.path().join("first.pem");
        files::write_private(&pem, &first.to_pem(None).unwrap()).unwrap();
        airlift.import_key(&pem, None).await.unwrap();
        for device in simulation.devices() {
            let address = device.address.to_string();
            let mut tries = 0;
            while airlift.add_device(&address).await.is_err() {
                tries += 1;
                assert!(tries < 50, "no device answers at {address}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Self {
            dir,
            product,
            first,
            simulation,
            airlift,
        }
    }

    fn ids(&self) -> Vec<String> {
        self.simulation
            .devices()
            .iter()
            .map(|d| d.id.clone())
            .collect()
    }

    fn device(&self, id: &str) -> Device {
        let mut devices = self.airlift.devices().into_iter();
        devices.find(|device| device.id == id).unwrap()
    }

    fn stick(&self, name: &str) -> PathBuf {
        let stick = self.dir.path().join("stick");
        std::fs::create_dir_all(&stick).unwrap();
        stick.join(name)
    }

    async fn offline_key(&self, name: &str) -> Key {
        let form = NewOfflineKey {
            name: name.to_owned(),
            path: self.stick(&format!("{name}.pem")).display().to_string(),
            passphrase: Secret::from(PASSPHRASE),
        };
        self.airlift.new_offline_key(form).await.unwrap()
    }

    fn change(&self, signer: &str, root: &Key, release: &[&Key]) -> KeyChange {
        KeyChange {
            devices: self.ids(),
            signer: signer.to_owned(),
            signer_file: None,
            passphrase: None,
            root: root.id.clone(),
            release_keys: release.iter().map(|key| key.id.clone()).collect(),
        }
    }

    async fn ends(&self, jobs: Vec<u32>) -> Vec<Job> {
        let mut ended = Vec::new();
        for job in jobs {
            let end = tokio::time::timeout(Duration::from_secs(60), self.airlift.wait_for(job));
            ended.push(end.await.expect("it ends").unwrap());
        }
        ended
    }

    /// Updates all devices to a new sample that this key signed.
    async fn update(&self, sequence: u32, key: &SigningKey) -> Vec<Job> {
        let mut release = sample::NEW.pack(&self.product, 0, key).unwrap();
        if release.manifest().sequence < sequence {
            release = airlift_release::resign(&release, sequence, key, 0).unwrap();
        }
        let file = self.dir.path().join(format!("{}.airlift", release.id()));
        std::fs::write(&file, release.to_file()).unwrap();
        let id = self.airlift.add_release(&file).await.unwrap().id;
        let jobs = self.airlift.start_update(&self.ids(), &id, false).await;
        self.ends(jobs.unwrap()).await
    }
}

/// Unique to the test and to the run.
fn product(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code().as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_get_an_offline_root_and_a_new_release_key_and_fetch_nothing() {
    let bench = Bench::new("rekey", 2).await;
    let first = bench.first.id().to_string();
    let root = bench.offline_key("root").await;
    let release = bench.airlift.new_key("release", None).await.unwrap();

    let plan = bench.airlift.plan_key_change(&bench.ids()).await.unwrap();
    assert_eq!((plan.epoch, plan.refused.len()), (2, 0));
    let [needed] = <[_; 1]>::try_from(plan.roots).unwrap();
    assert_eq!(
        (needed.id.as_str(), needed.devices.len()),
        (first.as_str(), 2)
    );
    assert!(needed.key.is_some_and(|key| key.can_sign));

    let form = bench.change(&first, &root, &[&release]);
    let jobs = bench.airlift.change_keys(form).await.unwrap();
    let jobs = bench.ends(jobs).await;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        assert_eq!(job.end, Some(End::Done), "{}", job.summary);
        assert_eq!(
            job.release, jobs[0].release,
            "they run the same, so one release does"
        );
        assert_eq!(job.parts, [], "nothing is fetched");
    }
    for id in bench.ids() {
        let device = bench.device(&id);
        assert_eq!(device.root.as_deref(), Some(root.id.as_str()));
        assert_eq!(device.release_keys, std::slice::from_ref(&release.id));
        assert_eq!(
            (device.epoch, device.version.as_deref()),
            (2, Some("1.0.0"))
        );
        assert_eq!(device.release.as_deref(), Some(jobs[0].release.as_str()));
        assert_eq!(device.blocked, None);
    }
    let made = bench.airlift.releases();
    let made = made.iter().find(|r| r.id == jobs[0].release).unwrap();
    assert!(matches!(made.app, Part::Running { .. }));
    assert_eq!(made.keys.as_ref().unwrap().root, root.id);
    assert_eq!(made.running_on.len(), 2);

    for job in bench.update(9, &bench.first).await {
        assert_eq!(job.error.unwrap().code, "unknown_key", "{}", job.summary);
    }
    let pem = files::read_key_file(&bench.dir.path().join("home/keys/release.pem")).unwrap();
    let signing = SigningKey::from_pem(&pem, None).unwrap();
    for job in bench.update(10, &signing).await {
        assert_eq!(job.end, Some(End::Done), "{}", job.summary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_root_signs_from_its_file_and_is_not_taken_over() {
    let bench = Bench::new("offline-root", 1).await;
    let first = bench.first.id().to_string();
    let root = bench.offline_key("root").await;
    let release = bench.airlift.new_key("release", None).await.unwrap();
    let form = bench.change(&first, &root, &[&release]);
    let jobs = bench.airlift.change_keys(form).await.unwrap();
    assert_eq!(bench.ends(jobs).await[0].end, Some(End::Done));

    let next = bench.airlift.new_key("next", None).await.unwrap();
    let spare = bench.offline_key("spare").await;
    let plan = bench.airlift.plan_key_change(&bench.ids()).await.unwrap();
    let key = plan.roots[0].key.as_ref().unwrap();
    assert!(key.offline && !key.can_sign, "{key:?}");
    assert_eq!((plan.epoch, &plan.roots[0].id), (3, &root.id));

    let form = |file: Option<&str>, passphrase: Option<&str>| KeyChange {
        signer_file: file.map(|name| bench.stick(name).display().to_string()),
        passphrase: passphrase.map(Secret::from),
        ..bench.change(&root.id, &root, &[&next, &spare])
    };
    let change = |form| bench.airlift.change_keys(form);
    assert_eq!(
        code(change(form(None, None)).await),
        "bad_key",
        "it is not here"
    );
    assert_eq!(
        code(change(form(Some("root.pem"), None)).await),
        "bad_passphrase"
    );
    assert_eq!(
        code(change(form(Some("root.pem"), Some("wrong"))).await),
        "bad_passphrase"
    );
    assert_eq!(
        code(change(form(Some("spare.pem"), Some(PASSPHRASE))).await),
        "bad_key"
    );
    assert_eq!(bench.device(&bench.ids()[0]).epoch, 2, "nothing was sent");
    let jobs = change(form(Some("root.pem"), Some(PASSPHRASE)))
        .await
        .unwrap();
    assert_eq!(bench.ends(jobs).await[0].end, Some(End::Done));
    let device = bench.device(&bench.ids()[0]);
    assert_eq!(device.epoch, 3);
    assert_eq!(device.release_keys, [next.id, spare.id]);
    let here = bench.airlift.keys().await.unwrap();
    assert!(here.iter().any(|key| key.id == root.id && !key.can_sign));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_its_first_flash_keeps_the_version_that_the_library_knows_it_by() {
    let software = Software::App(sample::OLD.app.to_vec());
    let bench = Bench::with("first-flash", 1, software).await;
    let id = bench.ids().remove(0);
    assert_eq!(bench.device(&id).version, None);
    let old = sample::OLD.pack(&bench.product, 0, &bench.first).unwrap();
    let file = bench.dir.path().join("old.airlift");
    std::fs::write(&file, old.to_file()).unwrap();
    bench.airlift.add_release(&file).await.unwrap();
    let root = bench.offline_key("root").await;
    let form = bench.change(&bench.first.id().to_string(), &root, &[&root]);
    let jobs = bench.airlift.change_keys(form).await.unwrap();
    assert_eq!(bench.ends(jobs).await[0].end, Some(End::Done));
    assert_eq!(bench.device(&id).version.as_deref(), Some("1.0.0"));
    assert_eq!(bench.device(&id).root.as_deref(), Some(root.id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_devices_would_refuse_starts_no_job() {
    let bench = Bench::new("refused-change", 1).await;
    let first = bench.first.id().to_string();
    let other = bench.airlift.new_key("other", None).await.unwrap();
    let change = |form| bench.airlift.change_keys(form);
    // Not the root of these devices.
    let form = bench.change(&other.id, &other, &[&other]);
    assert_eq!(code(change(form).await), "bad_key_set");
    // None, the same twice, and more than a device holds.
    for count in [0, 2, 5] {
        let form = bench.change(&first, &other, &vec![&other; count]);
        assert_eq!(code(change(form).await), "bad_key_set", "{count}");
    }
    let mut unknown = bench.change(&first, &other, &[&other]);
    unknown.root = "0000000000000000".into();
    assert_eq!(code(change(unknown).await), "bad_key");
    let mut nobody = bench.change(&first, &other, &[&other]);
    nobody.devices = vec!["c3-nobody".into()];
    assert_eq!(code(change(nobody).await), "no_such_device");
    assert_eq!(bench.airlift.history().await.unwrap(), []);
    assert_eq!(bench.airlift.releases(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_device_is_busy_no_keys_are_changed_on_those_that_run_something_else() {
    let bench = Bench::new("rekey-busy", 2).await;
    let [free, busy] = <[String; 2]>::try_from(bench.ids()).unwrap();
    let new = sample::NEW.pack(&bench.product, 0, &bench.first).unwrap();
    let sequence = new.manifest().sequence + 1;
    let again = airlift_release::resign(&new, sequence, &bench.first, 0).unwrap();
    let mut updates = Vec::new();
    for release in [&new, &again] {
        let file = bench.dir.path().join("new.airlift");
        std::fs::write(&file, release.to_file()).unwrap();
        updates.push(bench.airlift.add_release(&file).await.unwrap().id);
    }
    // Its version is above that of the other one, and so it is the second to be asked.
    let only = std::slice::from_ref(&busy);
    let jobs = bench.airlift.start_update(only, &updates[0], false).await;
    assert_eq!(bench.ends(jobs.unwrap()).await[0].end, Some(End::Done));
    let jobs = bench.airlift.start_update(only, &updates[1], false).await;

    let root = SigningKey::from_seed(&[43; 32]).public();
    let new = NewKeys {
        root,
        release: vec![root],
        epoch: None,
    };
    let signer = SigningKey::from_seed(&[42; 32]);
    let devices = [free.clone(), busy];
    let change = bench.airlift.rekey(&devices, signer, new).await;
    assert_eq!(code(change), "busy");
    assert_eq!(bench.ends(jobs.unwrap()).await[0].end, Some(End::Done));
    assert_eq!(bench.airlift.history().await.unwrap().len(), 2);
    assert_eq!(bench.device(&free).epoch, 1);
    assert_eq!(bench.airlift.releases().len(), 2, "none was made");
}
