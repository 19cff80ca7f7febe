//! The file that what is overwritten is saved in.
//!
//! ```text
//! airlift flash backup 1
//! chip: esp32c3
//! mac: 7c:df:a1:00:00:01        (left out when it is not known)
//! flash: 4194304
//! time: 1795400000              (Unix seconds)
//! before: Repair: point otadata at ota_0
//! segment: 36864 8192           (offset and length, bytes; in order, whole sectors)
//!                               (an empty line)
//! …                             (the bytes of the segments, one after the other)
//! …                             (32 bytes: SHA-256 of everything before)
//! ```
//!
//! Lines end with a line feed. The file may hold keys and passwords: only its owner may read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use airlift_flash::Segment;
use airlift_release::write::sync_dir;
use sha2::{Digest as _, Sha256};

use crate::board::Board;
use crate::error::Error;

const TITLE: &str = "airlift flash backup 1";
/// Bytes of the SHA-256 at the end.
const DIGEST: usize = 32;
/// Longest file that is read: the largest flash that a board has, and a head.
const MAX_FILE: u64 = 257 * 1024 * 1024;
/// Longest head: a line for every second sector of that.
const MAX_HEAD: usize = 1024 * 1024;

/// What a board's flash held before it was overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Chip, such as `esp32c3`.
    pub chip: String,
    /// Address of the board.
    pub mac: Option<String>,
    /// Bytes of flash that the board has.
    pub flash_size: u32,
    /// When it was taken, Unix seconds.
    pub time: u64,
    /// Before what it was taken, one line.
    pub summary: String,
    /// Bytes of sectors in a row, by their offset.
    ranges: BTreeMap<u32, Vec<u8>>,
}

impl Backup {
    pub(crate) fn new(board: &Board, time: u64, summary: &str) -> Self {
        Self {
            chip: board.chip.clone(),
            mac: board.mac.clone(),
            flash_size: board.flash_size,
            time,
            summary: summary.replace(['\n', '\r'], " "),
            ranges: BTreeMap::new(),
        }
    }

    /// Reads a backup, and checks that it is what was written.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::BadBackup`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |error| Error::io(path, &error);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        let mut file = file.take(MAX_FILE);
        file.read_to_end(&mut bytes).map_err(io)?;
        Self::parse(&bytes).map_err(|why| Error::BadBackup {
            path: path.display().to_string(),
            why,
        })
    }

    /// What puts it back, through [`apply`](crate::apply).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when it is not of this world.
    pub fn segments(&self) -> Result<Vec<Segment>, Error> {
        let ranges = self.ranges.iter();
        ranges
            .map(|(offset, bytes)| {
                Segment::new(*offset, bytes.clone()).map_err(|_| Error::OutOfRange {
                    offset: *offset,
                    len: bytes.len() as u32,
                    size: self.flash_size,
                })
            })
            .collect()
    }

    /// Bytes of flash in it.
    pub fn size(&self) -> u32 {
        self.ranges.values().map(|bytes| bytes.len() as u32).sum()
    }

    /// The parts of ranges that it does not have yet.
    pub(crate) fn missing(
        &self,
        wanted: impl Iterator<Item = (u32, u32, bool)>,
    ) -> Vec<(u32, u32, bool)> {
        let mut missing = Vec::new();
        for (offset, len, blank) in wanted {
            let end = offset + len;
            let mut at = offset;
            for (start, bytes) in &self.ranges {
                let (start, have) = (*start, start + bytes.len() as u32);
                if have <= at || start >= end {
                    continue;
                }
                if start > at {
                    missing.push((at, start - at, blank));
                }
                at = have;
            }
            if at < end {
                missing.push((at, end - at, blank));
            }
        }
        missing
    }

    /// Adds bytes of flash; those that it has already stay as they are.
    pub(crate) fn add(&mut self, offset: u32, bytes: Vec<u8>) -> Result<(), Error> {
        if self.ranges.contains_key(&offset) {
            return Err(Error::Overlap { offset });
        }
        self.ranges.insert(offset, bytes);
        Ok(())
    }

    /// Writes it: the whole file or none, for nobody else to read.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let io = |error| Error::io(path, &error);
        // A name without a folder is one of the current folder.
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(io)?;
        let mut name = path.as_os_str().to_os_string();
        name.push(".part");
        let part = Path::new(&name);
        let written = write_private(part, &self.encode()).and_then(|()| fs::rename(part, path));
        if written.is_err() {
            // Half a backup is none.
            let _gone = fs::remove_file(part);
        }
        // Before the flash is touched its new name has to last as well.
        written.and_then(|()| sync_dir(folder)).map_err(io)
    }

    fn encode(&self) -> Vec<u8> {
        let mut head = format!("{TITLE}\nchip: {}\n", self.chip);
        // Writing to a string does not fail.
        if let Some(mac) = &self.mac {
            let _ok = writeln!(head, "mac: {mac}");
        }
        let _ok = writeln!(head, "flash: {}\ntime: {}", self.flash_size, self.time);
        let _ok = writeln!(head, "before: {}", self.summary);
        for (offset, bytes) in &self.ranges {
            let _ok = writeln!(head, "segment: {offset} {}", bytes.len());
        }
        let mut file = head.into_bytes();
        file.push(b'\n');
        file.extend(self.ranges.values().flatten());
        let digest = Sha256::digest(&file);
        file.extend(digest);
        file
    }

    fn parse(file: &[u8]) -> Result<Self, &'static str> {
        if !file.starts_with(TITLE.as_bytes()) {
            return Err("it does not start as one");
        }
        let end = file.len().checked_sub(DIGEST).ok_or("it is cut off")?;
        let (content, digest) = file.split_at(end);
        if Sha256::digest(content).as_slice() != digest {
            return Err("its checksum does not match");
        }
        let mut window = content.windows(2).take(MAX_HEAD);
        let head_end = window
            .position(|pair| pair == b"\n\n")
            .ok_or("its head has no end")?;
        let (head, bytes) = content.split_at(head_end + 2);
        let head = std::str::from_utf8(head).map_err(|_| "its head is no text")?;
        Self::with_head(head, bytes)
    }

    fn with_head(head: &str, mut bytes: &[u8]) -> Result<Self, &'static str> {
        const HEAD: &str = "its head makes no sense";
        let mut backup = Self {
            chip: String::new(),
            mac: None,
            flash_size: 0,
            time: 0,
            summary: String::new(),
            ranges: BTreeMap::new(),
        };
        let mut end = 0;
        for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(": ").ok_or(HEAD)?;
            match key {
                "chip" => backup.chip = value.into(),
                "mac" => backup.mac = Some(value.into()),
                "flash" => backup.flash_size = value.parse().map_err(|_| HEAD)?,
                "time" => backup.time = value.parse().map_err(|_| HEAD)?,
                "before" => backup.summary = value.into(),
                "segment" => {
                    let (offset, len) = value.split_once(' ').ok_or(HEAD)?;
                    let offset: u32 = offset.parse().map_err(|_| HEAD)?;
                    let len: u32 = len.parse().map_err(|_| HEAD)?;
                    let sector = airlift_wire::limits::SECTOR_SIZE as u32;
                    if offset < end || !offset.is_multiple_of(sector) || !len.is_multiple_of(sector)
                    {
                        return Err("its segments are not sectors in order");
                    }
                    end = offset.checked_add(len).ok_or(HEAD)?;
                    let (segment, rest) = bytes
                        .split_at_checked(len as usize)
                        .ok_or("it has fewer bytes than it says")?;
                    backup.ranges.insert(offset, segment.to_vec());
                    bytes = rest;
                }
                _ => return Err("it was made by a newer Airlift"),
            }
        }
        if end > backup.flash_size {
            return Err("it has more than the flash of its board");
        }
        match bytes {
            [] => Ok(backup),
            _ => Err("it has more bytes than it says"),
        }
    }
}

