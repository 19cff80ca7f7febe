//! Progress on boards: as JSON lines for scripts, as bars on a terminal, as sentences everywhere else.

use super::follow::{HOLD_BOOT, Outcome};
use super::{list, object};
use crate::failure::Failure;
use crate::output;
use airlift_app::dto::{FlashPlan, UsbActivity, UsbEnd, UsbJob, UsbPhase, UsbPort};
use airlift_wire::ErrorCode;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;

/// What is waited for when a board is gone.
const UNPLUGGED: &str = "unplugged; waiting until the same board is back";

/// Where progress goes.
pub struct Show {
    to: To,
    /// What was said last of each port.
    said: BTreeMap<String, Said>,
}

enum To {
    /// Standard output, one object a line.
    Json,
    /// Standard output, a sentence for each step of a board.
    Sentences,
    /// Standard error, a line for each board.
    Bars {
        all: MultiProgress,
        of: BTreeMap<String, ProgressBar>,
    },
}

#[derive(Default, PartialEq)]
struct Said {
    waiting: bool,
    unplugged: bool,
    phase: Option<UsbPhase>,
}

impl Show {
    pub fn new(json: bool) -> Self {
        let to = if json {
            To::Json
        } else if std::io::stderr().is_terminal() {
            To::Bars {
                all: MultiProgress::new(),
                of: BTreeMap::new(),
            }
        } else {
            To::Sentences
        };
        Self {
            to,
            said: BTreeMap::new(),
        }
    }

    /// Something to say besides.
    pub fn note(&self, text: &str) {
        match &self.to {
            To::Bars { all, .. } => all.suspend(|| eprintln!("{text}")),
            _ => eprintln!("{text}"),
        }
    }

    /// What would be written.
    pub fn plan(&self, port: &str, plan: &FlashPlan) -> Result<(), Failure> {
        if let To::Json = self.to {
            return output::json(&object(Some(port), Some("plan"), plan));
        }
        let lines = lines_of(port, plan)?;
        match &self.to {
            To::Bars { all, .. } => all.suspend(|| lines.iter().try_for_each(|l| output::line(l))),
            _ => lines.iter().try_for_each(|line| output::line(line)),
        }
    }

    /// A port changed.
    pub fn port(&mut self, port: &UsbPort) -> Result<(), Failure> {
        let said = self.said.entry(port.path.clone()).or_default();
        let waiting = port.activity == UsbActivity::WaitingForBoot;
        let unplugged = port.activity == UsbActivity::Unplugged;
        let before = std::mem::replace(&mut said.waiting, waiting);
        let was_unplugged = std::mem::replace(&mut said.unplugged, unplugged);
        if waiting && !before {
            self.waits(&port.path, ErrorCode::NoAnswer, HOLD_BOOT)?;
        }
        if unplugged && !was_unplugged {
            self.waits(&port.path, ErrorCode::Unplugged, UNPLUGGED)?;
        }
        let Some(job) = port.job.as_ref().filter(|job| job.end.is_none()) else {
            return Ok(());
        };
        self.progress(&port.path, job)
    }

    /// Nothing goes on until somebody does something.
    fn waits(&self, port: &str, code: ErrorCode, message: &str) -> Result<(), Failure> {
        if let To::Json = self.to {
            let waits = serde_json::json!({"code": code.as_str(), "message": message});
            return output::json(&object(Some(port), Some("waiting"), &waits));
        }
        self.note(&format!("note: {port}: {message}"));
        Ok(())
    }

    /// A board is back, on another port. It is shown under its first one.
    pub fn moved(&self, port: &str, to: &str) -> Result<(), Failure> {
        if let To::Json = self.to {
            let moved = serde_json::json!({"to": to});
            return output::json(&object(Some(port), Some("moved"), &moved));
        }
        self.note(&format!("note: {port}: the board is back, as {to}"));
        Ok(())
    }

    fn progress(&mut self, port: &str, job: &UsbJob) -> Result<(), Failure> {
        match &mut self.to {
            To::Json => output::json(&object(Some(port), Some("progress"), job)),
            To::Sentences => {
                let said = self.said.entry(port.to_owned()).or_default();
                // Writing and verifying take turns; each is said once.
                if job.total > 0 && said.phase.is_none_or(|phase| job.phase > phase) {
                    said.phase = Some(job.phase);
                    let doing = doing(job.phase);
                    match job.phase {
                        UsbPhase::Restart => output::line(&format!("{port}: {doing}"))?,
                        _ => {
                            let size = output::size(job.total.into());
                            output::line(&format!("{port}: {doing} {size}"))?;
                        }
                    }
                }
                Ok(())
            }
            To::Bars { all, of } => {
                let bar = of.entry(port.to_owned());
                let bar = bar.or_insert_with(|| all.add(bar_for(port)));
                bar.set_length(job.total.into());
                bar.set_position(job.bytes.into());
                bar.set_message(message(job));
                Ok(())
            }
        }
    }

    /// A board has ended, well or not.
    pub fn ended(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        if let To::Json = self.to {
            return match &outcome.result {
                Ok(job) => output::json(&object(Some(&outcome.port), Some("job"), job)),
                Err(failure) => output::json(&failure.object(Some(&outcome.port))),
            };
        }
        let text = ending(outcome);
        match &mut self.to {
            To::Bars { all, of } => {
                if let Some(bar) = of.remove(&outcome.port) {
                    bar.finish_and_clear();
                }
                all.suspend(|| output::line(&text))
            }
            _ => output::line(&text),
        }
    }

