//! Devices and what is done to them.

use crate::oracle::{Whole, World};
use crate::releases::{self as make, CHIP, Contents, Files, Made, PRODUCT};
use crate::snapshot::Snapshot;
use airlift_littlefs::DiskVersion;
use airlift_release::Release;
use airlift_updater::platform::Files as _;
use airlift_updater::{Layout, SlotId};
use airlift_virtual_device::deterministic::Bench;
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor, Verdict};
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{Behaviour, Bootloader, Factory, Pace, Settings, mount_files};
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::Cause;
use std::time::Duration;

/// Bytes of a small app: two chunks, the second one short.
const SMALL: usize = 7_000;
/// Bytes of an app of more than one index page.
const LONG: usize = 132 * 4096 + 100;

/// A device, and the update that is cut.
pub struct Scenario {
    /// Its name, with the bootloader: `both/plain`.
    pub name: String,
    /// The device before, and where it should arrive.
    pub world: World,
    /// How it behaves.
    pub settings: Settings,
    /// Only one of so many cuts is tried: runs of it take long.
    pub every: usize,
}

type Story = (World, Settings);

struct Named {
    name: &'static str,
    every: usize,
    build: fn(Settings) -> Made<Story>,
}

const fn named(name: &'static str, build: fn(Settings) -> Made<Story>) -> Named {
    Named {
        name,
        every: 1,
        build,
    }
}

const ALL: &[Named] = &[
    named("app-only", |s| from_release(s, only_app(None))),
    named("files-only", |s| from_release(s, only_files(None))),
    named("app-and-named-files", |s| {
        from_release(s, only_app(Some(old()?)))
    }),
    named("files-and-named-app", |s| {
        from_release(s, only_files(Some(old()?)))
    }),
    named("both", |s| from_release(s, goal_both())),
    named("first-from-factory", first_from_factory),
    named("without-factory", without_factory),
    named("third", |s| third(s, DiskVersion::V2_0, goal_both())),
    named("third-on-littlefs-2.1", |s| {
        third(s, DiskVersion::V2_1, goal_both())
    }),
    named("third-files-only", |s| {
        third(s, DiskVersion::V2_0, only_files(None))
    }),
    named("full-file-system", full_file_system),
    named("resume-in-app", |s| resumed(s, 8)),
    named("resume-in-files", |s| resumed(s, 25)),
    named("hangs", |s| dies(s, Behaviour::Hangs, &[Cause::Watchdog])),
    named("panics", |s| dies(s, Behaviour::Panics, &[Cause::Panic])),
    named("fails-its-check", |s| {
        dies(s, Behaviour::FailsCheck, &[Cause::HealthCheck])
    }),
    named("never-confirms", |s| {
        dies(s, Behaviour::NeverConfirms, &[Cause::NotConfirmed])
    }),
    named("confirm", confirm),
    named("new-keys", new_keys),
    named("new-keys-that-hang", new_keys_that_hang),
    named("otadata-elsewhere", elsewhere),
    named("otadata-valid-elsewhere", valid_elsewhere),
    named("otadata-at-the-end-of-its-count", end_of_count),
    Named {
        every: 5,
        ..named("many-files", many_files)
    },
    Named {
        every: 7,
        ..named("two-pages", two_pages)
    },
];

/// Names of all scenarios, each with both bootloaders.
pub fn names() -> impl Iterator<Item = String> {
    let bootloaders = ["plain", "rollback"];
    ALL.iter()
        .flat_map(move |named| bootloaders.map(|b| format!("{}/{b}", named.name)))
}

