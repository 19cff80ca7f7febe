//! The flash of a board that is read over USB, with any damage: it is understood, and mended.

use crate::input::Input;
use crate::seeds;
use airlift_flash::diagnosis::{Identity, QUICK_BYTES, Verdict};
use airlift_flash::littlefs::{Blocks, FileTree, Storage};
use airlift_flash::{Depth, Diagnosis, Factory, How, Known, Plan, bootloader, diagnose, repair};
use airlift_release::files::FilesInput;
use airlift_release::{PackOptions, Release, pack};
use airlift_updater::{Layout, SlotId};
use airlift_wire::KeySet;
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::partition::{self, TABLE_LEN, TABLE_OFFSET, Table};
use std::sync::LazyLock;

const CHIP: u16 = 5;
const SECTOR: usize = 4096;
/// Sectors at which something begins.
const PLACES: [usize; 16] = [
    0, 1, 5, 8, 9, 13, 14, 15, 0x10, 0x100, 0x1F0, 0x2E0, 0x2E1, 0x2E4, 0x2E8, 0x2E9,
];

struct Board {
    flash: Vec<u8>,
    layout: Layout,
    releases: Vec<Release>,
    identity: Identity,
}

/// 1.0.0 in `ota_0`, 1.1.0 in `ota_1`, which runs, and a file of the user.
static BOARD: LazyLock<Board> = LazyLock::new(|| {
    let key = seeds::key();
    let releases: Vec<_> = ["1.0.0", "1.1.0"]
        .into_iter()
        .zip(1..)
        .map(|(version, sequence)| release(version, sequence))
        .collect();
    let trust = KeySet::new(1, key.public(), &[key.public()]).expect("a key");
    let bootloader = bootloader::for_chip(CHIP, 4 << 20).expect("a known chip");
    let app = seeds::image();
    let mut factory = Factory::new("board", "name", trust);
    factory.app = Some(&app);
    factory.installed = Some((SlotId::Ota1, &releases[1]));
    factory.bootloader = Some(&bootloader);
    let mut flash = factory.build().expect("it fits");
    let size = flash.len() as u32;
    let table = &flash[TABLE_OFFSET as usize..][..TABLE_LEN];
    let table = Table::parse(table, size).expect("a table");
    let layout = Layout::from_table(&table, size, SlotId::Ota1).expect("two slots");
    let older = &releases[0];
    put(
        &mut flash,
        layout.ota[0].offset,
        older.app().expect("carried").bytes(),
    );
    let envelope = layout.envelope_offset(SlotId::Ota0);
    let len = older.envelope().len() as u32;
    put(&mut flash, envelope, &len.to_le_bytes());
    put(&mut flash, envelope + 4, older.envelope());
    let vfs = layout.vfs.expect("it has files");
    let changed = {
        let mut bytes: &[u8] = &flash;
        let mut storage = Storage::new();
        let blocks = Blocks::of(&mut bytes, vfs.offset, vfs.size);
        let mut tree = FileTree::mount(&mut storage, blocks).expect("it mounts");
        let tar = older.files().expect("carried").bytes();
        tree.install(SlotId::Ota0, Some(tar), "1.0.0")
            .expect("room");
        tree.write("data/settings.json", b"{}").expect("room");
        tree.changed(vfs.offset).expect("whole sectors")
    };
    for segment in changed {
        put(&mut flash, segment.offset(), segment.bytes());
    }
    let identity = Identity {
        product: "board".to_owned(),
        name: String::new(),
        trust,
    };
    Board {
        flash,
        layout,
        releases,
        identity,
    }
});

fn release(version: &str, sequence: u32) -> Release {
    let key = seeds::key();
    let mut app = seeds::image().to_vec();
    // The version of the descriptor; the sums of the image follow.
    app[32 + 16..][..version.len()].copy_from_slice(version.as_bytes());
    make_sums_right(&mut app);
    let mut options = PackOptions::new("board", sequence, &key);
    options.version = Some(version);
    options.app = Some(app.into());
    options.files = Some(FilesInput::from_iter([
        ("main.py".to_owned(), version.repeat(900)),
        ("lib/x.py".to_owned(), version.to_owned()),
    ]));
    pack(options).expect("a release").release
}

/// The checksum and the SHA-256 of an image of two segments.
fn make_sums_right(app: &mut [u8]) {
    let end = app.len() - 33;
    let first = &app[32..32 + 256];
    let second = &app[32 + 256 + 8..][..16];
    let sum = first
        .iter()
        .chain(second)
        .fold(0xEF, |sum, byte| sum ^ byte);
    app[end] = sum;
    let hash = airlift_wire::Digest::of(&app[..=end]);
    app[end + 1..].copy_from_slice(&hash.0);
}

fn put(flash: &mut [u8], offset: u32, bytes: &[u8]) {
    flash[offset as usize..][..bytes.len()].copy_from_slice(bytes);
}

/// A sector, mostly one at which something begins.
fn sector(input: &mut Input<'_>) -> usize {
    match input.byte() {
        n if n < 0xC0 => PLACES[usize::from(n) % PLACES.len()],
        _ => usize::from(input.u16()) % 1024,
    }
}

