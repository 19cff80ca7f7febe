//! Reading a tar that another program wrote: v7, ustar, GNU, pax.
//!
//! Every block is read once, in order, and each entry's length comes from its own header alone, so
//! that no two readers can see different files in it.

use super::Files;
use super::tree::{Tree, components, too_big};
use crate::error::EntryProblem;
use crate::{Error, FileKind};
use airlift_wire::limits::MAX_PART_SIZE;
use airlift_wire::tar::BLOCK;
use bytes::Bytes;
use tar::{EntryType, Header};

/// Largest tar that is read, in bytes: more than a part may have, since caches are left out.
pub const MAX_FOREIGN_TAR: u64 = 4 * MAX_PART_SIZE as u64;
/// Longest content of an extended header.
const MAX_EXTENDED: u64 = 64 * 1024;

/// Rewrites a tar as a canonical one.
pub fn from_tar(bytes: &Bytes) -> Result<Files, Error> {
    if bytes.len() as u64 > MAX_FOREIGN_TAR {
        let len = bytes.len() as u64;
        return Err(Error::too_many_bytes("the tar", len, MAX_FOREIGN_TAR));
    }
    match FileKind::of(bytes) {
        FileKind::Tar => {}
        // Tars from before ustar have no magic; their checksum tells.
        FileKind::Unknown if bytes.first_chunk().is_some_and(has_right_checksum) => {}
        other => return Err(Error::NotATar(other)),
    }
    let mut tree = Tree::default();
    let mut next = Extended::default();
    let mut at = 0;
    loop {
        let Some(block) = bytes[at..].first_chunk::<BLOCK>() else {
            return Err(Error::entry("end of the tar", EntryProblem::Truncated));
        };
        if block.iter().all(|b| *b == 0) {
            break;
        }
        let header = Header::from_byte_slice(block);
        let found = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let refuse = |problem| Error::entry(&*found, problem);
        if !has_right_checksum(block) {
            return Err(refuse(EntryProblem::Header));
        }
        let kind = header.entry_type();
        let size = header
            .entry_size()
            .map_err(|_| refuse(EntryProblem::Header))?;
        let has_data = !matches!(
            kind,
            EntryType::Link | EntryType::Symlink | EntryType::Directory
        );
        let content = if has_data {
            content(bytes, at + BLOCK, size).ok_or_else(|| refuse(EntryProblem::Truncated))?
        } else {
            Bytes::new()
        };
        at += BLOCK + content.len().next_multiple_of(BLOCK);
        if extends(kind) {
            if size > MAX_EXTENDED {
                return Err(refuse(EntryProblem::Header));
            }
            next.add(kind, &content).map_err(refuse)?;
            continue;
        }
        let extended = std::mem::take(&mut next);
        let path = extended
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let path = String::from_utf8(path).map_err(|_| refuse(EntryProblem::NotUtf8))?;
        let refuse = |problem| Error::entry(&*path, problem);
        if extended.size.is_some_and(|other| other != size) {
            return Err(refuse(EntryProblem::ExtendedSize));
        }
        let names = components(&path)?;
        // Before ustar a folder was a file whose name ends in a slash.
        let is_folder = kind.is_dir() || (kind.is_file() && path.ends_with('/'));
        if tree.skips(&names, is_folder) {
            continue;
        }
        match kind {
            _ if extended.sparse => return Err(refuse(EntryProblem::Sparse)),
            _ if is_folder && size != 0 => return Err(refuse(EntryProblem::Header)),
            _ if is_folder => tree.folder(&names, &path)?,
            EntryType::Regular | EntryType::Continuous if size > tree.room() => {
                return Err(too_big(size));
            }
            EntryType::Regular | EntryType::Continuous => tree.file(&names, &path, content)?,
            EntryType::Symlink => return Err(refuse(EntryProblem::Symlink)),
            EntryType::Link => return Err(refuse(EntryProblem::HardLink)),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                return Err(refuse(EntryProblem::Special));
            }
            EntryType::GNUSparse => return Err(refuse(EntryProblem::Sparse)),
            _ => return Err(refuse(EntryProblem::UnknownKind)),
        }
    }
    if next != Extended::default() {
        return Err(Error::entry("end of the tar", EntryProblem::Header));
    }
    // Two tars one after the other, or something hidden: other readers would see more files.
    if bytes[at..].iter().any(|b| *b != 0) {
        return Err(Error::entry("end of the tar", EntryProblem::BytesAfterEnd));
    }
    tree.finish()
}

fn content(bytes: &Bytes, start: usize, size: u64) -> Option<Bytes> {
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    // The last block must be whole too.
    let padded = end.checked_next_multiple_of(BLOCK)?;
    (padded <= bytes.len()).then(|| bytes.slice(start..end))
}

fn has_right_checksum(block: &[u8; BLOCK]) -> bool {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, b)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*b)
            }
        })
        .sum();
    Header::from_byte_slice(block)
        .cksum()
        .is_ok_and(|found| found == sum)
}

fn extends(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink
    )
}

/// What extended headers say of the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extended {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Extended {
    fn add(&mut self, kind: EntryType, content: &[u8]) -> Result<(), EntryProblem> {
        match kind {
            EntryType::GNULongName => {
                let end = content
                    .iter()
                    .position(|b| *b == 0)
                    .unwrap_or(content.len());
                self.set_path(&content[..end])
            }
            // The entry that follows is a link and will be refused as one.
            EntryType::GNULongLink => Ok(()),
            EntryType::XGlobalHeader => {
                let mut global = Self::default();
                global.read_pax(content)?;
                // Times and comments for all entries are fine; names and sizes for all are not.
                if global == Self::default() {
                    Ok(())
                } else {
                    Err(EntryProblem::Header)
                }
            }
            _ => self.read_pax(content),
        }
    }

    fn set_path(&mut self, path: &[u8]) -> Result<(), EntryProblem> {
        match &self.path {
            Some(other) if other != path => Err(EntryProblem::Header),
            _ => {
                self.path = Some(path.to_vec());
                Ok(())
            }
        }
    }

    /// Records `LENGTH KEY=VALUE\n`, the length counting itself (POSIX.1-2001, pax).
    fn read_pax(&mut self, mut rest: &[u8]) -> Result<(), EntryProblem> {
        while !rest.is_empty() {
            let (record, after) = pax_record(rest).ok_or(EntryProblem::Header)?;
            rest = after;
            let equals = record
                .iter()
                .position(|b| *b == b'=')
                .ok_or(EntryProblem::Header)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.set_path(value)?,
                b"size" => {
                    let text = std::str::from_utf8(value).map_err(|_| EntryProblem::Header)?;
                    self.size = Some(text.parse().map_err(|_| EntryProblem::Header)?);
                }
                _ if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => {
                    self.sparse = true;
                }
                // Times, owners, extended attributes: a canonical tar has none.
                _ => {}
            }
        }
        Ok(())
    }
}

fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(8).position(|b| *b == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}
