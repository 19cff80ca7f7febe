//! The file system: whether it mounts, and what is in the folders of the slots.

use super::Depth;
use super::reader::{Reader, is_limit};
use crate::Error;
use crate::littlefs::{Blocks, DiskVersion, FileTree, Storage};
use crate::read::ReadError;
use airlift_updater::SlotId;
use airlift_wire::Digest;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::Partition;

const SECTOR: u32 = SECTOR_SIZE as u32;
/// Bytes of a superblock up to the number of its blocks (littlefs `SPEC.md`, "Superblock"): revision,
/// tag, "littlefs", tag, version, block size, block count.
const SUPERBLOCK_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"littlefs";
/// Newest version of the structures that is read here.
const NEWEST: u32 = 0x0002_0001;
/// End of the boot sector of FAT.
const FAT_END: [u8; 2] = [0x55, 0xAA];

/// What a littlefs says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub version: u32,
    pub blocks: u32,
}

/// The newer of the two superblocks at the start of a partition.
pub(crate) fn superblock(
    reader: &mut Reader<'_>,
    partition: Partition,
) -> Result<Option<Superblock>, ReadError> {
    let mut found: Option<(u32, Superblock)> = None;
    for block in [0, 1] {
        let bytes: [u8; SUPERBLOCK_LEN] = reader.array(partition.offset + block * SECTOR)?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[8..16] != *MAGIC {
            continue;
        }
        let (revision, it) = (
            word(0),
            Superblock {
                version: word(20),
                blocks: word(28),
            },
        );
        let newer = |(than, _): &(u32, _)| (revision.wrapping_sub(*than) as i32) > 0;
        if found.as_ref().is_none_or(newer) {
            found = Some((revision, it));
        }
    }
    Ok(found.map(|(_, it)| it))
}

/// How the file system is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilesState {
    /// There is no partition for one.
    None,
    /// Not looked at: more would have been read than a quick look may.
    Unchecked,
    /// Erased.
    Erased,
    /// Another file system, or something else.
    Other(&'static str),
    /// A littlefs of a newer version.
    Newer(u32),
    /// A littlefs of another size than its partition.
    OtherSize {
        /// Blocks that it has.
        blocks: u32,
    },
    /// A littlefs that does not mount.
    Damaged,
    /// It mounts.
    Mounted(DiskVersion),
}

/// What is in the folder of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Whether there is one.
    pub there: bool,
    /// Text of `VERSION`.
    pub version: Option<String>,
    /// Digest of its canonical tar; `None` when it was not computed.
    pub digest: Option<Digest>,
    /// Why it cannot be read, or can be no release's.
    pub damage: Option<String>,
}

/// The file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub partition: Option<Partition>,
    pub state: FilesState,
    /// In the order of [`SlotId::ALL`].
    pub folders: [Folder; 3],
    /// Files and folders at the top that are no slot's.
    pub others: Vec<String>,
    /// Blocks in use.
    pub used: Option<u32>,
    /// What cannot be read of what is no slot's.
    pub damage: Option<String>,
}

impl Files {
    pub fn none() -> Self {
        Self {
            partition: None,
            state: FilesState::None,
            folders: Default::default(),
            others: Vec::new(),
            used: None,
            damage: None,
        }
    }

    /// The folder of a slot.
    pub fn folder(&self, slot: SlotId) -> &Folder {
        &self.folders[slot.index()]
    }

    /// Whether it mounts.
    pub fn mounts(&self) -> bool {
        matches!(self.state, FilesState::Mounted(_))
    }

    /// Whether it is of a kind that is not read here, and need not be damaged: other firmware may have
    /// made it, or a newer one.
    pub fn is_foreign(&self) -> bool {
        matches!(
            self.state,
            FilesState::Other(_) | FilesState::Newer(_) | FilesState::OtherSize { .. }
        )
    }
}

