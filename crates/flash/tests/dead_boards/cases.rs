//! The boards.

use crate::boards::*;
use airlift_flash::How;
use airlift_flash::diagnosis::{FindingCode as Code, Verdict};
use airlift_flash::littlefs::DiskVersion;
use airlift_release::Release;
use airlift_updater::SlotId;
use airlift_virtual_device::settings::Behaviour;
use airlift_virtual_device::{Bootloader, Settings};
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::partition::{self, Partition, TABLE_LEN, TABLE_OFFSET, TYPE_APP, TYPE_DATA};
use std::time::Duration;

/// A board, and what is to be said of it.
pub struct Case {
    /// Unique; a heading of the document.
    pub name: &'static str,
    /// Makes its flash.
    pub flash: fn() -> Vec<u8>,
    /// Versions that the library has; "stranger" is one that nobody trusts.
    pub library: &'static [&'static str],
    /// Whether the user has said product, name and keys.
    pub identity: bool,
    /// Which plan.
    pub how: How,
    pub code: Code,
    pub verdict: Verdict,
    /// Region and bytes of each step.
    pub steps: &'static [(&'static str, u32)],
    /// Version and slot that run afterwards; `None` when nothing can be done.
    pub runs: Option<(&'static str, SlotId)>,
    /// Whether the user's files are there afterwards.
    pub keeps_files: bool,
}

impl Case {
    pub fn library(&self) -> Vec<Release> {
        let all = releases().iter().cloned().chain([stranger()]);
        let all = all.filter(|r| {
            let name = match r.manifest().version.as_str() {
                "1.3.0" => "stranger",
                version => version,
            };
            self.library.contains(&name)
        });
        all.collect()
    }
}

/// The library of most.
const BOTH: &[&str] = &["1.0.0", "1.1.0"];
const SECTOR: u32 = 4096;

const CASE: Case = Case {
    name: "",
    flash: used,
    library: BOTH,
    identity: false,
    how: How::Smallest,
    code: Code::Healthy,
    verdict: Verdict::Healthy,
    steps: &[],
    runs: Some(("1.1.0", SlotId::Ota1)),
    keeps_files: true,
};

fn slot(flash: &[u8], label: &str) -> u32 {
    place(flash, label).0
}

fn with(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut flash = used();
    change(&mut flash);
    flash
}

/// The table of the board, with entries changed.
fn table(flash: &mut [u8], change: impl FnOnce(&mut Vec<Partition>)) {
    let (list, n) = partition::default_layout(FLASH, true);
    let mut list = list[..n].to_vec();
    change(&mut list);
    let mut bytes = [0xFF; TABLE_LEN];
    partition::encode(&list, &mut bytes).unwrap();
    put(flash, TABLE_OFFSET, &bytes);
}

fn otadata(flash: &mut [u8], entries: [Option<Entry>; 2]) {
    let offset = slot(flash, "otadata");
    for (n, entry) in entries.into_iter().enumerate() {
        let at = offset + n as u32 * SECTOR;
        erase(flash, at, SECTOR);
        if let Some(entry) = entry {
            put(flash, at, &entry.encode());
        }
    }
}

/// 1.1.0 in `ota_1` ends in the middle.
fn truncate(flash: &mut [u8], label: &str) {
    let at = slot(flash, label);
    erase(flash, at + 0x1_8000, 0x8_0000);
}

fn flip(flash: &mut [u8], at: u32) {
    flash[at as usize] ^= 1;
}

fn flip_in_ota_1(flash: &mut [u8]) {
    let at = slot(flash, "ota_1");
    flip(flash, at + 0x1_2345);
}

fn firmware_of_somebody_else() -> Vec<u8> {
    let mut flash = vec![0xFF; FLASH as usize];
    put(&mut flash, 0, bundled(CHIP).bytes());
    table(&mut flash, |list| {
        *list = vec![
            Partition::new("nvs", TYPE_DATA, 2, 0x9000, 0x6000),
            Partition::new("phy_init", TYPE_DATA, 1, 0xF000, 0x1000),
            Partition::new("factory", TYPE_APP, 0, 0x1_0000, 0x1F_0000),
            Partition::new("vfs", TYPE_DATA, 0x81, 0x20_0000, 0x20_0000),
        ];
    });
    let app = airlift_virtual_device::deterministic::sample_app(CHIP, "1.26.0", 90_000);
    put(&mut flash, 0x1_0000, &app);
    for (offset, bytes) in empty_files(0x20_0000, DiskVersion::V2_0) {
        put(&mut flash, 0x20_0000 + offset, &bytes);
    }
    flash
}

