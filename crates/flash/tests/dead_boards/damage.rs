//! Boards with any damage, and flash that stops answering.

use crate::boards::*;
use crate::start::rom_starts_the_bootloader;
use airlift_flash::diagnosis::Verdict;
use airlift_flash::read::{ReadError, ReadFlash};
use airlift_flash::{Depth, Diagnosis, How, Known, Plan, diagnose, repair};
use airlift_updater::SlotId;
use airlift_virtual_device::boot::{Bootloader, boot};
use airlift_virtual_device::nor::{NorFlash, SharedNor};
use airlift_wire::image::Header;
use proptest::prelude::*;

const SECTOR: usize = 4096;
/// 4 MiB, as headers say it.
const SIZE_CODE: u8 = 2;

/// Something that happens to a flash.
#[derive(Clone, Debug)]
enum Damage {
    Erased(usize, usize),
    Overwritten(usize, usize, u8),
    Flipped(usize, u8),
    Copied(usize, usize),
}

impl Damage {
    fn happen(&self, flash: &mut [u8]) {
        let sectors = flash.len() / SECTOR;
        let range = |at: usize, n: usize| {
            let at = at % sectors;
            at * SECTOR..(at + n).min(sectors) * SECTOR
        };
        match *self {
            Self::Erased(at, n) => flash[range(at, n)].fill(0xFF),
            Self::Overwritten(at, n, byte) => flash[range(at, n)].fill(byte),
            Self::Flipped(at, bit) => {
                let at = at % flash.len();
                flash[at] ^= 1 << (bit % 8);
            }
            Self::Copied(from, to) => {
                let to = range(to, 1).start;
                flash.copy_within(range(from, 1), to);
            }
        }
    }
}

/// Where something is that matters: most of a flash is erased or in the middle of an image.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0usize),
        Just(8),
        9usize..16,
        Just(0x10),
        Just(0x100),
        Just(0x1F0),
        0x2E0usize..0x2E5,
        0x2E8usize..0x300,
        0usize..1024,
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (place(), 1usize..40).prop_map(|(at, n)| Damage::Erased(at, n)),
        (place(), 1usize..40, any::<u8>()).prop_map(|(at, n, b)| Damage::Overwritten(at, n, b)),
        (place(), 0usize..SECTOR, any::<u8>())
            .prop_map(|(at, byte, bit)| Damage::Flipped(at * SECTOR + byte, bit)),
        (place(), 0usize..600, any::<u8>())
            .prop_map(|(at, byte, bit)| Damage::Flipped(at * SECTOR + byte, bit)),
        (place(), place()).prop_map(|(from, to)| Damage::Copied(from, to)),
    ]
}

fn look(mut flash: &[u8], known: &Known<'_>, depth: Depth) -> Diagnosis {
    diagnose(&mut flash, known, depth, &mut |_, _| {}).unwrap()
}

fn apply(flash: &[u8], plan: &Plan) -> Vec<u8> {
    let mut after = flash.to_vec();
    for segment in plan.segments() {
        put(&mut after, segment.offset(), segment.bytes());
    }
    after
}

