//! From a release or an app.

use super::kit::*;
use airlift_flash::contents::{of_app, of_release};
use airlift_flash::{Error, Rollback, Setup, Target, bootloader};
use airlift_provision::Credentials;
use airlift_provision::record::{FIRST_SECTOR, Record};
use airlift_release::{Release, files::FilesInput, pack};
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::partition::Table;

#[test]
fn a_board_with_any_past_starts_the_release_and_knows_nothing_else() {
    let release = release("1.0.0", 3);
    for mebibytes in [4, 8, 16] {
        for factory_slot in [true, false] {
            let mut setup = setup();
            setup.factory_slot = factory_slot;
            let contents = of_release(&release, &target(mebibytes), &setup).unwrap();
            assert_eq!(contents.flash_size, mebibytes * MIB);
            let mut flash = board_with_a_past(mebibytes * MIB, !factory_slot);
            write(&mut flash, &contents);
            let info = start(flash, async |_, info| info.clone());
            let case = format!("{mebibytes} MiB, factory {factory_slot}: {info:#}");
            let running = &info["running"];
            let slot = if factory_slot { "factory" } else { "ota_0" };
            assert_eq!(running["slot"], slot, "{case}");
            assert_eq!(running["state"], "valid", "{case}");
            assert_eq!(running["release"], release.id().to_string(), "{case}");
            assert_eq!(running["sequence"], 3, "{case}");
            let digest = |part: Option<&airlift_release::Part>| part.unwrap().digest().to_string();
            assert_eq!(running["app_sha256"], digest(release.app()), "{case}");
            assert_eq!(running["files_sha256"], digest(release.files()), "{case}");
            assert_eq!(info["name"], "bench", "{case}");
            assert_eq!(info["product"], PRODUCT, "{case}");
            assert_eq!(
                info["trust"]["root"],
                key().public().id().to_string(),
                "{case}"
            );
            let others = info["slots"].as_array().unwrap().iter();
            let others = others.filter(|other| other["slot"] != slot);
            for other in others {
                assert!(other["release"].is_null(), "{case}");
            }
        }
    }
}

/// The same layout with a file system that was written often is where stale metadata could be newer.
#[test]
fn what_an_older_file_system_left_is_not_taken_for_newer() {
    let release = release("1.0.0", 3);
    for factory_slot in [true, false] {
        let mut setup = setup();
        setup.factory_slot = factory_slot;
        let contents = of_release(&release, &target(4), &setup).unwrap();
        let mut flash = board_with_a_past(4 * MIB, factory_slot);
        write(&mut flash, &contents);
        let vfs = {
            let table = Table::parse(&flash[0x8000..], 4 * MIB).unwrap();
            table.labelled("vfs").unwrap()
        };
        use airlift_flash::littlefs::{Blocks, FileTree, Storage};
        let mut bytes: &[u8] = &flash;
        let mut storage = Storage::new();
        let blocks = Blocks::of(&mut bytes, vfs.offset, vfs.size);
        let mut tree = FileTree::mount(&mut storage, blocks).unwrap();
        let paths: Vec<_> = tree.walk("").unwrap().into_iter().map(|e| e.path).collect();
        assert!(paths.iter().all(|path| !path.contains("old")), "{paths:?}");
        assert_eq!(
            paths.iter().filter(|path| !path.contains('/')).count(),
            if factory_slot { 3 } else { 2 }
        );
    }
}

/// A bootloader that finds the selected app damaged tries the other slots.
#[test]
fn an_app_that_was_in_another_slot_cannot_start_any_more() {
    let contents = of_release(&release("1.0.0", 3), &target(4), &setup()).unwrap();
    let mut flash = board_with_a_past(4 * MIB, true);
    let slots = {
        let table = Table::parse(&flash[0x8000..], 4 * MIB).unwrap();
        ["ota_0", "ota_1"].map(|label| table.labelled(label).unwrap().offset as usize)
    };
    let is_image = |flash: &[u8], at: usize| flash[at] == airlift_wire::image::MAGIC;
    assert!(
        slots.iter().any(|at| is_image(&flash, *at)),
        "there was one"
    );
    write(&mut flash, &contents);
    assert!(slots.iter().all(|at| !is_image(&flash, *at)));
}

