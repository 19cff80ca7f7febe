//! What is not Airlift's, or not damaged, is called neither dead nor mended.

use crate::boards::*;
use airlift_flash::diagnosis::{FindingCode as Code, Identity, Verdict};
use airlift_flash::{Depth, Diagnosis, How, Known, Plan, diagnose, repair};
use airlift_release::SigningKey;
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::partition::{self, Partition, TABLE_LEN, TABLE_OFFSET, TYPE_APP, TYPE_DATA};
use airlift_wire::state::State;
use airlift_wire::{Digest, ErrorCode, KeySet};

fn look(flash: &[u8], depth: Depth) -> Diagnosis {
    let known = Known::new(CHIP, releases());
    let mut flash = flash;
    diagnose(&mut flash, &known, depth, &mut |_, _| {}).unwrap()
}

fn plan(flash: &[u8], how: How) -> Plan {
    plan_as(flash, how, &identity())
}

fn plan_as(flash: &[u8], how: How, identity: &Identity) -> Plan {
    let known = Known::new(CHIP, releases()).with_identity(identity);
    let mut flash = flash;
    let found = diagnose(&mut flash, &known, Depth::Full, &mut |_, _| {}).unwrap();
    repair(&found, &mut flash, &known, how).unwrap()
}

/// Boards that run, and have nothing of what Airlift knows.
fn foreign_boards() -> Vec<(&'static str, Vec<u8>)> {
    let blank = || vec![0xFF; FLASH as usize];
    let app = sample_app(CHIP, "3.7.0", 90_000);
    // The ROM of newer chips runs an image by this word, from the start of the flash.
    let mut direct = blank();
    put(&mut direct, 0, &0xAEDB_041D_u32.to_le_bytes());
    put(&mut direct, 8, &app[..40_000]);
    // One image at the start that the ROM loads, as Zephyr's simple boot has it, and MCUboot's slots.
    let mut simple = blank();
    put(&mut simple, 0, &app);
    put(&mut simple, 0x2_0000, &0x96F3_B83D_u32.to_le_bytes());
    // ESP-IDF with `CONFIG_PARTITION_TABLE_OFFSET`.
    let mut moved = blank();
    put(&mut moved, 0, bundled(CHIP).bytes());
    let list = [
        Partition::new("nvs", TYPE_DATA, 2, 0x1_1000, 0x6000),
        Partition::new("factory", TYPE_APP, 0, 0x2_0000, 0x10_0000),
    ];
    let mut table = [0xFF; TABLE_LEN];
    partition::encode(&list, &mut table).unwrap();
    put(&mut moved, 0x1_0000, &table);
    put(&mut moved, 0x2_0000, &app);
    vec![("direct", direct), ("simple", simple), ("moved", moved)]
}

#[test]
fn other_firmware_is_never_called_dead() {
    for (name, flash) in foreign_boards() {
        for depth in [Depth::Quick, Depth::Full] {
            let found = look(&flash, depth);
            assert_eq!(found.verdict, Verdict::Foreign, "{name}: {found:#?}");
            assert_eq!(found.code, Code::ForeignFirmware, "{name}");
            assert_eq!(found.findings.len(), 1, "{name}: {:?}", found.findings);
            assert_eq!(found.next_boot, "What it does then is not known here.");
        }
    }
}

#[test]
fn no_repair_destroys_other_firmware() {
    for (name, flash) in foreign_boards() {
        for how in How::ALL {
            let plan = plan(&flash, how);
            assert!(plan.steps.is_empty() && plan.others.is_empty(), "{name}");
            let blocked = plan.blocked.unwrap();
            assert_eq!(blocked.code, ErrorCode::NoRepair, "{name}");
            assert!(blocked.sentence.contains("airlift usb flash"), "{name}");
        }
    }
}

/// File systems that are whole, and that are not read here.
fn foreign_files() -> Vec<(&'static str, Code, Vec<u8>)> {
    let make = |change: fn(&mut [u8])| {
        let mut flash = used();
        let (offset, size) = place(&flash, "vfs");
        change(&mut flash[offset as usize..(offset + size) as usize]);
        flash
    };
    let newer = make(|vfs| {
        for block in [0, 4096] {
            vfs[block + 20] = 9;
        }
    });
    let smaller = make(|vfs| {
        for block in [0, 4096] {
            vfs[block + 28] -= 1;
        }
    });
    let fat = make(|vfs| {
        vfs[..8192].fill(0);
        vfs[510..512].copy_from_slice(&[0x55, 0xAA]);
    });
    vec![
        ("newer", Code::FilesNewer, newer),
        ("smaller", Code::FilesForeign, smaller),
        ("fat", Code::FilesForeign, fat),
    ]
}

#[test]
fn files_that_are_not_damaged_stay_unless_new_ones_are_asked_for() {
    let mut with_lost_otadata = foreign_files();
    for (_, _, flash) in &mut with_lost_otadata {
        erase(flash, 0xD000, 0x2000);
    }
    let writes_files = |plan: &Plan| plan.steps.iter().any(|step| step.region == "vfs");
    for (name, code, flash) in foreign_files().into_iter().chain(with_lost_otadata) {
        let found = look(&flash, Depth::Full);
        let finding = found.findings.iter().find(|f| f.code == code);
        assert!(finding.is_some_and(|f| f.harmless), "{name}: {found:#?}");
        let is_lost = found.code == Code::OtadataLost;
        let smallest = plan(&flash, How::Smallest);
        assert_eq!(smallest.bytes(), if is_lost { 8192 } else { 0 }, "{name}");
        assert!(smallest.losses.is_empty(), "{name}: {:?}", smallest.losses);
        let slot = plan(&flash, How::Slot);
        assert!(!writes_files(&slot) && slot.blocked.is_none(), "{name}");
        for how in [How::Files, How::Everything] {
            let anew = plan(&flash, how);
            assert!(writes_files(&anew), "{name}");
            let named = |loss: &String| loss.starts_with("All files that are no release's");
            assert!(anew.losses.iter().any(named), "{name}: {:?}", anew.losses);
        }
    }
}

