//! Files: content, the one open writer, sizes.

use airlift_littlefs::{DiskVersion, Error, FileSystem, Geometry, Kind, Storage};

use crate::ram::{Ram, mounted, pattern, read, write};

#[test]
fn what_was_written_is_there_after_mounting_again() {
    let mut ram = Ram::formatted(64);
    // Empty, inline, one block, several blocks, around the boundaries.
    let sizes = [0, 1, 127, 128, 129, 4095, 4096, 4097, 100_000];
    for (i, &size) in sizes.iter().enumerate() {
        mounted(&mut ram, |fs| {
            write(fs, &format!("f{i}"), &pattern(size, i as u8))
        })
        .unwrap();
    }
    mounted(&mut ram, |fs| {
        for (i, &size) in sizes.iter().enumerate() {
            let name = format!("f{i}");
            assert_eq!(read(fs, &name)?, pattern(size, i as u8), "{size} bytes");
            let metadata = fs.stat(&name)?;
            assert_eq!((metadata.kind, metadata.size), (Kind::File, size as u32));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn reads_may_start_anywhere_and_end_at_the_end() {
    let mut ram = Ram::formatted(32);
    let content = pattern(20_000, 3);
    mounted(&mut ram, |fs| {
        write(fs, "big", &content)?;
        write(fs, "other", b"other")?;
        for offset in [19_990, 0, 4095, 12_288, 5, 19_999, 4096] {
            let mut buf = [0; 100];
            let n = fs.read_at("big", offset as u32, &mut buf)?;
            assert_eq!(n, buf.len().min(content.len() - offset));
            assert_eq!(buf[..n], content[offset..offset + n]);
            // Another file in between takes the cached reader away.
            assert_eq!(fs.read_at("other", 1, &mut buf)?, 4);
        }
        let mut buf = [0; 4];
        for past in [20_000, 20_001, u32::MAX] {
            assert_eq!(fs.read_at("big", past, &mut buf)?, 0);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_file_cut_and_continued_has_the_kept_start_and_the_new_end() {
    let old = pattern(30_000, 1);
    let new = pattern(9_000, 2);
    for len in [0, 1, 100, 128, 129, 4096, 8192, 8191, 29_999, 30_000] {
        let mut ram = Ram::formatted(64);
        mounted(&mut ram, |fs| {
            write(fs, "f", &old)?;
            fs.open_truncated("f", len as u32)?;
            fs.append(&new)?;
            fs.close()
        })
        .unwrap();
        let expected = [&old[..len], &new].concat();
        assert_eq!(
            mounted(&mut ram, |fs| read(fs, "f")).unwrap(),
            expected,
            "cut to {len}"
        );
    }
}

#[test]
fn cutting_past_the_end_is_refused_and_leaves_the_file() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        write(fs, "f", b"five!")?;
        assert_eq!(fs.open_truncated("f", 6), Err(Error::Invalid));
        assert_eq!(fs.append(b"x"), Err(Error::NotOpen));
        assert_eq!(fs.open_truncated("none", 0), Err(Error::NoEntry));
        assert_eq!(read(fs, "f")?, b"five!");
        Ok(())
    })
    .unwrap();
}

#[test]
fn appended_bytes_are_seen_once_synced_and_not_before() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        write(fs, "f", b"old")?;
        fs.create("f")?;
        fs.append(b"new")?;
        assert_eq!(read(fs, "f")?, b"old");
        fs.sync()?;
        assert_eq!(read(fs, "f")?, b"new");
        fs.append(b"er")?;
        assert_eq!(read(fs, "f")?, b"new");
        fs.close()?;
        assert_eq!(read(fs, "f")?, b"newer");
        Ok(())
    })
    .unwrap();
}

#[test]
fn discarding_keeps_what_was_synced() {
    let mut ram = Ram::formatted(32);
    mounted(&mut ram, |fs| {
        fs.create("f")?;
        fs.append(b"kept")?;
        fs.sync()?;
        fs.append(&pattern(10_000, 0))?;
        fs.discard()
    })
    .unwrap();
    assert_eq!(mounted(&mut ram, |fs| read(fs, "f")).unwrap(), b"kept");
}

#[test]
fn dropping_the_file_system_with_a_file_open_is_a_power_cut() {
    let mut ram = Ram::formatted(32);
    let mut storage = Storage::new();
    let geometry = ram.geometry();
    {
        let mut fs = FileSystem::mount(&mut storage, &mut ram, geometry).unwrap();
        fs.create("f").unwrap();
        fs.append(b"synced").unwrap();
        fs.sync().unwrap();
        fs.append(&pattern(10_000, 0)).unwrap();
    }
    // The same memory serves the next mount.
    let mut fs = FileSystem::mount(&mut storage, &mut ram, geometry).unwrap();
    assert_eq!(fs.stat("f").unwrap().size, 6);
}

#[test]
fn one_writer_at_a_time_and_nothing_moves_under_it() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        write(fs, "other", b"other")?;
        assert_eq!(fs.close(), Err(Error::NotOpen));
        assert_eq!(fs.sync(), Err(Error::NotOpen));
        assert_eq!(fs.append(b"x"), Err(Error::NotOpen));
        fs.create("f")?;
        assert_eq!(fs.create("g"), Err(Error::AlreadyOpen));
        assert_eq!(fs.open_truncated("other", 0), Err(Error::AlreadyOpen));
        assert_eq!(fs.remove("other"), Err(Error::AlreadyOpen));
        assert_eq!(fs.remove_tree("other"), Err(Error::AlreadyOpen));
        assert_eq!(fs.rename("other", "o"), Err(Error::AlreadyOpen));
        // Looking and making folders is fine.
        fs.mkdir("d")?;
        assert_eq!(read(fs, "other")?, b"other");
        fs.append(b"still here")?;
        fs.close()?;
        assert_eq!(read(fs, "f")?, b"still here");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_full_file_system_says_so_and_keeps_what_was_there() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        write(fs, "small", b"small")?;
        assert_eq!(
            write(fs, "huge", &pattern(16 * 4096, 0)),
            Err(Error::NoSpace)
        );
        // The error was repeated by close, and the writer is free again.
        assert_eq!(fs.close(), Err(Error::NotOpen));
        assert_eq!(fs.stat("huge")?.size, 0);
        assert_eq!(read(fs, "small")?, b"small");
        fs.remove("huge")?;
        write(fs, "fits", &pattern(8 * 4096, 0))
    })
    .unwrap();
    assert_eq!(
        mounted(&mut ram, |fs| read(fs, "fits")).unwrap(),
        pattern(8 * 4096, 0)
    );
}

