//! Tools that we did not write judge what we write.
//!
//! Each test says why when it cannot run: `openssl` must be on the path, `AIRLIFT_TEST_PYTHON` must
//! name an interpreter with `cbor2` and `cryptography`, `AIRLIFT_TEST_ESPTOOL` an esptool
//! (tests/interop/README.md).

use crate::given::{Image, demo_image, key, some_files, tests_folder};
use airlift_release::keys::{public_from_pem, public_to_pem, write_private};
use airlift_release::wire::{Envelope, envelope};
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, image, pack};
use std::path::Path;
use std::process::{Command, Output};

fn openssl(folder: &Path, line: &str) -> Option<Output> {
    let mut run = Command::new("openssl");
    match run.args(line.split(' ')).current_dir(folder).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "openssl {line}: {text}");
            Some(output)
        }
        Err(error) => {
            eprintln!("skipped: openssl cannot be run: {error}");
            None
        }
    }
}

#[test]
fn openssl_reads_our_keys_plain_and_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let public = public_to_pem(&key.public()).unwrap();
    for (name, passphrase) in [("plain.pem", None), ("sealed.pem", Some("open-sesame"))] {
        let pem = key.to_pem(passphrase).unwrap();
        write_private(&dir.path().join(name), &pem).unwrap();
        let line = format!("pkey -in {name} -passin pass:open-sesame -pubout");
        let Some(run) = openssl(dir.path(), &line) else {
            return;
        };
        assert_eq!(String::from_utf8(run.stdout).unwrap(), public);
    }
    std::fs::write(dir.path().join("pub.pem"), &public).unwrap();
    let run = openssl(dir.path(), "pkey -pubin -in pub.pem -noout -text").unwrap();
    assert!(String::from_utf8_lossy(&run.stdout).contains("ED25519"));
}

#[test]
fn keys_made_by_openssl_are_read_plain_and_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    if openssl(dir.path(), "genpkey -algorithm ed25519 -out k.pem").is_none() {
        return;
    }
    let run = openssl(dir.path(), "pkey -in k.pem -pubout").unwrap();
    let public = public_from_pem(&String::from_utf8(run.stdout).unwrap()).unwrap();
    let plain = std::fs::read_to_string(dir.path().join("k.pem")).unwrap();
    assert_eq!(SigningKey::from_pem(&plain, None).unwrap().public(), public);
    for how in [
        "-v2 aes-256-cbc -iter 2048",
        "-v2 aes-128-cbc -iter 2048",
        "-scrypt",
    ] {
        openssl(
            dir.path(),
            &format!("pkcs8 -topk8 {how} -in k.pem -out e.pem -passout pass:abc"),
        );
        let pem = std::fs::read_to_string(dir.path().join("e.pem")).unwrap();
        assert_eq!(
            SigningKey::from_pem(&pem, Some("abc")).unwrap().public(),
            public,
            "{how}"
        );
        let error = SigningKey::from_pem(&pem, Some("abd")).unwrap_err();
        assert_eq!(error.code().as_str(), "bad_passphrase", "{how}");
    }
}

#[test]
fn openssl_verifies_the_signature_of_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let release = crate::given::release();
    let bytes = release.envelope();
    let parsed = Envelope::parse(bytes).unwrap();
    let mut scratch = [0; envelope::SCRATCH];
    // 17 bytes, the payload's head of two, the payload, 58 40, the signature.
    assert_eq!(
        (bytes[17], bytes[18] as usize),
        (0x58, bytes.len() - 19 - 66)
    );
    let payload = &bytes[19..bytes.len() - 66];
    let signed = envelope::to_be_signed(parsed.kid(), payload, &mut scratch).unwrap();
    std::fs::write(dir.path().join("message"), signed).unwrap();
    std::fs::write(dir.path().join("signature"), &bytes[bytes.len() - 64..]).unwrap();
    let public = public_to_pem(&release.signer()).unwrap();
    std::fs::write(dir.path().join("pub.pem"), public).unwrap();
    let line = "pkeyutl -verify -pubin -inkey pub.pem -rawin -in message -sigfile signature";
    if let Some(run) = openssl(dir.path(), line) {
        assert!(String::from_utf8_lossy(&run.stdout).contains("Verified Successfully"));
    }
}

