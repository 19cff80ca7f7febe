//! Files that people give for a board on USB: what is taken is written as it is, and can start.

use crate::input::Input;
use crate::seeds;
use airlift_flash::contents::{Part, of_merged, of_parts};
use airlift_flash::{Contents, Target, bootloader, factory};
use airlift_release::FileKind;
use airlift_wire::image;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use bytes::Bytes;
use std::sync::LazyLock;

const FLASH: u32 = 4 << 20;
const CHIP: u16 = 5;
/// Where things usually go.
const OFFSETS: [u32; 6] = [0, 0x1000, 0x2000, TABLE_OFFSET, 0x1_0000, 0x10_0000];

/// What a build leaves: bootloader, table, app.
static BUILT: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let bootloader = bootloader::for_chip(CHIP, FLASH).expect("a known chip");
    let table = factory::table(FLASH, true).expect("a usual size");
    let app = seeds::image();
    [bootloader.bytes().to_vec(), table.to_vec(), app.to_vec()]
});

/// Parts that a build leaves, with damage, anywhere; together and merged.
pub fn flash_files(data: &[u8]) {
    let mut input = Input::new(data);
    let target = Target::new(CHIP, FLASH);
    let mut parts = Vec::new();
    while !input.is_empty() && parts.len() < 8 {
        let kind = input.byte();
        let offset = match usize::from(kind >> 4) {
            n if n < OFFSETS.len() => OFFSETS[n],
            n if n < 12 => u32::from(input.u16()) << 12,
            _ => input.u32(),
        };
        let mut bytes = match BUILT.get(usize::from(kind % 4)) {
            Some(built) => built.clone(),
            None => input.piece().to_vec(),
        };
        for _ in 0..kind >> 2 & 3 {
            let at = usize::from(input.u16()) % bytes.len().max(1);
            match input.byte() {
                0 => bytes.truncate(at),
                bits => bytes[at..].iter_mut().take(1).for_each(|b| *b ^= bits),
            }
        }
        parts.push(Part {
            offset,
            name: "part".to_owned(),
            bytes: bytes.into(),
        });
    }
    if let Ok(contents) = of_parts(parts.clone(), &target, false) {
        holds(&contents, &parts);
    }
    let mut merged = vec![0xFF; 0x1_8000];
    for part in &parts {
        if let Some(place) = merged.get_mut(part.offset as usize..) {
            let len = place.len().min(part.bytes.len());
            place[..len].copy_from_slice(&part.bytes[..len]);
        }
    }
    let merged = Bytes::from(merged);
    if let Ok(contents) = of_merged("merged", &merged, &target, false) {
        let part = Part {
            offset: 0,
            name: String::new(),
            bytes: merged,
        };
        holds(&contents, &[part]);
        assert!(contents.brings_table && contents.rollback.is_some());
    }
}

/// The steps write the parts and nothing else, and what they bring is sound.
fn holds(contents: &Contents, parts: &[Part]) {
    let mut flash = vec![0xFF; FLASH as usize];
    let mut end = 0;
    for segment in contents.segments() {
        assert!(segment.offset() >= end, "two steps write one sector");
        end = segment.end();
        flash[segment.offset() as usize..end as usize].copy_from_slice(segment.bytes());
    }
    for part in parts {
        let written = &flash[part.offset as usize..][..part.bytes.len()];
        assert!(written == &part.bytes[..], "a part is not written as it is");
    }
    let given: usize = parts
        .iter()
        .map(|p| p.bytes.len().next_multiple_of(4096))
        .sum();
    assert_eq!(contents.bytes() as usize, given, "more or less is written");
    if contents.rollback.is_some() {
        let area = &flash[..TABLE_OFFSET as usize];
        assert_eq!(FileKind::of(area), FileKind::Bootloader);
    }
    if contents.brings_table {
        let table = &flash[TABLE_OFFSET as usize..][..TABLE_LEN];
        assert!(Table::parse(table, FLASH).is_ok());
    }
    for part in parts {
        if FileKind::of(&part.bytes) == FileKind::AppImage {
            let mut checker = image::Checker::new();
            assert!(checker.update(&part.bytes).is_ok() && checker.is_done());
            assert!(checker.finish().is_ok_and(|c| c.header.chip_id == CHIP));
        }
    }
}
