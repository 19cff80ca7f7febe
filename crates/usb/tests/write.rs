//! Writing flash when something is in the way.
#![cfg(unix)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlift_flash::Segment;
use airlift_rom_loader::{Config, Faults, Kind, RomLoader, Running};
use airlift_usb::backup::Backup;
use airlift_usb::write::{BackupTo, Phase, Progress, Stopped};
use airlift_usb::{Cancel, ConnectOptions, Error, Report, Session, WriteOptions, apply};
use airlift_wire::ErrorCode;
use tokio::task::JoinSet;

fn board(faults: &[&str]) -> Running {
    let mut all = Faults::none();
    for fault in faults {
        all.add(fault).unwrap();
    }
    RomLoader::start(Config {
        faults: all,
        ..Config::default()
    })
    .unwrap()
}

async fn connect(board: &Running) -> Session {
    let mut options = ConnectOptions::new(board.path().to_string_lossy());
    options.wait_for_boot = Some(Duration::ZERO);
    options.patience.answer = Duration::from_millis(700);
    Session::connect(options, |_| {}).await.unwrap()
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn put(
    session: &Session,
    segments: Vec<Segment>,
    options: WriteOptions,
) -> Result<Report, Stopped> {
    let cancel = Cancel::new();
    session
        .run(move |link| apply(link, &segments, &options, &cancel, &mut |_| {}))
        .await
}

async fn put_one(session: &Session, offset: u32, image: &[u8]) -> Result<Report, Stopped> {
    let segment = Segment::new(offset, image.to_vec()).unwrap();
    put(session, vec![segment], WriteOptions::default()).await
}

#[tokio::test]
async fn accidents_of_the_line_are_survived() {
    let accidents = [
        "flash_defl_data:5:drop_request",
        "flash_defl_data:5:drop_response",
        "flash_defl_data:5:corrupt_response=9",
        "flash_defl_data:5:truncate_response",
        "flash_defl_data:5:noise=300",
        "flash_defl_data:5:refuse=193",
        "flash_defl_begin:1:drop_response",
        "flash_defl_end:1:drop_response",
        "spi_flash_md5:1:corrupt_response=12",
        "spi_flash_md5:3:drop_response",
        "any:9:repeat",
        "any:12:delay=200",
    ];
    let mut all = JoinSet::new();
    for accident in accidents {
        all.spawn(async move {
            let image = noise(0x3_0000, 1);
            let (board, session) = another_image(accident).await;
            let report = put_one(&session, 0x1_0000, &image).await;
            assert!(report.is_ok(), "{accident}: {report:?}");
            assert!(
                board.snapshot()[0x1_0000..][..image.len()] == image[..],
                "{accident}"
            );
        });
    }
    all.join_all().await;
}

/// A board with another image than the one that will be written, to which this happens then.
async fn another_image(fault: &str) -> (Running, Session) {
    let board = board(&[]);
    assert!(board.put(0x1_0000, &noise(0x3_0000, 9)));
    let session = connect(&board).await;
    board.set_faults(Faults::rule(fault).unwrap());
    (board, session)
}

#[tokio::test]
async fn what_cannot_be_survived_ends_with_a_code_in_time() {
    let ends = [
        ("flash_defl_data:3:silence", ErrorCode::LinkLost),
        ("flash_defl_data:3:flood", ErrorCode::LinkLost),
        ("flash_defl_data:3:unplug", ErrorCode::Unplugged),
        ("flash_defl_data:3:baud_lost", ErrorCode::LinkLost),
        ("flash_defl_data:3:reset", ErrorCode::LinkLost),
        ("flash_defl_begin:*:refuse", ErrorCode::LinkLost),
        ("spi_flash_md5:*:refuse", ErrorCode::FlashUnreadable),
        ("bad_sector=0x12000", ErrorCode::BadFlash),
        ("write_protected", ErrorCode::BadFlash),
    ];
    let mut all = JoinSet::new();
    for (fault, code) in ends {
        all.spawn(async move {
            let (_board, session) = another_image(fault).await;
            let since = Instant::now();
            let image = noise(0x3_0000, 2);
            let stopped = put_one(&session, 0x1_0000, &image).await.unwrap_err();
            assert_eq!(stopped.error.code(), code, "{fault}: {stopped:?}");
            assert!(since.elapsed() < Duration::from_secs(20), "{fault}");
        });
    }
    all.join_all().await;
}

#[tokio::test]
async fn a_port_that_hangs_up_ends_the_session_though_it_is_back_at_once() {
    let (_board, session) = another_image("flash_defl_data:3:hang_up").await;
    let stopped = put_one(&session, 0x1_0000, &noise(0x3_0000, 2))
        .await
        .unwrap_err();
    // Whether its name was there again when that was looked at is chance.
    let code = stopped.error.code();
    assert!(
        matches!(code, ErrorCode::LinkLost | ErrorCode::Unplugged),
        "{code}"
    );
    assert!(session.run(|link| link.md5(0, 4096)).await.is_err());
    assert!(session.lost().is_some());
}

#[tokio::test]
async fn a_bad_sector_is_named() {
    let board = board(&["bad_sector=0x12000"]);
    let session = connect(&board).await;
    let stopped = put_one(&session, 0x1_0000, &noise(0x8000, 3))
        .await
        .unwrap_err();
    assert_eq!(stopped.error, Error::BadFlash { offset: 0x1_2000 });
    assert_eq!(stopped.report.unfinished, Some((0x1_0000, 0x8000)));
}

#[tokio::test]
async fn a_segment_is_begun_when_the_one_before_is_right() {
    let board = board(&["bad_sector=0x12000"]);
    let session = connect(&board).await;
    let slot = Segment::new(0x1_0000, noise(0x8000, 4)).unwrap();
    let switch = Segment::new(0x9000, noise(0x2000, 5)).unwrap();
    let stopped = put(&session, vec![slot, switch], WriteOptions::default()).await;
    assert_eq!(stopped.unwrap_err().error.code(), ErrorCode::BadFlash);
    let touched = |done: &airlift_rom_loader::Operation| {
        matches!(done.kind, Kind::Erase | Kind::Write) && done.offset < 0x1_0000
    };
    assert!(!board.journal().iter().any(touched));
}

#[tokio::test]
async fn a_cancel_is_heard_between_blocks_and_the_rest_is_written_later() {
    let board = board(&[]);
    let session = connect(&board).await;
    let image = noise(0x8_0000, 6);
    let segment = Segment::new(0, image.clone()).unwrap();
    let cancel = Cancel::new();
    let stopped = session
        .run(move |link| {
            let on_progress = &mut |progress: Progress| {
                if progress.phase == Phase::Write && progress.bytes > 0x2_0000 {
                    cancel.cancel();
                }
            };
            let options = WriteOptions::default();
            apply(link, &[segment], &options, &cancel.clone(), on_progress)
        })
        .await
        .unwrap_err();
    let interrupted = Error::Interrupted {
        offset: 0,
        len: 0x8_0000,
    };
    assert_eq!(stopped.error, interrupted);
    assert_eq!(
        interrupted.to_string(),
        "it was cancelled: what is in the flash from 0x0 to 0x80000 is incomplete"
    );
    assert_eq!(stopped.report.unfinished, Some((0, 0x8_0000)));
    let report = put_one(&session, 0, &image).await.unwrap();
    assert!(report.skipped >= 0x1_0000, "{report:?}");
    assert!(board.snapshot()[..image.len()] == image[..]);
}

#[tokio::test]
async fn a_short_segment_is_written_to_its_end_before_a_cancel_is_heard() {
    let board = board(&[]);
    let session = connect(&board).await;
    let first = noise(0x1_0000, 3);
    let second = noise(0x1000, 4);
    let segments = [(0x1_0000, &first), (0x4_0000, &second)]
        .map(|(offset, bytes)| Segment::new(offset, bytes.clone()).unwrap());
    let cancel = Cancel::new();
    let stopped = session
        .run(move |link| {
            let on_progress = &mut |progress: Progress| {
                if progress.phase == Phase::Write {
                    cancel.cancel();
                }
            };
            let options = WriteOptions::default();
            apply(link, &segments, &options, &cancel.clone(), on_progress)
        })
        .await
        .unwrap_err();
    assert_eq!(stopped.error, Error::Cancelled);
    assert_eq!(stopped.report.written, [(0x1_0000, 0x1_0000)]);
    assert_eq!(stopped.report.unfinished, None);
    let flash = board.snapshot();
    assert!(flash[0x1_0000..][..first.len()] == first[..]);
    assert!(flash[0x4_0000..][..0x1000] == [0xFF; 0x1000]);
}

#[tokio::test]
async fn what_is_overwritten_is_saved_and_can_be_put_back() {
    let board = board(&[]);
    let before = noise(0x4_0000, 7);
    assert!(board.put(0x2_0000, &before));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.bin");
    let options = WriteOptions {
        backup: Some(BackupTo {
            path: path.clone(),
            time: 1_795_400_000,
            summary: "a test".into(),
        }),
        ..WriteOptions::default()
    };
    let session = connect(&board).await;
    let mut image = before.clone();
    image[0x1_1000..0x1_3000].fill(0);
    let segment = Segment::new(0x2_0000, image.clone()).unwrap();
    board.set_faults(Faults::rule("flash_defl_end:1:unplug").unwrap());
    let stopped = put(&session, vec![segment.clone()], options.clone()).await;
    assert_eq!(stopped.unwrap_err().error.code(), ErrorCode::Unplugged);
    board.set_faults(Faults::none());
    board.plug();

    // The second time the sectors are half-written; what is saved is what was there at first.
    let session = connect(&board).await;
    let report = put(&session, vec![segment], options).await.unwrap();
    assert!(board.snapshot()[0x2_0000..][..image.len()] == image[..]);
    assert_eq!(report.backup.as_deref(), Some(path.as_path()));
    let backup = Backup::open(&path).unwrap();
    assert_eq!(
        (backup.size(), backup.mac.as_deref()),
        (0x2000, Some("7c:df:a1:00:00:01"))
    );
    let segments = backup.segments().unwrap();
    put(&session, segments, WriteOptions::default())
        .await
        .unwrap();
    assert!(board.snapshot()[0x2_0000..][..before.len()] == before[..]);
}

#[tokio::test]
async fn progress_counts_up_in_bytes_of_flash_and_ends_at_the_total() {
    let board = board(&[]);
    let session = connect(&board).await;
    let mut image = noise(0x2_0000, 8);
    image.resize(0x6_0000, 0xFF);
    image.extend(noise(0x1_0000, 9));
    assert!(board.put(0, &vec![0; image.len()]));
    let segment = Segment::new(0, image.clone()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&seen);
    session
        .run(move |link| {
            let on_progress = &mut |progress: Progress| see.lock().unwrap().push(progress);
            let options = WriteOptions::default();
            apply(link, &[segment], &options, &Cancel::new(), on_progress)
        })
        .await
        .unwrap();
    assert!(board.snapshot()[..image.len()] == image[..]);
    let seen = seen.lock().unwrap();
    for phase in [Phase::Compare, Phase::Write, Phase::Verify] {
        let bytes: Vec<_> = seen
            .iter()
            .filter(|p| p.phase == phase)
            .map(|p| p.bytes)
            .collect();
        assert!(bytes.is_sorted(), "{phase:?}: {bytes:?}");
        assert_eq!(bytes.last(), Some(&0x7_0000), "{phase:?}");
    }
    let writes = seen
        .iter()
        .filter(|progress| progress.phase == Phase::Write);
    assert!(writes.count() > 10, "progress inside a segment");
}

#[tokio::test]
async fn impossible_segments_are_refused_before_anything_is_done() {
    let board = board(&[]);
    let session = connect(&board).await;
    let segment = |offset, len| Segment::new(offset, vec![0; len]).unwrap();
    let past = put(
        &session,
        vec![segment(0x40_0000, 4096)],
        WriteOptions::default(),
    )
    .await;
    assert_eq!(past.unwrap_err().error.code(), ErrorCode::TooBig);
    let twice = vec![segment(0x2000, 8192), segment(0x1000, 8192)];
    let twice = put(&session, twice, WriteOptions::default()).await;
    assert_eq!(twice.unwrap_err().error, Error::Overlap { offset: 0x1000 });
    assert!(board.journal().is_empty());
}
