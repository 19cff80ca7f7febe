use super::*;

const SECTOR: usize = SECTOR_SIZE as usize;

fn flash() -> NorFlash {
    NorFlash::blank(NorFlash::SIZE_MIN).unwrap()
}

fn sector(flash: &NorFlash, offset: u32) -> &[u8] {
    &flash.image()[offset as usize..][..SECTOR]
}

/// Let the next erase or write meet `verdict`.
fn next_change(flash: &mut NorFlash, verdict: Verdict) {
    flash.set_hook(AtChange::new(0, verdict));
}

mod rules {
    use super::*;

    #[test]
    fn a_blank_flash_reads_as_ones() {
        let mut buf = [0; 8];
        flash().read(0x3F_FFF8, &mut buf).unwrap();
        assert_eq!(buf, [0xFF; 8]);
    }

    #[test]
    fn what_is_written_is_read_and_an_erase_takes_the_sector_and_no_more() {
        let mut flash = flash();
        for offset in [0xFFC, 0x1000, 0x1FFC, 0x2000] {
            flash.write(offset, b"data").unwrap();
        }
        flash.erase(0x1000).unwrap();
        let mut buf = [0; 4];
        for (offset, expected) in [
            (0xFFC, b"data"),
            (0x1000, &[0xFF; 4]),
            (0x1FFC, &[0xFF; 4]),
            (0x2000, b"data"),
        ] {
            flash.read(offset, &mut buf).unwrap();
            assert_eq!(&buf, expected, "{offset:#x}");
        }
    }

    #[test]
    fn a_write_may_clear_more_bits() {
        let mut flash = flash();
        flash.write(0, &[0b1111_0000; 4]).unwrap();
        flash.write(0, &[0b1100_0000; 4]).unwrap();
        assert_eq!(flash.image()[..4], [0b1100_0000; 4]);
    }

    #[test]
    fn a_write_that_would_set_a_bit_is_refused_and_changes_nothing() {
        let mut flash = flash();
        flash.write(0, &[0xFF, 0xFF, 0x0F, 0xFF]).unwrap();
        let before = flash.snapshot();
        assert_eq!(
            flash.write(0, &[0x00, 0x00, 0x1F, 0x00]),
            Err(NorError::WouldSetBits { offset: 2 })
        );
        assert_eq!(flash.image(), before);
    }

    #[test]
    fn ranges_must_be_inside_aligned_and_within_a_sector() {
        let mut flash = flash();
        let end = NorFlash::SIZE_MIN as u32;
        let mut buf = [0; 8];
        assert_eq!(
            flash.read(end - 4, &mut buf),
            Err(NorError::OutOfBounds {
                offset: end - 4,
                len: 8
            })
        );
        assert!(matches!(
            flash.read(u32::MAX - 3, &mut buf),
            Err(NorError::OutOfBounds { .. })
        ));
        assert!(matches!(
            flash.read(0, &mut []),
            Err(NorError::OutOfBounds { .. })
        ));
        assert!(matches!(
            flash.erase(end),
            Err(NorError::OutOfBounds { .. })
        ));
        for (offset, len) in [(2, 4), (4, 6), (1, 1)] {
            let data = [0; 8];
            assert_eq!(
                flash.write(offset, &data[..len]),
                Err(NorError::Misaligned { offset, len })
            );
        }
        assert!(matches!(
            flash.erase(0x1004),
            Err(NorError::Misaligned { .. })
        ));
        assert_eq!(
            flash.read(0xFFC, &mut buf),
            Err(NorError::CrossesSector {
                offset: 0xFFC,
                len: 8
            })
        );
        assert!(matches!(
            flash.write(0xFFC, &buf),
            Err(NorError::CrossesSector { .. })
        ));
        assert_eq!(
            flash.counters(),
            Counters::default(),
            "nothing of this happened"
        );
    }

    #[test]
    fn sizes_are_whole_sectors_from_4_to_16_mib() {
        for size in [
            0,
            NorFlash::SIZE_MIN - SECTOR,
            NorFlash::SIZE_MIN + 1,
            usize::MAX,
        ] {
            assert_eq!(NorFlash::blank(size).err(), Some(NorError::Size { size }));
        }
        assert!(NorFlash::blank(NorFlash::SIZE_MAX).is_ok());
    }

