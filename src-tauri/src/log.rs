//! The log: to standard error, and to a file in the home, since a window has no terminal.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A log that has grown past this is set aside at the next start; the one before it goes.
const MAX_BYTES: u64 = 1 << 20;

/// Starts logging to `HOME/airlift.log`; `RUST_LOG` chooses what.
pub(crate) fn start(home: Option<&Path>) {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env_lossy();
    let file = home.and_then(|home| {
        let path = home.join("airlift.log");
        fs::create_dir_all(home).ok()?;
        if fs::metadata(&path).is_ok_and(|file| file.len() > MAX_BYTES) {
            fs::rename(&path, home.join("airlift.log.old")).ok()?;
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .ok()
    });
    let file = file.map(|file| layer().with_ansi(false).with_writer(Mutex::new(file)));
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(layer().with_writer(std::io::stderr))
        .with(file)
        .try_init();
    if let Err(error) = started {
        eprintln!("airlift-desktop: no log: {error}");
    }
}
