//! One fault: what is done, what may come of it, and what never.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use airlift_flash::diagnosis::Known;
use airlift_flash::{Depth, Factory, Segment, diagnose};
use airlift_rom_loader::{
    Action, Chip, Command, Config, Faults, Kind, Mode, RomLoader, Rule, Running, Security, When,
};
use airlift_usb::link::Flash;
use airlift_usb::write::BackupTo;
use airlift_usb::{After, Board, Cancel, ConnectOptions, Error, Session, WriteOptions, apply};
use airlift_wire::ErrorCode;

/// Longer than this is a hang.
pub const LONGEST: Duration = Duration::from_secs(90);
/// Some seconds of patience are for boards; the one here answers at once.
const PATIENCE: Duration = Duration::from_millis(700);

/// What is done with a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Compare, save, write, verify.
    Flash,
    /// Look at it.
    Diagnosis,
}

/// A fault at a command of a job.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub job: Job,
    pub rule: Rule,
    /// An unplugged board is reported within this.
    pub noticed_within: Duration,
}

/// A board is unplugged at a command, alone and on a machine that does nothing else with boards.
pub fn unplugged(job: Job, command: Command, nth: u32, after: bool) -> Case {
    let action = if after {
        Action::UnplugAfter(None)
    } else {
        Action::Unplug(None)
    };
    Case {
        job,
        rule: Rule {
            command: Some(command),
            when: When::Nth(nth),
            action,
        },
        noticed_within: Duration::from_secs(2),
    }
}

/// At which commands something goes wrong: of each kind the one in the middle, or all.
pub fn places(commands: &[Command], all: bool) -> Vec<(Command, u32)> {
    let mut counts: BTreeMap<Command, u32> = BTreeMap::new();
    for command in commands {
        *counts.entry(*command).or_default() += 1;
    }
    let kinds = counts.into_iter();
    kinds
        .flat_map(|(command, count)| {
            let range = if all {
                1..=count
            } else {
                let middle = count.div_ceil(2);
                middle..=middle
            };
            range.map(move |nth| (command, nth))
        })
        .collect()
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As without the fault.
    Done,
    /// An error that says what it is.
    Refused(ErrorCode),
    /// None of these.
    Wrong(String),
}

/// What a job says when nothing goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    board: Board,
    diagnosis: String,
}

impl Job {
    /// The commands of the job without faults, and what it says.
    pub fn reference(self) -> (Vec<Command>, Said) {
        let board = board(self, Faults::none());
        let said = run(self, &board).unwrap();
        assert_eq!(self.judge(&board, true), Ok(()));
        (board.commands(), said)
    }

    /// The flash before.
    fn before(self) -> Vec<u8> {
        match self {
            // Not blank, so that what is erased beside the segments is seen.
            Self::Flash => noise(0x4_0000, 1),
            Self::Diagnosis => {
                let factory = Factory::untrusting("faults", "");
                factory.build().unwrap()
            }
        }
    }

    /// Whether the flash is what it may be.
    fn judge(self, board: &Running, done: bool) -> Result<(), String> {
        let mut expected = self.before();
        expected.resize(4 << 20, 0xFF);
        let flash = board.snapshot();
        let segments = self.segments();
        for segment in &segments {
            let range = segment.offset() as usize..segment.end() as usize;
            if done && flash[range.clone()] != segment.bytes()[..] {
                return Err(format!("success, and wrong bytes at {:#x}", range.start));
            }
            expected[range.clone()].copy_from_slice(&flash[range]);
        }
        if flash != expected {
            return Err("flash beside the segments has changed".to_string());
        }
        let outside = board.journal().into_iter().find(|operation| {
            let changes = matches!(operation.kind, Kind::Erase | Kind::Write);
            let inside = segments.iter().any(|segment| {
                operation.offset >= segment.offset()
                    && operation.offset + operation.length <= segment.end()
            });
            changes && !inside
        });
        match outside {
            Some(operation) => Err(format!("beside the segments: {operation:?}")),
            None => Ok(()),
        }
    }

