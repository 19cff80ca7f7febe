//! Which release: TUF's list, and the threats of RFC 9124 that concern what is installed.

use crate::attack::{Attack, attacks};
use crate::forge::{CHIP_KEY, Draft, Part, SEQUENCE, STRANGER, VERSION, cbor};
use crate::kit::*;
use crate::scene::{OLD, Scene, ended_well};
use airlift_release::{PackOptions, files::FilesInput, pack};
use airlift_updater::SlotId;
use airlift_virtual_device::Behaviour;
use airlift_virtual_device::deterministic::sample_app;
use airlift_virtual_device::nor::BadSector;
use airlift_wire::ErrorCode::*;
use std::time::Duration;

attacks! { "Which release";
    a_release_of_a_stranger_is_refused {
        threat: "TUF arbitrary installation; THREAT.IMG.NON_AUTH",
        attacker: "Signs a release with a key of its own.",
        device: "Refuses it before it fetches a byte.",
        code: Some(UnknownKey),
        mutant: "any-key-will-do",
    }
    an_older_release_is_refused {
        threat: "TUF rollback; THREAT.IMG.EXPIRED",
        attacker: "Offers an older release, rightly signed, with a hole that was closed since.",
        device: "Refuses a sequence below the one it has confirmed.",
        code: Some(LowerSequence),
        mutant: "sequence-may-go-down",
    }
    an_older_release_is_refused_when_the_state_is_behind {
        threat: "TUF rollback; THREAT.IMG.EXPIRED",
        attacker: "Offers an older release while the device could not note what it confirmed.",
        device: "Compares with the release that runs as well, and refuses.",
        code: Some(LowerSequence),
        mutant: "only-the-state-counts",
    }
    another_release_with_the_same_sequence_is_refused {
        threat: "TUF rollback",
        attacker: "Offers another release with the sequence of the one that runs.",
        device: "Takes an equal sequence only with the identical release.",
        code: Some(SequenceConflict),
        mutant: "equal-sequence-is-fine",
    }
    a_release_that_was_rolled_back_is_not_taken_again {
        threat: "TUF rollback",
        attacker: "Offers a bad release again and again, so that the device restarts for ever.",
        device: "Remembers the release that it rolled back, and refuses it until a person asks for it.",
        code: Some(RolledBackBefore),
        mutant: "rolled-back-is-forgotten",
    }
    a_release_that_never_ran_does_not_raise_the_sequence {
        threat: "TUF fast-forward",
        attacker: "Has a release with the highest sequence installed that never confirms.",
        device: "Raises its sequence only with a release that has confirmed; the next one is taken.",
        code: None,
        mutant: "sequence-rises-before-the-trial",
    }
    a_release_during_a_trial_waits {
        threat: "TUF rollback",
        attacker: "Offers the next release during a trial, to overwrite what the device would fall back to.",
        device: "Ends the trial first; until then nothing is written.",
        code: None,
        mutant: "a-trial-need-not-end",
    }
    a_release_for_another_product_is_refused {
        threat: "TUF wrong software; THREAT.IMG.INCOMPATIBLE",
        attacker: "Offers a release of the same maker, and the same key, for another product.",
        device: "Refuses it before it fetches a byte.",
        code: Some(WrongProduct),
        mutant: "product-does-not-matter",
    }
    a_release_for_another_chip_is_refused {
        threat: "TUF wrong software; THREAT.IMG.INCOMPATIBLE",
        attacker: "Offers a release for another chip.",
        device: "Refuses it before it fetches a byte.",
        code: Some(WrongChip),
        mutant: "chip-does-not-matter",
    }
    an_app_that_does_not_fit_is_refused {
        threat: "TUF endless data; THREAT.IMG.LOCATION",
        attacker: "Offers an app that would run over into the next partition.",
        device: "Compares it with the partition table before it fetches a byte.",
        code: Some(TooBig),
        mutant: "app-may-be-too-big",
    }
    files_that_do_not_fit_are_refused {
        threat: "TUF endless data",
        attacker: "Offers files that need more blocks than are free.",
        device: "Refuses them; four blocks always stay free.",
        code: Some(TooBig),
        mutant: "files-may-be-too-big",
    }
    files_that_need_more_than_they_say_end_the_update {
        threat: "TUF endless data",
        attacker: "Signs files that fill the file system, and says that they need one block.",
        device: "Stops when the file system is full; the target is abandoned.",
        code: Some(TooBig),
        mutant: "a-full-file-system-is-fine",
    }
    an_app_that_belongs_to_other_files_is_refused {
        threat: "TUF mix-and-match; THREAT.UPD.WRONG_PRECURSOR",
        attacker: "Offers an app that was released together with files that the device does not run.",
        device: "Refuses a pair that nobody released.",
        code: Some(WrongBase),
        mutant: "any-files-will-do",
    }
    files_that_belong_to_another_app_are_refused {
        threat: "TUF mix-and-match; THREAT.UPD.WRONG_PRECURSOR",
        attacker: "Offers files that were released together with an app that the device does not run.",
        device: "Refuses a pair that nobody released.",
        code: Some(WrongBase),
        mutant: "any-app-will-do",
    }
    a_release_cannot_pull_in_anything_else {
        threat: "TUF extraneous dependencies",
        attacker: "Adds a third part to a manifest under a key that the device may not skip.",
        device: "Knows two parts, and no way to name another; refuses keys that it does not know.",
        code: Some(BadManifest),
        mutant: "unknown-keys-are-skipped",
    }
}

