//! Flash that does not keep what is written to it, and networks that lose.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_virtual_device::Ending;
use airlift_virtual_device::boot::Dead;
use airlift_virtual_device::nor::{AtChange, BadSector, Verdict};

#[test]
fn a_slow_and_lossy_network_takes_longer_and_ends_well() {
    let mut settings = settings();
    settings.network.latency_ms = 20;
    settings.network.bytes_per_second = 100_000;
    settings.network.resets_permille = 20;
    settings.network.flips_permille = 50;
    let (bench, nor) = bench(bare_flash(), settings);
    let release = release("1.0.0", 1);
    bench.host().add(&release);
    let info = bench
        .run(async {
            // Progress may break off; the job does not.
            let mut tries = 0;
            loop {
                tries += 1;
                assert!(tries < 1000);
                let info = settled(&bench).await;
                if info["running"]["slot"] == "ota_0" {
                    return info;
                }
                if let Ok(lines) = bench.client().update(&release, "").await {
                    lines.all().await;
                }
            }
        })
        .unwrap();
    assert_eq!(info["running"]["release"], release.id().to_string());
    let app = app("1.0.0");
    assert!(app_of(&nor.snapshot(), SlotId::Ota0, app.len()) == app);
}

#[test]
fn one_silent_bit_error_in_a_chunk_is_read_back_and_written_again() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.run(async {}).unwrap();
    // The write of chunk 4: after the envelope's erase, two changes a chunk.
    nor.set_hook(AtChange::new(
        1 + 2 * 4 + 1,
        Verdict::BitError { bits: 3, seed: 5 },
    ));
    let info = bench
        .run(update_and_settle(&bench, &app_only("1.0.0", 1)))
        .unwrap();
    assert_eq!(info["running"]["version"], "1.0.0");
    let at = layout(&nor.snapshot(), SlotId::Ota0).ota[0].offset + 4 * 4096;
    assert_eq!(nor.lock().erases_at(at), 2);
}

#[test]
fn a_worn_sector_in_the_slot_is_a_flash_fault_and_the_device_stays_as_it_is() {
    for bad in [BadSector::Refuses, BadSector::Stuck { bits: 20, seed: 1 }] {
        let image = bare_flash();
        let at = layout(&image, SlotId::Ota0).ota[0].offset + 8192;
        let mut settings = settings();
        settings.bad_sectors = vec![(at, bad)];
        let (bench, nor) = bench(image, settings);
        let lines = bench.run(update(&bench, &app_only("1.0.0", 1))).unwrap();
        assert_eq!(code(&lines), "flash_fault");
        assert!(otadata(&nor.snapshot()).iter().all(|e| !e.is_selectable()));
        let info = bench.run(settled(&bench)).unwrap();
        assert_eq!(info["running"]["slot"], "factory");
        assert_eq!(info["last_update"]["end"], "failed");
    }
}

#[test]
fn a_device_without_an_app_is_dead_and_says_why() {
    let flash = airlift_virtual_device::Factory::new(PRODUCT, "bench", trust());
    let (bench, _) = bench(flash.build().unwrap(), settings());
    let up = bench.scheduler().run(bench.wait_until_up()).unwrap();
    assert!(!up);
    assert_eq!(bench.ended(), Some(Ending::Dead(Dead::NoApp)));
}

#[test]
fn a_device_whose_file_system_is_damaged_still_starts_and_refuses_files() {
    let mut image = bare_flash();
    let vfs = layout(&image, SlotId::Ota0).vfs.unwrap();
    image[vfs.offset as usize..][..16384].fill(0);
    let (bench, _) = bench(image, settings());
    let info = bench.run(settled(&bench)).unwrap();
    assert_eq!(info["running"]["files_sha256"], serde_json::Value::Null);
    let lines = bench.run(update(&bench, &release("1.0.0", 1))).unwrap();
    assert_eq!(code(&lines), "flash_fault");
}
