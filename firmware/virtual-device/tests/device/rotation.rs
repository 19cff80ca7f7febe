//! Root and release keys that are replaced over the air.

use crate::kit::*;
use airlift_release::{PackOptions, Release, SigningKey, pack, resign};
use airlift_updater::SlotId;
use airlift_virtual_device::Behaviour;
use airlift_virtual_device::deterministic::Bench;
use airlift_wire::manifest::first_root_sequence;
use airlift_wire::state::Cause;
use airlift_wire::{KeySet, PublicKey, envelope};
use ed25519_dalek::Signer;
use serde_json::Value;
use std::time::Duration;

const NEXT: [u8; 32] = [9; 32];
const ROOT: [u8; 32] = [1; 32];

/// The release key that comes.
fn next() -> SigningKey {
    SigningKey::from_seed(&NEXT)
}

fn set(epoch: u32, root: &SigningKey, release: &[&SigningKey]) -> KeySet {
    let release: Vec<PublicKey> = release.iter().map(|key| key.public()).collect();
    KeySet::new(epoch, root.public(), &release).unwrap()
}

/// A release that brings a new app and keys.
fn change(sequence: u32, signer: &SigningKey, keys: KeySet) -> Release {
    let version = format!("{sequence}.0.0");
    let mut options = PackOptions::new(PRODUCT, sequence, signer);
    options.version = Some(&version);
    options.app = Some(app(&version).into());
    options.new_keys = Some(keys);
    pack(options).unwrap().release
}

/// A release that brings nothing but keys: both parts are those of `base`, by digest.
fn keys_only(base: &Release, sequence: u32, signer: &SigningKey, keys: KeySet) -> Release {
    let mut options = PackOptions::new(PRODUCT, sequence, signer);
    options.version = Some(&base.manifest().version);
    options.base = Some(base);
    options.new_keys = Some(keys);
    pack(options).unwrap().release
}

/// A plain release, signed by this key.
fn plain(sequence: u32, signer: &SigningKey) -> Release {
    let version = format!("{sequence}.0.0");
    let mut options = PackOptions::new(PRODUCT, sequence, signer);
    options.version = Some(&version);
    options.app = Some(app(&version).into());
    pack(options).unwrap().release
}

fn refusal(bench: &Bench, release: &Release) -> String {
    let lines = bench.run(update(bench, release)).unwrap();
    code(&lines).to_owned()
}

fn epoch(info: &Value) -> u64 {
    info["trust"]["epoch"].as_u64().unwrap()
}

#[test]
fn a_release_key_changes_no_keys() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let before = nor.snapshot();
    // Stolen, it would lock the owners out, or take the root for itself.
    for keys in [
        set(2, &root(), &[&key()]),
        set(2, &key(), &[&key()]),
        set(u32::MAX - 1, &next(), &[&next()]),
    ] {
        assert_eq!(refusal(&bench, &change(2, &key(), keys)), "bad_key_set");
    }
    // Nor does a key that was never trusted, whatever set it calls itself the root of.
    let stranger = change(2, &next(), set(2, &next(), &[&next()]));
    assert_eq!(refusal(&bench, &stranger), "unknown_key");
    assert!(nor.snapshot() == before, "nothing is written");
}

#[test]
fn an_epoch_that_does_not_rise_is_refused() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let stale = change(2, &root(), set(1, &root(), &[&next()]));
    assert_eq!(refusal(&bench, &stale), "bad_key_set");
    let keys = set(5, &root(), &[&next()]);
    let info = bench
        .run(update_and_settle(&bench, &change(2, &root(), keys)))
        .unwrap();
    assert_eq!(epoch(&info), 5);
    for (epoch, release) in [(4, &key()), (5, &key()), (1, &next())] {
        let stale = change(3, &root(), set(epoch, &root(), &[release]));
        assert_eq!(refusal(&bench, &stale), "bad_key_set", "epoch {epoch}");
    }
    assert_eq!(state(&nor.snapshot()).trust, Some(keys));
    // The set that is trusted already is no change, so a release key may sign a release that says it.
    let same = change(3, &next(), keys);
    let info = bench.run(update_and_settle(&bench, &same)).unwrap();
    assert_eq!(info["running"]["version"], "3.0.0");
}

#[test]
fn the_root_signs_nothing_but_changes_of_keys() {
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    assert_eq!(refusal(&bench, &plain(2, &root())), "unknown_key");
    let unchanged = change(2, &root(), trust());
    assert_eq!(refusal(&bench, &unchanged), "unknown_key");
}