#[test]
fn a_board_from_nothing_takes_an_update() {
    let contents = of_release(&release("1.0.0", 3), &target(4), &setup()).unwrap();
    let mut flash = vec![0; 4 * MIB as usize];
    write(&mut flash, &contents);
    let next = release("2.0.0", 4);
    let last = start(flash, async |bench, _| {
        bench.host().add(&next);
        let lines = bench.client().update(&next, "").await.unwrap();
        lines.all().await.pop().unwrap()
    });
    assert!(last.contains("rebooting"), "{last}");
}

#[test]
fn little_is_written_and_nvs_only_if_it_need_not_stay() {
    let release = release("1.0.0", 3);
    let mut setup = setup();
    let all = of_release(&release, &target(16), &setup).unwrap();
    assert!(all.bytes() < 400 << 10, "{} of 16 MiB", all.bytes());
    assert!(all.losses.iter().any(|loss| loss.contains("nvs")));
    setup.keep_nvs = true;
    let kept = of_release(&release, &target(16), &setup).unwrap();
    let mut flash = board_with_a_past(16 * MIB, true);
    let before = flash[0x9000..0xD000].to_vec();
    write(&mut flash, &kept);
    assert_eq!(flash[0x9000..0xD000], before);
    assert!(kept.losses.iter().all(|loss| !loss.contains("nvs")));
    write(&mut flash, &all);
    assert!(flash[0x9000..0xD000].iter().all(|byte| *byte == 0xFF));
}

#[test]
fn the_network_is_where_boards_look_for_it_and_in_no_sentence() {
    let mut setup = setup();
    setup.wifi = Credentials::new(b"home", b"secret-password");
    let contents = of_release(&release("1.0.0", 3), &target(4), &setup).unwrap();
    let mut flash = vec![0; 4 * MIB as usize];
    write(&mut flash, &contents);
    let table = Table::parse(&flash[0x8000..], 4 * MIB).unwrap();
    let at = table.labelled("airlift").unwrap().offset as usize + FIRST_SECTOR as usize * 4096;
    let record = Record::decode(flash[at..].first_chunk().unwrap()).unwrap();
    assert_eq!(record.network, setup.wifi);
    let said = format!(
        "{:?}",
        (&contents.summary, &contents.afterwards, &contents.losses)
    );
    let titles: String = contents
        .steps
        .iter()
        .map(|s| s.title.clone() + &s.why)
        .collect();
    assert!(!(said + &titles).contains("secret"));
}

#[test]
fn the_steps_name_each_region_once_and_say_which_bootloader_it_is() {
    let contents = of_release(&release("1.0.0", 3), &target(4), &setup()).unwrap();
    let regions: Vec<_> = contents.steps.iter().map(|step| &step.region[..]).collect();
    let expected = [
        "bootloader",
        "partition table",
        "nvs",
        "otadata",
        "phy_init",
        "factory",
        "ota_0",
        "ota_1",
        "airlift",
        "vfs",
    ];
    assert_eq!(regions, expected);
    assert!(contents.steps[0].why.contains("without rollback"));
    assert_eq!(contents.rollback, Some(Rollback::No));
    let given = bootloader::for_chip(CHIP, 4 * MIB).unwrap();
    let given = bootloader::from_file(given.bytes(), &target(4), Rollback::Yes).unwrap();
    let mut setup = setup();
    setup.bootloader = Some(&given);
    let contents = of_release(&release("1.0.0", 3), &target(4), &setup).unwrap();
    assert!(contents.steps[0].why.contains("goes back by itself"));
    assert_eq!(contents.rollback, Some(Rollback::Yes));
}

#[test]
fn an_app_without_a_release_starts_and_trusts_whom_it_is_told_to() {
    let app = app("5.0.0");
    for trusting in [true, false] {
        let mut setup = setup();
        if !trusting {
            setup.trust = None;
        }
        let contents = of_app(&app, &target(4), &setup).unwrap();
        assert_eq!(contents.brings_trust, trusting);
        assert_eq!(contents.what, "sample 5.0.0");
        let mut flash = board_with_a_past(4 * MIB, true);
        write(&mut flash, &contents);
        let info = start(flash, async |_, info| info.clone());
        assert_eq!(info["running"]["slot"], "factory", "{info:#}");
        assert_eq!(info["product"], "sample");
        assert_eq!(info["trust"].is_null(), !trusting, "{info:#}");
    }
}

