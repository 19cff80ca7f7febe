use crate::given::{self, Image, canonical, key, other_key, release, some_files};
use airlift_release::wire::manifest::ANY_CHIP;
use airlift_release::wire::{Digest, KeySet, PublicKey};
use airlift_release::{
    Error, FilesInput, KeyChange, PackOptions, Part, PartKind, PartState, SigningKey,
    UnverifiedRelease, Warning, change_keys, keys::key_set, pack, resign, resign_with_keys,
};
use bytes::Bytes;
use proptest::prelude::*;

fn options(key: &SigningKey) -> PackOptions<'_> {
    let mut options = PackOptions::new("demo", 3, key);
    options.version = Some("1.0.0");
    options
}

fn error(options: PackOptions<'_>) -> Error {
    pack(options).unwrap_err()
}

#[test]
fn an_image_brings_its_chip_and_its_version() {
    let key = key();
    let mut options = PackOptions::new("demo", 1, &key);
    options.app = Some(given::demo_image());
    let packed = pack(options).unwrap();
    let manifest = packed.release.manifest();
    assert_eq!(
        (manifest.chip_name(), &*manifest.version),
        (Some("esp32c3"), "1.0.0")
    );
    assert_eq!(packed.warnings, [Warning::LeftAsItIs(PartKind::Files)]);
    assert_eq!(packed.release.file_name(), "demo-1.0.0.airlift");
}

#[test]
fn a_version_that_is_given_wins_over_the_images() {
    let key = key();
    let mut options = options(&key);
    options.app = Some(Image::default().build());
    options.version = Some("9.9 beta/1");
    let release = pack(options).unwrap().release;
    assert_eq!(release.manifest().version, "9.9 beta/1");
    assert_eq!(release.file_name(), "demo-9.9_beta_1.airlift");
}

#[test]
fn without_a_version_anywhere_it_is_asked_for() {
    let key = key();
    let mut plain = options(&key);
    plain.version = None;
    plain.files = Some(some_files());
    assert!(error(plain).to_string().contains("no version"));
    for bad in ["", "a\u{1B}[2J", &"1".repeat(65)] {
        let mut options = options(&key);
        options.version = Some(bad);
        options.files = Some(some_files());
        assert_eq!(error(options).code().as_str(), "usage", "{bad:?}");
    }
}

#[test]
fn another_chip_than_the_images_is_an_error() {
    let key = key();
    let mut options = options(&key);
    options.app = Some(Image::default().build());
    options.chip = Some("esp32s3");
    let error = error(options);
    assert_eq!(error.code().as_str(), "wrong_chip");
    let text = "the image is for esp32c3, but the release is for esp32s3";
    assert_eq!(error.to_string(), text);
}

#[test]
fn the_chip_comes_from_the_base_when_no_app_is_carried() {
    let (key, base) = (key(), release());
    let with = |chip| {
        let mut options = options(&key);
        options.sequence = 4;
        options.files = Some(some_files());
        options.base = Some(&base);
        options.chip = chip;
        pack(options)
    };
    assert_eq!(with(None).unwrap().release.manifest().chip, 5);
    assert_eq!(with(Some("esp32c3")).unwrap().release.manifest().chip, 5);
    let error = with(Some("esp32")).unwrap_err();
    assert!(
        error.to_string().starts_with("the base is for esp32c3"),
        "{error}"
    );
}

#[test]
fn a_base_names_the_part_that_is_not_carried() {
    let (key, base) = (key(), release());
    let mut options = options(&key);
    options.sequence = 4;
    options.base = Some(&base);
    options.files = Some(FilesInput::from_iter([("main.py", "new")]));
    let packed = pack(options).unwrap();
    let app = base.app().unwrap().digest();
    assert_eq!(packed.release.manifest().app, PartState::Running(app));
    assert!(packed.release.app().is_none());
    assert_eq!(packed.warnings, []);
}

#[test]
fn the_files_that_devices_run_are_named_where_no_base_names_them() {
    let (key, base) = (key(), release());
    let running = airlift_wire::Digest::of(b"what they run");
    let mut alone = options(&key);
    alone.app = Some(given::demo_image());
    alone.running_files = Some(running);
    let packed = pack(alone).unwrap();
    assert_eq!(packed.release.manifest().files, PartState::Running(running));
    assert_eq!(packed.warnings, [], "nothing is left to chance");

    let mut with_base = options(&key);
    with_base.sequence = 4;
    with_base.app = Some(given::demo_image());
    with_base.base = Some(&base);
    with_base.running_files = Some(running);
    let files = base.files().unwrap().digest();
    let packed = pack(with_base).unwrap();
    assert_eq!(packed.release.manifest().files, PartState::Running(files));

    let mut carried = options(&key);
    carried.files = Some(some_files());
    carried.running_files = Some(running);
    assert!(pack(carried).unwrap().release.files().is_some());
}

