//! Manifests that a trusted key signed, by mistake or because it was stolen, and that are none.

use crate::attack::{Attack, attacks};
use crate::forge::{
    APP, CHIP_KEY, Draft, FILES, FORMAT, PRODUCT_KEY, Part, SEQUENCE, VERSION, cbor, sign,
};
use crate::kit::*;
use crate::scene::Scene;
use airlift_wire::Digest;
use airlift_wire::ErrorCode::*;

attacks! { "Manifest";
    a_field_that_stands_twice_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Gives a field twice, so that two readers take different ones.",
        device: "Requires keys in ascending order, each once.",
        code: Some(BadManifest),
        mutant: "keys-in-any-order",
    }
    a_second_way_to_write_a_number_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Writes numbers and lengths longer than they need to be.",
        device: "Requires the shortest form (RFC 8949 section 4.2).",
        code: Some(BadManifest),
        mutant: "long-numbers-are-fine",
    }
    bytes_behind_a_manifest_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Hides bytes behind the manifest, inside of what is signed.",
        device: "Every byte must belong to the manifest.",
        code: Some(BadManifest),
        mutant: "bytes-may-follow-the-manifest",
    }
    another_format_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Presents a manifest of a later format whose fields mean something else.",
        device: "Knows format 1 only.",
        code: Some(BadManifest),
        mutant: "any-format-will-do",
    }
    a_missing_field_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Leaves out what the device would compare.",
        device: "Has no defaults: all eight fields must be there.",
        code: Some(BadManifest),
        mutant: "sequence-may-be-missing",
    }
    a_part_of_no_size_or_of_any_size_is_refused {
        threat: "TUF endless data",
        attacker: "Names a part of no bytes, or of more than 16 MiB.",
        device: "Refuses sizes outside of 1 byte to 16 MiB.",
        code: Some(BadManifest),
        mutant: "any-size-will-do",
    }
    pages_that_do_not_cover_the_part_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Names fewer index pages than the part has, so that its end is not covered.",
        device: "Requires exactly the pages that the size needs.",
        code: Some(BadManifest),
        mutant: "pages-need-not-cover-the-part",
    }
    an_app_for_any_chip_is_refused {
        threat: "THREAT.IMG.INCOMPATIBLE",
        attacker: "Signs an app and says that it fits every chip.",
        device: "Takes \"any chip\" only without an app.",
        code: Some(BadManifest),
        mutant: "an-app-may-fit-any-chip",
    }
    nesting_without_end_is_refused {
        threat: "TUF endless data",
        attacker: "Nests a field that is skipped so deeply that skipping it exhausts the stack.",
        device: "Follows four levels.",
        code: Some(BadManifest),
        mutant: "nesting-has-no-limit",
    }
    text_that_would_break_out_of_json_is_refused {
        threat: "",
        attacker: "Puts control characters into the version, which goes into logs and terminals.",
        device: "Refuses the manifest.",
        code: Some(BadManifest),
        mutant: "any-text-is-a-version",
    }
}

/// Signs any payload with the release key and expects the refusal.
fn refuse_payload(scene: &Scene, attack: &Attack, draft: &Draft, payload: &[u8]) {
    let envelope = sign(&RELEASE, payload);
    draft.serve_as(&scene.bench, &envelope);
    scene.refuses(attack, &envelope);
}

