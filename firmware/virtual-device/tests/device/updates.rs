//! Updates that go well.

use crate::kit::*;
use airlift_release::resign;
use airlift_updater::SlotId;
use airlift_virtual_device::Factory;
use airlift_virtual_device::nor::OpKind;
use airlift_virtual_device::timing::Timing;
use airlift_wire::otadata::ImageState;
use std::time::Duration;

#[test]
fn an_app_goes_from_factory_to_ota_0_to_ota_1_and_back_to_ota_0() {
    let (bench, nor) = bench(bare_flash(), settings());
    let slots = [SlotId::Ota0, SlotId::Ota1, SlotId::Ota0];
    for (n, slot) in slots.into_iter().enumerate() {
        let version = format!("1.{n}.0");
        let release = app_only(&version, n as u32 + 1);
        let info = bench.run(update_and_settle(&bench, &release)).unwrap();
        let running = &info["running"];
        assert_eq!(running["slot"], slot.name());
        assert_eq!(running["state"], "valid");
        assert_eq!(running["version"], version.as_str());
        assert_eq!(running["sequence"], n as u64 + 1);
        let app = app(&version);
        assert!(app_of(&nor.snapshot(), slot, app.len()) == app);
        let digest = release.app().unwrap().digest().to_string();
        assert_eq!(running["app_sha256"], digest);
        assert_eq!(info["last_update"]["end"], "done");
        assert_eq!(info["last_update"]["boots"], 1);
    }
}

#[test]
fn the_factory_slot_is_never_written() {
    let (bench, nor) = bench(bare_flash(), settings());
    let before = nor.snapshot();
    for sequence in 1..4 {
        let release = release(&format!("1.{sequence}.0"), sequence);
        bench.run(update_and_settle(&bench, &release)).unwrap();
    }
    let factory = layout(&before, SlotId::Factory).factory.unwrap();
    let range = factory.offset as usize..factory.end() as usize;
    assert!(nor.snapshot()[range.clone()] == before[range]);
}

#[test]
fn a_device_without_a_factory_slot_updates_too() {
    let app = app("0.9.0");
    let mut factory = Factory::new(PRODUCT, "bench", trust());
    factory.factory_slot = false;
    factory.app = Some(&app);
    let (bench, nor) = bench(factory.build().unwrap(), settings());
    let release = release("1.0.0", 1);
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["slot"], "ota_1");
    assert_eq!(otadata(&nor.snapshot())[0].state, ImageState::Valid);
    assert_eq!(info["slots"].as_array().unwrap().len(), 2);
}

#[test]
fn files_are_written_replaced_and_removed() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    for (version, sequence, slot) in [("2.0.0", 2, "ota_1"), ("3.0.0", 3, "ota_0")] {
        let release = release(version, sequence);
        let info = bench.run(update_and_settle(&bench, &release)).unwrap();
        let digest = release.files().unwrap().digest().to_string();
        assert_eq!(info["running"]["files_sha256"], digest);
        let image = nor.snapshot();
        let read = |name: &str| file(&image, &format!("/{slot}/{name}"));
        assert_eq!(
            read("main.py"),
            Some(format!("print('{version}')\n").into_bytes())
        );
        assert_eq!(read("VERSION"), Some(format!("{version}\n").into_bytes()));
        assert_eq!(read("zero"), Some(Vec::new()));
        assert_eq!(read(&format!("only-{version}.txt")), Some(vec![b'o'; 100]));
        assert_eq!(
            read("only-1.0.0.txt"),
            None,
            "of the release that was there"
        );
    }
}

#[test]
fn an_app_of_more_than_one_index_page_arrives_whole() {
    let large = airlift_virtual_device::deterministic::sample_app(CHIP, "big", 700_000);
    let release = release_of("big", 1, Some(large.clone()), None, None);
    assert_eq!(release.app().unwrap().index().len(), 171 * 32);
    let (bench, nor) = bench(bare_flash(), settings());
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["version"], "big");
    assert!(app_of(&nor.snapshot(), SlotId::Ota0, large.len()) == large);
}

#[test]
fn a_part_that_is_not_carried_is_copied_from_the_running_slot() {
    let base = release("1.0.0", 1);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &base), settings());
    let files_only = release_of("1.0.1", 2, None, Some(files("1.0.1")), Some(&base));
    let info = bench.run(update_and_settle(&bench, &files_only)).unwrap();
    let app_digest = base.app().unwrap().digest();
    assert_eq!(info["running"]["slot"], "ota_1");
    assert_eq!(info["running"]["app_sha256"], app_digest.to_string());
    assert!(app_of(&nor.snapshot(), SlotId::Ota1, APP_LEN) == &app("1.0.0")[..APP_LEN]);
    assert_eq!(bench.host().bytes_sent(app_digest), 0);

    let app_only = release_of("1.0.2", 3, Some(app("1.0.2")), None, Some(&files_only));
    let info = bench.run(update_and_settle(&bench, &app_only)).unwrap();
    let files_digest = files_only.files().unwrap().digest();
    assert_eq!(info["running"]["files_sha256"], files_digest.to_string());
    let image = nor.snapshot();
    assert_eq!(file(&image, "/ota_0/only-1.0.1.txt"), Some(vec![b'o'; 100]));
    assert_eq!(file(&image, "/ota_0/only-1.0.0.txt"), None);
    assert_eq!(file(&image, "/ota_0/VERSION"), Some(b"1.0.2\n".to_vec()));
}

