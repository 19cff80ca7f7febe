//! `airlift usb` leaves a board that it does not write as it found it: running.

use crate::support::Desk;
use airlift_rom_loader::{Config, Mode, RomLoader};

/// Where the default layout has otadata.
const OTADATA: u32 = 0xD000;

#[test]
fn a_board_that_is_not_written_after_all_runs_again() {
    let desk = Desk::with_key();
    desk.run("key trust key.pub.pem").succeeded();
    desk.pack("old.airlift", 1, "--version 1.0.0").succeeded();
    let board = RomLoader::start(Config::default()).expect("a terminal");
    let port = format!("--port {}", board.path().display());
    board.reset(Mode::Download);
    desk.run(&format!("usb flash {port} old.airlift"))
        .succeeded();
    assert!(board.put(OTADATA, &[0x5A; 64]));
    let commands = [
        // Nobody is there to say yes.
        "repair",
        "flash no-such.airlift",
        "flash --plan no-such.airlift",
        "restore 1-none --yes",
    ];
    for command in commands {
        board.reset(Mode::Download);
        assert!(!board.is_application());
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let run = desk.run(&format!("usb {verb} {port} {rest}"));
        assert_ne!(run.code, 0, "{run:?}");
        assert!(board.is_application(), "{command}: {run:?}");
    }
}
