use super::*;

/// The example in the design, with digests of the right length.
pub(crate) fn example() -> serde_json::Value {
    let digest = |c: &str| c.repeat(64);
    serde_json::json!({
        "schema": 1, "id": "c3-7cdfa1b2c3d4", "name": "kitchen", "product": "demo",
        "chip": "esp32c3", "flash_size": 4_194_304,
        "running": {"slot": "ota_0", "state": "valid", "release": digest("a"), "version": "1.1.0",
                    "sequence": 2, "app_sha256": digest("b"), "files_sha256": digest("c")},
        "slots": [
            {"slot": "factory", "state": "valid", "release": digest("d"), "version": "1.0.0",
             "sequence": 1, "app_sha256": digest("e"), "files_sha256": digest("f")},
            {"slot": "ota_0", "state": "valid", "release": digest("a"), "version": "1.1.0",
             "sequence": 2, "app_sha256": digest("b"), "files_sha256": digest("c")},
            {"slot": "ota_1", "state": "empty", "release": null, "version": null},
        ],
        "trust": {"epoch": 1, "root": "0011223344556677", "keys": ["0011223344556677"]},
        "bootloader_rollback": false,
        "updater": {"state": "idle"},
        "last_update": {"release": digest("a"), "end": "rolled_back", "cause": "watchdog",
                        "boots": 2},
        "uptime_ms": 1234, "free_memory": 123_456
    })
}

fn parse(value: &serde_json::Value) -> Result<DeviceInfo, Error> {
    DeviceInfo::parse(value.to_string().as_bytes())
}

/// The reason `example()` is refused for after `change`.
fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut value = example();
    change(&mut value);
    match parse(&value) {
        Err(Error::BadDevice { reason }) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_example_of_the_design_is_read_and_written_back_alike() {
    let info = parse(&example()).unwrap();
    assert_eq!(info.id.as_str(), "c3-7cdfa1b2c3d4");
    assert_eq!(info.running.slot, Slot::Ota0);
    assert_eq!(info.running.release.unwrap().to_string(), "a".repeat(64));
    assert_eq!(info.slot(Slot::Ota1).unwrap().state, SlotState::Empty);
    assert_eq!(info.slot(Slot::Ota1).unwrap().release, None);
    assert_eq!(
        info.last_update.as_ref().unwrap().end,
        UpdateEnd::RolledBack
    );
    let again = serde_json::to_value(&info).unwrap();
    assert_eq!(
        parse(&again).unwrap(),
        info,
        "what is written reads as what was read"
    );
}

#[test]
fn unknown_fields_and_unknown_states_are_tolerated() {
    let mut value = example();
    value["mood"] = "good".into();
    value["running"]["state"] = "napping".into();
    value["updater"] = serde_json::json!({"state": "dreaming", "depth": 3});
    let info = parse(&value).unwrap();
    assert_eq!(info.running.state, SlotState::Unknown);
    assert_eq!(info.updater.state, UpdaterState::Unknown);
}

#[test]
fn a_device_says_that_it_was_offered_something_stale_and_why_a_trial_failed() {
    let mut value = example();
    assert_eq!(parse(&value).unwrap().freshness, None);
    value["freshness"] = serde_json::json!({"required": true, "newest": 5});
    value["stale_offer"] = serde_json::json!({"release": "a".repeat(64), "offered": 3,
        "newest": 5, "by": "192.0.2.7", "at_ms": 1000});
    value["last_update"]["detail"] = "sensor missing".into();
    let info = parse(&value).unwrap();
    let required = Freshness {
        required: true,
        newest: Some(5),
    };
    assert_eq!(info.freshness, Some(required));
    let offer = info.stale_offer.as_ref().unwrap();
    assert_eq!((offer.offered, offer.by.as_deref()), (3, Some("192.0.2.7")));
    let detail = info.last_update.as_ref().unwrap().detail.as_deref();
    assert_eq!(detail, Some("sensor missing"));
    let again = serde_json::to_value(&info).unwrap();
    assert_eq!(parse(&again).unwrap(), info);
    assert!(!info.same_news(&parse(&example()).unwrap()));

    let long = |v: &mut serde_json::Value| v["last_update"]["detail"] = "x".repeat(49).into();
    assert!(refused(long).contains("48"));
    let turned = |v: &mut serde_json::Value| v["last_update"]["detail"] = "\u{202e}".into();
    assert!(refused(turned).contains("printable"));
}

#[test]
fn an_updater_at_work_says_what_for_whom() {
    let mut value = example();
    value["updater"] = serde_json::json!({"state": "updating", "release": "a".repeat(64),
        "by": "192.0.2.7", "phase": "download"});
    let updater = parse(&value).unwrap().updater;
    assert_eq!(updater.state, UpdaterState::Updating);
    assert_eq!(updater.by.as_deref(), Some("192.0.2.7"));
    assert_eq!(updater.phase.as_deref(), Some("download"));
}

#[test]
fn a_device_without_trust_or_history_is_read() {
    let mut value = example();
    value["last_update"] = serde_json::Value::Null;
    value.as_object_mut().unwrap().remove("trust");
    let info = parse(&value).unwrap();
    assert_eq!((info.last_update, info.trust), (None, None));
}

#[test]
fn each_broken_rule_is_named() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 16] = [
        (|v| v["schema"] = 2.into(), "schema 2"),
        (|v| v["id"] = "".into(), "id: expected"),
        (|v| v["id"] = "Kitchen".into(), "id: expected"),
        (|v| v["id"] = "../x".into(), "id: expected"),
        (|v| v["id"] = "a".repeat(65).into(), "invalid length 65"),
        (|v| v["name"] = "a\nb".into(), "name: expected"),
        (|v| v["name"] = "a\u{202e}b".into(), "name: expected"),
        (|v| v["name"] = "é".repeat(65).into(), "name: expected"),
        (|v| v["product"] = "a/b".into(), "product: expected"),
        (|v| v["chip"] = "ESP32".into(), "chip: expected"),
        (|v| v["running"]["slot"] = "ota_7".into(), "unknown variant"),
        (
            |v| v["running"]["release"] = "A".repeat(64).into(),
            "64 lower-case hex",
        ),
        (|v| v["running"]["sequence"] = (-1).into(), "expected u32"),
        (
            |v| v["running"]["version"] = "1\u{1b}[2J".into(),
            "version: expected",
        ),
        (
            |v| v["last_update"]["cause"] = "Oh no".into(),
            "code: expected",
        ),
        (|v| v["uptime_ms"] = "soon".into(), "expected u64"),
    ];
    for (change, words) in cases {
        let reason = refused(change);
        assert!(reason.contains(words), "`{reason}` should say `{words}`");
    }
}

