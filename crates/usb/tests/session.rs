//! Boards on a pseudo-terminal, through sessions.
#![cfg(unix)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlift_flash::Segment;
use airlift_rom_loader::{Chip, Config, Faults, Mode, RomLoader, Running, Security};
use airlift_usb::{
    After, Cancel, ConnectOptions, Error, Link, Report, Reset, Session, State, WriteOptions, apply,
};
use airlift_wire::ErrorCode;

fn options(board: &Running) -> ConnectOptions {
    let mut options = ConnectOptions::new(board.path().to_string_lossy());
    options.wait_for_boot = Some(Duration::ZERO);
    options.patience.answer = Duration::from_millis(500);
    options.settle = Duration::ZERO;
    options
}

async fn connect(board: &Running) -> Session {
    Session::connect(options(board), |_| {}).await.unwrap()
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn put(session: &Session, segments: Vec<Segment>) -> Result<Report, Error> {
    session
        .run(move |link| {
            let options = WriteOptions::default();
            let report = apply(link, &segments, &options, &Cancel::new(), &mut |_| {})?;
            Ok::<_, Error>(report)
        })
        .await
}

#[tokio::test]
async fn every_chip_says_what_it_is() {
    for chip in Chip::ALL {
        let board = RomLoader::start(Config {
            chip,
            size: 8 << 20,
            ..Config::default()
        })
        .unwrap();
        let session = connect(&board).await;
        let found = session.board();
        assert_eq!(found.chip, chip.name());
        assert_eq!(u32::from(found.chip_id), chip.id());
        assert_eq!(found.flash_size, 8 << 20);
        assert_eq!(found.mac.as_deref(), Some("7c:df:a1:00:00:01"));
        assert_eq!(found.writable(), Ok(()));
        session.close(After::Stay).await.unwrap();
    }
}

#[tokio::test]
async fn flash_is_read_digested_and_written() {
    let board = RomLoader::start(Config::default()).unwrap();
    let bytes = noise(300_000, 1);
    assert!(board.put(0x1_0123, &bytes));
    let session = connect(&board).await;
    let (read, digest) = session
        .run(|link| {
            let mut out = vec![0; 300_000];
            link.read(0x1_0123, &mut out)?;
            Ok::<_, Error>((out, link.md5(0x1_0123, 300_000)?))
        })
        .await
        .unwrap();
    assert!(read == bytes);
    use md5::Digest as _;
    assert_eq!(digest, <[u8; 16]>::from(md5::Md5::digest(&bytes)));

    let image = noise(1_500_000, 2);
    let segment = Segment::new(0x10_0000, image.clone()).unwrap();
    let report = put(&session, vec![segment.clone()]).await.unwrap();
    assert_eq!(report.bytes(), segment.size());
    assert!(board.snapshot()[0x10_0000..][..image.len()] == image[..]);
    let again = put(&session, vec![segment.clone()]).await.unwrap();
    assert_eq!((again.bytes(), again.skipped), (0, segment.size()));
}

#[tokio::test]
async fn one_changed_sector_is_all_that_is_written() {
    let board = RomLoader::start(Config::default()).unwrap();
    let mut image = noise(0x8_0000, 3);
    assert!(board.put(0x2_0000, &image));
    image[0x3_3333] ^= 1;
    let session = connect(&board).await;
    let segment = Segment::new(0x2_0000, image.clone()).unwrap();
    let report = put(&session, vec![segment]).await.unwrap();
    assert_eq!(report.written, [(0x5_3000, 0x1000)]);
    let changes: Vec<_> = board
        .journal()
        .into_iter()
        .filter(|done| {
            use airlift_rom_loader::Kind;
            matches!(done.kind, Kind::Erase | Kind::Write)
        })
        .map(|done| (done.offset, done.length))
        .collect();
    assert_eq!(changes, [(0x5_3000, 0x1000), (0x5_3000, 0x1000)]);
    assert!(board.snapshot()[0x2_0000..][..image.len()] == image[..]);
}

#[tokio::test]
async fn an_unplug_is_told_within_two_seconds_whether_idle_or_not() {
    let board = RomLoader::start(Config::default()).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = Mutex::new(tell);
    let session = Session::connect(options(&board), move |state| {
        let _ = tell.lock().unwrap().send(state);
    })
    .await
    .unwrap();
    assert_eq!(told.recv(), Ok(State::Connecting));
    assert_eq!(told.recv(), Ok(State::Connected));
    let since = Instant::now();
    board.unplug();
    let State::Lost(error) = told.recv_timeout(Duration::from_secs(2)).unwrap() else {
        panic!("lost is all that can happen");
    };
    assert!(since.elapsed() < Duration::from_secs(2));
    assert_eq!(error.code(), ErrorCode::Unplugged);
    let refused = session.run(|link| link.md5(0, 4096)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Unplugged);
}

#[tokio::test]
async fn a_write_goes_on_after_the_board_is_back() {
    let board = RomLoader::start(Config::default()).unwrap();
    let session = connect(&board).await;
    board.set_faults(Faults::rule("flash_defl_data:20:unplug").unwrap());
    let image = noise(600_000, 4);
    let segment = Segment::new(0, image.clone()).unwrap();
    let since = Instant::now();
    let error = put(&session, vec![segment.clone()]).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unplugged);
    assert!(since.elapsed() < Duration::from_secs(2));

    let known = session.board().clone();
    let again = options(&board);
    let waiting =
        tokio::spawn(async move { Session::reconnect(again, &known, None, |_| {}).await });
    board.set_faults(Faults::none());
    board.plug();
    let session = waiting.await.unwrap().unwrap();
    let report = put(&session, vec![segment.clone()]).await.unwrap();
    assert!(
        report.skipped > 200_000,
        "what was there was kept: {report:?}"
    );
    assert!(board.snapshot()[..image.len()] == image[..]);
}

