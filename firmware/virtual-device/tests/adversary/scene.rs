//! A device with an attacker beside it, and what must hold whatever the attacker does.

use crate::attack::Attack;
use crate::kit::*;
use airlift_release::Release;
use airlift_updater::SlotId;
use airlift_updater::platform::Files;
use airlift_virtual_device::deterministic::{Bench, HOST};
use airlift_virtual_device::nor::{NorFlash, SharedNor};
use airlift_virtual_device::{ChipFiles, Factory, Settings, mount_files, timing::Timing};
use airlift_wire::otadata::{ImageState, active};
use airlift_wire::partition::Partition;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// What the device runs: from `ota_0`, so that `ota_1` is the target.
pub const OLD: (&str, u32) = ("1.0.0", 5);
/// Sequences of honest updates start here.
const HONEST: u32 = 1_000;
/// A file of the application, outside of all slots.
const SETTINGS_FILE: (&str, &[u8]) = ("/settings.json", b"{\"brightness\": 7}\n");
/// Longer than a sixth of a minute: ten signature checks are allowed in one.
const BETWEEN_CHECKS: Duration = Duration::from_secs(7);

/// A device on a bench that runs a release with both parts.
pub struct Scene {
    pub bench: Bench,
    pub nor: SharedNor,
    pub old: Release,
    before: RefCell<(Vec<u8>, u64)>,
    honest: Cell<u32>,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        Self::of(settings, false)
    }

    /// With a device that takes nothing without a statement which release is the newest.
    pub fn careful() -> Self {
        Self::of(settings(), true)
    }

    fn of(settings: Settings, freshness_required: bool) -> Self {
        let (old, app) = (release(OLD.0, OLD.1), app("0.9.0"));
        let mut factory = Factory::new(PRODUCT, "bench", trust());
        factory.app = Some(&app);
        factory.installed = Some((SlotId::Ota0, &old));
        factory.freshness_required = freshness_required;
        let flash = factory.build().unwrap();
        let nor = SharedNor::new(NorFlash::from_image(flash).unwrap());
        put(&nor, SETTINGS_FILE.0, SETTINGS_FILE.1);
        let bench = Bench::new(7);
        bench.mount(nor.clone(), settings);
        let scene = Self {
            bench,
            nor,
            old,
            before: RefCell::default(),
            honest: Cell::new(HONEST),
        };
        scene.run(async {});
        scene.remember();
        scene
    }

    /// Runs a script; it must end within an hour of the device's time.
    pub fn run<T>(&self, script: impl Future<Output = T>) -> T {
        self.bench.run(script).expect("the device stands still")
    }

    /// From now on, "before" is now.
    pub fn remember(&self) {
        *self.before.borrow_mut() = (self.nor.snapshot(), self.nor.counters().changes());
    }

    pub fn before(&self) -> Vec<u8> {
        self.before.borrow().0.clone()
    }

    /// Posts an envelope and returns the answer, whether it is progress or a refusal.
    pub fn post(&self, envelope: &[u8]) -> Vec<Value> {
        self.run(self.posting(envelope, ""))
    }

    pub async fn posting(&self, envelope: &[u8], query: &str) -> Vec<Value> {
        self.bench.scheduler().sleep(BETWEEN_CHECKS).await;
        let lines = self.bench.client().post_envelope(envelope, query).await;
        json(lines.expect("the device answers").all().await)
    }

    /// Has the host serve a release, posts it, and returns the answer.
    pub fn offer(&self, release: &Release) -> Vec<Value> {
        self.bench.host().add(release);
        self.post(release.envelope())
    }

    /// The envelope is refused with the code of the attack before the host is asked for anything,
    /// and not a bit of the flash has changed.
    pub fn refuses(&self, attack: &Attack, envelope: &[u8]) {
        self.bench.host().reset_counts();
        let lines = self.post(envelope);
        assert_eq!(code(&lines), attack.code(), "{lines:#?}");
        assert_eq!(lines.len(), 1, "it was refused at once: {lines:#?}");
        assert_eq!(self.bench.host().requests(), [], "nothing is fetched");
        self.is_untouched();
        self.runs_the_old_release();
    }

    /// The update begins and fails with the code of the attack; at most the target slot changed.
    pub fn fails(&self, attack: &Attack, envelope: &[u8]) -> Vec<Value> {
        let lines = self.post(envelope);
        self.failed(attack, &lines);
        lines
    }

    /// As [`Scene::fails`], for lines that are there already.
    pub fn failed(&self, attack: &Attack, lines: &[Value]) {
        assert_eq!(code(lines), attack.code(), "{lines:#?}");
        assert_eq!(lines[0]["event"], "started", "it was not refused at once");
        self.only_the_target_changed();
        self.runs_the_old_release();
    }

    pub fn is_untouched(&self) {
        let before = self.before.borrow();
        assert_eq!(self.nor.counters().changes(), before.1, "the flash changed");
        assert!(self.nor.snapshot() == before.0, "the flash changed");
    }

    /// Nothing in flash changed in value but the target's partition and folder, what is noted of
    /// the last update, and the target's envelope, which is gone.
    pub fn only_the_target_changed(&self) {
        let (before, after) = (&self.before.borrow().0, &self.nor.snapshot());
        let layout = layout(before, SlotId::Ota0);
        let target = layout.partition(SlotId::Ota1).unwrap();
        let vfs = layout.vfs.unwrap();
        let within = |partition: Partition, at: usize| {
            (partition.offset..partition.offset + partition.size).contains(&(at as u32))
        };
        for (n, (old, new)) in before.chunks(4096).zip(after.chunks(4096)).enumerate() {
            let at = n * 4096;
            let may_change =
                within(target, at) || within(vfs, at) || within(layout.airlift, at) || old == new;
            assert!(may_change, "the sector at {at:#x} changed");
        }
        let sector = |image: &[u8], slot| -> Vec<u8> {
            image[layout.envelope_offset(slot) as usize..][..4096].to_vec()
        };
        for slot in [SlotId::Factory, SlotId::Ota0] {
            assert!(sector(before, slot) == sector(after, slot), "{slot:?}");
        }
        assert!(
            sector(after, SlotId::Ota1)[..4] == [0xFF; 4],
            "the target has an envelope"
        );
        let entries = otadata(after);
        let entry = entries[active(&entries).unwrap()];
        assert_eq!(entry.slot(2), SlotId::Ota0.ota());
        assert_eq!(entry.state, ImageState::Valid);
        let (old, new) = (state(before), state(after));
        assert_eq!(
            (new.sequence, new.confirmed, new.trust, new.rolled_back),
            (old.sequence, old.confirmed, old.trust, old.rolled_back)
        );
        assert_eq!(top_level(before), top_level(after));
        assert_eq!(
            file(after, SETTINGS_FILE.0).as_deref(),
            Some(SETTINGS_FILE.1)
        );
    }

    pub fn runs_the_old_release(&self) {
        let info = self.run(settled(&self.bench));
        let running = &info["running"];
        assert_eq!(running["release"], self.old.id().to_string());
        assert_eq!(running["slot"], "ota_0");
        assert_eq!(running["state"], "valid");
        let digest = |part: Option<&airlift_release::Part>| part.unwrap().digest().to_string();
        assert_eq!(running["app_sha256"], digest(self.old.app()));
        assert_eq!(running["files_sha256"], digest(self.old.files()));
    }

    /// Waits until a trial has been given up and the old release runs again.
    pub fn comes_back(&self) {
        self.run(async {
            while settled(&self.bench).await["last_update"]["end"] != "rolled_back" {
                self.bench
                    .scheduler()
                    .sleep(Duration::from_millis(100))
                    .await;
            }
        });
        self.runs_the_old_release();
    }

    /// No byte of `evil`, which is random enough to be told, is in the target's partition.
    pub fn target_holds_nothing_of(&self, evil: &[u8]) {
        let image = self.nor.snapshot();
        let partition = layout(&image, SlotId::Ota0)
            .partition(SlotId::Ota1)
            .unwrap();
        let target = &image[partition.offset as usize..][..partition.size as usize];
        for piece in evil.chunks(4096).filter_map(|chunk| chunk.get(512..576)) {
            let found = target.chunks(4096).any(|sector| sector[512..576] == *piece);
            assert!(!found, "a chunk of the attacker is in flash");
        }
    }

    /// Takes the device's power away for a moment. No value in flash changes, though bits that a cut
    /// could have left weak are written again.
    pub fn restart(&self) {
        self.bench.power_on();
        self.run(async {});
        assert!(self.nor.snapshot() == self.before(), "the flash changed");
        self.remember();
    }

    /// The attacker is gone. The device still runs the old release, starts with it, and takes the
    /// next honest one.
    pub fn recovers(&self) {
        self.runs_the_old_release();
        self.bench.host().clear_script();
        self.bench.host().clear_tamper();
        self.bench.network().set_silent(HOST, false);
        self.bench.power_on();
        self.run(async {});
        self.runs_the_old_release();
        self.takes_an_honest_update();
    }

    pub fn takes_an_honest_update(&self) {
        let sequence = self.honest.get();
        self.honest.set(sequence + 1);
        let version = format!("honest-{sequence}");
        let next = release(&version, sequence);
        let info = self.run(async {
            self.bench.scheduler().sleep(BETWEEN_CHECKS).await;
            update_and_settle(&self.bench, &next).await
        });
        assert_eq!(info["running"]["release"], next.id().to_string());
        assert_eq!(info["running"]["state"], "valid");
        let image = self.nor.snapshot();
        assert_eq!(state(&image).sequence, sequence);
        assert_eq!(
            file(&image, SETTINGS_FILE.0).as_deref(),
            Some(SETTINGS_FILE.1)
        );
    }
}

