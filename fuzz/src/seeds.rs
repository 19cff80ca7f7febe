//! Small valid inputs for each target, made by the code that writes them.

use airlift_release::{FilesInput, PackOptions, Release, SigningKey, keys, pack};
use airlift_virtual_device::deterministic::sample_app;
use airlift_wire::envelope::{self, SCRATCH};
use airlift_wire::freshness::{self, Nonce, Statement};
use airlift_wire::limits::{MAX_ENVELOPE, MAX_STATEMENT};
use airlift_wire::otadata::{Entry, ImageState};
use airlift_wire::state::{End, State};
use airlift_wire::{Digest, KeySet, partition};
use bytes::Bytes;
use ed25519_dalek::Signer as _;

/// Seed of the key that the targets trust. It is public: the key signs nothing but this.
const SEED: [u8; 32] = [7; 32];

/// The key that the targets trust.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&SEED)
}

/// Any payload in an envelope of that key; `None` for one that is too long.
pub(crate) fn sealed(payload: &[u8]) -> Option<Vec<u8>> {
    let mut scratch = [0; SCRATCH];
    let message = envelope::to_be_signed(key().id(), payload, &mut scratch).ok()?;
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(message);
    let mut out = vec![0; MAX_ENVELOPE];
    let len = envelope::encode(key().id(), payload, &signature.to_bytes(), &mut out).ok()?;
    out.truncate(len);
    Some(out)
}

/// Any payload as a signed statement of that key.
pub(crate) fn stated(payload: &[u8]) -> Vec<u8> {
    let mut scratch = [0; freshness::SCRATCH];
    let message = freshness::to_be_signed(key().id(), payload, &mut scratch).expect("short");
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(message);
    let mut out = vec![0; MAX_STATEMENT];
    let len = freshness::encode(key().id(), payload, &signature.to_bytes(), &mut out);
    out.truncate(len.expect("room"));
    out
}

/// A piece with its length before it, as [`Input::piece`](crate::input::Input::piece) takes it.
fn piece(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes()[..], bytes].concat()
}

fn payload(release: &Release) -> Vec<u8> {
    // 17 bytes and a head of two before the payload, 66 after it.
    release.envelope()[19..release.envelope().len() - 66].to_vec()
}

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let releases = [app_only(), files_only(), both()];
    let each = |f: fn(&Release) -> Vec<u8>| releases.iter().map(f).collect();
    match target {
        "manifest" => each(payload),
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
        "freshness" => [None, Some(Digest([3; 32]))]
            .map(|release| {
                let statement = Statement {
                    product: "demo",
                    newest: 3,
                    nonce: Nonce([9; 32]),
                    release,
                    device: "fuzzed",
                };
                let mut out = vec![0; 200];
                let len = statement.encode(&mut out).expect("room");
                out.truncate(len);
                out
            })
            .into(),
        "index" => vec![[&[1, 0, 0, 0, 0, 0x30, 0x09, 0][..], &[5; 96]].concat()],
        "signed_release" => each(|r| {
            let empty = Bytes::new();
            let app = r.app().map_or(&empty, |part| part.bytes());
            let files = r.files().map_or(&empty, |part| part.bytes());
            [&[0][..], &piece(&payload(r)), &piece(app), files].concat()
        }),
        "key_file" => {
            let pem = |passphrase| key().to_pem(passphrase).expect("a key").as_bytes().to_vec();
            let public = keys::public_to_pem(&key().public()).expect("a key");
            vec![pem(None), public.into_bytes(), ENCRYPTED.into()]
        }
        "flash_files" => {
            // What a build leaves; damaged; a table alone; other bytes at a sector and anywhere.
            let parts: [&[u8]; 4] = [
                &[0x00, 0x31, 0x42],
                &[0x04, 9, 0, 1, 0x35, 7, 0, 0x10, 0x46, 0, 1, 0],
                &[0x31],
                &[
                    0x63, 0x20, 0, 3, 0, 1, 2, 3, 0xC3, 0, 0x10, 0x20, 0, 2, 0, 1, 2,
                ],
            ];
            parts.map(<[u8]>::to_vec).into()
        }
        "dead_board" => {
            // Nothing; an erased bootloader; a table for other partitions; a trial; files overwritten.
            let damages: [&[u8]; 5] = [
                &[2],
                &[2, 0, 0, 7],
                &[6, 5, 0, 0, 7, 1, 0, 1],
                &[2, 6, 0, 0, 0, 3, 0xFE],
                &[14, 1, 14, 1, 0x5A, 3, 10, 0x34, 2, 1],
            ];
            damages.map(<[u8]>::to_vec).into()
        }
        "unpack" => {
            let tar = |r: &Release| r.files().expect("carried").bytes().to_vec();
            vec![
                [vec![7, 0], tar(&files_only())].concat(),
                [vec![0, 1], tar(&long_files())].concat(),
            ]
        }
        "http_request" => http_requests(),
        "http_response" => http_responses(),
        "update" => crate::update::scripts(),
        "boot_guard" => flashes(),
        "littlefs" => {
            // Whole; a bit; a block over another and a few words; a torn one; names and pointers.
            let edits: [&[u8]; 5] = [
                &[0],
                &[1, 0, 7, 0, 0, 0xFF],
                &[0, 2, 3, 0, 0, 5, 3, 2, 20, 0, 4, 9, 0, 0, 0],
                &[1, 4, 0, 0x18, 0, 4, 1, 0x30, 0],
                &[
                    2, 0, 0, 0x40, 0, 3, 3, 2, 0x40, 0, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0,
                ],
            ];
            edits.map(<[u8]>::to_vec).into()
        }
        "device_json" => vec![DEVICE.into(), BUSY_DEVICE.into()],
        "probe_answer" => {
            let answer =
                |head: &str| [&[2, 0, 90][..], head.as_bytes(), DEVICE.as_bytes()].concat();
            let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            vec![
                answer(&format!("{json}Content-Length: {}\r\n\r\n", DEVICE.len())),
                answer(&format!("{json}Connection: close\r\n\r\n")),
                answer("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
            ]
        }
        "progress_lines" => vec![[&[3, 0, 20, 255], PROGRESS.as_bytes()].concat()],
        "mdns_packet" => vec![mdns_response()],
        "discovery" => vec![
            vec![
                1, 0x40, 1, 4, 6, 8, 10, 0x7B, 0, 0xAB, 0, 0xFE, 0x7F, 0xBB, 1, 0x14, 1,
            ],
            vec![
                2, 0x35, 2, 4, 5, 6, 0x06, 9, 0x8C, 0, 0xFF, 0xFF, 0x9D, 1, 0x09, 2,
            ],
        ],
        "host_request" => {
            let request =
                |method, path, range: &[u8]| [&[method, path][..], &piece(range)].concat();
            vec![
                request(0, 0, b"bytes=4096-8191"),
                request(1, 0, b"bytes=-1"),
                request(0, 1, b"bytes=0-31"),
                [&[0, 2][..], &piece(b"/v1/releases/00")].concat(),
            ]
        }
        other => panic!("no seeds for {other}"),
    }
}