#[test]
fn without_a_base_the_missing_part_is_null_and_its_maker_is_told() {
    let key = key();
    let mut options = options(&key);
    options.files = Some(some_files());
    let packed = pack(options).unwrap();
    assert_eq!(packed.release.manifest().app, PartState::Any);
    assert_eq!(packed.release.manifest().chip, ANY_CHIP);
    assert_eq!(
        packed.warnings,
        [Warning::AnyChip, Warning::LeftAsItIs(PartKind::App)]
    );
    let text = packed.warnings[1].to_string();
    assert!(
        text.starts_with("app: null.") && text.contains("stays"),
        "{text}"
    );
    // A base that itself says nothing does not help.
    let mut options = self::options(&key);
    options.sequence = 4;
    options.base = Some(&packed.release);
    options.files = Some(some_files());
    let warnings = pack(options).unwrap().warnings;
    assert!(warnings.contains(&Warning::BaseSaysNothing(PartKind::App)));
}

#[test]
fn a_base_of_another_product_or_a_later_one_is_noticed() {
    let (key, base) = (key(), release());
    let mut other = PackOptions::new("other", 4, &key);
    other.base = Some(&base);
    assert_eq!(error(other).code().as_str(), "wrong_product");
    let mut same = options(&key);
    same.base = Some(&base);
    same.files = Some(some_files());
    let warning = Warning::SequenceNotAboveBase {
        base: 3,
        sequence: 3,
    };
    assert_eq!(pack(same).unwrap().warnings, [warning]);
}

#[test]
fn names_and_numbers_outside_their_range_are_refused() {
    let key = key();
    for (product, sequence) in [("", 1), ("Demo", 1), ("a/b", 1), ("demo", 0)] {
        let mut options = PackOptions::new(product, sequence, &key);
        options.version = Some("1");
        options.files = Some(some_files());
        assert_eq!(
            error(options).code().as_str(),
            "usage",
            "{product} {sequence}"
        );
    }
    assert_eq!(error(options(&key)).code().as_str(), "usage");
    let mut unknown = options(&key);
    unknown.files = Some(some_files());
    unknown.chip = Some("esp99");
    assert!(error(unknown).to_string().contains("esp99"));
}

#[test]
fn an_image_that_is_damaged_or_too_large_is_refused() {
    let key = key();
    let mut damaged = Image::default().build().to_vec();
    damaged[400] ^= 1;
    let mut with = options(&key);
    with.app = Some(damaged.into());
    assert_eq!(error(with).code().as_str(), "bad_image");
    let mut with = options(&key);
    with.app = Some(Bytes::from(vec![0xE9; (16 << 20) + 1]));
    assert_eq!(error(with).code().as_str(), "too_big");
}

#[test]
fn an_image_without_hash_and_an_empty_tar_are_worth_a_warning() {
    let key = key();
    let mut with = options(&key);
    with.app = Some(
        Image {
            hash: false,
            ..Image::default()
        }
        .build(),
    );
    with.files = Some(FilesInput::Tar(canonical(&[]).into()));
    assert_eq!(
        pack(with).unwrap().warnings,
        [Warning::NoAppendedHash, Warning::NoFiles]
    );
}

#[test]
fn new_keys_alone_make_a_release_and_unusable_ones_do_not() {
    let key = key();
    let with = |root, release| {
        let mut options = options(&key);
        options.new_keys = KeySet::new(2, root, &[release]);
        pack(options)
    };
    let good = other_key().public();
    let release = with(key.public(), good).unwrap().release;
    assert_eq!(
        release.manifest().keys,
        KeySet::new(2, key.public(), &[good])
    );
    let summary = release.summary();
    assert_eq!(summary.keys.unwrap().keys, [good.id().to_string()]);
    let bad = PublicKey([2; 32]);
    assert_eq!(
        with(key.public(), bad).unwrap_err().code().as_str(),
        "bad_key_set"
    );
    assert_eq!(with(bad, good).unwrap_err().code().as_str(), "bad_key_set");
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    assert_eq!(release().to_file(), release().to_file());
    // Whoever changes this changes what every host and device agrees on. The bytes were checked
    // by tests/interop/verify_release.py, which shares no code with this crate.
    let file = release().to_file();
    assert_eq!(Digest::of(&file).to_string(), GOLDEN);
}

const GOLDEN: &str = "0003ada6a3a98a3af29b0bafb718bc46040b5e3d0c3fd3087e4bc378148ad5fd";

#[test]
fn the_release_file_is_a_ustar_with_the_envelope_first() {
    let release = release();
    let file = release.to_file();
    let name = |at: usize, name: &[u8]| file[at..].starts_with(name) && file[at + name.len()] == 0;
    let blocks = |len: usize| len.div_ceil(512) * 512;
    assert!(name(0, b"manifest.cose"));
    assert_eq!(&file[512..][..release.envelope().len()], release.envelope());
    let app_at = 512 + blocks(release.envelope().len());
    assert!(name(app_at, b"app.bin"));
    let app = release.app().unwrap().bytes();
    assert_eq!(&file[app_at + 512..][..app.len()], app);
    let files_at = app_at + 512 + blocks(app.len());
    assert!(name(files_at, b"files.tar"));
    let end = files_at + 512 + blocks(release.files().unwrap().bytes().len());
    assert_eq!(file[end..], [0; 1024]);
}

