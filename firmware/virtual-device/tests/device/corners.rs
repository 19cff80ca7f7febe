//! Words that were torn, sectors that are worn, folders that somebody
//! else wrote to.

use crate::kit::*;
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_updater::SlotId;
use airlift_updater::platform::Files;
use airlift_virtual_device::deterministic::{Bench, Fate};
use airlift_virtual_device::nor::{AtChange, BadSector, Op, OpKind, SharedNor, Verdict};
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{Behaviour, Bootloader, Ending, Pace, mount_files};
use airlift_wire::KeySet;
use airlift_wire::otadata::ImageState;
use std::time::Duration;

struct NoTime;

impl Pace for NoTime {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn pause(&self, _: Duration) {}
}

/// Writes to the file system behind the device's back.
fn put(nor: &SharedNor, path: &str, content: &[u8]) {
    let vfs = layout(&nor.snapshot(), SlotId::Ota0).vfs;
    let mut storage = airlift_littlefs::Storage::new();
    let mut files = mount_files(&mut storage, nor.clone(), vfs, Timing::None, NoTime);
    embassy_futures::block_on(async {
        for (at, _) in path.match_indices('/').skip(1) {
            files.make_folder(&path[..at]).await.unwrap();
        }
        files.create(path).await.unwrap();
        files.append(content).await.unwrap();
        files.close().await.unwrap();
    });
}

/// A device with files and nothing running on it yet; [`Bench::power_on`] starts it.
fn off(flash: Vec<u8>) -> (Bench, SharedNor) {
    let (bench, nor) = bench(flash, settings());
    bench.power_off();
    nor.power_on();
    (bench, nor)
}

/// Waits for the next start, then until the device is idle.
async fn after_restart(bench: &Bench, starts: u32) -> serde_json::Value {
    while bench.starts() <= starts {
        bench.scheduler().sleep(Duration::from_millis(50)).await;
    }
    settled(bench).await
}

fn tiny(version: &str, sequence: u32, count: usize) -> Release {
    let files = (0..count).map(|n| (format!("tiny{n:03}"), vec![b'x'; 10]));
    let files = FilesInput::from_iter(files);
    release_of(version, sequence, Some(app(version)), Some(files), None)
}

#[test]
fn what_the_device_does_by_itself_for_long_is_not_counted_as_a_silent_host() {
    let first = tiny("1.0.0", 1, 150);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &first), settings());
    bench
        .run(update_and_settle(&bench, &release("2.0.0", 2)))
        .unwrap();
    // To remove the tiny files takes minutes, and then the connection breaks once.
    let mut slow = settings();
    slow.timing = Timing::Scaled(200.0);
    slow.confirm_ms = 600_000;
    bench.set_settings(slow);
    bench.power_on();
    let next = release("3.0.0", 3);
    let files = format!("/v1/blobs/{}", next.files().unwrap().digest());
    let mut broken = false;
    bench.host().set_tamper(move |piece, _| {
        if piece.path == files && !broken {
            broken = true;
            return Fate::Reset;
        }
        Fate::Send
    });
    let lines = bench.run(update(&bench, &next)).unwrap();
    assert_eq!(
        lines.last().unwrap()["event"],
        "rebooting",
        "{:?}",
        lines.last()
    );
}

#[test]
fn small_files_that_take_no_block_of_their_own_make_no_room_for_others() {
    let first = tiny("1.0.0", 1, 150);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &first), settings());
    let info = bench
        .run(update_and_settle(
            &bench,
            &release_of("2.0.0", 2, Some(app("2.0.0")), Some(files("2.0.0")), None),
        ))
        .unwrap();
    assert_eq!(info["running"]["slot"], "ota_1");
    let changes = nor.counters().changes();
    let blocks = layout(&nor.snapshot(), SlotId::Ota0).vfs.unwrap().size / 4096;
    // All the blocks that there are: too many next to the files that run.
    let big = (0..blocks - 10).map(|n| (format!("big{n:03}"), vec![b'x'; 4000]));
    let big = release_of(
        "3.0.0",
        3,
        None,
        Some(FilesInput::from_iter(big)),
        Some(&release("2.0.0", 2)),
    );
    let lines = bench.run(update(&bench, &big)).unwrap();
    assert_eq!(code(&lines), "too_big");
    assert_eq!(nor.counters().changes(), changes, "the slot is as it was");
}

#[test]
fn files_that_cannot_be_copied_are_found_before_anything_is_erased() {
    let (bench, nor) = off(flash_with(SlotId::Ota0, &release("1.0.0", 1)));
    // Each name is short enough, the path is not.
    let (folder, name) = ("a".repeat(60), "b".repeat(60));
    put(&nor, &format!("/ota_0/{folder}/{name}"), b"x");
    bench.power_on();
    bench.run(async {}).unwrap();
    let changes = nor.counters().changes();
    let lines = bench.run(update(&bench, &app_only("2.0.0", 2))).unwrap();
    assert_eq!(code(&lines), "wrong_base");
    assert_eq!(nor.counters().changes(), changes);
}

