//! The formats of `airlift_wire`.

use airlift_discover::DeviceInfo;
use airlift_wire::crc::crc32;
use airlift_wire::envelope::{self, Envelope};
use airlift_wire::freshness::{self, SignedStatement};
use airlift_wire::image::{self, Checker, HEADER_LEN, ImageError};
use airlift_wire::limits::{MAX_MANIFEST, MAX_RELEASE_KEYS};
use airlift_wire::manifest::{Manifest, PartRef};
use airlift_wire::otadata::{self, ENTRY_LEN, Entry, ImageState};
use airlift_wire::partition::{self, Partition, TABLE_LEN, Table};
use airlift_wire::state::{self, STATE_LEN, State};
use airlift_wire::tar::{self, BLOCK};
use airlift_wire::{Digest, index};

/// A manifest that decodes has one encoding; a longer one has keys that this version skips.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::decode(data) else {
        return;
    };
    let mut out = vec![0; data.len().max(MAX_MANIFEST)];
    let len = manifest.encode(&mut out).expect("what was decoded");
    assert!(len <= data.len());
    if len == data.len() {
        assert_eq!(out[..len], *data, "one manifest, two encodings");
    }
    assert_eq!(Manifest::decode(&out[..len]), Ok(manifest));
    for part in [&manifest.app, &manifest.files] {
        if let PartRef::Carried(part) = part {
            assert_eq!(part.pages.len(), index::page_count(part.size));
            assert_eq!(part.pages.iter().count(), part.pages.len());
            assert_eq!(part.pages.get(part.pages.len()), None);
        }
    }
    let json = serde_json::to_string(manifest.version).expect("JSON");
    let device = crate::seeds::DEVICE
        .replace("\"1.1.0\"", &json)
        .replace("\"demo\"", &format!("\"{}\"", manifest.product));
    let info = DeviceInfo::parse(device.as_bytes()).expect("a device that runs it");
    assert_eq!(info.running.version.as_deref(), Some(manifest.version));
    if let Some(keys) = manifest.keys {
        assert!((1..=MAX_RELEASE_KEYS).contains(&keys.release_keys().len()));
    }
}

/// Bytes of an envelope before the head of its payload: tag, array, protected header, empty map.
const BEFORE_PAYLOAD: usize = 17;
/// Bytes of an envelope after its payload: the head of the signature and the signature.
const AFTER_PAYLOAD: usize = 66;

/// An envelope has one form: what is read is what would be written.
pub fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else {
        return;
    };
    assert_eq!(envelope.id(), Digest::of(data));
    let head = match data[BEFORE_PAYLOAD] {
        0x40..=0x57 => 1,
        0x58 => 2,
        _ => 3,
    };
    let payload = &data[BEFORE_PAYLOAD + head..data.len() - AFTER_PAYLOAD];
    let signature = data.last_chunk().expect("64 bytes");
    let mut out = [0; airlift_wire::limits::MAX_ENVELOPE];
    if payload.len() <= MAX_MANIFEST {
        let len = envelope::encode(envelope.kid(), payload, signature, &mut out);
        assert_eq!(&out[..len.expect("what was read")], data);
    }
    let mut scratch = [0; envelope::SCRATCH];
    if let Ok(verified) = envelope.verify(&[crate::seeds::key().public()], &mut scratch) {
        assert_eq!((verified.envelope(), verified.id()), (data, envelope.id()));
        if let Ok(manifest) = verified.manifest() {
            assert_eq!(Ok(manifest), Manifest::decode(payload));
        }
    }
}

