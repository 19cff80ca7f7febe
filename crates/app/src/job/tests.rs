use serde_json::{Value, json};

use super::*;
use crate::dto::Part;

const RELEASE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW_APP: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const NEW_FILES: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const OLD_APP: &str = "4444444444444444444444444444444444444444444444444444444444444444";
const OLD_FILES: &str = "5555555555555555555555555555555555555555555555555555555555555555";
const KEY: &str = "aabbccddeeff0011";

pub(crate) fn release_id() -> &'static str {
    RELEASE
}

/// Release 1.1.0 with sequence 6, for [`device`].
pub(crate) fn release(app: u32, files: u32) -> Release {
    let part = |size: u32, sha256: &str| Part::Carried {
        size,
        chunks: size.div_ceil(4096),
        sha256: sha256.to_owned(),
    };
    Release {
        id: RELEASE.into(),
        product: "job-test".into(),
        version: "1.1.0".into(),
        sequence: 6,
        chip: "esp32c3".into(),
        created: 0.0,
        added: 0.0,
        app: part(app, NEW_APP),
        files: part(files, NEW_FILES),
        size: app + files,
        key_id: KEY.into(),
        keys: None,
        running_on: vec![],
    }
}

/// A device that runs 1.0.0, sequence 5, from ota_0 for an hour; `change` replaces fields.
pub(crate) fn device(change: Value) -> DeviceInfo {
    let running = json!({"slot": "ota_0", "state": "valid", "version": "1.0.0", "sequence": 5,
        "app_sha256": OLD_APP, "files_sha256": OLD_FILES});
    let mut info = json!({
        "schema": 1, "id": "c3-000000000001", "name": "porch", "product": "job-test",
        "chip": "esp32c3", "flash_size": 4 << 20, "running": running,
        "slots": [{"slot": "factory"}, {"slot": "ota_0"}, {"slot": "ota_1"}],
        "trust": {"epoch": 1, "root": KEY, "keys": [KEY]}, "bootloader_rollback": false,
        "updater": {"state": "idle"}, "uptime_ms": 3_600_000,
    });
    for (key, value) in change.as_object().unwrap() {
        info[key] = value.clone();
    }
    DeviceInfo::parse(info.to_string().as_bytes()).unwrap()
}

/// The device after the switch, `state` of its otadata as given, `uptime` in ms.
fn on_new(state: &str, uptime: u64) -> DeviceInfo {
    let running = json!({"slot": "ota_1", "state": state, "version": "1.1.0", "sequence": 6,
        "release": RELEASE, "app_sha256": NEW_APP, "files_sha256": NEW_FILES});
    device(json!({"running": running, "uptime_ms": uptime}))
}

