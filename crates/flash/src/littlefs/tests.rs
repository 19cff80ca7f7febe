use super::*;
use crate::{Error, ReadError, ReadFlash};
use airlift_littlefs::Error as FsError;
use airlift_updater::SlotId;
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

const SIZE: u32 = 64 * 4096;
/// The partition is somewhere in a flash.
const BASE: u32 = 0x3000;

/// Flash that counts what is read of it, and is gone after so many bytes.
struct Counted {
    bytes: Vec<u8>,
    read: Rc<Cell<u32>>,
    left: u32,
}

impl ReadFlash for Counted {
    fn size(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        let len = out.len() as u32;
        self.read.set(self.read.get() + len);
        match self.left.checked_sub(len) {
            Some(left) => self.left = left,
            None => return Err(ReadError::Link("gone".into())),
        }
        (&self.bytes[..]).read(offset, out)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        (&self.bytes[..]).md5(offset, len)
    }
}

fn slots() -> [&'static str; 3] {
    ["factory", "ota_0", "ota_1"]
}

/// The tar of a folder with one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let files = [(name.to_owned(), content.to_vec())];
    let files = airlift_release::files::FilesInput::from_iter(files);
    let key = airlift_release::SigningKey::from_seed(&[3; 32]);
    let mut options = airlift_release::PackOptions::new("littlefs-test", 1, &key);
    options.version = Some("1");
    options.files = Some(files);
    let release = airlift_release::pack(options).unwrap().release;
    release.files().unwrap().bytes().to_vec()
}

/// A flash with a file system in which two slots have files, and the user some.
fn flash(version: DiskVersion) -> Vec<u8> {
    let blocks = format(Blocks::erased(SIZE), version, &slots()).unwrap();
    let mut storage = Storage::new();
    let mut tree = FileTree::mount(&mut storage, blocks).unwrap();
    let one = tar("main.py", &[b'1'; 10_000]);
    tree.install(SlotId::Ota0, Some(&one), "1.0.0").unwrap();
    tree.install(SlotId::Ota1, Some(&tar("a/b/x", b"x")), "2.0.0")
        .unwrap();
    tree.write("user/settings.json", b"{\"a\": 1}").unwrap();
    let mut flash = vec![0x77; (BASE + SIZE) as usize];
    for segment in tree.in_use(BASE).unwrap() {
        let at = segment.offset() as usize;
        flash[at..][..segment.bytes().len()].copy_from_slice(segment.bytes());
    }
    flash
}

/// Mounts the file system of a flash and looks.
fn on<T>(
    mut flash: &[u8],
    look: impl FnOnce(&mut FileTree<'_, '_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut storage = Storage::new();
    let blocks = Blocks::of(&mut flash, BASE, SIZE);
    look(&mut FileTree::mount(&mut storage, blocks)?)
}

fn paths(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &entry.path[..]).collect()
}