/// A statement that is signed is read as what it says, and neither it nor a release is ever taken for
/// the other.
pub fn freshness(data: &[u8]) {
    let key = crate::seeds::key().public();
    freshness::fuzz(data, &key);
    let payload = &data[..data.len().min(freshness::MAX_PAYLOAD)];
    let message = crate::seeds::stated(payload);
    let signed = SignedStatement::parse(&message).expect("what was written");
    let read = signed.verify(&[key], &mut [0; freshness::SCRATCH]);
    if let Ok((statement, signer)) = read {
        assert_eq!(signer, key);
        let mut out = [0; freshness::MAX_PAYLOAD];
        let len = statement.encode(&mut out).expect("what was read");
        assert!(len <= payload.len());
        if len == payload.len() {
            assert_eq!(&out[..len], payload, "one statement, two encodings");
        }
    }
    let mut scratch = [0; envelope::SCRATCH];
    let release = Envelope::parse(&message).expect("the same form");
    assert!(release.verify(&[key], &mut scratch).is_err());
    let release = crate::seeds::sealed(payload).expect("short");
    if let Ok(signed) = SignedStatement::parse(&release) {
        assert!(signed.verify(&[key], &mut scratch).is_err());
    }
}

/// A header that is read is, byte for byte, the one that would be written.
pub fn tar_header(data: &[u8]) {
    for block in data.as_chunks::<BLOCK>().0 {
        if let Ok(entry) = tar::parse(block) {
            assert_eq!(tar::header(&entry), Ok(*block));
            assert!(!entry.path.starts_with('/') && !entry.path.contains("../"));
            assert!(entry.path.starts_with(tar::parent(entry.path)));
            let padded = tar::entry_len(entry.size);
            assert!(padded.is_multiple_of(BLOCK as u64) && padded > u64::from(entry.size));
        }
    }
}

/// Any table, and the same one with an MD5 that is right.
pub fn partition_table(data: &[u8]) {
    table(data);
    table(&with_right_md5(data));
}

/// Replaces the entry that ends a table, or whatever stands there, by the right one.
pub fn with_right_md5(data: &[u8]) -> Vec<u8> {
    let is_entry = |e: &&[u8; 32]| e.starts_with(&[0xAA, 0x50]);
    let entries = data.as_chunks::<32>().0;
    let partitions: Vec<Partition> = entries.iter().take_while(is_entry).map(decode).collect();
    let mut out = [0xFF; TABLE_LEN];
    match partition::encode(&partitions, &mut out) {
        Ok(()) => out.to_vec(),
        Err(_) => data.to_vec(),
    }
}

fn decode(entry: &[u8; 32]) -> Partition {
    let word = |at: usize| u32::from_le_bytes(*entry[at..].first_chunk().expect("inside"));
    Partition {
        kind: entry[2],
        subtype: entry[3],
        offset: word(4),
        size: word(8),
        label: *entry[12..].first_chunk().expect("inside"),
        flags: word(28),
    }
}

