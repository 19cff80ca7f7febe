//! Updates that are interrupted and go on.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_virtual_device::Ending;
use airlift_virtual_device::deterministic::{DEVICE, Fate, HOST};
use airlift_virtual_device::nor::{AtChange, OpKind, Verdict};
use std::time::Duration;

/// Runs an update into a power cut.
fn cut_update(
    bench: &airlift_virtual_device::deterministic::Bench,
    release: &airlift_release::Release,
) {
    bench.host().add(release);
    bench
        .run(async {
            // The connection breaks with the device.
            if let Ok(lines) = bench.client().update(release, "").await {
                lines.all().await;
            }
        })
        .unwrap();
    assert_eq!(bench.ended(), Some(Ending::PowerLost));
}

#[test]
fn after_a_power_cut_only_chunks_are_fetched_that_are_not_there() {
    let (bench, nor) = bench(bare_flash(), settings());
    let release = app_only("1.0.0", 1);
    bench.run(async {}).unwrap();
    // The envelope is erased; a chunk is an erase and a write; the cut comes before an erase.
    let written = 10;
    nor.set_hook(AtChange::new(1 + 2 * written, Verdict::CutBefore));
    cut_update(&bench, &release);
    let app = app("1.0.0");
    assert!(app_of(&nor.snapshot(), SlotId::Ota0, 40_960) == &app[..40_960]);

    bench.power_on();
    bench.host().reset_counts();
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["version"], "1.0.0");
    // The last one that was kept is written again.
    let fetched = bench.host().bytes_sent(release.app().unwrap().digest());
    assert_eq!(fetched, bytes_from(app.len(), written as u32 - 1));
    assert!(app_of(&nor.snapshot(), SlotId::Ota0, app.len()) == app);
}

#[test]
fn a_chunk_that_was_torn_is_fetched_again() {
    for (skip, permille) in [(21, 300), (22, 500), (22, 990), (21, 700)] {
        let (bench, nor) = bench(bare_flash(), settings());
        let release = app_only("1.0.0", 1);
        bench.run(async {}).unwrap();
        nor.set_hook(AtChange::new(skip, Verdict::Tear { permille, seed: 11 }));
        cut_update(&bench, &release);
        bench.power_on();
        bench.host().reset_counts();
        bench.run(update_and_settle(&bench, &release)).unwrap();
        let app = app("1.0.0");
        assert!(app_of(&nor.snapshot(), SlotId::Ota0, app.len()) == app);
        let fetched = bench.host().bytes_sent(release.app().unwrap().digest());
        assert_eq!(fetched, bytes_from(app.len(), 9), "cut {skip} {permille}");
    }
}

#[test]
fn files_that_are_there_are_not_fetched_again_after_a_cut() {
    let base = release("1.0.0", 1);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &base), settings());
    // Fifty files: the cut comes somewhere among them.
    let many = (0..50).map(|n| (format!("dir/f{n:02}.bin"), vec![n; 3000]));
    let many = airlift_release::FilesInput::from_iter(many);
    let release = release_of("2.0.0", 2, None, Some(many), Some(&base));
    let digest = release.files().unwrap().digest();
    let total = u64::from(release.files().unwrap().size());
    bench.run(async {}).unwrap();
    let vfs = layout(&nor.snapshot(), SlotId::Ota0).vfs.unwrap();
    let mut in_files = 0;
    nor.set_hook(move |op: &airlift_virtual_device::nor::Op| {
        if op.kind == OpKind::Erase && op.offset >= vfs.offset {
            in_files += 1;
        }
        if in_files == 30 {
            Verdict::CutBefore
        } else {
            Verdict::Proceed
        }
    });
    cut_update(&bench, &release);
    nor.clear_hook();
    let first = bench.host().bytes_sent(digest);
    bench.power_on();
    bench.host().reset_counts();
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["files_sha256"], digest.to_string());
    let second = bench.host().bytes_sent(digest);
    assert!(
        first > 0 && second > 0 && second < total * 3 / 4,
        "{first}, {second} of {total}"
    );
    assert_eq!(
        file(&nor.snapshot(), "/ota_1/dir/f49.bin"),
        Some(vec![49; 3000])
    );
}

#[test]
fn a_flipped_bit_is_refused_fetched_again_and_never_reaches_flash() {
    let (bench, nor) = bench(bare_flash(), settings());
    let release = release("1.0.0", 1);
    let app = app("1.0.0");
    // One piece in twenty, and never the same one twice in a row.
    bench.host().set_tamper(|piece, bytes| {
        if piece.index % 20 == 7 {
            let at = piece.index as usize * 37 % bytes.len();
            bytes[at] ^= 0x10;
        }
        Fate::Send
    });
    let partition = layout(&nor.snapshot(), SlotId::Ota0).ota[0];
    let (start, end) = (partition.offset, partition.offset + app.len() as u32);
    let lines = bench.run(update(&bench, &release)).unwrap();
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["state"] == "refused")
        .collect();
    assert!(!refused.is_empty());
    for line in &refused {
        assert_ne!(line["expected"], line["computed"]);
        assert_eq!(line["try"], 1);
    }
    assert_eq!(lines.last().unwrap()["event"], "rebooting");
    // Each sector was erased once: nothing wrong was in it in between.
    let nor = nor.lock();
    for sector in (start..end).step_by(4096) {
        assert_eq!(nor.erases_at(sector), 1);
    }
    assert!(app_of(nor.image(), SlotId::Ota0, app.len()) == app);
}

