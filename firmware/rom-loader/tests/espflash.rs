//! The `espflash` library takes it for a board.
#![cfg(unix)]

use std::time::Duration;

use airlift_rom_loader::{
    Chip, Config, Faults, Kind, Mode, Operation, RomLoader, Running, Security,
};
use espflash::connection::{Connection, ResetAfterOperation, ResetBeforeOperation};
use espflash::flasher::Flasher;
use espflash::target::DefaultProgressCallback;
use serialport::UsbPortInfo;

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn connect(board: &Running, stub: bool) -> Result<Flasher, espflash::Error> {
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
        ResetAfterOperation::NoReset,
        ResetBeforeOperation::NoReset,
        115_200,
    );
    Flasher::connect(connection, stub, true, false, None, None)
}

/// Compresses to about a half, and no sector is like another (xorshift32, Marsaglia 2003).
fn image(length: usize) -> Vec<u8> {
    let mut x = 1u32;
    let mut next = |i: usize| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        if i.is_multiple_of(2) { 0 } else { x as u8 }
    };
    (0..length).map(&mut next).collect()
}

#[test]
fn with_its_stub_it_connects_writes_compares_and_reads() -> Fallible {
    for chip in Chip::ALL {
        let board = RomLoader::start(Config {
            chip,
            ..Config::default()
        })?;
        let mut flasher = connect(&board, true)?;
        let info = flasher.device_info()?;
        assert_eq!(info.chip.to_string(), chip.name());
        assert_eq!(info.flash_size.size(), 4 << 20);
        assert_eq!(info.mac_address.as_deref(), Some("7c:df:a1:00:00:01"));
        let image = image(100_000);
        flasher.write_bin_to_flash(0x1_0000, &image, &mut DefaultProgressCallback)?;
        assert_eq!(board.snapshot()[0x1_0000..][..image.len()], image);
        let file = tempfile::NamedTempFile::new()?;
        // A port is locked by who has it open.
        drop(flasher);
        let mut flasher = connect(&board, true)?;
        let path = file.path().to_path_buf();
        flasher.read_flash(0x1_0001, 9_999, 0x1000, 64, path)?;
        assert_eq!(std::fs::read(file.path())?, image[1..10_000]);
    }
    Ok(())
}

#[test]
fn without_stub_it_connects_writes_and_reads() -> Fallible {
    for chip in [Chip::Esp32c3, Chip::Esp32] {
        let board = RomLoader::start(Config {
            chip,
            size: 8 << 20,
            ..Config::default()
        })?;
        let mut flasher = connect(&board, false)?;
        assert_eq!(flasher.device_info()?.flash_size.size(), 8 << 20);
        let image = image(10_000);
        flasher.write_bin_to_flash(0x2_0000, &image, &mut DefaultProgressCallback)?;
        assert_eq!(board.snapshot()[0x2_0000..][..image.len()], image);
        let file = tempfile::NamedTempFile::new()?;
        // A port is locked by who has it open.
        drop(flasher);
        let mut flasher = connect(&board, false)?;
        flasher.read_flash_rom(0x2_0000, 64, 64, 64, file.path().to_path_buf())?;
        assert_eq!(std::fs::read(file.path())?, image[..64]);
    }
    Ok(())
}

#[test]
fn the_journal_names_what_was_erased_and_written_and_nothing_else() -> Fallible {
    let board = RomLoader::start(Config::default())?;
    board.put(0, &vec![0; 0x20_0000]);
    let mut flasher = connect(&board, true)?;
    board.take_journal();
    let data = image(8192);
    flasher.write_bin_to_flash(0xD000, &data, &mut DefaultProgressCallback)?;
    let operation = |kind| Operation {
        kind,
        offset: 0xD000,
        length: 8192,
    };
    assert_eq!(
        board.take_journal(),
        [Kind::Erase, Kind::Write, Kind::Digest].map(operation)
    );
    let flash = board.snapshot();
    assert!(flash[..0xD000].iter().all(|byte| *byte == 0));
    assert!(flash[0xF000..0x20_0000].iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn fuses_are_told() -> Fallible {
    let board = RomLoader::start(Config {
        security: Security {
            secure_boot: true,
            flash_encryption: true,
            secure_download: false,
        },
        ..Config::default()
    })?;
    let info = connect(&board, true)?.security_info()?;
    assert_eq!(info.flags, 1);
    assert_eq!(info.flash_crypt_cnt, 0b111);
    assert_eq!(info.chip_id, Some(5));
    Ok(())
}

#[test]
fn in_secure_download_mode_only_writing_is_left() -> Fallible {
    let board = RomLoader::start(Config {
        security: Security {
            secure_download: true,
            ..Security::default()
        },
        ..Config::default()
    })?;
    let mut flasher = connect(&board, true)?;
    assert!(flasher.secure_download_mode());
    assert!(flasher.checksum_md5(0, 16).is_err());
    let image = image(5000);
    flasher.write_bin_to_flash(0, &image, &mut DefaultProgressCallback)?;
    assert_eq!(board.snapshot()[..image.len()], image);
    Ok(())
}

#[test]
fn a_bad_sector_is_noticed_by_the_md5() -> Fallible {
    let board = RomLoader::start(Config::default())?;
    let mut faults = Faults::none();
    faults.add("bad_sector=0x11000")?;
    board.set_faults(faults);
    let mut flasher = connect(&board, true)?;
    let written =
        flasher.write_bin_to_flash(0x1_0000, &image(10_000), &mut DefaultProgressCallback);
    assert!(
        matches!(written, Err(espflash::Error::VerifyFailed)),
        "{written:?}"
    );
    Ok(())
}

#[test]
fn an_error_of_the_stub_comes_with_the_next_command() -> Fallible {
    let board = RomLoader::start(Config::default())?;
    let mut flasher = connect(&board, true)?;
    let beyond = flasher.write_bin_to_flash(0x3F_F000, &image(8192), &mut DefaultProgressCallback);
    assert!(beyond.is_err());
    assert!(
        board
            .journal()
            .iter()
            .all(|operation| operation.kind == Kind::Read)
    );
    Ok(())
}

#[test]
fn an_unplugged_board_hangs_up_and_is_found_again_at_its_path() -> Fallible {
    let board = RomLoader::start(Config::default())?;
    let mut flasher = connect(&board, true)?;
    board.set_faults(Faults::rule("flash_defl_data:2:unplug")?);
    let cut = flasher.write_bin_to_flash(0, &image(200_000), &mut DefaultProgressCallback);
    assert!(cut.is_err());
    assert!(!board.path().exists());
    board.set_faults(Faults::none());
    board.plug();
    drop(flasher);
    let mut flasher = connect(&board, true)?;
    let image = image(200_000);
    flasher.write_bin_to_flash(0, &image, &mut DefaultProgressCallback)?;
    assert_eq!(board.snapshot()[..image.len()], image);
    Ok(())
}

#[test]
fn in_its_application_nothing_syncs() -> Fallible {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        ..Config::default()
    })?;
    assert!(connect(&board, true).is_err());
    board.reset(Mode::Download);
    connect(&board, true)?;
    Ok(())
}