#[tokio::test]
async fn another_board_on_the_port_is_not_taken_for_the_same() {
    let board = RomLoader::start(Config::default()).unwrap();
    let session = connect(&board).await;
    let mut known = session.board().clone();
    session.close(After::Stay).await.unwrap();
    known.mac = Some("7c:df:a1:00:00:02".into());
    let found = Session::reconnect(options(&board), &known, None, |_| {}).await;
    assert_eq!(found.unwrap_err().code(), ErrorCode::WrongBoard);
}

#[tokio::test]
async fn a_board_that_runs_is_waited_for() {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        ..Config::default()
    })
    .unwrap();
    let none = Session::connect(options(&board), |_| {}).await.unwrap_err();
    assert_eq!(none.code(), ErrorCode::NoAnswer);

    let board = Arc::new(board);
    let mut patient = options(&board);
    patient.wait_for_boot = None;
    let press = Arc::clone(&board);
    let pressed = Mutex::new(None);
    let session = Session::connect(patient, move |state| {
        if state == State::WaitingForBoot {
            let press = Arc::clone(&press);
            *pressed.lock().unwrap() =
                Some(std::thread::spawn(move || press.reset(Mode::Download)));
        }
    });
    assert_eq!(session.await.unwrap().board().chip, "esp32c3");
}

#[tokio::test]
async fn waiting_for_a_board_can_be_cancelled() {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        ..Config::default()
    })
    .unwrap();
    let mut patient = options(&board);
    patient.wait_for_boot = None;
    let cancel = patient.cancel.clone();
    let error = Session::connect(patient, move |state| {
        if state == State::WaitingForBoot {
            cancel.cancel();
        }
    })
    .await
    .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Cancelled);
}

#[tokio::test]
async fn locked_boards_are_recognized_and_left_alone() {
    let fuses = [
        Security {
            secure_boot: true,
            ..Security::default()
        },
        Security {
            flash_encryption: true,
            ..Security::default()
        },
        Security {
            secure_download: true,
            ..Security::default()
        },
    ];
    for chip in [Chip::Esp32, Chip::Esp32s2, Chip::Esp32c3] {
        for security in fuses {
            // ESP32 has no such mode.
            if chip == Chip::Esp32 && security.secure_download {
                continue;
            }
            let board = RomLoader::start(Config {
                chip,
                security,
                ..Config::default()
            })
            .unwrap();
            let session = connect(&board).await;
            let segment = Segment::new(0, vec![0; 4096]).unwrap();
            let error = put(&session, vec![segment]).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Secured, "{chip:?} {security:?}");
            assert!(board.journal().iter().all(|done| {
                !matches!(
                    done.kind,
                    airlift_rom_loader::Kind::Erase | airlift_rom_loader::Kind::Write
                )
            }));
        }
    }
}

