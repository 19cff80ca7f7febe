use proptest::prelude::*;

use super::*;
use crate::flash::Operation;

const BAUD: u32 = 115_200;

fn loader(chip: Chip, security: Security) -> Loader {
    let flash = Arc::new(Mutex::new(Flash::new(0x4_0000)));
    Loader::new(chip, [1, 2, 3, 4, 5, 6], security, &Faults::none(), flash)
}

fn request(command: Command, checksum: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, command as u8];
    frame.extend((body.len() as u16).to_le_bytes());
    frame.extend(checksum.to_le_bytes());
    frame.extend(body);
    frame
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The one response to a command.
fn ask(loader: &mut Loader, command: Command, arguments: &[u32]) -> Vec<u8> {
    let mut answer = loader.take(&request(command, 0, &words(arguments)), BAUD);
    assert_eq!(answer.frames.len(), 1, "{command}");
    loader.follow_up();
    answer.frames.remove(0)
}

fn send_block(loader: &mut Loader, command: Command, data: &[u8]) -> Vec<u8> {
    let mut body = words(&[data.len() as u32, 0, 0, 0]);
    body.extend(data);
    let frame = request(command, packet::checksum(data), &body);
    let response = loader.take(&frame, BAUD).frames.remove(0);
    loader.follow_up();
    response
}

/// Uploads something that is taken for a stub.
fn run_stub(loader: &mut Loader) {
    ask(loader, Command::MemBegin, &[4, 1, 4, 0x4038_0000]);
    send_block(loader, Command::MemData, &[1, 2, 3, 4]);
    let answer = loader.take(
        &request(Command::MemEnd, 0, &words(&[0, 0x4038_0000])),
        BAUD,
    );
    assert_eq!(answer.frames[1], b"OHAI");
}

fn rom_refuses(response: &[u8], error: u8) -> bool {
    response[8..] == [1, error, 0, 0]
}

fn stub_refuses(response: &[u8], error: u8) -> bool {
    response[8..] == [error, 0]
}

#[test]
fn a_sync_has_eight_answers_of_which_those_of_a_stub_say_so() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    let sync = request(Command::Sync, 0, &[0x55; 36]);
    let rom = loader.take(&sync, BAUD).frames;
    assert_eq!(rom.len(), 8);
    assert_ne!(rom[0][4..8], [0; 4]);
    assert_eq!(rom[0][8..], [0; 4]);
    run_stub(&mut loader);
    let stub = loader.take(&sync, BAUD).frames;
    assert_eq!(stub.len(), 8);
    assert_eq!(stub[0][4..], [0; 6]);
}

#[test]
fn a_stub_that_was_not_uploaded_does_not_run() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    ask(&mut loader, Command::MemEnd, &[0, 0x4038_0000]);
    assert!(rom_refuses(&ask(&mut loader, Command::EraseFlash, &[]), 5));
}

#[test]
fn a_rom_erases_at_the_begin_and_a_stub_before_what_it_writes() {
    let erased = |loader: &Loader| {
        let flash = lock(&loader.flash);
        let erase = |operation: &&Operation| operation.kind == Kind::Erase;
        flash.journal().iter().find(erase).map(|erase| erase.length)
    };
    let begin = [0x3000, 12, 0x400, 0x1000];
    let mut rom = loader(Chip::Esp32, Security::default());
    lock(&rom.flash).put(0x1000, &[0; 0x3000]).unwrap();
    ask(&mut rom, Command::FlashBegin, &begin);
    assert_eq!(erased(&rom), Some(0x3000));
    let mut stub = loader(Chip::Esp32, Security::default());
    lock(&stub.flash).put(0x1000, &[0; 0x3000]).unwrap();
    run_stub(&mut stub);
    ask(&mut stub, Command::FlashBegin, &begin);
    assert_eq!(erased(&stub), Some(0x1000));
}

#[test]
fn a_stub_leaves_blank_sectors_alone_until_one_is_not() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    lock(&loader.flash).put(0x2000, &[0]).unwrap();
    run_stub(&mut loader);
    ask(&mut loader, Command::FlashBegin, &[0x4000, 1, 0x4000, 0]);
    send_block(&mut loader, Command::FlashData, &[0xA5; 0x4000]);
    let erase = Operation {
        kind: Kind::Erase,
        offset: 0x2000,
        length: 0x2000,
    };
    assert_eq!(lock(&loader.flash).journal()[0], erase);
    assert_eq!(lock(&loader.flash).bytes()[..0x4000], [0xA5; 0x4000]);
}

