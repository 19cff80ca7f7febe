use std::collections::BTreeMap;
use std::process::Command;

use airlift_release::image as release_image;
use airlift_wire::Digest;

use super::given::{CODE, DATA, Elf, RAM, Section, XTENSA, noise};
use super::*;

fn refused(elf: &Elf) -> ElfError {
    image(&elf.bytes(), None).expect_err("it is refused")
}

/// What a bootloader would have at each address.
fn memory(image: &[u8]) -> BTreeMap<u32, u8> {
    let mut memory = BTreeMap::new();
    for segment in release_image::check(image).unwrap().segments {
        let data = &image[segment.offset as usize..][..segment.len as usize];
        // Padding has address 0.
        if segment.address > 0 {
            memory.extend((segment.address..).zip(data.iter().copied()));
        }
    }
    memory
}

/// The ELF's own bytes by address, with its digest in the descriptor.
fn loadable(elf: &Elf) -> BTreeMap<u32, u8> {
    let mut elf = elf.clone();
    let digest = Digest::of(&elf.bytes());
    elf.section(".flash.appdesc").data[144..176].copy_from_slice(&digest.0);
    let bytes = |s: Section| (s.address..).zip(s.data);
    elf.sections.into_iter().flat_map(bytes).collect()
}

/// Whether the image has every byte of the ELF at its address, and nothing but zeros elsewhere.
#[track_caller]
fn holds(image: &[u8], elf: &Elf) {
    let (memory, wanted) = (memory(image), loadable(elf));
    for (address, byte) in &wanted {
        assert_eq!(memory.get(address), Some(byte), "at {address:08x}");
    }
    let more = memory
        .iter()
        .filter(|(address, _)| !wanted.contains_key(address));
    assert!(more.into_iter().all(|(_, byte)| *byte == 0));
}

#[test]
fn the_image_has_every_byte_of_the_elf_at_its_address() {
    let elf = Elf::new("1.2.3");
    let made = image(&elf.bytes(), None).unwrap();
    holds(&made, &elf);
    let info = release_image::check(&made).unwrap();
    assert_eq!(info.chip, Some("esp32c3"));
    assert_eq!(info.entry, CODE);
    assert_eq!(info.flash_size, Some(4 << 20));
    let about = info.descriptor.unwrap();
    assert_eq!((&*about.version, &*about.project), ("1.2.3", "elf-test"));
    assert!(info.sha256.is_some());
    assert_eq!(made[2], 2, "DIO");
    assert_eq!(made[3], 0x2F, "4 MB, 80 MHz");
    assert_eq!(image(&elf.bytes(), None).unwrap(), made, "the same again");
}

#[test]
fn flash_segments_lie_where_the_mmu_can_map_them() {
    let elf = Elf::new("1");
    let made = image(&elf.bytes(), None).unwrap();
    let segments = release_image::check(&made).unwrap().segments;
    let mapped: Vec<_> = segments.iter().filter(|s| s.mapped == Some(true)).collect();
    assert_eq!(mapped.len(), 2, "{segments:?}");
    for segment in mapped {
        assert_eq!(
            segment.address % 0x1_0000,
            segment.offset % 0x1_0000,
            "{segment:?}"
        );
    }
    assert_eq!(segments[0].address, DATA, "the descriptor comes first");
}

#[test]
fn an_elf_without_its_chip_is_made_for_the_one_that_is_named() {
    let mut elf = Elf::new("1");
    elf.chip = None;
    let error = refused(&elf);
    assert_eq!(error, ElfError::NoChip);
    assert_eq!(error.code(), ErrorCode::BadImage);
    assert!(error.help().contains("--chip"));
    holds(&image(&elf.bytes(), Some("esp32c3")).unwrap(), &elf);
    let error = image(&elf.bytes(), Some("esp32x9")).unwrap_err();
    assert_eq!(error, ElfError::UnknownChip("esp32x9".into()));
}

#[test]
fn another_chip_than_the_elf_names_is_refused() {
    let error = image(&Elf::new("1").bytes(), Some("esp32c6")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::WrongChip);
}

#[test]
fn another_processor_is_refused() {
    let mut elf = Elf::new("1");
    elf.machine = XTENSA;
    let error = refused(&elf);
    assert!(matches!(error, ElfError::WrongMachine { .. }), "{error}");
    elf.machine = 40; // Arm
    let error = refused(&elf);
    assert!(matches!(error, ElfError::OtherMachine(_)), "{error}");
    assert_eq!(error.code(), ErrorCode::BadImage);
}