    /// The last line, when there were several.
    pub fn summary(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        if matches!(self.to, To::Json) || outcomes.len() < 2 {
            return Ok(());
        }
        let done = |outcome: &&Outcome| {
            let job = outcome.result.as_ref();
            job.is_ok_and(|job| job.end == Some(UsbEnd::Done))
        };
        let done = outcomes.iter().filter(done).count();
        output::line(&format!("{done} of {} boards done", outcomes.len()))
    }
}

/// The end of a board: a sentence, and for a bad end its code and what to do.
fn ending(outcome: &Outcome) -> String {
    let port = &outcome.port;
    match &outcome.result {
        Err(failure) => format!("{port}: failed. {failure}"),
        Ok(job) => {
            let end = job.end.map_or("running", list::end);
            match &job.error {
                None => format!("{port}: {end}. {}", job.summary),
                Some(error) => format!(
                    "{port}: {end}. {} [{}]\n  {}",
                    error.message, error.code, error.help
                ),
            }
        }
    }
}

/// A plan for people.
fn lines_of(port: &str, plan: &FlashPlan) -> Result<Vec<String>, Failure> {
    let mut lines = vec![format!("{port}: {}", plan.sentence)];
    if let Some(blocked) = &plan.blocked {
        lines.push(format!(
            "  not possible: {} [{}]",
            blocked.message, blocked.code
        ));
        lines.push(format!("  {}", blocked.help));
    }
    for (n, step) in plan.steps.iter().enumerate() {
        let size = output::size(step.bytes.into());
        let (n, at) = (n + 1, step.offset);
        lines.push(format!(
            "  {n}. {} ({}, {size} from {at:#x}, about {} s)",
            step.title, step.region, step.seconds
        ));
        lines.push(format!("     {}", step.why));
    }
    if !plan.steps.is_empty() {
        let size = output::size(plan.bytes.into());
        lines.push(format!("  {size} in all, about {} s", plan.seconds));
        lines.push(format!("  afterwards: {}", plan.afterwards));
    }
    lines.extend(plan.losses.iter().map(|loss| format!("  lost: {loss}")));
    for other in &plan.others {
        let size = output::size(other.bytes.into());
        lines.push(format!("  or --how {}: {}, {size}", other.how, other.title));
    }
    Ok(lines)
}

fn doing(phase: UsbPhase) -> &'static str {
    match phase {
        UsbPhase::Compare => "comparing",
        UsbPhase::Backup => "saving",
        UsbPhase::Write => "writing",
        UsbPhase::Verify => "verifying",
        UsbPhase::Restart => "restarting",
        UsbPhase::Ended => "",
    }
}

fn bar_for(port: &str) -> ProgressBar {
    let template = "{prefix:>16} {bar:32} {bytes:>10}/{total_bytes} {msg}";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0)
        .with_style(style)
        .with_prefix(port.to_owned())
}

fn message(job: &UsbJob) -> String {
    let doing = doing(job.phase);
    match (job.rate, job.seconds_left) {
        (Some(rate), Some(left)) => {
            format!("{}/s, {left} s left, {doing}", output::size(rate as u64))
        }
        _ => doing.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_app::dto::{ErrorInfo, FlashStep, UsbJobKind};

    fn job(end: UsbEnd, error: Option<ErrorInfo>) -> UsbJob {
        UsbJob {
            id: 1,
            kind: UsbJobKind::Repair,
            phase: UsbPhase::Write,
            step: 0,
            steps: 1,
            bytes: 4096,
            total: 8192,
            skipped: 0,
            rate: Some(20_480.0),
            seconds_left: Some(2),
            backup: None,
            end: Some(end),
            error,
            summary: "Wrote and verified 8 KiB.".into(),
        }
    }

    #[test]
    fn people_read_the_port_the_end_and_the_advice() {
        let ended = |end, error| Outcome {
            port: "/dev/a".into(),
            result: Ok(job(end, error)),
        };
        let done = ending(&ended(UsbEnd::Done, None));
        assert_eq!(done, "/dev/a: done. Wrote and verified 8 KiB.");
        let error = ErrorInfo {
            code: "unplugged".into(),
            message: "It is gone.".into(),
            help: "Plug it in.".into(),
        };
        let failed = ending(&ended(UsbEnd::Failed, Some(error)));
        assert_eq!(
            failed,
            "/dev/a: failed. It is gone. [unplugged]\n  Plug it in."
        );
    }

    #[test]
    fn a_bar_says_how_fast_and_what() {
        let job = job(UsbEnd::Done, None);
        assert_eq!(message(&job), "20.0 KiB/s, 2 s left, writing");
    }

    #[test]
    fn a_plan_says_each_step_with_its_bytes_and_its_reason() {
        let plan = FlashPlan {
            id: 1,
            kind: UsbJobKind::Repair,
            sentence: "Point otadata at ota_0.".into(),
            steps: vec![FlashStep {
                title: "Point otadata at ota_0".into(),
                why: "Both entries are damaged.".into(),
                region: "otadata".into(),
                offset: 0xF000,
                bytes: 8192,
                seconds: 1,
            }],
            bytes: 8192,
            seconds: 1,
            afterwards: "It starts demo 1.1.0.".into(),
            losses: vec!["Nothing is kept of it.".into()],
            blocked: None,
            others: Vec::new(),
        };
        let lines = lines_of("/dev/a", &plan).expect("lines");
        let wanted = [
            "/dev/a: Point otadata at ota_0.",
            "  1. Point otadata at ota_0 (otadata, 8192 B from 0xf000, about 1 s)",
            "     Both entries are damaged.",
            "  8192 B in all, about 1 s",
            "  afterwards: It starts demo 1.1.0.",
            "  lost: Nothing is kept of it.",
        ];
        assert_eq!(lines, wanted);
    }
}
