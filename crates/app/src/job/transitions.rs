//! What each thing that happens does to a job.

use std::time::Duration;

use airlift_discover::DeviceInfo;
use airlift_discover::device::{LastUpdate, Slot, SlotState, UpdaterState};
use airlift_wire::{Digest, ErrorCode};

use super::before::rolled_back_record;
use super::line::DeviceLine;
use super::*;
use crate::dto::{ChunkState, RefusedChunk};
use crate::error::{info, info_named, printable};

/// The longest token of a device; its own have 16 digits.
const MAX_TOKEN: usize = 64;

impl JobState {
    pub(super) fn line(&mut self, line: &DeviceLine, now: Duration) {
        self.last_progress = now;
        self.failures = 0;
        match line {
            DeviceLine::Started { token, release } => {
                if *release != self.release.id {
                    let message = "the device started another release than this one";
                    return self.fail(info(ErrorCode::BadRequest, message));
                }
                self.accepted = true;
                self.token = Some(token.clone()).filter(|token| is_token(token));
                self.note("The device took the release.");
            }
            DeviceLine::Phase { phase } => self.enter(phase),
            DeviceLine::Chunk {
                part,
                n,
                count,
                state,
                attempt,
                expected,
                computed,
            } => {
                self.at_least(if part == "files" {
                    Phase::Files
                } else {
                    Phase::App
                });
                match map::state(state) {
                    Some(ChunkState::Refused) => {
                        self.note(&format!(
                            "Refused chunk {n} of {part}: it has another hash."
                        ));
                        self.map.refuse(RefusedChunk {
                            part: part.clone(),
                            n: *n,
                            attempt: *attempt,
                            expected: digest(expected),
                            computed: digest(computed),
                        });
                    }
                    Some(state) => {
                        let bytes = self.map.set(part, *n, *count, state);
                        self.rate.add(bytes, now);
                    }
                    None => {}
                }
            }
            DeviceLine::Part {
                part,
                expected,
                computed,
            } => {
                let same = if expected == computed {
                    "as signed"
                } else {
                    "not as signed"
                };
                self.note(&format!("Read back {part}: {computed}, {same}."));
                self.map.computed(part, &digest(computed));
            }
            DeviceLine::Rebooting { slot } => {
                if let Some(slot) = slot.as_deref().and_then(slot_named) {
                    self.to_slot = Some(slot);
                }
                self.switched = true;
                self.restarting(now);
            }
            DeviceLine::Failed { code, message } => self.device_failed(code, message),
            DeviceLine::Unknown => {}
        }
    }

    pub(super) fn refused(&mut self, code: &str, message: &str, now: Duration) {
        use ErrorCode::{AlreadyCurrent, Busy, RateLimited, RolledBackBefore, TrialRunning};
        match ErrorCode::parse(code) {
            // It finished while the connection was away: what it runs says how.
            Some(AlreadyCurrent | TrialRunning) if self.accepted => self.restarting(now),
            Some(RolledBackBefore) if self.accepted => self.rolled_back(None),
            Some(Busy | RateLimited) if self.accepted => self.detached(message, now),
            _ => self.device_failed(code, message),
        }
    }

    fn device_failed(&mut self, code: &str, message: &str) {
        match ErrorCode::parse(code) {
            Some(ErrorCode::AlreadyCurrent) => {
                self.over(End::Done, None, sentence::current(&self.release));
            }
            Some(ErrorCode::Cancelled) => self.cancelled(None),
            Some(ErrorCode::HostUnreachable) => {
                self.fail(sentence::host_unreachable(
                    &self.device_name,
                    self.from.as_deref(),
                ));
            }
            _ => self.fail(info_named(code, message)),
        }
    }