/// The mode of the flash was set in the header, and nobody computed the hash again.
fn stale_hash(flash: &mut [u8]) {
    flash[2] ^= 1;
}

fn settings(bootloader: Bootloader, behaviour: Behaviour) -> Settings {
    let mut settings = Settings::default().with_trial("1.2.0", behaviour);
    settings.bootloader = bootloader;
    settings
}

/// All of them, in the order of the document.
pub const CASES: &[Case] = &[
    Case {
        name: "nothing is wrong",
        ..CASE
    },
    Case {
        name: "the flash is blank",
        flash: || vec![0xFF; FLASH as usize],
        library: &["1.1.0"],
        identity: true,
        code: Code::BlankFlash,
        verdict: Verdict::Foreign,
        steps: &[
            ("bootloader", 24_576),
            ("partition table", 4096),
            ("factory", 192_512),
            ("vfs", 49_152),
            ("airlift", 4096),
            ("airlift", 4096),
            ("otadata", 8192),
        ],
        runs: Some(("1.1.0", SlotId::Factory)),
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "the flash is blank, and the library is empty",
        flash: || vec![0xFF; FLASH as usize],
        library: &[],
        identity: true,
        code: Code::BlankFlash,
        verdict: Verdict::Foreign,
        runs: None,
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "there is no bootloader",
        flash: || with(|flash| erase(flash, 0, 0x8000)),
        code: Code::NoBootloader,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 24_576)],
        ..CASE
    },
    Case {
        name: "the bootloader is for another chip",
        flash: || {
            with(|flash| {
                erase(flash, 0, 0x8000);
                put(flash, 0, bundled(OTHER_CHIP).bytes());
            })
        },
        code: Code::WrongChipBootloader,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 24_576)],
        ..CASE
    },
    Case {
        name: "the bootloader has one flipped bit",
        flash: || with(|flash| flip(flash, 0x1234)),
        code: Code::DamagedBootloader,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 4096)],
        ..CASE
    },
    Case {
        name: "the hash behind the bootloader is stale",
        flash: || with(stale_hash),
        code: Code::BootloaderHash,
        verdict: Verdict::Impaired,
        ..CASE
    },
    Case {
        name: "the bootloader is set for a smaller flash",
        flash: || {
            with(|flash| {
                let small = airlift_flash::bootloader::for_chip(CHIP, 2 << 20).unwrap();
                put(flash, 0, small.bytes());
            })
        },
        code: Code::BootloaderFlashSize,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 8192)],
        ..CASE
    },
    Case {
        name: "the bootloader is set for a larger flash",
        flash: || {
            with(|flash| {
                let large = airlift_flash::bootloader::for_chip(CHIP, 8 << 20).unwrap();
                put(flash, 0, large.bytes());
            })
        },
        code: Code::BootloaderFlashSize,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 8192)],
        ..CASE
    },
    Case {
        name: "the partition table has one flipped bit",
        flash: || with(|flash| flip(flash, TABLE_OFFSET + 3 * 32 + 6)),
        code: Code::DamagedPartitionTable,
        verdict: Verdict::Dead,
        steps: &[("partition table", 4096)],
        ..CASE
    },
    Case {
        name: "the partition table is erased",
        flash: || with(|flash| erase(flash, TABLE_OFFSET, SECTOR)),
        code: Code::NoPartitionTable,
        verdict: Verdict::Dead,
        steps: &[("partition table", 4096)],
        ..CASE
    },
    Case {
        name: "the partition table is for a larger flash",
        flash: || {
            with(|flash| {
                table(flash, |list| {
                    if let Some(vfs) = list.last_mut() {
                        vfs.size += FLASH;
                    }
                });
            })
        },
        code: Code::TableTooLarge,
        verdict: Verdict::Dead,
        steps: &[("partition table", 4096)],
        ..CASE
    },
    Case {
        name: "bootloader and partition table are overwritten",
        flash: || with(|flash| flash[..0x9000].fill(0)),
        code: Code::NoBootloader,
        verdict: Verdict::Dead,
        steps: &[("bootloader", 24_576), ("partition table", 4096)],
        ..CASE
    },
    Case {
        name: "both entries of otadata are damaged",
        flash: || {
            with(|flash| {
                let offset = slot(flash, "otadata");
                for at in [0, SECTOR] {
                    flip(flash, offset + at);
                }
            })
        },
        code: Code::OtadataLost,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        ..CASE
    },
    Case {
        name: "otadata is erased",
        flash: || with(|flash| otadata(flash, [None, None])),
        code: Code::OtadataLost,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        ..CASE
    },
    Case {
        name: "otadata selects an empty slot",
        flash: || {
            let mut flash = installed(SlotId::Ota0, &releases()[0], true);
            otadata(&mut flash, [None, Some(Entry::new(2, ImageState::Valid))]);
            flash
        },
        code: Code::SelectedSlotEmpty,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        runs: Some(("1.0.0", SlotId::Ota0)),
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "otadata selects the older slot",
        flash: || with(|flash| otadata(flash, [Some(Entry::new(5, ImageState::Valid)), None])),
        code: Code::OlderSelected,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        ..CASE
    },
    Case {
        name: "the slot that starts is cut short",
        flash: || with(|flash| truncate(flash, "ota_1")),
        code: Code::SlotTruncated,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        runs: Some(("1.0.0", SlotId::Ota0)),
        ..CASE
    },
    Case {
        name: "the slot that starts is cut short, and its release is wanted back",
        flash: || with(|flash| truncate(flash, "ota_1")),
        how: How::Slot,
        code: Code::SlotTruncated,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 94_208)],
        ..CASE
    },
    Case {
        name: "the slot that starts has one flipped bit",
        flash: || with(flip_in_ota_1),
        code: Code::SlotDamaged,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 4096)],
        ..CASE
    },
    Case {
        name: "the slot that starts has one flipped bit, and the library is empty",
        flash: || with(flip_in_ota_1),
        library: &[],
        code: Code::SlotDamaged,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        runs: Some(("1.0.0", SlotId::Ota0)),
        ..CASE
    },
    Case {
        name: "both OTA slots are damaged, and factory is whole",
        flash: || {
            with(|flash| {
                truncate(flash, "ota_0");
                truncate(flash, "ota_1");
            })
        },
        code: Code::SlotTruncated,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 94_208)],
        ..CASE
    },
    Case {
        name: "no slot starts",
        flash: || {
            with(|flash| {
                for label in ["factory", "ota_0", "ota_1"] {
                    let at = slot(flash, label);
                    erase(flash, at, 0x4000);
                }
            })
        },
        code: Code::NoBootableSlot,
        verdict: Verdict::Dead,
        steps: &[("ota_1", 16_384)],
        ..CASE
    },
    Case {
        name: "no slot starts, and the library has only what the board refuses",
        flash: || {
            with(|flash| {
                for label in ["factory", "ota_0", "ota_1"] {
                    let at = slot(flash, label);
                    erase(flash, at, 0x4000);
                }
            })
        },
        library: &["1.0.0", "stranger"],
        code: Code::NoBootableSlot,
        verdict: Verdict::Dead,
        runs: None,
        ..CASE
    },
    Case {
        name: "no slot starts, and the library has a newer release",
        flash: || {
            with(|flash| {
                for label in ["factory", "ota_0", "ota_1"] {
                    let at = slot(flash, label);
                    erase(flash, at, 0x4000);
                }
            })
        },
        library: &["1.2.0"],
        code: Code::NoBootableSlot,
        verdict: Verdict::Dead,
        steps: &[
            ("ota_0", 16_384),
            ("vfs", 36_864),
            ("airlift", 4096),
            ("otadata", 8192),
        ],
        runs: Some(("1.2.0", SlotId::Ota0)),
        ..CASE
    },
    Case {
        name: "the slot that starts holds another whole app",
        flash: || {
            with(|flash| {
                let app = releases()[0].app().unwrap().bytes().clone();
                let at = slot(flash, "ota_1");
                put(flash, at, &app);
            })
        },
        code: Code::SlotMismatch,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 126_976)],
        ..CASE
    },
    Case {
        name: "the app is for another chip",
        flash: || {
            with(|flash| {
                let at = slot(flash, "ota_1");
                flash[at as usize + 12] = OTHER_CHIP as u8;
            })
        },
        code: Code::SlotWrongChip,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 4096)],
        ..CASE
    },
    Case {
        name: "the file system is overwritten",
        flash: || {
            with(|flash| {
                let at = slot(flash, "vfs") as usize;
                flash[at..][..0x2000].fill(0x5A);
            })
        },
        code: Code::FilesUnreadable,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 69_632)],
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "the file system is erased",
        flash: || {
            with(|flash| {
                let (offset, size) = place(flash, "vfs");
                erase(flash, offset, size);
            })
        },
        code: Code::FilesUnreadable,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 69_632)],
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "the file system has a newer version, and is to be made anew",
        flash: || {
            with(|flash| {
                let at = slot(flash, "vfs") as usize;
                for block in [0, 4096] {
                    flash[at + block + 20] = 9;
                }
            })
        },
        how: How::Files,
        code: Code::FilesNewer,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 40_960)],
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "a file of the slot that starts was changed",
        flash: || {
            with(|flash| {
                change_files(flash, |tree| {
                    tree.write("ota_1/main.py", b"print('mine')").unwrap()
                });
            })
        },
        code: Code::FilesMismatch,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 49_152)],
        ..CASE
    },
    Case {
        name: "a folder of the file system is damaged",
        flash: || with(|flash| damage_folder(flash, b"main.py")),
        code: Code::FilesUnreadable,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 65_536)],
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "a file of the user is damaged",
        flash: || with(damage_a_file),
        code: Code::FilesDamaged,
        verdict: Verdict::Impaired,
        steps: &[("vfs", 49_152)],
        ..CASE
    },
    Case {
        name: "the keys are missing",
        flash: || {
            with(|flash| {
                let at = slot(flash, "airlift");
                erase(flash, at, 2 * SECTOR);
            })
        },
        identity: true,
        code: Code::StateLost,
        verdict: Verdict::Impaired,
        steps: &[("airlift", 4096)],
        ..CASE
    },
    Case {
        name: "the keys are missing, and nobody says which",
        flash: || {
            with(|flash| {
                let at = slot(flash, "airlift");
                erase(flash, at, 2 * SECTOR);
            })
        },
        code: Code::StateLost,
        verdict: Verdict::Impaired,
        runs: None,
        ..CASE
    },
    Case {
        name: "an update was cut short",
        flash: half_an_update,
        library: &["1.0.0", "1.1.0", "1.2.0"],
        code: Code::UnfinishedUpdate,
        verdict: Verdict::Impaired,
        ..CASE
    },
    Case {
        name: "an update was cut short, and it is to be finished",
        flash: half_an_update,
        library: &["1.0.0", "1.1.0", "1.2.0"],
        how: How::Slot,
        code: Code::UnfinishedUpdate,
        verdict: Verdict::Impaired,
        steps: &[
            ("ota_0", 4096),
            ("vfs", 36_864),
            ("airlift", 4096),
            ("otadata", 8192),
        ],
        runs: Some(("1.2.0", SlotId::Ota0)),
        ..CASE
    },
    Case {
        name: "an update was cut short, and the slot that starts is damaged",
        flash: || {
            let mut flash = half_an_update();
            truncate(&mut flash, "ota_1");
            flash
        },
        code: Code::SlotTruncated,
        verdict: Verdict::Impaired,
        steps: &[("ota_1", 94_208)],
        ..CASE
    },
    Case {
        name: "a trial has died, and the boot guard will notice",
        flash: || cut_in_trial(used(), Behaviour::Hangs),
        library: &["1.0.0", "1.1.0", "1.2.0"],
        code: Code::TrialDied,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        ..CASE
    },
    Case {
        name: "a release is on trial",
        flash: not_yet_started,
        library: &["1.0.0", "1.1.0", "1.2.0"],
        code: Code::OnTrial,
        verdict: Verdict::Impaired,
        runs: Some(("1.2.0", SlotId::Ota0)),
        ..CASE
    },
    Case {
        name: "a new release dies before its boot guard",
        flash: not_yet_started,
        library: &["1.0.0", "1.1.0", "1.2.0"],
        how: How::Back,
        code: Code::OnTrial,
        verdict: Verdict::Impaired,
        steps: &[("otadata", 8192)],
        ..CASE
    },
    Case {
        name: "other firmware is on the board",
        flash: firmware_of_somebody_else,
        identity: true,
        code: Code::ForeignFirmware,
        verdict: Verdict::Foreign,
        runs: None,
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "other firmware is on the board, and everything is to be written anew",
        flash: firmware_of_somebody_else,
        identity: true,
        how: How::Everything,
        code: Code::ForeignFirmware,
        verdict: Verdict::Foreign,
        runs: None,
        keeps_files: false,
        ..CASE
    },
    Case {
        name: "everything is to be written anew",
        flash: || {
            with(|flash| {
                truncate(flash, "ota_0");
                erase(flash, 0, 0x9000);
            })
        },
        how: How::Everything,
        code: Code::NoBootloader,
        verdict: Verdict::Dead,
        steps: &[
            ("bootloader", 24_576),
            ("partition table", 4096),
            ("factory", 192_512),
            ("ota_0", 4096),
            ("vfs", 139_264),
            ("airlift", 8192),
            ("otadata", 8192),
        ],
        runs: Some(("1.1.0", SlotId::Factory)),
        ..CASE
    },
    Case {
        name: "nothing is left but user files and state",
        flash: || {
            with(|flash| {
                let end = slot(flash, "airlift") as usize;
                flash[..0x9000].fill(0xFF);
                flash[0xD000..end].fill(0xFF);
            })
        },
        code: Code::NoBootloader,
        verdict: Verdict::Dead,
        steps: &[
            ("bootloader", 24_576),
            ("partition table", 4096),
            ("ota_1", 192_512),
            ("otadata", 8192),
        ],
        ..CASE
    },
];