/// Makes a scenario.
///
/// # Errors
/// A sentence: there is none of that name, or it does not work without any cut.
pub fn build(name: &str) -> Made<Scenario> {
    let (story, bootloader) = name.split_once('/').unwrap_or((name, "plain"));
    let named = ALL.iter().find(|named| named.name == story);
    let named = named.ok_or_else(|| format!("there is no scenario {story}"))?;
    let mut settings = Settings::default();
    settings.confirm_ms = 5_000;
    settings.boot_ms = 20;
    settings.bootloader = match bootloader {
        "plain" => Bootloader::Plain,
        "rollback" => Bootloader::Rollback,
        other => return Err(format!("there is no bootloader {other}")),
    };
    let (world, settings) = (named.build)(settings)?;
    Ok(Scenario {
        name: format!("{story}/{bootloader}"),
        world,
        settings,
        every: named.every,
    })
}

// What the stories are made of.

fn old() -> Made<Release> {
    make::both("1.0.0", 10, SMALL, make::files("1.0.0"))
}

fn oldest() -> Made<Release> {
    make::both("0.5.1", 7, SMALL + 5000, make::files("0.5.1"))
}

fn whole(release: Release, app: Vec<u8>, files: &Files) -> Whole {
    Whole {
        release,
        app,
        files: make::tree(files),
        works: true,
        causes: &[],
    }
}

fn goal_of(version: &str, sequence: u32, app_len: usize, files: &Files) -> Made<Whole> {
    let release = make::both(version, sequence, app_len, files.clone())?;
    Ok(whole(release, make::app(version, app_len), files))
}

fn goal_both() -> Made<Whole> {
    goal_of("2.0.0", 20, SMALL + 3000, &make::files("2.0.0"))
}

/// The files are those that run: whatever they are, or the ones of `base`.
fn only_app(base: Option<Release>) -> Made<Whole> {
    let app = make::app("2.0.0", SMALL + 3000);
    let contents = Contents {
        app: Some(app.clone()),
        base: base.as_ref(),
        ..Contents::default()
    };
    let release = make::release("2.0.0", 20, contents)?;
    Ok(whole(release, app, &make::files("1.0.0")))
}

fn only_files(base: Option<Release>) -> Made<Whole> {
    let files = make::files("2.0.0");
    let contents = Contents {
        files: Some(files.clone()),
        base: base.as_ref(),
        ..Contents::default()
    };
    let release = make::release("2.0.0", 20, contents)?;
    Ok(whole(release, make::app("1.0.0", SMALL), &files))
}

/// A device as it leaves the factory, with files of its application.
fn device<'a>(change: impl FnOnce(&mut Factory<'a>)) -> Made<Vec<u8>> {
    let mut factory = Factory::new(PRODUCT, "bench", make::first_keys()?);
    change(&mut factory);
    let image = factory.build().map_err(|e| e.to_string())?;
    put(
        image,
        &[
            ("/boot.py", b"import airlift\n"),
            ("/data/log.txt", &[b'l'; 5000]),
        ],
    )
}

/// Writes files as the application does.
fn put(image: Vec<u8>, files: &[(&str, &[u8])]) -> Made<Vec<u8>> {
    let table = image[TABLE_OFFSET as usize..][..TABLE_LEN].to_vec();
    let table = Table::parse(&table, image.len() as u32).map_err(|e| e.to_string())?;
    let nor = SharedNor::new(NorFlash::from_image(image).map_err(|e| e.to_string())?);
    let mut storage = airlift_littlefs::Storage::new();
    let vfs = table.labelled("vfs");
    let mut fs = mount_files(&mut storage, nor.clone(), vfs, Timing::None, NoTime);
    let written = embassy_futures::block_on(async {
        for (path, content) in files {
            for (at, _) in path.match_indices('/').skip(1) {
                fs.make_folder(&path[..at]).await?;
            }
            fs.create(path).await?;
            fs.append(content).await?;
            fs.close().await?;
        }
        Ok(())
    });
    written.map_err(|e: airlift_updater::platform::FilesError| format!("files: {e:?}"))?;
    Ok(nor.snapshot())
}

/// A clock for flash that takes no time.
struct NoTime;

impl Pace for NoTime {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn pause(&self, _: Duration) {}
}

