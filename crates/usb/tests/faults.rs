//! Every fault of a board at every kind of command of a flash and of a diagnosis.
//!
//! Each must end, within [`play::LONGEST`], in the right bytes or in an error that says what it is;
//! nothing outside of the segments is touched, and without the fault it then works. By default the
//! fault comes at one command of each kind; `AIRLIFT_FAULTS=all` plays it at each command.
#![cfg(unix)]

#[allow(dead_code)] // what one board alone needs
#[path = "faults/play.rs"]
mod play;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airlift_rom_loader::{Action, Chip, Command, Rule, When};
use play::{Case, Job, Outcome, places, play};

/// How many are played at once: they mostly wait for answers that do not come.
const AT_ONCE: usize = 96;
/// An unplugged board is noticed because its port says so, not because an answer does not come: also
/// among all the others on a busy machine. `faults_unplug.rs` has the two seconds that it may take.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a response that are tried wrong: direction, command, value, and status or data.
const CORRUPTED: [u32; 8] = [1, 2, 5, 6, 7, 8, 9, 12];

/// All that can go wrong at a command.
fn actions() -> Vec<Action> {
    let corrupt = CORRUPTED.map(Action::CorruptResponse);
    let others = Action::ALL
        .into_iter()
        .filter(|action| !matches!(action, Action::CorruptResponse(_)));
    others.chain(corrupt).collect()
}

/// Plays every fault at every place, prints how it went, and says what was wrong.
fn play_all(job: Job) -> Vec<String> {
    let all = std::env::var("AIRLIFT_FAULTS").is_ok_and(|value| value == "all");
    let (commands, reference) = job.reference();
    let mut cases = Vec::new();
    let mut places = places(&commands, all);
    // Connecting is the same for both jobs.
    if job == Job::Diagnosis && !all {
        places.retain(|(command, _)| matches!(command, Command::ReadFlash | Command::SpiFlashMd5));
    }
    for (command, nth) in places {
        cases.extend(actions().into_iter().map(|action| Case {
            job,
            rule: Rule {
                command: Some(command),
                when: When::Nth(nth),
                action,
            },
            noticed_within: NOTICED_WITHIN,
        }));
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(case, &reference);
                    outcomes.lock().unwrap().push((case, outcome));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case, outcome) in &outcomes {
        let end = match outcome {
            Outcome::Done => "right bytes".to_string(),
            Outcome::Refused(code) => code.to_string(),
            Outcome::Wrong(why) => {
                wrong.push(format!("{job:?} with {}: {why}", case.rule));
                "wrong".to_string()
            }
        };
        *ends.entry(end).or_default() += 1;
    }
    println!(
        "{job:?}: {} faults at {} commands of {}: {ends:?}",
        cases.len(),
        cases.len() / actions().len(),
        commands.len()
    );
    assert_eq!(outcomes.len(), cases.len());
    wrong.sort();
    wrong
}

#[test]
fn no_fault_makes_a_flash_hang_panic_or_lie() {
    let wrong = play_all(Job::Flash);
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_fault_makes_a_diagnosis_hang_panic_or_lie() {
    let wrong = play_all(Job::Diagnosis);
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The bits of an answer that say what is locked: of a word, of flags and of the count of encryption.
fn telling_bits(command: Command) -> Vec<u32> {
    match command {
        Command::ReadReg => (8 * 5..8 * 9).collect(),
        _ => [8 * 9, 8 * 13, 8 * 13 + 1, 8 * 13 + 2].to_vec(),
    }
}

#[test]
fn no_wrong_bit_makes_a_locked_board_one_to_write_to() {
    let mut cases = Vec::new();
    for (chip, security) in play::locks() {
        let all = std::env::var("AIRLIFT_FAULTS").is_ok_and(|value| value == "all");
        for (command, nth) in play::tells(chip, security) {
            let bits = telling_bits(command);
            // A word has 32 bits, of which one of these locks an ESP32.
            let locking = [8 * 5 + 4, 8 * 5 + 5, 8 * 7 + 4, 8 * 7 + 5, 8 * 7 + 6];
            let few = bits.iter().filter(|bit| {
                command != Command::ReadReg || chip == Chip::Esp32 && locking.contains(bit)
            });
            let bits = if all { bits } else { few.copied().collect() };
            cases.extend(bits.into_iter().map(|bit| {
                let rule = Rule {
                    command: Some(command),
                    when: When::Nth(nth),
                    action: Action::FlipBit(bit),
                };
                (chip, security, rule)
            }));
        }
    }
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some((chip, security, rule)) =
                    cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let played = play::play_locked(*chip, *security, *rule);
                    wrong.lock().unwrap().extend(played.err());
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} wrong bits of locked boards", cases.len());
    assert!(cases.len() > 100);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn another_chip_is_told_so_that_what_is_for_this_one_can_be_refused() {
    assert_eq!(play::chip_of("chip_id=9"), Ok(9));
}

#[test]
fn a_board_that_cannot_be_flashed_says_why() {
    for (state, expected) in play::states() {
        let outcome = play::play_state(state);
        assert_eq!(outcome, expected, "{state}");
    }
}
