//! A device on a bench, releases for it, and what is asked again and again.

use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_updater::path::Path;
use airlift_updater::platform::Files;
use airlift_updater::update::read_files;
use airlift_updater::{Buffers, Layout, SlotId};
use airlift_virtual_device::deterministic::{Bench, Client, sample_app};
use airlift_virtual_device::nor::{NorFlash, SharedNor};
use airlift_virtual_device::{
    Bootloader, ChipFiles, Factory, Settings, mount_files, timing::Timing,
};
use airlift_wire::otadata::Entry;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::{STATE_LEN, State, newest};
use airlift_wire::{KeySet, index};
use serde_json::Value;
use std::time::Duration;

pub const CHIP: u16 = 5;
pub const PRODUCT: &str = "device-test";
/// 25 chunks, the last one short.
pub const APP_LEN: usize = 100_000;

/// What the private keys are made of.
pub const ROOT: [u8; 32] = [1; 32];
pub const RELEASE: [u8; 32] = [2; 32];

/// The key that signs releases.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&RELEASE)
}

/// The key that signs changes of keys.
pub fn root() -> SigningKey {
    SigningKey::from_seed(&ROOT)
}

pub fn trust() -> KeySet {
    KeySet::new(1, root().public(), &[key().public()]).unwrap()
}

pub fn app(version: &str) -> Vec<u8> {
    sample_app(CHIP, version, APP_LEN)
}

/// What the files of a version are: they differ in some, share some, and have some of their own.
pub fn files(version: &str) -> FilesInput {
    FilesInput::from_iter([
        (
            "main.py".to_owned(),
            format!("print('{version}')\n").into_bytes(),
        ),
        ("lib/same.py".to_owned(), vec![b'#'; 9000]),
        (
            "lib/deep/er/x.py".to_owned(),
            version.repeat(700).into_bytes(),
        ),
        (format!("only-{version}.txt"), vec![b'o'; 100]),
        ("zero".to_owned(), Vec::new()),
    ])
}

/// A release with both parts.
pub fn release(version: &str, sequence: u32) -> Release {
    release_of(
        version,
        sequence,
        Some(app(version)),
        Some(files(version)),
        None,
    )
}

pub fn release_of(
    version: &str,
    sequence: u32,
    app: Option<Vec<u8>>,
    files: Option<FilesInput>,
    base: Option<&Release>,
) -> Release {
    let key = key();
    let mut options = PackOptions::new(PRODUCT, sequence, &key);
    options.version = Some(version);
    options.chip = Some("esp32c3");
    options.app = app.map(Into::into);
    options.files = files;
    options.base = base;
    pack(options).unwrap().release
}

pub fn app_only(version: &str, sequence: u32) -> Release {
    release_of(version, sequence, Some(app(version)), None, None)
}

/// Quick to start and to give up.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.confirm_ms = 5_000;
    settings
}

pub fn both_bootloaders() -> [Settings; 2] {
    [Bootloader::Plain, Bootloader::Rollback].map(|bootloader| {
        let mut settings = settings();
        settings.bootloader = bootloader;
        settings
    })
}

/// Flash of a device with an app that no release describes, and no files.
pub fn bare_flash() -> Vec<u8> {
    let app = app("0.9.0");
    let mut factory = Factory::new(PRODUCT, "bench", trust());
    factory.app = Some(&app);
    factory.build().unwrap()
}

/// Flash of a device with a release in a slot.
pub fn flash_with(slot: SlotId, release: &Release) -> Vec<u8> {
    let app = app("0.9.0");
    let mut factory = Factory::new(PRODUCT, "bench", trust());
    factory.app = Some(&app);
    factory.installed = Some((slot, release));
    factory.build().unwrap()
}

pub fn bench(flash: Vec<u8>, settings: Settings) -> (Bench, SharedNor) {
    let bench = Bench::new(7);
    let nor = bench.add_device(flash, settings).unwrap();
    (bench, nor)
}

pub async fn info(client: &Client) -> Value {
    client.get("/v1/device").await.unwrap().json()
}

/// Sends a release and returns all lines of progress.
pub async fn update(bench: &Bench, release: &Release) -> Vec<Value> {
    bench.host().add(release);
    let lines = bench.client().update(release, "").await.unwrap();
    assert_eq!(lines.status, 200);
    json(lines.all().await)
}

pub fn json(lines: Vec<String>) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(parse).collect()
}

/// Waits until the device runs a slot that is confirmed, and no update.
pub async fn settled(bench: &Bench) -> Value {
    loop {
        if let Ok(answer) = bench.client().get("/v1/device").await {
            let info = answer.json();
            if info["updater"]["state"] == "idle" {
                return info;
            }
        }
        bench.scheduler().sleep(Duration::from_millis(100)).await;
    }
}

