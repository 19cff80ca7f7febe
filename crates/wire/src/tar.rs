//! The canonical tar of a `files` part: one tar, byte for byte, for one set of files.
//!
//! ustar (POSIX.1-1988); entries sorted by the bytes of their path; regular files (type `0`, mode
//! 0644) and folders (type `5`, mode 0755, path ends in `/`) only. Every folder that is used has
//! its entry, before its content. Paths are relative, at most 100 bytes, in the name field; the
//! prefix field is empty. Owners are 0, owner names empty, time 0, the device fields zero bytes.
//! Numbers are octal with leading zeros, ended by a zero byte; the checksum is six digits, a zero
//! byte and a space. File content is padded with zeros to 512 bytes. Two zero blocks end the tar
//! and nothing follows. There is no file `VERSION` at the top: the updater writes it.
//!
//! Because re-emitting a folder gives the same bytes, one digest proves the download, the folder,
//! a copy of it, and how far an interrupted update came.

use crate::limits::{MAX_PART_SIZE, MAX_PATH};
use core::fmt;

/// Bytes of a tar block.
pub const BLOCK: usize = 512;
/// Bytes that end a tar: two zero blocks.
pub const TRAILER: usize = 2 * BLOCK;
/// The file at the top of a slot's folder that the updater writes itself.
pub const VERSION_FILE: &str = "VERSION";

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder; its path ends in `/`.
    Folder,
}

/// One entry: `path` ends in `/` exactly when it is a folder, whose size is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Relative path.
    pub path: &'a str,
    /// File or folder.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u32,
}

/// Why a block is not a header of a canonical tar. Its code is `bad_tar`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarError {
    /// A path that is absolute, climbs, is empty, too long, or has characters that no file gets.
    Path,
    /// A type other than a file or a folder.
    Kind,
    /// The header is not the canonical one of its path, kind and size.
    NotCanonical,
    /// Entries are not sorted, or one repeats.
    Order,
    /// A folder has no entry before its content.
    NoFolder,
    /// Padding or trailer is not zero.
    Padding,
    /// The tar ends too early or too late.
    Length,
    /// More entries or bytes than allowed.
    TooMany,
    /// `VERSION` at the top is the updater's own.
    Reserved,
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "an entry's path is not a plain relative path of at most 100 bytes",
            Self::Kind => "an entry is neither a file nor a folder",
            Self::NotCanonical => "an entry's header is not in the canonical form",
            Self::Order => "entries are unsorted or repeat",
            Self::NoFolder => "a folder has no entry before its content",
            Self::Padding => "padding is not zero",
            Self::Length => "the tar ends too early or too late",
            Self::TooMany => "the tar has too many entries",
            Self::Reserved => "VERSION at the top is written by the updater itself",
        })
    }
}

impl core::error::Error for TarError {}

/// Checks a path: 1..=100 bytes; components neither empty nor `.` nor `..`; no `\`, no control
/// characters, no leading `/`. A folder's path ends in `/`.
pub fn check_path(path: &str, kind: Kind) -> Result<(), TarError> {
    let body = match kind {
        Kind::Folder => path.strip_suffix('/').ok_or(TarError::Path)?,
        Kind::File => path,
    };
    if path.len() > MAX_PATH || body.chars().any(|c| c.is_control() || c == '\\') {
        return Err(TarError::Path);
    }
    if body.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(TarError::Path);
    }
    if body == VERSION_FILE {
        return Err(TarError::Reserved);
    }
    Ok(())
}

fn octal(field: &mut [u8], mut value: u32) {
    if let Some((last, digits)) = field.split_last_mut() {
        *last = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    }
}

/// Bytes of zero padding after content of `size` bytes.
pub const fn padding(size: u32) -> usize {
    (BLOCK - size as usize % BLOCK) % BLOCK
}

/// The canonical header block of an entry.
pub fn header(entry: &Entry<'_>) -> Result<[u8; BLOCK], TarError> {
    check_path(entry.path, entry.kind)?;
    if entry.size > MAX_PART_SIZE || (entry.kind == Kind::Folder && entry.size != 0) {
        return Err(TarError::NotCanonical);
    }
    let mut block = [0; BLOCK];
    block[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
    let (mode, flag) = match entry.kind {
        Kind::File => (0o644, b'0'),
        Kind::Folder => (0o755, b'5'),
    };
    octal(&mut block[100..108], mode);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], entry.size);
    octal(&mut block[136..148], 0);
    block[148..156].fill(b' ');
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    octal(&mut block[148..155], sum);
    Ok(block)
}

/// Reads a header block. It must be, byte for byte, the canonical header of what it says.
pub fn parse(block: &[u8; BLOCK]) -> Result<Entry<'_>, TarError> {
    let name = &block[..100];
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    let path = core::str::from_utf8(&name[..end]).map_err(|_| TarError::Path)?;
    let kind = match block[156] {
        b'0' => Kind::File,
        b'5' => Kind::Folder,
        _ => return Err(TarError::Kind),
    };
    let mut size = 0u32;
    for digit in &block[124..135] {
        let digit = match digit {
            b'0'..=b'7' => u32::from(digit - b'0'),
            _ => return Err(TarError::NotCanonical),
        };
        size = size
            .checked_mul(8)
            .and_then(|s| s.checked_add(digit))
            .ok_or(TarError::TooMany)?;
    }
    let entry = Entry { path, kind, size };
    if header(&entry)? != *block {
        return Err(TarError::NotCanonical);
    }
    Ok(entry)
}