/// A table that is read has partitions inside the flash that do not overlap, and is written to one
/// with the same.
fn table(data: &[u8]) {
    const FLASH: u32 = 16 << 20;
    let Ok(table) = Table::parse(data, FLASH) else {
        return;
    };
    let partitions: Vec<Partition> = table.iter().collect();
    let mut cells: Vec<_> = partitions.iter().map(|p| (p.offset, p.end())).collect();
    cells.sort_unstable();
    assert!(cells.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(
        cells
            .iter()
            .all(|(start, end)| start < end && *end <= FLASH)
    );
    let mut out = [0xFF; TABLE_LEN];
    partition::encode(&partitions, &mut out).expect("as many as were read");
    let again = Table::parse(&out, FLASH).expect("what was written");
    assert!(again.iter().eq(partitions.iter().copied()));
    let same = out.len().min(data.len()).min((partitions.len() + 1) * 32);
    assert_eq!(out[..same], data[..same], "one table, two encodings");
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
    selection(entries, rest);
    // A CRC that is right, as after a write that was not torn.
    let whole = |entry: Entry| Entry {
        crc: otadata::sequence_crc(entry.sequence),
        ..entry
    };
    selection(entries.map(whole), rest);
}

fn selection(entries: [Entry; 2], rest: &[u8]) {
    let active = otadata::active(&entries);
    if let Some(n) = active {
        assert!(entries[n].is_selectable() && entries[n].has_right_crc());
    }
    let count = u32::from(rest.first().copied().unwrap_or(2) % 16);
    for slot in 0..count {
        let Some(next) = otadata::next_sequence(&entries, slot, count) else {
            continue;
        };
        let new = Entry::new(next, ImageState::New);
        assert_eq!((new.is_selectable(), new.slot(count)), (true, Some(slot)));
        // It replaces the entry that is not active.
        let replaced = 1 - active.unwrap_or(1);
        let mut after = entries;
        after[replaced] = new;
        assert_eq!(otadata::active(&after), Some(replaced));
    }
}

/// Any record, and the same one with a CRC that is right.
pub fn state_record(data: &[u8]) {
    let Some(record) = data.first_chunk::<STATE_LEN>() else {
        return;
    };
    let other = data[STATE_LEN..].first_chunk().and_then(State::decode);
    for record in [*record, with_right_crc(record)] {
        let state = State::decode(&record);
        if let Some(state) = state {
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
        match state::newest([state, other]) {
            None => assert!(state.is_none() && other.is_none()),
            Some((n, newest)) => {
                let copies = [state, other];
                assert_eq!(copies[n], Some(newest));
                let counters = copies.iter().flatten().map(|s| s.counter);
                assert_eq!(counters.max(), Some(newest.counter));
            }
        }
    }
}

/// The record with its first four bytes and its last four as they must be.
pub fn with_right_crc(record: &[u8; STATE_LEN]) -> [u8; STATE_LEN] {
    let mut record = *record;
    record[..4].copy_from_slice(&State::new("", "", None).encode()[..4]);
    let (body, crc) = record.split_at_mut(STATE_LEN - 4);
    crc.copy_from_slice(&crc32(0, body).to_le_bytes());
    record
}

/// Any image, and the same one with checksum and hash that are right.
pub fn app_image(data: &[u8]) {
    crate::release::image(data);
    checked_in_pieces(data);
    let fixed = with_right_sums(data);
    if fixed != data {
        crate::release::image(&fixed);
        checked_in_pieces(&fixed);
    }
}

/// An image is judged the same whole and in pieces, and never read beyond its end.
fn checked_in_pieces(data: &[u8]) {
    let whole = image::check(data);
    for size in [1, 61, 4096] {
        let mut checker = Checker::new();
        let mut used = 0;
        let pieces = data.chunks(size).try_for_each(|piece| {
            used += checker.update(piece)?;
            Ok(())
        });
        match (whole, pieces.and_then(|()| checker.finish())) {
            (Err(ImageError::TrailingBytes), _) => assert!(used < data.len()),
            (whole, pieces) => assert_eq!(pieces, whole),
        }
    }
    if let Ok(image) = whole {
        assert_eq!(image.len as usize, data.len());
    }
}

/// The image with the checksum and the hash that its segments have, if it goes that far.
pub fn with_right_sums(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let Some(segments) = data.get(1).filter(|_| data.len() >= HEADER_LEN) else {
        return out;
    };
    let (mut at, mut sum) = (HEADER_LEN, 0xEF);
    for _ in 0..*segments {
        let len = data.get(at + 4..).and_then(|rest| rest.first_chunk());
        let Some(len) = len.map(|len| u32::from_le_bytes(*len) as usize) else {
            return out;
        };
        at += 8;
        let Some(content) = data.get(at..at.saturating_add(len)) else {
            return out;
        };
        sum = content.iter().fold(sum, |sum, byte| sum ^ byte);
        at += len;
    }
    let end = (at + 1).next_multiple_of(16);
    out.truncate(end + 32);
    if out.len() < end {
        out.resize(end, 0);
    }
    out[end - 1] = sum;
    if data[23] == 1 {
        out.truncate(end);
        let hash = Digest::of(&out);
        out.extend(hash.0);
    }
    out
}
