//! Inputs that the tests share.

use airlift_release::wire::Digest;
use airlift_release::wire::tar::{self, Entry, Kind};
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use bytes::Bytes;
use std::path::PathBuf;

/// A key that is the same in every run.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub fn other_key() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// A path under the repository's `tests/`.
pub fn tests_folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests")
        .join(name)
}

/// The demo image, a real one for the ESP32-C3.
pub fn demo_image() -> Bytes {
    std::fs::read(tests_folder("fixtures/demo-1.0.0.bin"))
        .unwrap()
        .into()
}

/// What a hand-made image is made of.
pub struct Image<'a> {
    pub chip: u16,
    pub segments: Vec<(u32, Vec<u8>)>,
    pub descriptor: Option<(&'a str, &'a str)>,
    pub hash: bool,
}

impl Default for Image<'_> {
    /// An ESP32-C3 app with one segment in mapped flash.
    fn default() -> Self {
        Self {
            chip: 5,
            segments: vec![(0x3C00_0020, vec![0x5A; 600])],
            descriptor: Some(("2.3.4", "blink")),
            hash: true,
        }
    }
}

impl Image<'_> {
    /// The bytes, from the format's description (ESP-IDF: "App Image Format").
    pub fn build(mut self) -> Bytes {
        if let Some((version, project)) = self.descriptor {
            let first = &mut self.segments[0].1;
            first[..4].copy_from_slice(&0xABCD_5432u32.to_le_bytes());
            first[4..256].fill(0);
            first[16..16 + version.len()].copy_from_slice(version.as_bytes());
            first[48..48 + project.len()].copy_from_slice(project.as_bytes());
        }
        let mut b = vec![0; 24];
        b[0] = 0xE9;
        b[1] = self.segments.len() as u8;
        b[3] = 0x20;
        b[12..14].copy_from_slice(&self.chip.to_le_bytes());
        b[23] = self.hash.into();
        let mut sum = 0xEF;
        for (address, data) in &self.segments {
            b.extend(address.to_le_bytes());
            b.extend((data.len() as u32).to_le_bytes());
            b.extend(data);
            sum = data.iter().fold(sum, |s, d| s ^ d);
        }
        b.resize(b.len().next_multiple_of(16), 0);
        if self
            .segments
            .iter()
            .map(|s| s.1.len() + 8)
            .sum::<usize>()
            .wrapping_add(24)
            == b.len()
        {
            b.resize(b.len() + 16, 0);
        }
        let last = b.len() - 1;
        b[last] = sum;
        if self.hash {
            b.extend(Digest::of(&b).0);
        }
        b.into()
    }
}

/// Two files in a folder and one at the top.
pub fn some_files() -> FilesInput {
    FilesInput::from_iter([
        ("main.py", &b"import lib.net\n"[..]),
        ("lib/net.py", &[b'#'; 5000]),
        ("lib/empty.py", b""),
    ])
}

/// A release of image and files, with the same bytes in every run.
pub fn release() -> Release {
    let key = key();
    let mut options = PackOptions::new("demo", 3, &key);
    options.app = Some(Image::default().build());
    options.files = Some(some_files());
    options.created = 1_700_000_000;
    pack(options).unwrap().release
}

/// A tar of raw canonical headers, in the order given, however wrong.
pub fn canonical(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in entries {
        let kind = match path.ends_with('/') {
            true => Kind::Folder,
            false => Kind::File,
        };
        let size = content.len() as u32;
        out.extend(tar::header(&Entry { path, kind, size }).unwrap());
        out.extend(*content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}
