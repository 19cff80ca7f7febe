//! Tars on a device.

use crate::device::Tree;
use crate::input::Input;
use airlift_release::files::check_canonical;
use airlift_updater::SlotId;
use airlift_updater::emit::Cursor;
use airlift_updater::path::Path;
use airlift_updater::unpack::{Unpacker, write_version};
use airlift_wire::limits::CHUNK_SIZE;
use airlift_wire::tar::BLOCK;
use embassy_futures::block_on;

/// A device takes exactly the tars that the host calls canonical, in pieces of any size; cut at any
/// piece and taken up again, it ends with the same folder; what was there before is gone.
pub fn unpack(data: &[u8]) {
    let mut input = Input::new(data);
    let (blocks, cut) = (usize::from(input.byte() % 9) + 1, usize::from(input.byte()));
    let tar = input.rest();
    let taken = crate::release::unpacked(tar, blocks * BLOCK);
    let canonical = check_canonical(tar);
    assert_eq!(
        taken.is_some(),
        canonical.is_ok(),
        "host: {:?}",
        canonical.err()
    );
    if let Some(taken) = taken {
        assert_eq!(taken, tar, "the folder gives another tar");
        let mut files = Tree::default();
        block_on(interrupted(&mut files, tar, cut));
    }
}

/// An update that is cut after some chunks and then resumed as [`airlift_updater`] does.
async fn interrupted(files: &mut Tree, tar: &[u8], cut: usize) {
    let root = Path::slot(SlotId::Ota1);
    let chunks = tar.len().div_ceil(CHUNK_SIZE);
    let cut = cut % (chunks + 1);
    let mut unpacker = Unpacker::resume(files, root, &Cursor::new(root))
        .await
        .expect("an empty folder");
    for (n, chunk) in tar.chunks(CHUNK_SIZE).take(cut).enumerate() {
        unpacker.feed(files, chunk).await.expect("a canonical tar");
        if n % 2 == 1 {
            unpacker.sync(files).await.expect("a file");
        }
    }
    files.cut();
    // What re-emits right is kept.
    let mut cursor = Cursor::new(root);
    let mut kept = 0;
    let mut buf = [0; CHUNK_SIZE];
    for chunk in tar.chunks(CHUNK_SIZE) {
        let mut ahead = cursor;
        match ahead.fill(files, &mut buf[..chunk.len()]).await {
            Ok(filled) if buf[..filled] == *chunk => cursor = ahead,
            _ => break,
        }
        kept += 1;
    }
    assert!(kept <= chunks);
    let mut unpacker = Unpacker::resume(files, root, &cursor)
        .await
        .expect("a rest");
    for chunk in tar.chunks(CHUNK_SIZE).skip(kept) {
        unpacker.feed(files, chunk).await.expect("a canonical tar");
    }
    // With all chunks kept there is nothing to end: the updater does not ask then.
    if kept < chunks {
        unpacker.finish().expect("a whole tar");
    }
    write_version(files, root, "1").await.expect("room");
    let mut again = vec![0; tar.len() + 1];
    let mut cursor = Cursor::new(root);
    let len = cursor.fill(files, &mut again).await.expect("plain names");
    assert_eq!(
        &again[..len],
        tar,
        "resumed after {cut} chunks, kept {kept}"
    );
}
