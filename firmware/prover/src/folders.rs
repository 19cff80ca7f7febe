//! Files and folders as they stand in a snapshot, read without the code that a device reads them with.

use crate::snapshot::Snapshot;
use airlift_littlefs::{
    BlockDevice, DirEntry, Error, FileSystem, Geometry, IoError, Kind, Storage,
};
use airlift_wire::partition::Partition;
use std::collections::BTreeMap;

/// Absolute paths, those of folders with a `/` at the end, and what is in the files.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// Reads a snapshot and refuses everything else.
struct ReadOnly<'s> {
    snapshot: &'s Snapshot,
    base: u32,
}

impl BlockDevice for ReadOnly<'_> {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        self.snapshot.read(self.base + offset, buf);
        Ok(())
    }

    fn program(&mut self, _: u32, _: &[u8]) -> Result<(), IoError> {
        Err(IoError::Device)
    }

    fn erase(&mut self, _: u32) -> Result<(), IoError> {
        Err(IoError::Device)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Everything in the file system of a partition.
///
/// # Errors
/// Those of littlefs: it does not mount, or is damaged.
pub fn read(snapshot: &Snapshot, vfs: Partition) -> Result<Tree, Error> {
    let mut storage = Storage::new();
    let device = ReadOnly {
        snapshot,
        base: vfs.offset,
    };
    let geometry = Geometry {
        block_count: vfs.size / 4096,
    };
    let mut fs = FileSystem::mount(&mut storage, device, geometry)?;
    let mut tree = Tree::new();
    let mut folders = vec![String::from("/")];
    while let Some(folder) = folders.pop() {
        let mut entry = DirEntry::new();
        let mut after: Option<Vec<u8>> = None;
        while fs.next_entry(&folder, after.as_deref(), &mut entry)? {
            after = Some(entry.key().to_vec());
            let name = String::from_utf8_lossy(entry.key());
            let path = format!("{folder}{name}");
            let mut content = vec![0; entry.size() as usize];
            match entry.kind() {
                Kind::Folder => folders.push(path.clone()),
                Kind::File => {
                    let len = fs.read_at(&path, 0, &mut content)?;
                    content.truncate(len);
                }
            }
            tree.insert(path, content);
        }
    }
    Ok(tree)
}

/// What is below a folder such as `/ota_0/`, with paths from there on.
pub fn below<'t>(tree: &'t Tree, folder: &str) -> impl Iterator<Item = (&'t str, &'t [u8])> {
    tree.iter().filter_map(move |(path, content)| {
        let path = path.strip_prefix(folder).filter(|path| !path.is_empty())?;
        Some((path, content.as_slice()))
    })
}
