use crate::given::{Image, demo_image};
use airlift_release::wire::partition::{self, Partition};
use airlift_release::{Error, FileKind, image};
use proptest::prelude::*;

fn refusal(bytes: &[u8]) -> FileKind {
    match image::check(bytes) {
        Err(error @ Error::NotAnImage(kind)) => {
            assert_eq!(error.code().as_str(), "bad_image");
            assert!(error.help().ends_with('.'), "{error}");
            kind
        }
        other => panic!("{other:?}"),
    }
}

/// A bootloader: segments in RAM only, no app descriptor.
fn bootloader(chip: u16) -> Image<'static> {
    Image {
        chip,
        segments: vec![(0x3FCD_5820, vec![1; 300]), (0x403C_C710, vec![2; 700])],
        descriptor: None,
        hash: true,
    }
}

/// The whole flash in one file, as `espflash save-image --merge` or `esptool merge-bin` write it.
fn merged(bootloader_at: usize) -> Vec<u8> {
    let mut flash = vec![0xFF; 0x10000];
    let boot = bootloader(5).build();
    flash[bootloader_at..bootloader_at + boot.len()].copy_from_slice(&boot);
    let table = [
        Partition::new("nvs", 1, 2, 0x9000, 0x6000),
        Partition::new("factory", 0, 0, 0x10000, 0x10_0000),
    ];
    let mut bytes = [0xFF; partition::TABLE_LEN];
    partition::encode(&table, &mut bytes).unwrap();
    flash[0x8000..0x8000 + bytes.len()].copy_from_slice(&bytes);
    flash.extend(Image::default().build());
    flash
}

#[test]
fn the_demo_image_is_described_as_esptool_does() {
    // `esptool image-info` on the same file: tests/interop/image_info.py.
    let bytes = demo_image();
    let info = image::check(&bytes).unwrap();
    assert_eq!((info.chip, info.chip_id), (Some("esp32c3"), 5));
    assert_eq!(
        (info.segments.len(), info.size as usize),
        (bytes[1].into(), bytes.len())
    );
    assert_eq!(info.flash_size, Some(4 << 20));
    let descriptor = info.descriptor.unwrap();
    assert_eq!(
        (&*descriptor.project, &*descriptor.version),
        ("airlift-demo", "1.0.0")
    );
    assert!(info.segments.iter().any(|s| s.mapped == Some(true)));
    assert_eq!(info.damage, None);
    let appended: String = bytes[bytes.len() - 32..]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(info.sha256, Some(appended));
}

#[test]
fn a_damaged_image_is_described_with_its_damage_and_not_accepted() {
    let mut flipped = demo_image().to_vec();
    flipped[100_000] ^= 1;
    let info = image::inspect(&flipped).unwrap();
    assert!(info.damage.unwrap().contains("checksum"));
    assert_eq!(info.segments.len(), usize::from(flipped[1]));
    let error = image::check(&flipped).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_image");
    assert!(
        error
            .to_string()
            .starts_with("the app image is damaged: its checksum is")
    );
    let cut = &demo_image()[..150_000];
    assert!(
        image::inspect(cut)
            .unwrap()
            .damage
            .unwrap()
            .contains("ends inside")
    );
    let mut hash = demo_image().to_vec();
    *hash.last_mut().unwrap() ^= 1;
    assert!(
        image::inspect(&hash)
            .unwrap()
            .damage
            .unwrap()
            .contains("SHA-256")
    );
}

#[test]
fn a_merged_image_is_told_apart_and_the_app_inside_is_found() {
    for at in [0, 0x1000, 0x2000] {
        let flash = merged(at);
        assert_eq!(refusal(&flash), FileKind::MergedImage, "{at:#x}");
        let app = image::app_in_merged(&flash).unwrap();
        assert_eq!(flash[app], Image::default().build()[..]);
    }
    // With its table elsewhere it is still a bootloader with more behind it.
    let mut moved = merged(0);
    moved.copy_within(0x8000..0x8C00, 0xC000);
    moved[0x8000..0x8C00].fill(0xFF);
    assert_eq!(refusal(&moved), FileKind::MergedImage);
    assert_eq!(image::app_in_merged(&moved), None);
}