fn a_field_that_stands_twice_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let honest = Draft::new();
    // Another sequence after the first; a second app; two fields that have changed places.
    for (key, item) in [
        (SEQUENCE, cbor::uint(99)),
        (APP, Part::of(&app("3.0.0")).item()),
    ] {
        let mut twice = honest.clone();
        let at = twice.fields.iter().position(|(k, _)| *k == key).unwrap();
        twice.fields.insert(at, (key, item));
        refuse_payload(&scene, attack, &honest, &twice.payload());
    }
    let mut swapped = honest.clone();
    swapped.fields.swap(4, 5);
    refuse_payload(&scene, attack, &honest, &swapped.payload());
    // The same inside of a part.
    let part = Part::of(&app("2.0.0"));
    let fields = |digest: Digest| {
        let pages: Vec<_> = part.pages.iter().map(|p| cbor::bytes(&p.0)).collect();
        cbor::map(&[
            (0, cbor::uint(part.size)),
            (1, cbor::bytes(&digest.0)),
            (1, cbor::bytes(&part.digest.0)),
            (2, cbor::array(&pages)),
        ])
    };
    let inside = honest.clone().set(APP, fields(Digest::of(b"another")));
    refuse_payload(&scene, attack, &honest, &inside.payload());
    scene.recovers();
}

fn a_second_way_to_write_a_number_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let honest = Draft::new();
    for sequence in [
        &[0x18, 6][..],
        &[0x19, 0, 6],
        &[0x1A, 0, 0, 0, 6],
        &[0x1B, 0, 0, 0, 0, 0, 0, 0, 6],
    ] {
        let draft = honest.clone().set(SEQUENCE, sequence.to_vec());
        refuse_payload(&scene, attack, &honest, &draft.payload());
    }
    let long_text = [&[0x78, 5][..], b"2.0.0"].concat();
    let draft = honest.clone().set(VERSION, long_text);
    refuse_payload(&scene, attack, &honest, &draft.payload());
    scene.recovers();
}

fn bytes_behind_a_manifest_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let honest = Draft::new();
    for more in [&[0][..], b"#!/bin/sh\n", &honest.payload()] {
        let payload = [&honest.payload(), more].concat();
        refuse_payload(&scene, attack, &honest, &payload);
    }
    scene.recovers();
}

fn another_format_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for format in [0, 2, 1_000_000] {
        let draft = Draft::new().set(FORMAT, cbor::uint(format));
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn a_missing_field_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for key in FORMAT..=FILES {
        let mut draft = Draft::new();
        draft.fields.retain(|(k, _)| *k != key);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn a_part_of_no_size_or_of_any_size_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let large = 16 * 1024 * 1024 + 1u64;
    let page = Digest::of(b"page");
    for (size, pages) in [(0, 0), (large, 33), (u32::MAX.into(), 100)] {
        for key in [APP, FILES] {
            let part = Part {
                size,
                digest: Digest::of(b"part"),
                pages: vec![page; pages],
                blocks: None,
            };
            let draft = Draft::new().set(key, part.item());
            scene.refuses(attack, &draft.served(&scene.bench));
        }
    }
    scene.recovers();
}

fn pages_that_do_not_cover_the_part_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let app = airlift_virtual_device::deterministic::sample_app(CHIP, "2.0.0", 600_000);
    let right = Part::of(&app);
    assert_eq!(right.pages.len(), 2);
    for pages in [0, 1, 3] {
        let mut part = right.clone();
        part.pages.resize(pages, Digest::of(b"page"));
        let draft = Draft::new().carry(APP, &app, part);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn an_app_for_any_chip_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new().set(CHIP_KEY, cbor::uint(0xFFFF));
    scene.refuses(attack, &draft.served(&scene.bench));
    scene.recovers();
}

fn nesting_without_end_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for depth in [6, 3_000] {
        // Arrays of one item each: 0x81.
        let nested = [vec![0x81; depth], vec![0]].concat();
        let draft = Draft::new().set(16, nested);
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

fn text_that_would_break_out_of_json_is_refused(attack: &Attack) {
    let scene = Scene::new();
    for version in ["2.0\n{\"event\":\"rebooting\"}", "2\u{1b}[2J", "2\0"] {
        let draft = Draft::new().set(VERSION, cbor::text(version));
        scene.refuses(attack, &draft.served(&scene.bench));
    }
    let draft = Draft::new().set(PRODUCT_KEY, cbor::text("Device\",\"x"));
    scene.refuses(attack, &draft.served(&scene.bench));
    scene.recovers();
}