/// Something that happens to a flash.
fn happen(flash: &mut [u8], input: &mut Input<'_>) {
    let kind = input.byte();
    let at = sector(input) * SECTOR;
    let sectors = |n: u8| (usize::from(n % 32) + 1) * SECTOR;
    let range = |len: usize, size: usize| at..(at + len).min(size);
    match kind % 7 {
        0 => {
            let range = range(sectors(input.byte()), flash.len());
            flash[range].fill(0xFF);
        }
        1 => {
            let range = range(sectors(input.byte()), flash.len());
            flash[range].fill(input.byte());
        }
        2 => {
            let from = at + usize::from(input.u16()) % SECTOR;
            let bytes = input.piece();
            let end = (from + bytes.len()).min(flash.len());
            flash[from..end].copy_from_slice(&bytes[..end - from]);
        }
        3 => {
            let from = at + usize::from(input.u16()) % SECTOR;
            flash[from] ^= input.byte() | 1;
        }
        4 => {
            let to = sector(input) * SECTOR;
            flash.copy_within(at..at + SECTOR, to);
        }
        5 => {
            // A table that is right and says something else.
            let (list, n) = partition::default_layout(4 << 20, input.byte() & 1 == 0);
            let mut list = list[..n].to_vec();
            let entry = &mut list[usize::from(input.byte()) % n];
            match input.byte() % 5 {
                0 => entry.offset = u32::from(input.u16()) << 12,
                1 => entry.size = u32::from(input.u16()) << 12,
                2 => entry.kind = input.byte(),
                3 => entry.subtype = input.byte(),
                _ => entry.label[0] ^= input.byte(),
            }
            let mut bytes = [0xFF; TABLE_LEN];
            if partition::encode(&list, &mut bytes).is_ok() {
                put(flash, TABLE_OFFSET, &bytes);
            }
        }
        _ => {
            let n = usize::from(input.byte() & 1);
            let state = ImageState::from_word(u32::from(input.byte() % 6));
            let mut entry = Entry::new(u32::from(input.byte()), state);
            entry.label[0] = input.byte();
            put(flash, BOARD.layout.otadata_offset(n), &entry.encode());
        }
    }
}

fn look(flash: &[u8], known: &Known<'_>, depth: Depth) -> Diagnosis {
    let mut flash = flash;
    let (mut done, mut total) = (0, 0);
    let found = diagnose(&mut flash, known, depth, &mut |now, of| {
        assert!(
            now >= done && of >= total && now <= of,
            "progress goes back"
        );
        (done, total) = (now, of);
    });
    found.expect("memory can be read")
}

/// Whatever happened, both looks end and agree about what starts; what is planned leaves a board that
/// starts what was said, and after which there is nothing left to plan.
pub fn dead_board(data: &[u8]) {
    let mut input = Input::new(data);
    let mut flash = BOARD.flash.clone();
    let flags = input.byte();
    while !input.is_empty() {
        happen(&mut flash, &mut input);
    }
    let releases = &BOARD.releases[usize::from(flags & 1)..];
    let mut known = Known::new(CHIP, releases);
    if flags & 2 != 0 {
        known = known.with_identity(&BOARD.identity);
    }
    let quick = look(&flash, &known, Depth::Quick);
    let full = look(&flash, &known, Depth::Full);
    assert!(quick.bytes_read <= QUICK_BYTES, "a quick look is not quick");
    assert!(
        full.complete && quick.boots == full.boots,
        "the looks disagree"
    );
    let size: u32 = full.regions.iter().map(|region| region.size).sum();
    assert_eq!(size as usize, flash.len(), "the map has gaps");
    let how = How::ALL[usize::from(flags >> 2) % How::ALL.len()];
    let plan = repair(&full, &mut flash.as_slice(), &known, how).expect("memory can be read");
    assert!(
        plan.still_fits(&mut flash.as_slice())
            .is_ok_and(|fits| fits)
    );
    if plan.blocked.is_some() {
        assert!(
            plan.steps.is_empty(),
            "what is not to be carried out has steps"
        );
        return;
    }
    for segment in plan.segments() {
        put(&mut flash, segment.offset(), segment.bytes());
    }
    let again = look(&flash, &known, Depth::Full);
    let starts = matches!(again.verdict, Verdict::Healthy | Verdict::Impaired);
    let slot = again.boots.as_deref();
    let said = slot.is_some_and(|slot| plan.afterwards.contains(slot));
    let what = || [words(&full), steps(&plan), words(&again)].concat();
    assert!(starts && said, "{how:?}: {:#?}", what());
    let rest = repair(&again, &mut flash.as_slice(), &known, How::Smallest);
    let rest = rest.expect("memory can be read");
    assert!(
        rest.steps.is_empty(),
        "{how:?}: {:#?}",
        [what(), steps(&rest)]
    );
}

/// A diagnosis in short.
fn words(diagnosis: &Diagnosis) -> Vec<String> {
    let findings = diagnosis.findings.iter().map(|f| f.sentence.clone());
    findings.chain([diagnosis.next_boot.clone()]).collect()
}

/// A plan in short.
fn steps(plan: &Plan) -> Vec<String> {
    let steps = plan
        .steps
        .iter()
        .map(|s| format!("{} {} bytes", s.title, s.bytes()));
    steps.chain([plan.afterwards.clone()]).collect()
}