/// An update to 1.2.0, into `ota_0`, that lost its power in the middle.
fn half_an_update() -> Vec<u8> {
    let whole = update(used(), &releases()[2]);
    let mut flash = used();
    let (start, _) = place(&flash, "ota_0");
    // As far as the tenth sector; the envelope was erased before.
    let range = start as usize..start as usize + 0xA000;
    flash[range.clone()].copy_from_slice(&whole[range]);
    erase(&mut flash, start + 0xA000, 0x1000);
    let envelope = layout(&flash).envelope_offset(SlotId::Ota0);
    erase(&mut flash, envelope, SECTOR);
    flash
}

/// A device that got 1.2.0, started it, and lost its power there.
fn cut_in_trial(flash: Vec<u8>, behaviour: Behaviour) -> Vec<u8> {
    let settings = settings(Bootloader::Plain, behaviour);
    update_with(flash, &releases()[2], settings, Duration::from_secs(1))
}

/// As it was before the boot guard of 1.2.0 ran: the mark is not set, and no start is counted. Nothing
/// in the flash tells whether it was started.
fn not_yet_started() -> Vec<u8> {
    let mut flash = cut_in_trial(used(), Behaviour::Hangs);
    let offset = slot(&flash, "otadata");
    for at in [offset, offset + SECTOR] {
        let at = at as usize;
        let entry = Entry::decode(flash[at..].first_chunk().unwrap());
        if entry.is_marked() {
            flash[at + 4] |= 1;
        }
    }
    flash
}