fn world(settings: &Settings, image: &[u8], running: SlotId, goals: Vec<Whole>) -> World {
    World {
        start: Snapshot::new(image),
        bootloader: settings.bootloader,
        chip: CHIP,
        running,
        goals,
    }
}

/// Updates a device, and stops it when `until` says so.
fn update(
    image: Vec<u8>,
    settings: &Settings,
    release: &Release,
    until: impl AsyncFnOnce(&Bench, &SharedNor),
) -> Made<Vec<u8>> {
    let bench = Bench::new(3);
    bench.host().add(release);
    let nor = bench
        .add_device(image, settings.clone())
        .map_err(|e| e.to_string())?;
    bench
        .run(async {
            if let Ok(lines) = bench.client().update(release, "").await {
                lines.all().await;
            }
            until(&bench, &nor).await;
        })
        .map_err(|e| e.to_string())?;
    bench.power_off();
    Ok(nor.snapshot())
}

/// Until the new release has confirmed.
async fn confirmed(bench: &Bench, _: &SharedNor) {
    while bench.ended().is_none() {
        if bench.starts() > 1
            && let Ok(answer) = bench.client().get("/v1/device").await
            && answer.json()["updater"]["state"] == "idle"
        {
            return;
        }
        bench.scheduler().sleep(Duration::from_millis(50)).await;
    }
}

/// Until the device restarts.
async fn at_once(_: &Bench, _: &SharedNor) {}

// The stories.

/// ota_0 runs, ota_1 was never written.
fn from_release(settings: Settings, goal: Made<Whole>) -> Made<Story> {
    let old = old()?;
    let app = make::app("0.9.0", SMALL);
    let image = device(|f| {
        f.installed = Some((SlotId::Ota0, &old));
        f.app = Some(&app);
    });
    let world = world(&settings, &image?, SlotId::Ota0, vec![goal?]);
    Ok((world, settings))
}

/// The factory app, which no release describes, runs.
fn first_from_factory(settings: Settings) -> Made<Story> {
    let app = make::app("0.9.0", SMALL);
    let image = device(|f| f.app = Some(&app))?;
    let image = put(image, &[("/factory/main.py", b"print('factory')\n")])?;
    let goals = vec![goal_both()?];
    Ok((world(&settings, &image, SlotId::Factory, goals), settings))
}

/// Two slots only.
fn without_factory(settings: Settings) -> Made<Story> {
    let old = old()?;
    let image = device(|f| {
        f.factory_slot = false;
        f.installed = Some((SlotId::Ota0, &old));
    });
    let world = world(&settings, &image?, SlotId::Ota0, vec![goal_both()?]);
    Ok((world, settings))
}

/// ota_1 was written first, then ota_0, which runs.
fn reused(settings: &Settings, version: DiskVersion) -> Made<Vec<u8>> {
    let (oldest, old) = (oldest()?, old()?);
    let app = make::app("0.9.0", SMALL);
    let image = device(|f| {
        f.installed = Some((SlotId::Ota1, &oldest));
        f.app = Some(&app);
        f.disk_version = version;
    });
    update(image?, settings, &old, confirmed)
}

/// The target slot holds another release: files are replaced and removed, folders too, a folder
/// becomes a file.
fn third(settings: Settings, version: DiskVersion, goal: Made<Whole>) -> Made<Story> {
    let image = reused(&settings, version)?;
    Ok((
        world(&settings, &image, SlotId::Ota0, vec![goal?]),
        settings,
    ))
}

/// As little room as the updater accepts.
fn full_file_system(settings: Settings) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let goal = goal_both()?;
    // As much of the application's as leaves the update accepted.
    let mut best = None;
    for blocks in (0..240).rev() {
        let filler = vec![b'f'; blocks * 4000];
        let Ok(filled) = put(image.clone(), &[("/data/filler", &filler)]) else {
            continue;
        };
        let mut arrived = false;
        let _ = update(
            filled.clone(),
            &settings,
            &goal.release,
            async |bench, nor| {
                confirmed_or_failed(bench, nor).await;
                arrived = bench.starts() > 1;
            },
        );
        if arrived {
            best = Some(filled);
            break;
        }
    }
    let image = best.ok_or("no file system is full enough")?;
    Ok((world(&settings, &image, SlotId::Ota0, vec![goal]), settings))
}

