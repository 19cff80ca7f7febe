//! From images and files as they are.

use super::kit::*;
use airlift_flash::contents::{
    MAX_PARTS, Part, of_app, of_merged, of_parts, of_parts_on, of_release,
};
use airlift_flash::{Contents, Error, Factory, Rollback, Setup, Target, bootloader, factory};
use airlift_updater::SlotId;
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::partition::{Partition, SUBTYPE_FACTORY, TABLE_LEN, TYPE_APP, Table, encode};
use bytes::Bytes;
use proptest::prelude::*;

/// Bootloader, table and app in one file that ends with the app.
fn merged() -> Bytes {
    let release = release("1.0.0", 3);
    let bootloader = bootloader::for_chip(CHIP, 4 * MIB).unwrap();
    let mut factory = Factory::new(PRODUCT, "merged", trust());
    factory.installed = Some((SlotId::Factory, &release));
    factory.bootloader = Some(&bootloader);
    factory.build().unwrap().into()
}

fn part(offset: u32, name: &str, bytes: impl Into<Bytes>) -> Part {
    Part {
        offset,
        name: name.to_owned(),
        bytes: bytes.into(),
    }
}

/// What a build leaves: three files and where they go.
fn build() -> Vec<Part> {
    let bootloader = bootloader::for_chip(CHIP, 4 * MIB).unwrap();
    vec![
        part(0x1_0000, "app.bin", app("1.0.0")),
        part(0, "bootloader.bin", bootloader.bytes().clone()),
        part(
            0x8000,
            "partitions.bin",
            factory::table(4 * MIB, true).unwrap().to_vec(),
        ),
    ]
}

fn written(contents: &Contents) -> Vec<u8> {
    let mut flash = board_with_a_past(contents.flash_size.max(4 * MIB), true);
    write(&mut flash, contents);
    flash
}

#[test]
fn a_merged_image_is_written_as_it_is_and_starts() {
    let image = merged();
    let contents = of_merged("merged.bin", &image, &target(4), false).unwrap();
    assert_eq!(written(&contents), image);
    assert!(contents.brings_table && contents.brings_trust);
    assert_eq!(contents.rollback, Some(Rollback::Unknown));
    let info = start(written(&contents), async |_, info| info.clone());
    assert_eq!(info["name"], "merged");
    assert_eq!(info["running"]["version"], "1.0.0", "{info:#}");
}

#[test]
fn a_merged_image_may_end_with_its_app_and_leave_nvs_alone() {
    let whole = merged();
    let app = release("1.0.0", 3).app().unwrap().size();
    let short = whole.slice(..0x1_0000 + app as usize);
    let contents = of_merged("merged.bin", &short, &target(4), true).unwrap();
    assert_eq!(contents.flash_size, 4 * MIB);
    let before = board_with_a_past(4 * MIB, true);
    let flash = written(&contents);
    assert_eq!(flash[..0x9000], whole[..0x9000]);
    assert_eq!(flash[0x9000..0xD000], before[0x9000..0xD000], "nvs");
    assert_eq!(flash[0xD000..short.len()], short[0xD000..]);
    let end = short.len().next_multiple_of(4096);
    assert_eq!(flash[end..], before[end..]);
    let titles: Vec<_> = contents.steps.iter().map(|step| &step.title[..]).collect();
    assert_eq!(
        titles,
        [
            "Write bootloader",
            "Write partition table",
            "Empty otadata",
            "Empty phy_init",
            "Write factory"
        ]
    );
}

