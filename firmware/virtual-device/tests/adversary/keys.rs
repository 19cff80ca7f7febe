//! Keys that were stolen, and keys that were replaced.

use crate::attack::{Attack, attacks};
use crate::forge::{Draft, KEYS, SEQUENCE, STRANGER, cbor, public};
use crate::kit::*;
use crate::scene::{OLD, Scene, ended_well};
use airlift_virtual_device::Behaviour;
use airlift_wire::ErrorCode::*;
use airlift_wire::KeySet;
use airlift_wire::manifest::first_root_sequence;

attacks! { "Keys";
    a_stolen_release_key_cannot_change_the_keys {
        threat: "TUF key compromise; THREAT.KEY.EXPOSURE",
        attacker: "Has stolen a release key and signs a set of keys of its own with it.",
        device: "Takes a change of keys from the root only: the owner is not locked out.",
        code: Some(BadKeySet),
        mutant: "release-keys-change-keys",
    }
    a_stolen_release_key_cannot_use_up_the_sequences {
        threat: "TUF fast-forward; THREAT.KEY.EXPOSURE",
        attacker: "Has stolen a release key and installs the highest sequence, after which nothing is newer.",
        device: "Leaves the upper half of the sequences to the root, so that a change of keys and what follows have room.",
        code: Some(SequenceTooHigh),
        mutant: "sequences-of-the-root-are-for-all",
    }
    an_older_set_of_keys_is_refused {
        threat: "TUF rollback of keys; THREAT.KEY.EXPOSURE",
        attacker: "Offers a set of keys that the root signed before, with a key that was stolen since.",
        device: "Takes a set of keys only with a higher epoch.",
        code: Some(BadKeySet),
        mutant: "epoch-may-stay",
    }
    a_release_key_that_was_replaced_is_worth_nothing {
        threat: "TUF key compromise; THREAT.KEY.EXPOSURE",
        attacker: "Signs a release with a stolen key after the owner has replaced it.",
        device: "Trusts the new set alone from the confirmed release on.",
        code: Some(UnknownKey),
        mutant: "keys-never-change",
    }
    a_root_that_was_replaced_is_worth_nothing {
        threat: "TUF key compromise of a root; THREAT.KEY.EXPOSURE",
        attacker: "Signs another set of keys with a stolen root after the owner has replaced it.",
        device: "Has forgotten the old root.",
        code: Some(UnknownKey),
        mutant: "keys-never-change",
    }
    keys_of_a_release_that_never_ran_do_not_count {
        threat: "TUF key compromise",
        attacker: "Has a change of keys installed in a release that does not confirm.",
        device: "Keeps the old keys until the release with the new ones has confirmed.",
        code: None,
        mutant: "keys-count-before-the-trial",
    }
    the_root_signs_changes_of_keys_only {
        threat: "TUF key compromise",
        attacker: "Has a plain release signed with the root.",
        device: "Refuses it: the root has no other use than to change the keys.",
        code: Some(UnknownKey),
        mutant: "the-root-signs-anything",
    }
    a_key_that_anybody_can_sign_with_is_refused {
        threat: "THREAT.KEY.EXPOSURE",
        attacker: "Slips a point of small order in as a key, for which anybody can make signatures.",
        device: "Refuses the manifest.",
        code: Some(BadManifest),
        mutant: "weak-keys-are-fine",
    }
}

/// A release with new keys.
fn change(set: &[(u64, Vec<u8>)], signer: [u8; 32], sequence: u32) -> Draft {
    let mut draft = Draft::new()
        .set(SEQUENCE, cbor::uint(sequence.into()))
        .set(KEYS, cbor::map(set));
    draft.signer = signer;
    draft
}

fn key_set(epoch: u64, root: &[u8; 32], release: &[[u8; 32]]) -> [(u64, Vec<u8>); 3] {
    let keys: Vec<_> = release.iter().map(|key| cbor::bytes(key)).collect();
    [
        (0, cbor::uint(epoch)),
        (1, cbor::bytes(root)),
        (2, cbor::array(&keys)),
    ]
}

