//! `esptool` finds in flash what was written, and takes it for an image of the chip.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

use airlift_flash::Segment;
use airlift_rom_loader::{Chip, Config, Mode, RomLoader};
use airlift_usb::{After, Cancel, ConnectOptions, Error, Session, WriteOptions, apply};

const APP_OFFSET: u32 = 0x1_0000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// As the test scripts name it, or where `scripts/venv.sh` puts it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("AIRLIFT_TEST_ESPTOOL").map(PathBuf::from);
    let path = named.unwrap_or_else(|| root().join(".venv/bin/esptool"));
    path.exists().then_some(path)
}

/// What it says; an error when it fails.
fn esptool(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program().ok_or("no esptool")?)
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

#[tokio::test]
async fn esptool_verifies_what_was_written_and_knows_the_image() {
    if program().is_none() {
        eprintln!("skipped: there is no esptool; scripts/venv.sh installs it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let app = std::fs::read(root().join("tests/fixtures/demo-1.1.0.bin")).unwrap();
    std::fs::write(file("app"), &app).unwrap();
    let board = RomLoader::start(Config {
        chip: Chip::Esp32c3,
        ..Config::default()
    })
    .unwrap();
    // What was there before is no part of it.
    assert!(board.put(0, &vec![0x5A; 0x8_0000]));
    let segment = Segment::new(APP_OFFSET, app.clone()).unwrap();
    let options = ConnectOptions::new(board.path().to_string_lossy());
    let session = Session::connect(options, |_| {}).await.unwrap();
    session
        .run(move |link| {
            let options = WriteOptions::default();
            let report = apply(link, &[segment], &options, &Cancel::new(), &mut |_| {})?;
            Ok::<_, Error>(report)
        })
        .await
        .unwrap();
    session.close(After::Stay).await.unwrap();

    let path = board.path().to_string_lossy().into_owned();
    let (app_offset, length) = (APP_OFFSET.to_string(), app.len().to_string());
    let port = [
        "--before", "no-reset", "--after", "no-reset", "--port", &path,
    ];
    let ask = |arguments: &[&str]| {
        board.reset(Mode::Download);
        esptool(&[&port, arguments].concat())
    };
    let said = ask(&["verify-flash", &app_offset, &file("app")]).unwrap();
    assert!(said.contains("Verification successful"), "{said}");
    ask(&["read-flash", &app_offset, &length, &file("read")]).unwrap();
    let said = esptool(&["image-info", &file("read")]).unwrap();
    assert!(said.contains("ESP32-C3"), "{said}");
    assert!(
        said.contains("(valid)") && !said.contains("invalid"),
        "{said}"
    );
}