#[test]
fn what_was_written_is_read_where_it_is() {
    for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
        let flash = flash(version);
        on(&flash, |tree| {
            assert_eq!(tree.disk_version()?, version);
            let all = tree.walk("")?;
            let expected = [
                "factory",
                "ota_0",
                "ota_0/VERSION",
                "ota_0/main.py",
                "ota_1",
                "ota_1/VERSION",
                "ota_1/a",
                "ota_1/a/b",
                "ota_1/a/b/x",
                "user",
                "user/settings.json",
            ];
            assert_eq!(paths(&all), expected);
            assert_eq!(all[3].size, 10_000);
            assert_eq!(paths(&tree.list("/user/")?), ["user/settings.json"]);
            assert_eq!(tree.read("user/settings.json")?, b"{\"a\": 1}");
            assert_eq!(tree.version(SlotId::Ota1)?.as_deref(), Some("2.0.0"));
            assert_eq!(tree.version(SlotId::Factory)?, None);
            let part = airlift_wire::Digest::of(&tar("a/b/x", b"x"));
            assert_eq!(tree.digest(SlotId::Ota1)?, part);
            let (used, blocks) = tree.blocks_used()?;
            assert!(
                (10..20).contains(&used) && blocks == 64,
                "{used} of {blocks}"
            );
            assert!(tree.changed(BASE)?.is_empty(), "looking changes nothing");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_slot_is_replaced_and_the_rest_stays() {
    for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
        let mut flash = flash(version);
        let two = tar("new.py", &[b'2'; 9000]);
        let changed = on(&flash, |tree| {
            tree.install(SlotId::Ota0, Some(&two), "3.0.0")?;
            tree.changed(BASE)
        })
        .unwrap();
        for segment in changed {
            assert!(segment.offset() >= BASE && segment.end() <= BASE + SIZE);
            let at = segment.offset() as usize;
            flash[at..][..segment.bytes().len()].copy_from_slice(segment.bytes());
        }
        on(&flash, |tree| {
            assert_eq!(tree.disk_version()?, version);
            assert_eq!(
                paths(&tree.list("ota_0")?),
                ["ota_0/VERSION", "ota_0/new.py"]
            );
            assert_eq!(tree.digest(SlotId::Ota0)?, airlift_wire::Digest::of(&two));
            assert_eq!(tree.version(SlotId::Ota1)?.as_deref(), Some("2.0.0"));
            assert_eq!(tree.read("user/settings.json")?, b"{\"a\": 1}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_file_system_is_copied_from_where_it_is() {
    let from = flash(DiskVersion::V2_0);
    let segments = on(&from, |tree| tree.in_use(BASE)).unwrap();
    let mut to = vec![0; from.len()];
    for segment in &segments {
        let at = segment.offset() as usize;
        to[at..][..segment.bytes().len()].copy_from_slice(segment.bytes());
    }
    let both = [&from, &to].map(|flash| on(flash, |tree| tree.digest(SlotId::Ota0)).unwrap());
    assert_eq!(both[0], both[1]);
    let content = on(&to, |tree| tree.read("user/settings.json")).unwrap();
    assert_eq!(content, b"{\"a\": 1}");
}

#[test]
fn little_is_read_to_see_what_is_there() {
    let read = Rc::new(Cell::new(0));
    let mut flash = Counted {
        bytes: flash(DiskVersion::V2_0),
        read: Rc::clone(&read),
        left: u32::MAX,
    };
    let mut storage = Storage::new();
    let blocks = Blocks::of(&mut flash, BASE, SIZE);
    let mut tree = FileTree::mount(&mut storage, blocks).unwrap();
    let mounted = read.get();
    // Of each block of metadata, two a folder and two for the root, 1 KiB.
    assert_eq!(mounted, 2 * 7 * 1024, "to mount");
    tree.walk("").unwrap();
    tree.version(SlotId::Ota0).unwrap();
    let walked = read.get();
    assert!(walked <= 20 << 10, "{walked} bytes to list everything");
    tree.walk("").unwrap();
    assert_eq!(read.get(), walked, "what was read once is known");
}

#[test]
fn a_link_that_breaks_is_no_damage() {
    let bytes = flash(DiskVersion::V2_0);
    for left in [0, 1024, 6000, 20_000] {
        let mut flash = Counted {
            bytes: bytes.clone(),
            read: Rc::default(),
            left,
        };
        let mut storage = Storage::new();
        let blocks = Blocks::of(&mut flash, BASE, SIZE);
        let found = FileTree::mount(&mut storage, blocks).and_then(|mut tree| {
            tree.walk("")?;
            tree.digest(SlotId::Ota0)
        });
        assert!(matches!(found, Err(Error::Read(_))), "{left}: {found:?}");
    }
}

#[test]
fn no_file_system_and_one_of_another_size_do_not_mount() {
    let erased = vec![0xFF; (BASE + SIZE) as usize];
    let error = on(&erased, |tree| tree.walk("")).unwrap_err();
    assert!(matches!(error, Error::Files(FsError::Corrupt)), "{error}");
    let flash = flash(DiskVersion::V2_0);
    let mut bytes: &[u8] = &flash;
    let mut storage = Storage::new();
    let smaller = Blocks::of(&mut bytes, BASE, SIZE / 2);
    let error = FileTree::mount(&mut storage, smaller).err().unwrap();
    assert!(
        matches!(error, Error::Files(FsError::Unsupported)),
        "{error}"
    );
    let mut bytes: &[u8] = &flash[..BASE as usize + 5000];
    let mut storage = Storage::new();
    let outside = Blocks::of(&mut bytes, BASE, SIZE);
    let mounted = FileTree::mount(&mut storage, outside);
    assert!(mounted.and_then(|mut tree| tree.walk("")).is_err());
}

#[test]
fn files_that_do_not_fit_leave_the_flash_alone() {
    let flash = flash(DiskVersion::V2_0);
    let large = tar("large", &vec![1; 60 * 4096]);
    let error = on(&flash, |tree| tree.install(SlotId::Ota0, Some(&large), "9"));
    assert_eq!(error.unwrap_err().code().as_str(), "too_big");
}

/// Makes the folder `name` in the root contain the root; checksums are right.
fn make_circle(flash: &mut [u8], name: &[u8]) {
    for block in [0, 1] {
        let block = &mut flash[(BASE + block * 4096) as usize..][..4096];
        let mut crc = crc32(u32::MAX, &block[..4]);
        let (mut at, mut previous, mut is_named) = (4, u32::MAX, false);
        loop {
            let stored: [u8; 4] = *block[at..].first_chunk().unwrap();
            let tag = u32::from_be_bytes(stored) ^ previous;
            if tag >> 31 == 1 {
                break;
            }
            crc = crc32(crc, &stored);
            previous = tag;
            let len = match tag & 0x3FF {
                0x3FF => 0,
                len => len as usize,
            };
            let content = at + 4..at + 4 + len;
            let kind = tag >> 20 & 0x7FF;
            if kind & 0x780 == 0x500 {
                block[content.start..][..4].copy_from_slice(&crc.to_le_bytes());
                previous ^= (kind & 1) << 31;
                crc = u32::MAX;
            } else {
                // A name, then the pair of blocks of the folder that it names.
                if kind == 0x200 && is_named {
                    block[content.clone()].copy_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
                }
                is_named = block[content.clone()] == *name;
                crc = crc32(crc, &block[content.clone()]);
            }
            at = content.end;
        }
    }
}

/// littlefs' CRC-32 (`lfs_util.c`).
fn crc32(mut crc: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    crc
}

#[test]
fn a_folder_that_contains_itself_comes_to_an_end() {
    let mut flash = flash(DiskVersion::V2_0);
    make_circle(&mut flash, b"factory");
    make_circle(&mut flash, b"user");
    on(&flash, |tree| {
        let inside = tree.list("factory/user/factory")?;
        assert_eq!(paths(&inside).len(), 4, "it is its own grandchild");
        assert!(tree.walk("").is_err());
        assert!(tree.digest(SlotId::Factory).is_err());
        Ok(())
    })
    .unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_damage_is_an_error_or_none(
        changes in proptest::collection::vec((0..14 * 4096usize, any::<u8>()), 1..40),
        from_start in any::<bool>(),
    ) {
        let mut flash = flash(DiskVersion::V2_1);
        for (at, byte) in changes {
            // Metadata is at the start of blocks.
            let at = if from_start { at / 4096 * 4096 + at % 256 } else { at };
            flash[BASE as usize + at] = byte;
        }
        let _ = on(&flash, |tree| {
            for entry in tree.walk("")? {
                if !entry.is_folder {
                    let _ = tree.read(&entry.path);
                }
            }
            let _ = tree.digest(SlotId::Ota0);
            let _ = tree.version(SlotId::Ota1);
            let _ = tree.install(SlotId::Ota0, Some(&tar("n", b"n")), "4");
            tree.in_use(BASE)
        });
    }
}