    #[test]
    fn operations_are_counted_and_wear_is_kept_by_sector() {
        let mut flash = flash();
        flash.erase(0x1000).unwrap();
        flash.erase(0x1000).unwrap();
        flash.write(0x1000, &[0; 12]).unwrap();
        flash.read(0x1000, &mut [0; 16]).unwrap();
        let expected = Counters {
            reads: 1,
            erases: 2,
            writes: 1,
            bytes_read: 16,
            bytes_written: 12,
        };
        assert_eq!(flash.counters(), expected);
        assert_eq!(
            [0x0, 0x1FFF, 0x2000].map(|at| flash.erases_at(at)),
            [0, 2, 0]
        );
    }
}

mod cuts {
    use super::*;

    #[test]
    fn a_cut_before_leaves_the_cells_and_a_cut_after_has_changed_them() {
        for (verdict, expected) in [(Verdict::CutBefore, [0xFF; 4]), (Verdict::CutAfter, [0; 4])] {
            let mut flash = flash();
            next_change(&mut flash, verdict);
            assert_eq!(flash.write(0, &[0; 4]), Err(NorError::PowerLost));
            assert_eq!(flash.image()[..4], expected, "{verdict:?}");
        }
    }

    #[test]
    fn without_power_nothing_works_until_it_is_back() {
        let mut flash = flash();
        flash.power_off();
        assert!(!flash.is_powered());
        assert_eq!(flash.read(0, &mut [0; 4]), Err(NorError::PowerLost));
        assert_eq!(flash.erase(0), Err(NorError::PowerLost));
        assert_eq!(flash.write(0, &[0; 4]), Err(NorError::PowerLost));
        flash.power_on();
        flash.write(0, &[0; 4]).unwrap();
    }

    #[test]
    fn a_cut_during_a_read_returns_nothing() {
        let mut flash = flash();
        flash.set_hook(|_: &Op| Verdict::CutAfter);
        let mut buf = [0x55; 4];
        assert_eq!(flash.read(0, &mut buf), Err(NorError::PowerLost));
        assert_eq!(buf, [0; 4]);
    }

    #[test]
    fn a_torn_write_has_done_its_first_pages_and_part_of_one() {
        let mut flash = flash();
        next_change(
            &mut flash,
            Verdict::Tear {
                permille: 500,
                seed: 1,
            },
        );
        // Pages at 0x100, 0x200 (half of it is 128 of 256 bytes into the write) and 0x300.
        assert_eq!(flash.write(0x180, &[0; 512]), Err(NorError::PowerLost));
        let image = flash.image();
        assert_eq!(image[0x100..0x180], [0xFF; 0x80], "before the write");
        assert_eq!(image[0x180..0x200], [0; 0x80], "the first page is done");
        let torn = &image[0x200..0x300];
        assert!(torn.iter().any(|&cell| cell != 0xFF), "begun");
        assert!(torn.iter().any(|&cell| cell != 0), "and not finished");
        assert_eq!(image[0x300..0x400], [0xFF; 0x100], "not reached");
    }

    #[test]
    fn a_torn_write_never_clears_a_bit_that_should_stay() {
        for permille in [0, 1, 333, 999, 1000, 60_000] {
            let mut flash = flash();
            let data: Vec<u8> = (0..SECTOR).map(|i| (i * 31) as u8).collect();
            next_change(
                &mut flash,
                Verdict::Tear {
                    permille,
                    seed: permille.into(),
                },
            );
            assert_eq!(flash.write(0, &data), Err(NorError::PowerLost));
            assert!(
                flash
                    .image()
                    .iter()
                    .zip(&data)
                    .all(|(cell, byte)| cell & byte == *byte)
            );
            match permille {
                0 => assert_eq!(sector(&flash, 0), [0xFF; SECTOR]),
                1000.. => assert_eq!(sector(&flash, 0), data),
                _ => assert!(sector(&flash, 0) != data && sector(&flash, 0) != [0xFF; SECTOR]),
            }
        }
    }

    #[test]
    fn a_torn_erase_clears_first_and_raises_then() {
        let data: Vec<u8> = (0..SECTOR).map(|i| (i * 31) as u8).collect();
        let torn = |permille| {
            let mut flash = flash();
            flash.write(0, &data).unwrap();
            next_change(&mut flash, Verdict::Tear { permille, seed: 9 });
            assert_eq!(flash.erase(0), Err(NorError::PowerLost));
            sector(&flash, 0).to_vec()
        };
        assert_eq!(torn(0), data);
        let clearing = torn(250);
        assert!(
            clearing
                .iter()
                .zip(&data)
                .all(|(cell, old)| cell & !old == 0),
            "no bit is raised"
        );
        assert!(clearing != data && clearing != [0; SECTOR]);
        assert_eq!(torn(500), [0; SECTOR]);
        let raising = torn(750);
        let ones: u32 = raising.iter().map(|cell| cell.count_ones()).sum();
        assert!(
            (14_000..19_000).contains(&ones),
            "about half of 32768 bits: {ones}"
        );
        assert_eq!(torn(1000), [0xFF; SECTOR]);
    }

