//! What a device does not take, and that nothing of it reaches flash.

use crate::kit::*;
use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_updater::SlotId;
use airlift_virtual_device::deterministic::{Fate, HOST, sample_app};
use airlift_virtual_device::nor::SharedNor;
use std::time::Duration;

/// Flash and how often it was changed.
fn fingerprint(nor: &SharedNor) -> (Vec<u8>, u64) {
    (nor.snapshot(), nor.counters().changes())
}

fn packed(
    product: &str,
    sequence: u32,
    key: &SigningKey,
    app: Option<Vec<u8>>,
    files: Option<FilesInput>,
) -> Release {
    let mut options = PackOptions::new(product, sequence, key);
    options.version = Some("x");
    options.app = app.map(Into::into);
    options.files = files;
    pack(options).unwrap().release
}

#[test]
fn what_does_not_fit_is_refused_with_its_code_before_a_byte_is_fetched() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 5)), settings());
    let new = Some(app("2.0.0"));
    let stranger = SigningKey::from_seed(&[3; 32]);
    let many = (0..290).map(|n| (format!("f{n:03}"), vec![b'x'; 4000]));
    let none = release_of("base", 4, Some(app("base")), Some(files("base")), None);
    let cases = [
        (
            "wrong_product",
            packed("other", 6, &key(), new.clone(), None),
        ),
        (
            "wrong_chip",
            packed(PRODUCT, 6, &key(), Some(sample_app(9, "s3", 9000)), None),
        ),
        ("lower_sequence", app_only("2.0.0", 4)),
        ("sequence_conflict", app_only("2.0.0", 5)),
        (
            "unknown_key",
            packed(PRODUCT, 6, &stranger, new.clone(), None),
        ),
        (
            "unknown_key",
            packed(PRODUCT, 6, &root(), new.clone(), None),
        ),
        ("too_big", app_only_of_size(1_000_000)),
        (
            "too_big",
            packed(PRODUCT, 6, &key(), None, Some(FilesInput::from_iter(many))),
        ),
        (
            "wrong_base",
            release_of("2.0.0", 6, Some(app("2.0.0")), None, Some(&none)),
        ),
        (
            "wrong_base",
            release_of("2.0.0", 6, None, Some(files("2.0.0")), Some(&none)),
        ),
    ];
    bench.run(async {}).unwrap();
    let before = fingerprint(&nor);
    for (expected, release) in &cases {
        // Ten checks a minute.
        let pause = bench.scheduler().sleep(Duration::from_secs(10));
        bench.run(pause).unwrap();
        let lines = bench.run(update(&bench, release)).unwrap();
        assert_eq!(code(&lines), *expected);
        assert_eq!(lines.len(), 1, "{expected}");
        assert!(fingerprint(&nor) == before, "{expected} changed the flash");
        assert_eq!(bench.host().requests(), [], "{expected}");
    }
    let info = bench.run(settled(&bench)).unwrap();
    assert_eq!(info["last_update"], serde_json::Value::Null);
}

fn app_only_of_size(len: usize) -> Release {
    release_of("2.0.0", 6, Some(sample_app(CHIP, "2.0.0", len)), None, None)
}

#[test]
fn a_signature_that_does_not_match_is_refused() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.run(async {}).unwrap();
    let before = fingerprint(&nor);
    let mut envelope = app_only("1.0.0", 1).envelope().to_vec();
    let last = envelope.len() - 1;
    for at in [last, last - 70] {
        envelope[at] ^= 1;
        let post = async {
            bench
                .client()
                .post_envelope(&envelope, "")
                .await
                .unwrap()
                .all()
                .await
        };
        let lines = json(bench.run(post).unwrap());
        assert_eq!(code(&lines), "bad_signature");
        envelope[at] ^= 1;
    }
    assert!(fingerprint(&nor) == before);
}

#[test]
fn a_device_that_was_given_no_keys_takes_nothing() {
    let app = app("0.9.0");
    let mut factory = airlift_virtual_device::Factory::new(PRODUCT, "bench", trust());
    factory.app = Some(&app);
    factory.trust = None;
    let (bench, _) = bench(factory.build().unwrap(), settings());
    let lines = bench.run(update(&bench, &app_only("1.0.0", 1))).unwrap();
    assert_eq!(code(&lines), "no_trust");
}

#[test]
fn a_host_that_cannot_be_reached_is_said_within_five_seconds_and_nothing_is_erased() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.run(async {}).unwrap();
    let before = fingerprint(&nor);
    let release = app_only("1.0.0", 1);
    for silent in [true, false] {
        // Packets are dropped, then connections are refused.
        bench.network().set_silent(HOST, silent);
        let query = if silent {
            ""
        } else {
            "?from=http://10.0.0.1:9"
        };
        let (took, lines) = bench
            .run(async {
                let start = bench.scheduler().now();
                let lines = bench.client().update(&release, query).await.unwrap();
                let lines = json(lines.all().await);
                (bench.scheduler().now() - start, lines)
            })
            .unwrap();
        assert_eq!(code(&lines), "host_unreachable");
        assert!(took <= Duration::from_millis(5_001), "{took:?}");
        assert!(fingerprint(&nor) == before);
    }
}

