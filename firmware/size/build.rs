//! Makes what the program plays with: apps, files, and releases of them that are really signed.

use airlift_wire::image::{HEADER_LEN, MAGIC};
use airlift_wire::limits::{CHUNK_SIZE, MAX_ENVELOPE, MAX_STATEMENT, PAGE_SIZE};
use airlift_wire::manifest::Pages;
use airlift_wire::partition::{TABLE_LEN, default_layout, encode};
use airlift_wire::state::State;
use airlift_wire::tar::{self, BLOCK, Kind, TRAILER};
use airlift_wire::{Digest, KeySet, Manifest, Part, PartRef, PublicKey, envelope, freshness};
use ed25519_dalek::{Signer, SigningKey};
use std::path::PathBuf;
use std::{env, fs};

const CHIP: u16 = 5;
const FLASH_SIZE: u32 = 4 << 20;

/// What `src/world.rs` serves as `/v1/blobs` and `/v1/indexes`.
struct Blob {
    name: &'static str,
    bytes: Vec<u8>,
    index: Vec<u8>,
    pages: Vec<u8>,
}

impl Blob {
    fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        let index: Vec<u8> = bytes
            .chunks(CHUNK_SIZE)
            .flat_map(|c| Digest::of(c).0)
            .collect();
        let pages = index
            .chunks(PAGE_SIZE)
            .flat_map(|p| Digest::of(p).0)
            .collect();
        Self {
            name,
            bytes,
            index,
            pages,
        }
    }

    fn part(&self, blocks: Option<u32>) -> Part<'_> {
        Part {
            size: self.bytes.len() as u32,
            digest: Digest::of(&self.bytes),
            pages: Pages::flat(&self.pages).expect("whole hashes"),
            blocks,
        }
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rustc-link-arg=-T{}", here.join("link.ld").display());

    let root = SigningKey::from_bytes(&[1; 32]);
    let release = SigningKey::from_bytes(&[2; 32]);
    let spare = SigningKey::from_bytes(&[3; 32]);
    let trust = keys(1, &root, &[&release]);

    let old_app = app(1, 30_000);
    let new_app = Blob::new("app", app(2, 600_000));
    let first_files = Blob::new("first_files", files(3));
    let next_files = Blob::new("next_files", files(4));

    let manifest = |sequence, app, files, keys| Manifest {
        product: "weighed",
        chip: CHIP,
        version: "1.2.3",
        sequence,
        created: 0,
        app,
        files,
        keys,
    };
    let carried = |blob| PartRef::Carried(Blob::part(blob, Some(40)));
    let app_part = PartRef::Carried(new_app.part(None));
    let first = manifest(2, app_part, carried(&first_files), None);
    let first = sign(&first, &release);
    let new_keys = keys(2, &root, &[&release, &spare]);
    let next = manifest(
        3,
        PartRef::Running(new_app.part(None).digest),
        carried(&next_files),
        Some(new_keys),
    );
    let next = sign(&next, &root);
    let stranger = Manifest {
        product: "another",
        ..manifest(2, app_part, carried(&first_files), None)
    };
    let stranger = sign(&stranger, &release);
    let statement = state_newest(&release);

    let (list, n) = default_layout(FLASH_SIZE, true);
    let mut table = [0xFF; TABLE_LEN];
    encode(&list[..n], &mut table).expect("the default layout is one");
    let state = State::new("weighed", "scales", Some(trust)).encode();

    let offset = |label: &str| {
        let found = list[..n].iter().find(|p| p.label() == label);
        found.expect("the default layout has it").offset
    };
    let mut out = String::new();
    for (name, label) in [("FACTORY", "factory"), ("STATE", "airlift"), ("VFS", "vfs")] {
        out += &format!("pub const {name}_OFFSET: u32 = {:#x};\n", offset(label));
    }
    out += &format!("pub const FLASH_SIZE: u32 = {FLASH_SIZE};\npub const CHIP: u16 = {CHIP};\n");
    out += &format!(
        "pub static RELEASE_KEY: [u8; 32] = {:?};\n",
        public(&release).0
    );
    constant(&mut out, "TABLE", &table);
    constant(&mut out, "OLD_APP", &old_app);
    constant(&mut out, "STATE", &state);
    constant(&mut out, "FIRST", &first);
    constant(&mut out, "NEXT", &next);
    constant(&mut out, "STRANGER", &stranger);
    constant(&mut out, "STATEMENT", &statement);
    let mut blobs = Vec::new();
    for blob in [&new_app, &first_files, &next_files] {
        constant(&mut out, &blob.name.to_uppercase(), &blob.bytes);
        let index = format!("{}_INDEX", blob.name.to_uppercase());
        constant(&mut out, &index, &blob.index);
        let digest = Digest::of(&blob.bytes);
        blobs.push((format!("/v1/blobs/{digest}"), blob.name.to_uppercase()));
        blobs.push((format!("/v1/indexes/{digest}"), index));
    }
    for (bytes, name) in [(&first, "FIRST"), (&next, "NEXT")] {
        blobs.push((format!("/v1/releases/{}", Digest::of(bytes)), name.into()));
    }
    out += &format!(
        "pub static RESOURCES: [(&str, &[u8]); {}] = [\n",
        blobs.len()
    );
    for (path, name) in blobs {
        out += &format!("    ({path:?}, &{name}),\n");
    }
    out += "];\n";
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out_dir.join("fixture.rs"), out).expect("the target folder can be written");
}

