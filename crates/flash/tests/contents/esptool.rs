//! esptool's opinion of the bootloaders, where it is installed (`make setup` puts it into `.venv`).

use airlift_flash::bootloader;
use airlift_wire::image::CHIPS;
use std::path::Path;
use std::process::Command;

#[test]
fn esptool_takes_every_bootloader_for_what_it_is() {
    let esptool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/esptool");
    if !esptool.exists() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // One of each kind of header: Xtensa and RISC-V, at 0, 0x1000 and 0x2000.
    for name in ["esp32", "esp32s3", "esp32c3", "esp32c5"] {
        let (chip, _) = CHIPS.iter().find(|(_, chip)| *chip == name).unwrap();
        for (mebibytes, size) in [(4, "4MB"), (16, "16MB")] {
            let bootloader = bootloader::for_chip(*chip, mebibytes << 20).unwrap();
            let file = dir.path().join("bootloader.bin");
            std::fs::write(&file, bootloader.bytes()).unwrap();
            let told = Command::new(&esptool).arg("image-info").arg(&file).output();
            let told = told.unwrap();
            let text = String::from_utf8_lossy(&told.stdout);
            assert!(told.status.success(), "{name}: {text}");
            assert!(text.contains("(valid)"), "{name}: {text}");
            assert!(!text.contains("invalid"), "{name}: {text}");
            assert!(
                text.contains(&format!("Flash size: {size}")),
                "{name}: {text}"
            );
            let chip_line = format!("Chip ID: {chip}");
            assert!(text.contains(&chip_line), "{name}: {text}");
        }
    }
}