fn back_on_old(cause: &str, uptime: u64) -> DeviceInfo {
    let last = json!({"release": RELEASE, "end": "rolled_back", "cause": cause, "boots": 2});
    device(json!({"last_update": last, "uptime_ms": uptime}))
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A job and what is done to it, so that a test reads as a story.
struct Story(JobState);

impl Story {
    fn new() -> Self {
        let release = release(8292, 8192);
        Self(JobState::new(
            7,
            "c3-000000000001",
            "porch",
            release,
            false,
            0.0,
        ))
    }

    /// Begun at second 0 and attached.
    fn attached() -> Self {
        let mut story = Self::new();
        story.0.begin(&device(json!({})), s(0));
        story.input(0, Input::Attached);
        story.line(
            0,
            json!({"event": "started", "token": "feed", "release": RELEASE}),
        );
        story
    }

    /// At the last line, at second 10.
    fn rebooting() -> Self {
        let mut story = Self::attached();
        story.line(9, json!({"event": "phase", "phase": "switch"}));
        story.line(10, json!({"event": "rebooting", "slot": "ota_1"}));
        story
    }

    fn line(&mut self, at: u64, line: Value) -> &mut Self {
        let line = DeviceLine::parse(line.to_string().as_bytes()).unwrap();
        self.input(at, Input::Line(&line))
    }

    fn seen(&mut self, at: u64, device: &DeviceInfo) -> &mut Self {
        self.input(at, Input::Seen(device))
    }

    fn input(&mut self, at: u64, input: Input<'_>) -> &mut Self {
        self.0.apply(input, s(at));
        self
    }

    fn tick(&mut self, at: u64) -> &mut Self {
        self.input(at, Input::Tick)
    }

    fn end(&self) -> End {
        self.0
            .ending()
            .unwrap_or_else(|| panic!("still {:?}", self.0.stage))
            .end
    }

    fn code(&self) -> &str {
        self.0
            .ending()
            .and_then(|e| e.error.as_ref())
            .map_or("", |e| &e.code)
    }

    fn runs(&self) -> bool {
        self.0.ending().is_none()
    }
}

#[test]
fn an_update_that_goes_well_ends_done_once_the_device_is_valid_on_the_target() {
    let mut story = Story::attached();
    story.line(1, json!({"event": "phase", "phase": "app"}));
    story.line(
        2,
        json!({"event": "chunk", "part": "app", "n": 0, "count": 3, "state": "checked"}),
    );
    story.line(
        3,
        json!({"event": "part", "part": "app", "expected": NEW_APP, "computed": NEW_APP}),
    );
    story.line(4, json!({"event": "phase", "phase": "switch"}));
    story.line(5, json!({"event": "rebooting", "slot": "ota_1"}));
    assert!(story.runs(), "a last line is not done");
    story.seen(8, &on_new("pending", 900));
    assert!(story.runs(), "a trial is not done");
    assert_eq!(
        story.0.view(s(8)).summary,
        "Running 1.1.0 on trial from ota_1."
    );
    story.seen(10, &on_new("valid", 2_900));
    assert_eq!(story.end(), End::Done);
    let job = story.0.view(s(10));
    assert_eq!(
        job.summary,
        "Running 1.1.0 from ota_1, confirmed within 3 s of its start."
    );
    assert_eq!(
        (job.parts[0].fetched, job.parts[0].computed.as_deref()),
        (3, Some(NEW_APP))
    );
    assert!(!job.can_cancel && !job.can_retry);
}

#[test]
fn a_device_that_says_done_but_runs_something_else_is_not_done() {
    for (what, value) in [
        ("app_sha256", OLD_APP),
        ("files_sha256", OLD_FILES),
        ("slot", "ota_0"),
        ("release", OLD_APP),
    ] {
        let mut story = Story::rebooting();
        let mut running = serde_json::to_value(on_new("valid", 900).running).unwrap();
        running[what] = value.into();
        story.seen(12, &device(json!({"running": running, "uptime_ms": 900})));
        assert!(story.runs(), "{what}");
    }
}

#[test]
fn a_device_back_on_the_old_version_with_a_record_is_rolled_back_and_says_why() {
    let mut story = Story::rebooting();
    story.seen(40, &back_on_old("watchdog", 1_500));
    assert_eq!(
        (story.end(), story.code()),
        (End::RolledBack, "rolled_back")
    );
    let summary = &story.0.ending().unwrap().summary;
    assert!(summary.starts_with("Went back to 1.0.0"), "{summary}");
    assert!(summary.contains("reset reason: watchdog"), "{summary}");
    assert!(story.0.view(s(40)).can_retry);
}

#[test]
fn a_record_of_an_earlier_try_is_not_taken_for_this_one() {
    let release = release(8292, 8192);
    let mut story = Story(JobState::new(
        7,
        "c3-000000000001",
        "porch",
        release,
        true,
        0.0,
    ));
    story.0.begin(&back_on_old("panic", 3_600_000), s(0));
    story.input(0, Input::Attached);
    story.line(
        0,
        json!({"event": "started", "token": "feed", "release": RELEASE}),
    );
    story.line(10, json!({"event": "rebooting", "slot": "ota_1"}));
    story.seen(10, &back_on_old("panic", 3_610_000));
    assert!(story.runs(), "it has not restarted yet");
    story.seen(30, &back_on_old("panic", 2_000));
    assert_eq!(story.end(), End::RolledBack);
}

#[test]
fn a_device_back_on_the_old_version_without_a_word_gets_a_little_time_to_say_why() {
    let mut story = Story::rebooting();
    story.seen(14, &device(json!({"uptime_ms": 1_000})));
    story.seen(20, &device(json!({"uptime_ms": 7_000})));
    assert!(story.runs());
    story.seen(24, &device(json!({"uptime_ms": 11_000})));
    assert_eq!(story.end(), End::RolledBack);
    assert!(
        story
            .0
            .ending()
            .unwrap()
            .summary
            .contains("did not say why")
    );
}

#[test]
fn a_device_that_stays_away_is_not_seen_again_after_120_seconds() {
    let mut story = Story::rebooting();
    story.tick(129);
    assert!(story.runs());
    story.tick(130);
    assert_eq!((story.end(), story.code()), (End::Failed, "not_seen_again"));
}

#[test]
fn a_trial_that_goes_silent_is_waited_for_until_its_rollback_is_seen() {
    let mut story = Story::rebooting();
    story.seen(13, &on_new("pending", 1_000));
    story.tick(130);
    assert!(story.runs(), "120 s count from the last answer");
    story.seen(131, &back_on_old("not_confirmed", 800));
    assert_eq!(story.end(), End::RolledBack);
}

#[test]
fn a_trial_does_not_last_for_ever() {
    let mut story = Story::rebooting();
    for at in 13..=194 {
        story.seen(at, &on_new("pending", at * 1000));
    }
    assert_eq!((story.end(), story.code()), (End::Failed, "not_seen_again"));
}

#[test]
fn a_lost_connection_is_opened_again_with_growing_pauses() {
    let mut story = Story::attached();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        story.input(
            1,
            Input::Detached {
                reason: "connection reset",
            },
        );
        let Next::Attach { at } = story.0.next() else {
            panic!("{:?}", story.0.next())
        };
        pauses.push((at - s(1)).as_millis());
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 4000, 4000]);
    story.input(5, Input::Attached);
    assert_eq!(story.0.next(), Next::Listen);
}

