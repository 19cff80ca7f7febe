//! Flashing a board: Airlift against `esptool` and the `espflash` library, on one emulated loader.
//!
//! The loader takes the time of a board: 10 bits a byte on the wire, and what data sheets say of the
//! flash. All three talk at the same baud rate, upload their own stub, write the same bytes over the
//! same older ones, and have them verified by the board. The time is from nothing to verified. That
//! of `esptool` is counted without the start of Python, which has nothing to do with boards.
//!
//! The `espflash` program refuses a pseudo-terminal, because the system does not list it as a serial
//! port; its library is used as the program does, with `write_bins_to_flash`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use airlift_rom_loader::{Config, RomLoader, Running, Timing};
use espflash::connection::{Connection, ResetAfterOperation, ResetBeforeOperation};
use espflash::flasher::Flasher;
use espflash::image_format::Segment;
use espflash::target::DefaultProgressCallback;
use serialport::UsbPortInfo;

type Outcome<T> = Result<T, Box<dyn Error>>;

const BAUD: u32 = 921_600;
const OFFSET: u32 = 0x1_0000;
const SECTOR: usize = 4096;
/// Airlift's time over that of the quicker of the others is at most this: a full flash, one sector.
const MOST_FULL: f64 = 1.0;
const MOST_CHANGED: f64 = 0.1;

fn main() -> ExitCode {
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Real code, as often as fits: zlib looks back 32 KiB and finds no repetition.
fn image(name: &str, size: usize) -> Outcome<Vec<u8>> {
    let code = std::fs::read(root().join("tests/fixtures").join(name))?;
    Ok(code.iter().copied().cycle().take(size).collect())
}

/// A board with these bytes in flash.
fn board(before: &[u8]) -> Outcome<Running> {
    let board = RomLoader::start(Config {
        timing: Some(Timing::TYPICAL),
        baud_matters: true,
        ..Config::default()
    })?;
    board.put(OFFSET, before);
    Ok(board)
}

/// What a tool does: from a path of a port to verified flash.
type Tool = (&'static str, fn(&Running, &[u8]) -> Outcome<Duration>);

const TOOLS: [Tool; 3] = [
    ("airlift", airlift),
    ("esptool", esptool),
    ("espflash (library)", espflash_library),
];

fn bench() -> Outcome<bool> {
    let size = match std::env::args().nth(1) {
        Some(text) => text.parse::<usize>()? * 1024,
        None => 2 * 1024 * 1024,
    };
    let size = size.next_multiple_of(SECTOR);
    let old = image("demo-1.0.0.bin", size)?;
    let new = image("demo-1.1.0.bin", size)?;
    let mut changed = new.clone();
    let middle = size / 2;
    changed[middle..middle + SECTOR]
        .iter_mut()
        .for_each(|byte| *byte = !*byte);
    println!(
        "{} KiB at {BAUD} baud; from nothing to verified, connecting included.",
        size / 1024
    );
    println!();
    println!("| What | airlift | esptool | Ratio | espflash (library) | Ratio |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let full = row("other firmware", &old, &new)? <= MOST_FULL;
    let one = row("one sector changed", &new, &changed)? <= MOST_CHANGED;
    if !full {
        println!("Slower than another tool.");
    }
    if !one {
        println!("One changed sector takes more than a tenth of another tool's time.");
    }
    Ok(full && one)
}

/// Measures all tools; Airlift's time over the quickest of the others.
fn row(what: &str, before: &[u8], after: &[u8]) -> Outcome<f64> {
    let mut times = Vec::new();
    for (name, tool) in TOOLS {
        let board = board(before)?;
        let took = tool(&board, after).map_err(|error| format!("{name}: {error}"))?;
        let flash = board.snapshot();
        if flash[OFFSET as usize..][..after.len()] != *after {
            return Err(format!("{name} left something else in flash").into());
        }
        times.push(took.as_secs_f64());
    }
    let [ours, esptool, espflash] = times[..] else {
        return Err("three tools are compared".into());
    };
    println!(
        "| {what} | {ours:.2} s | {esptool:.2} s | {:.3} | {espflash:.2} s | {:.3} |",
        ours / esptool,
        ours / espflash,
    );
    Ok(ours / esptool.min(espflash))
}

fn airlift(board: &Running, bytes: &[u8]) -> Outcome<Duration> {
    use airlift_flash::Segment;
    use airlift_usb::{After, Cancel, ConnectOptions, Session, WriteOptions, apply};

    let segments = vec![Segment::new(OFFSET, bytes.to_vec())?];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let start = Instant::now();
    runtime.block_on(async {
        let options = ConnectOptions {
            baud: BAUD,
            ..ConnectOptions::new(board.path().to_string_lossy())
        };
        let session = Session::connect(options, |_| ()).await?;
        session
            .run(move |link| {
                let options = WriteOptions::default();
                let applied = apply(link, &segments, &options, &Cancel::new(), &mut |_| ());
                applied.map_err(|stopped| stopped.error)
            })
            .await?;
        session.close(After::Stay).await?;
        Ok(start.elapsed())
    })
}

fn esptool(board: &Running, bytes: &[u8]) -> Outcome<Duration> {
    let program = root().join(".venv/bin/esptool");
    if !program.exists() {
        return Err("scripts/venv.sh installs it".into());
    }
    let run = |arguments: &[&str]| -> Outcome<Duration> {
        let start = Instant::now();
        let output = Command::new(&program).args(arguments).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stdout).into());
        }
        Ok(start.elapsed())
    };
    let python = run(&["version"])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), bytes)?;
    let took = run(&[
        "--port",
        &board.path().to_string_lossy(),
        "--baud",
        &BAUD.to_string(),
        "--before",
        "no-reset",
        "--after",
        "no-reset-stub",
        "write-flash",
        &OFFSET.to_string(),
        &file.path().to_string_lossy(),
    ])?;
    Ok(took.saturating_sub(python))
}

fn espflash_library(board: &Running, bytes: &[u8]) -> Outcome<Duration> {
    let start = Instant::now();
    let port = serialport::new(board.path().to_string_lossy(), 115_200)
        .timeout(Duration::from_secs(3))
        .open_native()?;
    let usb = UsbPortInfo {
        vid: 0,
        pid: 0,
        serial_number: None,
        manufacturer: None,
        product: None,
    };
    let connection = Connection::new(
        port,
        usb,
        ResetAfterOperation::NoResetNoStub,
        ResetBeforeOperation::NoReset,
        115_200,
    );
    // As its program does by default: with its stub, verifying, skipping what is there already.
    let mut flasher = Flasher::connect(connection, true, true, true, None, Some(BAUD))?;
    let segment = Segment {
        addr: OFFSET,
        data: bytes.into(),
    };
    flasher.write_bins_to_flash(&[segment], &mut DefaultProgressCallback)?;
    Ok(start.elapsed())
}