    #[test]
    fn equal_seeds_tear_equally_and_others_do_not() {
        let torn = |seed| {
            let mut flash = flash();
            next_change(
                &mut flash,
                Verdict::Tear {
                    permille: 600,
                    seed,
                },
            );
            assert_eq!(flash.erase(0), Err(NorError::PowerLost));
            sector(&flash, 0).to_vec()
        };
        assert_eq!(torn(1), torn(1));
        assert_ne!(torn(1), torn(2));
    }
}

mod faults {
    use super::*;

    #[test]
    fn the_hook_sees_every_operation_in_order_and_no_invalid_one() {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut flash = flash();
        let log = seen.clone();
        flash.set_hook(move |op: &Op| {
            log.lock().unwrap().push(*op);
            Verdict::Proceed
        });
        flash.read(8, &mut [0; 4]).unwrap();
        flash.erase(0x2000).unwrap();
        assert!(flash.erase(1).is_err());
        flash.write(0x2000, &[0; 8]).unwrap();
        let op = |index, change, kind, offset, len| Op {
            index,
            change,
            kind,
            offset,
            len,
        };
        assert_eq!(
            *seen.lock().unwrap(),
            [
                op(0, 0, OpKind::Read, 8, 4),
                op(1, 0, OpKind::Erase, 0x2000, SECTOR_SIZE),
                op(2, 1, OpKind::Write, 0x2000, 8),
            ]
        );
    }

    #[test]
    fn at_change_counts_changes_and_strikes_once() {
        let mut flash = flash();
        flash.set_hook(AtChange::new(1, Verdict::Fail));
        flash.read(0, &mut [0; 4]).unwrap();
        flash.erase(0).unwrap();
        flash.read(0, &mut [0; 4]).unwrap();
        assert_eq!(flash.write(0, &[0; 4]), Err(NorError::Failed { offset: 0 }));
        assert!(flash.is_powered());
        flash.write(0, &[0; 4]).unwrap();
    }

    #[test]
    fn a_failed_operation_changes_nothing() {
        let mut flash = flash();
        flash.write(0, &[0; 4]).unwrap();
        next_change(&mut flash, Verdict::Fail);
        assert_eq!(flash.erase(0), Err(NorError::Failed { offset: 0 }));
        assert_eq!(flash.image()[..4], [0; 4]);
    }

    #[test]
    fn bit_errors_in_writes_and_erases_stay_and_those_in_reads_do_not() {
        let wrong = Verdict::BitError { bits: 1, seed: 3 };
        let mut flash = flash();
        next_change(&mut flash, wrong);
        flash.write(0, &[0x0F; 64]).unwrap();
        let differing = |found: &[u8], expected: u8| -> u32 {
            found
                .iter()
                .map(|cell| (cell ^ expected).count_ones())
                .sum()
        };
        assert_eq!(differing(&flash.image()[..64], 0x0F), 1);
        next_change(&mut flash, wrong);
        flash.erase(0).unwrap();
        assert_eq!(differing(sector(&flash, 0), 0xFF), 1);

        flash.clear_hook();
        flash.erase(0).unwrap();
        flash.set_hook(move |_: &Op| wrong);
        let mut buf = [0; 64];
        flash.read(0, &mut buf).unwrap();
        assert_eq!(differing(&buf, 0xFF), 1);
        assert_eq!(sector(&flash, 0), [0xFF; SECTOR]);
    }

    #[test]
    fn a_bad_sector_refuses_and_its_neighbours_work() {
        let mut flash = flash();
        flash.set_bad(0x1234, BadSector::Refuses);
        assert_eq!(
            flash.erase(0x1000),
            Err(NorError::Failed { offset: 0x1000 })
        );
        assert_eq!(
            flash.write(0x1000, &[0; 4]),
            Err(NorError::Failed { offset: 0x1000 })
        );
        flash.read(0x1000, &mut [0; 4]).unwrap();
        flash.erase(0).unwrap();
        flash.erase(0x2000).unwrap();
    }