#[test]
fn the_running_release_answers_already_current_and_touches_nothing() {
    let release = release("1.0.0", 1);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release), settings());
    bench.run(async {}).unwrap();
    let (before, changes) = (nor.snapshot(), nor.counters().changes());
    let lines = bench.run(update(&bench, &release)).unwrap();
    assert_eq!(code(&lines), "already_current");
    assert!(nor.snapshot() == before);
    assert_eq!(nor.counters().changes(), changes);
    assert_eq!(bench.host().requests(), []);
}

#[test]
fn going_back_with_a_new_sequence_fetches_nothing() {
    let old = release("1.0.0", 1);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &old), settings());
    bench
        .run(update_and_settle(&bench, &release("2.0.0", 2)))
        .unwrap();
    let again = resign(&old, 3, &key(), 0).unwrap();
    bench.host().reset_counts();
    let info = bench.run(update_and_settle(&bench, &again)).unwrap();
    assert_eq!(info["running"]["version"], "1.0.0");
    assert_eq!(info["running"]["slot"], "ota_0");
    for (_, part) in again.parts() {
        assert_eq!(bench.host().bytes_sent(part.digest()), 0);
    }
}

#[test]
fn the_sequence_is_raised_only_after_the_release_has_confirmed() {
    let (bench, nor) = bench(bare_flash(), settings());
    let release = app_only("1.0.0", 5);
    bench
        .run(async {
            let lines = update(&bench, &release).await;
            assert_eq!(lines.last().unwrap()["event"], "rebooting");
            assert_eq!(state(&nor.snapshot()).sequence, 0);
        })
        .unwrap();
    // The device has not restarted yet: it gives its last line time to leave.
    bench
        .run(async { while settled(&bench).await["running"]["slot"] != "ota_0" {} })
        .unwrap();
    let state = state(&nor.snapshot());
    assert_eq!((state.sequence, state.confirmed), (5, Some(release.id())));
}

#[test]
fn new_keys_count_from_the_confirmed_release_on() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let next = airlift_release::SigningKey::from_seed(&[9; 32]);
    let (signer, new) = (root(), app("2.0.0"));
    let mut options = airlift_release::PackOptions::new(PRODUCT, 2, &signer);
    options.version = Some("2.0.0");
    options.app = Some(new.into());
    options.new_keys = airlift_wire::KeySet::new(2, root().public(), &[next.public()]);
    let change = airlift_release::pack(options).unwrap().release;
    let info = bench.run(update_and_settle(&bench, &change)).unwrap();
    assert_eq!(info["trust"]["epoch"], 2);
    assert_eq!(info["trust"]["keys"][0], next.id().to_string());
    let lines = bench.run(update(&bench, &app_only("3.0.0", 3))).unwrap();
    assert_eq!(code(&lines), "unknown_key");
    assert_eq!(state(&nor.snapshot()).trust.unwrap().epoch, 2);
}

#[test]
fn a_record_of_the_whole_update_reaches_whoever_started_it() {
    let (bench, _) = bench(bare_flash(), settings());
    let release = release("1.0.0", 1);
    let lines = bench.run(update(&bench, &release)).unwrap();
    let is = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    let started = &lines[0];
    assert_eq!(started["event"], "started");
    assert_eq!(started["parts"]["app"], chunks(app("1.0.0").len()));
    assert_eq!(started["release"], release.id().to_string());
    let phases: Vec<_> = is("phase")
        .map(|line| line["phase"].as_str().unwrap())
        .collect();
    assert_eq!(
        phases,
        ["preflight", "signature", "app", "files", "check", "switch"]
    );
    for (part, done) in [("app", "read_back"), ("files", "written")] {
        let of = |state: &str| -> u64 {
            is("chunk")
                .filter(|line| line["part"] == part && line["state"] == state)
                .map(|line| line["count"].as_u64().unwrap())
                .sum()
        };
        let total = started["parts"][part].as_u64().unwrap();
        assert_eq!(
            [of("fetching"), of("checked"), of(done)],
            [total; 3],
            "{part}"
        );
    }
    for line in is("part") {
        assert_eq!(line["expected"], line["computed"]);
    }
    assert_eq!(is("part").count(), 2);
    assert_eq!(lines.last().unwrap()["slot"], "ota_0");
}

#[test]
fn flash_time_and_network_time_overlap() {
    let mut settings = settings();
    settings.timing = Timing::Typical;
    // About as fast as the flash: 51 ms a chunk.
    settings.network.bytes_per_second = 80_000;
    let (bench, nor) = bench(bare_flash(), settings);
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    let (took, flash) = bench
        .run(async {
            let before = nor.counters();
            let start = bench.scheduler().now();
            let mut lines = bench.client().update(&release, "").await.unwrap();
            while let Some(line) = lines.next().await {
                if line.contains("\"check\"") {
                    break;
                }
            }
            let took = bench.scheduler().now() - start;
            let after = nor.counters();
            let erases = (after.erases - before.erases) as u32;
            let sector = Timing::Typical.duration(OpKind::Write, 0, 4096);
            let erase = Timing::Typical.duration(OpKind::Erase, 0, 4096);
            (took, (sector + erase) * erases)
        })
        .unwrap();
    let network = Duration::from_secs_f64(app("1.0.0").len() as f64 / 80_000.0);
    let larger = flash.max(network);
    assert!(
        took >= larger,
        "{took:?} is less than {flash:?} of flash or {network:?} of network"
    );
    assert!(
        took < larger.mul_f64(1.15),
        "{took:?}, flash {flash:?}, network {network:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_flash() {
    let run = || {
        let (bench, nor) = bench(bare_flash(), settings());
        bench
            .run(update_and_settle(&bench, &release("1.0.0", 1)))
            .unwrap();
        (nor.snapshot(), nor.counters(), bench.scheduler().now())
    };
    assert!(run() == run());
}
