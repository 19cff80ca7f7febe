//! Power cuts at every erase and write of a whole update: whatever happens, the device comes back
//! with the old or the new release, app and files together.

use crate::kit::*;
use airlift_release::{FilesInput, Release};
use airlift_updater::SlotId;
use airlift_updater::layout::write_entry;
use airlift_virtual_device::deterministic::{Bench, sample_app};
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor, Verdict};
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{Bootloader, ChipFlash, Ending, Settings};
use airlift_wire::otadata::{Entry, ImageState};
use embassy_futures::poll_once;
use serde_json::Value;
use std::time::Duration;

/// Three chunks of app and a few files: small, so that every cut can be tried.
fn small(version: &str, sequence: u32) -> Release {
    let app = sample_app(CHIP, version, 10_000);
    let files = FilesInput::from_iter([
        ("a.py".to_owned(), version.repeat(1000).into_bytes()),
        ("lib/b.py".to_owned(), version.repeat(20).into_bytes()),
        (format!("{version}.txt"), Vec::new()),
    ]);
    release_of(version, sequence, Some(app), Some(files), None)
}

struct Story {
    flash: Vec<u8>,
    /// In the target slot before.
    oldest: Release,
    old: Release,
    new: Release,
    settings: Settings,
}

impl Story {
    fn new(settings: Settings) -> Self {
        let oldest = small("0.5.0", 1);
        let (old, new) = (small("1.0.0", 2), small("2.0.0", 3));
        // The target slot holds an older release: it is replaced, not only filled.
        let (bench, nor) = bench(flash_with(SlotId::Ota1, &oldest), settings.clone());
        bench.run(update_and_settle(&bench, &old)).unwrap();
        let flash = nor.snapshot();
        Self {
            flash,
            oldest,
            old,
            new,
            settings,
        }
    }

    /// The running slot is not the one that otadata selects.
    fn after_a_refused_image(settings: Settings) -> Self {
        let mut story = Self::new(settings);
        let (bench, nor) = story.bench();
        bench
            .run(async {
                bench
                    .client()
                    .update(&story.new, "")
                    .await
                    .unwrap()
                    .all()
                    .await;
                let at = layout(&story.flash, SlotId::Ota0).ota[1].offset + 5000;
                flip_bit(&nor, at);
            })
            .unwrap();
        let starts = bench.starts();
        let info = bench
            .run(async {
                while bench.starts() == starts {
                    bench.scheduler().sleep(Duration::from_millis(50)).await;
                }
                settled(&bench).await
            })
            .unwrap();
        assert_eq!(info["last_update"]["cause"], "image_refused");
        story.flash = nor.snapshot();
        story.new = small("3.0.0", 4);
        story
    }

    fn bench(&self) -> (Bench, SharedNor) {
        let bench = Bench::new(7);
        bench.host().add(&self.new);
        let nor = SharedNor::new(NorFlash::from_image(self.flash.clone()).unwrap());
        bench.mount(nor.clone(), self.settings.clone());
        bench.run(async {}).unwrap();
        nor.lock().reset_counters();
        (bench, nor)
    }

    /// Changes of the flash from the request to the confirmation.
    fn length(&self) -> u64 {
        let (bench, nor) = self.bench();
        bench.run(update_and_settle(&bench, &self.new)).unwrap();
        nor.counters().changes()
    }