#[test]
fn lists_are_bounded_and_a_slot_is_listed_once() {
    let twice = refused(|v| {
        let first = v["slots"][0].clone();
        v["slots"].as_array_mut().unwrap().push(first);
    });
    assert!(twice.contains("factory is listed twice"), "{twice}");
    let five = refused(|v| v["slots"] = vec![v["slots"][0].clone(); 5].into());
    assert!(five.contains("slots: more than 4"), "{five}");
    let keys = refused(|v| v["trust"]["keys"] = vec!["0011223344556677"; 5].into());
    assert!(keys.contains("keys: more than 4"), "{keys}");
}

#[test]
fn a_name_of_64_wide_characters_fits() {
    let mut value = example();
    value["name"] = "厨".repeat(64).into();
    assert_eq!(parse(&value).unwrap().name.chars().count(), 64);
}

#[test]
fn what_is_not_json_or_too_long_is_refused() {
    assert!(DeviceInfo::parse(b"").is_err());
    assert!(DeviceInfo::parse(b"<html>").is_err());
    assert!(
        DeviceInfo::parse(&[b'['; MAX_DEVICE_JSON]).is_err(),
        "deep nesting is an error"
    );
    let mut long = example().to_string().into_bytes();
    long.resize(MAX_DEVICE_JSON, b' ');
    assert!(DeviceInfo::parse(&long).is_ok(), "exactly the limit fits");
    long.push(b' ');
    assert!(DeviceInfo::parse(&long).is_err());
    let mut trailing = example().to_string().into_bytes();
    trailing.extend(b"{}");
    assert!(DeviceInfo::parse(&trailing).is_err());
}

#[test]
fn uptime_and_memory_are_no_news() {
    let first = parse(&example()).unwrap();
    let mut later = first.clone();
    later.uptime_ms += 3000;
    later.free_memory = Some(1);
    assert!(first.same_news(&later));
    later.running.version = Some("1.2.0".into());
    assert!(!first.same_news(&later));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
        let _ = DeviceInfo::parse(&bytes);
    }

    #[test]
    fn a_damaged_example_is_read_or_refused_and_never_panics(
        at in 0..800_usize, with in proptest::num::u8::ANY,
    ) {
        let mut bytes = example().to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(info) = DeviceInfo::parse(&bytes) {
            proptest::prop_assert!(info.name.chars().count() <= MAX_NAME);
            proptest::prop_assert!(info.slots.len() <= MAX_SLOTS);
        }
    }
}
