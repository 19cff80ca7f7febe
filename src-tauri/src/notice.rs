//! What the system is told when jobs end while nobody looks at the window.

use std::collections::HashSet;

use airlift_app::dto::{End, Job};

/// A notification: a title and one or two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) title: String,
    pub(crate) body: String,
}

/// Gathers ends, so that a rollout to a hundred devices is not a hundred notifications.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    told: HashSet<u32>,
    waiting: Vec<(String, End, String)>,
}

impl Ends {
    /// Takes a job as it is now. Says whether it has just ended: an end may be reported again
    /// when more is learnt about it.
    pub(crate) fn take(&mut self, job: &Job) -> bool {
        let Some(end) = job.end else {
            // A number that runs again, after a restart of the app, may end again.
            self.told.remove(&job.id);
            return false;
        };
        // Whoever cancels knows it already.
        let news = self.told.insert(job.id) && end != End::Cancelled;
        if news {
            let ended = (job.device_name.clone(), end, job.summary.clone());
            self.waiting.push(ended);
        }
        news
    }

    /// What to say about the ends since the last call.
    pub(crate) fn notice(&mut self) -> Option<Notice> {
        let ended = std::mem::take(&mut self.waiting);
        match ended.as_slice() {
            [] => None,
            [(device, end, summary)] => Some(Notice {
                title: format!("{device}: {}", word(*end)),
                body: summary.clone(),
            }),
            several => Some(Notice {
                title: format!("{} updates have ended", several.len()),
                body: count(several),
            }),
        }
    }
}

fn word(end: End) -> &'static str {
    match end {
        End::Done => "updated",
        End::RolledBack => "went back",
        End::Failed => "failed",
        End::Cancelled => "cancelled",
    }
}

/// `2 updated, 1 failed (porch)`: who is fine needs no name.
fn count(ended: &[(String, End, String)]) -> String {
    let kinds = [End::Done, End::RolledBack, End::Failed];
    let kinds = kinds.into_iter().filter_map(|kind| {
        let of_kind = ended.iter().filter(|(_, end, _)| *end == kind);
        let devices: Vec<_> = of_kind.map(|(device, ..)| device.as_str()).collect();
        match devices.as_slice() {
            [] => None,
            [device] if kind != End::Done => Some(format!("1 {} ({device})", word(kind))),
            some => Some(format!("{} {}", some.len(), word(kind))),
        }
    });
    kinds.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use airlift_app::dto::Phase;

    use super::*;

    fn job(id: u32, device: &str, end: Option<End>) -> Job {
        Job {
            id,
            device: format!("id-{device}"),
            device_name: device.into(),
            release: "00".into(),
            product: "demo".into(),
            from_version: None,
            to_version: "1.1.0".into(),
            from_slot: None,
            to_slot: None,
            phase: if end.is_some() {
                Phase::Ended
            } else {
                Phase::App
            },
            end,
            error: None,
            summary: format!("What happened to {device}."),
            parts: vec![],
            rate: None,
            seconds_left: None,
            started: 0.0,
            ended: None,
            can_cancel: false,
            can_retry: false,
        }
    }

    #[test]
    fn one_end_is_told_with_its_sentence() {
        let mut ends = Ends::default();
        assert!(!ends.take(&job(1, "porch", None)));
        assert!(ends.take(&job(1, "porch", Some(End::Done))));
        let notice = ends.notice().unwrap();
        assert_eq!(notice.title, "porch: updated");
        assert_eq!(notice.body, "What happened to porch.");
    }

    #[test]
    fn several_ends_are_one_notice_that_names_who_needs_a_look() {
        let mut ends = Ends::default();
        ends.take(&job(1, "porch", Some(End::Done)));
        ends.take(&job(2, "shed", Some(End::RolledBack)));
        ends.take(&job(3, "attic", Some(End::Done)));
        let notice = ends.notice().unwrap();
        assert_eq!(notice.title, "3 updates have ended");
        assert_eq!(notice.body, "2 updated, 1 went back (shed)");
    }

    #[test]
    fn an_end_is_told_once() {
        let mut ends = Ends::default();
        ends.take(&job(1, "porch", Some(End::Failed)));
        assert!(ends.notice().is_some());
        assert!(!ends.take(&job(1, "porch", Some(End::Failed))));
        assert_eq!(ends.notice(), None);
    }

    #[test]
    fn a_cancelled_job_is_no_news() {
        let mut ends = Ends::default();
        assert!(!ends.take(&job(1, "porch", Some(End::Cancelled))));
        assert_eq!(ends.notice(), None);
    }
}