/// Sends a release, sees the device restart into it, and returns what it says when it has confirmed.
pub async fn update_and_settle(bench: &Bench, release: &Release) -> Value {
    let starts = bench.starts();
    let lines = update(bench, release).await;
    assert_eq!(lines.last().unwrap()["event"], "rebooting", "{lines:#?}");
    while bench.starts() == starts {
        bench.scheduler().sleep(Duration::from_millis(50)).await;
    }
    settled(bench).await
}

/// The code of a job that failed.
pub fn code(lines: &[Value]) -> &str {
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "failed", "{lines:#?}");
    last["code"].as_str().unwrap()
}

pub fn layout(image: &[u8], running: SlotId) -> Layout {
    let table = &image[TABLE_OFFSET as usize..][..TABLE_LEN];
    let table = Table::parse(table, image.len() as u32).unwrap();
    Layout::from_table(&table, image.len() as u32, running).unwrap()
}

/// Makes one bit wrong, as if the cell had worn.
pub fn flip_bit(nor: &SharedNor, at: u32) {
    let mut flash = nor.lock();
    let byte = flash.image()[at as usize] ^ 1;
    flash.overwrite(at, &[byte]).unwrap();
}

/// The bytes of a slot's app partition.
pub fn app_of(image: &[u8], slot: SlotId, len: usize) -> &[u8] {
    let partition = layout(image, SlotId::Ota0).partition(slot).unwrap();
    &image[partition.offset as usize..][..len]
}

pub fn otadata(image: &[u8]) -> [Entry; 2] {
    let layout = layout(image, SlotId::Ota0);
    [0, 1].map(|n| {
        let at = layout.otadata_offset(n) as usize;
        Entry::decode(image[at..].first_chunk().unwrap())
    })
}

pub fn state(image: &[u8]) -> State {
    let at = layout(image, SlotId::Ota0).airlift.offset as usize;
    let copy = |n: usize| -> &[u8; STATE_LEN] { image[at + n * 4096..].first_chunk().unwrap() };
    newest([State::decode(copy(0)), State::decode(copy(1))])
        .unwrap()
        .1
}

/// A clock for flash that takes no time.
pub struct NoTime;

impl airlift_virtual_device::Pace for NoTime {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn pause(&self, _: Duration) {}
}

fn with_files<T>(image: &[u8], look: impl AsyncFnOnce(&mut ChipFiles<'_, NoTime>) -> T) -> T {
    let nor = SharedNor::new(NorFlash::from_image(image.to_vec()).unwrap());
    let vfs = layout(image, SlotId::Ota0).vfs;
    let mut storage = airlift_littlefs::Storage::new();
    let mut files = mount_files(&mut storage, nor, vfs, Timing::None, NoTime);
    embassy_futures::block_on(look(&mut files))
}

/// Content of a file on a flash; `None` when it is not there.
pub fn file(image: &[u8], path: &str) -> Option<Vec<u8>> {
    with_files(image, async |files| {
        let mut content = Vec::new();
        let mut buf = [0; 512];
        loop {
            match files.read(path, content.len() as u32, &mut buf).await {
                Ok(0) => return Some(content),
                Ok(n) => content.extend_from_slice(&buf[..n]),
                Err(_) => return None,
            }
        }
    })
}

/// The releases, of those given, whose envelope is in a slot; each must be whole there.
#[allow(dead_code)] // Not every suite asks.
pub fn whole_slots<'r>(image: &[u8], releases: &[&'r Release]) -> Vec<(SlotId, &'r Release)> {
    let layout = layout(image, SlotId::Ota0);
    let mut found = Vec::new();
    for slot in [SlotId::Ota0, SlotId::Ota1] {
        let stored = &image[layout.envelope_offset(slot) as usize..];
        let len = u32::from_le_bytes(*stored.first_chunk().unwrap()) as usize;
        let holds =
            |r: &&&Release| len == r.envelope().len() && stored[4..4 + len] == r.envelope()[..];
        let Some(release) = releases.iter().find(holds) else {
            continue;
        };
        let app = release.app().unwrap().bytes();
        assert!(
            app_of(image, slot, app.len()) == &app[..],
            "app of {slot:?}"
        );
        let digest = with_files(image, async |files| {
            let mut buffers = Box::new(Buffers::new());
            read_files(files, Path::slot(slot), &mut buffers).await
        });
        let files = release.files().unwrap().digest();
        assert_eq!(digest, Ok(files), "files of {slot:?}");
        found.push((slot, *release));
    }
    found
}

/// Chunks of a part.
pub fn chunks(len: usize) -> u64 {
    (len as u64).div_ceil(4096)
}

/// Bytes of a part from chunk `n` on.
pub fn bytes_from(len: usize, n: u32) -> u64 {
    len as u64 - u64::from(index::chunk_range(len as u32, n).start)
}
