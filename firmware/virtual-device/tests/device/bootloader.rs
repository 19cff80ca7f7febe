//! Which slot the bootloader starts.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_virtual_device::Factory;
use airlift_virtual_device::boot::{Bootloader, Dead, Halt, boot};
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor, Verdict};
use airlift_wire::otadata::{Entry, ImageState};

/// A device with an app in each slot and these entries in otadata.
fn device(entries: [Option<(u32, ImageState)>; 2]) -> SharedNor {
    let image = bare_flash();
    let layout = layout(&image, SlotId::Factory);
    let mut nor = NorFlash::from_image(image).unwrap();
    for (n, slot) in layout.ota.iter().enumerate() {
        nor.overwrite(slot.offset, &app(&format!("ota {n}")))
            .unwrap();
    }
    for (n, entry) in entries.into_iter().enumerate() {
        if let Some((sequence, state)) = entry {
            let entry = Entry::new(sequence, state);
            nor.overwrite(layout.otadata_offset(n), &entry.encode())
                .unwrap();
        }
    }
    nor.into()
}

fn damage(nor: &SharedNor, slot: SlotId) {
    let mut nor = nor.lock();
    let at = layout(nor.image(), slot).partition(slot).unwrap().offset + 4096;
    let byte = nor.image()[at as usize] ^ 0x80;
    nor.overwrite(at, &[byte]).unwrap();
}

fn start(nor: &SharedNor, bootloader: Bootloader) -> Result<SlotId, Halt> {
    boot(nor, bootloader, CHIP)
}

const BOTH: [Bootloader; 2] = [Bootloader::Plain, Bootloader::Rollback];
const DEAD: Result<SlotId, Halt> = Err(Halt::Dead(Dead::NoApp));

#[test]
fn the_entry_with_the_higher_sequence_selects_the_slot() {
    use ImageState::{Aborted, Invalid, Undefined, Valid};
    for (entries, slot) in [
        ([None, None], SlotId::Factory),
        ([Some((1, Valid)), None], SlotId::Ota0),
        ([None, Some((1, Valid))], SlotId::Ota0),
        ([Some((1, Valid)), Some((2, Valid))], SlotId::Ota1),
        ([Some((3, Valid)), Some((2, Valid))], SlotId::Ota0),
        (
            [Some((4, Undefined(u32::MAX))), Some((3, Valid))],
            SlotId::Ota1,
        ),
        ([Some((1, Valid)), Some((2, Aborted))], SlotId::Ota0),
        ([Some((1, Invalid)), Some((2, Aborted))], SlotId::Factory),
    ] {
        for bootloader in BOTH {
            let nor = device(entries);
            assert_eq!(start(&nor, bootloader), Ok(slot), "{entries:?}");
            assert_eq!(nor.counters().changes(), 0, "{entries:?}");
        }
    }
}

#[test]
fn an_entry_with_a_wrong_crc_does_not_count() {
    let nor = device([Some((1, ImageState::Valid)), Some((2, ImageState::Valid))]);
    let at = layout(&nor.snapshot(), SlotId::Ota0).otadata_offset(1) + 28;
    nor.lock().overwrite(at, &[0; 4]).unwrap();
    for bootloader in BOTH {
        assert_eq!(start(&nor, bootloader), Ok(SlotId::Ota0));
    }
}

#[test]
fn rollback_gives_a_new_slot_one_chance() {
    let entries = [Some((1, ImageState::Valid)), Some((2, ImageState::New))];
    let nor = device(entries);
    let state = |nor: &SharedNor| otadata(&nor.snapshot())[1].state;
    assert_eq!(start(&nor, Bootloader::Rollback), Ok(SlotId::Ota1));
    assert_eq!(state(&nor), ImageState::PendingVerify);
    assert_eq!(start(&nor, Bootloader::Rollback), Ok(SlotId::Ota0));
    assert_eq!(state(&nor), ImageState::Aborted);
    assert_eq!(start(&nor, Bootloader::Rollback), Ok(SlotId::Ota0));

    let plain = device(entries);
    for _ in 0..3 {
        assert_eq!(start(&plain, Bootloader::Plain), Ok(SlotId::Ota1));
        assert_eq!(state(&plain), ImageState::New);
    }
}

#[test]
fn a_bad_image_falls_back_downwards_first_and_then_upwards() {
    let newest = [Some((1, ImageState::Valid)), Some((2, ImageState::Valid))];
    for bootloader in BOTH {
        let nor = device(newest);
        damage(&nor, SlotId::Ota1);
        assert_eq!(start(&nor, bootloader), Ok(SlotId::Ota0));
        damage(&nor, SlotId::Ota0);
        assert_eq!(start(&nor, bootloader), Ok(SlotId::Factory));
        damage(&nor, SlotId::Factory);
        assert_eq!(start(&nor, bootloader), DEAD);

        // From ota_0 the factory app comes before ota_1.
        let nor = device([Some((1, ImageState::Valid)), None]);
        damage(&nor, SlotId::Ota0);
        assert_eq!(start(&nor, bootloader), Ok(SlotId::Factory));
        damage(&nor, SlotId::Factory);
        assert_eq!(start(&nor, bootloader), Ok(SlotId::Ota1));
    }
}

#[test]
fn an_image_for_another_chip_does_not_start() {
    let nor = device([None, None]);
    assert_eq!(boot(&nor, Bootloader::Plain, 9), DEAD);
}

#[test]
fn without_a_factory_app_the_first_start_is_recorded() {
    let app = app("0.9.0");
    let mut factory = Factory::new(PRODUCT, "bench", trust());
    factory.factory_slot = false;
    factory.app = Some(&app);
    let nor = SharedNor::new(NorFlash::from_image(factory.build().unwrap()).unwrap());
    for _ in 0..2 {
        assert_eq!(start(&nor, Bootloader::Plain), Ok(SlotId::Ota0));
        assert_eq!(
            otadata(&nor.snapshot())[0],
            Entry::new(1, ImageState::Valid)
        );
        assert_eq!(nor.counters().changes(), 2);
    }
}

#[test]
fn a_damaged_partition_table_starts_nothing() {
    let nor = device([None, None]);
    nor.lock().overwrite(0x8004, &[0x55]).unwrap();
    assert!(matches!(
        start(&nor, Bootloader::Plain),
        Err(Halt::Dead(Dead::Table(_)))
    ));
}

#[test]
fn a_cut_in_the_bootloader_leaves_a_slot_that_starts() {
    let trial = [Some((1, ImageState::Valid)), Some((2, ImageState::New))];
    for cut in 0..2 {
        for verdict in [
            Verdict::CutBefore,
            Verdict::CutAfter,
            Verdict::Tear {
                permille: 500,
                seed: 3,
            },
        ] {
            let nor = device(trial);
            nor.set_hook(AtChange::new(cut, verdict));
            assert_eq!(start(&nor, Bootloader::Rollback), Err(Halt::PowerLost));
            nor.power_on();
            let slot = start(&nor, Bootloader::Rollback);
            assert!(matches!(slot, Ok(SlotId::Ota0 | SlotId::Ota1)), "{slot:?}");
        }
    }
}