#[test]
fn a_merged_image_that_would_not_start_is_refused() {
    let image = merged();
    let refused =
        |image: &Bytes, target: &Target| of_merged("merged.bin", image, target, false).unwrap_err();
    let chip = refused(&image, &Target::new(0, 4 * MIB));
    assert!(
        matches!(
            chip,
            Error::WrongChip {
                found: 5,
                wanted: 0,
                ..
            }
        ),
        "{chip}"
    );
    let chip = refused(&image, &Target::new(9, 4 * MIB));
    assert!(
        matches!(
            chip,
            Error::WrongChip {
                found: 5,
                wanted: 9,
                ..
            }
        ),
        "{chip}"
    );
    assert_eq!(refused(&image, &target(2)).code().as_str(), "too_big");

    // The app at the end is cut off, or has a wrong bit.
    let cut = image.slice(..0x1_8000);
    assert!(matches!(refused(&cut, &target(4)), Error::Image { .. }));
    let flipped = |at: usize| {
        let mut bytes = image.to_vec();
        bytes[at] ^= 1;
        refused(&bytes.into(), &target(4))
    };
    assert!(matches!(flipped(0x1_2345), Error::Image { .. }));
    assert!(
        matches!(flipped(0x100), Error::Image { .. }),
        "in the bootloader"
    );

    let release = release("1.0.0", 3);
    let wide = of_release(&release, &target(8), &setup()).unwrap();
    let mut bytes = vec![0xFF; 4 * MIB as usize];
    for segment in wide.segments().filter(|s| s.end() <= 4 * MIB) {
        put(&mut bytes, segment.offset(), segment.bytes());
    }
    let error = refused(&bytes.into(), &target(4));
    assert_eq!(
        error.code().as_str(),
        "too_big",
        "its bootloader is set for 8 MiB: {error}"
    );
    assert!(matches!(
        refused(&app("1.0.0"), &target(4)),
        Error::WrongKind { .. }
    ));
}

#[test]
fn what_is_made_for_a_chip_is_a_merged_image_for_that_chip_alone() {
    for chip in [0, 2, 9, 13, 16, 18, 23] {
        let app: Bytes = sample_app(chip, "1.0.0", 9000).into();
        let board = Target::new(chip, 4 * MIB);
        let contents = of_app(&app, &board, &setup()).unwrap();
        let offset = contents.steps[0].segments[0].offset();
        assert_eq!(Some(offset), bootloader::offset(chip));
        let mut flash = vec![0xFF; 4 * MIB as usize];
        write(&mut flash, &contents);
        let image = Bytes::from(flash);
        let again = of_merged("all.bin", &image, &board, false).unwrap();
        assert_eq!(written(&again), image, "chip {chip}");
        let other = of_merged("all.bin", &image, &target(4), false).unwrap_err();
        assert!(
            matches!(other, Error::WrongChip { .. }),
            "chip {chip}: {other}"
        );
    }
}

#[test]
fn what_a_build_leaves_is_written_where_it_says() {
    let contents = of_parts(build(), &target(4), true).unwrap();
    let flash = written(&contents);
    let before = board_with_a_past(4 * MIB, true);
    assert_eq!(flash[0x9000..0x1_0000], before[0x9000..0x1_0000]);
    let titles: Vec<_> = contents.steps.iter().map(|step| &step.title[..]).collect();
    assert_eq!(
        titles,
        [
            "Write bootloader.bin",
            "Write partitions.bin",
            "Write app.bin"
        ]
    );
    let regions: Vec<_> = contents.steps.iter().map(|step| &step.region[..]).collect();
    assert_eq!(regions, ["bootloader", "partition table", "factory"]);
    assert!(!contents.brings_trust);
    assert_eq!(contents.what, "3 files");
}

