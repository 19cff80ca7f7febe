//! Entries of otadata that a power cut tears. All other cuts, at every operation of every kind of update,
//! are tried by `airlift-prover`.

use crate::kit::*;
use airlift_updater::layout::write_entry;
use airlift_virtual_device::ChipFlash;
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor, Verdict};
use airlift_virtual_device::timing::Timing;
use airlift_wire::otadata::{Entry, ImageState};
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
