//! What the host makes of files, and whether a device would make the same of them.

use crate::device::Tree;
use crate::input::Input;
use crate::seeds;
use airlift_release::files::{MAX_FOREIGN_TAR, check_canonical, from_tar};
use airlift_release::{Error, FileKind, SigningKey, UnverifiedRelease, image, inspect, keys};
use airlift_serve::{MemoryStore, Store};
use airlift_updater::SlotId;
use airlift_updater::emit::Cursor;
use airlift_updater::path::Path;
use airlift_updater::unpack::Unpacker;
use airlift_wire::envelope::{self, Envelope};
use airlift_wire::image::{self as wire_image, Checker};
use airlift_wire::limits::{CHUNK_SIZE, MAX_PART_SIZE, PAGE_CHUNKS, PAGE_SIZE};
use airlift_wire::manifest::{Manifest, Pages, Part, PartRef};
use airlift_wire::tar::{self, Kind, TRAILER};
use airlift_wire::{Digest, index};
use bytes::Bytes;
use embassy_futures::block_on;

/// Whatever tar is taken becomes a canonical one; a canonical one stays as it is, and a device
/// unpacks it to a folder that gives the same bytes again.
pub fn files_tar(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let canonical = check_canonical(data);
    match from_tar(&bytes) {
        Ok(files) => {
            assert!(data.len() as u64 <= MAX_FOREIGN_TAR);
            assert!(files.tar().len() <= MAX_PART_SIZE as usize);
            let again = check_canonical(files.tar());
            assert_eq!(again.as_ref().ok(), Some(files.listing()));
            if let Ok(listing) = canonical {
                assert!(!files.skipped().is_empty() || files.tar() == &bytes);
                assert!(!files.skipped().is_empty() || files.listing() == &listing);
            }
            assert_eq!(
                unpacked(files.tar(), CHUNK_SIZE).as_ref(),
                Some(files.tar())
            );
        }
        Err(error) => assert!(canonical.is_err(), "canonical, but: {error}"),
    }
}

/// The tar that the folder gives which a device makes of a tar; `None` when it refuses.
pub fn unpacked(tar: &[u8], chunk: usize) -> Option<Bytes> {
    let mut files = Tree::default();
    let root = Path::slot(SlotId::Ota0);
    block_on(async {
        let start = Cursor::new(root);
        let mut unpacker = Unpacker::resume(&mut files, root, &start).await.ok()?;
        for piece in tar.chunks(chunk) {
            unpacker.feed(&mut files, piece).await.ok()?;
        }
        unpacker.finish().ok()
    })?;
    for path in files.nodes().keys() {
        assert!(path.starts_with("/ota_0/"), "{path} is outside of the slot");
    }
    let mut out = vec![0; tar.len() + 1];
    let mut cursor = Cursor::new(root);
    let len = block_on(cursor.fill(&mut files, &mut out)).expect("what was unpacked");
    assert!(cursor.is_done());
    out.truncate(len);
    Some(out.into())
}

/// An image is described as sound exactly when the bootloader would start it.
pub fn image(data: &[u8]) {
    let sound = wire_image::check(data).is_ok();
    let kind = FileKind::of(data);
    if let Some(app) = image::app_in_merged(data) {
        assert!(image::check(&data[app]).is_ok());
    }
    match image::inspect(data) {
        Err(_) => assert_ne!(kind, FileKind::AppImage),
        Ok(info) => {
            assert_eq!(kind, FileKind::AppImage);
            assert_eq!(info.damage.is_none(), sound);
            assert_eq!(image::check(data).is_ok(), sound);
            let end = info
                .segments
                .iter()
                .map(|s| s.offset as usize + s.len as usize);
            if sound {
                assert!(end.max().is_some_and(|end| end < data.len()));
            }
        }
    }
}

/// Only the file that was signed opens; any other is at most looked at.
pub fn release_file(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let trusted = [seeds::key().public()];
    if let Ok(unverified) = UnverifiedRelease::read(bytes.clone())
        && let Ok(release) = unverified.verify(&trusted)
    {
        assert_eq!(release.to_file(), bytes, "one release, two files");
        assert!(inspect(bytes.clone(), &trusted).is_ok_and(|i| i.summary.problems.is_empty()));
    }
    let _ = inspect(bytes, &trusted);
}