/// The key as `openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 1000` encrypts it with "correct horse".
const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAil/hJ1uFzcEAICA+gw\n\
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJXDnMD6iAacB5qyLvuEEHAEQJe4\n\
SOC/9LnA3zlZS3ff4VGXlhR97ykaNV+Kiq++TnqULS26m1TxVvhlIukcK5rmjwAl\n\
Y02N41J42gfzLd7XH84=\n\
-----END ENCRYPTED PRIVATE KEY-----\n";

/// A device as the design describes it.
pub(crate) const DEVICE: &str = r#"{"schema":1,"id":"c3-7cdfa1b2c3d4","name":"kitchen","product":"demo","chip":"esp32c3","flash_size":4194304,"running":{"slot":"ota_0","state":"valid","release":null,"version":"1.1.0","sequence":2,"app_sha256":null,"files_sha256":null},"slots":[{"slot":"factory","state":"empty"},{"slot":"ota_0","state":"valid","version":"1.1.0","sequence":2}],"trust":{"epoch":1,"root":"0011223344556677","keys":["0011223344556677"]},"bootloader_rollback":false,"updater":{"state":"idle"},"last_update":{"release":null,"end":"rolled_back","cause":"watchdog","boots":2},"uptime_ms":1234,"free_memory":123456}"#;

const BUSY_DEVICE: &str = r#"{"schema":1,"id":"d","name":"\u00e9","product":"p.1","chip":"esp32","flash_size":1,"running":{"slot":"factory","state":"pending","release":"5555555555555555555555555555555555555555555555555555555555555555"},"slots":[],"trust":null,"updater":{"state":"updating","release":"5555555555555555555555555555555555555555555555555555555555555555","by":"10.0.0.5","phase":"app"},"uptime_ms":0,"new_field":[{}]}"#;

