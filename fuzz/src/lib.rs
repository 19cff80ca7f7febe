//! What each fuzz target does with its bytes.
//!
//! The functions are here and not in the binaries, so that `cargo test` can feed them without
//! libFuzzer. Beyond "no panic", each states a property: what is accepted must mean the same when
//! it is written and read again, host and device must agree on it, and work and memory stay bounded.

mod board;
pub mod corpus;
mod device;
mod error;
mod flash;
mod formats;
mod guard;
mod host;
mod http;
mod input;
/// By its path: its crate brings SQLite along.
#[path = "../../crates/app/src/job/line.rs"]
mod line;
mod littlefs;
mod release;
pub mod seeds;
mod unpack;
mod update;

use error::Error;
pub use host::a_device_is_found;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// The longest input that is tried, in bytes.
    pub max_len: usize,
    /// What it does with an input. It panics when a property does not hold.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    // Formats, as host and device read them.
    of("manifest", 4096, formats::manifest),
    of("envelope", 4096, formats::envelope),
    of("freshness", 320, formats::freshness),
    of("index", 4096, release::index),
    of("tar_header", 2048, formats::tar_header),
    of("partition_table", 3072, formats::partition_table),
    of("otadata", 65, formats::otadata),
    of("app_image", 8192, formats::app_image),
    of("state_record", 800, formats::state_record),
    // What people give the host.
    of("files_tar", 16384, release::files_tar),
    of("release_file", 16384, release::release_file),
    of("signed_release", 16384, release::signed_release),
    of("key_file", 2048, release::key_file),
    of("flash_files", 4096, flash::flash_files),
    of("dead_board", 512, board::dead_board),
    // What the network gives a device.
    of("unpack", 16384, unpack::unpack),
    of("http_request", 4096, http::http_request),
    of("http_response", 4096, http::http_response),
    of("update", 256, update::update),
    // What a device finds in its flash.
    of("boot_guard", 16384, guard::boot_guard),
    of("littlefs", 1024, littlefs::littlefs),
    // What the network gives the host.
    of("device_json", 8192, host::device_json),
    of("probe_answer", 8192, host::probe_answer),
    of("progress_lines", 8192, host::progress_lines),
    of("mdns_packet", 1500, host::mdns_packet),
    of("discovery", 2048, host::discovery),
    of("host_request", 1024, host::host_request),
];

const fn of(name: &'static str, max_len: usize, run: fn(&[u8])) -> Target {
    Target { name, max_len, run }
}

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
