//! Boards while something is done to them: progress, what somebody has to do, Ctrl-C.

use super::places::Places;
use super::show::Show;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use airlift_app::dto::{Event, Numbered, UsbActivity, UsbEnd, UsbJob, UsbPort};
use airlift_app::{Airlift, Error};
use airlift_wire::ErrorCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::JoinSet;

/// What somebody has to do when nothing here can reset the board.
pub const HOLD_BOOT: &str = "hold BOOT, press RESET, then let BOOT go; waiting for the board";

/// Waits for something with a board that Ctrl-C ends, and says so when somebody has to press buttons.
pub async fn interruptible<T>(
    app: &Airlift,
    port: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    let mut interrupts = Interrupts::new()?;
    let mut events = app.subscribe();
    let mut work = std::pin::pin!(work);
    let mut said = false;
    loop {
        tokio::select! {
            result = &mut work => return Ok(result?),
            () = interrupts.next() => app.usb_cancel(port).await?,
            event = events.recv() => {
                if !said && waits(&event, port) {
                    eprintln!("note: {HOLD_BOOT}");
                    said = true;
                }
            }
        }
    }
}

fn waits(event: &Result<Numbered, RecvError>, path: &str) -> bool {
    let Ok(Numbered {
        event: Event::UsbPort(port),
        ..
    }) = event
    else {
        return false;
    };
    port.path == path && port.activity == UsbActivity::WaitingForBoot
}

/// What became of a board.
pub struct Outcome {
    pub port: String,
    pub result: Result<UsbJob, Failure>,
}

/// Does `work` with each board, all at once, and shows how it goes until all have ended. One that
/// fails stops no other. Ctrl-C cancels all; once more leaves at once.
pub async fn all<F>(
    app: &Airlift,
    ports: &[String],
    show: Show,
    work: impl Fn(String, Shown) -> F,
) -> Result<u8, Failure>
where
    F: Future<Output = Result<UsbJob, Failure>> + Send + 'static,
{
    let mut interrupts = Interrupts::new()?;
    let mut events: Receiver<Numbered> = app.subscribe();
    let shown = Shown(Arc::new(Mutex::new(show)));
    let mut running = JoinSet::new();
    for port in ports {
        let (port, work) = (port.clone(), work(port.clone(), shown.clone()));
        running.spawn(async move {
            Outcome {
                port,
                result: work.await,
            }
        });
    }
    let mut places = Places::new(ports);
    let mut outcomes = Vec::new();
    let mut interrupted = false;
    loop {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                if interrupted {
                    return Ok(exit::CANCELLED);
                }
                interrupted = true;
                shown.show().note("Cancelling. Ctrl-C again leaves at once.");
                for port in places.now() {
                    app.usb_cancel(port).await?;
                }
            }
            ended = running.join_next() => match ended {
                None => break,
                Some(Ok(outcome)) => {
                    if ports.len() > 1 || outcome.result.is_ok() {
                        shown.show().ended(&outcome)?;
                    }
                    outcomes.push(outcome);
                }
                Some(Err(error)) => {
                    return Err(Failure::new(ErrorCode::Internal, error.to_string()));
                }
            },
            event = events.recv() => match event {
                Ok(Numbered { event: Event::UsbPort(port), .. }) => {
                    changed(&mut places, &mut shown.show(), port)?;
                }
                Ok(_) | Err(RecvError::Closed) => {}
                Err(RecvError::Lagged(_)) => {
                    for port in app.usb_ports() {
                        changed(&mut places, &mut shown.show(), port)?;
                    }
                }
            }
        }
    }
    shown.show().summary(&outcomes)?;
    let code = exit_code(&outcomes, interrupted);
    match outcomes.pop() {
        // A single board that did not come as far as a job is why the command failed.
        Some(Outcome {
            result: Err(failure),
            ..
        }) if ports.len() == 1 => Err(failure),
        _ => Ok(code),
    }
}

/// Shows how a board goes, under the name that it had when it was named.
fn changed(places: &mut Places, show: &mut Show, mut port: UsbPort) -> Result<(), Failure> {
    match places.see(&port) {
        Some(place) => {
            if place.moved {
                show.moved(place.named, &port.path)?;
            }
            place.named.clone_into(&mut port.path);
            show.port(&port)
        }
        // A board that was unplugged may be there, and somebody has to hold BOOT to find out.
        None if port.activity == UsbActivity::WaitingForBoot => show.port(&port),
        None => Ok(()),
    }
}

/// What is shown, by several at once.
#[derive(Clone)]
pub struct Shown(Arc<Mutex<Show>>);

impl Shown {
    pub fn show(&self) -> MutexGuard<'_, Show> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As for updates: cancelled by the user beats everything.
fn exit_code(outcomes: &[Outcome], interrupted: bool) -> u8 {
    let is_cancelled = |outcome: &&Outcome| match &outcome.result {
        Ok(job) => job.end == Some(UsbEnd::Cancelled),
        Err(failure) => failure.code() == ErrorCode::Cancelled,
    };
    let is_done = |outcome: &Outcome| {
        let job = outcome.result.as_ref();
        job.is_ok_and(|job| job.end == Some(UsbEnd::Done))
    };
    let failing: Vec<_> = outcomes.iter().filter(|o| !is_done(o)).collect();
    let cancelled = failing.iter().copied().filter(is_cancelled).count();
    if failing.is_empty() {
        exit::DONE
    } else if cancelled == failing.len() || (interrupted && cancelled > 0) {
        exit::CANCELLED
    } else {
        exit::DEVICE_FAILED
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use airlift_app::dto::{UsbJobKind, UsbPhase};

    pub fn job(end: UsbEnd) -> UsbJob {
        UsbJob {
            id: 1,
            kind: UsbJobKind::Flash,
            phase: UsbPhase::Ended,
            step: 0,
            steps: 1,
            bytes: 0,
            total: 0,
            skipped: 0,
            rate: None,
            seconds_left: None,
            backup: None,
            end: Some(end),
            error: None,
            summary: String::new(),
        }
    }

    #[test]
    fn the_exit_code_tells_what_a_script_must_know() {
        let ended = |end| Outcome {
            port: "a".into(),
            result: Ok(job(end)),
        };
        let lost = || Outcome {
            port: "b".into(),
            result: Err(Failure::new(ErrorCode::NoAnswer, "no")),
        };
        use UsbEnd::{Cancelled, Done, Failed};
        let cases: [(Vec<Outcome>, bool, u8); 6] = [
            (vec![ended(Done), ended(Done)], false, exit::DONE),
            (vec![ended(Done)], true, exit::DONE),
            (vec![ended(Done), ended(Failed)], false, exit::DEVICE_FAILED),
            (vec![ended(Done), lost()], false, exit::DEVICE_FAILED),
            (vec![ended(Done), ended(Cancelled)], true, exit::CANCELLED),
            (vec![ended(Failed), ended(Cancelled)], true, exit::CANCELLED),
        ];
        for (outcomes, interrupted, code) in cases {
            assert_eq!(exit_code(&outcomes, interrupted), code);
        }
    }
}
