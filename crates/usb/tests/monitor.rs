//! Boards that run, on a pseudo-terminal.
#![cfg(unix)]

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use airlift_rom_loader::{Application, Config, Improv, Mode, RomLoader, Running};
use airlift_usb::monitor::{Event, Kind};
use airlift_usb::{ConnectOptions, Monitor, MonitorOptions, Session};
use airlift_wire::ErrorCode;

const SOON: Duration = Duration::from_secs(5);

/// A board with an application, in its loader.
fn board() -> Running {
    let board = RomLoader::start(Config {
        application: Application {
            log: vec!["E (7) demo: no network".into()],
            improv: Some(Improv {
                firmware: "demo".into(),
                version: "1.0.0".into(),
                name: "bench".into(),
                url: "http://10.0.0.7".into(),
                network: ("home".into(), "right".into()),
            }),
        },
        ..Config::default()
    })
    .unwrap();
    // What its bootloader looks for: itself, and a partition table.
    assert!(board.put(0, &[0xE9]) && board.put(0x8000, &[0xAA, 0x50]));
    board
}

fn running() -> Running {
    let board = board();
    board.reset(Mode::Application);
    board
}

fn options(board: &Running) -> MonitorOptions {
    let mut port = ConnectOptions::new(board.path().to_string_lossy());
    port.wait_for_boot = Some(Duration::ZERO);
    MonitorOptions::new(port)
}

async fn listen(board: &Running) -> (Monitor, Receiver<Event>) {
    let (tell, told) = channel();
    let monitor = Monitor::start(options(board), move |event| drop(tell.send(event)));
    (monitor.await.unwrap(), told)
}

/// Waits for a line with these words.
fn line(told: &Receiver<Event>, words: &str) -> Kind {
    loop {
        if let Event::Line(line) = told.recv_timeout(SOON).unwrap()
            && line.text.contains(words)
        {
            return line.kind;
        }
    }
}

#[tokio::test]
async fn lines_are_told_until_it_is_stopped() {
    let board = running();
    let (monitor, told) = listen(&board).await;
    board.print("panicked at src/main.rs:7:1:");
    assert_eq!(line(&told, "src/main.rs"), Kind::Panic);
    monitor.stop().await;
    board.print("nobody hears this");
    assert!(told.recv().is_err());
}

#[tokio::test]
async fn a_board_that_goes_and_comes_is_heard_again() {
    let board = running();
    let (monitor, told) = listen(&board).await;
    board.unplug();
    let lost = loop {
        match told.recv_timeout(SOON).unwrap() {
            Event::Lost(error) => break error,
            other => assert!(matches!(other, Event::Line(_))),
        }
    };
    assert_eq!(lost.code(), ErrorCode::Unplugged);
    let refused = monitor.send(b"x".to_vec()).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Unplugged);
    board.plug();
    while told.recv_timeout(SOON).unwrap() != Event::Back {}
    board.print("here again");
    assert_eq!(line(&told, "here again"), Kind::Log);
}

#[tokio::test]
async fn the_board_is_given_its_network() {
    let board = running();
    let (monitor, _told) = listen(&board).await;
    let refused = monitor.provision("home", "wrong", SOON, SOON).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::WifiRefused);
    let joined = monitor.provision("home", "right", SOON, SOON).await;
    assert_eq!(joined.as_deref(), Ok("http://10.0.0.7"));
    let nameless = monitor.provision("", "right", SOON, SOON).await;
    assert_eq!(nameless.unwrap_err().code(), ErrorCode::Usage);
}

#[tokio::test]
async fn a_board_in_its_loader_speaks_no_improv() {
    let board = RomLoader::start(Config::default()).unwrap();
    let (monitor, _told) = listen(&board).await;
    let silent = monitor.provision("home", "right", Duration::from_millis(300), SOON);
    assert_eq!(silent.await.unwrap_err().code(), ErrorCode::NoImprov);
}

#[tokio::test]
async fn a_terminal_has_no_lines_to_reset_by() {
    let board = running();
    let (monitor, _told) = listen(&board).await;
    let code = monitor.reset().await.unwrap_err().code();
    assert_eq!(code, ErrorCode::NoReset);
}

#[tokio::test]
async fn after_a_session_the_log_is_heard_from_its_start() {
    let board = board();
    let options = options(&board);
    let session = Session::connect(options.port.clone(), |_| {})
        .await
        .unwrap();
    let (tell, told) = channel();
    let monitor = Monitor::after(session, options, move |event| drop(tell.send(event))).await;
    assert!(monitor.is_ok(), "{monitor:?}");
    assert_eq!(line(&told, "rst:0x"), Kind::Reset);
}
