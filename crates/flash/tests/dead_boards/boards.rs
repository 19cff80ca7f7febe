//! A board that was used for a while, and what can be done to its flash.

use airlift_flash::diagnosis::Identity;
use airlift_flash::littlefs::{Blocks, DiskVersion, FileTree, Storage};
use airlift_flash::{Bootloader, Factory, bootloader};
use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_updater::{Layout, SlotId};
use airlift_virtual_device::Settings;
use airlift_virtual_device::deterministic::{Bench, sample_app};
use airlift_wire::KeySet;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use std::sync::OnceLock;
use std::time::Duration;

/// ESP32-C3.
pub const CHIP: u16 = 5;
/// ESP32-S3.
pub const OTHER_CHIP: u16 = 9;
pub const FLASH: u32 = 4 << 20;
pub const PRODUCT: &str = "dead-board";
/// What `nvs` holds: nobody may touch it.
pub const NVS: [u8; 64] = *b"ssid=a network, psk=its password, and what else an app puts here";

const DEMO_1_0_0: &[u8] = include_bytes!("../../../../tests/fixtures/demo-1.0.0.bin");
const DEMO_1_1_0: &[u8] = include_bytes!("../../../../tests/fixtures/demo-1.1.0.bin");

pub fn key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

pub fn identity() -> Identity {
    let root = SigningKey::from_seed(&[1; 32]);
    Identity {
        product: PRODUCT.to_owned(),
        name: "bench".to_owned(),
        trust: KeySet::new(1, root.public(), &[key().public()]).unwrap(),
    }
}

fn files(version: &str) -> FilesInput {
    FilesInput::from_iter([
        (
            "main.py".to_owned(),
            format!("print('{version}')\n").into_bytes(),
        ),
        ("lib/same.py".to_owned(), vec![b'#'; 9000]),
        ("lib/deep/x.py".to_owned(), version.repeat(700).into_bytes()),
    ])
}

fn release(version: &str, sequence: u32, app: &'static [u8], key: &SigningKey) -> Release {
    let mut options = PackOptions::new(PRODUCT, sequence, key);
    options.version = Some(version);
    options.app = Some(app.into());
    options.files = Some(files(version));
    pack(options).unwrap().release
}

/// 1.0.0, 1.1.0, and 1.2.0 which the board does not have.
pub fn releases() -> &'static [Release; 3] {
    static RELEASES: OnceLock<[Release; 3]> = OnceLock::new();
    RELEASES.get_or_init(|| {
        [
            release("1.0.0", 1, DEMO_1_0_0, &key()),
            release("1.1.0", 2, DEMO_1_1_0, &key()),
            release("1.2.0", 3, DEMO_1_0_0, &key()),
        ]
    })
}

/// A newer one, signed by somebody else.
pub fn stranger() -> Release {
    release("1.3.0", 4, DEMO_1_0_0, &SigningKey::from_seed(&[9; 32]))
}

pub fn bundled(chip: u16) -> Bootloader {
    bootloader::for_chip(chip, FLASH).unwrap()
}

/// Something that belongs to the user.
pub const USER_FILES: [(&str, &[u8]); 2] = [
    ("settings.json", b"{\"volume\": 11}"),
    ("data/log.txt", b"started\n"),
];

/// The flash of a board with 0.9.0 in `factory`, 1.0.0 in `ota_0`, and 1.1.0 in `ota_1`, where an update
/// has put it.
pub fn used() -> Vec<u8> {
    static USED: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let mut flash = installed(SlotId::Ota0, &releases()[0], true);
        flash = update(flash, &releases()[1]);
        for (path, content) in USER_FILES {
            change_files(&mut flash, |tree| tree.write(path, content).unwrap());
        }
        flash
    };
    USED.get_or_init(make).clone()
}