fn a_release_of_a_stranger_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let mut draft = Draft::new();
    draft.signer = STRANGER;
    scene.refuses(attack, &draft.served(&scene.bench));
    scene.recovers();
}

fn an_older_release_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for sequence in [1, OLD.1 - 1] {
        let older = release("0.9.0", sequence);
        scene.bench.host().add(&older);
        scene.refuses(attack, older.envelope());
    }
    scene.recovers();
}

fn an_older_release_is_refused_when_the_state_is_behind(attack: &Attack) {
    let scene = Scene::new();
    let newer = release("3.0.0", 8);
    scene.run(async {
        ended_well(&update(&scene.bench, &newer).await);
        // From now on the state can be read, and not written.
        let at = layout(&scene.before(), SlotId::Ota0).airlift.offset;
        for sector in [at, at + 4096] {
            scene.nor.lock().set_bad(sector, BadSector::Refuses);
        }
        scene.bench.scheduler().sleep(Duration::from_secs(30)).await;
        let info = settled(&scene.bench).await;
        assert_eq!(info["running"]["release"], newer.id().to_string());
    });
    assert_eq!(state(&scene.nor.snapshot()).sequence, OLD.1);
    scene.remember();
    for sequence in [OLD.1 + 1, 7] {
        let lines = scene.offer(&release("2.0.0", sequence));
        assert_eq!(code(&lines), attack.code());
        scene.is_untouched();
    }
}

fn another_release_with_the_same_sequence_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let other = release("0.9.9", OLD.1);
    scene.bench.host().add(&other);
    scene.refuses(attack, other.envelope());
    scene.recovers();
}

fn a_release_that_was_rolled_back_is_not_taken_again(attack: &Attack) {
    let scene = Scene::with(settings().with_trial("2.0.0", Behaviour::FailsCheck));
    let bad = release("2.0.0", 6);
    ended_well(&scene.offer(&bad));
    scene.comes_back();
    scene.remember();
    scene.refuses(attack, bad.envelope());
    scene.recovers();
}

fn a_release_that_never_ran_does_not_raise_the_sequence(_: &Attack) {
    let scene = Scene::with(settings().with_trial("2.0.0", Behaviour::NeverConfirms));
    // As high as a release key can go.
    let high = airlift_wire::limits::FIRST_ROOT_SEQUENCE - 1;
    ended_well(&scene.offer(&release("2.0.0", high)));
    scene.comes_back();
    assert_eq!(state(&scene.nor.snapshot()).sequence, OLD.1);
    // Neither does one that is broken off.
    let draft = Draft::new().set(SEQUENCE, cbor::uint(high.into()));
    let nobody_serves_it = draft.envelope();
    assert_eq!(code(&scene.post(&nobody_serves_it)), "host_unreachable");
    scene.recovers();
}

