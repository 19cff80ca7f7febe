//! Apps and folders as they read now: their digests.

use crate::emit::Cursor;
use crate::layout::FLASH;
use crate::path::Path;
use crate::platform::{Files, Flash};
use crate::{Buffers, Failure};
use airlift_wire::Digest;
use airlift_wire::digest::Hasher;
use airlift_wire::image;
use airlift_wire::limits::CHUNK_SIZE;

/// Hashes `size` bytes of an app partition and checks that they are an image.
pub(super) async fn read_app<F: Flash>(
    flash: &mut F,
    offset: u32,
    size: u32,
    buffers: &mut Buffers,
) -> Result<(Digest, Result<image::Checked, image::ImageError>), Failure> {
    let mut hasher = Hasher::new();
    let mut checker = image::Checker::new();
    let mut verdict = Ok(0);
    let mut at = 0;
    while at < size {
        let n = (size - at).min(CHUNK_SIZE as u32) as usize;
        let buf = &mut buffers.chunks[0][..n];
        flash.read(offset + at, buf).await.map_err(|_| FLASH)?;
        hasher.update(buf);
        verdict = verdict.and_then(|_| checker.update(buf));
        at += n as u32;
    }
    Ok((hasher.finish(), verdict.and_then(|_| checker.finish())))
}

/// Digest and size of the image that starts at `offset`, at most `limit` bytes; `None` when there
/// is no whole image.
pub async fn app_digest<F: Flash>(
    flash: &mut F,
    offset: u32,
    limit: u32,
    buffers: &mut Buffers,
) -> Result<Option<(Digest, u32)>, Failure> {
    let mut hasher = Hasher::new();
    let mut checker = image::Checker::new();
    let mut at = 0;
    while at < limit && !checker.is_done() {
        let n = (limit - at).min(CHUNK_SIZE as u32) as usize;
        let buf = &mut buffers.chunks[0][..n];
        flash.read(offset + at, buf).await.map_err(|_| FLASH)?;
        let Ok(used) = checker.update(buf) else {
            return Ok(None);
        };
        hasher.update(&buf[..used]);
        at += used as u32;
    }
    let digest = hasher.finish();
    Ok(checker.finish().ok().map(|image| (digest, image.len)))
}

/// Digest of the canonical tar of a folder.
pub async fn read_files<S: Files>(
    files: &mut S,
    root: Path,
    buffers: &mut Buffers,
) -> Result<Digest, Failure> {
    let mut cursor = Cursor::new(root);
    let mut hasher = Hasher::new();
    while !cursor.is_done() {
        let n = cursor.fill(files, &mut buffers.chunks[0]).await?;
        hasher.update(&buffers.chunks[0][..n]);
    }
    Ok(hasher.finish())
}