#[test]
fn a_damaged_app_in_a_merged_image_is_not_offered() {
    let mut flash = merged(0);
    flash[0x10100] ^= 1;
    assert_eq!(refusal(&flash), FileKind::MergedImage);
    assert_eq!(image::app_in_merged(&flash), None);
}

#[test]
fn a_bootloader_is_not_an_app() {
    assert_eq!(refusal(&bootloader(5).build()), FileKind::Bootloader);
    // Padded to a sector, as it is cut from a flash.
    let mut padded = bootloader(5).build().to_vec();
    padded.resize(4096, 0xFF);
    assert_eq!(refusal(&padded), FileKind::Bootloader);
    // Of a chip that is not known nothing is claimed.
    assert!(image::check(&bootloader(77).build()).is_ok());
}

#[test]
fn a_secure_boot_signature_behind_the_image_is_named() {
    let mut signed = Image::default().build().to_vec();
    signed.resize(4096, 0xFF);
    signed.extend([0xE7, 0x02, 0, 0]);
    signed.resize(8192, 0);
    assert_eq!(refusal(&signed), FileKind::SignedImage);
}

#[test]
fn what_is_no_image_is_named_with_what_to_do() {
    for (bytes, kind, says) in [
        (&b""[..], FileKind::Empty, "Build"),
        (b"\x7FELF\x01\x01\x01", FileKind::Elf, "elf2image"),
        (b"UF2\n", FileKind::Uf2, ".bin"),
        (b"PK\x03\x04", FileKind::Zip, "Unpack"),
        (b"hello", FileKind::Unknown, ".bin"),
        (&[0xFF; 5000], FileKind::Blank, "Build"),
    ] {
        assert_eq!(refusal(bytes), kind);
        let help = image::check(bytes).unwrap_err().help();
        assert!(help.contains(says), "{help}");
    }
}

#[test]
fn micropython_is_recognised_by_its_project_name() {
    let micropython = Image {
        descriptor: Some(("v1.28.0", "micropython")),
        ..Image::default()
    };
    let info = image::check(&micropython.build()).unwrap();
    assert!(info.micropython);
    assert_eq!(info.micropython_version, None);
    assert_eq!(info.interpreter().as_deref(), Some("MicroPython"));
    let other = image::check(&Image::default().build()).unwrap();
    assert!(!other.micropython);
    assert_eq!(other.interpreter(), None);
}

#[test]
fn micropython_of_another_project_name_is_recognised_by_its_own_version_string() {
    let mut rodata = vec![0; 600];
    let banner = b"3.4.0; MicroPython v1.28.0 on 2026-04-06\0";
    rodata[300..300 + banner.len()].copy_from_slice(banner);
    let image = Image {
        segments: vec![(0x3C00_0020, rodata)],
        ..Image::default()
    };
    let info = image::check(&image.build()).unwrap();
    assert_eq!(info.descriptor.as_ref().unwrap().project, "blink");
    assert!(info.micropython);
    assert_eq!(info.micropython_version.as_deref(), Some("v1.28.0"));
    assert_eq!(info.interpreter().as_deref(), Some("MicroPython v1.28.0"));
}

#[test]
fn control_characters_of_a_descriptor_never_reach_the_terminal() {
    let evil = Image {
        descriptor: Some(("1\u{1B}[2J", "a\nb")),
        ..Image::default()
    };
    let descriptor = image::check(&evil.build()).unwrap().descriptor.unwrap();
    assert_eq!(descriptor.version, "1\u{FFFD}[2J");
    assert_eq!(descriptor.project, "a\u{FFFD}b");
}

proptest! {
    #[test]
    fn any_change_of_an_image_is_described_or_refused(at in 0usize..700, with in proptest::collection::vec(any::<u8>(), 1..40)) {
        let mut bytes = Image::default().build().to_vec();
        let at = at.min(bytes.len() - with.len());
        bytes[at..at + with.len()].copy_from_slice(&with);
        let _ = (image::inspect(&bytes), image::check(&bytes), image::app_in_merged(&bytes));
    }
}
