//! `esptool` takes it for a board, with and without its stub.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

use airlift_rom_loader::{Chip, Config, Faults, Kind, Mode, RomLoader, Running};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// As the test scripts name it, or where `scripts/venv.sh` puts it.
fn esptool() -> Option<PathBuf> {
    let named = std::env::var_os("AIRLIFT_TEST_ESPTOOL").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/esptool");
    let path = named.unwrap_or(made);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: there is no esptool; scripts/venv.sh installs it");
    None
}

/// Its output; an error when it fails.
fn run(board: &Running, stub: bool, arguments: &[&str]) -> Result<String, String> {
    let Some(esptool) = esptool() else {
        return Err("no esptool".to_string());
    };
    // A stub that another run left is none that this one uploaded.
    board.reset(Mode::Download);
    let mut command = Command::new(esptool);
    command.args(["--before", "no-reset", "--after", "no-reset", "--port"]);
    command.arg(board.path());
    if !stub {
        command.arg("--no-stub");
    }
    let output = command.args(arguments).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

fn image(length: usize) -> Vec<u8> {
    let mut x = 7u32;
    let mut next = |i: usize| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        if i.is_multiple_of(2) { 0 } else { x as u8 }
    };
    (0..length).map(&mut next).collect()
}

#[test]
fn it_knows_every_chip_and_its_flash() -> Fallible {
    if esptool().is_none() {
        return Ok(());
    }
    for chip in Chip::ALL {
        for stub in [true, false] {
            let board = RomLoader::start(Config {
                chip,
                size: 8 << 20,
                ..Config::default()
            })?;
            let said = run(&board, stub, &["flash-id"])?;
            let name = chip.name().to_uppercase().replacen("ESP32", "ESP32-", 1);
            let name = name.trim_end_matches('-');
            assert!(said.contains(&format!("Connected to {name} on")), "{said}");
            assert!(said.contains("Detected flash size: 8MB"), "{said}");
            assert!(said.contains("7c:df:a1:00:00:01"), "{said}");
            assert!(said.contains("40MHz"), "{said}");
        }
    }
    Ok(())
}

#[test]
fn it_writes_verifies_reads_and_erases() -> Fallible {
    if esptool().is_none() {
        return Ok(());
    }
    for (chip, stub) in [
        (Chip::Esp32c3, true),
        (Chip::Esp32c3, false),
        (Chip::Esp32, true),
        (Chip::Esp32, false),
    ] {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let board = RomLoader::start(Config {
            chip,
            flash: Some(folder.path().join("flash.bin")),
            ..Config::default()
        })?;
        board.put(0, &[0; 0x2_0000]);
        // The ROM reads 64 bytes at a time.
        let image = image(if stub { 150_000 } else { 20_000 });
        std::fs::write(path("image"), &image)?;
        let said = run(&board, stub, &["write-flash", "0x10000", &path("image")])?;
        assert!(said.contains("Hash of data verified."), "{said}");
        assert_eq!(board.snapshot()[0x1_0000..][..image.len()], image);
        assert_eq!(std::fs::read(path("flash.bin"))?, board.snapshot());
        let said = run(&board, stub, &["verify-flash", "0x10000", &path("image")])?;
        assert!(said.contains("Verification successful"), "{said}");
        let length = image.len().to_string();
        run(
            &board,
            stub,
            &["read-flash", "0x10000", &length, &path("read")],
        )?;
        assert_eq!(std::fs::read(path("read"))?, image);
        if stub {
            board.take_journal();
            run(&board, stub, &["erase-region", "0x11000", "0x2000"])?;
            let done = board.take_journal();
            assert_eq!(done.len(), 1, "{done:?}");
            assert_eq!(
                (done[0].kind, done[0].offset, done[0].length),
                (Kind::Erase, 0x11000, 0x2000)
            );
            run(&board, stub, &["erase-flash"])?;
            assert!(board.snapshot().iter().all(|byte| *byte == 0xFF));
        }
    }
    Ok(())
}

#[test]
fn at_another_baud_rate_both_ends_must_agree() -> Fallible {
    if esptool().is_none() {
        return Ok(());
    }
    let board = RomLoader::start(Config {
        baud_matters: true,
        ..Config::default()
    })?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("image").to_string_lossy().into_owned();
    std::fs::write(&path, image(50_000))?;
    let arguments = ["--baud", "921600", "write-flash", "0", &path];
    let said = run(&board, true, &arguments)?;
    assert!(said.contains("Hash of data verified."), "{said}");
    board.set_faults(Faults::rule("change_baudrate:1:baud_lost")?);
    let said = run(&board, true, &arguments).expect_err("the board is at no rate of the host");
    assert!(said.contains("fatal error"), "{said}");
    Ok(())
}
