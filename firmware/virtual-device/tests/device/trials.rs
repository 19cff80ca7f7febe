//! New images that are bad, and devices that come back.

use crate::kit::*;
use airlift_updater::SlotId;
use airlift_virtual_device::{Behaviour, Bootloader, Settings};
use airlift_wire::state::Cause;
use serde_json::Value;
use std::time::Duration;

/// Updates to a release whose image behaves so; what the device says when it is back.
fn try_bad(settings: Settings, behaviour: Behaviour) -> (Value, Vec<u8>) {
    let old = release("1.0.0", 1);
    let settings = settings.with_trial("2.0.0", behaviour);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &old), settings);
    let bad = release("2.0.0", 2);
    let info = bench
        .run(async {
            let lines = update(&bench, &bad).await;
            assert_eq!(lines.last().unwrap()["event"], "rebooting");
            loop {
                let info = settled(&bench).await;
                if info["last_update"]["end"] == "rolled_back" {
                    return info;
                }
                bench.scheduler().sleep(Duration::from_millis(100)).await;
            }
        })
        .unwrap();
    assert_eq!(info["last_update"]["release"], bad.id().to_string());
    assert_eq!(info["running"]["release"], old.id().to_string());
    assert_eq!(info["running"]["slot"], "ota_0");
    assert_eq!(info["running"]["state"], "valid");
    let digest = |part: Option<&airlift_release::Part>| part.unwrap().digest().to_string();
    assert_eq!(info["running"]["app_sha256"], digest(old.app()));
    assert_eq!(info["running"]["files_sha256"], digest(old.files()));
    let image = nor.snapshot();
    assert_eq!(state(&image).sequence, 1);

    // The same release is taken again only when somebody says so.
    let lines = bench.run(update(&bench, &bad)).unwrap();
    assert_eq!(code(&lines), "rolled_back_before");
    let retry = async {
        let lines = bench.client().update(&bad, "?retry=1").await.unwrap();
        json(lines.all().await)
    };
    let lines = bench.run(retry).unwrap();
    assert_eq!(lines.last().unwrap()["event"], "rebooting");
    (info, image)
}

#[test]
fn an_image_that_never_confirms_comes_back_on_the_old_version_with_the_old_files() {
    for settings in both_bootloaders() {
        let rollback = settings.bootloader == Bootloader::Rollback;
        let (info, _) = try_bad(settings, Behaviour::NeverConfirms);
        assert_eq!(info["last_update"]["cause"], "not_confirmed");
        assert_eq!(info["last_update"]["boots"], 1);
        assert_eq!(info["bootloader_rollback"], rollback);
    }
}

#[test]
fn an_image_that_hangs_is_reset_by_the_watchdog_and_rolled_back() {
    for settings in both_bootloaders() {
        let (info, _) = try_bad(settings, Behaviour::Hangs);
        assert_eq!(info["last_update"]["cause"], "watchdog");
    }
}

#[test]
fn an_image_that_panics_or_fails_its_check_is_rolled_back() {
    for (behaviour, cause) in [
        (Behaviour::Panics, "panic"),
        (Behaviour::FailsCheck, "health_check"),
    ] {
        for settings in both_bootloaders() {
            let (info, _) = try_bad(settings, behaviour);
            assert_eq!(info["last_update"]["cause"], cause);
        }
    }
}

#[test]
fn a_trial_that_loses_power_is_rolled_back() {
    for settings in both_bootloaders() {
        let old = release("1.0.0", 1);
        let settings = settings.with_trial("2.0.0", Behaviour::NeverConfirms);
        let (bench, _) = bench(flash_with(SlotId::Ota0, &old), settings);
        let trial = async {
            update(&bench, &release("2.0.0", 2)).await;
            loop {
                if let Ok(answer) = bench.client().get("/v1/device").await
                    && answer.json()["updater"]["state"] == "trial"
                {
                    return answer.json();
                }
                bench.scheduler().sleep(Duration::from_millis(50)).await;
            }
        };
        let info = bench.run(trial).unwrap();
        assert_eq!(info["running"]["slot"], "ota_1");
        bench.power_off();
        bench.power_on();
        let info = bench.run(settled(&bench)).unwrap();
        assert_eq!(info["running"]["slot"], "ota_0");
        assert_eq!(info["last_update"]["end"], "rolled_back");
        assert_eq!(info["last_update"]["cause"], "power_on");
    }
}

#[test]
fn an_update_during_a_trial_waits_for_its_end() {
    let mut settings = settings().with_trial("2.0.0", Behaviour::NeverConfirms);
    settings.confirm_ms = 2_000;
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let next = release("3.0.0", 3);
    bench.host().add(&next);
    let info = bench
        .run(async {
            update(&bench, &release("2.0.0", 2)).await;
            while bench.starts() < 2 {
                bench.scheduler().sleep(Duration::from_millis(50)).await;
            }
            // The trial gives up and restarts, and this connection ends with it.
            let lines = bench.client().update(&next, "").await.unwrap();
            assert_eq!(lines.all().await, Vec::<String>::new());
            let info = settled(&bench).await;
            assert_eq!(info["last_update"]["cause"], "not_confirmed");
            update_and_settle(&bench, &next).await
        })
        .unwrap();
    assert_eq!(info["running"]["version"], "3.0.0");
}

#[test]
fn an_image_that_the_bootloader_refuses_is_recorded_as_refused() {
    for settings in both_bootloaders() {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
        let new = release("2.0.0", 2);
        bench
            .run(async {
                update(&bench, &new).await;
                // Between the switch and the restart, a bit goes wrong in the new image.
                let at = layout(&nor.snapshot(), SlotId::Ota0).ota[1].offset + 5000;
                flip_bit(&nor, at);
            })
            .unwrap();
        let info = bench
            .run(async {
                while bench.starts() < 2 {
                    bench.scheduler().sleep(Duration::from_millis(50)).await;
                }
                settled(&bench).await
            })
            .unwrap();
        assert_eq!(info["running"]["slot"], "ota_0");
        assert_eq!(info["last_update"]["end"], "rolled_back");
        assert_eq!(info["last_update"]["cause"], "image_refused");
        // The slot is repaired by the next update, although otadata still selects it.
        let info = bench
            .run(update_and_settle(&bench, &release("3.0.0", 3)))
            .unwrap();
        assert_eq!(info["running"]["slot"], "ota_1");
        assert_eq!(info["running"]["version"], "3.0.0");
    }
}

#[test]
fn a_restart_of_a_confirmed_device_changes_nothing() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    bench.run(async {}).unwrap();
    let before = nor.snapshot();
    for cause in [Cause::PowerOn, Cause::Watchdog, Cause::Panic] {
        bench.restart(cause);
        bench.run(async {}).unwrap();
    }
    assert!(nor.snapshot() == before);
}