#[test]
fn thirty_seconds_without_progress_are_stalled_attached_or_not() {
    let mut attached = Story::attached();
    attached.tick(29);
    assert!(attached.runs());
    attached.tick(30);
    assert_eq!((attached.end(), attached.code()), (End::Failed, "stalled"));

    let mut away = Story::attached();
    away.input(
        20,
        Input::Detached {
            reason: "connection reset",
        },
    );
    away.tick(29);
    assert!(
        away.runs(),
        "an attempt is no progress, and the last line came at 0"
    );
    away.tick(30);
    assert_eq!(away.code(), "stalled");
}

#[test]
fn a_device_that_goes_on_by_itself_is_not_stalled() {
    let mut story = Story::attached();
    story.input(
        1,
        Input::Detached {
            reason: "connection reset",
        },
    );
    let updating = |id: &str| device(json!({"updater": {"state": "updating", "release": id}}));
    for at in 2..60 {
        story.seen(at, &updating(RELEASE));
        story.input(
            at,
            Input::Refused {
                code: "rate_limited",
                message: "too many",
            },
        );
    }
    assert!(story.runs());
    for at in 60..90 {
        story.seen(at, &updating(OLD_APP));
    }
    assert_eq!(
        story.code(),
        "stalled",
        "another release is no progress of this one"
    );
}

#[test]
fn a_device_that_takes_connections_and_says_nothing_is_given_up() {
    let mut story = Story::attached();
    for at in 1..=30 {
        story.input(at, Input::Detached { reason: "ended" });
        story.input(at, Input::Attached);
    }
    assert_eq!((story.end(), story.code()), (End::Failed, "stalled"));
}

#[test]
fn a_device_that_never_answers_is_given_up_soon() {
    let mut story = Story::new();
    story.0.begin(&device(json!({})), s(0));
    story.input(
        9,
        Input::Detached {
            reason: "connection refused",
        },
    );
    assert!(story.runs());
    story.tick(10);
    assert_eq!(
        (story.end(), story.code()),
        (End::Failed, "connection_lost")
    );
}