#[test]
fn whole_blocks_are_erased_at_once() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    run_stub(&mut loader);
    let arguments = words(&[0x1_F000, 0x1_2000]);
    let answer = loader.take(&request(Command::EraseRegion, 0, &arguments), BAUD);
    assert_eq!((answer.before.sectors, answer.before.blocks), (2, 1));
}

#[test]
fn an_error_in_a_block_comes_with_the_next_command_which_is_not_done() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    run_stub(&mut loader);
    ask(&mut loader, Command::FlashDeflBegin, &[0x1000, 1, 0x400, 0]);
    let garbage = send_block(
        &mut loader,
        Command::FlashDeflData,
        b"this is no zlib stream",
    );
    assert!(stub_refuses(&garbage, 0), "it arrived");
    let next = ask(&mut loader, Command::EraseFlash, &[]);
    assert!(stub_refuses(&next, 0xC7));
    assert!(lock(&loader.flash).journal().is_empty());
    assert!(stub_refuses(&ask(&mut loader, Command::EraseFlash, &[]), 0));
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_written() {
    for stub in [false, true] {
        let mut loader = loader(Chip::Esp32c3, Security::default());
        if stub {
            run_stub(&mut loader);
        }
        ask(&mut loader, Command::FlashBegin, &[4, 1, 4, 0]);
        let mut body = words(&[4, 0, 0, 0]);
        body.extend([1, 2, 3, 4]);
        let response = loader.take(&request(Command::FlashData, 0xEF, &body), BAUD);
        let refused = if stub {
            stub_refuses(&response.frames[0], 0xC1)
        } else {
            rom_refuses(&response.frames[0], 0x07)
        };
        assert!(refused);
        assert_eq!(lock(&loader.flash).bytes()[..4], [0xFF; 4]);
    }
}

#[test]
fn the_end_of_a_stream_that_did_not_come_is_refused() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    run_stub(&mut loader);
    ask(&mut loader, Command::FlashBegin, &[8, 2, 4, 0]);
    send_block(&mut loader, Command::FlashData, &[1, 2, 3, 4]);
    assert!(stub_refuses(
        &ask(&mut loader, Command::FlashEnd, &[1]),
        0xC0
    ));
    send_block(&mut loader, Command::FlashData, &[5, 6, 7, 8]);
    assert!(stub_refuses(&ask(&mut loader, Command::FlashEnd, &[1]), 0));
    assert!(stub_refuses(
        &ask(&mut loader, Command::FlashEnd, &[1]),
        0xC6
    ));
}

#[test]
fn data_without_a_begin_or_of_the_other_kind_is_refused() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    run_stub(&mut loader);
    assert!(stub_refuses(
        &send_block(&mut loader, Command::FlashData, &[1]),
        0xC6
    ));
    ask(&mut loader, Command::FlashDeflBegin, &[4, 1, 4, 0]);
    assert!(stub_refuses(
        &send_block(&mut loader, Command::FlashData, &[1]),
        0xC6
    ));
}

#[test]
fn a_range_past_the_end_is_refused() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    for size in [0x2000, u32::MAX] {
        let response = ask(&mut loader, Command::FlashBegin, &[size, 1, 4, 0x3_F000]);
        assert!(rom_refuses(&response, 0x08));
        let response = ask(&mut loader, Command::SpiFlashMd5, &[0x3_F000, size, 0, 0]);
        assert!(rom_refuses(&response, 0x08));
    }
    run_stub(&mut loader);
    let response = ask(&mut loader, Command::EraseRegion, &[0x3_F000, 0x2000]);
    assert!(stub_refuses(&response, 0xC4));
}

#[test]
fn an_md5_has_digits_by_a_rom_and_bytes_by_a_stub() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    // RFC 1321: MD5 ("") = d41d8cd98f00b204e9800998ecf8427e
    let rom = ask(&mut loader, Command::SpiFlashMd5, &[0, 0, 0, 0]);
    assert_eq!(rom[8..40], *b"d41d8cd98f00b204e9800998ecf8427e");
    run_stub(&mut loader);
    let stub = ask(&mut loader, Command::SpiFlashMd5, &[0, 0, 0, 0]);
    assert_eq!(stub[8..12], [0xD4, 0x1D, 0x8C, 0xD9]);
    assert_eq!(stub.len(), 8 + 16 + 2);
}