#[test]
fn a_folder_in_the_place_of_version_goes_with_the_rest() {
    let (bench, nor) = off(flash_with(SlotId::Ota1, &release("1.0.0", 1)));
    put(&nor, "/ota_0/VERSION/x", b"x");
    bench.power_on();
    let next = release("2.0.0", 2);
    let info = bench.run(update_and_settle(&bench, &next)).unwrap();
    assert_eq!(info["running"]["release"], next.id().to_string());
    let version = file(&nor.snapshot(), "/ota_0/VERSION");
    assert_eq!(version.as_deref(), Some(&b"2.0.0\n"[..]));
}

/// Updates to a release, and sets the state word of its entry before the device restarts.
fn with_torn_state(word: u32, marked: bool) -> serde_json::Value {
    let mut settings = settings().with_trial("2.0.0", Behaviour::NeverConfirms);
    settings.bootloader = Bootloader::Rollback;
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    bench
        .run(async {
            update(&bench, &release("2.0.0", 2)).await;
            let n = otadata(&nor.snapshot())
                .iter()
                .position(|e| e.state == ImageState::New);
            let at = layout(&nor.snapshot(), SlotId::Ota0).otadata_offset(n.unwrap());
            {
                let mut flash = nor.lock();
                flash.overwrite(at + 24, &word.to_le_bytes()).unwrap();
                if marked {
                    flash.overwrite(at + 4, &[0xFE]).unwrap();
                }
            }
            let info = after_restart(&bench, 1).await;
            assert_eq!(bench.ended(), None);
            info
        })
        .unwrap()
}

#[test]
fn a_state_that_the_bootloader_tore_is_not_a_confirmation() {
    // Of *pending* and of *aborted*, as they look when the power goes while they are written.
    for (word, marked) in [
        (0x0000_4001, false),
        (0x0000_4001, true),
        (0x0100_0004, true),
    ] {
        let info = with_torn_state(word, marked);
        assert_eq!(info["running"]["slot"], "ota_0", "{word:#x} {marked}");
        assert_eq!(info["last_update"]["end"], "rolled_back");
    }
}

/// Makes both copies of the state unwritable.
fn wear_out_the_state(nor: &SharedNor) {
    let at = layout(&nor.snapshot(), SlotId::Ota0).airlift.offset;
    let mut flash = nor.lock();
    flash.set_bad(at, BadSector::Refuses);
    flash.set_bad(at + 4096, BadSector::Refuses);
}

#[test]
fn a_trial_is_given_up_even_if_nobody_can_write_down_why() {
    for settings in both_bootloaders() {
        for behaviour in [
            Behaviour::NeverConfirms,
            Behaviour::Hangs,
            Behaviour::Panics,
        ] {
            let settings = settings.clone().with_trial("2.0.0", behaviour);
            let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
            let info = bench
                .run(async {
                    update(&bench, &release("2.0.0", 2)).await;
                    wear_out_the_state(&nor);
                    bench.scheduler().sleep(Duration::from_secs(30)).await;
                    settled(&bench).await
                })
                .unwrap();
            assert_eq!(info["running"]["slot"], "ota_0", "{behaviour:?}");
        }
    }
}

#[test]
fn a_confirmed_release_runs_without_its_state_and_no_older_one_is_taken() {
    for settings in both_bootloaders() {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
        let info = bench
            .run(async {
                update(&bench, &release("3.0.0", 3)).await;
                wear_out_the_state(&nor);
                bench.scheduler().sleep(Duration::from_secs(30)).await;
                settled(&bench).await
            })
            .unwrap();
        assert_eq!(info["running"]["version"], "3.0.0");
        assert_eq!(info["running"]["state"], "valid");
        assert_eq!(state(&nor.snapshot()).sequence, 1);
        let lines = bench.run(update(&bench, &release("2.0.0", 2))).unwrap();
        assert_eq!(code(&lines), "lower_sequence");
        let lines = bench.run(update(&bench, &release("other", 3))).unwrap();
        assert_eq!(code(&lines), "sequence_conflict");
    }
}

#[test]
fn a_confirmed_entry_bears_no_mark_of_its_trial() {
    // ESP-IDF's `esp_ota_set_boot_partition` keeps the label of the entry that it writes over.
    for settings in both_bootloaders() {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
        bench
            .run(update_and_settle(&bench, &release("2.0.0", 2)))
            .unwrap();
        let entries = otadata(&nor.snapshot());
        assert!(
            entries.iter().all(|entry| !entry.is_marked()),
            "{entries:?}"
        );
        assert!(entries.iter().all(|entry| entry.state == ImageState::Valid));
    }
}

