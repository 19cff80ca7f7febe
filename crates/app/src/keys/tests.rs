use std::fs;

use super::*;

fn keys() -> (tempfile::TempDir, Keys) {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(Home::open(dir.path()).unwrap());
    (dir, keys)
}

#[test]
fn a_key_made_here_can_sign_and_is_trusted() {
    let (_dir, keys) = keys();
    let key = keys.create("mine", None).unwrap();
    assert!(key.can_sign && key.trusted && !key.needs_passphrase);
    assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
    assert_eq!(keys.trusted().unwrap()[0].id().to_string(), key.id);
    for which in [&key.id, "mine"] {
        assert_eq!(keys.signing(which, None).unwrap().id().to_string(), key.id);
    }
}

#[test]
fn a_key_with_a_passphrase_says_so_and_opens_with_it_only() {
    let (_dir, keys) = keys();
    let key = keys.create("locked", Some("correct horse")).unwrap();
    assert!(key.needs_passphrase);
    let refused = |passphrase| {
        keys.signing("locked", passphrase)
            .unwrap_err()
            .code()
            .as_str()
    };
    assert_eq!([refused(None), refused(Some("x"))], ["bad_passphrase"; 2]);
    assert!(keys.signing("locked", Some("correct horse")).is_ok());
}

#[test]
fn a_key_is_never_overwritten() {
    let (_dir, keys) = keys();
    let first = keys.create("a", None).unwrap();
    assert_eq!(keys.create("a", None).unwrap_err().code().as_str(), "io");
    assert_eq!(keys.list().unwrap(), [first]);
}

#[test]
fn a_key_whose_making_was_cut_off_is_trusted_and_its_name_is_not_blocked() {
    let (dir, keys) = keys();
    let key = keys.create("mine", None).unwrap();
    // As it is before the last step, and before the last but one.
    fs::remove_file(dir.path().join("trusted/mine.pub.pem")).unwrap();
    assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
    assert_eq!(keys.trusted().unwrap()[0].id().to_string(), key.id);
    fs::remove_file(dir.path().join("keys/mine.pem")).unwrap();
    assert_eq!(keys.list().unwrap(), []);
    assert!(keys.create("mine", None).unwrap().can_sign);
    assert_eq!(keys.list().unwrap().len(), 1);
}

#[test]
fn two_that_make_a_key_of_one_name_at_once_make_one_whole_key() {
    let (_dir, keys) = keys();
    let made = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| keys.create("a", None)))
            .collect();
        makers
            .into_iter()
            .filter_map(|maker| maker.join().unwrap().ok())
            .count()
    });
    assert_eq!(made, 1);
    let list = keys.list().unwrap();
    let signing = keys.signing("a", None).unwrap();
    assert_eq!(
        list[0].id,
        signing.id().to_string(),
        "both halves are of one key"
    );
}

#[test]
fn keys_of_one_name_that_are_trusted_at_once_are_all_kept() {
    let (_dir, keys) = keys();
    std::thread::scope(|scope| {
        for seed in 1..=6 {
            let public = SigningKey::from_seed(&[seed; 32]).public();
            let keys = &keys;
            scope.spawn(move || keys.trust(&public, "vendor").unwrap());
        }
    });
    assert_eq!(keys.list().unwrap().len(), 6);
}

#[test]
fn key_files_that_cannot_be_used_are_named_with_the_reason() {
    let (dir, keys) = keys();
    keys.create("good", None).unwrap();
    keys.create("bad", None).unwrap();
    fs::write(
        dir.path().join("keys/bad.pem"),
        "-----BEGIN PRIVATE KEY-----\nAAAA",
    )
    .unwrap();
    fs::write(dir.path().join("trusted/good.pub.pem"), "").unwrap();
    let damaged = keys.damaged().unwrap();
    let damaged: Vec<_> = damaged
        .iter()
        .map(|(path, error)| {
            (
                path.strip_prefix(dir.path()).unwrap(),
                error.code().as_str(),
            )
        })
        .collect();
    let path = Path::new;
    let wanted = [
        (path("trusted/good.pub.pem"), "bad_key"),
        (path("keys/bad.pem"), "bad_key"),
    ];
    assert_eq!(damaged, wanted);
    assert!(
        keys.signing("good", None).is_ok(),
        "it is still trusted, for it signs here"
    );
}

#[test]
fn two_trusted_keys_of_one_name_are_both_kept() {
    let (_dir, keys) = keys();
    for seed in [1, 2, 2] {
        keys.trust(&SigningKey::from_seed(&[seed; 32]).public(), "vendor")
            .unwrap();
    }
    let list = keys.list().unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|key| key.trusted && !key.can_sign));
    assert!(keys.signing("vendor", None).is_err());
}

#[test]
fn a_key_is_imported_once_and_its_name_stays_inside_the_folder() {
    let (dir, keys) = keys();
    let path = dir.path().join("my key.pem");
    let key = SigningKey::from_seed(&[3; 32]);
    files::write_private(&path, &key.to_pem(None).unwrap()).unwrap();
    let imported = keys.import(&path, None).unwrap();
    assert_eq!(imported.name, "my-key");
    assert_eq!(
        keys.import(&path, None).unwrap_err().code().as_str(),
        "usage"
    );
    assert_eq!(
        keys.create("../evil", None).unwrap_err().code().as_str(),
        "usage"
    );
}

#[test]
fn a_file_that_is_no_key_is_left_out() {
    let (dir, keys) = keys();
    fs::write(dir.path().join("trusted/junk.pub.pem"), "junk").unwrap();
    assert_eq!(keys.list().unwrap(), []);
}
