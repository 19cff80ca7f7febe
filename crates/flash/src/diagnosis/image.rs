//! Images in flash: how long they are, and whether they are whole.

use super::reader::{Reader, STEP};
use crate::read::ReadError;
use airlift_wire::Digest;
use airlift_wire::digest::Hasher;
use airlift_wire::image::{Checker, HEADER_LEN, Header, ImageError};

/// Bytes of the SHA-256 behind an image.
const HASH_LEN: u32 = 32;
/// Erased bytes at the end of an image from which on it was never written to its end.
const ERASED_END: u32 = 64;

/// What reading an image found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is whole.
    Whole {
        /// Its length.
        len: u32,
        /// SHA-256 of all of it.
        digest: Digest,
    },
    /// It is not.
    Bad {
        /// Why.
        error: ImageError,
        /// From where on it is erased, when the end is missing.
        erased_from: Option<u32>,
    },
}

/// The length of the image at `offset` by the headers of its segments; an error when they do not end
/// inside `room` bytes.
pub(crate) fn length(
    reader: &mut Reader<'_>,
    offset: u32,
    room: u32,
) -> Result<Result<u32, ImageError>, ReadError> {
    let head: [u8; HEADER_LEN] = reader.array(offset)?;
    let header = match Header::parse(&head) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let mut at = HEADER_LEN as u32;
    for _ in 0..header.segments {
        if at.saturating_add(8) > room {
            return Ok(Err(ImageError::Truncated));
        }
        let [_, _, _, _, a, b, c, d] = reader.array::<8>(offset + at)?;
        let len = u32::from_le_bytes([a, b, c, d]);
        at = match at.checked_add(8).and_then(|at| at.checked_add(len)) {
            Some(end) if end < room => end,
            _ => return Ok(Err(ImageError::Truncated)),
        };
    }
    // The checksum is the last byte of a block of 16.
    let hash = if header.hash_appended { HASH_LEN } else { 0 };
    let len = (at + 1).next_multiple_of(16) + hash;
    Ok(if len <= room {
        Ok(len)
    } else {
        Err(ImageError::Truncated)
    })
}

/// Reads an image to its end and checks it as a bootloader does.
pub(crate) fn read_whole(
    reader: &mut Reader<'_>,
    offset: u32,
    room: u32,
) -> Result<Found, ReadError> {
    let len = match length(reader, offset, room)? {
        Ok(len) => len,
        Err(error) => {
            return Ok(Found::Bad {
                error,
                erased_from: None,
            });
        }
    };
    reader.expect(len);
    let mut checker = Checker::new();
    let mut hasher = Hasher::new();
    let mut error = None;
    let mut written = 0;
    let mut piece = vec![0; STEP];
    let mut at = 0;
    while at < len {
        let n = (len - at).min(STEP as u32) as usize;
        let piece = &mut piece[..n];
        reader.read(offset + at, piece)?;
        hasher.update(piece);
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0xFF) {
            written = at + last as u32 + 1;
        }
        if error.is_none() {
            error = checker.update(piece).err();
        }
        at += n as u32;
    }
    let result = match error {
        Some(error) => Err(error),
        None => checker.finish(),
    };
    Ok(match result {
        Ok(_) => Found::Whole {
            len,
            digest: hasher.finish(),
        },
        Err(error) => Found::Bad {
            error,
            erased_from: (len - written >= ERASED_END).then_some(written),
        },
    })
}