async fn confirmed_or_failed(bench: &Bench, nor: &SharedNor) {
    let client = bench.client();
    bench.scheduler().sleep(Duration::from_secs(1)).await;
    if let Ok(answer) = client.get("/v1/device").await
        && answer.json()["last_update"]["end"] != "failed"
        && bench.starts() > 1
    {
        confirmed(bench, nor).await;
    }
}

/// An update was cut before, at change `at`.
fn resumed(settings: Settings, at: u64) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let goal = goal_both()?;
    let bench = Bench::new(3);
    bench.host().add(&goal.release);
    let nor = bench
        .add_device(image, settings.clone())
        .map_err(|e| e.to_string())?;
    bench.run(async {}).map_err(|e| e.to_string())?;
    let permille = 400;
    nor.set_hook(AtChange::new(at, Verdict::Tear { permille, seed: 5 }));
    bench
        .run(async {
            if let Ok(lines) = bench.client().update(&goal.release, "").await {
                lines.all().await;
            }
        })
        .map_err(|e| e.to_string())?;
    if nor.is_powered() {
        return Err("the cut was not reached".to_owned());
    }
    let image = nor.snapshot();
    Ok((world(&settings, &image, SlotId::Ota0, vec![goal]), settings))
}

/// The new image does not work: the device goes back, and takes the next release.
fn dies(settings: Settings, behaviour: Behaviour, causes: &'static [Cause]) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let settings = settings.with_trial("1.9.0", behaviour);
    let mut bad = goal_of("1.9.0", 19, SMALL, &make::few_files("1.9.0"))?;
    bad.works = false;
    bad.causes = causes;
    let good = goal_of("2.0.0", 20, SMALL, &make::few_files("2.0.0"))?;
    Ok((
        world(&settings, &image, SlotId::Ota0, vec![bad, good]),
        settings,
    ))
}

/// The new release is selected and has not started yet.
fn confirm(settings: Settings) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let goal = goal_both()?;
    let image = update(image, &settings, &goal.release, at_once)?;
    Ok((world(&settings, &image, SlotId::Ota0, vec![goal]), settings))
}

fn with_keys(version: &str, sequence: u32) -> Made<Whole> {
    let (app, files) = (make::app(version, SMALL), make::few_files(version));
    let contents = Contents {
        app: Some(app.clone()),
        files: Some(files.clone()),
        keys: Some(make::next_keys()?),
        ..Contents::default()
    };
    Ok(whole(
        make::release(version, sequence, contents)?,
        app,
        &files,
    ))
}

/// The root signs a release with other keys.
fn new_keys(settings: Settings) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let goals = vec![with_keys("2.0.0", 20)?];
    Ok((world(&settings, &image, SlotId::Ota0, goals), settings))
}

/// It does not work: the old keys stay, and sign the next one.
fn new_keys_that_hang(settings: Settings) -> Made<Story> {
    let image = reused(&settings, DiskVersion::V2_0)?;
    let settings = settings.with_trial("1.9.0", Behaviour::Hangs);
    let mut bad = with_keys("1.9.0", 19)?;
    bad.works = false;
    bad.causes = &[Cause::Watchdog];
    let good = goal_of("2.0.0", 20, SMALL, &make::few_files("2.0.0"))?;
    Ok((
        world(&settings, &image, SlotId::Ota0, vec![bad, good]),
        settings,
    ))
}

/// An image that was selected went bad before it started: the bootloader falls back.
fn elsewhere(settings: Settings) -> Made<Story> {
    otadata_elsewhere(settings, ImageState::New)
}