const PROGRESS: &str = "{\"event\":\"started\",\"token\":\"0011223344556677\",\"release\":\"55\"}\n\
    {\"event\":\"phase\",\"phase\":\"app\"}\n\
    {\"event\":\"chunk\",\"part\":\"app\",\"n\":12,\"count\":8,\"state\":\"kept\"}\r\n\
    {\"event\":\"chunk\",\"part\":\"app\",\"n\":1,\"state\":\"refused\",\"try\":1,\"expected\":\"a\",\"computed\":\"b\"}\n\
    {\"event\":\"part\",\"part\":\"files\",\"expected\":\"a\",\"computed\":\"b\"}\n\n\
    {\"event\":\"failed\",\"code\":\"stalled\",\"message\":\"no chunk\"}\n{\"event\":\"new\"}\n";

/// PTR, SRV, TXT and A of one instance (RFC 6762, RFC 6763), names compressed.
fn mdns_response() -> Vec<u8> {
    let name = |labels: &[&str]| -> Vec<u8> {
        let label = |l: &&str| [&[l.len() as u8], l.as_bytes()].concat();
        labels.iter().flat_map(label).collect()
    };
    // Header: a response with four answers. The service's name stands at byte 12.
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    packet.extend(name(&["_airlift", "_tcp", "local"]));
    packet.push(0);
    let instance = [name(&["kitchen"]), vec![0xC0, 12]].concat();
    let mut record = |name: Option<&[u8]>, kind: u8, data: &[u8]| {
        packet.extend(name.unwrap_or_default());
        packet.extend([0, kind, 0, 1, 0, 0, 0, 120, 0, data.len() as u8]);
        packet.extend(data);
    };
    record(None, 12, &instance);
    let host = [name(&["c3"]), vec![0xC0, 26]].concat();
    record(
        Some(&instance),
        33,
        &[&[0, 0, 0, 0, 0, 80][..], &host].concat(),
    );
    let txt: Vec<u8> = ["id=c3-7cdfa1b2c3d4", "product=demo", "api=1"]
        .iter()
        .flat_map(|pair| [&[pair.len() as u8], pair.as_bytes()].concat())
        .collect();
    record(Some(&instance), 16, &txt);
    record(Some(&host), 1, &[192, 0, 2, 7]);
    packet
}

/// Flash of devices: first boot, a trial, one that died, releases in the slots.
pub(crate) fn flashes() -> Vec<Vec<u8>> {
    let mut table = [0xFF; partition::TABLE_LEN];
    partition::encode(&crate::guard::partitions(), &mut table).expect("a few partitions");
    let table = &table[..6 * partition::ENTRY_LEN];
    let keys = KeySet::new(1, key().public(), &[key().public()]);
    let state = |end| {
        let mut state = State::new("demo", "kitchen", keys);
        state.last.end = end;
        state.last.release = both().id();
        state.encode()
    };
    let app = both().app().expect("carried").bytes().clone();
    let entry = |sequence, state| Entry::new(sequence, state).encode();
    let mut marked = entry(2, ImageState::New);
    marked[4] = 0xFE;
    let stored = |release: &Release| {
        let envelope = release.envelope();
        [&(envelope.len() as u32).to_le_bytes()[..], envelope].concat()
    };
    let (one, two) = (stored(&app_only()), stored(&both()));
    let flash = |running: u8, places: &[(u8, &[u8])]| {
        let mut out = vec![0, running, 0, 1];
        out.extend(piece(table));
        for (place, bytes) in places {
            out.push(*place);
            out.extend(piece(bytes));
        }
        out
    };
    let (calm, trial) = (state(End::None), state(End::Trial));
    let (valid, new) = (entry(1, ImageState::Valid), entry(2, ImageState::New));
    let pending = entry(2, ImageState::PendingVerify);
    // Labels that are somebody else's.
    let mut labels = crate::guard::partitions();
    labels[1].label = labels[0].label;
    labels[2].label = partition::Partition::new("airlift", 0, 0, 0, 0).label;
    labels[0].label = partition::Partition::new("vfs", 0, 0, 0, 0).label;
    let mut mixed = [0xFF; partition::TABLE_LEN];
    partition::encode(&labels, &mut mixed).expect("a few partitions");
    vec![
        [
            &[0, 1, 0, 1][..],
            &piece(&mixed[..6 * partition::ENTRY_LEN]),
        ]
        .concat(),
        flash(0, &[(4, &calm), (11, &app)]),
        flash(
            2,
            &[
                (2, &valid),
                (3, &new),
                (4, &calm),
                (5, &trial),
                (7, &one),
                (8, &two),
            ],
        ),
        flash(
            2,
            &[
                (2, &valid),
                (3, &marked),
                (4, &trial),
                (7, &one),
                (8, &two),
                (10, &app),
            ],
        ),
        flash(
            2,
            &[
                (2, &valid),
                (3, &pending),
                (5, &trial),
                (8, &two),
                (9, &app),
            ],
        ),
        flash(
            1,
            &[(2, &valid), (3, &marked), (5, &trial), (7, &one), (9, &app)],
        ),
    ]
}

