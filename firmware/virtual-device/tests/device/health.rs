//! New versions that are not fit to stay, and what is remembered of why.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_virtual_device::{Behaviour, Settings, settings as behaviours};
use airlift_wire::state::Cause;
use serde_json::Value;
use std::time::Duration;

/// Updates to a version that behaves so; what the device says once it is back on the old one.
fn try_bad(settings: Settings, behaviour: Behaviour) -> Value {
    let old = release("1.0.0", 1);
    let settings = settings.with_trial("2.0.0", behaviour);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &old), settings);
    let script = async {
        update(&bench, &release("2.0.0", 2)).await;
        loop {
            let says = settled(&bench).await;
            if says["last_update"]["end"] == "rolled_back" {
                return says;
            }
            bench.scheduler().sleep(Duration::from_millis(100)).await;
        }
    };
    let says = bench.run(script).unwrap();
    assert_eq!(says["running"]["version"], "1.0.0");
    assert_eq!(says["running"]["state"], "valid");

    // A restart does not forget, and an update that ends otherwise does.
    bench.restart(Cause::PowerOn);
    let again = bench.run(settled(&bench)).unwrap();
    assert_eq!(again["last_update"], says["last_update"]);
    let next = bench
        .run(update_and_settle(&bench, &release("3.0.0", 3)))
        .unwrap();
    assert_eq!(next["last_update"]["end"], "done");
    assert_eq!(next["last_update"].get("detail"), None);
    says
}

#[test]
fn each_way_of_not_being_fit_has_its_cause_and_its_words_with_both_bootloaders() {
    let cases = [
        (
            Behaviour::FailsCheck,
            "health_check",
            behaviours::CHECK_FAILED,
        ),
        (
            Behaviour::NeverReady,
            "not_confirmed",
            behaviours::NOT_READY,
        ),
        (
            Behaviour::NeverConfirms,
            "not_confirmed",
            "its own check does not answer",
        ),
        (Behaviour::NoNetwork, "no_network", "no address"),
        (Behaviour::Hangs, "watchdog", ""),
        (Behaviour::Panics, "panic", ""),
    ];
    for (behaviour, cause, detail) in cases {
        for settings in both_bootloaders() {
            let says = try_bad(settings, behaviour);
            let last = &says["last_update"];
            assert_eq!(last["cause"], cause, "{behaviour:?}");
            let said = last.get("detail").and_then(Value::as_str);
            assert_eq!(said.unwrap_or_default(), detail, "{behaviour:?}");
        }
    }
}

#[test]
fn what_goes_wrong_before_the_minimum_uptime_is_rolled_back() {
    for (behaviour, cause) in [
        (Behaviour::PanicsLater, "panic"),
        (Behaviour::Blocks, "watchdog"),
    ] {
        for mut settings in both_bootloaders() {
            settings.min_uptime_ms = 3_000;
            let says = try_bad(settings, behaviour);
            assert_eq!(says["last_update"]["cause"], cause);
        }
    }
}

#[test]
fn without_a_minimum_uptime_the_same_version_would_have_stayed() {
    let settings = settings().with_trial("2.0.0", Behaviour::PanicsLater);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let says = bench
        .run(async {
            update(&bench, &release("2.0.0", 2)).await;
            while bench.starts() < 3 {
                bench.scheduler().sleep(Duration::from_millis(50)).await;
            }
            settled(&bench).await
        })
        .unwrap();
    assert_eq!(says["running"]["version"], "2.0.0");
    assert_eq!(says["last_update"]["end"], "done");
}

#[test]
fn a_good_version_confirms_at_its_minimum_uptime_and_not_before() {
    for mut settings in both_bootloaders() {
        settings.min_uptime_ms = 4_000;
        let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
        let script = async {
            update(&bench, &release("2.0.0", 2)).await;
            let mut before = 0;
            loop {
                if let Ok(answer) = bench.client().get("/v1/device").await {
                    let says = answer.json();
                    let uptime = says["uptime_ms"].as_u64().unwrap();
                    match says["updater"]["state"].as_str() {
                        Some("trial") => before = uptime,
                        Some("idle") if bench.starts() == 2 => return (before, uptime),
                        _ => {}
                    }
                }
                bench.scheduler().sleep(Duration::from_millis(50)).await;
            }
        };
        let (before, after) = bench.run(script).unwrap();
        assert!(
            before > 3_500 && (4_000..4_500).contains(&after),
            "{before} {after}"
        );
    }
}

#[test]
fn a_trial_that_hangs_is_over_when_the_watchdog_says_so_and_not_at_its_last_moment() {
    let mut settings = settings().with_trial("2.0.0", Behaviour::Blocks);
    (settings.confirm_ms, settings.min_uptime_ms) = (120_000, 60_000);
    settings.watchdog_ms = 8_000;
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let script = async {
        update(&bench, &release("2.0.0", 2)).await;
        let start = bench.scheduler().now();
        while bench.starts() < 3 {
            bench.scheduler().sleep(Duration::from_millis(50)).await;
        }
        (settled(&bench).await, bench.scheduler().now() - start)
    };
    let (says, took) = bench.run(script).unwrap();
    assert_eq!(says["last_update"]["cause"], "watchdog");
    assert!(took < Duration::from_secs(12), "{took:?}");
}
