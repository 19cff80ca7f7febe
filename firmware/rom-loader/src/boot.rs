//! What a board prints after a reset.

use crate::chip::Chip;
use crate::flash::Flash;

/// First byte of an image (ESP-IDF, "App Image Format").
const IMAGE_MAGIC: u8 = 0xE9;
const PARTITION_TABLE: usize = 0x8000;
const PARTITION_MAGIC: [u8; 2] = [0xAA, 0x50];

/// What the ROM prints when the boot pin is held.
pub(crate) fn loader_banner(chip: Chip) -> String {
    format!(
        "{}rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0))\r\nwaiting for download\r\n",
        rom_title(chip)
    )
}

/// What ROM and second-stage bootloader print, and whether an application starts. Only what decides
/// between them is looked at: is there a bootloader, is there a partition table.
pub(crate) fn boot_log(chip: Chip, flash: &Flash) -> (String, bool) {
    let mut log = format!(
        "{}rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        rom_title(chip)
    );
    let header = |at: usize| flash.bytes().get(at..at + 4).unwrap_or(&[0xFF; 4]);
    let bootloader = header(chip.bootloader_offset() as usize);
    if bootloader[0] != IMAGE_MAGIC {
        let word = u32::from_le_bytes([bootloader[0], bootloader[1], bootloader[2], bootloader[3]]);
        for _ in 0..3 {
            log += &format!("invalid header: {word:#x}\r\n");
        }
        return (log, false);
    }
    log += "SPIWP:0xee\r\nmode:DIO, clock div:1\r\n";
    log += "I (24) boot: ESP-IDF 2nd stage bootloader\r\n";
    let table = header(PARTITION_TABLE);
    if table[..2] != PARTITION_MAGIC {
        let magic = u16::from_le_bytes([table[0], table[1]]);
        log += &format!("E (36) flash_parts: partition 0 invalid magic number {magic:#x}\r\n");
        log += "E (41) boot: Failed to verify partition table\r\n";
        log += "E (47) boot: load partition table error!\r\n";
        return (log, false);
    }
    log += "I (52) boot: Loaded app from partition\r\n";
    (log, true)
}

fn rom_title(chip: Chip) -> String {
    match chip {
        // The oldest of them prints a date alone.
        Chip::Esp32 => "ets Jul 29 2019 12:21:46\r\n\r\n".to_string(),
        _ => format!("ESP-ROM:{}\r\n", chip.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_flash_has_no_bootloader() {
        let (log, starts) = boot_log(Chip::Esp32c3, &Flash::new(0x40000));
        assert!(log.contains("SPI_FAST_FLASH_BOOT"));
        assert!(log.contains("invalid header: 0xffffffff"));
        assert!(!starts);
    }

    #[test]
    fn without_partition_table_no_application_starts() {
        let mut flash = Flash::new(0x40000);
        flash.put(0x1000, &[IMAGE_MAGIC]).unwrap();
        let (log, starts) = boot_log(Chip::Esp32, &flash);
        assert!(log.contains("invalid magic number 0xffff"), "{log}");
        assert!(!starts);
        flash.put(0x8000, &PARTITION_MAGIC).unwrap();
        assert!(boot_log(Chip::Esp32, &flash).1);
    }
}
