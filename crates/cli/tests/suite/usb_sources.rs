//! What `airlift usb` puts on a board: releases, ELF files, images, bootloaders and keys.

use crate::elf::Elf;
use crate::usb::{Bench, event, only};
use serde_json::Value;
use std::ops::Range;

/// Where the default layout for 4 MiB has its first slot.
const OTA_0: usize = 0x1_0000;
const SECTOR: usize = 4096;
/// Bytes of an image's header.
const HEADER: usize = 24;

impl Bench {
    fn diagnosis(&self) -> Value {
        only(&self.usb("diagnose --json"))
    }

    /// Where a region of the board is.
    fn region(&self, name: &str) -> Range<usize> {
        let found = self.diagnosis();
        let regions = found["regions"].as_array().expect("regions").iter();
        let mut regions = regions.filter(|region| region["name"] == name);
        let region = regions.next().expect(name);
        let number = |field: &str| region[field].as_u64().expect(field) as usize;
        number("offset")..number("offset") + number("size")
    }

    /// The id of the key with a name.
    fn key(&self, name: &str) -> Value {
        let keys = self.desk.run("key list --json").succeeded().json();
        let found = keys.iter().find(|key| key["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {keys:?}"))["id"].clone()
    }

    /// It starts from the first slot, and all of it is right.
    #[track_caller]
    fn is_healthy(&self) -> Value {
        assert_eq!(self.boots().as_deref(), Some("ota_0"));
        let found = self.diagnosis();
        assert_eq!(found["code"], "healthy", "{found}");
        found
    }
}

/// What a board trusts that has one key for both.
fn root_and_release_key(bench: &Bench) -> Value {
    Value::Array(vec![bench.key("key"); 2])
}

/// How long an ESP image is, and where the data of its last segment ends (ESP-IDF,
/// `esp_image_format.h`).
fn image(bytes: &[u8]) -> (usize, usize) {
    assert_eq!(bytes[0], 0xE9);
    let mut at = HEADER;
    for _ in 0..bytes[1] {
        let length = bytes[at + 4..at + 8].try_into().expect("four bytes");
        at += 8 + u32::from_le_bytes(length) as usize;
    }
    // The checksum is the last byte of the next sixteen.
    ((at + 16) & !15, at)
}

#[test]
fn a_release_of_the_library_is_flashed_by_its_id() {
    let mut bench = Bench::flashed();
    let id = only(&bench.desk.run("inspect old.airlift --json").succeeded())["id"].clone();
    let id = id.as_str().expect("an id");
    std::fs::remove_file(bench.desk.path("old.airlift")).expect("a file");
    let first = bench.board.snapshot();
    bench.plug_in_another();
    bench.usb(&format!("flash {id}")).succeeded();
    let found = bench.is_healthy();
    assert_eq!(found["product"], "p");
    assert!(bench.board.snapshot() == first, "the same as from the file");
    bench.usb("flash 0123456789abcdef").refused(1, "io");
}

#[test]
fn an_elf_file_is_flashed_as_the_app_that_it_is() {
    let bench = Bench::new();
    bench.desk.write("app.elf", Elf::new("3.1.4").bytes());
    let run = bench.usb("flash app.elf --name porch --json").succeeded();
    let lines = run.json();
    assert_eq!(event(&lines, "job")["end"], "done");
    let found = bench.is_healthy();
    let who = (&found["product"], &found["name"]);
    assert_eq!(who, (&"elf-test".into(), &"porch".into()));
    let flash = bench.board.snapshot();
    let (length, _) = image(&flash[OTA_0..]);
    // The same that a release of it carries.
    bench
        .desk
        .run("pack --product elf-test --sequence 1 --app app.elf --key key.pem -o r.airlift")
        .succeeded();
    let carried = bench.desk.read("r.airlift");
    let app = &flash[OTA_0..OTA_0 + length];
    assert!(carried.windows(length).any(|bytes| bytes == app));
}