    /// Updates until the device has ended or confirmed.
    async fn update(&self, bench: &Bench) {
        let starts = bench.starts();
        if let Ok(lines) = bench.client().update(&self.new, "").await {
            let lines = lines.all().await;
            if !lines.last().is_some_and(|line| line.contains("rebooting")) {
                return;
            }
        }
        while bench.ended().is_none() {
            if bench.starts() > starts && is_idle(bench).await {
                return;
            }
            bench.scheduler().sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tries every cut; how often the old and the new release were there afterwards.
    fn cut_everywhere(&self) {
        let length = self.length();
        assert!(length > 40, "{length}");
        let (mut old, mut new) = (0, 0);
        for at in 0..length {
            for verdict in verdicts(at) {
                let context = (self.settings.bootloader, at, verdict);
                let (bench, nor) = self.bench();
                nor.set_hook(AtChange::new(at, verdict));
                bench.run(self.update(&bench)).unwrap();
                assert_eq!(bench.ended(), Some(Ending::PowerLost), "{context:?}");
                let whole = whole_slots(&nor.snapshot(), &[&self.oldest, &self.old, &self.new]);
                assert_eq!(whole[0].1.id(), self.old.id(), "{context:?}");
                bench.power_on();
                let info = bench.run(settled(&bench)).unwrap();
                if self.check(&info, &context) {
                    new += 1;
                    continue;
                }
                old += 1;
                // Again, unless the trial was what the cut hit: then it takes a word.
                let rolled_back = info["last_update"]["end"] == "rolled_back";
                let query = if rolled_back { "?retry=1" } else { "" };
                let lines = bench
                    .run(async {
                        bench
                            .client()
                            .update(&self.new, query)
                            .await
                            .unwrap()
                            .all()
                            .await
                    })
                    .unwrap();
                assert!(
                    lines.last().unwrap().contains("rebooting"),
                    "{context:?}: {lines:#?}"
                );
                let starts = bench.starts();
                let info = bench
                    .run(async {
                        while bench.starts() == starts {
                            bench.scheduler().sleep(Duration::from_millis(50)).await;
                        }
                        settled(&bench).await
                    })
                    .unwrap();
                assert!(self.check(&info, &context), "{context:?}");
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
    }

    /// What runs is one of the two releases, whole.
    fn check(&self, info: &Value, context: &dyn std::fmt::Debug) -> bool {
        let running = &info["running"];
        let is_new = running["release"] == self.new.id().to_string();
        let release = if is_new { &self.new } else { &self.old };
        assert_eq!(
            running["release"],
            release.id().to_string(),
            "{context:?}: {info:#}"
        );
        assert_eq!(running["state"], "valid", "{context:?}");
        let app = release.app().unwrap().digest().to_string();
        assert_eq!(running["app_sha256"], app, "{context:?}");
        let files = release.files().unwrap().digest().to_string();
        assert_eq!(running["files_sha256"], files, "{context:?}");
        is_new
    }
}

async fn is_idle(bench: &Bench) -> bool {
    let answer = bench.client().get("/v1/device").await;
    answer.is_ok_and(|answer| answer.json()["updater"]["state"] == "idle")
}

/// Before, after, and somewhere in the middle of the operation: elsewhere for each.
fn verdicts(at: u64) -> [Verdict; 3] {
    let permille = (at * 379 % 1000) as u16;
    let torn = Verdict::Tear { permille, seed: at };
    [Verdict::CutBefore, torn, Verdict::CutAfter]
}

#[test]
fn a_cut_anywhere_leaves_the_old_or_the_new_release_and_the_update_can_be_repeated() {
    for settings in both_bootloaders() {
        Story::new(settings).cut_everywhere();
    }
}

#[test]
fn so_does_a_cut_while_otadata_selects_a_slot_that_the_bootloader_refused() {
    for settings in both_bootloaders() {
        Story::after_a_refused_image(settings).cut_everywhere();
    }
}

#[test]
fn a_second_cut_while_the_device_recovers_changes_nothing_of_that() {
    for settings in both_bootloaders() {
        let story = Story::new(settings);
        let length = story.length();
        for at in 0..length {
            for second in [0, 1, 4] {
                let verdict = Verdict::Tear {
                    permille: 300 + 90 * second,
                    seed: at,
                };
                let context = (story.settings.bootloader, at, second);
                let (bench, nor) = story.bench();
                nor.set_hook(AtChange::new(at, verdict));
                bench.run(story.update(&bench)).unwrap();
                assert_eq!(bench.ended(), Some(Ending::PowerLost), "{context:?}");
                nor.set_hook(AtChange::new(u64::from(second), verdict));
                bench.power_on();
                // The cut comes while it starts, or in the update that follows.
                let start = async { bench.wait_until_up().await };
                if bench.scheduler().run(start).unwrap() {
                    let info = bench.run(settled_or_off(&bench)).unwrap();
                    if let Some(info) = info {
                        story.check(&info, &context);
                        bench.run(story.update(&bench)).unwrap();
                    }
                }
                nor.clear_hook();
                bench.power_on();
                let info = bench.run(settled(&bench)).unwrap();
                story.check(&info, &context);
            }
        }
    }
}

async fn settled_or_off(bench: &Bench) -> Option<Value> {
    while bench.ended().is_none() {
        if is_idle(bench).await {
            return Some(info(&bench.client()).await);
        }
        bench.scheduler().sleep(Duration::from_millis(50)).await;
    }
    None
}

#[test]
fn a_torn_entry_of_otadata_never_counts_with_another_state() {
    // *new* is 0 and *valid* is 2: one bit that was not cleared would confirm a trial.
    let entry = Entry::new(3, ImageState::New);
    let mut whole = 0;
    for change in 0..3 {
        for seed in 0..400 {
            let nor = SharedNor::new(NorFlash::blank(NorFlash::SIZE_MIN).unwrap());
            let before = Entry::new(1, ImageState::Aborted).encode();
            nor.write(0xD000, &before).unwrap();
            let permille = 800 + (seed % 200) as u16;
            nor.set_hook(AtChange::new(change, Verdict::Tear { permille, seed }));
            let mut flash = ChipFlash::new(nor.clone(), Timing::None, NoTime);
            let written = poll_once(write_entry(&mut flash, 0xD000, &entry));
            assert!(written.is_pending(), "a program without power has ended");
            let found = Entry::decode(nor.snapshot()[0xD000..].first_chunk().unwrap());
            if found.is_selectable() {
                assert_eq!(found, entry, "{change} {permille} {seed}");
                whole += 1;
            }
        }
    }
    assert!(whole > 0, "no cut was late enough to leave a whole entry");
}

#[test]
fn a_cut_changes_nothing_outside_of_what_an_update_may_write() {
    let mut settings = settings();
    settings.bootloader = Bootloader::Rollback;
    let story = Story::new(settings);
    let layout = layout(&story.flash, SlotId::Ota0);
    let may_change = [
        Some(layout.otadata),
        Some(layout.airlift),
        layout.partition(SlotId::Ota1),
        layout.vfs,
    ];
    for at in 0..story.length() {
        let (bench, nor) = story.bench();
        nor.set_hook(AtChange::new(
            at,
            Verdict::Tear {
                permille: 600,
                seed: at,
            },
        ));
        bench.run(story.update(&bench)).unwrap();
        for sector in changed_sectors(&story.flash, &nor.snapshot()) {
            let known = may_change.iter().flatten();
            let inside = known
                .into_iter()
                .any(|p| (p.offset..p.end()).contains(&sector));
            assert!(inside, "cut {at}: {sector:#x}");
        }
    }
}

/// Sectors whose bytes differ, as offsets.
fn changed_sectors(before: &[u8], after: &[u8]) -> Vec<u32> {
    let pairs = before.chunks(4096).zip(after.chunks(4096)).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(n, _)| n as u32 * 4096)
        .collect()
}
