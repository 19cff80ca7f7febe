use super::*;
use bytes::Bytes;

const BOARD: &str = "10.0.0.30";

fn release(id: u8, app: usize, files: bool) -> PlainRelease {
    // An empty canonical tar: its end alone, two blocks.
    let files = files.then(|| Bytes::from(vec![0; airlift_wire::tar::TRAILER]));
    PlainRelease::new(Digest([id; 32]), Some(Bytes::from(vec![7; app])), files).unwrap()
}

/// A table that serves an app of three chunks and files of two.
fn table() -> PlainBoards {
    let mut boards = PlainBoards::default();
    boards.serve(Some((&release(1, 1300, true), "demo", "1.1.0")));
    boards
}

fn request(boards: &PlainBoards, from: &str, asked: PlainAsked) -> PlainRequest {
    PlainRequest {
        peer: format!("{from}:49152").parse().unwrap(),
        release: boards.served(),
        asked,
    }
}

fn ask(boards: &mut PlainBoards, from: &str, now: f64) {
    let request = request(boards, from, PlainAsked::Update);
    boards.heard(&request, now);
}

fn fetch(boards: &mut PlainBoards, from: &str, part: PlainPart, n: usize, now: f64) {
    let asked = PlainAsked::Chunk { part, n, of: 0 };
    let request = request(boards, from, asked);
    boards.heard(&request, now);
}

fn fetch_all(boards: &mut PlainBoards, from: &str, now: f64) {
    (0..3).for_each(|n| fetch(boards, from, PlainPart::App, n, now));
    (0..2).for_each(|n| fetch(boards, from, PlainPart::Files, n, now));
}

fn only(boards: &mut PlainBoards, now: f64) -> dto::PlainBoard {
    let [board] = boards.view(now).boards.try_into().unwrap();
    board
}

fn counts(board: &dto::PlainBoard) -> Vec<(&str, u32, u32)> {
    let parts = board.parts.iter();
    parts
        .map(|p| (p.part.as_str(), p.fetched, p.chunks))
        .collect()
}

#[test]
fn a_board_is_known_by_its_address_and_counted_by_its_chunks() {
    let mut boards = table();
    ask(&mut boards, BOARD, 10.0);
    let board = only(&mut boards, 10.0);
    assert_eq!(
        (board.address.as_str(), board.state),
        (BOARD, PlainState::Asked)
    );
    fetch(&mut boards, BOARD, PlainPart::App, 0, 11.0);
    // The connection dropped, and the chunk is fetched again: still one.
    fetch(&mut boards, BOARD, PlainPart::App, 0, 12.0);
    fetch(&mut boards, BOARD, PlainPart::Files, 1, 13.0);
    let board = only(&mut boards, 13.0);
    assert_eq!(board.state, PlainState::Fetching);
    assert_eq!(counts(&board), [("app", 1, 3), ("files", 1, 2)]);
    assert_eq!(
        board.summary,
        "Fetches demo 1.1.0: app 1 of 3 chunks, files 1 of 2 chunks."
    );
}

#[test]
fn who_has_everything_is_unknown_and_asking_again_proves_nothing() {
    let mut boards = table();
    ask(&mut boards, BOARD, 0.0);
    fetch_all(&mut boards, BOARD, 1.0);
    assert_eq!(only(&mut boards, 1.0).state, PlainState::Unknown);
    assert_eq!(
        only(&mut boards, 1000.0).state,
        PlainState::Unknown,
        "and stays so"
    );
    ask(&mut boards, BOARD, 1001.0);
    let board = only(&mut boards, 1001.0);
    assert_eq!(board.state, PlainState::Unknown);
    assert!(board.summary.contains("asked again"), "{}", board.summary);
    // It fetches all of it again: another attempt, from the start.
    fetch(&mut boards, BOARD, PlainPart::App, 0, 1002.0);
    let board = only(&mut boards, 1002.0);
    assert_eq!(board.state, PlainState::Fetching);
    assert_eq!(counts(&board), [("app", 1, 3), ("files", 0, 2)]);
}

#[test]
fn a_device_that_started_since_and_runs_the_release_is_the_proof() {
    let ip: IpAddr = BOARD.parse().unwrap();
    let served = Digest([1; 32]);
    let mut boards = table();
    ask(&mut boards, BOARD, 0.0);
    fetch(&mut boards, BOARD, PlainPart::App, 0, 50.0);
    boards.answers(ip, 1.0, |_| true, 60.0);
    assert_eq!(
        only(&mut boards, 60.0).state,
        PlainState::Fetching,
        "not all is fetched"
    );
    fetch_all(&mut boards, BOARD, 100.0);
    boards.answers(ip, 90.0, |_| true, 120.0);
    assert_eq!(
        only(&mut boards, 120.0).state,
        PlainState::Unknown,
        "it ran before"
    );
    boards.answers(ip, 5.0, |_| false, 120.0);
    assert_eq!(
        only(&mut boards, 120.0).state,
        PlainState::Unknown,
        "it runs another"
    );
    boards.answers("10.0.0.31".parse().unwrap(), 5.0, |_| true, 120.0);
    assert_eq!(
        only(&mut boards, 120.0).state,
        PlainState::Unknown,
        "it is another"
    );
    boards.answers(ip, 5.0, |id| *id == served, 120.0);
    assert_eq!(only(&mut boards, 120.0).state, PlainState::Updated);
}