#[test]
fn parts_that_cannot_be_written_are_refused() {
    let refused = |parts| of_parts(parts, &target(4), true).unwrap_err();
    let code = |parts| refused(parts).code().as_str();
    let data = |offset, len: usize| part(offset, "data", vec![1; len]);

    assert_eq!(code(vec![]), "usage");
    assert!(matches!(refused(vec![data(0x2_0000, 0)]), Error::Empty(_)));
    assert!(matches!(
        refused(vec![data(0x2_0010, 5)]),
        Error::Segment { .. }
    ));
    assert!(matches!(
        refused(vec![data(0x3F_F000, 4097)]),
        Error::TooBig { .. }
    ));
    assert!(matches!(
        refused(vec![data(0xFFFF_F000, 4096)]),
        Error::TooBig { .. }
    ));
    // 4097 bytes are two sectors.
    let overlap = refused(vec![data(0x2_1000, 1), data(0x2_0000, 4097)]);
    assert!(
        matches!(overlap, Error::Overlap { at: 0x2_1000, .. }),
        "{overlap}"
    );
    assert!(
        of_parts(
            vec![data(0x2_1000, 1), data(0x2_0000, 4096)],
            &target(4),
            true
        )
        .is_ok()
    );
    let many = (0..=MAX_PARTS as u32).map(|n| data(0x2_0000 + n * 0x1000, 1));
    assert!(matches!(
        refused(many.collect()),
        Error::TooManyParts { .. }
    ));
}

#[test]
fn parts_that_the_board_could_not_start_are_refused() {
    let with = |parts: &[Part]| {
        let mut all = build();
        all.retain(|old| parts.iter().all(|new| new.offset != old.offset));
        all.extend_from_slice(parts);
        of_parts(all, &target(4), true).unwrap_err()
    };
    let other = bootloader::for_chip(9, 4 * MIB).unwrap();
    let error = with(&[part(0, "bootloader.bin", other.bytes().clone())]);
    assert!(
        matches!(error, Error::WrongChip { found: 9, .. }),
        "{error}"
    );
    let error = with(&[part(0, "app.bin", app("1.0.0").slice(..0x7000))]);
    assert!(matches!(error, Error::WrongKind { .. }), "{error}");
    let esp32 = bootloader::for_chip(0, 4 * MIB).unwrap();
    let mut all = build();
    all.retain(|part| part.offset != 0);
    all.push(part(0x1000, "bootloader.bin", esp32.bytes().clone()));
    let error = of_parts(all, &target(4), true).unwrap_err();
    assert!(
        matches!(error, Error::WrongChip { found: 0, .. }),
        "{error}"
    );

    let error = with(&[part(
        0x8000,
        "partitions.bin",
        factory::table(8 * MIB, true).unwrap().to_vec(),
    )]);
    assert!(matches!(error, Error::Table(_)), "for 8 MiB: {error}");
    let error = with(&[part(0x8000, "partitions.csv", b"# Name, Type".to_vec())]);
    assert!(error.code().as_str() == "bad_layout" || error.code().as_str() == "bad_image");
    let c6: Bytes = sample_app(13, "1.0.0", 9000).into();
    let error = with(&[part(0x1_0000, "app.bin", c6)]);
    assert!(
        matches!(error, Error::WrongChip { found: 13, .. }),
        "{error}"
    );
    let error = with(&[part(0x1_0000, "app.bin", app("1.0.0").slice(..60_000))]);
    assert!(matches!(error, Error::Image { .. }), "{error}");
    for (name, bytes) in [
        ("app.elf", &b"\x7FELF\x01\x01"[..]),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\n"),
        ("app.uf2", b"UF2\nWQ]\x9E"),
    ] {
        let error = with(&[part(0x20_0000, name, bytes.to_vec())]);
        assert!(matches!(error, Error::WrongKind { .. }), "{name}: {error}");
    }
}