#[test]
fn new_keys_do_not_count_before_the_release_that_brings_them_has_confirmed() {
    let mut settings = settings().with_trial("2.0.0", Behaviour::NeverConfirms);
    settings.confirm_ms = 3_000;
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let bad = change(2, &root(), set(2, &next(), &[&next()]));
    let (on_trial, info) = bench
        .run(async {
            update(&bench, &bad).await;
            let on_trial = loop {
                if let Ok(answer) = bench.client().get("/v1/device").await
                    && answer.json()["updater"]["state"] == "trial"
                {
                    break answer.json();
                }
                bench.scheduler().sleep(Duration::from_millis(50)).await;
            };
            (on_trial, settled(&bench).await)
        })
        .unwrap();
    assert_eq!(on_trial["running"]["version"], "2.0.0");
    assert_eq!(epoch(&on_trial), 1, "on trial, the old keys count");
    assert_eq!(info["last_update"]["end"], "rolled_back");
    assert_eq!(info["running"]["version"], "1.0.0");
    assert_eq!(state(&nor.snapshot()).trust, Some(trust()));
    // So the new key signs nothing here, and the old one still does.
    assert_eq!(refusal(&bench, &plain(3, &next())), "unknown_key");
    let info = bench
        .run(update_and_settle(&bench, &plain(3, &key())))
        .unwrap();
    assert_eq!(info["running"]["version"], "3.0.0");
}

#[test]
fn after_the_change_the_old_keys_releases_are_refused_and_the_new_ones_are_taken() {
    let old = release("1.0.0", 1);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &old), settings());
    let replaced = change(2, &root(), set(2, &root(), &[&next()]));
    bench.run(update_and_settle(&bench, &replaced)).unwrap();
    for _ in 0..2 {
        assert_eq!(refusal(&bench, &plain(3, &key())), "unknown_key");
        // Not even one that ran here before, under a sequence that would do.
        let again = resign(&old, 3, &key(), 0).unwrap();
        assert_eq!(refusal(&bench, &again), "unknown_key");
        bench.restart(Cause::PowerOn);
        bench.run(bench.wait_until_up()).unwrap();
    }
    let info = bench
        .run(update_and_settle(&bench, &plain(3, &next())))
        .unwrap();
    assert_eq!(info["running"]["version"], "3.0.0");
    assert_eq!(info["trust"]["keys"][0], next().id().to_string());
}

#[test]
fn a_change_of_keys_alone_fetches_nothing_and_changes_no_part() {
    let old = release("1.0.0", 1);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &old), settings());
    let other_root = SigningKey::from_seed(&[10; 32]);
    let only = keys_only(&old, 2, &root(), set(2, &other_root, &[&next()]));
    let before = bench.run(settled(&bench)).unwrap();
    let info = bench.run(update_and_settle(&bench, &only)).unwrap();
    let fetched = bench.host().requests();
    let of_parts = |path: &str| path.contains("/blobs/") || path.contains("/indexes/");
    assert!(!fetched.iter().any(|r| of_parts(&r.path)), "{fetched:?}");
    assert_eq!(info["running"]["slot"], "ota_1");
    for part in ["app_sha256", "files_sha256"] {
        assert_eq!(info["running"][part], before["running"][part]);
    }
    assert_eq!(info["running"]["version"], "1.0.0");
    assert_eq!(info["running"]["release"], only.id().to_string());
    assert_eq!(info["trust"]["root"], other_root.id().to_string());
    // The root that was replaced signed what runs, and it stays what runs; it signs no more.
    let late = keys_only(&only, 3, &root(), set(3, &root(), &[&key()]));
    assert_eq!(refusal(&bench, &late), "unknown_key");
    // The next release is signed by the new key; a rollback from it comes back here.
    let next_one = resign(&old, 3, &next(), 0).unwrap();
    bench.host().reset_counts();
    let info = bench.run(update_and_settle(&bench, &next_one)).unwrap();
    assert_eq!(info["running"]["release"], next_one.id().to_string());
    let app = old.app().unwrap().digest();
    assert_eq!(
        bench.host().bytes_sent(app),
        0,
        "the slot holds these parts, signed by whomever"
    );
    assert_eq!(state(&nor.snapshot()).sequence, 3);
}

#[test]
fn a_trial_after_a_change_of_the_root_goes_back_to_the_release_that_changed_it() {
    let mut settings = settings().with_trial("3.0.0", Behaviour::Panics);
    settings.confirm_ms = 3_000;
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let replaced = change(2, &root(), set(2, &next(), &[&next()]));
    let info = bench
        .run(async {
            update_and_settle(&bench, &replaced).await;
            update(&bench, &plain(3, &next())).await;
            loop {
                let info = settled(&bench).await;
                if info["last_update"]["end"] == "rolled_back" {
                    return info;
                }
                bench.scheduler().sleep(Duration::from_millis(100)).await;
            }
        })
        .unwrap();
    assert_eq!(info["running"]["release"], replaced.id().to_string());
    assert_eq!(info["running"]["state"], "valid");
    assert_eq!(epoch(&info), 2);
    let state = state(&nor.snapshot());
    assert_eq!(
        (state.sequence, state.confirmed),
        (2, Some(replaced.id())),
        "what a removed key signed is still known by its id"
    );
}

