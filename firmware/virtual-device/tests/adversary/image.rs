//! App images whose headers lie, signed by a maker whose tools check nothing.

use crate::attack::{Attack, attacks};
use crate::forge::Draft;
use crate::kit::*;
use crate::scene::Scene;
use airlift_updater::SlotId;
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::Digest;
use airlift_wire::ErrorCode::*;

attacks! { "App image";
    an_image_for_another_chip_is_refused {
        threat: "THREAT.IMG.INCOMPATIBLE",
        attacker: "Signs an image for another chip and says that it is for this one.",
        device: "Reads the image's own header before it writes the first sector.",
        code: Some(BadImage),
        mutant: "an-image-may-be-for-any-chip",
    }
    what_is_no_image_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Signs something else as an app: files, text, an image without segments.",
        device: "Reads the header before it writes the first sector.",
        code: Some(BadImage),
        mutant: "an-app-may-be-anything",
    }
    segments_that_reach_beyond_the_image_are_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Names a segment that is longer than the image, or one too many.",
        device: "Walks all segments in flash before the slot is committed.",
        code: Some(BadImage),
        mutant: "images-are-not-walked",
    }
    an_image_that_was_cut_off_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Signs an image that ends in a segment, or before its hash.",
        device: "Walks it to its end.",
        code: Some(BadImage),
        mutant: "images-are-not-walked",
    }
    bytes_behind_an_image_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Appends code behind an image whose own hash stays right.",
        device: "The image must end where the part ends.",
        code: Some(BadImage),
        mutant: "bytes-may-follow-an-image",
    }
    an_image_with_a_wrong_checksum_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Signs an image whose checksum is wrong: the bootloader would not start it.",
        device: "Computes it as the bootloader does.",
        code: Some(BadImage),
        mutant: "checksums-do-not-matter",
    }
    an_image_with_a_wrong_hash_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Signs an image whose appended SHA-256 is wrong.",
        device: "Computes it as the bootloader does.",
        code: Some(BadImage),
        mutant: "appended-hashes-do-not-matter",
    }
}

/// The app of an honest image, changed, with checksum and hash made right again.
fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut image = app("2.0.0");
    image.truncate(image.len() - 33);
    change(&mut image);
    let sum = image[32..].iter().fold(0xEF, |sum, byte| sum ^ byte);
    image.push(sum);
    let digest = Digest::of(&image);
    image.extend_from_slice(&digest.0);
    image
}

/// Each of the images is refused with the code of the attack, and the device recovers.
fn refuse(attack: &Attack, images: &[Vec<u8>]) -> Scene {
    let scene = Scene::new();
    for (n, image) in images.iter().enumerate() {
        println!("image {n} of {}", attack.name);
        scene.fails(attack, &Draft::new().app(image).served(&scene.bench));
    }
    scene
}

/// As [`refuse`], before a byte of the image was written.
fn refuse_before_it_is_written(attack: &Attack, images: &[Vec<u8>]) {
    let scene = refuse(attack, images);
    let target = layout(&scene.before(), SlotId::Ota0).ota[1].offset;
    assert_eq!(scene.nor.lock().erases_at(target), 0);
    scene.recovers();
}

#[test]
fn what_these_tricks_are_played_on_is_an_image_that_is_taken() {
    let scene = Scene::new();
    let image = resealed(|_| {});
    assert_eq!(image, app("2.0.0"));
    crate::scene::ended_well(&scene.post(&Draft::new().app(&image).served(&scene.bench)));
}

fn an_image_for_another_chip_is_refused(attack: &Attack) {
    let images = [0, 9, 13].map(|chip| sample_app(chip, "2.0.0", APP_LEN));
    refuse_before_it_is_written(attack, &images);
}

fn what_is_no_image_is_refused(attack: &Attack) {
    let tar = release("2.0.0", 6).files().unwrap().bytes().to_vec();
    let no_magic = resealed(|image| image[0] = 0x7F);
    let no_segments = resealed(|image| image[1] = 0);
    let many_segments = resealed(|image| image[1] = 17);
    let images = [
        tar,
        no_magic,
        no_segments,
        many_segments,
        vec![0xE9],
        vec![0xFF; 9000],
    ];
    refuse_before_it_is_written(attack, &images);
}

fn segments_that_reach_beyond_the_image_are_refused(attack: &Attack) {
    let with_length = |change: fn(u32) -> u32| {
        resealed(|image| {
            let len = u32::from_le_bytes(*image[28..].first_chunk().unwrap());
            image[28..32].copy_from_slice(&change(len).to_le_bytes());
        })
    };
    let images = [
        with_length(|len| len + 4096),
        with_length(|_| u32::MAX),
        with_length(|_| 0),
        resealed(|image| image[1] = 2),
        resealed(|image| image[1] = 16),
    ];
    refuse(attack, &images).recovers();
}

fn an_image_that_was_cut_off_is_refused(attack: &Attack) {
    let whole = app("2.0.0");
    let cut = |less: usize| whole[..whole.len() - less].to_vec();
    refuse(
        attack,
        &[cut(1), cut(32), cut(33), cut(40_000), whole[..40].to_vec()],
    )
    .recovers();
}

fn bytes_behind_an_image_are_refused(attack: &Attack) {
    let more = |more: &[u8]| [&app("2.0.0"), more].concat();
    refuse(attack, &[more(&[0]), more(&[0xFF; 16]), more(&app("evil"))]).recovers();
}

fn an_image_with_a_wrong_checksum_is_refused(attack: &Attack) {
    let mut image = app("2.0.0");
    let at = image.len() - 33;
    image[at] ^= 1;
    image.truncate(at + 1);
    let digest = Digest::of(&image);
    image.extend_from_slice(&digest.0);
    refuse(attack, &[image]).recovers();
}

fn an_image_with_a_wrong_hash_is_refused(attack: &Attack) {
    let mut image = app("2.0.0");
    let at = image.len() - 1;
    image[at] ^= 1;
    refuse(attack, &[image]).recovers();
}