#[test]
fn a_stream_waits_for_acknowledgements_and_ends_with_its_md5() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    lock(&loader.flash).put(0x100, b"abcde").unwrap();
    run_stub(&mut loader);
    let frame = request(Command::ReadFlash, 0, &words(&[0x100, 5, 3, 64]));
    loader.take(&frame, BAUD);
    assert_eq!(loader.follow_up().frames, [b"abc".to_vec()]);
    let answer = loader.take(&3u32.to_le_bytes(), BAUD);
    assert_eq!(answer.frames, [b"de".to_vec()]);
    let answer = loader.take(&5u32.to_le_bytes(), BAUD);
    // MD5 ("abcde"), checked with md5sum.
    assert_eq!(answer.frames[0][..4], [0xAB, 0x56, 0xB4, 0xD9]);
    assert!(!loader.is_reading());
}

#[test]
fn only_newer_chips_tell_their_id() {
    for (chip, length) in [
        (Chip::Esp32s2, 12),
        (Chip::Esp32s3, 20),
        (Chip::Esp32c6, 20),
    ] {
        let mut loader = loader(chip, Security::default());
        let response = ask(&mut loader, Command::GetSecurityInfo, &[]);
        assert_eq!(response.len(), 8 + length + 4);
    }
    let mut loader = loader(Chip::Esp32, Security::default());
    let response = ask(&mut loader, Command::GetSecurityInfo, &[]);
    assert!(rom_refuses(&response, 5));
    let response = ask(&mut loader, Command::ReadReg, &[MAGIC]);
    assert_eq!(response[4..8], Chip::Esp32.magic().to_le_bytes());
}

const MAGIC: u32 = crate::chip::MAGIC_REGISTER;

#[test]
fn secure_download_mode_forbids_memory_and_reading() {
    let security = Security {
        secure_download: true,
        ..Security::default()
    };
    let mut loader = loader(Chip::Esp32c3, security);
    assert!(rom_refuses(
        &ask(&mut loader, Command::ReadReg, &[MAGIC]),
        5
    ));
    assert!(rom_refuses(
        &ask(&mut loader, Command::SpiFlashMd5, &[0, 1, 0, 0]),
        5
    ));
    assert!(rom_refuses(
        &ask(&mut loader, Command::ReadFlashSlow, &[0, 1]),
        5
    ));
    assert_eq!(ask(&mut loader, Command::GetSecurityInfo, &[])[8], 0b100);
}

#[test]
fn the_watchdog_starts_the_application() {
    let mut loader = loader(Chip::Esp32c3, Security::default());
    let watchdog = Chip::Esp32c3.watchdog().unwrap();
    let arguments = words(&[watchdog, 1 << 31, u32::MAX, 0]);
    let answer = loader.take(&request(Command::WriteReg, 0, &arguments), BAUD);
    assert_eq!(answer.then, Some(Then::Application));
}

proptest! {
    #[test]
    fn no_frames_make_it_panic_or_answer_without_end(
        stub in any::<bool>(),
        frames in proptest::collection::vec(
            (
                proptest::sample::select(Command::ALL),
                proptest::collection::vec(
                    prop_oneof![any::<u32>(), 0u32..0x5_0000, Just(0), Just(16)], 0..6,
                ),
                proptest::collection::vec(any::<u8>(), 0..40),
            ),
            0..40,
        ),
    ) {
        let mut loader = loader(Chip::Esp32c3, Security::default());
        if stub {
            run_stub(&mut loader);
        }
        for (command, arguments, data) in frames {
            let mut body = words(&arguments);
            body.extend(&data);
            let answer = loader.take(&request(command, packet::checksum(&data), &body), BAUD);
            prop_assert!(answer.frames.len() <= 8);
            prop_assert!(loader.follow_up().frames.len() <= 1);
            loader.take(&data, BAUD);
        }
        prop_assert_eq!(lock(&loader.flash).bytes().len(), 0x4_0000);
    }
}