/// Runs the independent reader; `None`, with the reason told, when there is no Python for it.
fn python(folder: &Path, file: &[u8]) -> Option<Output> {
    let Some(python) = std::env::var_os("AIRLIFT_TEST_PYTHON") else {
        eprintln!("skipped: AIRLIFT_TEST_PYTHON names no Python with cbor2 and cryptography");
        return None;
    };
    let path = folder.join("r.airlift");
    std::fs::write(&path, file).unwrap();
    let public = folder.join("pub.pem");
    std::fs::write(&public, public_to_pem(&key().public()).unwrap()).unwrap();
    let script = tests_folder("interop/verify_release.py");
    let run = Command::new(python)
        .arg(script)
        .arg(path)
        .arg("--trust")
        .arg(public)
        .output();
    Some(run.unwrap())
}

fn real_release(files: FilesInput) -> Release {
    let key = key();
    let mut options = PackOptions::new("interop", 7, &key);
    options.app = Some(demo_image());
    options.files = Some(files);
    pack(options).unwrap().release
}

#[test]
fn an_independent_reader_verifies_signature_pages_and_chunks() {
    let dir = tempfile::tempdir().unwrap();
    // More than 128 chunks, so that the files have two index pages.
    let big = FilesInput::from_iter([("big.bin", vec![3; 600_000]), ("lib/a.py", vec![])]);
    for files in [big, some_files()] {
        let release = real_release(files);
        let Some(run) = python(dir.path(), &release.to_file()) else {
            return;
        };
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let said: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(said["id"], release.id().to_string());
        assert_eq!(said["product"], "interop");
        for (kind, part) in release.parts() {
            let of = &said["parts"][kind.as_str()];
            assert_eq!(of["chunks"], part.chunks());
            assert_eq!(of["pages"], part.page_hashes().len() / 32);
            assert_eq!(of["sha256"], part.digest().to_string());
        }
        assert_eq!(
            said["parts"]["files"]["entries"],
            release.listing().unwrap().entries.len()
        );
    }
}

#[test]
fn the_independent_reader_finds_every_kind_of_damage() {
    let dir = tempfile::tempdir().unwrap();
    let release = crate::given::release();
    let file = release.to_file();
    let app_at = 512 + release.envelope().len().next_multiple_of(512) + 512;
    let files_at = app_at + release.app().unwrap().bytes().len().next_multiple_of(512) + 512;
    let in_signature = 512 + release.envelope().len() - 1;
    for at in [
        in_signature,
        600,
        app_at + 100,
        files_at,
        files_at + 600,
        file.len() - 1,
    ] {
        let mut bad = file.to_vec();
        bad[at] ^= 1;
        match python(dir.path(), &bad) {
            None => return,
            Some(run) => assert_eq!(run.status.code(), Some(1), "byte {at}: {run:?}"),
        }
    }
    assert!(python(dir.path(), &file).is_some_and(|run| run.status.success()));
    // The key must be the trusted one, not merely a key.
    let other = crate::given::other_key();
    let mut options = PackOptions::new("interop", 1, &other);
    options.app = Some(Image::default().build());
    let theirs = pack(options).unwrap().release.to_file();
    assert!(python(dir.path(), &theirs).is_some_and(|run| run.status.code() == Some(1)));
}

#[test]
fn esptool_judges_good_and_broken_images_as_we_do() {
    let Some(esptool) = std::env::var_os("AIRLIFT_TEST_ESPTOOL") else {
        eprintln!("skipped: AIRLIFT_TEST_ESPTOOL names no esptool");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let original = tests_folder("fixtures/demo-1.0.0.bin");
    let mut judge = Command::new("python3");
    judge.arg(tests_folder("interop/image_info.py"));
    judge.arg("--esptool").arg(esptool);
    judge.arg("--break-into").arg(dir.path()).arg(&original);
    let run = judge.output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let lines = String::from_utf8(run.stdout).unwrap();
    let mut judged = 0;
    for line in lines.lines() {
        let theirs: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = theirs["image"].as_str().unwrap();
        let broken = dir.path().join(name);
        let path = if broken.exists() { &broken } else { &original };
        let ours = image::check(&std::fs::read(path).unwrap());
        let expected = match name
            .trim_start_matches("demo-1.0.0.")
            .trim_end_matches(".bin")
        {
            // A part is exactly its image: a byte more would be a byte that no bootloader reads.
            "byte-after-end" => false,
            // A chip may be newer than this version; packing it is worth a warning.
            "unknown-chip" => true,
            _ => theirs["accepted"].as_bool().unwrap(),
        };
        assert_eq!(ours.is_ok(), expected, "{name}: {ours:?}");
        if let (Ok(ours), Some(chip)) = (ours, theirs["chip"].as_str()) {
            assert_eq!(ours.chip, Some(chip), "{name}");
        }
        judged += 1;
    }
    assert!(judged > 10, "{lines}");
}
