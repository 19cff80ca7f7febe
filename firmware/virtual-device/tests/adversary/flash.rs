//! What stands in flash before, and what changes there between the check and the use.

use crate::attack::{Attack, attacks};
use crate::forge::index_of;
use crate::kit::*;
use crate::scene::{Scene, ended_well, put};
use airlift_updater::SlotId;
use airlift_virtual_device::timing::Timing;
use airlift_wire::ErrorCode::*;

attacks! { "Flash";
    an_app_that_changes_after_it_was_written_is_found {
        threat: "THREAT.IMG.REPLACE; time of check, time of use",
        attacker: "Changes a byte of the new app after it was read back.",
        device: "Reads all of it again before the slot is committed.",
        code: Some(FlashFault),
        mutant: "the-app-is-not-read-again",
    }
    a_file_that_changes_after_it_was_written_is_found {
        threat: "THREAT.IMG.REPLACE; time of check, time of use",
        attacker: "Changes a byte of a new file after it was written.",
        device: "Reads the whole folder again before the slot is committed.",
        code: Some(FlashFault),
        mutant: "the-files-are-not-read-again",
    }
    files_that_change_before_they_are_copied_are_found {
        threat: "THREAT.UPD.WRONG_PRECURSOR; time of check, time of use",
        attacker: "Changes the files that a release builds on after the device has checked them.",
        device: "Computes their digest again as it copies them.",
        code: Some(WrongBase),
        mutant: "copied-files-may-be-others",
    }
    an_app_that_changes_before_it_is_copied_is_found {
        threat: "THREAT.UPD.WRONG_PRECURSOR; time of check, time of use",
        attacker: "Changes the app that a release builds on after the device has checked it.",
        device: "Compares the copy with the digest that the release names.",
        code: Some(FlashFault),
        mutant: "the-app-is-not-read-again",
    }
    code_that_was_left_in_the_target_is_not_kept {
        threat: "THREAT.IMG.REPLACE",
        attacker: "Leaves sectors of its own in the free slot before the update.",
        device: "Keeps a sector only if it has the hash that the release names.",
        code: None,
        mutant: "every-sector-is-kept",
    }
    files_that_were_left_in_the_target_are_removed {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Leaves files in the free slot's folder that no release has.",
        device: "Removes everything that the release does not name, and proves it by the digest.",
        code: None,
        mutant: "files-that-were-there-stay",
    }
}

/// A scene in which flash operations take time, so that something can happen between two of them.
fn timed() -> Scene {
    let mut settings = settings();
    settings.timing = Timing::Typical;
    Scene::with(settings)
}

/// Begins an update, flips a bit of `content` when `phase` begins, and expects the code.
fn change_in_between(attack: &Attack, phase: &str, slot: SlotId, content: &[u8]) {
    let scene = timed();
    let next = release("2.0.0", 6);
    scene.bench.host().add(&next);
    let begins = format!("\"phase\":\"{phase}\"");
    let lines = scene.run(async {
        let mut lines = scene.bench.client().update(&next, "").await.unwrap();
        let mut seen = vec![lines.next().await.unwrap()];
        while !seen.last().unwrap().contains(&begins) {
            seen.push(lines.next().await.expect("the update goes on"));
        }
        let image = scene.nor.snapshot();
        let from = match slot {
            SlotId::Factory => 0,
            slot => layout(&image, SlotId::Ota0).partition(slot).unwrap().offset as usize,
        };
        let found = image[from..]
            .windows(content.len())
            .position(|b| b == content);
        flip_bit(&scene.nor, (from + found.expect("it was written")) as u32);
        seen.extend(lines.all().await);
        json(seen)
    });
    scene.failed(attack, &lines);
    scene.recovers();
}

fn an_app_that_changes_after_it_was_written_is_found(attack: &Attack) {
    let app = app("2.0.0");
    // While files are written, and at the last moment.
    for phase in ["files", "check"] {
        change_in_between(attack, phase, SlotId::Ota1, &app[50_000..50_032]);
    }
    // Its first bytes, and its last.
    change_in_between(attack, "files", SlotId::Ota1, &app[..64]);
    change_in_between(attack, "files", SlotId::Ota1, &app[app.len() - 32..]);
}

fn a_file_that_changes_after_it_was_written_is_found(attack: &Attack) {
    // The content of a file that only the new release has.
    let content = b"2.0.0".repeat(20);
    change_in_between(attack, "check", SlotId::Factory, &content);
}

fn files_that_change_before_they_are_copied_are_found(attack: &Attack) {
    let scene = Scene::new();
    let next = release_of("2.0.0", 6, Some(app("2.0.0")), None, Some(&scene.old));
    scene.bench.host().add(&next);
    // Since the device started: it has hashed its files then.
    put(&scene.nor, "/ota_0/main.py", b"import backdoor\n");
    let lines = scene.post(next.envelope());
    assert_eq!(code(&lines), attack.code());
    let image = scene.nor.snapshot();
    assert_eq!(file(&image, "/ota_1/main.py"), None);
    assert_eq!(otadata(&image), otadata(&scene.before()));
    scene.takes_an_honest_update();
}

fn an_app_that_changes_before_it_is_copied_is_found(attack: &Attack) {
    let scene = Scene::new();
    let next = release_of("2.0.0", 6, None, Some(files("2.0.0")), Some(&scene.old));
    scene.bench.host().add(&next);
    let running = layout(&scene.before(), SlotId::Ota0).ota[0].offset;
    flip_bit(&scene.nor, running + 50_000);
    let lines = scene.post(next.envelope());
    assert_eq!(code(&lines), attack.code());
    let image = scene.nor.snapshot();
    let at = layout(&image, SlotId::Ota0).envelope_offset(SlotId::Ota1) as usize;
    assert_eq!(image[at..at + 4], [0xFF; 4], "the target is not whole");
    assert_eq!(otadata(&image), otadata(&scene.before()));
    scene.takes_an_honest_update();
}

fn code_that_was_left_in_the_target_is_not_kept(_: &Attack) {
    let scene = Scene::new();
    let (next, evil) = (release("2.0.0", 6), app("evil"));
    let right = next.app().unwrap().bytes().to_vec();
    // Every second chunk is the right one, the others are not.
    let mut mixed = evil.clone();
    for n in (0..right.len() / 4096).step_by(2) {
        mixed[n * 4096..][..4096].copy_from_slice(&right[n * 4096..][..4096]);
    }
    assert_ne!(index_of(&mixed), index_of(&right));
    let target = layout(&scene.before(), SlotId::Ota0).ota[1].offset;
    scene
        .nor
        .lock()
        .overwrite(target, &mixed[..mixed.len() & !3])
        .unwrap();
    ended_well(&scene.offer(&next));
    let image = scene.nor.snapshot();
    assert!(app_of(&image, SlotId::Ota1, right.len()) == right);
    scene.target_holds_nothing_of(&evil);
}

fn files_that_were_left_in_the_target_are_removed(_: &Attack) {
    let scene = Scene::new();
    let planted = ["/ota_1/aaa.py", "/ota_1/sitecustomize.py", "/ota_1/zzz.py"];
    scene.bench.power_off();
    scene.nor.power_on();
    for path in planted {
        put(&scene.nor, path, b"import backdoor\n");
    }
    scene.bench.power_on();
    scene.run(async {});
    ended_well(&scene.offer(&release("2.0.0", 6)));
    let image = scene.nor.snapshot();
    for path in planted {
        assert_eq!(file(&image, path), None, "{path}");
    }
    assert!(file(&image, "/ota_1/main.py").is_some());
}