/// A board that has lost its state; its envelopes say whose it is.
fn forgetful() -> Vec<u8> {
    let mut flash = used();
    let (airlift, _) = place(&flash, "airlift");
    erase(&mut flash, airlift, 0x2000);
    flash
}

#[test]
fn a_board_of_somebody_else_does_not_become_this_computers() {
    let stranger = SigningKey::from_seed(&[9; 32]).public();
    let other_keys = Identity {
        trust: KeySet::new(1, stranger, &[stranger]).unwrap(),
        ..identity()
    };
    let other_product = Identity {
        product: "another-board".to_owned(),
        ..identity()
    };
    for who in [other_keys, other_product] {
        for how in [How::Smallest, How::Slot, How::Files, How::Everything] {
            let plan = plan_as(&forgetful(), how, &who);
            let blocked = plan.blocked.unwrap();
            assert!(plan.steps.is_empty() && plan.others.is_empty());
            if how == How::Smallest {
                assert_eq!(blocked.code, ErrorCode::NoTrust);
                assert!(blocked.sentence.contains(PRODUCT), "{}", blocked.sentence);
            }
        }
    }
    let own = plan(&forgetful(), How::Smallest);
    assert!(own.blocked.is_none() && own.losses.is_empty());
}

#[test]
fn taking_over_a_board_that_says_nothing_of_itself_is_a_loss() {
    let mut flash = forgetful();
    let airlift = layout(&flash).airlift;
    erase(&mut flash, airlift.offset, airlift.size);
    let plan = plan(&flash, How::Smallest);
    assert!(plan.steps.iter().any(|step| step.region == "airlift"));
    let named = |loss: &String| loss.starts_with("What the board was");
    assert!(plan.losses.iter().any(named), "{:?}", plan.losses);
}

#[test]
fn a_table_without_its_md5_is_no_damage() {
    let mut flash = used();
    let table = TABLE_OFFSET as usize;
    let entry = flash[table..].chunks(32).position(|e| e[0] == 0xEB);
    let md5 = TABLE_OFFSET + 32 * entry.unwrap() as u32;
    erase(&mut flash, md5, 32);
    for depth in [Depth::Quick, Depth::Full] {
        let found = look(&flash, depth);
        assert_eq!(found.code, Code::TableRefused, "{found:#?}");
        assert!(found.findings.iter().all(|finding| finding.harmless));
        assert!(found.sentence.contains("no update over the air"));
        assert_eq!(found.boots.as_deref(), Some("ota_1"));
    }
    assert!(plan(&flash, How::Smallest).steps.is_empty());
    let anew = plan(&flash, How::Everything);
    assert!(
        anew.steps
            .iter()
            .any(|step| step.region == "partition table")
    );
}

/// The rest was erased, and is not missed by a bootloader: the flash tells that it is damage.
#[test]
fn a_table_that_lost_its_end_is_mended() {
    let mut flash = used();
    erase(&mut flash, TABLE_OFFSET + 3 * 32, TABLE_LEN as u32 - 3 * 32);
    assert_eq!(look(&flash, Depth::Full).code, Code::DamagedPartitionTable);
    let regions = plan(&flash, How::Smallest).steps;
    assert_eq!(regions.len(), 1);
    assert_eq!(regions[0].region, "partition table");
}

/// A board whose last trial saw rollback in its bootloader.
fn with_rollback() -> Vec<u8> {
    let mut flash = used();
    let (airlift, _) = place(&flash, "airlift");
    for at in [airlift, airlift + 4096] {
        let bytes = flash[at as usize..].first_chunk().unwrap();
        if let Some(mut state) = State::decode(bytes) {
            state.bootloader_rollback = true;
            put(&mut flash, at, &state.encode());
        }
    }
    flash
}

#[test]
fn a_bootloader_that_is_right_is_kept() {
    let mut own = with_rollback();
    // Another one than the bundled one, and right: another mode of the flash, and the hash to it.
    let len = bundled(CHIP).bytes().len();
    own[2] ^= 1;
    let hash = Digest::of(&own[..len - 32]);
    put(&mut own, len as u32 - 32, &hash.0);
    assert_eq!(look(&own, Depth::Full).verdict, Verdict::Healthy);
    for how in How::ALL {
        let steps = plan(&own, how).steps;
        assert!(steps.iter().all(|step| step.region != "bootloader"));
    }
}

#[test]
fn a_rollback_that_gets_lost_with_a_damaged_bootloader_is_named() {
    let is_named = |mut flash: Vec<u8>, how| {
        flash[0x1234] ^= 1;
        let losses = plan(&flash, how).losses;
        losses
            .iter()
            .any(|loss| loss.starts_with("The bootloader's own rollback"))
    };
    for how in [How::Smallest, How::Everything] {
        assert!(is_named(with_rollback(), how));
        assert!(!is_named(used(), how));
    }
}
