//! `airlift inspect` and `airlift verify`

use crate::support::Desk;
use serde_json::Value;

/// Where a release's app starts in its file: after the headers and the envelope.
fn app_offset(file: &[u8]) -> usize {
    let at = file
        .windows(8)
        .position(|bytes| bytes == b"app.bin\0")
        .expect("an app");
    at + 512
}

fn packed() -> Desk {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "").succeeded();
    desk
}

#[test]
fn a_good_release_verifies_against_its_key_and_no_other() {
    let desk = packed();
    let run = desk.run("verify r.airlift --trust key.pub.pem").succeeded();
    assert!(
        run.out.starts_with("good: p 1.1.0 sequence 1, "),
        "{}",
        run.out
    );
    desk.run("key new other.pem").succeeded();
    desk.run("verify r.airlift --trust other.pub.pem")
        .refused(3, "unknown_key");
    desk.run("verify r.airlift --trust key.pem")
        .refused(1, "bad_key");
}

#[test]
fn one_flipped_bit_anywhere_is_exit_3() {
    let desk = packed();
    let good = desk.read("r.airlift");
    let app = app_offset(&good);
    // In the payload, in the app, in the padding at the very end.
    for (at, code) in [
        (512 + 40, "bad_signature"),
        (app + 9000, "bad_release"),
        (good.len() - 1, "bad_release"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        desk.write("bad.airlift", &bad);
        desk.run("verify bad.airlift --trust key.pub.pem")
            .refused(3, code);
    }
}

#[test]
fn a_release_that_was_cut_off_is_exit_3_wherever() {
    let desk = packed();
    let good = desk.read("r.airlift");
    for len in [512, 700, app_offset(&good) + 5000, good.len() - 512] {
        desk.write("cut.airlift", &good[..len]);
        desk.run("verify cut.airlift --trust key.pub.pem")
            .refused(3, "bad_release");
    }
}

#[test]
fn what_is_no_release_is_named() {
    let desk = packed();
    for command in [
        "inspect @demo-1.0.0.bin",
        "verify @demo-1.0.0.bin --trust key.pub.pem",
    ] {
        let run = desk.run(command).refused(3, "bad_release");
        assert!(
            run.err.contains("an ESP app image, not a release"),
            "{}",
            run.err
        );
    }
    desk.run("inspect nothing.airlift").refused(1, "io");
    desk.run("inspect .").refused(1, "io");
}

#[test]
fn inspect_as_json_is_one_object_with_a_schema() {
    let desk = packed();
    let run = desk.run("inspect r.airlift --json").succeeded();
    let [release] = <[Value; 1]>::try_from(run.json()).expect("one line");
    assert_eq!(release["schema"], 1);
    assert_eq!(release["product"], "p");
    assert_eq!(release["signature"], "unknown_key");
    let size = release["app"]["size"].as_u64().expect("a size");
    assert_eq!(release["app"]["chunks"], size.div_ceil(4096));
    assert_eq!(release["image"]["descriptor"]["project"], "airlift-demo");
    assert_eq!(release["problems"], Value::Array(vec![]));
}

#[test]
fn inspect_says_whether_the_signer_is_known_here() {
    let desk = packed();
    let unknown = desk.run("inspect r.airlift").succeeded().out;
    assert!(unknown.contains("not checked"), "{unknown}");
    desk.run("key trust key.pub.pem").succeeded();
    let known = desk.run("inspect r.airlift").succeeded().out;
    assert!(known.contains("signed by a trusted key"), "{known}");
}

#[test]
fn inspect_shows_a_damaged_release_and_is_exit_3() {
    let desk = packed();
    let mut bad = desk.read("r.airlift");
    let app = app_offset(&bad);
    bad[app + 9000] ^= 1;
    desk.write("bad.airlift", &bad);
    let run = desk.run("inspect bad.airlift --json");
    assert_eq!(run.code, 3);
    assert_eq!(
        run.json()[0]["problems"].as_array().map(Vec::len),
        Some(1),
        "{run:?}"
    );
    let run = desk.run("inspect bad.airlift");
    assert_eq!(run.code, 3);
    assert!(
        run.out.contains("problem   the release file is damaged"),
        "{}",
        run.out
    );
}

#[test]
fn a_changed_manifest_of_a_known_key_is_called_wrong() {
    let desk = packed();
    desk.write("home/trusted/key.pub.pem", desk.read("key.pub.pem"));
    let mut bad = desk.read("r.airlift");
    // The product in the payload: "p" to "q".
    let at = bad
        .windows(4)
        .position(|bytes| bytes == [0x01, 0x61, b'p', 0x02])
        .expect("product");
    bad[at + 2] = b'q';
    desk.write("bad.airlift", &bad);
    let run = desk.run("inspect bad.airlift --json");
    assert_eq!((run.code, &run.json()[0]["signature"]), (3, &"bad".into()));
}

#[test]
fn errors_under_json_are_one_object_on_standard_error() {
    let desk = Desk::new();
    let run = desk.run("inspect nothing.airlift --json");
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&run.err).expect("JSON");
    assert_eq!(
        (&error["schema"], &error["code"]),
        (&1.into(), &"io".into())
    );
    assert!(
        error["help"].as_str().is_some_and(|help| !help.is_empty()),
        "{error}"
    );
}

#[test]
fn a_damaged_key_in_the_home_takes_no_other_away() {
    let desk = packed();
    desk.run("key trust key.pub.pem").succeeded();
    desk.write("home/trusted/broken.pub.pem", "nothing");
    let run = desk.run("inspect r.airlift --json").succeeded();
    assert_eq!(run.json()[0]["signature"], "trusted");
}