fn a_stolen_release_key_cannot_change_the_keys(attack: &Attack) {
    let scene = Scene::new();
    let (root, stranger) = (public(&ROOT).0, public(&STRANGER).0);
    for set in [
        key_set(2, &stranger, &[stranger]),
        key_set(u32::MAX.into(), &root, &[stranger]),
        key_set(2, &stranger, &[public(&RELEASE).0]),
    ] {
        let draft = change(&set, RELEASE, 6);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn a_stolen_release_key_cannot_use_up_the_sequences(attack: &Attack) {
    let scene = Scene::new();
    let first = first_root_sequence(trust().epoch);
    for high in [first, u32::MAX] {
        let draft = Draft::new().set(SEQUENCE, cbor::uint(high.into()));
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    // A change of keys that the root signs may have any.
    let set = key_set(2, &public(&ROOT).0, &[public(&NEW_KEY).0]);
    ended_well(&scene.post(&change(&set, ROOT, first).served(&scene.bench)));
}

fn an_older_set_of_keys_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let (root, stranger) = (public(&ROOT).0, public(&STRANGER).0);
    for epoch in [0, 1] {
        let draft = change(&key_set(epoch, &root, &[stranger]), ROOT, 6);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

/// A device whose owner has replaced these keys, honestly and for good.
fn rekeyed(root: [u8; 32], release: [u8; 32]) -> Scene {
    let scene = Scene::new();
    let set = key_set(2, &public(&root).0, &[public(&release).0]);
    let envelope = change(&set, ROOT, 6).served(&scene.bench);
    scene.run(async {
        let starts = scene.bench.starts();
        ended_well(&scene.posting(&envelope, "").await);
        while scene.bench.starts() == starts {
            scene
                .bench
                .scheduler()
                .sleep(std::time::Duration::from_millis(50))
                .await;
        }
        let info = settled(&scene.bench).await;
        assert_eq!(info["running"]["slot"], "ota_1");
    });
    scene.remember();
    scene
}

/// Refused with its code, at once, and nothing changed.
fn refused(scene: &Scene, attack: &Attack, draft: &Draft) {
    let lines = scene.post(&draft.served(&scene.bench));
    assert_eq!(code(&lines), attack.code(), "{lines:#?}");
    scene.is_untouched();
}

const NEW_KEY: [u8; 32] = [4; 32];

fn a_release_key_that_was_replaced_is_worth_nothing(attack: &Attack) {
    let scene = rekeyed(ROOT, NEW_KEY);
    let mut draft = Draft::new().set(SEQUENCE, cbor::uint(7));
    refused(&scene, attack, &draft);
    // The new one is.
    draft.signer = NEW_KEY;
    ended_well(&scene.post(&draft.served(&scene.bench)));
}

fn a_root_that_was_replaced_is_worth_nothing(attack: &Attack) {
    let scene = rekeyed(NEW_KEY, RELEASE);
    let stranger = public(&STRANGER).0;
    let set = key_set(3, &stranger, &[stranger]);
    refused(&scene, attack, &change(&set, ROOT, 7));
    // The release key goes on, and the new root can change it.
    let set = key_set(3, &public(&NEW_KEY).0, &[stranger]);
    ended_well(&scene.post(&change(&set, NEW_KEY, 7).served(&scene.bench)));
}

fn keys_of_a_release_that_never_ran_do_not_count(_: &Attack) {
    let scene = Scene::with(settings().with_trial("2.0.0", Behaviour::FailsCheck));
    let stranger = public(&STRANGER);
    let set = key_set(2, &public(&ROOT).0, &[stranger.0]);
    ended_well(&scene.post(&change(&set, ROOT, 6).served(&scene.bench)));
    scene.comes_back();
    let kept = state(&scene.nor.snapshot());
    assert_eq!(kept.trust, Some(trust()));
    assert_eq!(kept.sequence, OLD.1);
    assert_ne!(kept.trust, KeySet::new(2, public(&ROOT), &[stranger]));
    scene.recovers();
}

fn the_root_signs_changes_of_keys_only(attack: &Attack) {
    let scene = Scene::new();
    let mut draft = Draft::new();
    draft.signer = ROOT;
    scene.refuses(attack, &draft.served(&scene.bench));
    // Nor does the set that is in force already make a change of it.
    let set = key_set(1, &public(&ROOT).0, &[public(&RELEASE).0]);
    scene.refuses(attack, &change(&set, ROOT, 6).served(&scene.bench));
    scene.recovers();
}

fn a_key_that_anybody_can_sign_with_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let root = public(&ROOT).0;
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [[0; 32], identity] {
        let draft = change(&key_set(2, &root, &[weak]), ROOT, 6);
        scene.refuses(attack, &draft.served(&scene.bench));
        let draft = change(&key_set(2, &weak, &[root]), ROOT, 6);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
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