#[test]
fn a_merged_image_is_written_as_it_is_and_nvs_is_kept() {
    let mut bench = Bench::flashed();
    let nvs = bench.region("nvs");
    let mut wanted = bench.board.snapshot();
    bench.desk.write("merged.bin", &wanted);
    bench.plug_in_another();
    let kept = [0x5A; 32];
    assert!(bench.board.put(nvs.start as u32, &kept));
    bench.usb("flash merged.bin").succeeded();
    wanted[nvs.start..nvs.start + kept.len()].copy_from_slice(&kept);
    assert!(bench.board.snapshot() == wanted);
    assert_eq!(bench.boots().as_deref(), Some("ota_0"));
    bench.usb("flash merged.bin --erase-nvs").succeeded();
    assert!(bench.board.snapshot()[nvs].iter().all(|byte| *byte == 0xFF));
    let name = bench.usb("flash merged.bin --name porch");
    name.refused(2, "usage");
}

#[test]
fn another_bootloader_is_written_instead_of_the_bundled_one() {
    let mut bench = Bench::flashed();
    let flash = bench.board.snapshot();
    let (length, end) = image(&flash);
    // Two bytes that keep the checksum as it is, and no digest behind it.
    let mut other = flash[..length].to_vec();
    other[end - 1] ^= 0x5A;
    other[end - 2] ^= 0x5A;
    other[HEADER - 1] = 0;
    bench.desk.write("bootloader.bin", &other);
    bench.plug_in_another();
    let run = bench
        .usb("flash old.airlift --bootloader bootloader.bin --json")
        .succeeded();
    assert_eq!(event(&run.json(), "job")["end"], "done");
    let now = bench.board.snapshot();
    assert!(now[..length] == other, "the bytes of the file");
    assert!(now[OTA_0..] == flash[OTA_0..], "all else as ever");
    bench.is_healthy();
    other[end - 1] ^= 1;
    bench.desk.write("bootloader.bin", &other);
    bench.board.take_journal();
    let damaged = bench.usb("flash old.airlift --bootloader bootloader.bin");
    damaged.refused(3, "bad_image");
    assert!(bench.changes().is_empty());
}

#[test]
fn a_board_trusts_the_key_of_the_file_that_is_named() {
    let bench = Bench::new();
    bench.desk.run("key new other.pem").succeeded();
    bench.desk.run("key trust other.pub.pem").succeeded();
    // Two keys, and none of them is of this computer.
    bench.usb("flash old.airlift").refused(5, "no_trust");
    let run = bench.usb("flash old.airlift --trust other.pub.pem");
    run.refused(3, "unknown_key");
    assert!(bench.changes().is_empty());
    bench
        .usb("flash old.airlift --trust key.pub.pem")
        .succeeded();
    let found = bench.is_healthy();
    assert_eq!(found["trusts"], root_and_release_key(&bench));
    let both = bench.usb("flash old.airlift --trust other.pub.pem --trust key.pub.pem");
    both.succeeded();
    let keys = ["other", "key"].map(|name| bench.key(name));
    assert_eq!(bench.is_healthy()["trusts"], Value::Array(keys.into()));
}

#[test]
fn keys_that_are_missing_are_given_again_and_nothing_else_is_written() {
    let bench = Bench::flashed();
    let state = bench.region("airlift");
    let mut good = bench.board.snapshot();
    // Both copies; the statement of what is in the slot is behind them.
    let lost = [0xFF; 2 * SECTOR];
    assert!(bench.board.put(state.start as u32, &lost));
    let found = bench.diagnosis();
    assert_eq!(
        (&found["code"], &found["verdict"]),
        (&"state_lost".into(), &"impaired".into())
    );
    assert_eq!(found["trusts"], Value::Array(Vec::new()));
    bench.board.take_journal();
    let run = bench.usb("repair --yes --json").succeeded();
    let lines = run.json();
    assert_eq!(event(&lines, "plan")["steps"][0]["region"], "airlift");
    assert_eq!(event(&lines, "job")["end"], "done");
    let changes = bench.changes();
    assert!(!changes.is_empty());
    for operation in changes {
        let (start, end) = (operation.offset, operation.offset + operation.length);
        let inside = state.start <= start as usize && end as usize <= state.end;
        assert!(inside, "{operation:?}");
    }
    let found = bench.is_healthy();
    assert_eq!(found["trusts"], root_and_release_key(&bench));
    assert_eq!(found["product"], "p");
    let now = bench.board.snapshot();
    good[state.clone()].copy_from_slice(&now[state]);
    assert!(now == good, "nothing else has changed");
}
