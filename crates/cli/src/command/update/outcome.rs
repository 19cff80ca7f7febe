//! What the ends of the jobs mean for the exit code.

use crate::exit;
use airlift_app::dto::{End, Job};
use airlift_wire::ErrorCode;

/// How one job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    /// Why, if it did not end well and this version knows the code.
    pub code: Option<ErrorCode>,
    /// Chunks that the device checked against the signed index.
    pub verified: u64,
    /// Chunks that it refused.
    pub refused: u64,
}

impl Outcome {
    /// The outcome of a job; one without an end has failed.
    pub fn of(job: &Job) -> Self {
        let code = job
            .error
            .as_ref()
            .and_then(|error| ErrorCode::parse(&error.code));
        let sum = |count: fn(&airlift_app::dto::PartProgress) -> u32| {
            job.parts.iter().map(|part| u64::from(count(part))).sum()
        };
        Self {
            end: job.end.unwrap_or(End::Failed),
            code,
            verified: sum(|part| part.kept + part.fetched),
            refused: sum(|part| part.refused),
        }
    }
}

/// The exit code of all jobs together.
///
/// Cancelled by the user beats everything. A release that every failing device refused for what it
/// is, is a bad release; anything else is a failed device.
pub fn exit_code(outcomes: &[Outcome], interrupted: bool) -> u8 {
    let failing: Vec<_> = outcomes.iter().filter(|o| o.end != End::Done).collect();
    let all = |what: fn(&Outcome) -> bool| failing.iter().all(|outcome| what(outcome));
    let cancelled = |outcome: &Outcome| outcome.end == End::Cancelled;
    if failing.is_empty() {
        exit::DONE
    } else if all(cancelled) || (interrupted && failing.iter().any(|o| cancelled(o))) {
        exit::CANCELLED
    } else if all(|o| o.end == End::Failed && o.code.map(exit::of) == Some(exit::BAD_RELEASE)) {
        exit::BAD_RELEASE
    } else {
        exit::DEVICE_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(end: End, code: Option<ErrorCode>) -> Outcome {
        Outcome {
            end,
            code,
            verified: 0,
            refused: 0,
        }
    }

    #[test]
    fn the_exit_code_tells_what_a_script_must_know() {
        let done = ended(End::Done, None);
        let cancelled = ended(End::Cancelled, Some(ErrorCode::Cancelled));
        let rolled_back = ended(End::RolledBack, Some(ErrorCode::RolledBack));
        let refused = ended(End::Failed, Some(ErrorCode::WrongChip));
        let stalled = ended(End::Failed, Some(ErrorCode::Stalled));
        let unknown = ended(End::Failed, None);
        for (outcomes, interrupted, code) in [
            (&[done, done][..], false, exit::DONE),
            (&[done, done], true, exit::DONE),
            (&[done, rolled_back], false, exit::DEVICE_FAILED),
            (&[stalled], false, exit::DEVICE_FAILED),
            (&[unknown], false, exit::DEVICE_FAILED),
            (&[refused], false, exit::BAD_RELEASE),
            (&[done, refused], false, exit::BAD_RELEASE),
            (&[stalled, refused], false, exit::DEVICE_FAILED),
            (&[done, cancelled], true, exit::CANCELLED),
            (&[stalled, cancelled], true, exit::CANCELLED),
            (&[stalled, cancelled], false, exit::DEVICE_FAILED),
            (&[cancelled], false, exit::CANCELLED),
        ] {
            assert_eq!(
                exit_code(outcomes, interrupted),
                code,
                "{outcomes:?} {interrupted}"
            );
        }
    }
}
