//! The file system of a plan: one folder changed, or all made anew with the files that can be read.

use super::target::Folder;
use crate::Error;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::files::FilesState;
use crate::littlefs::{Blocks, DiskVersion, FileTree, Storage, format};
use crate::read::ReadFlash;
use crate::write::Segment;
use airlift_updater::SlotId;
use airlift_wire::partition::Partition;

/// Most losses that are named one by one.
const MAX_NAMED: usize = 8;

/// Puts files into the folder of a slot of the file system that is there.
pub(super) fn change(
    flash: &mut dyn ReadFlash,
    vfs: Partition,
    slot: SlotId,
    folder: &Folder,
) -> Result<Vec<Segment>, Error> {
    let Folder::Write { tar, version } = folder else {
        return Ok(Vec::new());
    };
    let mut storage = Storage::new();
    let blocks = Blocks::of(flash, vfs.offset, vfs.size);
    let mut tree = FileTree::mount(&mut storage, blocks)?;
    tree.install(slot, tar.as_deref(), version)?;
    // What cannot be read back in memory would not be read back on the board either.
    tree.blocks_used()?;
    tree.changed(vfs.offset)
}

/// A file system that was made anew.
pub(super) struct Made {
    pub segments: Vec<Segment>,
    pub losses: Vec<String>,
}

/// Makes a file system anew. `folders` says what the slots get; what is no slot's is taken over as far
/// as it can be read.
pub(super) fn make(
    flash: &mut dyn ReadFlash,
    vfs: Partition,
    facts: &Facts,
    folders: &[(SlotId, Folder)],
) -> Result<Made, Error> {
    let version = match facts.files.state {
        FilesState::Mounted(version) => version,
        _ => DiskVersion::V2_0,
    };
    let names: Vec<_> = folders.iter().map(|(slot, _)| slot.name()).collect();
    let mut storage = Storage::new();
    let blocks = format(Blocks::erased(vfs.size), version, &names)?;
    let mut new = FileTree::mount(&mut storage, blocks)?;
    let mut losses = Vec::new();
    if facts.files.mounts() {
        let mut storage = Storage::new();
        let blocks = Blocks::of(flash, vfs.offset, vfs.size);
        let mut old = FileTree::mount(&mut storage, blocks)?;
        let kept = folders.iter().filter(|(_, folder)| *folder == Folder::Keep);
        let kept = kept.map(|(slot, _)| slot.name().to_owned());
        let paths: Vec<_> = facts.files.others.iter().cloned().chain(kept).collect();
        for path in paths {
            copy(&mut old, &mut new, &path, &mut losses)?;
        }
        if facts.files.damage.is_some() && facts.files.others.is_empty() {
            losses.push("Files that are no release's, if there were any.".to_owned());
        }
    } else if !matches!(facts.files.state, FilesState::Erased | FilesState::None) {
        losses.push("All files that are no release's: the file system cannot be read.".to_owned());
    }
    for (slot, folder) in folders {
        if let Folder::Write { tar, version } = folder {
            new.install(*slot, tar.as_deref(), version)?;
        }
    }
    if losses.len() > MAX_NAMED {
        let more = losses.len() - MAX_NAMED;
        losses.truncate(MAX_NAMED);
        losses.push(format!("{more} more files that cannot be read."));
    }
    let segments = new.in_use(vfs.offset)?;
    Ok(Made { segments, losses })
}

/// Takes over a file, or a folder and all that is in it.
fn copy(
    old: &mut FileTree<'_, '_>,
    new: &mut FileTree<'_, '_>,
    path: &str,
    losses: &mut Vec<String>,
) -> Result<(), Error> {
    let entries = match old.walk(path) {
        Ok(entries) => {
            new.make_folder(path)?;
            entries
        }
        Err(Error::Files(airlift_littlefs::Error::NotDirectory)) => {
            return copy_file(old, new, path, losses);
        }
        Err(Error::Read(error)) => return Err(Error::Read(error)),
        Err(_) => {
            losses.push(format!("The folder {path}: it cannot be read."));
            return Ok(());
        }
    };
    for entry in entries {
        if entry.is_folder {
            new.make_folder(&entry.path)?;
        } else {
            copy_file(old, new, &entry.path, losses)?;
        }
    }
    Ok(())
}

fn copy_file(
    old: &mut FileTree<'_, '_>,
    new: &mut FileTree<'_, '_>,
    path: &str,
    losses: &mut Vec<String>,
) -> Result<(), Error> {
    match old.read(path) {
        Ok(content) => new.write(path, &content),
        Err(Error::Read(error)) => Err(Error::Read(error)),
        Err(_) => {
            losses.push(format!("The file {path}: it cannot be read."));
            Ok(())
        }
    }
}
