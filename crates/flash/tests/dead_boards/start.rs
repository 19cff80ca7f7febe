//! A device that starts with the flash of a board.

use crate::boards::{CHIP, PRODUCT, USER_FILES, bundled, read_file, releases};
use crate::cases::Case;
use airlift_virtual_device::Settings;
use airlift_virtual_device::deterministic::Bench;
use airlift_wire::image::{self, Header, ImageError};
use airlift_wire::otadata::ImageState;
use serde_json::Value;
use std::time::Duration;

/// What a device says of itself that starts with this flash, once it is past every trial.
pub fn start(flash: &[u8]) -> Value {
    let bench = Bench::new(7);
    let nor = bench.add_device(flash.to_vec(), Settings::default());
    assert!(nor.is_ok());
    let info = bench.run(async {
        bench.scheduler().sleep(Duration::from_secs(30)).await;
        bench.client().get("/v1/device").await.unwrap().json()
    });
    info.unwrap()
}

/// Whether the ROM starts the bootloader: a hash that does not match is no reason not to.
pub fn rom_starts_the_bootloader(flash: &[u8]) -> bool {
    let bytes = &flash[..bundled(CHIP).bytes().len()];
    let is_right = matches!(image::check(bytes), Ok(_) | Err(ImageError::Hash));
    is_right && Header::parse(bytes).is_ok_and(|header| header.chip_id == CHIP)
}

/// A mended board runs what its case says, confirmed and whole, and has the files of its user.
pub fn runs_as_it_should(case: &Case, flash: &[u8]) {
    let Some((version, slot)) = case.runs else {
        return;
    };
    let name = case.name;
    assert!(rom_starts_the_bootloader(flash), "{name}");
    let info = start(flash);
    let running = &info["running"];
    assert_eq!(running["version"], version, "{name}");
    assert_eq!(running["slot"], slot.name(), "{name}");
    assert_eq!(running["state"], ImageState::Valid.name(), "{name}");
    let release = releases().iter().find(|r| r.manifest().version == version);
    let release = release.unwrap();
    assert_eq!(running["release"], release.id().to_string(), "{name}");
    for (part, kind) in [
        ("app_sha256", release.app()),
        ("files_sha256", release.files()),
    ] {
        assert_eq!(running[part], kind.unwrap().digest().to_string(), "{name}");
    }
    assert_eq!(info["product"], PRODUCT, "{name}");
    assert!(info["trust"]["root"].is_string(), "{name}");
    for (path, content) in USER_FILES {
        let wanted = case.keeps_files.then(|| content.to_vec());
        assert_eq!(read_file(flash, path), wanted, "{name}: {path}");
    }
}
