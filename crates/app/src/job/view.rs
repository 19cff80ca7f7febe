//! What the window sees of a job.

use std::time::Duration;

use super::{JobState, Stage, sentence};
use crate::dto::{self, End, Phase};

impl JobState {
    /// What the window sees of it.
    pub fn view(&self, now: Duration) -> dto::Job {
        let fetching = matches!(self.stage, Stage::Attached);
        let rate = self.rate.per_second(now).filter(|_| fetching);
        let left = rate.map(|rate| self.map.bytes_left() as f64 / rate);
        let error = self.ending.as_ref().and_then(|e| e.error.clone());
        let end = self.ending.as_ref().map(|e| e.end);
        dto::Job {
            id: self.id,
            device: self.device.clone(),
            device_name: self.device_name.clone(),
            release: self.release.id.clone(),
            product: self.release.product.clone(),
            from_version: self.before.as_ref().and_then(|b| b.version.clone()),
            to_version: self.release.version.clone(),
            from_slot: self.before.as_ref().map(|b| b.slot.to_string()),
            to_slot: self.to_slot.map(|s| s.to_string()),
            phase: self.phase,
            end,
            error,
            summary: match &self.ending {
                Some(ending) => ending.summary.clone(),
                None => sentence::now(self),
            },
            parts: self.map.progress(),
            rate,
            seconds_left: left.filter(|_| self.phase < Phase::Check),
            started: self.started,
            ended: self.ended,
            can_cancel: self.can_cancel(),
            can_retry: matches!(end, Some(End::Failed | End::RolledBack | End::Cancelled)),
        }
    }

    /// The job with its chunk map and log.
    pub fn detail(&self, seq: u32, now: Duration) -> dto::JobDetail {
        dto::JobDetail {
            seq,
            job: self.view(now),
            chunks: self.map.digits(),
            refused: self.map.refused().to_vec(),
            log: self.log.iter().cloned().collect(),
        }
    }
}