#[test]
fn a_device_thrown_back_to_a_slot_of_a_removed_key_runs_and_takes_the_new_keys_releases() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let replaced = change(2, &root(), set(2, &next(), &[&next()]));
    bench.run(update_and_settle(&bench, &replaced)).unwrap();
    // The new slot's app wears out: the bootloader refuses it and starts the old one.
    let slot = layout(&nor.snapshot(), SlotId::Ota1).ota[1];
    flip_bit(&nor, slot.offset + 5_000);
    bench.restart(Cause::PowerOn);
    bench.run(bench.wait_until_up()).unwrap();
    let info = bench.run(settled(&bench)).unwrap();
    assert_eq!(info["running"]["slot"], "ota_0");
    assert_eq!(info["id"], bench.run(settled(&bench)).unwrap()["id"]);
    assert_eq!(info["product"], PRODUCT);
    // Nobody who is trusted vouches for it any more, and it says so; what it is comes from flash.
    assert_eq!(info["running"]["release"], Value::Null);
    assert!(info["running"]["app_sha256"].is_string());
    assert_eq!((epoch(&info), state(&nor.snapshot()).sequence), (2, 2));
    assert_eq!(refusal(&bench, &plain(3, &key())), "unknown_key");
    assert_eq!(refusal(&bench, &plain(1, &next())), "lower_sequence");
    let info = bench
        .run(update_and_settle(&bench, &plain(3, &next())))
        .unwrap();
    assert_eq!(info["running"]["version"], "3.0.0");
}

#[test]
fn a_stolen_release_key_leaves_sequences_for_the_root_and_for_the_keys_that_come() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    let first = first_root_sequence(trust().epoch);
    for high in [first, u32::MAX] {
        assert_eq!(refusal(&bench, &plain(high, &key())), "sequence_too_high");
    }
    // The highest that the thief can do, and what the owner does then.
    let highest = plain(first - 1, &key());
    bench.run(update_and_settle(&bench, &highest)).unwrap();
    let replaced = keys_only(&highest, first, &root(), set(2, &root(), &[&next()]));
    let info = bench.run(update_and_settle(&bench, &replaced)).unwrap();
    assert_eq!(epoch(&info), 2);
    assert_eq!(refusal(&bench, &plain(first + 1, &key())), "unknown_key");
    bench
        .run(update_and_settle(&bench, &plain(first + 1, &next())))
        .unwrap();
    assert_eq!(state(&nor.snapshot()).sequence, first + 1);
}

#[test]
fn a_root_under_which_signatures_prove_nothing_is_never_taken() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    // Signed by the root, by tools that check nothing: the neutral element, and no point at all.
    let good = change(2, &root(), set(2, &next(), &[&next()]));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let no_point = (0..).map(|n| [n; 32]).find(|b| {
        let point = ed25519_dalek::VerifyingKey::from_bytes(b);
        point.is_err()
    });
    for bad in [neutral, no_point.unwrap()] {
        let envelope = with_root(&good, &next().public(), &bad);
        let lines = async {
            let lines = bench.client().post_envelope(&envelope, "").await.unwrap();
            json(lines.all().await)
        };
        assert_eq!(code(&bench.run(lines).unwrap()), "bad_manifest");
    }
    assert_eq!(state(&nor.snapshot()).trust, Some(trust()));
    let info = bench.run(update_and_settle(&bench, &good)).unwrap();
    assert_eq!(epoch(&info), 2);
}

/// The same release with another key in its set, signed again by the root.
fn with_root(release: &Release, from: &PublicKey, to: &[u8; 32]) -> Vec<u8> {
    let bytes = release.envelope();
    let payload = bytes.len() - 66;
    let start = 17 + 3;
    let mut manifest = bytes[start..payload].to_vec();
    let at = manifest.windows(32).position(|w| w == from.0).unwrap();
    manifest[at..at + 32].copy_from_slice(to);
    let mut scratch = [0; envelope::SCRATCH];
    let kid = root().id();
    let message = envelope::to_be_signed(kid, &manifest, &mut scratch).unwrap();
    let signature = ed25519_dalek::SigningKey::from_bytes(&ROOT).sign(message);
    let mut out = [0; 4080];
    let len = envelope::encode(kid, &manifest, &signature.to_bytes(), &mut out).unwrap();
    out[..len].to_vec()
}