#[test]
fn a_chunk_that_never_arrives_right_ends_the_update() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.host().set_tamper(|piece, bytes| {
        if piece.path.contains("blobs") && piece.offset == 8192 {
            bytes[0] ^= 1;
        }
        Fate::Send
    });
    let lines = bench.run(update(&bench, &app_only("1.0.0", 1))).unwrap();
    assert_eq!(code(&lines), "bad_chunk");
    let tries: Vec<_> = lines
        .iter()
        .filter(|line| line["state"] == "refused")
        .map(|line| line["try"].as_u64().unwrap())
        .collect();
    assert_eq!(tries, [1, 2, 3, 4, 5, 6, 7, 8]);
    let blank = vec![0xFF; 4096];
    assert!(app_of(&nor.snapshot(), SlotId::Ota0, 12_288)[8192..] == blank);
}

#[test]
fn an_index_page_that_arrives_wrong_is_asked_for_again() {
    let (bench, _) = bench(bare_flash(), settings());
    let mut left = 3;
    bench.host().set_tamper(move |piece, bytes| {
        if piece.path.contains("indexes") && left > 0 {
            left -= 1;
            bytes[5] ^= 1;
        }
        Fate::Send
    });
    let info = bench
        .run(update_and_settle(&bench, &app_only("1.0.0", 1)))
        .unwrap();
    assert_eq!(info["running"]["version"], "1.0.0");
}

#[test]
fn connections_that_break_do_not_end_an_update() {
    let (bench, _) = bench(bare_flash(), settings());
    bench.host().set_tamper(|piece, _| {
        if piece.index % 9 == 4 {
            Fate::Reset
        } else {
            Fate::Send
        }
    });
    let release = release("1.0.0", 1);
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["release"], release.id().to_string());
}

#[test]
fn what_arrived_of_a_broken_request_is_not_asked_for_again() {
    let (bench, _) = bench(bare_flash(), settings());
    let mut broken = false;
    bench.host().set_tamper(move |piece, _| {
        if piece.path.contains("blobs") && piece.offset == 40_960 && !broken {
            broken = true;
            return Fate::Reset;
        }
        Fate::Send
    });
    bench.network().set_latency(Duration::from_millis(1));
    let release = app_only("1.0.0", 1);
    bench.run(update_and_settle(&bench, &release)).unwrap();
    let ranges: Vec<_> = bench
        .host()
        .requests()
        .into_iter()
        .filter(|request| request.path.contains("blobs"))
        .map(|request| request.range.unwrap())
        .collect();
    assert_eq!(ranges.len(), 2);
    // A reset loses what was on its way, and nothing that had arrived.
    assert!(ranges[1].start <= 40_960, "{ranges:?}");
    assert!(ranges[1].start % 4096 == 0);
}

#[test]
fn a_job_goes_on_when_its_watcher_is_gone_and_can_be_watched_again() {
    let mut settings = settings();
    settings.network.bytes_per_second = 50_000;
    let (bench, _) = bench(bare_flash(), settings);
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    let lines = bench
        .run(async {
            let client = bench.client();
            let mut first = client.update(&release, "").await.unwrap();
            while !first.next().await.unwrap().contains("checked") {}
            drop(first);
            bench.scheduler().sleep(Duration::from_millis(500)).await;
            let again = client.update(&release, "").await.unwrap();
            assert_eq!(again.status, 200);
            json(again.all().await)
        })
        .unwrap();
    assert_eq!(lines[0]["event"], "started");
    // What was done so far comes first.
    let done = &lines[2];
    assert_eq!(
        (&done["n"], &done["state"]),
        (&0.into(), &"read_back".into()),
        "{done}"
    );
    assert!(done["count"].as_u64().unwrap() >= 1);
    assert_eq!(lines.last().unwrap()["event"], "rebooting");
    let blobs = bench.host().bytes_sent(release.app().unwrap().digest());
    assert_eq!(blobs, app("1.0.0").len() as u64, "one job, one transfer");
    bench.network().break_connections(DEVICE.ip(), HOST.ip());
}

#[test]
fn a_cancelled_update_stops_and_can_be_started_again() {
    let mut settings = settings();
    settings.network.bytes_per_second = 50_000;
    let (bench, nor) = bench(bare_flash(), settings);
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    let (status, wrong, lines) = bench
        .run(async {
            let client = bench.client();
            let mut lines = client.update(&release, "").await.unwrap();
            let started = lines.next().await.unwrap();
            let started: serde_json::Value = serde_json::from_str(&started).unwrap();
            let token = started["token"].as_str().unwrap().to_owned();
            let mut read = 0;
            while read < 10 {
                read += usize::from(lines.next().await.unwrap().contains("read_back"));
            }
            let cancel = async |token: &str| {
                let head = format!("POST /v1/update/cancel?token={token} HTTP/1.1\r\n\r\n");
                client.request(&head, &[]).await.unwrap()
            };
            let wrong = cancel("0000000000000000").await;
            let right = cancel(&token).await;
            (right.status, wrong.status, json(lines.all().await))
        })
        .unwrap();
    assert_eq!((status, wrong), (200, 403));
    assert_eq!(code(&lines), "cancelled");
    assert!(otadata(&nor.snapshot()).iter().all(|e| !e.is_selectable()));
    let info = bench.run(settled(&bench)).unwrap();
    assert_eq!(info["last_update"]["end"], "cancelled");
    bench.host().reset_counts();
    let info = bench.run(update_and_settle(&bench, &release)).unwrap();
    assert_eq!(info["running"]["version"], "1.0.0");
    let fetched = bench.host().bytes_sent(release.app().unwrap().digest());
    assert!(fetched <= bytes_from(app("1.0.0").len(), 9), "{fetched}");
}