#[test]
fn a_host_that_serves_another_envelope_is_not_the_host() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.run(async {}).unwrap();
    let before = fingerprint(&nor);
    let (release, other) = (app_only("1.0.0", 1), app_only("2.0.0", 2));
    bench.host().add(&release);
    let path = format!("/v1/releases/{}", release.id());
    bench.host().add_resource(path, other.envelope());
    let post = async {
        bench
            .client()
            .update(&release, "")
            .await
            .unwrap()
            .all()
            .await
    };
    let lines = json(bench.run(post).unwrap());
    assert_eq!(code(&lines), "host_unreachable");
    assert!(fingerprint(&nor) == before);
}

#[test]
fn a_tar_that_lies_is_found_before_the_slot_is_committed() {
    let old = release("1.0.0", 1);
    let new = app("2.0.0");
    let good = release("2.0.0", 2).files().unwrap().bytes().to_vec();
    let header = |at: usize, change: &dyn Fn(&mut [u8])| {
        let mut tar = good.clone();
        change(&mut tar[at..at + 512]);
        let sum: u32 = tar[at..at + 512]
            .iter()
            .enumerate()
            .map(|(n, b)| {
                if (148..156).contains(&n) {
                    32
                } else {
                    u32::from(*b)
                }
            })
            .sum();
        tar[at + 148..at + 155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar
    };
    let cases = [
        ("a link", header(0, &|h| h[156] = b'2')),
        (
            "a path upwards",
            header(0, &|h| h[..4].copy_from_slice(b"../x")),
        ),
        (
            "an absolute path",
            header(0, &|h| h[..4].copy_from_slice(b"/etc")),
        ),
        ("another owner", header(0, &|h| h[114] = b'1')),
        ("cut off", good[..good.len() - 512].to_vec()),
        ("something behind its end", [&good[..], &[0; 512]].concat()),
        (
            "out of order",
            [&good[good.len() - 1536..good.len() - 1024], &good].concat(),
        ),
        ("not a tar", vec![b'x'; 5000]),
    ];
    for (what, tar) in cases {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &old), settings());
        bench.run(async {}).unwrap();
        let before = otadata(&nor.snapshot());
        let unchecked = Unchecked {
            chip: CHIP,
            app: &new,
            files: Some(&tar),
        };
        let envelope = unchecked.offer(&bench, 2).envelope;
        let post = async {
            bench
                .client()
                .post_envelope(&envelope, "")
                .await
                .unwrap()
                .all()
                .await
        };
        let lines = json(bench.run(post).unwrap());
        assert_eq!(code(&lines), "bad_tar", "{what}");
        let image = nor.snapshot();
        assert_eq!(otadata(&image), before, "{what}");
        let at = layout(&image, SlotId::Ota0).envelope_offset(SlotId::Ota1) as usize;
        assert_eq!(
            image[at..at + 4],
            [0xFF; 4],
            "{what}: the slot is not whole"
        );
        let info = bench.run(settled(&bench)).unwrap();
        assert_eq!(
            info["running"]["files_sha256"],
            old.files().unwrap().digest().to_string()
        );
        assert_eq!(info["last_update"]["end"], "failed");
        // The file that was being written is closed: the next update works.
        let next = bench
            .run(update_and_settle(&bench, &release("3.0.0", 3)))
            .unwrap();
        assert_eq!(next["running"]["version"], "3.0.0", "{what}");
    }
}

#[test]
fn an_image_that_its_manifest_lies_about_is_never_selected() {
    let whole = app("2.0.0");
    let other_chip = sample_app(9, "2.0.0", APP_LEN);
    let mut broken = whole.clone();
    broken[5000] ^= 1;
    let mut longer = whole.clone();
    longer.extend_from_slice(&[0; 16]);
    let cases = [
        ("for another chip", other_chip),
        ("broken", broken),
        ("longer", longer),
    ];
    for (what, app) in cases {
        let (bench, nor) = bench(bare_flash(), settings());
        bench.run(async {}).unwrap();
        let unchecked = Unchecked {
            chip: CHIP,
            app: &app,
            files: None,
        };
        let envelope = unchecked.offer(&bench, 1).envelope;
        let post = async {
            bench
                .client()
                .post_envelope(&envelope, "")
                .await
                .unwrap()
                .all()
                .await
        };
        let lines = json(bench.run(post).unwrap());
        assert_eq!(code(&lines), "bad_image", "{what}");
        assert!(
            otadata(&nor.snapshot()).iter().all(|e| !e.is_selectable()),
            "{what}"
        );
    }
}

#[test]
fn a_host_that_falls_silent_is_given_up_after_thirty_seconds() {
    let (bench, nor) = bench(bare_flash(), settings());
    let release = app_only("1.0.0", 1);
    bench.host().set_tamper(|piece, _| {
        let late = piece.path.contains("blobs") && piece.offset >= 40_960;
        if late { Fate::Stall } else { Fate::Send }
    });
    let (took, lines) = bench
        .run(async {
            let start = bench.scheduler().now();
            let lines = update(&bench, &release).await;
            (bench.scheduler().now() - start, lines)
        })
        .unwrap();
    assert_eq!(code(&lines), "stalled");
    let seconds = took.as_secs();
    assert!((30..45).contains(&seconds), "{took:?}");
    let image = nor.snapshot();
    assert!(app_of(&image, SlotId::Ota0, 40_960) == &app("1.0.0")[..40_960]);
    assert!(otadata(&image).iter().all(|e| !e.is_selectable()));
}
