//! What comes over the terminal: the log of a board, its answers, and what goes wrong with them.
#![cfg(unix)]

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use airlift_rom_loader::packet::response;
use airlift_rom_loader::slip::{Decoder, encode};
use airlift_rom_loader::{
    Action, Application, Command, Config, Faults, Improv, Mode, RomLoader, Running, Timing,
};
use serialport::{ClearBuffer, SerialPort, TTYPort};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a host waits for what should not come.
const QUIET: Duration = Duration::from_millis(150);

fn open(board: &Running) -> TTYPort {
    let path = board.path().to_string_lossy().into_owned();
    let builder = serialport::new(path, 115_200).timeout(QUIET);
    builder.open_native().unwrap()
}

/// Reads until a text was read or nothing comes for long.
fn read_until(port: &mut TTYPort, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !bytes.windows(end.len()).any(|window| window == end) {
        let mut buffer = [0; 256];
        if let Ok(length) = port.read(&mut buffer) {
            bytes.extend(&buffer[..length]);
        }
    }
    bytes
}

/// Until the board is plugged in.
fn wait_for(board: &Running) {
    let until = Instant::now() + PATIENCE;
    while !board.path().exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn request(command: Command, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, command as u8];
    frame.extend((body.len() as u16).to_le_bytes());
    frame.extend([0; 4]);
    frame.extend(body);
    encode(&frame)
}

/// All that comes back until the line is quiet.
fn exchange(port: &mut TTYPort, command: Command, body: &[u8]) -> Vec<u8> {
    port.clear(ClearBuffer::Input).unwrap();
    port.write_all(&request(command, body)).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        match port.read(&mut buffer) {
            Ok(length) => bytes.extend(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::TimedOut => return bytes,
            Err(_) => return bytes,
        }
    }
}

fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::default();
    bytes
        .iter()
        .filter_map(|byte| decoder.push(*byte))
        .collect()
}

/// What a C3 answers to a read of the magic word.
fn magic() -> Vec<u8> {
    response(Command::ReadReg as u8, 0x1B31_506F, &[], &[0; 4])
}

const MAGIC: [u8; 4] = 0x4000_1000u32.to_le_bytes();

fn read_magic_with(fault: Action) -> Vec<u8> {
    let board = RomLoader::start(Config {
        faults: Faults::rule(&format!("read_reg:1:{fault}")).unwrap(),
        ..Config::default()
    });
    let board = board.unwrap();
    let mut port = open(&board);
    exchange(&mut port, Command::ReadReg, &MAGIC)
}

#[test]
fn a_board_prints_what_it_boots() -> Fallible {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        application: Application {
            log: vec!["I (300) main: ready".to_string()],
            improv: None,
        },
        ..Config::default()
    })?;
    let mut port = open(&board);
    let log = read_until(&mut port, b"invalid header: 0xffffffff\r\n");
    assert!(String::from_utf8_lossy(&log).contains("boot:0xc (SPI_FAST_FLASH_BOOT)"));
    board.put(0, &[0xE9]);
    board.put(0x8000, &[0xAA, 0x50]);
    board.reset(Mode::Application);
    let log = read_until(&mut port, b"main: ready\r\n");
    assert!(log.ends_with(b"I (300) main: ready\r\n"));
    board.print("Guru Meditation Error: Core  0 panic'ed (Load access fault)");
    assert!(read_until(&mut port, b"fault)\r\n").starts_with(b"Guru"));
    board.reset(Mode::Download);
    assert!(read_until(&mut port, b"waiting for download\r\n").ends_with(b"download\r\n"));
    Ok(())
}