/// What the bootloader of a device starts.
fn starts(flash: &[u8]) -> Option<SlotId> {
    // It refuses partitions past the flash that its header names, and apps a flash smaller than that.
    let size = Header::parse(flash).ok()?.flash_size_code;
    if !rom_starts_the_bootloader(flash) || size != SIZE_CODE {
        return None;
    }
    let nor = SharedNor::new(NorFlash::from_image(flash.to_vec()).unwrap());
    boot(&nor, Bootloader::Plain, CHIP).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_damage_is_mended_or_said_to_be_beyond_it(damages in prop::collection::vec(damage(), 1..5)) {
        let mut flash = used();
        for damage in &damages {
            damage.happen(&mut flash);
        }
        let identity = identity();
        let known = Known::new(CHIP, releases()).with_identity(&identity);
        let quick = look(&flash, &known, Depth::Quick);
        let full = look(&flash, &known, Depth::Full);
        prop_assert!(quick.bytes_read <= airlift_flash::diagnosis::QUICK_BYTES);
        prop_assert!(full.complete);
        prop_assert_eq!(&quick.boots, &full.boots);
        // Both say what a device does.
        match full.verdict {
            Verdict::Dead => prop_assert_eq!(starts(&flash), None),
            // Too little of it is left for Airlift to know it again.
            Verdict::Foreign => {}
            Verdict::Healthy | Verdict::Impaired => prop_assert!(starts(&flash).is_some()),
        }
        for how in How::ALL {
            let plan = repair(&full, &mut flash.as_slice(), &known, how).unwrap();
            if plan.blocked.is_some() {
                prop_assert!(plan.steps.is_empty());
                continue;
            }
            let after = apply(&flash, &plan);
            prop_assert!(after[0x9000..0xD000] == flash[0x9000..0xD000] || how == How::Everything);
            let again = look(&after, &known, Depth::Full);
            prop_assert!(matches!(again.verdict, Verdict::Healthy | Verdict::Impaired), "{how:?} {plan:#?} {again:#?}");
            let slot = starts(&after).map(SlotId::name);
            prop_assert_eq!(slot, again.boots.as_deref());
            prop_assert!(slot.is_some_and(|slot| plan.afterwards.contains(slot)), "{how:?} {plan:#?} {again:#?}");
            // It is mended, and not only better: the same plan finds nothing to write.
            if how == How::Smallest {
                let rest = repair(&again, &mut after.as_slice(), &known, how).unwrap();
                prop_assert!(rest.steps.is_empty(), "{plan:#?} {rest:#?} {again:#?}");
            }
        }
    }

    #[test]
    fn any_flash_is_looked_at_to_its_end(
        bytes in prop::collection::vec(any::<u8>(), 0..0x1_2000),
        chip in any::<u16>(),
    ) {
        let identity = identity();
        let known = Known::new(chip, releases()).with_identity(&identity);
        for depth in [Depth::Quick, Depth::Full] {
            let found = look(&bytes, &known, depth);
            prop_assert!(found.verdict != Verdict::Healthy);
            for how in How::ALL {
                repair(&found, &mut bytes.as_slice(), &known, how).unwrap();
            }
        }
    }
}

/// Flash whose link is gone after some operations.
struct Failing<'a> {
    flash: &'a [u8],
    left: u32,
}

impl Failing<'_> {
    fn step(&mut self) -> Result<(), ReadError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| ReadError::Link("gone".into()))?;
        Ok(())
    }
}

impl ReadFlash for Failing<'_> {
    fn size(&self) -> u32 {
        self.flash.size()
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.step()?;
        self.flash.read(offset, out)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        self.step()?;
        self.flash.md5(offset, len)
    }
}

/// A link that is gone is never taken for damage, wherever it goes.
#[test]
fn a_link_that_goes_is_no_finding() {
    let flash = used();
    let identity = identity();
    let known = Known::new(CHIP, releases()).with_identity(&identity);
    for depth in [Depth::Quick, Depth::Full] {
        let mut refused = 0;
        let whole = (0..).find(|left| {
            let mut failing = Failing {
                flash: &flash,
                left: *left,
            };
            let found = diagnose(&mut failing, &known, depth, &mut |_, _| {});
            refused += u32::from(matches!(found, Err(ReadError::Link(_))));
            found.is_ok_and(|found| found.verdict == Verdict::Healthy)
        });
        assert_eq!(whole, Some(refused), "each of them was an error");
        assert!(refused > 20, "{refused}");
    }
    let full = look(&flash, &known, Depth::Full);
    let whole = (0..2000).step_by(7).find(|left| {
        let mut failing = Failing {
            flash: &flash,
            left: *left,
        };
        let plan = repair(&full, &mut failing, &known, How::Everything);
        plan.is_ok_and(|plan| plan.blocked.is_none())
    });
    assert!(whole.is_some_and(|whole| whole > 20), "{whole:?}");
}

#[test]
fn progress_never_goes_back_and_ends_whole() {
    let flash = used();
    let known = Known::new(CHIP, releases());
    for depth in [Depth::Quick, Depth::Full] {
        let mut last = (0, 0);
        let mut bytes: &[u8] = &flash;
        let mut on_progress = |done, total| {
            assert!(done >= last.0 && total >= last.1 && done <= total);
            last = (done, total);
        };
        diagnose(&mut bytes, &known, depth, &mut on_progress).unwrap();
        assert!(last.0 > 0 && last.0 == last.1, "{last:?}");
    }
}

/// Not every folder is read at a quick look, and what was not read is no half-finished update.
#[test]
fn a_board_from_the_factory_is_healthy_at_any_look() {
    let flash = installed(SlotId::Ota0, &releases()[0], false);
    for library in [&releases()[..], &[]] {
        let known = Known::new(CHIP, library);
        for depth in [Depth::Quick, Depth::Full] {
            let found = look(&flash, &known, depth);
            assert_eq!(found.verdict, Verdict::Healthy, "{depth:?} {found:#?}");
        }
    }
}