#[test]
fn what_the_board_could_not_start_is_refused() {
    let whole = release("1.0.0", 3);
    let refused = |release: &Release, target: Target, setup: Setup<'_>| {
        of_release(release, &target, &setup).unwrap_err()
    };

    let other_chip = refused(&whole, Target::new(13, 4 * MIB), setup());
    assert!(
        matches!(
            other_chip,
            Error::WrongChip {
                found: 5,
                wanted: 13,
                ..
            }
        ),
        "{other_chip}"
    );
    assert!(matches!(
        refused(&whole, target(2), setup()),
        Error::FlashSize(_)
    ));
    let no_chip = refused(&whole, Target::new(999, 4 * MIB), setup());
    assert!(matches!(no_chip, Error::NoBootloader(999)), "{no_chip}");

    let stranger = airlift_release::SigningKey::from_seed(&[9; 32]).public();
    let mut others = setup();
    others.trust = airlift_wire::KeySet::new(1, stranger, &[stranger]);
    assert!(matches!(
        refused(&whole, target(4), others),
        Error::UnknownSigner(_)
    ));

    let key = key();
    let mut files_only = options(&key, 3);
    files_only.files = Some(FilesInput::from_iter([("a".to_owned(), vec![1])]));
    let files_only = pack(files_only).unwrap().release;
    assert!(matches!(
        refused(&files_only, target(4), setup()),
        Error::Missing(_)
    ));

    let large = sample_app(CHIP, "1.0.0", 0xF_0000 + 1);
    let too_big = of_app(&large.into(), &target(4), &setup()).unwrap_err();
    assert!(matches!(too_big, Error::TooBig { .. }), "{too_big}");
    let mut damaged = app("1.0.0").to_vec();
    damaged[5000] ^= 4;
    let damaged = of_app(&damaged.into(), &target(4), &setup()).unwrap_err();
    assert!(matches!(damaged, Error::Image { .. }), "{damaged}");
}

#[test]
fn files_that_do_not_fit_are_too_big() {
    let key = key();
    let mut options = options(&key, 3);
    options.app = Some(app("1.0.0"));
    let content = vec![7; 2 << 20];
    options.files = Some(FilesInput::from_iter([("large".to_owned(), content)]));
    let large = pack(options).unwrap().release;
    let error = of_release(&large, &target(4), &setup()).unwrap_err();
    assert_eq!(error.code().as_str(), "too_big", "{error}");
    assert!(of_release(&large, &target(8), &setup()).is_ok());
}

#[test]
fn a_flash_that_is_larger_than_addresses_reach_is_used_up_to_there() {
    let contents = of_release(&release("1.0.0", 3), &target(32), &setup()).unwrap();
    assert_eq!(contents.flash_size, 16 * MIB);
    assert!(contents.segments().all(|segment| segment.end() <= 16 * MIB));
    // The bootloader drives all of it.
    let header = airlift_wire::image::Header::parse(contents.steps[0].segments[0].bytes());
    assert_eq!(header.unwrap().flash_size_code, 5);
}

#[test]
fn keys_and_names_that_no_board_would_read_are_refused() {
    let app = app("1.0.0");
    let refused = |change: fn(&mut Setup<'_>)| {
        let mut setup = setup();
        change(&mut setup);
        of_app(&app, &target(4), &setup).unwrap_err()
    };
    let no_product = refused(|setup| setup.product = Some(""));
    assert!(matches!(no_product, Error::NoProduct), "{no_product}");
    assert!(matches!(
        refused(|setup| setup.product = Some("A b")),
        Error::NoProduct
    ));
    assert!(matches!(
        refused(|setup| setup.name = "\u{1b}[2J"),
        Error::Name
    ));
    const LONG: &str = "123456789012345678901234567890123";
    assert!(matches!(refused(|setup| setup.name = LONG), Error::Name));
    // With nothing to remember, any app will do.
    let mut setup = Setup {
        product: Some(""),
        ..Setup::default()
    };
    assert!(of_app(&app, &target(4), &setup).is_ok());
    setup.name = "bench";
    assert!(matches!(
        of_app(&app, &target(4), &setup),
        Err(Error::NoProduct)
    ));
}

#[test]
fn a_bootloader_that_was_read_for_another_chip_is_refused() {
    let other = bootloader::for_chip(13, 4 * MIB).unwrap();
    let mut setup = setup();
    setup.bootloader = Some(&other);
    let error = of_release(&release("1.0.0", 3), &target(4), &setup).unwrap_err();
    assert!(
        matches!(error, Error::WrongChip { found: 13, .. }),
        "{error}"
    );
}