fn a_release_during_a_trial_waits(_: &Attack) {
    let scene = Scene::with(settings().with_trial("2.0.0", Behaviour::NeverConfirms));
    ended_well(&scene.offer(&release("2.0.0", 6)));
    let next = release("3.0.0", 7);
    scene.bench.host().add(&next);
    scene.run(async {
        let on_trial = async || {
            let answer = scene.bench.client().get("/v1/device").await;
            answer.is_ok_and(|answer| answer.json()["updater"]["state"] == "trial")
        };
        while !on_trial().await {
            scene
                .bench
                .scheduler()
                .sleep(Duration::from_millis(50))
                .await;
        }
        let posted = scene.bench.client().update(&next, "").await.unwrap();
        assert_eq!(posted.status, 200);
        // Most of the time that the trial has.
        scene.bench.scheduler().sleep(Duration::from_secs(3)).await;
        let image = scene.nor.snapshot();
        let old = scene.old.app().unwrap().bytes();
        assert!(app_of(&image, SlotId::Ota0, old.len()) == &old[..]);
        let whole = whole_slots(&image, &[&scene.old]);
        assert_eq!(whole.len(), 1, "what the device falls back to is whole");
    });
    scene.comes_back();
    scene.recovers();
}

fn a_release_for_another_product_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let key = key();
    for product in ["other", "device-test2", "device", "a"] {
        let mut options = PackOptions::new(product, 6, &key);
        options.version = Some("2.0.0");
        options.app = Some(app("2.0.0").into());
        let other = pack(options).unwrap().release;
        scene.bench.host().add(&other);
        scene.refuses(attack, other.envelope());
    }
    scene.recovers();
}

fn a_release_for_another_chip_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for chip in [0u16, 9, 13] {
        let draft = Draft::new()
            .set(CHIP_KEY, cbor::uint(chip.into()))
            .app(&sample_app(chip, "2.0.0", 9_000));
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn an_app_that_does_not_fit_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let slot = layout(&scene.before(), SlotId::Ota0).ota[1];
    for over in [1, 1_000_000] {
        let large = sample_app(CHIP, "2.0.0", slot.size as usize + over);
        let draft = Draft::new().app(&large);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn files_that_do_not_fit_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let many = (0..400).map(|n| (format!("f{n:03}"), vec![b'x'; 4000]));
    let many = release_of("2.0.0", 6, None, Some(FilesInput::from_iter(many)), None);
    scene.bench.host().add(&many);
    scene.refuses(attack, many.envelope());
    scene.recovers();
}

fn files_that_need_more_than_they_say_end_the_update(attack: &Attack) {
    let scene = Scene::new();
    let many = (0..400).map(|n| (format!("f{n:03}"), vec![b'x'; 4000]));
    let many = release_of("2.0.0", 6, None, Some(FilesInput::from_iter(many)), None);
    let draft = Draft::new().files(many.files().unwrap().bytes(), 1);
    scene.fails(attack, &draft.served(&scene.bench));
    scene.recovers();
}

fn an_app_that_belongs_to_other_files_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let elsewhere = release("elsewhere", 4);
    let mixed = release_of("2.0.0", 6, Some(app("2.0.0")), None, Some(&elsewhere));
    scene.bench.host().add(&mixed);
    scene.refuses(attack, mixed.envelope());
    scene.recovers();
}

fn files_that_belong_to_another_app_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let elsewhere = release("elsewhere", 4);
    let mixed = release_of("2.0.0", 6, None, Some(files("2.0.0")), Some(&elsewhere));
    scene.bench.host().add(&mixed);
    scene.refuses(attack, mixed.envelope());
    scene.recovers();
}

fn a_release_cannot_pull_in_anything_else(attack: &Attack) {
    let scene = Scene::new();
    for key in [9, 10, 15] {
        let draft = Draft::new().set(key, Part::of(b"a bootloader").item());
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    // A key that may be skipped brings nothing with it either: nobody asks for it.
    let draft = Draft::new()
        .set(VERSION, cbor::text("skipped"))
        .set(16, Part::of(b"a bootloader").item());
    let envelope = draft.envelope();
    draft.serve_as(&scene.bench, &envelope);
    scene.bench.host().reset_counts();
    ended_well(&scene.post(&envelope));
    let asked = scene.bench.host().requests();
    let theirs = airlift_wire::Digest::of(b"a bootloader").to_string();
    assert!(asked.iter().all(|request| !request.path.contains(&theirs)));
}