    #[test]
    fn stuck_bits_spoil_erases_and_writes_without_a_word() {
        let mut flash = flash();
        flash.set_bad(0x1000, BadSector::Stuck { bits: 3, seed: 5 });
        flash.erase(0x1000).unwrap();
        let zeros = |flash: &NorFlash| -> u32 {
            sector(flash, 0x1000)
                .iter()
                .map(|cell| cell.count_zeros())
                .sum()
        };
        assert_eq!(zeros(&flash), 3);
        // A driver cannot know, so its ones are not refused.
        flash.write(0x1000, &[0xFF; SECTOR]).unwrap();
        assert_eq!(zeros(&flash), 3);
        // Writing what is stuck at 0 anyway goes right.
        flash.write(0x1000, &[0; SECTOR]).unwrap();
        assert_eq!(sector(&flash, 0x1000), [0; SECTOR]);
    }
}

mod kept {
    use super::*;

    const SIZE: usize = NorFlash::SIZE_MIN;

    fn path() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flash.bin");
        (dir, path)
    }

    #[test]
    fn a_flash_opened_again_has_what_was_done_to_it() {
        let (_dir, path) = path();
        let mut flash = NorFlash::open(&path, SIZE, Durability::Process).unwrap();
        assert_eq!(flash.image(), vec![0xFF; SIZE]);
        flash.write(0x1000, b"kept").unwrap();
        flash.write(0x2000, b"gone").unwrap();
        flash.erase(0x2000).unwrap();
        flash.overwrite(0x3001, b"odd").unwrap();
        let image = flash.snapshot();
        drop(flash);
        let flash = NorFlash::open(&path, SIZE, Durability::Host).unwrap();
        assert_eq!(flash.image(), image);
    }

    #[test]
    fn the_file_has_each_operation_when_it_returns_also_the_torn_one() {
        let (_dir, path) = path();
        let mut flash = NorFlash::open(&path, SIZE, Durability::Process).unwrap();
        flash.write(0, b"done").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), flash.image());
        next_change(
            &mut flash,
            Verdict::Tear {
                permille: 300,
                seed: 4,
            },
        );
        assert_eq!(flash.erase(0), Err(NorError::PowerLost));
        assert_eq!(std::fs::read(&path).unwrap(), flash.image());
    }

    #[test]
    fn a_file_of_another_size_is_left_alone() {
        let (_dir, path) = path();
        std::fs::write(&path, b"not a flash").unwrap();
        assert_eq!(
            NorFlash::open(&path, SIZE, Durability::Process).err(),
            Some(NorError::FileSize {
                found: 11,
                expected: SIZE as u64
            })
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"not a flash");
    }

    #[test]
    fn a_file_serves_one_flash_at_a_time() {
        let (_dir, path) = path();
        let first = NorFlash::open(&path, SIZE, Durability::Process).unwrap();
        let second = NorFlash::open(&path, SIZE, Durability::Process);
        assert_eq!(second.err(), Some(NorError::InUse));
        drop(first);
        NorFlash::open(&path, SIZE, Durability::Process).unwrap();
    }

    #[test]
    fn a_missing_folder_is_a_file_error() {
        let (_dir, path) = path();
        let inside = path.join("none");
        assert_eq!(
            NorFlash::open(&inside, SIZE, Durability::Process).err(),
            Some(NorError::File {
                kind: io::ErrorKind::NotFound
            })
        );
    }

    #[test]
    fn handles_share_cells_power_and_hook() {
        let a = SharedNor::new(flash());
        let b = a.clone();
        a.write(0, &[0; 4]).unwrap();
        let mut buf = [0xFF; 4];
        b.read(0, &mut buf).unwrap();
        assert_eq!(buf, [0; 4]);
        b.set_hook(AtChange::new(0, Verdict::CutBefore));
        assert_eq!(a.erase(0), Err(NorError::PowerLost));
        assert!(!b.is_powered());
        b.power_on();
        a.erase(0).unwrap();
        let copy = NorFlash::from_image(a.snapshot()).unwrap();
        assert_eq!(copy.image(), vec![0xFF; SIZE]);
        assert_eq!(b.counters().erases, 2);
    }
}