/// The list of the blocks of a file leads out of the file system.
fn damage_a_file(flash: &mut [u8]) {
    let content: Vec<u8> = (0..12_000u32).map(|n| (n / 4096) as u8 ^ n as u8).collect();
    change_files(flash, |tree| tree.write("big.bin", &content).unwrap());
    let (offset, size) = place(flash, "vfs");
    // The last block of this file begins with pointers to the two before it; they hold 8188 bytes.
    let wanted = &content[8188..8188 + 64];
    let block = (0..size / SECTOR).map(|n| (offset + n * SECTOR) as usize);
    let mut block = block.filter(|at| flash[at + 8..][..64] == *wanted);
    let at = block.next().unwrap();
    flash[at..at + 8].fill(0xFF);
}

/// Both blocks of the metadata pair that lists this name and no slot.
fn damage_folder(flash: &mut [u8], name: &[u8]) {
    let (offset, size) = place(flash, "vfs");
    // The newest folder of a slot is the last that was written.
    let mut hit = Vec::new();
    for block in (2..size / SECTOR).map(|n| (offset + n * SECTOR) as usize) {
        let head = &flash[block..block + 256];
        if head.windows(name.len()).any(|w| w == name) && flash[block + 1] == 0 {
            hit.push(block);
        }
    }
    for block in hit {
        flash[block..][..SECTOR as usize].fill(0xA5);
    }
}