/// Adds `bytes` as a file and as a static that includes it.
fn constant(out: &mut String, name: &str, bytes: &[u8]) {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out_dir.join(name), bytes).expect("the target folder can be written");
    *out += &format!(
        "pub static {name}: [u8; {}] = *include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"));\n",
        bytes.len()
    );
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

fn keys(epoch: u32, root: &SigningKey, release: &[&SigningKey]) -> KeySet {
    let release: Vec<_> = release.iter().map(|key| public(key)).collect();
    KeySet::new(epoch, public(root), &release).expect("one to four keys")
}

fn sign(manifest: &Manifest<'_>, key: &SigningKey) -> Vec<u8> {
    let mut payload = [0; MAX_ENVELOPE];
    let n = manifest.encode(&mut payload).expect("it fits");
    let mut scratch = [0; envelope::SCRATCH];
    let kid = public(key).id();
    let message = envelope::to_be_signed(kid, &payload[..n], &mut scratch).expect("it fits");
    let signature = key.sign(message).to_bytes();
    let mut out = [0; MAX_ENVELOPE];
    let n = envelope::encode(kid, &payload[..n], &signature, &mut out).expect("it fits");
    out[..n].to_vec()
}

/// A statement of freshness that is signed as it should be, over a nonce that no device gave.
fn state_newest(key: &SigningKey) -> Vec<u8> {
    let statement = freshness::Statement {
        product: "weighed",
        newest: 9,
        nonce: freshness::Nonce([0; 32]),
        release: None,
        device: "c3-7cdfa1b2c3d4",
    };
    let mut payload = [0; freshness::MAX_PAYLOAD];
    let n = statement.encode(&mut payload).expect("it fits");
    let mut scratch = [0; freshness::SCRATCH];
    let kid = public(key).id();
    let message = freshness::to_be_signed(kid, &payload[..n], &mut scratch).expect("it fits");
    let signature = key.sign(message).to_bytes();
    let mut out = [0; MAX_STATEMENT];
    let n = freshness::encode(kid, &payload[..n], &signature, &mut out).expect("it fits");
    out[..n].to_vec()
}

/// Bytes that differ by `seed`: xorshift32.
fn noise(seed: u32, len: usize) -> impl Iterator<Item = u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9) | 1;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    })
    .take(len)
}

/// An ESP image of one segment.
fn app(seed: u32, len: usize) -> Vec<u8> {
    let data_len = len.next_multiple_of(16) - 1;
    let mut image = vec![0; HEADER_LEN];
    image[0] = MAGIC;
    image[1] = 1;
    image[12..14].copy_from_slice(&CHIP.to_le_bytes());
    image[23] = 1;
    image.extend_from_slice(&0x3C00_0020u32.to_le_bytes());
    image.extend_from_slice(&(data_len as u32).to_le_bytes());
    image.extend(noise(seed, data_len));
    let checksum = image[HEADER_LEN + 8..]
        .iter()
        .fold(0xEF, |sum, byte| sum ^ byte);
    while image.len() % 16 != 15 {
        image.push(0);
    }
    image.push(checksum);
    let digest = Digest::of(&image);
    image.extend_from_slice(&digest.0);
    image
}

/// A canonical tar: folders three deep, an empty file, and one of several chunks.
fn files(seed: u32) -> Vec<u8> {
    let entries: [(&str, usize); 8] = [
        ("boot.py", 700),
        ("empty", 0),
        ("lib/", 0),
        ("lib/net/", 0),
        ("lib/net/http/", 0),
        ("lib/net/http/client.py", 30_000),
        ("lib/z.py", 5_000),
        ("main.py", 2_000),
    ];
    let mut out = Vec::new();
    for (n, (path, len)) in entries.into_iter().enumerate() {
        let kind = if path.ends_with('/') {
            Kind::Folder
        } else {
            Kind::File
        };
        let size = len as u32;
        let entry = tar::Entry { path, kind, size };
        out.extend_from_slice(&tar::header(&entry).expect("a path that is allowed"));
        out.extend(noise(seed + n as u32, len));
        out.resize(out.len() + tar::padding(size), 0);
    }
    out.resize(out.len() + TRAILER, 0);
    assert!(out.len().is_multiple_of(BLOCK));
    out
}