#[tokio::test]
async fn a_panic_in_what_is_run_ends_that_and_not_the_session() {
    let board = RomLoader::start(Config::default()).unwrap();
    let session = connect(&board).await;
    let work = |_: &mut dyn Link| -> Result<(), Error> { panic!("made for this test") };
    let error = session.run(work).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(session.run(|link| link.md5(0, 4096)).await.is_ok());
}

#[tokio::test]
async fn a_stub_that_was_left_running_is_used_again() {
    let board = RomLoader::start(Config::default()).unwrap();
    let first = connect(&board).await;
    let known = first.board().clone();
    first.close(After::Stay).await.unwrap();
    let before = board.commands().len();
    let second = connect(&board).await;
    assert_eq!(second.board(), &known);
    let commands = board.commands();
    let uploads = &commands[before..];
    assert!(!uploads.contains(&airlift_rom_loader::Command::MemData));
}

#[tokio::test]
async fn a_port_is_for_one_at_a_time() {
    let board = RomLoader::start(Config::default()).unwrap();
    let session = connect(&board).await;
    let error = Session::connect(options(&board), |_| {}).await.unwrap_err();
    // Root may open a port that is taken, and finds it locked.
    assert_eq!(error.code(), ErrorCode::PortBusy);
    drop(session);
    let missing = ConnectOptions::new("/dev/no-such-port");
    let error = Session::connect(missing, |_| {}).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSuchPort);
}

#[tokio::test]
async fn what_computes_for_longer_than_a_stall_is_no_lost_link() {
    let board = RomLoader::start(Config::default()).unwrap();
    let mut hasty = options(&board);
    hasty.stall = Duration::from_millis(100);
    // Connecting is done in time, unless the machine is busy.
    let mut session = Session::connect(hasty.clone(), |_| {}).await;
    while session.is_err() {
        hasty.stall *= 2;
        hasty.settle = Duration::from_secs(5);
        session = Session::connect(hasty.clone(), |_| {}).await;
    }
    let session = session.unwrap();
    let long = 4 * hasty.stall;
    let work = move |link: &mut dyn Link| -> Result<u32, Error> {
        let mut bytes = [0; 16];
        link.read(0, &mut bytes)?;
        std::thread::sleep(long);
        link.read(0, &mut bytes)?;
        Ok(7)
    };
    assert_eq!(session.run(work).await, Ok(7));
    assert_eq!(session.lost(), None);
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_closes_the_port() {
    let board = RomLoader::start(Config {
        mode: Mode::Application,
        ..Config::default()
    })
    .unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut patient = options(&board);
    patient.wait_for_boot = None;
    let connecting = Session::connect(patient, move |state| drop(tell.send(state)));
    let waiting = async { while told.recv().await != Some(State::WaitingForBoot) {} };
    tokio::select! {
        session = connecting => panic!("nobody pressed a button: {session:?}"),
        () = waiting => {}
    }
    let mut next = options(&board);
    next.settle = Duration::from_secs(10);
    let error = Session::connect(next, |_| {}).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoAnswer, "not busy any more");
}

#[tokio::test]
async fn a_board_on_its_own_usb_has_started_when_its_port_is_gone() {
    for (chip, product) in [(Chip::Esp32s2, 0x0002), (Chip::Esp32s3, 0x0009)] {
        for leaves in [true, false] {
            let board = RomLoader::start(Config {
                chip,
                ..Config::default()
            })
            .unwrap();
            let mut otg = options(&board);
            otg.usb = Some((0x303A, product));
            otg.reset = Reset::Automatic;
            let session = Session::connect(otg, |_| {}).await.unwrap();
            if leaves {
                // What may keep it in its loader, the watchdog's key, its time, and its start.
                board.set_faults(Faults::rule("write_reg:4:unplug").unwrap());
            }
            let started = session
                .close(After::Run)
                .await
                .map_err(|error| error.code());
            let expected = if leaves {
                Ok(())
            } else {
                Err(ErrorCode::NoReset)
            };
            assert_eq!(started, expected, "{chip:?}");
        }
    }
}