#[test]
fn devices_on_this_computer_prove_nothing_of_a_board() {
    let mut boards = table();
    fetch_all(&mut boards, "127.0.0.1", 1.0);
    boards.answers("127.0.0.1".parse().unwrap(), 1.0, |_| true, 10.0);
    assert_eq!(only(&mut boards, 10.0).state, PlainState::Unknown);
}

#[test]
fn a_board_that_goes_silent_has_stopped_and_may_go_on() {
    let mut boards = table();
    fetch(&mut boards, BOARD, PlainPart::App, 0, 0.0);
    assert_eq!(
        only(&mut boards, QUIET_AFTER - 1.0).state,
        PlainState::Fetching
    );
    assert_eq!(only(&mut boards, QUIET_AFTER).state, PlainState::Stopped);
    fetch(&mut boards, BOARD, PlainPart::App, 1, 90.0);
    let board = only(&mut boards, 90.0);
    assert_eq!(
        (board.state, counts(&board)[0]),
        (PlainState::Fetching, ("app", 2, 3))
    );
}

#[test]
fn turning_it_off_or_to_another_release_ends_what_runs() {
    let mut boards = table();
    fetch(&mut boards, BOARD, PlainPart::App, 0, 0.0);
    let late = request(
        &boards,
        BOARD,
        PlainAsked::Chunk {
            part: PlainPart::App,
            n: 1,
            of: 3,
        },
    );
    boards.serve(None);
    assert_eq!(boards.view(0.0).release, None);
    assert_eq!(only(&mut boards, 0.0).state, PlainState::Stopped);
    boards.serve(Some((&release(2, 600, false), "demo", "1.2.0")));
    boards.heard(&late, 1.0);
    assert_eq!(
        counts(&only(&mut boards, 1.0))[0],
        ("app", 1, 3),
        "a report of the old one"
    );
    ask(&mut boards, BOARD, 2.0);
    let board = only(&mut boards, 2.0);
    assert_eq!(
        (board.state, board.release),
        (PlainState::Asked, Some("02".repeat(32)))
    );
}

#[test]
fn who_asks_while_it_is_off_is_shown_as_told_nothing() {
    let mut boards = PlainBoards::default();
    ask(&mut boards, BOARD, 0.0);
    let board = only(&mut boards, 0.0);
    assert_eq!((board.state, board.release), (PlainState::Refused, None));
    boards.serve(Some((&release(1, 1300, true), "demo", "1.1.0")));
    ask(&mut boards, BOARD, 5.0);
    assert_eq!(only(&mut boards, 5.0).state, PlainState::Asked);
}

#[test]
fn the_table_is_bounded_and_keeps_those_that_fetch() {
    let mut boards = table();
    fetch(&mut boards, BOARD, PlainPart::App, 0, 0.0);
    for n in 0..1000 {
        let from = format!("10.1.{}.{}", n / 250, n % 250);
        ask(&mut boards, &from, 1.0 + f64::from(n) / 1000.0);
    }
    let view = boards.view(2.0);
    assert_eq!(view.boards.len(), MOST_BOARDS);
    assert!(view.boards.iter().any(|board| board.address == BOARD));
    assert!(
        view.boards
            .iter()
            .any(|board| board.address == "10.1.3.249"),
        "the newest"
    );
}

#[test]
fn a_board_that_is_silent_for_long_is_forgotten() {
    let mut boards = table();
    ask(&mut boards, BOARD, 0.0);
    assert_eq!(boards.view(FORGET_AFTER - 1.0).boards.len(), 1);
    assert_eq!(boards.view(FORGET_AFTER).boards.len(), 0);
}

#[test]
fn news_are_told_once_and_not_for_each_chunk() {
    let mut boards = table();
    let mut told = Vec::new();
    ask(&mut boards, BOARD, 0.0);
    told.extend(boards.news(0.0));
    for (part, chunks) in [(PlainPart::App, 3), (PlainPart::Files, 2)] {
        for n in 0..chunks {
            fetch(&mut boards, BOARD, part, n, 1.0);
            told.extend(boards.news(1.0));
        }
    }
    told.extend(boards.news(2.0));
    let told: Vec<_> = told
        .iter()
        .map(|board| (board.state, counts(board)))
        .collect();
    let at = |app, files| vec![("app", app, 3), ("files", files, 2)];
    assert_eq!(
        told,
        [
            (PlainState::Asked, at(0, 0)),
            (PlainState::Fetching, at(1, 0)),
            (PlainState::Fetching, at(3, 0)),
            (PlainState::Unknown, at(3, 2)),
        ]
    );
}
