//! Flash as compressed blocks.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::BLOCK;
use crate::error::Error;

/// Most bytes of flash that are one compressed stream. Longer ones hide the board's work better,
/// shorter ones are compressed while the one before is on its way.
const STREAM: usize = 1024 * 1024;
/// Bytes of flash that are compressed between two looks at whether that is still wanted.
const PIECE: usize = 16 * 1024;

/// Whole sectors, compressed as zlib does best.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) offset: u32,
    /// Bytes of flash.
    pub(crate) size: u32,
    pub(crate) blocks: Vec<Block>,
}

/// A part of a stream.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of flash that can be written once it is there.
    pub(crate) flash: u32,
}

/// Compresses `bytes` for flash at `offset`, and hands it on stream by stream; the next is made on
/// another thread meanwhile.
pub(crate) fn each_stream(
    offset: u32,
    bytes: &[u8],
    mut send: impl FnMut(&Stream) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut parts = (offset..).step_by(STREAM).zip(bytes.chunks(STREAM));
    let Some((offset, part)) = parts.next() else {
        return Ok(());
    };
    let stop = AtomicBool::new(false);
    let mut stream = compress(offset, part, &stop)?;
    for (offset, part) in parts {
        stream = std::thread::scope(|scope| {
            let next = scope.spawn(|| compress(offset, part, &stop));
            let sent = send(&stream);
            // An error is told at once, not when the next stream is ready.
            stop.store(sent.is_err(), Ordering::Relaxed);
            sent?;
            next.join().unwrap_or_else(|_| Err(fault()))
        })?;
    }
    send(&stream)
}

fn compress(offset: u32, flash: &[u8], stop: &AtomicBool) -> Result<Stream, Error> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for piece in flash.chunks(PIECE) {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        encoder.write_all(piece).map_err(|_| fault())?;
    }
    let compressed = encoder.finish().map_err(|_| fault())?;
    let mut inflate = Decompress::new(true);
    let mut room = vec![0; flash.len() + 1];
    let mut blocks = Vec::new();
    for block in compressed.chunks(BLOCK) {
        let before = inflate.total_out() as usize;
        let out = room.get_mut(before..).ok_or_else(fault)?;
        let status = inflate.decompress(block, out, FlushDecompress::None);
        if !matches!(status, Ok(Status::Ok | Status::StreamEnd)) {
            return Err(fault());
        }
        blocks.push(Block {
            bytes: block.to_vec(),
            flash: (inflate.total_out() as usize - before) as u32,
        });
    }
    Ok(Stream {
        offset,
        size: flash.len() as u32,
        blocks,
    })
}

fn fault() -> Error {
    Error::Internal {
        what: "flash cannot be compressed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not compress.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn streams(offset: u32, bytes: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
        let mut found = Vec::new();
        each_stream(offset, bytes, |stream| {
            let flash: u32 = stream.blocks.iter().map(|b| b.flash).sum();
            assert_eq!(flash, stream.size, "progress ends at the end");
            let compressed: Vec<u8> = stream.blocks.iter().flat_map(|b| b.bytes.clone()).collect();
            let mut out = Vec::new();
            let mut decoder = flate2::write::ZlibDecoder::new(&mut out);
            decoder.write_all(&compressed).unwrap();
            decoder.finish().unwrap();
            found.push((stream.offset, stream.size, out));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn what_arrives_is_what_was_sent_in_blocks_that_fit() {
        let mut bytes = noise(STREAM + 4096);
        bytes[8192..900_000].fill(0xFF);
        let found = streams(0x1000, &bytes);
        let expected = [
            (0x1000, STREAM as u32, bytes[..STREAM].to_vec()),
            (0x10_1000, 4096, bytes[STREAM..].to_vec()),
        ];
        assert!(found == expected);
    }

    #[test]
    fn nothing_is_no_stream() {
        assert!(streams(0, &[]).is_empty());
    }

    #[test]
    fn an_error_ends_it() {
        let bytes = noise(2 * STREAM);
        let mut sent = 0;
        let result = each_stream(0, &bytes, |_| {
            sent += 1;
            Err(Error::Cancelled)
        });
        assert_eq!((result, sent), (Err(Error::Cancelled), 1));
    }
}
