//! Progress: as JSON lines for scripts, as bars on a terminal, as sentences everywhere else.

use super::outcome::Outcome;
use crate::failure::Failure;
use crate::output;
use airlift_app::RawLine;
use airlift_app::dto::{End, Job, Phase, RefusedChunk};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;

/// Where progress goes.
pub enum Show {
    /// Standard output, one object a line.
    Json,
    /// Standard output, a sentence for each step of a device.
    Sentences,
    /// Standard error, a line for each device that is being updated.
    Bars {
        all: MultiProgress,
        of: BTreeMap<u32, ProgressBar>,
    },
}

/// The end of a job as scripts see it.
#[derive(Serialize)]
struct JobLine<'a> {
    schema: u32,
    event: &'static str,
    device: &'a str,
    device_name: &'a str,
    job: u32,
    release: &'a str,
    product: &'a str,
    from_version: Option<&'a str>,
    to_version: &'a str,
    end: End,
    /// Stable code; `null` when it is done.
    code: Option<&'a str>,
    message: &'a str,
    /// What to do; `null` when it is done.
    help: Option<&'a str>,
    kept: u32,
    fetched: u32,
    refused: u32,
    /// Unix seconds.
    started: f64,
    ended: Option<f64>,
}

impl Show {
    pub fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if std::io::stderr().is_terminal() {
            Self::Bars {
                all: MultiProgress::new(),
                of: BTreeMap::new(),
            }
        } else {
            Self::Sentences
        }
    }

    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json)
    }

    /// A line of progress as the device sent it.
    pub fn device_line(&mut self, line: &RawLine) -> Result<(), Failure> {
        if !self.is_json() {
            return Ok(());
        }
        let mut object = line.line.clone();
        if let Value::Object(fields) = &mut object {
            fields.insert("schema".to_owned(), 1.into());
            fields.insert("device".to_owned(), line.device.clone().into());
        }
        output::json(&object)
    }

    /// A chunk had another hash than the release says.
    pub fn refused(&mut self, name: &str, chunk: &RefusedChunk) -> Result<(), Failure> {
        let text = format!(
            "{name}: refused chunk {} of {}; fetching it again",
            chunk.n, chunk.part
        );
        match self {
            // It is in the device's own lines.
            Self::Json => Ok(()),
            Self::Sentences => output::line(&text),
            Self::Bars { .. } => {
                self.note(&text);
                Ok(())
            }
        }
    }

    /// A job changed from `before`.
    pub fn job(&mut self, before: Option<&Job>, job: &Job) -> Result<(), Failure> {
        match self {
            Self::Json => match job.end {
                Some(end) => output::json(&JobLine::of(job, end)),
                None => Ok(()),
            },
            Self::Sentences => {
                // The end is part of the summary.
                let news = before.is_none_or(|before| before.summary != job.summary);
                if news && job.end.is_none() && job.phase > Phase::Queued {
                    output::line(&format!("{}: {}", job.device_name, job.summary))?;
                } else if job.end.is_some() {
                    output::line(&ended(job))?;
                }
                Ok(())
            }
            Self::Bars { all, of } => {
                if job.end.is_some() {
                    if let Some(bar) = of.remove(&job.id) {
                        bar.finish_and_clear();
                    }
                    return all.suspend(|| output::line(&ended(job)));
                }
                if job.phase > Phase::Queued {
                    let bar = of.entry(job.id).or_insert_with(|| all.add(bar(job)));
                    bar.set_position(position(job));
                    bar.set_message(message(job));
                }
                Ok(())
            }
        }
    }

    /// Something to say besides.
    pub fn note(&self, text: &str) {
        match self {
            Self::Bars { all, .. } => all.suspend(|| eprintln!("{text}")),
            _ => eprintln!("{text}"),
        }
    }

    /// The last line.
    pub fn summary(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        if self.is_json() {
            return Ok(());
        }
        let done = outcomes
            .iter()
            .filter(|outcome| outcome.end == End::Done)
            .count();
        let verified: u64 = outcomes.iter().map(|outcome| outcome.verified).sum();
        let refused: u64 = outcomes.iter().map(|outcome| outcome.refused).sum();
        let refused = match refused {
            0 => String::new(),
            n => format!(", {n} refused"),
        };
        let all = outcomes.len();
        output::line(&format!(
            "{done} of {all} devices updated, {verified} chunks verified{refused}"
        ))
    }
}