/// The update ended with a restart into the new release.
pub fn ended_well(lines: &[Value]) {
    assert_eq!(lines.last().unwrap()["event"], "rebooting", "{lines:#?}");
}

/// Writes to the file system behind the device's back.
pub fn put(nor: &SharedNor, path: &str, content: &[u8]) {
    on_files(nor, async |files| {
        files.create(path).await.unwrap();
        files.append(content).await.unwrap();
        files.close().await.unwrap();
    });
}

/// Names at the top of the file system.
fn top_level(image: &[u8]) -> Vec<String> {
    let nor = SharedNor::new(NorFlash::from_image(image.to_vec()).unwrap());
    on_files(&nor, async |files| {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map_or("", String::as_str).to_owned();
            match files.next_entry("/", after.as_bytes()).await.unwrap() {
                Some(entry) if entry.is_folder => names.push(format!("{}/", entry.name())),
                Some(entry) => names.push(entry.name().to_owned()),
                None => return names,
            }
        }
    })
}

fn on_files<T>(nor: &SharedNor, script: impl AsyncFnOnce(&mut ChipFiles<'_, NoTime>) -> T) -> T {
    let vfs = layout(&nor.snapshot(), SlotId::Ota0).vfs;
    let mut storage = airlift_littlefs::Storage::new();
    let mut files = mount_files(&mut storage, nor.clone(), vfs, Timing::None, NoTime);
    embassy_futures::block_on(script(&mut files))
}
