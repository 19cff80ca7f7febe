use std::time::Duration;

use super::*;
use crate::dto::{Event, UsbActivity};
use crate::usb::table::Found;
use crate::usb::table::tests::{A, found, working};

const B: &str = "/dev/ttyACM1";
const C: &str = "/dev/ttyACM2";

fn anonymous(path: &str) -> Found {
    Found {
        serial_number: None,
        ..found(path, "")
    }
}

fn paths(table: &Table) -> Vec<String> {
    let came = table.came_instead(A).into_iter();
    came.map(|came| came.path).collect()
}

/// A job on A, whose adapter says what `found` says.
fn working_on(found: Found) -> Table {
    let (mut table, _) = working();
    table.list(vec![found]);
    table
}

#[test]
fn the_same_serial_number_under_another_name_may_be_the_board() {
    let (mut table, _) = working();
    assert!(paths(&table).is_empty(), "it is there");
    table.list(vec![found(B, "1"), found(C, "2")]);
    assert_eq!(paths(&table), [B]);
    // Or it comes later.
    let (mut table, _) = working();
    table.list(Vec::new());
    assert!(paths(&table).is_empty());
    table.list(vec![anonymous(C)]);
    table.list(vec![anonymous(C), found(B, "1")]);
    assert_eq!(paths(&table), [B]);
}

#[test]
fn without_a_serial_number_it_is_a_port_of_the_same_make_that_was_not_there_before() {
    let mut table = working_on(anonymous(A));
    table.list(vec![anonymous(A), anonymous(B)]);
    let other = Found {
        product_id: Some(0x1002),
        ..anonymous("/dev/ttyACM7")
    };
    table.list(vec![anonymous(B), other]);
    assert!(paths(&table).is_empty(), "that one has a board of its own");
    table.list(vec![anonymous(B), anonymous(C)]);
    assert_eq!(paths(&table), [C]);
    // The other one came back under its own name: it may be any of the two.
    table.list(vec![anonymous(C)]);
    table.list(vec![anonymous(B), anonymous(C)]);
    assert_eq!(paths(&table), [B, C], "the newest first");
    table.list(vec![anonymous(A), anonymous(B), anonymous(C)]);
    assert!(paths(&table).is_empty(), "it is there");
}

#[test]
fn a_port_that_was_named_by_hand_or_says_nothing_is_only_itself() {
    let by_hand = |path| Found {
        named: true,
        ..found(path, "1")
    };
    let nothing = |path| Found {
        vendor_id: None,
        product_id: None,
        ..anonymous(path)
    };
    for what in [by_hand, nothing] {
        let mut table = working_on(what(A));
        table.list(vec![what(B)]);
        assert!(paths(&table).is_empty());
    }
    let mut table = working_on(found(A, "1"));
    table.list(vec![by_hand(B)]);
    assert!(paths(&table).is_empty());
}

#[test]
fn all_that_is_known_moves_and_both_ports_are_told() {
    let (mut table, job) = working();
    table.set_label(A, Some("rack 3".into())).unwrap();
    table.due(Duration::ZERO);
    table.set_activity(A, UsbActivity::Unplugged);
    table.list(vec![found(B, "1")]);
    table.due(Duration::from_secs(1));
    let before = table.view(A).unwrap();
    let from = [UsbActivity::Idle];
    table.begin(B, UsbActivity::Connecting, &from).unwrap();
    table.moved(A, B).unwrap();
    assert!(table.view(A).is_err());
    let port = table.view(B).unwrap();
    assert!(port.present);
    let label = port.label.as_deref();
    assert_eq!((label, port.activity), (Some("rack 3"), before.activity));
    assert_eq!((&port.board, &port.plan), (&before.board, &before.plan));
    assert_eq!(table.job(job).unwrap().0, B);
    // At once, though the port was told about a moment ago.
    let (events, next) = table.due(Duration::from_secs(1));
    let [Event::UsbPortGone(gone), Event::UsbPort(told)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((gone.as_str(), told.path.as_str(), next), (A, B, None));
    assert_eq!(told.job.as_ref().unwrap().id, job);
    // What gets the old name next is another board.
    table.list(vec![found(A, "9"), found(B, "1")]);
    assert_eq!(table.view(A).unwrap().job, None);
    assert!(table.moved("/dev/no", B).is_err() && table.moved(B, "/dev/no").is_err());
    assert!(table.view(B).is_ok());
}
