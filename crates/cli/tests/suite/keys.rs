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
    assert!(head.starts_with("ID ") && head.ends_with("SIGNS"), "{list}");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells, [id, "key", "yes", "no"]);
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