    fn segments(self) -> Vec<Segment> {
        match self {
            Self::Flash => {
                let mut app = noise(18 * 4096, 2);
                // Something that is only erased, and something that is there already.
                app[4 * 4096..8 * 4096].fill(0xFF);
                app[12 * 4096..13 * 4096]
                    .copy_from_slice(&self.before()[0x1_0000 + 12 * 4096..][..4096]);
                vec![
                    Segment::new(0x1_0000, app).unwrap(),
                    Segment::new(0xD000, noise(8192, 3)).unwrap(),
                ]
            }
            Self::Diagnosis => Vec::new(),
        }
    }
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn board(job: Job, faults: Faults) -> Running {
    let board = RomLoader::start(Config {
        faults,
        ..Config::default()
    });
    let board = board.unwrap();
    assert!(board.put(0, &job.before()));
    board
}

/// The job from the opening of the port to its closing.
fn run(job: Job, board: &Running) -> Result<Said, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = ConnectOptions::new(board.path().to_string_lossy());
    options.patience.answer = PATIENCE;
    options.wait_for_boot = Some(Duration::ZERO);
    options.settle = Duration::ZERO;
    let write = WriteOptions {
        backup: Some(BackupTo {
            path: folder.path().join("backup"),
            time: 0,
            summary: "faults".to_string(),
        }),
        ..WriteOptions::default()
    };
    let segments = job.segments();
    runtime.block_on(async {
        let session = Session::connect(options, |_| {}).await?;
        let board = session.board().clone();
        let chip = board.chip_id;
        let work = session.run(move |link| match job {
            Job::Flash => {
                apply(link, &segments, &write, &Cancel::new(), &mut |_| {})?;
                Ok::<_, Error>(String::new())
            }
            Job::Diagnosis => {
                let known = Known::new(chip, &[]);
                let found = diagnose(&mut Flash(link), &known, Depth::Quick, &mut |_, _| {})?;
                Ok(format!("{found:?}"))
            }
        });
        let diagnosis = work.await?;
        session.close(After::Stay).await?;
        Ok(Said { board, diagnosis })
    })
}

/// Plays a case to its end, and then again without the fault.
pub fn play(case: &Case, reference: &Said) -> Outcome {
    let played = catch_unwind(AssertUnwindSafe(|| play_once(case, reference)));
    match played {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => Outcome::Wrong(why),
        Err(_) => Outcome::Wrong("panic".to_string()),
    }
}

fn play_once(case: &Case, reference: &Said) -> Result<Outcome, String> {
    let faults = Faults {
        rules: vec![case.rule],
        ..Faults::none()
    };
    let board = board(case.job, faults);
    let start = Instant::now();
    let (result, gone_for) = std::thread::scope(|scope| {
        let gone = scope.spawn(|| when_gone(case.rule.action, &board));
        let result = run(case.job, &board);
        let end = Instant::now();
        // Those that were not unplugged are not waited for.
        board.unplug();
        let gone = gone.join().unwrap_or_default();
        (result, gone.map(|at| end.saturating_duration_since(at)))
    });
    if start.elapsed() > LONGEST {
        return Err(format!("it took {:?}", start.elapsed()));
    }
    if matches!(case.rule.action, Action::Unplug(_) | Action::UnplugAfter(_))
        && let Some(time) = gone_for
        && time > case.noticed_within
    {
        return Err(format!("noticed {time:?} after it was unplugged"));
    }
    case.job.judge(&board, result.is_ok())?;
    let outcome = match result {
        Ok(said) if said == *reference => Outcome::Done,
        Ok(said) => return Err(format!("success, and it says {said:?}")),
        Err(error) => Outcome::Refused(sensible(&error)?),
    };
    if outcome != Outcome::Done {
        board.set_faults(Faults::none());
        board.reset(Mode::Download);
        board.plug();
        let said = run(case.job, &board).map_err(|error| format!("again: {error}"))?;
        if said != *reference {
            return Err(format!("again, it says {said:?}"));
        }
        case.job.judge(&board, true)?;
    }
    Ok(outcome)
}

