//! Entries of otadata that a power cut tears, or leaves between 0 and 1. All other cuts, at every operation of every kind of update,
//! are tried by `airlift-prover`.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_updater::layout::write_entry;
use airlift_virtual_device::ChipFlash;
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor, Verdict};
use airlift_virtual_device::timing::Timing;
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::state::Cause;
use embassy_futures::poll_once;

#[test]
fn a_torn_entry_of_otadata_never_counts_with_another_state() {
    // *new* is 0 and *valid* is 2: one bit that was not cleared would confirm a trial.
    let entry = Entry::new(3, ImageState::New);
    let mut whole = 0;
    for change in 0..3 {
        for seed in 0..400 {
            let nor = SharedNor::new(NorFlash::blank(NorFlash::SIZE_MIN).unwrap());
            let before = Entry::new(1, ImageState::Aborted).encode();
            nor.write(0xD000, &before).unwrap();
            let permille = 800 + (seed % 200) as u16;
            nor.set_hook(AtChange::new(change, Verdict::Tear { permille, seed }));
            let mut flash = ChipFlash::new(nor.clone(), Timing::None, NoTime);
            let written = poll_once(write_entry(&mut flash, 0xD000, &entry));
            assert!(written.is_pending(), "a program without power has ended");
            let found = Entry::decode(nor.snapshot()[0xD000..].first_chunk().unwrap());
            if found.is_selectable() {
                assert_eq!(found, entry, "{change} {permille} {seed}");
                whole += 1;
            }
        }
    }
    assert!(whole > 0, "no cut was late enough to leave a whole entry");
}

#[test]
fn what_a_cut_left_is_decided_at_the_next_start_whatever_that_start_is_said_to_follow() {
    // A start after the cut may have died before the guard; this one is then not said to follow a cut.
    let causes = [
        Cause::PowerOn,
        Cause::Brownout,
        Cause::None,
        Cause::Watchdog,
        Cause::Panic,
        Cause::Software,
    ];
    for (cause, noise) in causes.into_iter().flat_map(|c| [(c, 1), (c, 2), (c, 3)]) {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
        bench.power_off();
        nor.power_on();
        let entry = layout(&nor.snapshot(), SlotId::Ota0).otadata_offset(0);
        {
            // A bit of the CRC that should be 0 and did not get there.
            let mut flash = nor.lock();
            let crc = entry + 28;
            let byte = flash.image()[crc as usize];
            let bit = !byte & byte.wrapping_add(1);
            flash.overwrite(crc, &[byte | bit]).unwrap();
            let mut masks = vec![0; 4096];
            masks[28] = bit;
            flash.set_unstable_in(entry, &masks);
            flash.set_noise(noise);
            assert!(bit != 0 && flash.unstable_in(entry).is_some());
        }
        bench.restart(cause);
        let info = bench.run(async { info(&bench.client()).await }).unwrap();
        assert_eq!(info["product"], PRODUCT);
        assert_eq!(nor.lock().unstable_in(entry), None, "{cause:?} {noise}");
    }
}
