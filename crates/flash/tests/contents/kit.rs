//! Releases, boards with a past, and what is asked again and again.

use airlift_flash::{Contents, Factory, Setup, Target};
use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_updater::SlotId;
use airlift_virtual_device::Settings;
use airlift_virtual_device::deterministic::{Bench, sample_app};
use airlift_wire::KeySet;
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;

pub const CHIP: u16 = 5;
pub const PRODUCT: &str = "flash-contents-test";
pub const MIB: u32 = 1 << 20;

pub fn key() -> SigningKey {
    SigningKey::from_seed(&[0x51; 32])
}

pub fn trust() -> KeySet {
    let key = key().public();
    KeySet::new(1, key, &[key]).unwrap()
}

pub fn app(version: &str) -> Bytes {
    sample_app(CHIP, version, 70_000).into()
}

pub fn options(key: &SigningKey, sequence: u32) -> PackOptions<'_> {
    let mut options = PackOptions::new(PRODUCT, sequence, key);
    options.version = Some("1.0.0");
    options
}

/// A release with an app and enough files that some have blocks of their own.
pub fn release(version: &str, sequence: u32) -> Release {
    let key = key();
    let mut options = options(&key, sequence);
    options.version = Some(version);
    options.app = Some(app(version));
    options.files = Some(FilesInput::from_iter([
        (
            "main.py".to_owned(),
            format!("print('{version}')\n").into_bytes(),
        ),
        (
            "lib/large.bin".to_owned(),
            version.repeat(9000).into_bytes(),
        ),
        ("lib/deep/er.txt".to_owned(), vec![b'd'; 300]),
    ]));
    pack(options).unwrap().release
}

pub fn setup() -> Setup<'static> {
    Setup {
        name: "bench",
        trust: Some(trust()),
        factory_slot: true,
        ..Setup::default()
    }
}

pub fn target(mebibytes: u32) -> Target {
    Target::new(CHIP, mebibytes * MIB)
}

/// A board that had another release, updates, and files of its own: all that must not shine through.
pub fn board_with_a_past(flash_size: u32, factory_slot: bool) -> Vec<u8> {
    let old = release("0.1.0", 7);
    let mut factory = Factory::new(PRODUCT, "old", trust());
    factory.flash_size = flash_size as usize;
    factory.factory_slot = factory_slot;
    factory.installed = Some((SlotId::Ota1, &old));
    let mut flash = factory.build().unwrap();
    let vfs = {
        use airlift_flash::littlefs::{Blocks, FileTree, Storage};
        let table = airlift_flash::factory::table(flash_size, factory_slot).unwrap();
        let table = airlift_wire::partition::Table::parse(&table, flash_size).unwrap();
        let vfs = table.labelled("vfs").unwrap();
        let mut bytes: &[u8] = &flash;
        let mut storage = Storage::new();
        let blocks = Blocks::of(&mut bytes, vfs.offset, vfs.size);
        let mut tree = FileTree::mount(&mut storage, blocks).unwrap();
        // So many that metadata moves, and its revisions grow.
        for n in 0..300 {
            let path = format!("{}/old-{}.txt", ["factory", "ota_0", "logs"][n % 3], n % 40);
            tree.write(&path, &vec![n as u8; n * 7]).unwrap();
        }
        tree.changed(vfs.offset).unwrap()
    };
    for segment in vfs {
        put(&mut flash, segment.offset(), segment.bytes());
    }
    for byte in &mut flash[0x9000..0xD000] {
        *byte = 0x5A;
    }
    flash
}

pub fn put(flash: &mut [u8], offset: u32, bytes: &[u8]) {
    flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// What becomes of a flash in which all of `contents` is written, and nothing else.
pub fn write(flash: &mut [u8], contents: &Contents) {
    let mut end = 0;
    for segment in contents.segments() {
        assert!(segment.offset() >= end, "segments are ascending and apart");
        end = segment.end();
        put(flash, segment.offset(), segment.bytes());
    }
    assert!(end as usize <= flash.len());
}

/// Starts a device on a flash, waits until it has nothing to do, and lets `look` ask it more.
pub fn start<T>(flash: Vec<u8>, look: impl AsyncFnOnce(&Bench, &Value) -> T) -> T {
    let bench = Bench::new(3);
    bench.add_device(flash, Settings::default()).unwrap();
    bench
        .run(async {
            let info = loop {
                if let Ok(answer) = bench.client().get("/v1/device").await {
                    break answer.json();
                }
                bench.scheduler().sleep(Duration::from_millis(100)).await;
            };
            look(&bench, &info).await
        })
        .unwrap()
}
