//! Power cuts, bad blocks, damaged images.

use airlift_littlefs::{BLOCK_SIZE, DirEntry, DiskVersion, Error, FileSystem, Kind, Storage};

use crate::ram::{Ram, mounted, pattern, read, write};

#[test]
fn a_cut_at_every_operation_leaves_the_old_or_the_new_content() {
    for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
        let mut start = Ram::new(32);
        let geometry = start.geometry();
        FileSystem::format(&mut Storage::new(), &mut start, geometry, version).unwrap();
        let (old, new) = (pattern(6000, 1), pattern(9000, 2));
        mounted(&mut start, |fs| write(fs, "f", &old)).unwrap();
        start.changes = 0;

        let mut whole = start.clone();
        mounted(&mut whole, |fs| write(fs, "f", &new)).unwrap();
        assert!(whole.changes > 5);

        let (mut olds, mut news) = (0, 0);
        for budget in 0..=whole.changes {
            let mut ram = start.clone();
            ram.budget = Some(budget);
            let done = mounted(&mut ram, |fs| write(fs, "f", &new)).is_ok();
            ram.budget = None;
            let found = mounted(&mut ram, |fs| {
                let found = read(fs, "f")?;
                // And it can go on from there.
                write(fs, "after", b"the cut")?;
                Ok(found)
            })
            .unwrap();
            assert!(found == old || found == new, "cut after {budget} changes");
            assert!(!done || found == new, "it was said to be done");
            olds += usize::from(found == old);
            news += usize::from(found == new);
        }
        assert!(olds > 0 && news > 0, "both ends were seen");
    }
}

#[test]
fn a_cut_while_removing_a_tree_is_finished_by_the_next_call() {
    let mut start = Ram::formatted(64);
    mounted(&mut start, |fs| {
        fs.mkdir("t")?;
        fs.mkdir("t/u")?;
        for i in 0..5 {
            write(fs, &format!("t/f{i}"), &pattern(200 * i, 0))?;
            write(fs, &format!("t/u/f{i}"), &pattern(200 * i, 0))?;
        }
        write(fs, "keep", b"keep")
    })
    .unwrap();
    start.changes = 0;
    let mut whole = start.clone();
    mounted(&mut whole, |fs| fs.remove_tree("t")).unwrap();

    for budget in 0..whole.changes {
        let mut ram = start.clone();
        ram.budget = Some(budget);
        let cut = mounted(&mut ram, |fs| fs.remove_tree("t"));
        assert!(cut.is_err());
        ram.budget = None;
        mounted(&mut ram, |fs| {
            match fs.remove_tree("t") {
                Ok(()) | Err(Error::NoEntry) => {}
                Err(other) => return Err(other),
            }
            assert_eq!(fs.stat("t"), Err(Error::NoEntry));
            assert_eq!(read(fs, "keep")?, b"keep");
            fs.make_consistent()?;
            assert_eq!(fs.blocks_used()?, 2, "cut after {budget} changes");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn bad_blocks_are_stepped_over() {
    let mut ram = Ram::formatted(64);
    ram.bad = (2..64).filter(|block| block % 3 == 0).collect();
    let content = pattern(60_000, 5);
    mounted(&mut ram, |fs| write(fs, "f", &content)).unwrap();
    assert_eq!(mounted(&mut ram, |fs| read(fs, "f")).unwrap(), content);
}

#[test]
fn blank_and_zeroed_flash_is_corrupt() {
    for filler in [0xFF, 0x00] {
        let mut ram = Ram::new(16);
        ram.image.fill(filler);
        assert_eq!(mounted(&mut ram, |_| Ok(())), Err(Error::Corrupt));
    }
}

#[test]
fn one_damaged_superblock_is_survived_and_two_are_corrupt() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| write(fs, "f", b"content")).unwrap();
    let damage = |ram: &mut Ram, block: usize| {
        ram.image[block * BLOCK_SIZE as usize..][..64].fill(0xA5);
    };
    for block in 0..2 {
        let mut one = ram.clone();
        damage(&mut one, block);
        // The pair's other half may be older, but it is a file system.
        assert_eq!(mounted(&mut one, |_| Ok(())), Ok(()));
    }
    damage(&mut ram, 0);
    damage(&mut ram, 1);
    assert_eq!(mounted(&mut ram, |_| Ok(())), Err(Error::Corrupt));
}

#[test]
fn a_device_error_is_io() {
    let mut ram = Ram::formatted(16);
    ram.budget = Some(0);
    assert_eq!(mounted(&mut ram, |_| Ok(())), Err(Error::Io));
}

/// Visit everything; only that it ends, without an error of ours, matters.
fn walk(fs: &mut FileSystem<'_, &mut Ram>, folder: &str, depth: usize) -> Result<(), Error> {
    let mut entry = DirEntry::new();
    let mut last: Option<DirEntry> = None;
    for _ in 0..100 {
        if !fs.next_entry(folder, last.as_ref().map(DirEntry::key), &mut entry)? {
            break;
        }
        let path = format!("{folder}/{}", String::from_utf8_lossy(entry.name()));
        match entry.kind() {
            Kind::Folder if depth < 5 => walk(fs, &path, depth + 1)?,
            Kind::Folder => {}
            Kind::File => {
                let mut buf = [0; 512];
                let _damaged = fs.read_at(&path, 0, &mut buf);
                let _damaged = fs.read_at(&path, entry.size().saturating_sub(100), &mut buf);
            }
        }
        last = Some(entry);
    }
    Ok(())
}

/// Whatever is on the flash, every call returns.
#[test]
fn random_damage_never_hangs_or_crashes() {
    let mut start = Ram::formatted(32);
    mounted(&mut start, |fs| {
        for dir in ["a", "a/b", "c"] {
            fs.mkdir(dir)?;
            for i in 0..4 {
                write(fs, &format!("{dir}/f{i}"), &pattern(i * 2000, 0))?;
            }
        }
        Ok(())
    })
    .unwrap();

    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..300 {
        let mut ram = start.clone();
        for _ in 0..=random(8) {
            let at = random(ram.image.len());
            match random(3) {
                0 => ram.image[at] ^= 1 << random(8),
                1 => {
                    let end = (at + random(64)).min(ram.image.len());
                    ram.image[at..end].fill(0xFF);
                }
                _ => {
                    let (from, to) = (random(32), random(32));
                    let block = BLOCK_SIZE as usize;
                    ram.image
                        .copy_within(from * block..(from + 1) * block, to * block);
                }
            }
        }
        let _damaged = mounted(&mut ram, |fs| {
            let _damaged = walk(fs, "", 0);
            let _damaged = write(fs, "new", &pattern(3000, 1));
            let _damaged = fs.remove_tree("a");
            let _damaged = fs.blocks_used();
            Ok(())
        });
    }
}
