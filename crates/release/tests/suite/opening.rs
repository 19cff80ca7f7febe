use crate::given::{Image, canonical, demo_image, key, other_key, release};
use airlift_release::wire::tar;
use airlift_release::{
    Error, FilesInput, MAX_RELEASE_FILE, PackOptions, PartKind, Release, UnverifiedRelease, pack,
};
use bytes::Bytes;
use proptest::prelude::*;

fn open(file: impl Into<Bytes>) -> Result<Release, Error> {
    UnverifiedRelease::read(file)?.verify(&[key().public()])
}

fn code(file: impl Into<Bytes>) -> &'static str {
    open(file).unwrap_err().code().as_str()
}

/// The members of a release file with their content, to put together otherwise.
fn members(release: &Release) -> Vec<(&'static str, Bytes)> {
    let parts = release
        .parts()
        .map(|(kind, part)| (kind.member(), part.bytes().clone()));
    [("manifest.cose", release.envelope().clone())]
        .into_iter()
        .chain(parts)
        .collect()
}

fn file_of(members: &[(&str, Bytes)]) -> Vec<u8> {
    let entries: Vec<_> = members.iter().map(|(n, b)| (*n, &b[..])).collect();
    canonical(&entries)
}

#[test]
fn a_release_opens_with_the_key_that_signed_it() {
    let made = release();
    assert_eq!(file_of(&members(&made)), made.to_file());
    let opened = open(made.to_file()).unwrap();
    assert_eq!(opened, made);
    assert_eq!(opened.signer(), key().public());
    assert_eq!(opened.listing().unwrap().entries.len(), 4);
    assert_eq!(opened.image().unwrap().descriptor.unwrap().project, "blink");
}

#[test]
fn another_key_or_none_is_an_unknown_key() {
    let unverified = UnverifiedRelease::read(release().to_file()).unwrap();
    assert_eq!(unverified.kid(), key().id());
    assert_eq!(unverified.id(), release().id());
    for trusted in [&[other_key().public()][..], &[]] {
        let error = unverified.verify(trusted).unwrap_err();
        assert_eq!(error.code().as_str(), "unknown_key");
        assert_eq!(error.unknown_key(), Some(key().id()));
    }
}

#[test]
fn the_signature_decides_before_anything_is_parsed() {
    // The manifest of this envelope is no CBOR; with a wrong signature nobody finds out.
    let made = release();
    let mut envelope = made.envelope().to_vec();
    envelope[30..60].fill(0xFF);
    let mut all = members(&made);
    all[0].1 = envelope.into();
    assert_eq!(code(file_of(&all)), "bad_signature");
}

#[test]
fn every_changed_byte_of_a_release_file_is_found() {
    let file = release().to_file();
    for at in (0..file.len()).step_by(13) {
        let mut bad = file.to_vec();
        bad[at] ^= 0x20;
        assert!(open(bad).is_err(), "byte {at}");
    }
}

#[test]
fn a_file_that_is_cut_or_continued_is_damaged() {
    let file = release().to_file();
    for len in (512..file.len())
        .step_by(97)
        .chain([file.len() - 1, file.len() - 512])
    {
        let error = open(file.slice(..len)).unwrap_err().code().as_str();
        assert!(
            matches!(error, "bad_release" | "bad_envelope"),
            "{len}: {error}"
        );
    }
    for tail in [&[0; 512][..], b"more"] {
        assert_eq!(code([&file[..], tail].concat()), "bad_release");
    }
}

#[test]
fn members_that_are_missing_extra_or_misordered_are_refused() {
    let made = release();
    let all = members(&made);
    let [manifest, app, files] = all.as_slice() else {
        panic!("three members")
    };
    let extra = ("extra.txt", Bytes::from_static(b"hello"));
    for wrong in [
        vec![manifest.clone()],
        vec![manifest.clone(), app.clone()],
        vec![manifest.clone(), files.clone()],
        vec![manifest.clone(), files.clone(), app.clone()],
        vec![manifest.clone(), extra.clone(), app.clone(), files.clone()],
        vec![manifest.clone(), app.clone(), files.clone(), extra],
        vec![manifest.clone(), app.clone(), app.clone(), files.clone()],
        vec![
            manifest.clone(),
            manifest.clone(),
            app.clone(),
            files.clone(),
        ],
        vec![app.clone(), manifest.clone(), files.clone()],
    ] {
        assert_eq!(code(file_of(&wrong)), "bad_release");
    }
    assert!(open(file_of(&all)).is_ok());
}

#[test]
fn a_part_that_is_not_the_signed_one_is_refused() {
    let made = release();
    for n in [1, 2] {
        let mut other = members(&made);
        let mut bytes = other[n].1.to_vec();
        bytes[600] ^= 1;
        other[n].1 = bytes.into();
        let error = open(file_of(&other)).unwrap_err();
        assert!(error.to_string().contains("another hash"), "{error}");
        let mut longer = members(&made);
        longer[n].1 = [&longer[n].1[..], &[0]].concat().into();
        assert_eq!(code(file_of(&longer)), "bad_release");
        let mut shorter = members(&made);
        shorter[n].1 = shorter[n].1.slice(1..);
        let error = open(file_of(&shorter)).unwrap_err();
        assert!(error.to_string().contains("another size"), "{error}");
    }
}

