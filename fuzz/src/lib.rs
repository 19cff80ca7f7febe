//! What each fuzz target does with its bytes.
//!
//! The functions are here and not in the targets, so that `cargo test` can feed them without
//! libFuzzer. Beyond "no panic", each states a property: what is accepted must mean the same when
//! it is written and read again, and nothing may be read that its reader would not write.

pub mod seeds;

use airlift_release::files::{check_canonical, from_tar};
use airlift_release::{FileKind, UnverifiedRelease, image, inspect};
use airlift_wire::image as wire_image;
use airlift_wire::limits::MAX_MANIFEST;
use airlift_wire::otadata::{self, ENTRY_LEN, Entry};
use airlift_wire::partition::{self, Partition, Table};
use airlift_wire::state::{STATE_LEN, State};
use airlift_wire::tar::{self, BLOCK};
use airlift_wire::{Envelope, Manifest, envelope};
use bytes::Bytes;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("manifest", manifest),
    ("envelope", envelope),
    ("tar_header", tar_header),
    ("files_tar", files_tar),
    ("partition_table", partition_table),
    ("otadata", otadata),
    ("app_image", app_image),
    ("state_record", state_record),
    ("release_file", release_file),
];

/// A manifest that decodes is encoded to one that decodes to the same.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::decode(data) else {
        return;
    };
    let mut out = [0; MAX_MANIFEST];
    match manifest.encode(&mut out) {
        Ok(len) => assert_eq!(Manifest::decode(&out[..len]), Ok(manifest)),
        Err(_) => assert!(data.len() > MAX_MANIFEST),
    }
}

/// An envelope that verifies is byte for byte the one that its signer wrote.
pub fn envelope(data: &[u8]) {
    let key = seeds::key();
    let Ok(envelope) = Envelope::parse(data) else {
        return;
    };
    assert_eq!(envelope.id(), airlift_wire::Digest::of(data));
    let mut scratch = [0; envelope::SCRATCH];
    if let Ok(verified) = envelope.verify(&[key.public()], &mut scratch) {
        assert_eq!(verified.envelope(), data);
        let _ = verified.manifest();
    }
}

/// A header that is read is the one that would be written.
pub fn tar_header(data: &[u8]) {
    for block in data.as_chunks::<BLOCK>().0 {
        if let Ok(entry) = tar::parse(block) {
            assert_eq!(tar::header(&entry), Ok(*block));
        }
    }
}

/// Whatever tar is taken becomes a canonical one; a canonical one stays as it is.
pub fn files_tar(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let listing = check_canonical(data);
    match from_tar(&bytes) {
        Ok(files) => {
            let again = check_canonical(files.tar());
            assert_eq!(again.as_ref().ok(), Some(files.listing()));
            if let Ok(listing) = listing {
                assert!(!files.skipped().is_empty() || files.tar() == &bytes);
                assert!(!files.skipped().is_empty() || files.listing() == &listing);
            }
        }
        Err(error) => assert!(listing.is_err(), "canonical, but: {error}"),
    }
}

/// A table that is read is written to one with the same partitions.
pub fn partition_table(data: &[u8]) {
    let Ok(table) = Table::parse(data, 16 << 20) else {
        return;
    };
    let partitions: Vec<Partition> = table.iter().collect();
    let mut out = [0; partition::TABLE_LEN];
    partition::encode(&partitions, &mut out).expect("as many as were read");
    let again = Table::parse(&out, 16 << 20).expect("what was written");
    assert!(again.iter().eq(partitions));
    let _ = (table.ota_count(), table.labelled("ota_0"));
}

/// Entries keep every bit; the next sequence selects the slot that was asked for and wins.
pub fn otadata(data: &[u8]) {
    let ([first, second, ..], rest) = data.as_chunks::<ENTRY_LEN>() else {
        return;
    };
    let entries = [Entry::decode(first), Entry::decode(second)];
    assert_eq!(
        (&entries[0].encode(), &entries[1].encode()),
        (first, second)
    );
    let active = otadata::active(&entries);
    let count = u32::from(rest.first().copied().unwrap_or(2) % 16);
    for slot in 0..count {
        let Some(next) = otadata::next_sequence(&entries, slot, count) else {
            continue;
        };
        let new = Entry::new(next, otadata::ImageState::New);
        assert_eq!((new.is_selectable(), new.slot(count)), (true, Some(slot)));
        // It replaces the entry that is not active.
        let replaced = 1 - active.unwrap_or(1);
        let mut after = entries;
        after[replaced] = new;
        assert_eq!(otadata::active(&after), Some(replaced));
    }
}

/// An image is judged the same whole and in pieces; what is accepted is described without damage.
pub fn app_image(data: &[u8]) {
    let whole = wire_image::check(data);
    let mut checker = wire_image::Checker::new();
    let mut used = 0;
    let pieces = data.chunks(61).try_for_each(|piece| {
        used += checker.update(piece)?;
        Ok(())
    });
    let pieces = pieces.and_then(|()| checker.finish());
    match whole {
        Err(wire_image::ImageError::TrailingBytes) => assert!(used < data.len()),
        _ => assert_eq!(pieces, whole),
    }
    let _ = (FileKind::of(data), image::app_in_merged(data));
    if let Ok(info) = image::inspect(data) {
        assert_eq!(info.damage.is_none(), whole.is_ok());
    }
}

/// A record that is read is written to one that reads the same.
pub fn state_record(data: &[u8]) {
    let Some(record) = data.first_chunk::<STATE_LEN>() else {
        return;
    };
    let state = State::decode(record);
    if let Some(state) = state {
        assert_eq!(State::decode(&state.encode()), Some(state));
    }
    let other = data[STATE_LEN..].first_chunk().and_then(State::decode);
    let _ = airlift_wire::state::newest([state, other]);
}

/// Only the file that was signed opens; any other is at most looked at.
pub fn release_file(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let trusted = [seeds::key().public()];
    if let Ok(unverified) = UnverifiedRelease::read(bytes.clone())
        && let Ok(release) = unverified.verify(&trusted)
    {
        assert_eq!(release.to_file(), bytes);
    }
    let _ = inspect(bytes, &trusted);
}