    pub(super) fn detached(&mut self, reason: &str, now: Duration) {
        if self.cancelling.is_some() {
            return self.cancelled(Some("the device may need a moment to notice"));
        }
        if !matches!(self.stage, Stage::Detached { .. } | Stage::Attached) {
            return;
        }
        self.note(&format!("The connection is away: {reason}."));
        // The last line may be what was lost: from the check on, the restart can come any time.
        if self.accepted && self.phase >= Phase::Check {
            self.restarting(now);
            return;
        }
        let last = BACK_OFF.len() - 1;
        let pause = BACK_OFF[self.failures.min(last)];
        self.failures += 1;
        self.stage = Stage::Detached {
            retry_at: now + pause,
        };
    }

    pub(super) fn seen(&mut self, device: &DeviceInfo, now: Duration) {
        let since = match self.stage {
            Stage::Waiting | Stage::Attached | Stage::Over => return,
            Stage::Detached { .. } if !self.accepted => return,
            Stage::Detached { .. } => self.last_progress,
            Stage::Restarting { since, .. } | Stage::Trial { since } => since,
        };
        self.last_answer = now;
        if self.runs_target(device) {
            return self.on_target(device, now);
        }
        // An answer from just before the restart tells nothing, and a record of an earlier try
        // looks the same as one of this try: only a fresh start makes it this one's.
        let uptime = Duration::from_millis(device.uptime_ms);
        let fresh = uptime <= now.saturating_sub(since) + Duration::from_secs(1);
        let idle = matches!(device.updater.state, UpdaterState::Idle);
        let stale_record = self.before.as_ref().is_some_and(|b| b.rolled_back);
        let record = rolled_back_record(device, &self.release);
        if record && idle && (fresh || !stale_record) {
            return self.rolled_back(device.last_update.as_ref());
        }
        let updating = matches!(device.updater.state, UpdaterState::Updating);
        if matches!(self.stage, Stage::Detached { .. }) && updating {
            let taking = device.updater.release.map(|r| r.to_string());
            if taking.is_none_or(|id| id == self.release.id) {
                // It goes on by itself, and gives up by itself when no chunk comes.
                self.last_progress = now;
            }
        }
        let Stage::Restarting { since, old_since } = self.stage else {
            // On trial before, and now on something else without a word: treat it as a restart.
            if matches!(self.stage, Stage::Trial { .. }) {
                self.stage = Stage::Restarting {
                    since,
                    old_since: Some(now),
                };
            }
            return;
        };
        if !self.switched && (updating || (idle && fresh)) {
            // It never came to the switch: still at it, or cut off and started again.
            self.stage = Stage::Detached { retry_at: now };
            self.last_progress = now;
        } else if idle && fresh {
            let old_since = old_since.unwrap_or(now);
            self.stage = Stage::Restarting {
                since,
                old_since: Some(old_since),
            };
            if now.saturating_sub(old_since) >= GRACE {
                self.rolled_back(None);
            }
        }
    }

    fn on_target(&mut self, device: &DeviceInfo, now: Duration) {
        self.switched = true;
        self.phase = Phase::Confirm;
        if device.running.state == SlotState::Valid {
            let summary = sentence::done(&self.release, device);
            self.over(End::Done, None, summary);
        } else if !matches!(self.stage, Stage::Trial { .. }) {
            self.note("The device is back, on trial with the new version.");
            self.stage = Stage::Trial { since: now };
        }
    }

    /// Whether the device runs what the release says, from the slot it was written to.
    fn runs_target(&self, device: &DeviceInfo) -> bool {
        let running = &device.running;
        let kept = |old: fn(&Before) -> &Option<String>| {
            self.before
                .as_ref()
                .and_then(|before| old(before).as_deref())
        };
        let app = preflight::named(&self.release.app).or(kept(|b| &b.app));
        let files = preflight::named(&self.release.files).or(kept(|b| &b.files));
        let is = |want: Option<&str>, have: Option<Digest>| {
            want.is_none_or(|want| have.is_some_and(|have| have.to_string() == want))
        };
        Some(running.slot) == self.to_slot
            && (app.is_some() || files.is_some())
            && is(app, running.app_sha256)
            && is(files, running.files_sha256)
            && running
                .release
                .is_none_or(|r| r.to_string() == self.release.id)
    }