#[test]
fn an_application_is_given_its_network() -> Fallible {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        application: Application {
            log: vec!["started".to_string()],
            improv: Some(Improv {
                firmware: "demo".to_string(),
                version: "1.2.3".to_string(),
                name: "kitchen".to_string(),
                url: "http://192.0.2.7/".to_string(),
                network: ("home".to_string(), "secret".to_string()),
            }),
        },
        ..Config::default()
    })?;
    board.put(0, &[0xE9]);
    board.put(0x8000, &[0xAA, 0x50]);
    board.reset(Mode::Application);
    let mut port = open(&board);
    read_until(&mut port, b"started\r\n");
    // IMPROV, version 1, a command of so many bytes, and the low byte of the sum of it all.
    let mut send = |data: &[u8], end: &[u8]| {
        let mut packet = b"IMPROV\x01\x03".to_vec();
        packet.push(data.len() as u8);
        packet.extend(data);
        packet.push(packet.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
        port.write_all(&packet).unwrap();
        read_until(&mut port, end)
    };
    let info = send(&[3, 0], b"kitchen");
    assert!(
        info.windows(8).any(|window| window == b"ESP32-C3"),
        "{info:?}"
    );
    let state = |state| [b"IMPROV\x01\x01\x01".as_slice(), &[state]].concat();
    let wrong = send(b"\x01\x0C\x04home\x06public", &state(2));
    assert!(
        wrong
            .windows(10)
            .any(|window| window == b"IMPROV\x01\x02\x01\x03"),
        "cannot join"
    );
    let right = send(b"\x01\x0C\x04home\x06secret", b"http://192.0.2.7/");
    assert!(
        right.windows(10).any(|window| window == state(4)),
        "{right:?}"
    );
    Ok(())
}

#[test]
fn an_answer_without_fault_is_what_a_rom_says() {
    assert_eq!(
        frames(&read_magic_with(Action::Delay(Duration::ZERO))),
        [magic()]
    );
}

#[test]
fn faults_do_to_an_answer_what_they_say() {
    let whole = encode(&magic());
    for silent in [Action::DropRequest, Action::DropResponse, Action::Silence] {
        assert_eq!(read_magic_with(silent), [], "{silent}");
    }
    let corrupt = read_magic_with(Action::CorruptResponse(9));
    let differ = whole.iter().zip(&corrupt).filter(|(a, b)| a != b).count();
    assert_eq!((corrupt.len(), differ), (whole.len(), 1));
    let mut flipped = whole.clone();
    flipped[5] ^= 0b100;
    assert_eq!(read_magic_with(Action::FlipBit(8 * 5 + 2)), flipped);
    assert_eq!(
        read_magic_with(Action::TruncateResponse),
        whole[..whole.len() / 2]
    );
    assert_eq!(
        frames(&read_magic_with(Action::Refuse(0x42))),
        [response(Command::ReadReg as u8, 0, &[], &[1, 0x42, 0, 0])]
    );
    let noisy = read_magic_with(Action::Noise(64));
    assert_eq!(noisy.len(), 64 + whole.len());
    assert_eq!(noisy[64..], whole);
    assert_eq!(
        frames(&read_magic_with(Action::WrongCommand))[0][1],
        Command::Sync as u8
    );
    assert_eq!(read_magic_with(Action::Repeat), whole.repeat(2));
    assert_eq!(
        read_magic_with(Action::Trickle(Duration::from_millis(1))),
        whole
    );
    assert_eq!(
        read_magic_with(Action::BaudLost),
        whole,
        "what was asked is answered"
    );
    let reset = read_magic_with(Action::Reset);
    assert!(String::from_utf8_lossy(&reset).contains("SPI_FAST_FLASH_BOOT"));
}

#[test]
fn after_a_lost_baud_rate_all_is_garbage_until_a_reset() -> Fallible {
    let board = RomLoader::start(Config {
        faults: Faults::rule("read_reg:1:baud_lost")?,
        ..Config::default()
    })?;
    let mut port = open(&board);
    exchange(&mut port, Command::ReadReg, &MAGIC);
    for _ in 0..5 {
        let bytes = exchange(&mut port, Command::ReadReg, &MAGIC);
        assert!(!frames(&bytes).contains(&magic()));
    }
    board.reset(Mode::Download);
    assert_eq!(
        frames(&exchange(&mut port, Command::ReadReg, &MAGIC)),
        [magic()]
    );
    Ok(())
}