/// The same with a slot that had been confirmed, or was selected by a tool.
fn valid_elsewhere(settings: Settings) -> Made<Story> {
    otadata_elsewhere(settings, ImageState::Valid)
}

fn otadata_elsewhere(settings: Settings, state: ImageState) -> Made<Story> {
    let mut image = reused(&settings, DiskVersion::V2_0)?;
    let table = image[TABLE_OFFSET as usize..][..TABLE_LEN].to_vec();
    let len = image.len() as u32;
    let table = Table::parse(&table, len).map_err(|e| e.to_string())?;
    let layout = Layout::from_table(&table, len, SlotId::Ota0).ok_or("no layout")?;
    let entries = [0, 1].map(|n| {
        let at = layout.otadata_offset(n) as usize;
        image[at..].first_chunk().map(Entry::decode)
    });
    let entries = [entries[0].ok_or("otadata")?, entries[1].ok_or("otadata")?];
    let n = airlift_wire::otadata::active(&entries).map_or(0, |n| 1 - n);
    let sequence = airlift_wire::otadata::next_sequence(&entries, 1, 2).ok_or("otadata")?;
    let at = layout.otadata_offset(n) as usize;
    image[at..at + 4096].fill(0xFF);
    image[at..at + 32].copy_from_slice(&Entry::new(sequence, state).encode());
    // One bit of the image that it selects.
    image[layout.ota[1].offset as usize + 5000] ^= 1;
    let goals = vec![goal_of("2.0.0", 20, SMALL, &make::few_files("2.0.0"))?];
    Ok((world(&settings, &image, SlotId::Ota0, goals), settings))
}

/// The number of the active entry is the last one that selects ota_0.
fn end_of_count(settings: Settings) -> Made<Story> {
    let old = old()?;
    let app = make::app("0.9.0", SMALL);
    let mut image = device(|f| {
        f.installed = Some((SlotId::Ota0, &old));
        f.app = Some(&app);
    })?;
    let table = image[TABLE_OFFSET as usize..][..TABLE_LEN].to_vec();
    let table = Table::parse(&table, image.len() as u32).map_err(|e| e.to_string())?;
    let layout = Layout::from_table(&table, image.len() as u32, SlotId::Ota0);
    let at = layout.ok_or("no layout")?.otadata_offset(0) as usize;
    let entry = Entry::new(u32::MAX - 2, ImageState::Valid);
    image[at..at + 32].copy_from_slice(&entry.encode());
    let goals = vec![goal_of("2.0.0", 20, SMALL, &make::few_files("2.0.0"))?];
    Ok((world(&settings, &image, SlotId::Ota0, goals), settings))
}

/// Files in several folders, of several chunks.
fn many_files(settings: Settings) -> Made<Story> {
    let old = make::both("1.0.0", 10, SMALL, make::many_files("1.0.0"))?;
    let oldest = make::both("0.5.1", 7, SMALL, make::many_files("0.5.1"))?;
    let image = device(|f| f.installed = Some((SlotId::Ota1, &oldest)))?;
    let image = update(image, &settings, &old, confirmed)?;
    let goals = vec![goal_of("2.0.0", 20, SMALL, &make::many_files("2.0.0"))?];
    Ok((world(&settings, &image, SlotId::Ota0, goals), settings))
}

/// An app of two index pages.
fn two_pages(settings: Settings) -> Made<Story> {
    let old = old()?;
    let oldest = make::both("0.5.1", 7, LONG, make::few_files("0.5.1"))?;
    let image = device(|f| f.installed = Some((SlotId::Ota1, &oldest)))?;
    let image = update(image, &settings, &old, confirmed)?;
    let goals = vec![goal_of("2.0.0", 20, LONG, &make::few_files("2.0.0"))?];
    Ok((world(&settings, &image, SlotId::Ota0, goals), settings))
}