#[test]
fn a_cut_in_a_long_file_costs_its_last_chunks_and_not_the_file() {
    let old = release("1.0.0", 1);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &old), settings());
    // More than one index page, most of it in one file.
    let long: Vec<u8> = (0..600_000u32).flat_map(|n| [(n % 251) as u8]).collect();
    let files = FilesInput::from_iter([
        ("a/before.py".to_owned(), vec![b'#'; 700]),
        ("a/long.bin".to_owned(), long.clone()),
        ("b.py".to_owned(), vec![b'#'; 700]),
    ]);
    let next = release_of("2.0.0", 2, None, Some(files), Some(&old));
    let digest = next.files().unwrap().digest();
    bench.host().add(&next);
    bench.run(async {}).unwrap();
    let vfs = layout(&nor.snapshot(), SlotId::Ota0).vfs.unwrap();
    for (cut, least) in [(20, 0), (60, 10), (60, 50)] {
        let mut erases = 0;
        nor.set_hook(move |op: &Op| {
            erases += u32::from(op.kind == OpKind::Erase && op.offset >= vfs.offset);
            if erases == cut {
                Verdict::CutBefore
            } else {
                Verdict::Proceed
            }
        });
        bench.host().reset_counts();
        bench
            .run(async {
                if let Ok(lines) = bench.client().update(&next, "").await {
                    lines.all().await;
                }
            })
            .unwrap();
        assert_eq!(bench.ended(), Some(Ending::PowerLost));
        let first = bench.host().requests();
        let first = first.iter().rfind(|r| r.path.contains("blobs"));
        let start = first.unwrap().range.as_ref().unwrap().start;
        assert!(start >= least * 4096, "{start} of {least} chunks");
        nor.clear_hook();
        bench.power_on();
    }
    let info = bench.run(update_and_settle(&bench, &next)).unwrap();
    assert_eq!(info["running"]["files_sha256"], digest.to_string());
    assert!(file(&nor.snapshot(), "/ota_1/a/long.bin") == Some(long));
}

#[test]
fn a_release_that_replaces_the_root_is_still_known_as_what_runs() {
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let next = SigningKey::from_seed(&[9; 32]);
    let signer = root();
    let mut options = PackOptions::new(PRODUCT, 2, &signer);
    options.version = Some("2.0.0");
    options.app = Some(app("2.0.0").into());
    options.new_keys = KeySet::new(2, next.public(), &[next.public()]);
    let change = pack(options).unwrap().release;
    let info = bench
        .run(async {
            update_and_settle(&bench, &change).await;
            bench.restart(airlift_wire::state::Cause::Software);
            bench.wait_until_up().await;
            settled(&bench).await
        })
        .unwrap();
    assert_eq!(info["trust"]["root"], next.id().to_string());
    assert_eq!(info["running"]["release"], change.id().to_string());
    assert_eq!(info["running"]["version"], "2.0.0");
    let lines = bench.run(update(&bench, &change)).unwrap();
    assert_eq!(code(&lines), "already_current");
    // The key that was replaced signs nothing new.
    let mut options = PackOptions::new(PRODUCT, 3, &signer);
    options.version = Some("3.0.0");
    options.app = Some(app("3.0.0").into());
    let stale = pack(options).unwrap().release;
    let lines = bench.run(update(&bench, &stale)).unwrap();
    assert_eq!(code(&lines), "unknown_key");
}

#[test]
fn a_second_cut_in_the_erase_of_the_envelope_does_not_hide_the_first() {
    let (bench, nor) = bench(bare_flash(), settings());
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    bench.run(async {}).unwrap();
    // After ten chunks; then while the envelope, which is blank already, is erased again.
    let torn = Verdict::Tear {
        permille: 250,
        seed: 3,
    };
    for (skip, verdict) in [(21, Verdict::CutBefore), (0, torn)] {
        nor.set_hook(AtChange::new(skip, verdict));
        bench
            .run(async {
                if let Ok(lines) = bench.client().update(&release, "").await {
                    lines.all().await;
                }
            })
            .unwrap();
        assert_eq!(bench.ended(), Some(Ending::PowerLost));
        bench.power_on();
    }
    bench.host().reset_counts();
    bench.run(update_and_settle(&bench, &release)).unwrap();
    // The last chunk that was kept is written again.
    let fetched = bench.host().bytes_sent(release.app().unwrap().digest());
    assert_eq!(fetched, bytes_from(app("1.0.0").len(), 9));
}