#[test]
fn another_header_form_of_the_file_is_refused() {
    // What GNU tar would write: the same files, readable everywhere, but another release file.
    let made = release();
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in members(&made) {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    assert_eq!(code(builder.into_inner().unwrap()), "bad_release");
}

#[test]
fn a_file_larger_than_any_release_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.airlift");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(MAX_RELEASE_FILE + 1).unwrap();
    let error = UnverifiedRelease::read_file(&path).unwrap_err();
    assert_eq!(error.code().as_str(), "too_big");
    assert_eq!(
        UnverifiedRelease::read_file(dir.path())
            .unwrap_err()
            .code()
            .as_str(),
        "io"
    );
    std::fs::write(&path, release().to_file()).unwrap();
    let unverified = UnverifiedRelease::read_file(&path).unwrap();
    assert_eq!(unverified.verify(&[key().public()]).unwrap(), release());
}

#[test]
fn what_is_no_release_is_named() {
    for (bytes, says) in [
        (Bytes::new(), "an empty file"),
        (demo_image(), "an ESP app image"),
        (Bytes::from_static(b"PK\x03\x04"), "a zip archive"),
        (canonical(&[("a.txt", b"")]).into(), "a tar"),
    ] {
        let error = open(bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("this is {says}, not a release"));
        assert_eq!(error.code().as_str(), "bad_release");
        assert!(error.help().ends_with('.'));
    }
}

#[test]
fn a_signed_lie_about_the_chip_or_the_tar_is_refused() {
    use airlift_release::wire::manifest::{Manifest, Pages, Part, PartRef};
    use airlift_release::wire::{Digest, envelope};
    use ed25519_dalek::Signer;
    // Signed by the right key, made by another tool.
    let signed = |kind: PartKind, bytes: &[u8]| {
        let index: Vec<u8> = bytes.chunks(4096).flat_map(|c| Digest::of(c).0).collect();
        let pages: Vec<u8> = index.chunks(4096).flat_map(|p| Digest::of(p).0).collect();
        let part = PartRef::Carried(Part {
            size: bytes.len() as u32,
            digest: Digest::of(bytes),
            pages: Pages::flat(&pages).unwrap(),
            blocks: None,
        });
        let (app, files) = match kind {
            PartKind::App => (part, PartRef::Any),
            PartKind::Files => (PartRef::Any, part),
        };
        let manifest = Manifest {
            product: "demo",
            chip: 5,
            version: "1",
            sequence: 1,
            created: 0,
            app,
            files,
            keys: None,
        };
        let mut payload = [0; 1000];
        let len = manifest.encode(&mut payload).unwrap();
        let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let mut scratch = [0; envelope::SCRATCH];
        let kid = key().id();
        let message = envelope::to_be_signed(kid, &payload[..len], &mut scratch).unwrap();
        let signature = secret.sign(message).to_bytes();
        let mut out = [0; 2000];
        let len = envelope::encode(kid, &payload[..len], &signature, &mut out).unwrap();
        canonical(&[("manifest.cose", &out[..len]), (kind.member(), bytes)])
    };
    let good = Image::default().build();
    assert!(open(signed(PartKind::App, &good)).is_ok());
    let esp32 = Image {
        chip: 0,
        segments: vec![(0x400D_0020, vec![0; 300])],
        ..Image::default()
    };
    assert_eq!(code(signed(PartKind::App, &esp32.build())), "wrong_chip");
    assert_eq!(code(signed(PartKind::App, b"not an image")), "bad_image");
    assert_eq!(
        code(signed(PartKind::App, &good[..good.len() - 1])),
        "bad_image"
    );
    assert!(open(signed(PartKind::Files, &canonical(&[("a", b"")]))).is_ok());
    let unsorted = canonical(&[("b", b""), ("a", b"")]);
    assert_eq!(code(signed(PartKind::Files, &unsorted)), "bad_tar");
}

#[test]
fn a_release_as_large_as_allowed_opens_and_its_envelope_fits() {
    let key = key();
    let mut options = PackOptions::new("demo", 1, &key);
    let room = (16 << 20) - 24 - 8 - 16 - 32;
    let segments = vec![(0x4200_0000, vec![0x11; room])];
    options.app = Some(
        Image {
            segments,
            ..Image::default()
        }
        .build(),
    );
    let content = vec![0x22; (16 << 20) - 512 - tar::TRAILER];
    options.files = Some(FilesInput::from_iter([("big", content)]));
    let release = pack(options).unwrap().release;
    assert_eq!(release.files().unwrap().size(), 16 << 20);
    assert!(release.envelope().len() <= 4080);
    assert_eq!(open(release.to_file()).unwrap().id(), release.id());
}

proptest! {
    #[test]
    fn any_bytes_are_a_release_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), named: bool) {
        let mut bytes = bytes;
        if named {
            bytes.splice(0..0, canonical(&[("manifest.cose", &[0; 50])])[..512].to_vec());
        }
        prop_assert!(open(bytes).is_err());
    }

    #[test]
    fn a_release_with_bytes_overwritten_anywhere_is_refused(at: prop::sample::Index, with in proptest::collection::vec(any::<u8>(), 1..64)) {
        let file = release().to_file();
        let at = at.index(file.len() - with.len());
        let mut bad = file.to_vec();
        bad[at..at + with.len()].copy_from_slice(&with);
        prop_assert_eq!(open(bad.clone()).is_ok(), bad == file[..]);
    }
}
