//! Small valid inputs for each target, made by the code that writes them.

use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::state::State;
use airlift_wire::{Digest, KeySet, partition};
use bytes::Bytes;

/// The key that the targets trust. Its seed is public: it signs nothing but this.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let releases = [app_only(), files_only(), both()];
    let each = |f: fn(&Release) -> Vec<u8>| releases.iter().map(f).collect();
    match target {
        // 17 bytes and a head of two before the payload, 66 after it.
        "manifest" => each(|r| r.envelope()[19..r.envelope().len() - 66].to_vec()),
        "envelope" => each(|r| r.envelope().to_vec()),
        "release_file" => each(|r| r.to_file().to_vec()),
        "tar_header" => vec![files_only().files().expect("carried").bytes()[..1024].to_vec()],
        "files_tar" => vec![files_only().files().expect("carried").bytes().to_vec()],
        "app_image" => vec![image().to_vec()],
        "partition_table" => [(4 << 20, true), (16 << 20, false)]
            .map(|(size, factory)| {
                let (list, count) = partition::default_layout(size, factory);
                let mut out = [0; partition::TABLE_LEN];
                partition::encode(&list[..count], &mut out).expect("a few partitions");
                out[..(count + 2) * partition::ENTRY_LEN].to_vec()
            })
            .into(),
        "otadata" => vec![
            [
                Entry::new(1, ImageState::Valid).encode(),
                Entry::new(2, ImageState::New).encode(),
            ]
            .concat(),
            [[0xFF; 32], Entry::new(7, ImageState::Aborted).encode()].concat(),
        ],
        "state_record" => {
            let keys = KeySet::new(1, key().public(), &[key().public()]);
            let mut state = State::new("demo", "kitchen", keys);
            state.confirmed = Some(Digest::of(b"release"));
            let blank = State::new("", "", None);
            vec![
                state.encode().to_vec(),
                [state.encode(), blank.encode()].concat(),
            ]
        }
        other => panic!("no seeds for {other}"),
    }
}

fn options(key: &SigningKey) -> PackOptions<'_> {
    let mut options = PackOptions::new("demo", 1, key);
    options.version = Some("1.0.0");
    options
}

fn files() -> FilesInput {
    FilesInput::from_iter([
        ("main.py", "import lib.a\n"),
        ("lib/a.py", ""),
        ("lib/b.py", "b = 1"),
    ])
}

fn app_only() -> Release {
    let key = key();
    let mut options = options(&key);
    options.app = Some(image());
    pack(options).expect("a release").release
}

fn files_only() -> Release {
    let (key, base) = (key(), app_only());
    let mut options = options(&key);
    options.sequence = 2;
    options.files = Some(files());
    options.base = Some(&base);
    pack(options).expect("a release").release
}

fn both() -> Release {
    let key = key();
    let mut options = options(&key);
    options.app = Some(image());
    options.files = Some(files());
    options.new_keys = KeySet::new(2, key.public(), &[key.public()]);
    pack(options).expect("a release").release
}

/// A small image for the ESP32-C3 with an app descriptor (ESP-IDF: "App Image Format").
fn image() -> Bytes {
    let mut first = vec![0; 256];
    first[..4].copy_from_slice(&0xABCD_5432u32.to_le_bytes());
    first[16..21].copy_from_slice(b"1.0.0");
    let mut b = vec![0; 24];
    (b[0], b[1], b[12], b[23]) = (0xE9, 2, 5, 1);
    for (address, data) in [
        (0x3C00_0020u32, &first[..]),
        (0x4038_0000, b"some code in RAM"),
    ] {
        b.extend(address.to_le_bytes());
        b.extend((data.len() as u32).to_le_bytes());
        b.extend(data);
    }
    let sum = first
        .iter()
        .chain(b"some code in RAM")
        .fold(0xEF, |s, d| s ^ d);
    b.resize(b.len() + 15 - b.len() % 16, 0);
    b.push(sum);
    let hash = Digest::of(&b);
    b.extend(hash.0);
    b.into()
}
