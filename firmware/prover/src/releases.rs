//! Small releases whose parts are told apart by their version.

use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::KeySet;
use std::collections::BTreeMap;

use crate::folders::Tree;

/// ESP32-C3.
pub const CHIP: u16 = 5;
/// A name that no product of anybody has.
pub const PRODUCT: &str = "prover.device";

/// What cannot be made, in words: a mistake in a scenario.
pub type Made<T> = Result<T, String>;

/// Key that signs releases.
pub fn release_key() -> SigningKey {
    SigningKey::from_seed(&[0x52; 32])
}

/// Key that signs changes of keys.
pub fn root_key() -> SigningKey {
    SigningKey::from_seed(&[0x51; 32])
}

/// Whom a device trusts at first.
pub fn first_keys() -> Made<KeySet> {
    key_set(1, &root_key(), &release_key())
}

/// Whom it trusts after a change: another root and another release key.
pub fn next_keys() -> Made<KeySet> {
    let [root, release] = [0x61, 0x62].map(|seed| SigningKey::from_seed(&[seed; 32]));
    key_set(2, &root, &release)
}

fn key_set(epoch: u32, root: &SigningKey, release: &SigningKey) -> Made<KeySet> {
    let set = KeySet::new(epoch, root.public(), &[release.public()]);
    set.ok_or_else(|| "no set of keys".to_owned())
}

/// An app of about `len` bytes.
pub fn app(version: &str, len: usize) -> Vec<u8> {
    sample_app(CHIP, version, len)
}

/// Files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Six files and two folders, of which some change from version to version, some are replaced by
/// another kind, and some are there in one only.
pub fn files(version: &str) -> Files {
    let odd = version.bytes().fold(0, |sum, b| sum ^ b) & 1 == 1;
    let mut files = Files::from([
        ("a.py".to_owned(), version.repeat(900).into_bytes()),
        ("lib/b.py".to_owned(), version.repeat(20).into_bytes()),
        ("lib/same.py".to_owned(), vec![b'#'; 5000]),
        (
            format!("only-{version}.txt"),
            version.repeat(3).into_bytes(),
        ),
        ("zero".to_owned(), Vec::new()),
    ]);
    if odd {
        files.insert("kind/deep/x".to_owned(), version.repeat(40).into_bytes());
        files.insert(format!("gone/{version}/y"), vec![b'y'; 700]);
    } else {
        files.insert("kind".to_owned(), version.repeat(10).into_bytes());
    }
    files
}

/// Two small files.
pub fn few_files(version: &str) -> Files {
    Files::from([
        ("lib/b.py".to_owned(), version.repeat(20).into_bytes()),
        ("main.py".to_owned(), version.repeat(300).into_bytes()),
    ])
}

/// Two dozen small files and a long one: several folders, more than one block of metadata, a file that is
/// made durable on its way.
pub fn many_files(version: &str) -> Files {
    let small = |n: usize| {
        let path = format!("pack{}/module_{n:02}.py", n % 4);
        (path, version.repeat(20 + n * 3).into_bytes())
    };
    let mut files: Files = (0..24).map(small).collect();
    files.insert(
        "pack1/table.bin".to_owned(),
        version.repeat(9000).into_bytes(),
    );
    files
}

/// The files and their folders, as a tree from the slot's folder on.
pub fn tree(files: &Files) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        for (at, _) in path.match_indices('/') {
            tree.insert(path[..=at].to_owned(), Vec::new());
        }
        tree.insert(path.clone(), content.clone());
    }
    tree
}

/// What goes into a release.
#[derive(Default)]
pub struct Contents<'a> {
    /// The app that it carries.
    pub app: Option<Vec<u8>>,
    /// The files that it carries.
    pub files: Option<Files>,
    /// What names the part that it does not carry.
    pub base: Option<&'a Release>,
    /// New keys; the root signs then.
    pub keys: Option<KeySet>,
}

/// Packs and signs.
pub fn release(version: &str, sequence: u32, contents: Contents<'_>) -> Made<Release> {
    let key = match contents.keys {
        Some(_) => root_key(),
        None => release_key(),
    };
    let mut options = PackOptions::new(PRODUCT, sequence, &key);
    options.version = Some(version);
    options.chip = Some("esp32c3");
    options.app = contents.app.map(Into::into);
    options.files = contents.files.map(FilesInput::from_iter);
    options.base = contents.base;
    options.new_keys = contents.keys;
    pack(options).map(|p| p.release).map_err(|e| e.to_string())
}

/// A release with both parts.
pub fn both(version: &str, sequence: u32, app_len: usize, files: Files) -> Made<Release> {
    let contents = Contents {
        app: Some(app(version, app_len)),
        files: Some(files),
        ..Contents::default()
    };
    release(version, sequence, contents)
}