/// The folder that holds `path`, with its `/`; empty at the top.
pub fn parent(path: &str) -> &str {
    let body = path.strip_suffix('/').unwrap_or(path);
    body.rfind('/').map_or("", |at| &path[..=at])
}

/// Bytes that an entry takes in the tar.
pub const fn entry_len(size: u32) -> u64 {
    BLOCK as u64 + size as u64 + padding(size) as u64
}

/// File-system blocks of 4 KiB that an entry takes at most on littlefs 2.
///
/// A file's blocks start with up to `log2(n) + 1` pointers of four bytes (littlefs DESIGN,
/// "CTZ skip-lists"), on average two; each folder is a pair of metadata blocks; metadata of an
/// entry is its name and some 48 bytes of tags and structure, in a log that is compacted when half
/// full.
pub fn blocks_for(path: &str, kind: Kind, size: u32) -> u32 {
    match kind {
        Kind::File => (size + 16).div_ceil(4096 - 16).max(1),
        Kind::Folder => 2 + path.len() as u32 / 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(path: &str, size: u32) -> Entry<'_> {
        Entry {
            path,
            kind: Kind::File,
            size,
        }
    }

    #[test]
    fn the_header_of_a_small_file_is_the_golden_vector_read_by_hand() {
        let block = header(&file("main.py", 6)).unwrap();
        let mut golden = [0u8; BLOCK];
        golden[..7].copy_from_slice(b"main.py");
        golden[100..108].copy_from_slice(b"0000644\0");
        golden[108..116].copy_from_slice(b"0000000\0");
        golden[116..124].copy_from_slice(b"0000000\0");
        golden[124..136].copy_from_slice(b"00000000006\0");
        golden[136..148].copy_from_slice(b"00000000000\0");
        golden[148..156].copy_from_slice(b"007237\0 ");
        golden[156] = b'0';
        golden[257..265].copy_from_slice(b"ustar\x0000");
        assert_eq!(block[148..156], golden[148..156], "checksum");
        assert_eq!(block, golden);
        assert_eq!(parse(&block), Ok(file("main.py", 6)));
    }

    #[test]
    fn paths_that_climb_or_start_at_the_root_are_refused() {
        for path in [
            "", "/", "/etc", "..", "a/../b", "./a", "a//b", "a/", "a\\b", "a\nb", "a/.", "VERSION",
        ] {
            assert!(check_path(path, Kind::File).is_err(), "{path:?}");
        }
        for path in ["a", "a b", "lib/x.py", "…", "lib/VERSION", ".hidden"] {
            assert_eq!(check_path(path, Kind::File), Ok(()), "{path:?}");
        }
        assert_eq!(check_path("lib/", Kind::Folder), Ok(()));
        assert_eq!(check_path("lib", Kind::Folder), Err(TarError::Path));
        let long = "a".repeat(101);
        assert_eq!(check_path(&long, Kind::File), Err(TarError::Path));
        assert_eq!(check_path(&long[..100], Kind::File), Ok(()));
    }

    #[test]
    fn links_devices_and_other_owners_are_refused() {
        let block = header(&file("a", 0)).unwrap();
        for flag in [b'1', b'2', b'3', b'4', b'6', b'x', b'g', b'L', 0] {
            let mut bad = block;
            bad[156] = flag;
            assert_eq!(parse(&bad), Err(TarError::Kind));
        }
        for at in [
            107, 115, 120, 140, 150, 160, 257, 263, 265, 300, 330, 345, 500,
        ] {
            let mut bad = block;
            bad[at] ^= 1;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_parent_of_a_path() {
        assert_eq!(parent("a"), "");
        assert_eq!(parent("a/"), "");
        assert_eq!(parent("a/b"), "a/");
        assert_eq!(parent("a/b/"), "a/");
        assert_eq!(parent("a/b/c"), "a/b/");
    }

    proptest! {
        #[test]
        fn a_header_reads_back(path in "[a-z]{1,8}(/[a-z.]{1,8}[a-z]){0,4}", size in 0..=MAX_PART_SIZE) {
            let block = header(&file(&path, size)).unwrap();
            prop_assert_eq!(parse(&block), Ok(file(&path, size)));
            let folder = path + "/";
            let folder = Entry { path: &folder, kind: Kind::Folder, size: 0 };
            let block = header(&folder).unwrap();
            prop_assert_eq!(parse(&block), Ok(folder));
        }

        #[test]
        fn any_block_is_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let _ = parse(bytes.as_slice().try_into().unwrap());
        }

        #[test]
        fn any_changed_byte_of_a_header_is_noticed_or_is_another_canonical_header(at in 0..BLOCK, value: u8) {
            let mut block = header(&file("lib/main.py", 1234)).unwrap();
            block[at] = value;
            if let Ok(entry) = parse(&block) {
                prop_assert_eq!(header(&entry).unwrap(), block);
            }
        }
    }
}