/// Looks at the file system. The folders of `wanted` are digested, in this order, for as long as bytes
/// may be read.
pub(crate) fn look(
    reader: &mut Reader<'_>,
    partition: Option<Partition>,
    wanted: &[SlotId],
    depth: Depth,
) -> Result<Files, ReadError> {
    let mut files = Files {
        partition,
        ..Files::none()
    };
    let Some(partition) = partition else {
        return Ok(files);
    };
    let found = superblock(reader, partition)?;
    files.state = match found {
        None => unformatted(reader, partition)?,
        Some(found) if found.version > NEWEST => FilesState::Newer(found.version),
        Some(found) if found.blocks != partition.size / SECTOR => FilesState::OtherSize {
            blocks: found.blocks,
        },
        Some(_) => FilesState::Damaged,
    };
    if files.state != FilesState::Damaged {
        return Ok(files);
    }
    let mut storage = Storage::new();
    let blocks = Blocks::of(reader, partition.offset, partition.size);
    let mut tree = match FileTree::mount(&mut storage, blocks) {
        Ok(tree) => tree,
        Err(error) => {
            if ended(error)?.is_none() {
                files.state = FilesState::Unchecked;
            }
            return Ok(files);
        }
    };
    match inside(&mut tree, &mut files, wanted, depth) {
        Ok(()) => {}
        Err(error) => {
            // Only a limit, or damage that was noted.
            ended(error)?;
        }
    }
    Ok(files)
}

/// `Some` for damage, `None` for a limit.
fn ended(error: Error) -> Result<Option<String>, ReadError> {
    match error {
        Error::Read(error) if is_limit(&error) => Ok(None),
        Error::Read(error) => Err(error),
        other => Ok(Some(other.to_string())),
    }
}

fn unformatted(reader: &mut Reader<'_>, partition: Partition) -> Result<FilesState, ReadError> {
    let head: [u8; 512] = reader.array(partition.offset)?;
    let next: [u8; 64] = reader.array(partition.offset + SECTOR)?;
    let erased = head.iter().chain(&next).all(|byte| *byte == 0xFF);
    Ok(match head {
        _ if erased => FilesState::Erased,
        head if head.ends_with(&FAT_END) => FilesState::Other("a FAT file system"),
        _ => FilesState::Damaged,
    })
}

fn inside(
    tree: &mut FileTree<'_, '_>,
    files: &mut Files,
    wanted: &[SlotId],
    depth: Depth,
) -> Result<(), Error> {
    files.state = FilesState::Mounted(tree.disk_version()?);
    let top = match tree.list("") {
        Ok(top) => top,
        Err(Error::Read(error)) => return Err(Error::Read(error)),
        Err(error) => {
            files.damage = Some(format!("the root folder: {error}"));
            return Ok(());
        }
    };
    for entry in top {
        match SlotId::from_name(&entry.path).filter(|_| entry.is_folder) {
            Some(slot) => files.folders[slot.index()].there = true,
            None => files.others.push(entry.path),
        }
    }
    for slot in SlotId::ALL {
        let folder = &mut files.folders[slot.index()];
        if folder.there {
            folder.version = damaged(&mut folder.damage, tree.version(slot))?.flatten();
        }
    }
    for slot in wanted {
        let folder = &mut files.folders[slot.index()];
        if folder.there && folder.damage.is_none() {
            folder.digest = damaged(&mut folder.damage, tree.digest(*slot))?;
        }
    }
    if depth == Depth::Full {
        files.used = match tree.blocks_used() {
            Ok((used, _)) => Some(used),
            Err(Error::Read(error)) => return Err(Error::Read(error)),
            Err(_) => None,
        };
        for path in files.others.clone() {
            let read = read_all(tree, &path);
            damaged(&mut files.damage, read)?;
        }
    }
    Ok(())
}

/// Notes what is wrong with what was read.
fn damaged<T>(damage: &mut Option<String>, result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Read(error)) => Err(Error::Read(error)),
        Err(error) => {
            *damage = Some(error.to_string());
            Ok(None)
        }
    }
}

/// Reads a file, or all files of a folder.
fn read_all(tree: &mut FileTree<'_, '_>, path: &str) -> Result<(), Error> {
    match tree.walk(path) {
        Ok(entries) => {
            for entry in entries.iter().filter(|entry| !entry.is_folder) {
                tree.read(&entry.path)?;
            }
            Ok(())
        }
        Err(Error::Files(airlift_littlefs::Error::NotDirectory)) => tree.read(path).map(drop),
        Err(error) => Err(error),
    }
}