fn http_requests() -> Vec<Vec<u8>> {
    let envelope = app_only().envelope().to_vec();
    let update = |query: &str| {
        let head = format!(
            "POST /v1/update{query} HTTP/1.1\r\nHost: d\r\nContent-Type: application/cose\r\n\
             Content-Length: {}\r\n\r\n",
            envelope.len()
        );
        [head.as_bytes(), &envelope].concat()
    };
    let ask = b"GET /v1/device HTTP/1.1\r\nHost: d\r\nAccept: application/json\r\n\r\n".to_vec();
    let from = update("?from=http%3A%2F%2F10.0.0.5%3A8000/&retry=1");
    let cancel = b"POST /v1/update/cancel?token=0707070707070707 HTTP/1.1\r\n\r\n".to_vec();
    let page = b"GET /v1/device HTTP/1.1\r\nOrigin: http://x\r\n\r\n".to_vec();
    let nonce = b"GET /v1/nonce HTTP/1.1\r\n\r\n".to_vec();
    let statement = stated(&of("freshness")[0]);
    let length = statement.len();
    let head = format!(
        "POST /v1/freshness HTTP/1.1\r\nContent-Type: application/cose\r\nContent-Length: {length}\r\n\r\n"
    );
    let fresh = [head.as_bytes(), &statement].concat();
    let put = b"PUT /v1/update/00/0 HTTP/1.1\r\nContent-Length: 1\r\n\r\n!".to_vec();
    // More than one request: all but the last with their length and the upper bit of it.
    let many = |all: &[&[u8]]| {
        let (last, first) = all.split_last().expect("one at least");
        let mut out = vec![2, 10, 99, 0];
        for request in first {
            out.extend((request.len() as u16 | 0x8000).to_le_bytes());
            out.extend_from_slice(request);
        }
        out.extend_from_slice(last);
        out
    };
    vec![
        many(&[&ask]),
        many(&[&page]),
        many(&[&put]),
        many(&[&from]),
        many(&[&nonce, &fresh]),
        many(&[&update(""), &ask, &update(""), &cancel]),
    ]
}

fn http_responses() -> Vec<Vec<u8>> {
    let range = |start: u16, len: u16| {
        let (start, len) = (start.to_le_bytes(), (len - 1).to_le_bytes());
        [&start[..], &len, &[0]].concat()
    };
    let whole = [0, 0, 0, 0, 1].to_vec();
    let part = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\
                 Content-Range: bytes 5-14/100\r\n\r\n0123456789";
    let all = b"HTTP/1.1 200 OK\r\nContent-Type: application/cose\r\nConnection: close\r\n\
                ETag: \"x\"\r\nContent-Length: 4\r\n\r\nABCD";
    let request = |requests: &[Vec<u8>], streams: &[u8]| {
        let count = requests.len() as u8 - 1;
        [&[3, 0, 7, 200, 0, count][..], &requests.concat(), streams].concat()
    };
    let twice = [&part[..], &part[..]].concat();
    let next = [&(all.len() as u16 | 0x8000).to_le_bytes()[..], all, part].concat();
    vec![
        request(&[range(5, 10)], part),
        request(std::slice::from_ref(&whole), all),
        request(&[range(5, 10), range(5, 10)], &twice),
        request(&[whole, range(5, 10)], &next),
    ]
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

/// App and files of a few chunks, different with each sequence.
pub(crate) fn release(sequence: u32) -> Release {
    let (key, version) = (key(), format!("{sequence}.0.0"));
    let mut options = options(&key);
    options.version = Some(&version);
    options.sequence = sequence;
    options.app = Some(sample_app(5, &version, 10_000).into());
    let text = format!("version = {sequence}\n").repeat(500);
    options.files = Some(FilesInput::from_iter([
        ("lib/a.py", text),
        ("main.py", version.clone()),
    ]));
    pack(options).expect("a release").release
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

/// The tar of [`long_files`].
pub(crate) fn long_tar() -> Bytes {
    long_files().files().expect("carried").bytes().clone()
}

/// Files of more than a chunk, in folders, empty ones as well.
fn long_files() -> Release {
    let (key, base) = (key(), app_only());
    let mut options = options(&key);
    options.sequence = 3;
    let text = "0123456789abcde\n".repeat(400);
    options.files = Some(FilesInput::from_iter([
        ("a/b/c.txt", text.clone()),
        ("a/b.txt", String::new()),
        ("main.py", text),
    ]));
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
pub(crate) fn image() -> Bytes {
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