#[test]
fn a_program_of_this_computer_is_refused() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let error = image(&own, None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::BadImage, "{error}");
}

#[test]
fn an_elf_without_an_app_descriptor_is_refused_and_says_what_to_do() {
    let mut elf = Elf::new("1");
    elf.section(".flash.appdesc").name = ".rodata.first";
    let error = refused(&elf);
    assert_eq!(error, ElfError::NoDescriptor);
    assert_eq!(error.code(), ErrorCode::BadImage);
    assert!(error.help().contains("esp_app_desc!()"));

    // In RAM, too short, or of another kind, it is none either.
    let mut elf = Elf::new("1");
    elf.section(".flash.appdesc").address = RAM + 0x1000;
    assert_eq!(refused(&elf), ElfError::NoDescriptor);
    let mut elf = Elf::new("1");
    elf.section(".flash.appdesc").data.truncate(255);
    assert_eq!(refused(&elf), ElfError::NoDescriptor);
    let mut elf = Elf::new("1");
    elf.section(".flash.appdesc").data[0] ^= 1;
    assert_eq!(refused(&elf).code(), ErrorCode::BadImage);
}

#[test]
fn an_elf_that_is_too_big_is_refused_before_anything_is_made_of_it() {
    let mut elf = Elf::new("1");
    elf.section(".text").data = noise(MAX_PART_SIZE as usize, 1);
    assert_eq!(refused(&elf).code(), ErrorCode::TooBig);
    let mut elf = Elf::new("1");
    elf.section(".text").data = noise(5 << 20, 1);
    let made = image(&elf.bytes(), None).unwrap();
    let info = release_image::check(&made).unwrap();
    assert_eq!(info.flash_size, Some(16 << 20), "it does not fit in 4 MB");
}

#[test]
fn sections_that_overlap_or_end_nowhere_are_refused() {
    let mut elf = Elf::new("1");
    elf.section(".rodata").address = DATA + 100;
    assert!(matches!(refused(&elf), ElfError::Damaged(_)));
    let mut elf = Elf::new("1");
    elf.section(".data").address = u32::MAX - 10;
    assert!(matches!(refused(&elf), ElfError::Damaged(_)));
    let mut elf = Elf::new("1");
    elf.sections = vec![Section::new(".data", RAM, noise(100, 1))];
    assert!(matches!(refused(&elf), ElfError::NothingToLoad(_)));
}

#[test]
fn no_cut_and_no_flipped_bit_of_an_elf_stops_the_program() {
    let whole = Elf::new("1").bytes();
    for len in (0..whole.len()).step_by(4001) {
        assert!(image(&whole[..len], None).is_err(), "{len} bytes");
    }
    // The headers are what is read; the rest is only copied.
    let tail = whole.len() - 600;
    for at in (0..220).chain(tail..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        if let Ok(made) = image(&bytes, None) {
            release_image::check(&made).expect("what is made is sound");
        }
    }
}

#[test]
fn esptool_makes_the_same_of_it_and_finds_ours_valid() {
    let Some(esptool) = std::env::var_os("AIRLIFT_TEST_ESPTOOL") else {
        eprintln!("skipped: AIRLIFT_TEST_ESPTOOL names no esptool");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let elf = Elf::new("2.0.0");
    let (from, theirs) = (dir.path().join("app.elf"), dir.path().join("theirs.bin"));
    std::fs::write(&from, elf.bytes()).unwrap();
    let options = "--chip esp32c3 elf2image --flash-mode dio --flash-freq 80m --flash-size 4MB \
                   --elf-sha256-offset 0xb0 -o";
    let run = Command::new(&esptool)
        .args(options.split_whitespace())
        .args([&theirs, &from])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stdout)
    );
    let theirs = std::fs::read(theirs).unwrap();
    let made = image(&elf.bytes(), None).unwrap();
    holds(&theirs, &elf);
    holds(&made, &elf);
    // Mode, speed, size, entry and chip; the revisions and what is reserved are each tool's own.
    assert_eq!(made[2..8], theirs[2..8]);
    assert_eq!(made[12..14], theirs[12..14]);
    assert_eq!(made[23], theirs[23]);

    let ours = dir.path().join("ours.bin");
    std::fs::write(&ours, &made).unwrap();
    let said = Command::new(&esptool)
        .args(["--chip", "esp32c3", "image-info"])
        .arg(&ours)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("(valid)") && !said.contains("invalid"),
        "{said}"
    );
    assert!(
        said.contains(&Digest::of(&elf.bytes()).to_string()),
        "{said}"
    );
}