    fn rolled_back(&mut self, last: Option<&LastUpdate>) {
        let from = self.before.as_ref().and_then(|b| b.version.as_deref());
        let summary = sentence::rolled_back(from, &self.release.version, last);
        let error = info(ErrorCode::RolledBack, &summary);
        self.over(End::RolledBack, Some(error), summary);
    }

    pub(super) fn cancel(&mut self, now: Duration) {
        if self.switched || self.cancelling.is_some() {
            return;
        }
        if self.stage == Stage::Attached {
            self.cancelling = Some(now);
            self.note("Cancelling.");
        } else {
            self.cancelled(None);
        }
    }

    fn cancelled(&mut self, but: Option<&str>) {
        let summary = sentence::cancelled(self.accepted, but);
        self.over(
            End::Cancelled,
            Some(info(ErrorCode::Cancelled, &summary)),
            summary,
        );
    }

    pub(super) fn check_deadlines(&mut self, now: Duration) {
        let name = self.device_name.clone();
        let silent = now.saturating_sub(self.last_progress);
        match self.stage {
            Stage::Attached | Stage::Detached { .. } => {
                if self
                    .cancelling
                    .is_some_and(|at| now.saturating_sub(at) >= CANCEL_WAIT)
                {
                    self.cancelled(Some("the device has not confirmed it"));
                } else if self.stage != Stage::Attached && !self.accepted && silent >= FIRST_CONTACT
                {
                    let message = format!("{name} does not answer");
                    self.fail(info(ErrorCode::ConnectionLost, message));
                } else if silent >= STALL {
                    let message = format!("nothing came from {name} for {} s", STALL.as_secs());
                    self.fail(info(ErrorCode::Stalled, message));
                }
            }
            Stage::Restarting { since, .. } | Stage::Trial { since } => {
                let away = now.saturating_sub(self.last_answer.max(since));
                let trial = matches!(self.stage, Stage::Trial { .. });
                if away >= NOT_SEEN {
                    let message = format!("{name} was not seen again for {} s", NOT_SEEN.as_secs());
                    self.fail(info(ErrorCode::NotSeenAgain, message));
                } else if now.saturating_sub(since) >= LONGEST_TRIAL {
                    let what = if trial {
                        "still runs the new version on trial"
                    } else {
                        "answers, and has neither the new version nor said why not"
                    };
                    self.fail(info(ErrorCode::NotSeenAgain, format!("{name} {what}")));
                }
            }
            Stage::Waiting | Stage::Over => {}
        }
    }

    fn restarting(&mut self, now: Duration) {
        if self.switched {
            self.phase = Phase::Confirm;
        }
        self.last_answer = now;
        self.stage = Stage::Restarting {
            since: now,
            old_since: None,
        };
        self.note("The device restarts.");
    }

    fn enter(&mut self, phase: &str) {
        let known = match phase {
            "preflight" => Phase::Preflight,
            "signature" => Phase::Signature,
            "app" => Phase::App,
            "files" => Phase::Files,
            "check" => Phase::Check,
            "switch" => Phase::Switch,
            _ => return,
        };
        self.at_least(known);
    }

    /// Phases never go back: a device that is attached to again tells the early ones once more.
    fn at_least(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    pub(super) fn over(&mut self, end: End, error: Option<ErrorInfo>, summary: String) {
        self.stage = Stage::Over;
        self.phase = Phase::Ended;
        self.note(&summary);
        self.ending = Some(Ending {
            end,
            error,
            summary,
        });
    }

    pub(super) fn note(&mut self, text: &str) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(printable(text));
    }
}

fn slot_named(name: &str) -> Option<Slot> {
    [Slot::Factory, Slot::Ota0, Slot::Ota1]
        .into_iter()
        .find(|slot| slot.as_str() == name)
}

/// What a device says is a digest, if it is one: it is shown and stored.
fn digest(text: &str) -> String {
    text.parse::<Digest>()
        .map(|digest| digest.to_string())
        .unwrap_or_default()
}

/// A token goes into a URL.
fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}
