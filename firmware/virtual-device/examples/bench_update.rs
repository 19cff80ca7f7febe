//! An update of one device against the time of its bare flash operations, real timing on.
//!
//! Each row is one update of a 4 MiB device by a chunk server on this computer. *Flash* is the sum
//! of what the data sheet says of every erase, write and read that the update did; *update* is from
//! the request to the last line of progress. The network and the hashing hide behind the flash as
//! far as the ratio is near 1.

#[path = "../tests/support/mod.rs"]
mod support;

use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_virtual_device::Simulation;
use airlift_virtual_device::nor::{Op, Verdict};
use airlift_virtual_device::timing::Timing;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{NEW, config, serve, update, wait_for};

/// Updates a row; the median counts.
const ROUNDS: usize = 3;

fn main() {
    println!("| Release | Latency | Flash | Update | Ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for (what, app, files) in [
        ("app", true, false),
        ("files", false, true),
        ("app and files", true, true),
    ] {
        for latency_ms in [0, 20] {
            let mut runs: Vec<_> = (0..ROUNDS).map(|_| run(app, files, latency_ms)).collect();
            runs.sort_by_key(|run| run.1);
            let (flash, took) = runs[ROUNDS / 2];
            let ratio = took.as_secs_f64() / flash.as_secs_f64();
            println!(
                "| {what} | {latency_ms} ms | {:.2} s | {:.2} s | {ratio:.2} |",
                flash.as_secs_f64(),
                took.as_secs_f64()
            );
        }
    }
}

fn release(key: &SigningKey, app: bool, files: bool) -> Release {
    let mut options = PackOptions::new("sim-test", 1, key);
    options.version = Some("1.1.0");
    options.chip = Some("esp32c3");
    options.app = app.then(|| NEW.into());
    options.files = files.then(|| {
        let content: String = (0..4000).map(|n| format!("line {n}\n")).collect();
        FilesInput::from_iter((0..4).map(|n| (format!("lib/module_{n}.py"), content.clone())))
    });
    pack(options)
        .map(|packed| packed.release)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The sum of the flash operations' times, and how long the update took.
fn run(app: bool, files: bool, latency_ms: u32) -> (Duration, Duration) {
    let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let key = SigningKey::generate().unwrap_or_else(|error| panic!("{error}"));
    let mut config = config(dir.path(), 1, &key);
    config.settings.timing = Timing::Typical;
    config.settings.network.latency_ms = latency_ms;
    let simulation = Simulation::start(&config).unwrap_or_else(|error| panic!("{error}"));
    let device = simulation.devices().remove(0);
    wait_for(device.address, |_| true);
    let release = release(&key, app, files);
    let server = serve(&release);
    let Some(nor) = simulation.flash(0) else {
        panic!("no flash")
    };
    let nanos = Arc::new(AtomicU64::new(0));
    let sum = nanos.clone();
    nor.lock().set_hook(move |op: &Op| {
        let took = Timing::Typical.duration(op.kind, op.offset, op.len);
        sum.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        Verdict::Proceed
    });
    let start = Instant::now();
    let lines = update(device.address, server.local_addr(), &release);
    let took = start.elapsed();
    let flash = Duration::from_nanos(nanos.load(Ordering::Relaxed));
    let last = lines.last().map(|line| line["event"].clone());
    assert_eq!(last, Some("rebooting".into()), "{lines:?}");
    nor.lock().clear_hook();
    (flash, took)
}