/// Writes a file of its own: one that is there may be readable for others.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::board;
    use proptest::prelude::*;

    fn backup() -> Backup {
        let mut backup = Backup::new(&board(0x10_0000), 7, "Repair:\nfirst line");
        backup.add(0x9000, vec![1; 4096]).unwrap();
        backup.add(0xB000, vec![2; 8192]).unwrap();
        backup
    }

    #[test]
    fn a_backup_reads_back_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backups/one.bin");
        backup().save(&path).unwrap();
        let read = Backup::open(&path).unwrap();
        assert_eq!(read, backup());
        assert_eq!(
            (read.size(), read.summary.as_str()),
            (12288, "Repair: first line")
        );
        assert_eq!(read.segments().unwrap()[1].offset(), 0xB000);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no part is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_part_that_others_may_read_is_not_written_into() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.bin");
        let part = folder.path().join("one.bin.part");
        fs::write(&part, b"left behind").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
        let reader = File::open(&part).unwrap();
        backup().save(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(reader.metadata().unwrap().len(), 11, "another file");
    }

    #[test]
    fn only_what_is_not_in_it_is_missing() {
        let wanted = [(0x8000, 0x4000, true), (0xB000, 0x1000, false)];
        let missing = backup().missing(wanted.into_iter());
        assert_eq!(missing, [(0x8000, 0x1000, true), (0xA000, 0x1000, true)]);
        let all = Backup::new(&board(1 << 20), 0, "").missing([(0, 4096, false)].into_iter());
        assert_eq!(all, [(0, 4096, false)]);
    }

    #[test]
    fn a_head_that_lies_is_refused() {
        let digest = |text: &str| {
            let mut file = text.as_bytes().to_vec();
            file.extend(Sha256::digest(text));
            Backup::parse(&file)
        };
        let head = format!("{TITLE}\nchip: esp32\nflash: 8192\ntime: 1\nbefore: x\n");
        assert!(digest(&format!("{head}\n")).is_ok());
        for lie in [
            "segment: 0 4096\n\n",
            "segment: 1 4096\n\n",
            "segment: 4294963200 4096\n\n",
            "segment: 0 0\nunknown: x\n\n",
            "segment: x\n\n",
            "\nmore",
        ] {
            assert!(digest(&format!("{head}{lie}")).is_err(), "{lie:?}");
        }
        let other = "airlift flash backup 2\n\n";
        assert!(digest(other).is_err());
    }

    proptest! {
        #[test]
        fn no_damage_goes_unnoticed(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut file = backup().encode();
            let at = at.index(file.len());
            file[at] ^= flip;
            prop_assert!(Backup::parse(&file).is_err());
            prop_assert!(Backup::parse(&file[..at]).is_err());
        }
    }
}
