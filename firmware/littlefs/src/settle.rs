//! What a power cut left between 0 and 1, decided before littlefs looks at it.
//!
//! A program that was cut can leave bits that read differently each time. littlefs believes the CRC of
//! a commit once and then reads its parts again: a commit that was whole at mounting can be damaged when
//! its folder is rewritten, or gone with all that was appended behind it. The last commit of each
//! metadata block is therefore programmed again over itself, which drives its zeros all the way down,
//! and what begins behind it is cleared until it cannot become a commit. Both need no erase.
//!
//! Data blocks need nothing: they are whole before a commit names them, and erased before they are used
//! again. The structures read here are in littlefs' `SPEC.md`: "Metadata pairs", "Metadata tags".

use crate::{BLOCK_SIZE, BlockDevice, Error, Geometry, IoError, PROGRAM_SIZE};

const BLOCK: usize = BLOCK_SIZE as usize;
const UNIT: usize = PROGRAM_SIZE as usize;
/// Types of tags, and the masks under which they are compared (`lfs.h`, `enum lfs_type`).
const TYPE_TAIL: u32 = 0x600;
const TYPE_COMMIT_CRC: u32 = 0x500;
/// Neither block of a tail: the end of the list.
const NO_BLOCK: u32 = u32::MAX;

/// Decides what a cut may have left of the metadata. Call it before
/// [`FileSystem::mount`](crate::FileSystem::mount) wherever power can go; `block` is memory to work in.
///
/// What is no file system is left as it is.
///
/// # Errors
/// [`Error::Io`] when the device cannot be read or written.
pub fn settle<D: BlockDevice>(
    device: &mut D,
    geometry: Geometry,
    block: &mut [u8; BLOCK],
) -> Result<(), Error> {
    let count = geometry.check()?.block_count;
    let mut pair = [0, 1];
    // Each pair is in the list once; what is damaged into a circle ends as well.
    for _ in 0..count {
        let mut newest: Option<Log> = None;
        let mut is_metadata = false;
        for at in pair {
            if at >= count {
                return Ok(());
            }
            read(device, at, block)?;
            is_metadata |= Log::parse(block).end > 0;
        }
        if !is_metadata {
            // Another file system, or none: one of a pair has always been whole.
            return Ok(());
        }
        for at in pair {
            read(device, at, block)?;
            let log = Log::parse(block);
            decide(device, at, block, &log)?;
            let newer = |than: &Log| (log.revision.wrapping_sub(than.revision) as i32) > 0;
            if log.end > 0 && newest.as_ref().is_none_or(newer) {
                newest = Some(log);
            }
        }
        match newest.and_then(|log| log.tail) {
            Some(tail) if tail != [NO_BLOCK; 2] => pair = tail,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Firms the last commit of a block, and spoils what begins behind it.
fn decide<D: BlockDevice>(
    device: &mut D,
    at: u32,
    block: &[u8; BLOCK],
    log: &Log,
) -> Result<(), Error> {
    let offset = at * BLOCK_SIZE;
    let commit = log.start - log.start % UNIT..log.end.next_multiple_of(UNIT);
    if !commit.is_empty() {
        program(device, offset + commit.start as u32, &block[commit])?;
    }
    let behind = log.end.next_multiple_of(UNIT);
    let rest = &block[behind..];
    let is_spoilt = rest.iter().take(UNIT).all(|byte| *byte == 0);
    if !is_spoilt && rest.iter().any(|byte| *byte != 0xFF) {
        // Where the revision or the next tag stands, which the CRC of a commit covers.
        program(device, offset + behind as u32, &[0; UNIT])?;
    }
    Ok(())
}

fn read<D: BlockDevice>(device: &mut D, at: u32, block: &mut [u8; BLOCK]) -> Result<(), Error> {
    device.read(at * BLOCK_SIZE, block).map_err(|_| Error::Io)
}

fn program<D: BlockDevice>(device: &mut D, offset: u32, data: &[u8]) -> Result<(), Error> {
    match device.program(offset, data) {
        // A worn block: littlefs will find out, and take another.
        Ok(()) | Err(IoError::BadBlock) => Ok(()),
        Err(IoError::Device) => Err(Error::Io),
    }
}

/// What a metadata block holds.
struct Log {
    revision: u32,
    /// The last whole commit; both 0 when there is none.
    start: usize,
    end: usize,
    /// The next pair of the list, as of that commit.
    tail: Option<[u32; 2]>,
}

impl Log {
    fn parse(block: &[u8; BLOCK]) -> Self {
        let word = |at: usize| block.get(at..)?.first_chunk::<4>().copied();
        let revision = word(0).map_or(0, u32::from_le_bytes);
        let mut log = Self {
            revision,
            start: 0,
            end: 0,
            tail: None,
        };
        let mut crc = crc32(u32::MAX, &block[..4]);
        let (mut begun, mut at) = (0, 4);
        let mut previous = u32::MAX;
        let mut tail = None;
        while let Some(stored) = word(at) {
            crc = crc32(crc, &stored);
            let tag = u32::from_be_bytes(stored) ^ previous;
            let len = match tag & 0x3FF {
                0x3FF => 0,
                len => len as usize,
            };
            let content = at + 4..at + 4 + len;
            // The highest bit says that nothing was written here.
            if tag >> 31 == 1 || content.end > BLOCK {
                break;
            }
            previous = tag;
            let kind = tag >> 20 & 0x7FF;
            if kind & 0x780 == TYPE_COMMIT_CRC {
                if word(content.start).map(u32::from_le_bytes) != Some(crc) {
                    break;
                }
                previous ^= (kind & 1) << 31;
                (log.start, log.end) = (begun, content.end);
                log.tail = tail;
                begun = content.end;
                crc = u32::MAX;
            } else {
                if kind & 0x700 == TYPE_TAIL
                    && let (Some(a), Some(b)) = (word(content.start), word(content.start + 4))
                {
                    tail = Some([u32::from_le_bytes(a), u32::from_le_bytes(b)]);
                }
                crc = crc32(crc, &block[content.clone()]);
            }
            at = content.end;
        }
        log
    }
}

/// littlefs' CRC-32: reflected 0x04C11DB7, no final inversion (`lfs_util.c`).
fn crc32(mut crc: u32, bytes: &[u8]) -> u32 {
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiskVersion, FileSystem, Storage};
    use std::vec::Vec;

    const GEOMETRY: Geometry = Geometry { block_count: 32 };

    /// Memory that counts what is programmed.
    struct Ram {
        cells: Vec<u8>,
        programmed: Vec<u32>,
    }

    impl BlockDevice for Ram {
        fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
            buf.copy_from_slice(&self.cells[offset as usize..][..buf.len()]);
            Ok(())
        }

        fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
            let cells = &mut self.cells[offset as usize..][..data.len()];
            cells.iter_mut().zip(data).for_each(|(c, d)| *c &= d);
            self.programmed.push(offset);
            Ok(())
        }

        fn erase(&mut self, offset: u32) -> Result<(), IoError> {
            self.cells[offset as usize..][..BLOCK].fill(0xFF);
            Ok(())
        }

        fn sync(&mut self) -> Result<(), IoError> {
            Ok(())
        }
    }

    fn ram(version: DiskVersion) -> Ram {
        let mut ram = Ram {
            cells: std::vec![0xFF; 32 * BLOCK],
            programmed: Vec::new(),
        };
        let mut storage = Storage::new();
        FileSystem::format(&mut storage, &mut ram, GEOMETRY, version).unwrap();
        let mut fs = FileSystem::mount(&mut storage, &mut ram, GEOMETRY).unwrap();
        for folder in ["a", "b", "a/deep"] {
            fs.mkdir(folder).unwrap();
            for n in 0..30 {
                fs.create(std::format!("{folder}/{n}")).unwrap();
                fs.append(&[n; 40]).unwrap();
                fs.close().unwrap();
            }
        }
        ram.programmed.clear();
        ram
    }

    fn settled(ram: &mut Ram) -> Vec<u32> {
        settle(ram, GEOMETRY, &mut [0; BLOCK]).unwrap();
        let mut blocks: Vec<_> = ram.programmed.drain(..).map(|o| o / BLOCK_SIZE).collect();
        blocks.dedup();
        blocks
    }

    #[test]
    fn whole_metadata_is_written_over_itself_and_stays_as_it_is() {
        for version in [DiskVersion::V2_0, DiskVersion::V2_1] {
            let mut ram = ram(version);
            let before = ram.cells.clone();
            let blocks = settled(&mut ram);
            assert!(ram.cells == before);
            // The root, and at least a pair for each of the three folders.
            assert!(blocks.len() >= 5, "{blocks:?}");
            assert!(
                blocks.starts_with(&[0, 1]) || blocks.starts_with(&[0]),
                "{blocks:?}"
            );
        }
    }

    #[test]
    fn a_commit_with_a_wrong_bit_never_becomes_whole_again() {
        let mut ram = ram(DiskVersion::V2_0);
        let mut block = [0; BLOCK];
        read(&mut ram, 0, &mut block).unwrap();
        let log = [0, 1].map(|at| {
            read(&mut ram, at, &mut block).unwrap();
            (at, Log::parse(&block))
        });
        let (at, last) = log.iter().max_by_key(|(_, log)| log.revision).unwrap();
        let bit = *at as usize * BLOCK + last.start + UNIT + 1;
        ram.cells[bit] ^= 1;
        settled(&mut ram);
        // The bit reads right again, as an unstable one may.
        ram.cells[bit] ^= 1;
        read(&mut ram, *at, &mut block).unwrap();
        assert_eq!(Log::parse(&block).end, last.start);
        let before = ram.cells.clone();
        settled(&mut ram);
        assert!(ram.cells == before, "what is spoilt is left alone");
        let mut storage = Storage::new();
        assert!(FileSystem::mount(&mut storage, &mut ram, GEOMETRY).is_ok());
    }

    #[test]
    fn what_is_no_file_system_is_left_as_it_is() {
        let mut ram = Ram {
            cells: std::vec![0xFF; 32 * BLOCK],
            programmed: Vec::new(),
        };
        assert_eq!(settled(&mut ram), []);
        // A boot sector of FAT, and a block of whatever else.
        ram.cells[..11].copy_from_slice(b"\xEB\x3C\x90MSDOS5.0");
        ram.cells[BLOCK..2 * BLOCK].fill(0x5A);
        assert_eq!(settled(&mut ram), []);
        assert_eq!(
            settle(&mut ram, Geometry { block_count: 0 }, &mut [0; BLOCK]),
            Err(Error::Invalid)
        );
    }
}