#[test]
fn a_restart_whose_last_line_was_lost_is_found_out_from_the_device() {
    let mut story = Story::attached();
    story.line(5, json!({"event": "phase", "phase": "check"}));
    story.input(
        6,
        Input::Detached {
            reason: "connection reset",
        },
    );
    assert!(matches!(story.0.next(), Next::Look { .. }));
    story.tick(60);
    assert!(story.runs(), "a restart may take longer than a stall");
    story.seen(61, &on_new("valid", 1_000));
    assert_eq!(story.end(), End::Done);
}

#[test]
fn a_connection_lost_in_the_check_is_attached_to_again_while_the_device_goes_on() {
    let mut story = Story::attached();
    story.line(5, json!({"event": "phase", "phase": "check"}));
    story.input(
        6,
        Input::Detached {
            reason: "connection reset",
        },
    );
    let updating = json!({"updater": {"state": "updating", "release": RELEASE}});
    story.seen(7, &device(updating));
    assert_eq!(story.0.next(), Next::Attach { at: s(7) });
}

#[test]
fn a_device_that_lost_power_before_the_switch_is_sent_the_release_again() {
    let mut story = Story::attached();
    story.line(5, json!({"event": "phase", "phase": "check"}));
    story.input(
        6,
        Input::Detached {
            reason: "connection reset",
        },
    );
    story.seen(12, &device(json!({"uptime_ms": 900})));
    assert_eq!(story.0.next(), Next::Attach { at: s(12) });
}

#[test]
fn what_the_device_refuses_ends_the_job_with_its_code() {
    let mut story = Story::new();
    story.0.begin(&device(json!({})), s(0));
    story.input(
        1,
        Input::Refused {
            code: "busy",
            message: "another update by 10.0.0.7",
        },
    );
    assert_eq!((story.end(), story.code()), (End::Failed, "busy"));
    assert_eq!(
        story.0.ending().unwrap().summary,
        "Another update by 10.0.0.7."
    );
}

#[test]
fn busy_while_attaching_again_is_waited_for() {
    let mut story = Story::attached();
    story.input(
        1,
        Input::Detached {
            reason: "connection reset",
        },
    );
    story.input(
        2,
        Input::Refused {
            code: "busy",
            message: "restarting",
        },
    );
    assert!(matches!(story.0.next(), Next::Attach { at } if at > s(2)));
}

#[test]
fn a_failure_line_ends_the_job_and_an_unreachable_host_names_the_port_to_allow() {
    let mut story = Story::attached();
    story.0.from = Some("http://10.0.0.5:7410".into());
    story.line(
        6,
        json!({"event": "failed", "code": "host_unreachable", "message": "no answer"}),
    );
    assert_eq!(
        (story.end(), story.code()),
        (End::Failed, "host_unreachable")
    );
    let help = &story.0.ending().unwrap().error.as_ref().unwrap().help;
    assert!(help.contains("port 7410 on 10.0.0.5"), "{help}");
}

#[test]
fn a_job_that_is_not_attached_is_cancelled_at_once() {
    let mut story = Story::new();
    story.input(0, Input::Cancel);
    assert_eq!(story.end(), End::Cancelled);
}

#[test]
fn a_running_job_is_cancelled_when_the_device_says_so_or_does_not_answer() {
    let mut story = Story::attached();
    story.input(3, Input::Cancel);
    assert!(story.runs() && story.0.is_cancelling());
    assert_eq!(story.0.token(), Some("feed"));
    story.line(
        4,
        json!({"event": "failed", "code": "cancelled", "message": "cancelled"}),
    );
    assert_eq!(story.end(), End::Cancelled);

    let mut silent = Story::attached();
    silent.input(3, Input::Cancel).tick(13);
    assert_eq!(silent.end(), End::Cancelled);
}

#[test]
fn cancel_comes_too_late_after_the_switch() {
    let mut story = Story::rebooting();
    assert!(!story.0.view(s(10)).can_cancel);
    story.input(11, Input::Cancel);
    story.seen(12, &on_new("valid", 500));
    assert_eq!(story.end(), End::Done);
}