/// Any manifest, signed by a trusted key, with any parts: host and device say the same of it.
pub fn signed_release(data: &[u8]) {
    let mut input = Input::new(data);
    let fits = input.byte();
    let (manifest, app, files) = (input.piece(), input.piece(), input.rest());
    let app = crate::formats::with_right_sums(app);
    let (app, files) = (Bytes::from(app), Bytes::copy_from_slice(files));
    let pages = [&app, &files].map(|part| page_hashes(part));
    let mut payload = manifest.to_vec();
    if fits & 1 == 0
        && let Ok(mut manifest) = Manifest::decode(manifest)
    {
        // As `pack` would say it of these parts.
        for (part, (bytes, pages)) in [
            (&mut manifest.app, (&app, &pages[0])),
            (&mut manifest.files, (&files, &pages[1])),
        ] {
            if let PartRef::Carried(part) = part {
                part.size = bytes.len() as u32;
                part.digest = Digest::of(bytes);
                part.pages = Pages::flat(pages).expect("whole hashes");
            }
        }
        let mut out = vec![0; 8192];
        if let Ok(len) = manifest.encode(&mut out) {
            out.truncate(len);
            payload = out;
        }
    }
    let Some(envelope) = seeds::sealed(&payload) else {
        return;
    };
    let decoded = Manifest::decode(&payload).ok();
    let carried = |part: fn(&Manifest<'_>) -> bool| decoded.as_ref().is_some_and(part);
    let file = members(
        [
            Some(("manifest.cose", &envelope[..])),
            carried(|m| m.app.carried().is_some()).then_some(("app.bin", &app[..])),
            carried(|m| m.files.carried().is_some()).then_some(("files.tar", &files[..])),
        ]
        .into_iter()
        .flatten(),
    );
    let trusted = [seeds::key().public()];
    let host = UnverifiedRelease::read(file.clone()).and_then(|r| r.verify(&trusted));
    let device = device_takes(&envelope, &app, &files);
    match &host {
        Ok(_) => assert!(device, "the host takes what no device takes"),
        // The host also knows images that would boot and are no app.
        Err(Error::NotAnImage(_)) => {}
        Err(error) => assert!(!device, "a device takes it, the host says: {error}"),
    }
    if let Ok(release) = host {
        assert_eq!(release.to_file(), file);
        assert_eq!(release.id(), Digest::of(&envelope));
    }
}

fn page_hashes(part: &[u8]) -> Vec<u8> {
    let hash = |piece: &[u8]| Digest::of(piece).0;
    let index: Vec<u8> = part.chunks(CHUNK_SIZE).flat_map(hash).collect();
    index.chunks(PAGE_SIZE).flat_map(hash).collect()
}

/// What the updater checks of a release before it switches to it, on a device that it fits.
fn device_takes(envelope: &[u8], app: &[u8], files: &[u8]) -> bool {
    let mut scratch = [0; envelope::SCRATCH];
    let key = [seeds::key().public()];
    let verified = Envelope::parse(envelope).and_then(|e| e.verify(&key, &mut scratch));
    let Ok(Ok(manifest)) = verified.map(|v| v.manifest()) else {
        return false;
    };
    let is_image = || {
        let mut checker = Checker::new();
        let used = checker.update(app).unwrap_or(0);
        let image = checker.finish();
        used == app.len() && image.is_ok_and(|image| image.header.chip_id == manifest.chip)
    };
    let is_app = manifest
        .app
        .carried()
        .is_none_or(|p| is_part(&p, app) && is_image());
    let unpacks = || unpacked(files, CHUNK_SIZE).is_some();
    is_app
        && manifest
            .files
            .carried()
            .is_none_or(|p| is_part(&p, files) && unpacks())
}

fn is_part(part: &Part<'_>, bytes: &[u8]) -> bool {
    part.size as usize == bytes.len()
        && part.digest == Digest::of(bytes)
        && page_hashes(bytes)
            .chunks(32)
            .eq(part.pages.iter().map(|d| d.0))
}

/// The index that the chunk server makes of a part is the one that a device takes apart; any page
/// and any number of a chunk is a hash or none.
pub fn index(data: &[u8]) {
    let mut input = Input::new(data);
    let (n, size) = (input.u32() as usize, input.u32() % (600 * 1024));
    let content = input.rest();
    assert_eq!(
        index::hash_in(content, n).is_some(),
        n < content.len() / Digest::LEN
    );
    // Few bytes make a long part.
    let part: Vec<u8> = content
        .iter()
        .copied()
        .cycle()
        .take(size as usize)
        .collect();
    let size = part.len() as u32;
    if size == 0 {
        return;
    }
    let store = MemoryStore::default();
    let part = Bytes::from(part);
    store
        .insert(Bytes::from_static(b"x"), [part.clone()])
        .expect("room");
    let index = store.index(&Digest::of(&part)).expect("what was inserted");
    assert_eq!(index.len() as u32, index::index_len(size));
    for n in 0..index::chunk_count(size) {
        let chunk = index::chunk_range(size, n);
        let page = index::page_range(size, n / PAGE_CHUNKS as u32);
        let (page, chunk) = (
            &index[page.start as usize..page.end as usize],
            &part[chunk.start as usize..chunk.end as usize],
        );
        assert_eq!(index::page_of(n).0, n / PAGE_CHUNKS as u32);
        assert_eq!(
            index::hash_in(page, index::page_of(n).1),
            Some(Digest::of(chunk))
        );
    }
}

/// A key that is read is written to a file that gives the same key.
pub fn key_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = keys::public_from_pem(text) {
        let pem = keys::public_to_pem(&key).expect("a key");
        assert_eq!(keys::public_from_pem(&pem).ok(), Some(key));
        assert!(keys::check_public(&key).is_ok());
    }
    for passphrase in [None, Some("correct horse")] {
        if let Ok(key) = SigningKey::from_pem(text, passphrase) {
            let pem = key.to_pem(None).expect("a key");
            let again = SigningKey::from_pem(&pem, None).expect("what was written");
            assert_eq!(again.public(), key.public());
            assert!(passphrase.is_some() || !keys::needs_passphrase(text));
        }
    }
}

/// A release file of these members.
pub(crate) fn members<'m>(members: impl IntoIterator<Item = (&'m str, &'m [u8])>) -> Bytes {
    let mut file = Vec::new();
    for (path, bytes) in members {
        let size = bytes.len() as u32;
        let kind = Kind::File;
        let header = tar::header(&tar::Entry { path, kind, size });
        file.extend(header.expect("a plain name"));
        file.extend(bytes);
        file.resize(file.len() + tar::padding(size), 0);
    }
    file.resize(file.len() + TRAILER, 0);
    file.into()
}
