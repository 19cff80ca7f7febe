//! Every target on its seeds and on simple damage of them; needs no libFuzzer.

use airlift_fuzz::{TARGETS, seeds};

#[test]
fn every_target_takes_its_seeds_and_what_is_near_them() {
    for (name, target) in TARGETS {
        for seed in seeds::of(name) {
            target(&seed);
            // A prime step covers every place of a block in a long input.
            for at in (0..seed.len()).step_by(1 + seed.len() / 1000 * 7) {
                target(&seed[..at]);
                for bit in [0x01, 0x20, 0x80] {
                    let mut bad = seed.clone();
                    bad[at] ^= bit;
                    target(&bad);
                }
            }
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
        assert!(
            envelope
                .verify(&[seeds::key().public()], &mut scratch)
                .is_ok()
        );
    }
    for seed in seeds::of("tar_header") {
        assert!(tar::parse(seed.first_chunk().unwrap()).is_ok());
    }
    for seed in seeds::of("files_tar") {
        assert!(airlift_release::files::check_canonical(&seed).is_ok());
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
}