#[test]
fn a_release_that_the_device_already_runs_is_done_and_nothing_is_sent() {
    let mut story = Story::new();
    story.0.begin(&on_new("valid", 500), s(0));
    assert_eq!((story.end(), story.0.next()), (End::Done, Next::Over));
    assert_eq!(story.0.ending().unwrap().summary, "Already runs 1.1.0.");
}

#[test]
fn a_preflight_refusal_ends_the_job_before_anything_is_sent() {
    let mut story = Story::new();
    story.0.begin(&device(json!({"product": "lamp"})), s(0));
    assert_eq!((story.end(), story.code()), (End::Failed, "wrong_product"));
}

#[test]
fn a_job_of_a_process_that_died_goes_on_from_what_the_device_says() {
    let resume = Story::attached().0.to_resume().unwrap();
    let again = |switched| {
        let mut story = Story::new();
        story.0.resume(
            Resume {
                switched,
                ..resume.clone()
            },
            s(100),
        );
        story
    };
    let mut done = again(true);
    done.seen(101, &on_new("valid", 5_000));
    assert_eq!(done.end(), End::Done);

    let mut done_unnoticed = again(false);
    done_unnoticed.seen(101, &on_new("valid", 5_000));
    assert_eq!(done_unnoticed.end(), End::Done);

    let mut rolled_back = again(false);
    rolled_back.seen(101, &back_on_old("watchdog", 900_000));
    assert_eq!(rolled_back.end(), End::RolledBack);

    let mut under_way = again(false);
    under_way.seen(
        101,
        &device(json!({"updater": {"state": "updating", "release": RELEASE}})),
    );
    assert_eq!(under_way.0.next(), Next::Attach { at: s(100) });
}

#[test]
fn the_target_slot_follows_the_running_one() {
    let target = |slot: &str| {
        let running = json!({"slot": slot, "state": "valid"});
        Before::of(&device(json!({"running": running})), &release(1, 1))
            .target()
            .to_string()
    };
    assert_eq!(
        [target("factory"), target("ota_0"), target("ota_1")],
        ["ota_0", "ota_1", "ota_0"]
    );
}

#[test]
fn phases_never_go_back_when_a_device_repeats_itself() {
    let mut story = Story::attached();
    story.line(
        1,
        json!({"event": "chunk", "part": "files", "n": 0, "state": "written"}),
    );
    assert_eq!(story.0.phase(), Phase::Files);
    story.line(2, json!({"event": "phase", "phase": "preflight"}));
    story.line(2, json!({"event": "phase", "phase": "made_up"}));
    assert_eq!(story.0.phase(), Phase::Files);
}

#[test]
fn what_a_device_says_is_a_digest_or_a_token_is_taken_only_if_it_is_one() {
    let mut story = Story::new();
    story.0.begin(&device(json!({})), s(0));
    story.input(0, Input::Attached);
    story.line(
        0,
        json!({"event": "started", "token": "a&b=\r\n", "release": RELEASE}),
    );
    assert_eq!(story.0.token(), None);
    story.line(
        1,
        json!({"event": "chunk", "part": "app", "n": 0, "state": "refused", "try": 1,
        "expected": NEW_APP, "computed": "\u{1b}[2J"}),
    );
    let refused = &story.0.map().refused()[0];
    assert_eq!(
        (refused.expected.as_str(), refused.computed.as_str()),
        (NEW_APP, "")
    );
}

#[test]
fn exactly_one_end_whatever_comes_after_it() {
    let mut story = Story::rebooting();
    story.seen(12, &on_new("valid", 500));
    let ending = story.0.ending().cloned();
    story.seen(13, &back_on_old("panic", 500));
    story.line(
        13,
        json!({"event": "failed", "code": "flash_fault", "message": "x"}),
    );
    story.input(14, Input::Cancel).tick(1000);
    assert_eq!(story.0.ending().cloned(), ending);
}

#[test]
fn a_queued_job_says_what_it_waits_for() {
    let mut story = Story::new();
    let mut said = |away| {
        story.0.set_away(away);
        story.0.view(s(0)).summary
    };
    assert_eq!(said(true), "Waiting for porch to be back.");
    assert_eq!(said(false), "Waiting for its turn.");
}