/// When the board was unplugged by its fault; not waited for when there is no such fault.
fn when_gone(action: Action, board: &Running) -> Option<Instant> {
    if !matches!(action, Action::Unplug(_) | Action::UnplugAfter(_)) {
        return None;
    }
    let start = Instant::now();
    while start.elapsed() < LONGEST {
        if !board.path().is_symlink() {
            return Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The code of an error that a board or its line can be blamed for.
fn sensible(error: &Error) -> Result<ErrorCode, String> {
    let code = error.code();
    let blames_us = matches!(
        code,
        ErrorCode::Internal | ErrorCode::Usage | ErrorCode::Cancelled | ErrorCode::Io
    );
    if blames_us || error.to_string().is_empty() {
        return Err(format!("{code}: {error}"));
    }
    Ok(code)
}

/// What no bit of an answer may do: make a locked board one that can be written to.
pub fn locks() -> Vec<(Chip, Security)> {
    let boot = Security {
        secure_boot: true,
        ..Security::default()
    };
    let encryption = Security {
        flash_encryption: true,
        ..Security::default()
    };
    vec![
        (Chip::Esp32c3, boot),
        (Chip::Esp32c3, encryption),
        (Chip::Esp32, boot),
        (Chip::Esp32, encryption),
    ]
}

fn locked(chip: Chip, security: Security, faults: Faults) -> Running {
    let board = RomLoader::start(Config {
        chip,
        security,
        faults,
        ..Config::default()
    });
    let board = board.unwrap();
    assert!(board.put(0, &Job::Flash.before()));
    board
}

/// The answers of a locked board that say something: the command, and which of them.
pub fn tells(chip: Chip, security: Security) -> Vec<(Command, u32)> {
    let board = locked(chip, security, Faults::none());
    let refused = run(Job::Flash, &board).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Secured);
    let all = places(&board.commands(), true);
    let tells = [Command::ReadReg, Command::GetSecurityInfo];
    all.into_iter()
        .filter(|(command, _)| tells.contains(command))
        .collect()
}

/// Flashes a locked board with this fault; what is wrong with how it ended.
pub fn play_locked(chip: Chip, security: Security, rule: Rule) -> Result<(), String> {
    let faults = Faults {
        rules: vec![rule],
        ..Faults::none()
    };
    let board = locked(chip, security, faults);
    if run(Job::Flash, &board).is_ok() {
        return Err(format!("{chip} {security:?} with {rule}: written"));
    }
    let changed = board
        .journal()
        .into_iter()
        .find(|operation| matches!(operation.kind, Kind::Erase | Kind::Write));
    match changed {
        Some(operation) => Err(format!("{chip} {security:?} with {rule}: {operation:?}")),
        None => Ok(()),
    }
}

/// States of a board that no command starts, and how a flash of it ends.
pub fn states() -> Vec<(&'static str, Outcome)> {
    vec![
        ("bad_sector=0x12000", Outcome::Refused(ErrorCode::BadFlash)),
        ("write_protected", Outcome::Refused(ErrorCode::BadFlash)),
        (
            "flash_id=0xFFFFFF",
            Outcome::Refused(ErrorCode::FlashUnreadable),
        ),
        ("flash_id=0", Outcome::Refused(ErrorCode::FlashUnreadable)),
        (
            "flash_id=0x0940C8",
            Outcome::Refused(ErrorCode::FlashUnreadable),
        ),
        ("chip_id=250", Outcome::Refused(ErrorCode::LinkLost)),
    ]
}

/// The chip that a session says, of a board that says another one than it is.
pub fn chip_of(state: &str) -> Result<u16, Error> {
    let mut faults = Faults::none();
    faults.add(state).unwrap();
    run(Job::Flash, &board(Job::Flash, faults)).map(|said| said.board.chip_id)
}

/// A flash of a board in this state.
pub fn play_state(state: &str) -> Outcome {
    let mut faults = Faults::none();
    faults.add(state).unwrap();
    let board = board(Job::Flash, faults);
    let result = run(Job::Flash, &board);
    let judged = Job::Flash.judge(&board, result.is_ok());
    match (judged, result) {
        (Err(why), _) => Outcome::Wrong(why),
        (Ok(()), Ok(_)) => Outcome::Done,
        (Ok(()), Err(error)) => match sensible(&error) {
            Ok(code) => Outcome::Refused(code),
            Err(why) => Outcome::Wrong(why),
        },
    }
}
