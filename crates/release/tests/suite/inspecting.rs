use crate::given::{canonical, key, other_key, release};
use airlift_release::{SignatureState, inspect};
use serde_json::json;

#[test]
fn an_unknown_signer_is_said_and_the_content_is_shown() {
    let found = inspect(release().to_file(), &[other_key().public()]).unwrap();
    assert_eq!(found.signature, SignatureState::UnknownKey);
    assert!(found.signature.describe().contains("not checked"));
    assert_eq!(found.summary.version, "2.3.4");
    assert_eq!(found.summary.problems, [""; 0]);
    assert!(found.summary.image.is_some() && found.summary.listing.is_some());
}

#[test]
fn with_the_key_the_summary_is_the_one_of_the_verified_release() {
    let found = inspect(release().to_file(), &[key().public()]).unwrap();
    assert_eq!(found.signature, SignatureState::Trusted);
    assert_eq!(found.summary, release().summary());
}

#[test]
fn a_changed_manifest_is_shown_as_wrong() {
    let release = release();
    let mut envelope = release.envelope().to_vec();
    let at = envelope.windows(4).position(|w| w == b"demo").unwrap();
    envelope[at] = b'x';
    let app = release.app().unwrap().bytes();
    let files = release.files().unwrap().bytes();
    let file = canonical(&[
        ("manifest.cose", &envelope),
        ("app.bin", app),
        ("files.tar", files),
    ]);
    let found = inspect(file, &[key().public()]).unwrap();
    assert_eq!(found.signature, SignatureState::Bad);
    assert_eq!(found.summary.product, "xemo");
    assert!(found.signature.describe().contains("WRONG"));
}

#[test]
fn a_damaged_part_is_a_problem_that_is_shown() {
    let mut file = release().to_file().to_vec();
    let at = file.len() - 2000;
    file[at] ^= 1;
    let found = inspect(file, &[key().public()]).unwrap();
    assert_eq!(found.signature, SignatureState::Trusted);
    assert_eq!(found.summary.problems.len(), 1);
    assert!(found.summary.problems[0].contains("files.tar"));
    assert_eq!(found.summary.image, None);
}

#[test]
fn the_json_has_the_schema_and_the_names_that_scripts_read() {
    let release = release();
    let json = serde_json::to_value(release.summary()).unwrap();
    let part = |kind: &airlift_release::Part| kind.digest().to_string();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["id"], release.id().to_string());
    assert_eq!(json["signature"], "trusted");
    assert_eq!(
        (&json["chip"], &json["chip_id"]),
        (&json!("esp32c3"), &json!(5))
    );
    assert_eq!(json["sequence"], 3);
    let app = release.app().unwrap();
    let expected =
        json!({"state": "carried", "size": app.size(), "sha256": part(app), "chunks": 1});
    assert_eq!(json["app"], expected);
    assert_eq!(
        json["files"]["blocks"],
        release.files().unwrap().blocks().unwrap()
    );
    assert_eq!(
        json["listing"]["entries"][0],
        json!({"path": "lib/", "size": 0})
    );
    assert_eq!(json["keys"], json!(null));
}
