//! An unplugged board is reported within two seconds, whatever it was asked.
#![cfg(unix)]

#[allow(dead_code)] // what many boards at once need
#[path = "faults/play.rs"]
mod play;

use airlift_wire::ErrorCode;
use play::{Job, Outcome, places, play, unplugged};

/// One after the other, so that nothing is waited for but the board. What the last commands of a
/// session are for is done already, and to end it without the board is no error.
#[test]
fn an_unplug_at_any_kind_of_command_is_reported_within_two_seconds() {
    let (commands, reference) = Job::Flash.reference();
    let mut reported = 0;
    for (command, nth) in places(&commands, false) {
        for after in [false, true] {
            let case = unplugged(Job::Flash, command, nth, after);
            match play(&case, &reference) {
                Outcome::Refused(ErrorCode::Unplugged) => reported += 1,
                Outcome::Done => {}
                other => panic!("{}: {other:?}", case.rule),
            }
        }
    }
    assert!(reported >= 20, "reported {reported} times only");
}