#[test]
fn going_back_is_the_old_parts_under_a_higher_sequence() {
    let (old, key) = (release(), other_key());
    let back = resign(&old, 9, &key, 5).unwrap();
    assert_eq!(back.manifest().sequence, 9);
    assert_eq!((back.app(), back.files()), (old.app(), old.files()));
    assert_ne!(back.id(), old.id());
    let opened = UnverifiedRelease::read(back.to_file()).unwrap();
    assert_eq!(opened.verify(&[key.public()]).unwrap(), back);
    for sequence in [0, 2, 3] {
        let error = resign(&old, sequence, &key, 5).unwrap_err();
        assert_eq!(error.code().as_str(), "lower_sequence");
    }
}

#[test]
fn a_resigned_release_keeps_the_digest_of_what_it_does_not_carry_and_drops_keys() {
    let (key, base) = (key(), release());
    let mut options = options(&key);
    options.sequence = 4;
    options.base = Some(&base);
    options.files = Some(some_files());
    options.new_keys = KeySet::new(2, key.public(), &[key.public()]);
    let old = pack(options).unwrap().release;
    let back = resign(&old, 5, &key, 0).unwrap();
    assert_eq!(back.manifest().app, old.manifest().app);
    assert_eq!(back.manifest().keys, None);
}

#[test]
fn signed_again_with_keys_it_brings_them_and_the_same_parts() {
    let (old, root) = (release(), other_key());
    let keys = key_set(2, key().public(), &[key().public()]).unwrap();
    let new = resign_with_keys(&old, 9, keys, &root, 5).unwrap();
    assert_eq!(new.manifest().keys, Some(keys));
    assert_eq!((new.app(), new.files()), (old.app(), old.files()));
    assert!(!new.is_keys_only());
    let stale = KeySet::new(0, key().public(), &[key().public()]).unwrap();
    let error = resign_with_keys(&old, 9, stale, &root, 5).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_key_set");
    let words = new.summary().keys.unwrap().describe(|id| format!("<{id}>"));
    let id = key().id();
    assert_eq!(
        words,
        format!(
            "once a device has confirmed this release, it trusts root <{id}>, release key <{id}> \
             and no other key (epoch 2)"
        )
    );
}

#[test]
fn a_change_of_keys_names_what_must_run_and_carries_nothing() {
    let (base, root) = (release(), other_key());
    let digest = |part: Option<&Part>| part.unwrap().digest();
    let change = KeyChange {
        product: &base.manifest().product,
        chip: base.manifest().chip,
        version: "1.0.0",
        sequence: 9,
        app: digest(base.app()),
        files: Some(digest(base.files())),
        keys: key_set(2, key().public(), &[key().public()]).unwrap(),
        created: 5,
    };
    let release = change_keys(&change, &root).unwrap();
    assert!(release.is_keys_only() && release.parts().count() == 0);
    assert_eq!(release.manifest().app, PartState::Running(change.app));
    assert_eq!(
        release.manifest().files,
        PartState::Running(digest(base.files()))
    );
    let opened = UnverifiedRelease::read(release.to_file()).unwrap();
    assert_eq!(opened.verify(&[root.public()]).unwrap(), release);
    assert_eq!(
        change_keys(&change, &root).unwrap(),
        release,
        "the same bytes"
    );
    let without_files = KeyChange {
        files: None,
        ..change
    };
    let release = change_keys(&without_files, &root).unwrap();
    assert_eq!(release.manifest().files, PartState::Any);
}

fn some_tree() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let path = "[a-d]{1,2}(/[a-d.]{1,3}[a-d]){0,2}";
    let content = proptest::collection::vec(any::<u8>(), 0..1500);
    proptest::collection::vec((path, content), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_opens_to_the_same_release(
        tree in some_tree(), app in any::<bool>(), len in 256usize..9000, sequence in 1u32..,
        created: u64, version in "[ -~]{1,64}",
    ) {
        let key = key();
        let mut options = PackOptions::new("demo", sequence, &key);
        options.version = Some(&version);
        options.created = created;
        let segments = vec![(0x4200_0000, vec![1; len])];
        options.app = app.then(|| Image { segments, ..Image::default() }.build());
        options.files = Some(FilesInput::from_iter(tree));
        // A tree may hold a file and a folder of one name; that has its own test.
        if let Ok(packed) = pack(options) {
            let file = packed.release.to_file();
            let opened = UnverifiedRelease::read(file.clone()).unwrap();
            let opened = opened.verify(&[key.public()]).unwrap();
            prop_assert_eq!(opened.to_file(), file);
            prop_assert_eq!(opened, packed.release);
        }
    }
}