#[test]
fn a_flood_does_not_end_by_itself() -> Fallible {
    let board = RomLoader::start(Config {
        faults: Faults::rule("read_reg:1:flood")?,
        ..Config::default()
    })?;
    let mut port = open(&board);
    port.write_all(&request(Command::ReadReg, &MAGIC))?;
    let mut read = 0;
    while read < 20_000 {
        read += port.read(&mut [0; 4096])?;
    }
    board.reset(Mode::Download);
    read_until(&mut port, b"waiting for download\r\n");
    assert_eq!(
        frames(&exchange(&mut port, Command::ReadReg, &MAGIC)),
        [magic()]
    );
    Ok(())
}

#[test]
fn an_unplugged_terminal_says_so_and_comes_back_by_itself() -> Fallible {
    let board = RomLoader::start(Config {
        faults: Faults::rule("read_reg:1:unplug=50")?,
        ..Config::default()
    })?;
    let mut port = open(&board);
    port.write_all(&request(Command::ReadReg, &MAGIC))?;
    let until = Instant::now() + PATIENCE;
    let error = loop {
        match port.read(&mut [0; 64]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut && Instant::now() < until => {}
            Err(error) => break error,
        }
    };
    assert_ne!(
        error.kind(),
        ErrorKind::TimedOut,
        "a hang-up is noticed at once: {error}"
    );
    wait_for(&board);
    let mut port = open(&board);
    assert_eq!(
        frames(&exchange(&mut port, Command::ReadReg, &MAGIC)),
        [magic()]
    );
    Ok(())
}

#[test]
fn a_hang_up_is_a_new_terminal_at_the_same_path() -> Fallible {
    let board = RomLoader::start(Config {
        faults: Faults::rule("read_reg:1:hang_up")?,
        ..Config::default()
    })?;
    let before = std::fs::read_link(board.path())?;
    let mut port = open(&board);
    assert_eq!(exchange(&mut port, Command::ReadReg, &MAGIC), []);
    assert!(port.write_all(&[0]).is_err() || port.read(&mut [0; 8]).is_err());
    wait_for(&board);
    assert_ne!(
        std::fs::read_link(board.path())?,
        before,
        "the old number is still open"
    );
    let mut port = open(&board);
    assert_eq!(
        frames(&exchange(&mut port, Command::ReadReg, &MAGIC)),
        [magic()]
    );
    Ok(())
}

#[test]
fn the_link_is_where_it_was_asked_for_and_goes_with_the_board() -> Fallible {
    let folder = tempfile::tempdir()?;
    let link = folder.path().join("tty");
    let config = Config {
        link: Some(link.clone()),
        ..Config::default()
    };
    let board = RomLoader::start(config.clone())?;
    assert_eq!(board.path(), link);
    assert!(link.exists());
    board.unplug();
    assert!(!link.is_symlink());
    board.plug();
    assert!(link.exists());
    drop(board);
    assert!(!link.is_symlink());
    std::fs::write(&link, "not a link")?;
    assert!(
        RomLoader::start(config).is_err(),
        "what is there is not replaced"
    );
    assert_eq!(std::fs::read(&link)?, b"not a link");
    Ok(())
}

#[test]
fn with_a_time_model_the_wire_and_the_flash_take_their_time() -> Fallible {
    let board = RomLoader::start(Config {
        timing: Some(Timing::TYPICAL),
        ..Config::default()
    })?;
    let mut port = open(&board);
    port.set_timeout(PATIENCE)?;
    port.clear(ClearBuffer::Input)?;
    port.write_all(&request(Command::Sync, &[0x55; 36]))?;
    port.read_exact(&mut [0; 8 * 14])?;
    // 16 sectors by a ROM: one block of 150 ms. 20 bytes of body, 46 with all around them.
    let begin: Vec<u8> = [0x1_0000u32, 64, 0x400, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let start = Instant::now();
    port.write_all(&request(Command::FlashBegin, &begin))?;
    port.read_exact(&mut [0; 14])?;
    let expected = Timing::TYPICAL.block + Timing::wire(30 + 14, 115_200);
    assert!(start.elapsed() >= expected, "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn the_commands_that_arrived_are_known() -> Fallible {
    let board = RomLoader::start(Config::default())?;
    let mut port = open(&board);
    exchange(&mut port, Command::Sync, &[0x55; 36]);
    exchange(&mut port, Command::ReadReg, &MAGIC);
    assert_eq!(board.commands(), [Command::Sync, Command::ReadReg]);
    Ok(())
}