#[test]
fn used_blocks_grow_with_files_and_folders_and_shrink_again() {
    let mut ram = Ram::formatted(32);
    mounted(&mut ram, |fs| {
        assert_eq!((fs.blocks_used()?, fs.block_count()), (2, 32));
        write(fs, "tiny", &pattern(100, 0))?;
        assert_eq!(
            fs.blocks_used()?,
            2,
            "a file this small lives in its folder"
        );
        write(fs, "big", &pattern(3 * 4096, 0))?;
        assert_eq!(
            fs.blocks_used()?,
            6,
            "pointers between blocks cost a fourth"
        );
        fs.mkdir("folder")?;
        assert_eq!(fs.blocks_used()?, 8);
        fs.remove("big")?;
        fs.remove("folder")?;
        assert_eq!(fs.blocks_used()?, 2);
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_disk_version_found_is_the_one_kept() {
    for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
        let mut ram = Ram::new(16);
        let geometry = ram.geometry();
        FileSystem::format(&mut Storage::new(), &mut ram, geometry, version).unwrap();
        for round in 0..3 {
            let found = mounted(&mut ram, |fs| {
                write(fs, &format!("f{round}"), &pattern(5000, 0))?;
                Ok(fs.disk_version())
            });
            assert_eq!(found, Ok(version), "round {round}");
        }
    }
}

#[test]
fn a_file_system_of_another_size_is_unsupported() {
    let mut ram = Ram::formatted(16);
    for (block_count, expected) in [
        (15, Error::Unsupported),
        (17, Error::Unsupported),
        (0, Error::Invalid),
        (1, Error::Invalid),
        (u32::MAX, Error::Invalid),
    ] {
        let geometry = Geometry { block_count };
        let found = FileSystem::mount(&mut Storage::new(), &mut ram, geometry).err();
        assert_eq!(found, Some(expected), "{block_count} blocks");
    }
}
