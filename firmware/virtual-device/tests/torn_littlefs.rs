//! littlefs on NOR flash whose power goes before, in and after every erase and write.

use airlift_littlefs::{
    BlockDevice, DirEntry, DiskVersion, Error, FileSystem, Geometry, IoError, Storage, settle,
};
use airlift_virtual_device::nor::{AtChange, NorError, NorFlash, SharedNor, Verdict};

const GEOMETRY: Geometry = Geometry { block_count: 64 };

struct Partition(SharedNor);

fn io_error(error: NorError) -> IoError {
    match error {
        // What a torn write left in cells that a 2.0 file system takes for erased: on a chip the bits
        // would not take, littlefs would see that and go elsewhere.
        NorError::WouldSetBits { .. } => IoError::BadBlock,
        _ => IoError::Device,
    }
}

impl BlockDevice for Partition {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        self.0.read(offset, buf).map_err(io_error)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        self.0.write(offset, data).map_err(io_error)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        self.0.erase(offset).map_err(io_error)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

type Fs<'a> = FileSystem<'a, Partition>;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8 ^ seed).collect()
}

fn write(fs: &mut Fs<'_>, path: &str, content: &[u8]) -> Result<(), Error> {
    fs.create(path)?;
    for piece in content.chunks(1000) {
        fs.append(piece)?;
    }
    fs.close()
}

fn read(fs: &mut Fs<'_>, path: &str) -> Result<Vec<u8>, Error> {
    let mut content = vec![0; fs.stat(path)?.size as usize];
    let len = fs.read_at(path, 0, &mut content)?;
    assert_eq!(len, content.len());
    Ok(content)
}

/// What an update does to a folder: replace, add, move, remove.
fn update(fs: &mut Fs<'_>, content: &[u8]) -> Result<(), Error> {
    write(fs, "main.py", content)?;
    fs.mkdir("lib")?;
    write(fs, "lib/new.py", b"new")?;
    fs.rename("lib/new.py", "moved.py")?;
    fs.remove_tree("lib")?;
    fs.remove("moved.py")
}

/// After the cut: old or new, nothing else there that was not asked for, and fit for work.
fn check(nor: &SharedNor, old: &[u8], new: &[u8]) -> Result<(), Error> {
    let mut storage = Storage::new();
    settle(&mut Partition(nor.clone()), GEOMETRY, &mut [0; 4096])?;
    let mut fs = FileSystem::mount(&mut storage, Partition(nor.clone()), GEOMETRY)?;
    let found = read(&mut fs, "main.py")?;
    assert!(found == old || found == new);

    let mut entry = DirEntry::new();
    let mut last: Option<DirEntry> = None;
    while fs.next_entry("", last.as_ref().map(DirEntry::key), &mut entry)? {
        assert!(
            [&b"lib/"[..], b"main.py", b"moved.py"].contains(&entry.key()),
            "{entry:?}"
        );
        last = Some(entry);
    }
    for leftover in ["lib", "moved.py"] {
        match fs.remove_tree(leftover) {
            Ok(()) | Err(Error::NoEntry) => {}
            Err(other) => return Err(other),
        }
    }
    for i in 0..8 {
        write(&mut fs, &format!("f{i}"), &pattern(3000, i))?;
    }
    update(&mut fs, old)?;
    for i in 0..8 {
        assert_eq!(read(&mut fs, &format!("f{i}"))?, pattern(3000, i));
    }
    Ok(())
}

#[test]
fn a_file_system_survives_a_torn_operation_anywhere() {
    let (old, new) = (pattern(6000, 1), pattern(9000, 2));
    for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
        let mut storage = Storage::new();
        let nor = SharedNor::new(NorFlash::blank(NorFlash::SIZE_MIN).unwrap());
        FileSystem::format(&mut storage, &mut Partition(nor.clone()), GEOMETRY, version).unwrap();
        let mut fs = FileSystem::mount(&mut storage, Partition(nor.clone()), GEOMETRY).unwrap();
        write(&mut fs, "main.py", &old).unwrap();
        let start = nor.snapshot();

        nor.lock().reset_counters();
        update(&mut fs, &new).unwrap();
        let changes = nor.counters().changes();
        assert!(changes > 20, "{changes}");

        for change in 0..changes {
            let verdicts = [
                Verdict::CutBefore,
                Verdict::Tear {
                    permille: 200,
                    seed: change,
                },
                Verdict::Tear {
                    permille: 800,
                    seed: change,
                },
                Verdict::Unsettle {
                    permille: 500,
                    seed: change,
                },
                Verdict::Unsettle {
                    permille: 999,
                    seed: change,
                },
                Verdict::CutAfter,
            ];
            for verdict in verdicts {
                let nor = SharedNor::new(NorFlash::from_image(start.clone()).unwrap());
                nor.set_hook(AtChange::new(change, verdict));
                let mut fs =
                    FileSystem::mount(&mut storage, Partition(nor.clone()), GEOMETRY).unwrap();
                assert_eq!(update(&mut fs, &new), Err(Error::Io), "the cut was reached");
                nor.power_on();
                let checked = check(&nor, &old, &new);
                assert_eq!(checked, Ok(()), "{version:?}, change {change}, {verdict:?}");
            }
        }
    }
}