#[test]
fn an_image_for_other_revisions_of_the_chip_is_refused() {
    let with = |image: &[u8], revisions: [u16; 2]| -> Bytes {
        use sha2::{Digest as _, Sha256};
        let mut image = image.to_vec();
        image[15..17].copy_from_slice(&revisions[0].to_le_bytes());
        image[17..19].copy_from_slice(&revisions[1].to_le_bytes());
        let end = image.len() - 32;
        let hash = Sha256::digest(&image[..end]);
        image[end..].copy_from_slice(&hash);
        image.into()
    };
    let mut target = target(4);
    target.revision = Some(4);
    let app = app("1.0.0");
    let of = |revisions| of_app(&with(&app, revisions), &target, &setup()).map(drop);
    assert!(of([3, 199]).is_ok() && of([4, 4]).is_ok() && of([0, 0]).is_ok());
    assert!(of([0, u16::MAX]).is_ok());
    let newer = of([101, 199]).unwrap_err();
    assert_eq!(newer.code().as_str(), "wrong_chip");
    assert_eq!(
        newer.to_string(),
        "the app runs on esp32c3 v1.1 and newer, and the board has v0.4"
    );
    let older = of([0, 3]).unwrap_err().to_string();
    assert!(older.contains("v0.3 and older"), "{older}");
    let parts = |offset, bytes| of_parts(vec![part(offset, "part", bytes)], &target, true);
    let refused = parts(0x1_0000, with(&app, [101, 0])).unwrap_err();
    assert!(matches!(refused, Error::Revision { .. }), "{refused}");
    let bundled = bootloader::for_target(&target).unwrap();
    let newer = with(bundled.bytes(), [101, 0]);
    let refused = bootloader::from_file(&newer, &target, Rollback::Unknown).unwrap_err();
    assert!(matches!(refused, Error::Revision { .. }), "{refused}");
    let refused = parts(0, newer).unwrap_err();
    assert!(matches!(refused, Error::Revision { .. }), "{refused}");
    // Only an app has a highest one.
    assert!(parts(0, with(bundled.bytes(), [0, 3])).is_ok());
}

/// A table with one app partition.
fn one_app(offset: u32, size: u32) -> [u8; TABLE_LEN] {
    let app = Partition::new("factory", TYPE_APP, SUBTYPE_FACTORY, offset, size);
    let mut table = [0; TABLE_LEN];
    encode(&[app], &mut table).unwrap();
    table
}

#[test]
fn an_app_that_runs_over_the_partition_of_the_board_is_refused() {
    let app = app("1.0.0");
    let room = app.len().next_multiple_of(4096) as u32;
    let on = |table: &[u8], offset| {
        let present = Table::parse(table, 4 * MIB).unwrap();
        let parts = vec![part(offset, "app.bin", app.clone())];
        of_parts_on(parts, &present, &target(4), true)
    };
    let contents = on(&one_app(0x1_0000, room), 0x1_0000).unwrap();
    assert_eq!(contents.steps[0].region, "factory");
    assert_eq!(contents.losses.len(), 1, "{:?}", contents.losses);
    let error = on(&one_app(0x1_0000, room - 4096), 0x1_0000).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }), "{error}");
    // In front of it, and into it.
    let error = on(&one_app(0x8_0000, 0x1_0000), 0x8_0000 - room + 4096).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }), "{error}");
    let beside = on(&one_app(0x8_0000, room), 0x20_0000).unwrap();
    assert_eq!(
        beside.losses[1],
        "app.bin will not start: no app partition of the board begins at 0x200000."
    );
}

#[test]
fn a_table_that_leaves_the_apps_of_the_board_behind_says_so() {
    let present = factory::table(4 * MIB, true).unwrap();
    let present = Table::parse(&present, 4 * MIB).unwrap();
    let with = |parts| of_parts_on(parts, &present, &target(4), true).unwrap();
    let new = || part(0x8000, "new.bin", one_app(0x30_0000, 0x10_0000).to_vec());
    let alone = with(vec![new()]);
    let said = alone.losses.join(" ");
    assert!(
        said.contains("What is in factory, ota_0, ota_1 cannot start"),
        "{said}"
    );
    assert!(said.contains("the board starts nothing"), "{said}");
    assert_eq!(
        alone.afterwards,
        "The board starts nothing until an app is written."
    );
    let with_app = with(vec![new(), part(0x30_0000, "app.bin", app("1.0.0"))]);
    let said = with_app.losses.join(" ");
    assert!(!said.contains("the board starts nothing"), "{said}");
    // The same table takes nothing.
    let table = factory::table(4 * MIB, true).unwrap().to_vec();
    let same = with(vec![part(0x8000, "same.bin", table)]);
    assert!(
        !same.losses.join(" ").contains("start"),
        "{:?}",
        same.losses
    );
}