impl<'a> JobLine<'a> {
    fn of(job: &'a Job, end: End) -> Self {
        let error = job.error.as_ref();
        let sum = |count: fn(&airlift_app::dto::PartProgress) -> u32| {
            job.parts.iter().map(count).fold(0, u32::saturating_add)
        };
        Self {
            schema: 1,
            event: "job",
            device: &job.device,
            device_name: &job.device_name,
            job: job.id,
            release: &job.release,
            product: &job.product,
            from_version: job.from_version.as_deref(),
            to_version: &job.to_version,
            end,
            code: error.map(|error| error.code.as_str()),
            message: error.map_or(job.summary.as_str(), |error| error.message.as_str()),
            help: error.map(|error| error.help.as_str()),
            kept: sum(|part| part.kept),
            fetched: sum(|part| part.fetched),
            refused: sum(|part| part.refused),
            started: job.started,
            ended: job.ended,
        }
    }
}

/// The end of a job: a sentence, and for a bad end its code and what to do.
fn ended(job: &Job) -> String {
    let end = output::end(job.end);
    match &job.error {
        None => format!("{}: {end}. {}", job.device_name, job.summary),
        Some(error) => {
            let (message, code, help) = (&error.message, &error.code, &error.help);
            format!("{}: {end}. {message} [{code}]\n  {help}", job.device_name)
        }
    }
}

fn bar(job: &Job) -> ProgressBar {
    let chunks: u64 = job.parts.iter().map(|part| u64::from(part.chunks)).sum();
    let style = ProgressStyle::with_template("{prefix:>16} {bar:32} {pos:>4}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(chunks)
        .with_style(style)
        .with_prefix(job.device_name.clone())
}

fn position(job: &Job) -> u64 {
    job.parts
        .iter()
        .map(|part| u64::from(part.kept) + u64::from(part.fetched))
        .sum()
}

fn message(job: &Job) -> String {
    match (job.rate, job.seconds_left) {
        (Some(rate), Some(left)) => {
            format!(
                "{}/s, {left:.0} s left. {}",
                output::size(rate as u64),
                job.summary
            )
        }
        _ => job.summary.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_app::dto::{ErrorInfo, PartProgress};

    fn job(end: Option<End>) -> Job {
        let part = |kept, fetched, refused| PartProgress {
            part: "app".into(),
            size: 8192,
            chunks: 10,
            kept,
            fetched,
            refused,
            expected: String::new(),
            computed: None,
        };
        Job {
            id: 7,
            device: "c3-1".into(),
            device_name: "porch".into(),
            release: "ab".into(),
            product: "lamp".into(),
            from_version: None,
            to_version: "2".into(),
            from_slot: None,
            to_slot: None,
            phase: Phase::App,
            end,
            error: (end == Some(End::Failed)).then(|| ErrorInfo {
                code: "stalled".into(),
                message: "Nothing came.".into(),
                help: "Move it closer.".into(),
            }),
            summary: "Sending the app.".into(),
            parts: vec![part(3, 4, 1), part(1, 0, 2)],
            rate: Some(20_480.0),
            seconds_left: Some(1.6),
            started: 10.0,
            ended: end.map(|_| 12.0),
            can_cancel: true,
            can_retry: false,
        }
    }

    #[test]
    fn a_job_line_has_the_end_the_counts_and_what_to_do() {
        let job = job(Some(End::Failed));
        let line = serde_json::to_value(JobLine::of(&job, End::Failed)).expect("JSON");
        assert_eq!(
            (&line["event"], &line["end"]),
            (&"job".into(), &"failed".into())
        );
        assert_eq!((&line["kept"], &line["fetched"]), (&4.into(), &4.into()));
        assert_eq!(
            (&line["refused"], &line["code"]),
            (&3.into(), &"stalled".into())
        );
        assert_eq!(line["help"], "Move it closer.");
    }

    #[test]
    fn people_read_the_device_the_end_and_the_advice() {
        assert_eq!(
            ended(&job(Some(End::Failed))),
            "porch: failed. Nothing came. [stalled]\n  Move it closer."
        );
        assert_eq!(
            ended(&job(Some(End::Done))),
            "porch: done. Sending the app."
        );
    }

    #[test]
    fn a_bar_counts_chunks_that_are_there_and_says_how_fast() {
        assert_eq!(position(&job(None)), 8);
        assert_eq!(
            message(&job(None)),
            "20.0 KiB/s, 2 s left. Sending the app."
        );
    }
}
