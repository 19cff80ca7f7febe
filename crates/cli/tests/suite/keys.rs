//! `airlift key`, and the passphrases of all commands.

use crate::support::{Desk, Run};

#[test]
fn a_new_key_is_two_pem_files_and_the_private_one_is_its_owners() {
    let desk = Desk::new();
    let run = desk.run("key new maker.pem").succeeded();
    let private = String::from_utf8(desk.read("maker.pem")).expect("text");
    let public = String::from_utf8(desk.read("maker.pub.pem")).expect("text");
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert!(run.out.contains("maker.pub.pem"), "{}", run.out);
    assert!(
        !run.out.contains("BEGIN"),
        "the key itself is never printed"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(desk.path("maker.pem"))
            .expect("metadata")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}

#[test]
fn a_key_is_never_overwritten_and_half_a_pair_is_never_left() {
    let desk = Desk::with_key();
    let before = (desk.read("key.pem"), desk.read("key.pub.pem"));
    desk.run("key new key.pem").refused(1, "io");
    assert_eq!((desk.read("key.pem"), desk.read("key.pub.pem")), before);

    desk.write("other.pub.pem", "somebody's");
    desk.run("key new other.pem").refused(1, "io");
    assert!(!desk.exists("other.pem"));
    assert_eq!(desk.read("other.pub.pem"), b"somebody's");
}

#[test]
fn a_key_with_a_passphrase_is_encrypted_and_signs_only_with_it() {
    let desk = Desk::new();
    let new = "key new key.pem --passphrase-env PHRASE";
    desk.run_with(new, &[("PHRASE", "correct horse")])
        .succeeded();
    let text = String::from_utf8(desk.read("key.pem")).expect("text");
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));

    // There is no terminal here: it must not wait for somebody to type.
    desk.pack("r.airlift", 1, "").refused(1, "bad_passphrase");
    let pack = "pack --product p --sequence 1 --app @demo-1.0.0.bin --key key.pem \
                --passphrase-env PHRASE -o r.airlift";
    desk.run_with(pack, &[("PHRASE", "wrong")])
        .refused(1, "bad_passphrase");
    assert!(!desk.exists("r.airlift"));
    desk.run_with(pack, &[("PHRASE", "correct horse")])
        .succeeded();
    desk.run("verify r.airlift --trust key.pub.pem").succeeded();
}

#[test]
fn a_passphrase_variable_that_is_not_set_or_empty_is_exit_2() {
    let desk = Desk::new();
    let new = "key new key.pem --passphrase-env AIRLIFT_TEST_PHRASE";
    let run = desk.run(new).refused(2, "usage");
    assert!(
        run.err.contains("AIRLIFT_TEST_PHRASE is not set"),
        "{}",
        run.err
    );
    desk.run_with(new, &[("AIRLIFT_TEST_PHRASE", "")])
        .refused(2, "usage");
    assert!(
        !desk.exists("key.pem"),
        "no key without the passphrase that was asked for"
    );
}

#[test]
fn a_file_that_is_no_private_key_does_not_sign() {
    let desk = Desk::with_key();
    desk.write("text.pem", "hello");
    for key in ["key.pub.pem", "text.pem"] {
        desk.pack_with_key(key).refused(1, "bad_key");
    }
    desk.pack_with_key("nothing.pem").refused(1, "io");
}

#[test]
fn a_trusted_key_is_listed_once_with_what_it_can_do() {
    let desk = Desk::with_key();
    let empty = desk.run("key list").succeeded();
    assert!(empty.out.starts_with("No key"), "{}", empty.out);
    let trusted = desk.run("key trust key.pub.pem").succeeded().out;
    desk.run("key trust key.pub.pem").succeeded();
    let list = desk.run("key list").succeeded().out;
    let id = trusted
        .split_whitespace()
        .nth(1)
        .expect("the id of the key");
    let [head, row] = <[&str; 2]>::try_from(list.lines().collect::<Vec<_>>()).expect("one key");
    assert!(head.starts_with("ID ") && head.contains("SIGNS"), "{list}");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells, [id, "key", "yes", "no"]);
}

#[test]
fn an_offline_key_is_encrypted_in_its_file_and_only_its_public_part_is_here() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("stick")).expect("a folder");
    let make = "key offline stick/root.pem --passphrase-env PHRASE";
    desk.run("key offline stick/root.pem").refused(2, "usage");
    desk.run_with(make, &[("PHRASE", "short")])
        .refused(2, "usage");
    let inside = "key offline home/keys/root.pem --passphrase-env PHRASE";
    desk.run_with(inside, &[("PHRASE", "correct horse")])
        .refused(2, "usage");
    assert!(!desk.exists("stick/root.pem"));
    let made = desk
        .run_with(make, &[("PHRASE", "correct horse")])
        .succeeded();
    assert!(
        !made.out.contains("BEGIN") && made.out.contains("keeps no copy"),
        "{}",
        made.out
    );
    let text = String::from_utf8(desk.read("stick/root.pem")).expect("text");
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert!(desk.exists("stick/root.pub.pem") && !desk.exists("home/keys/root.pem"));
    // Once more is refused, and nothing is overwritten.
    desk.run_with(make, &[("PHRASE", "correct horse")])
        .refused(1, "io");
    assert_eq!(desk.read("stick/root.pem"), text.as_bytes());

    let [key] = <[_; 1]>::try_from(desk.run("key list --json").succeeded().json()).expect("one");
    let flags = ["trusted", "private", "encrypted", "offline"].map(|field| key[field] == true);
    assert_eq!(
        (flags, key["name"].as_str()),
        ([true, false, false, true], Some("root"))
    );
    let id = key["id"].as_str().expect("an id");
    let by_name = desk.run("key show root").succeeded().out;
    assert!(
        by_name.contains("offline: made here and kept elsewhere"),
        "{by_name}"
    );
    assert!(by_name.contains("root of         no device"), "{by_name}");
    for which in [id, "stick/root.pub.pem"] {
        assert_eq!(
            desk.run(&format!("key show {which}")).succeeded().out,
            by_name
        );
    }
    desk.run("key show nobody").refused(1, "bad_key");
}

#[test]
fn what_is_no_public_key_is_not_trusted() {
    let desk = Desk::with_key();
    desk.run("key trust key.pem").refused(1, "bad_key");
    desk.run("key trust nothing.pub.pem").refused(1, "io");
    assert!(desk.run("key list").succeeded().out.starts_with("No key"));
}

impl Desk {
    fn pack_with_key(&self, key: &str) -> Run {
        self.write("web/main.py", "print(1)\n");
        self.run(&format!(
            "pack --product p --version 1 --sequence 1 --chip esp32c3 --files web --key {key} \
             -o r.airlift"
        ))
    }
}