/// A board from the factory with a release in a slot.
pub fn installed(slot: SlotId, release: &Release, factory_app: bool) -> Vec<u8> {
    let identity = identity();
    let bootloader = bundled(CHIP);
    let app = sample_app(CHIP, "0.9.0", 60_000);
    let mut factory = Factory::new(PRODUCT, &identity.name, identity.trust);
    factory.factory_slot = factory_app;
    factory.app = factory_app.then_some(&app);
    factory.installed = Some((slot, release));
    factory.bootloader = Some(&bootloader);
    let mut flash = factory.build().unwrap();
    let nvs = place(&flash, "nvs").0 as usize;
    flash[nvs..][..NVS.len()].copy_from_slice(&NVS);
    flash
}

/// What a device makes of its flash when it is given a release, until that has confirmed.
pub fn update(flash: Vec<u8>, release: &Release) -> Vec<u8> {
    let mut settings = Settings::default();
    settings.confirm_ms = 5_000;
    update_with(flash, release, settings, Duration::from_secs(60))
}

/// As [`update`], with a device that behaves so, until some time has passed.
pub fn update_with(
    flash: Vec<u8>,
    release: &Release,
    settings: Settings,
    time: Duration,
) -> Vec<u8> {
    let bench = Bench::new(7);
    let nor = bench.add_device(flash, settings).unwrap();
    let ran = bench.run(async {
        bench.host().add(release);
        let lines = bench.client().update(release, "").await.unwrap();
        let _ = lines.all().await;
        bench.scheduler().sleep(time).await;
    });
    assert!(ran.is_ok());
    bench.power_off();
    nor.snapshot()
}

pub fn layout(flash: &[u8]) -> Layout {
    let bytes = &flash[TABLE_OFFSET as usize..][..TABLE_LEN];
    let table = Table::parse(bytes, flash.len() as u32).unwrap();
    Layout::from_table(&table, flash.len() as u32, SlotId::Ota0).unwrap()
}

/// Where a partition is, and how long.
pub fn place(flash: &[u8], label: &str) -> (u32, u32) {
    let bytes = &flash[TABLE_OFFSET as usize..][..TABLE_LEN];
    let table = Table::parse(bytes, flash.len() as u32).unwrap();
    let partition = table.labelled(label).unwrap();
    (partition.offset, partition.size)
}

/// Erases a range.
pub fn erase(flash: &mut [u8], offset: u32, len: u32) {
    flash[offset as usize..][..len as usize].fill(0xFF);
}

/// Puts bytes into the flash.
pub fn put(flash: &mut [u8], offset: u32, bytes: &[u8]) {
    flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// Changes files as an app does.
pub fn change_files(flash: &mut [u8], change: impl FnOnce(&mut FileTree<'_, '_>)) {
    let (offset, size) = place(flash, "vfs");
    let segments = {
        let mut bytes: &[u8] = flash;
        let mut storage = Storage::new();
        let mut tree = FileTree::mount(&mut storage, Blocks::of(&mut bytes, offset, size)).unwrap();
        change(&mut tree);
        tree.changed(offset).unwrap()
    };
    for segment in segments {
        put(flash, segment.offset(), segment.bytes());
    }
}

/// Content of a file; `None` when it is not there.
pub fn read_file(flash: &[u8], path: &str) -> Option<Vec<u8>> {
    let (offset, size) = place(flash, "vfs");
    let mut bytes = flash;
    let mut storage = Storage::new();
    let mut tree = FileTree::mount(&mut storage, Blocks::of(&mut bytes, offset, size)).ok()?;
    tree.read(path).ok()
}

/// An empty file system of a partition's size.
pub fn empty_files(size: u32, version: DiskVersion) -> Vec<(u32, Vec<u8>)> {
    let blocks = airlift_flash::littlefs::format(Blocks::erased(size), version, &[]).unwrap();
    let segments = blocks.changed(0).unwrap();
    let bytes = segments.iter().map(|s| (s.offset(), s.bytes().to_vec()));
    bytes.collect()
}
