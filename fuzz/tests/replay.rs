//! Every target on everything that is kept for it; needs no libFuzzer.

use airlift_fuzz::{TARGETS, corpus, seeds};

#[test]
fn every_target_holds_on_what_is_kept() {
    for target in TARGETS {
        for kept in corpus::of(target).unwrap() {
            // The name of the input is shown only if it breaks something.
            println!("{}", kept.name);
            (target.run)(&kept.bytes);
        }
    }
}

#[test]
fn every_target_holds_on_what_is_near_its_seeds() {
    for target in TARGETS {
        for seed in seeds::of(target.name) {
            // A prime step covers every place of a block in a long input.
            for at in (0..seed.len()).step_by(1 + seed.len() / 100 * 7) {
                (target.run)(&seed[..at]);
                for bit in [0x01, 0x20, 0x80] {
                    let mut bad = seed.clone();
                    bad[at] ^= bit;
                    (target.run)(&bad);
                }
            }
        }
    }
}

#[test]
fn kept_inputs_are_small_and_name_no_machine() {
    for target in TARGETS {
        let kept = corpus::of(target).unwrap();
        let bytes: usize = kept.iter().map(|k| k.bytes.len()).sum();
        assert!(kept.len() <= 200 && bytes <= 400 * 1024, "{}", target.name);
        for kept in kept {
            let text = String::from_utf8_lossy(&kept.bytes);
            let folders = ["home", "root", "Users", "tmp"];
            let named = folders.iter().find(|f| text.contains(&format!("/{f}/")));
            assert_eq!(named, None, "{}", kept.name);
        }
    }
}

#[test]
fn the_seeds_are_what_the_targets_accept() {
    use airlift_wire::{Envelope, Manifest, partition, tar};
    for seed in seeds::of("manifest") {
        assert!(Manifest::decode(&seed).is_ok());
    }
    for seed in seeds::of("envelope") {
        let envelope = Envelope::parse(&seed).unwrap();
        let mut scratch = [0; airlift_wire::envelope::SCRATCH];
        let trusted = [seeds::key().public()];
        assert!(envelope.verify(&trusted, &mut scratch).is_ok());
    }
    for seed in seeds::of("tar_header") {
        assert!(tar::parse(seed.first_chunk().unwrap()).is_ok());
    }
    for seed in seeds::of("files_tar") {
        assert!(airlift_release::files::check_canonical(&seed).is_ok());
    }
    for seed in seeds::of("unpack") {
        assert!(airlift_release::files::check_canonical(&seed[2..]).is_ok());
    }
    for seed in seeds::of("partition_table") {
        assert!(partition::Table::parse(&seed, 16 << 20).is_ok());
    }
    for seed in seeds::of("app_image") {
        assert!(airlift_release::image::check(&seed).is_ok());
    }
    for seed in seeds::of("state_record") {
        assert!(airlift_wire::state::State::decode(seed.first_chunk().unwrap()).is_some());
    }
    for seed in seeds::of("release_file") {
        let release = airlift_release::UnverifiedRelease::read(seed).unwrap();
        assert!(release.verify(&[seeds::key().public()]).is_ok());
    }
    for seed in seeds::of("device_json") {
        airlift_discover::DeviceInfo::parse(&seed).unwrap();
    }
    assert!(airlift_fuzz::a_device_is_found());
}