mod model {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64, failure_persistence: None, ..Default::default()
        })]

        /// Against the rule itself: an erase is all ones, a write is a bitwise and.
        #[test]
        fn any_operations_keep_the_rules(
            ops in prop::collection::vec((0..3_u32, 0..1024_u32, 1..16_usize, any::<u8>()), 1..80)
        ) {
            let mut flash = flash();
            let mut model = vec![0xFF; 2 * SECTOR];
            for (kind, word, words, fill) in ops {
                let offset = word * 4 + 0x800;
                let data = vec![fill; words * 4];
                let range = offset as usize..offset as usize + data.len();
                if kind == 0 {
                    let start = offset as usize / SECTOR * SECTOR;
                    flash.erase(start as u32).unwrap();
                    model[start..start + SECTOR].fill(0xFF);
                    continue;
                }
                let crosses = range.start / SECTOR != (range.end - 1) / SECTOR;
                let sets = model[range.clone()].iter().any(|cell| !cell & fill != 0);
                match flash.write(offset, &data) {
                    Ok(()) => {
                        prop_assert!(!crosses && !sets);
                        model[range].iter_mut().for_each(|cell| *cell &= fill);
                    }
                    Err(NorError::CrossesSector { .. }) => prop_assert!(crosses),
                    Err(NorError::WouldSetBits { .. }) => prop_assert!(sets && !crosses),
                    Err(other) => prop_assert!(false, "{other}"),
                }
                prop_assert_eq!(&flash.image()[..model.len()], &model);
            }
        }
    }
}

mod unstable {
    use super::*;

    /// What a sector reads as, over and over: bits that were always 1, and bits that ever were.
    fn readings(flash: &mut NorFlash, offset: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut all, mut any) = (vec![0xFF; SECTOR], vec![0; SECTOR]);
        for _ in 0..40 {
            let mut buf = vec![0; SECTOR];
            flash.read(offset, &mut buf).unwrap();
            all.iter_mut().zip(&buf).for_each(|(a, b)| *a &= b);
            any.iter_mut().zip(&buf).for_each(|(a, b)| *a |= b);
        }
        (all, any)
    }

    fn unsettle(flash: &mut NorFlash, permille: u16, change: impl Fn(&mut NorFlash)) {
        next_change(flash, Verdict::Unsettle { permille, seed: 5 });
        change(flash);
        assert!(!flash.is_powered());
        flash.power_on();
    }

    #[test]
    fn unstable_bits_of_a_write_read_differently_until_they_are_cleared_or_erased() {
        for permille in [10, 300, 700, 990, 999] {
            let mut flash = flash();
            let data = [0x0F; 512];
            unsettle(&mut flash, permille, |f| {
                assert_eq!(f.write(0x1000, &data), Err(NorError::PowerLost));
            });
            let (all, any) = readings(&mut flash, 0x1000);
            let unstable: u32 = all
                .iter()
                .zip(&any)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert!(unstable > 0, "{permille}");
            assert_eq!(unstable == 1, permille == 999, "{permille}: {unstable}");
            let stays = all[..512].iter().all(|byte| byte & 0x0F == 0x0F);
            assert!(stays, "{permille}: bits that no one writes");
            assert_eq!(all[512..], [0xFF; SECTOR - 512][..]);
            flash.write(0x1000, &data).unwrap();
            let (all, any) = readings(&mut flash, 0x1000);
            assert!(all == any && all[..512] == data, "{permille}");
        }
        let mut flash = flash();
        unsettle(&mut flash, 500, |f| {
            let _ = f.write(0x1000, &[0; 256]);
        });
        assert!(flash.unstable_in(0x1ABC).is_some());
        flash.erase(0x1000).unwrap();
        assert!(flash.unstable_in(0x1000).is_none());
        assert_eq!(readings(&mut flash, 0x1000).0, [0xFF; SECTOR]);
    }

    #[test]
    fn an_erase_can_leave_a_sector_that_only_sometimes_reads_as_erased() {
        for permille in [100, 500, 600, 990, 999] {
            let mut flash = flash();
            flash.write(0x3000, &[0xA5; 64]).unwrap();
            unsettle(&mut flash, permille, |f| {
                assert_eq!(f.erase(0x3000), Err(NorError::PowerLost));
            });
            let (all, any) = readings(&mut flash, 0x3000);
            let unstable = all.iter().zip(&any).filter(|(a, b)| a != b).count();
            assert_eq!(unstable > 0, permille != 500, "{permille}");
            assert_eq!(unstable == 1, permille == 999, "{permille}");
        }
    }

    #[test]
    fn a_journal_done_again_gives_the_same_cells() {
        let (mut flash, mut copy) = (flash(), flash());
        flash.start_journal();
        flash.write(0x1000, b"data").unwrap();
        flash.erase(0x1000).unwrap();
        flash.write(0x1010, b"more").unwrap();
        assert!(flash.write(0x1010, &[0xFF; 4]).is_err());
        let journal = flash.take_journal();
        assert_eq!(journal.len(), 3, "what was refused did not happen");
        for change in &journal {
            change.apply(&mut copy).unwrap();
        }
        assert!(flash.image() == copy.image());
    }
}