#[test]
fn only_what_brings_every_partition_decides_what_the_board_will_be() {
    assert!(
        of_merged("m", &merged(), &target(4), false)
            .unwrap()
            .decides_all()
    );
    let release = release("1.0.0", 3);
    for keep_nvs in [false, true] {
        let setup = Setup {
            keep_nvs,
            ..setup()
        };
        let contents = of_release(&release, &target(4), &setup).unwrap();
        assert!(contents.decides_all());
    }
    // Bootloader, table and an app: otadata may let another one start.
    assert!(!of_parts(build(), &target(4), true).unwrap().decides_all());
    let short = merged().slice(..0x1_0000 + release.app().unwrap().size() as usize);
    let short = of_merged("m", &short, &target(4), false).unwrap();
    assert!(!short.decides_all(), "a later slot stays");
}

#[test]
fn names_of_files_cannot_speak_to_the_terminal() {
    let name = "\u{1b}[31mred\u{202e}".to_owned() + &"x".repeat(500);
    let parts = vec![part(0x2_0000, &name, vec![1])];
    let contents = of_parts(parts, &target(4), true).unwrap();
    let said = format!("{}{}", contents.summary, contents.steps[0].title);
    assert!(
        !said.contains('\u{1b}') && !said.contains('\u{202e}'),
        "{said:?}"
    );
    assert!(said.len() < 400);
}

#[test]
fn the_version_of_an_app_cannot_either() {
    let app = sample_app(CHIP, "\u{1b}[2J\u{202e}1", 9000);
    let contents = of_app(&app.into(), &target(4), &setup()).unwrap();
    assert_eq!(contents.what, "sample \u{fffd}[2J\u{fffd}1");
}

fn any_part() -> impl Strategy<Value = Part> {
    let offset = prop_oneof![
        Just(0),
        Just(0x8000),
        Just(0x1_0000),
        (0u32..0x500).prop_map(|n| n * 0x1000),
        any::<u32>(),
    ];
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..6000),
        Just(app("1.0.0").to_vec()),
        Just(factory::table(4 * MIB, true).unwrap().to_vec()),
        Just(
            bootloader::for_chip(CHIP, 4 * MIB)
                .unwrap()
                .bytes()
                .to_vec()
        ),
    ];
    // A byte that is not as it was.
    let wrong = proptest::option::of((any::<usize>(), any::<u8>()));
    (offset, bytes, wrong).prop_map(|(offset, mut bytes, wrong)| {
        if let Some((at, byte)) = wrong
            && !bytes.is_empty()
        {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        part(offset, "any", bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_parts_are_written_as_they_are_or_refused(parts in proptest::collection::vec(any_part(), 0..5)) {
        if let Ok(contents) = of_parts(parts.clone(), &target(4), false) {
            let mut flash = vec![0; 4 * MIB as usize];
            write(&mut flash, &contents);
            for part in parts {
                prop_assert_eq!(&flash[part.offset as usize..][..part.bytes.len()], &part.bytes[..]);
            }
        }
    }

    #[test]
    fn any_merged_image_is_written_or_refused(changes in proptest::collection::vec((0usize..0x1_1000, any::<u8>()), 1..4), len in 0usize..0x2_0000) {
        let mut image = merged()[..len].to_vec();
        for (at, byte) in changes {
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
        }
        let image = Bytes::from(image);
        if let Ok(contents) = of_merged("any.bin", &image, &target(4), false) {
            let mut flash = vec![0; 4 * MIB as usize];
            write(&mut flash, &contents);
            prop_assert_eq!(&flash[..image.len()], &image[..]);
        }
    }
}
