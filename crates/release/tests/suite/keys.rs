use crate::given::key;
use airlift_release::keys::{
    check_public, needs_passphrase, public_from_pem, public_to_pem, read_key_file, write_private,
    write_public,
};
use airlift_release::wire::PublicKey;
use airlift_release::{Error, SigningKey};
use pkcs8::LineEnding;
use pkcs8::der::SecretDocument;

/// The examples of RFC 8410 section 10.
const RFC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code().as_str()
}

#[test]
fn the_keys_of_rfc_8410_read_and_write_to_the_same_bytes() {
    let key = SigningKey::from_pem(RFC_PRIVATE, None).unwrap();
    assert_eq!(key.to_pem(None).unwrap().as_str(), RFC_PRIVATE);
    assert_eq!(public_from_pem(RFC_PUBLIC).unwrap(), key.public());
    assert_eq!(public_to_pem(&key.public()).unwrap(), RFC_PUBLIC);
}

#[test]
fn a_new_key_is_another_each_time_and_reads_back() {
    let (a, b) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    assert_ne!(a.public(), b.public());
    let pem = a.to_pem(None).unwrap();
    assert!(!needs_passphrase(&pem));
    assert_eq!(
        SigningKey::from_pem(&pem, None).unwrap().public(),
        a.public()
    );
    // One that is not needed does no harm: the variable may be set for another key.
    assert!(SigningKey::from_pem(&pem, Some("x")).is_ok());
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_only() {
    let pem = key().to_pem(Some("correct horse")).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert!(needs_passphrase(&pem));
    let opened = SigningKey::from_pem(&pem, Some("correct horse")).unwrap();
    assert_eq!(opened.public(), key().public());
    assert_eq!(
        code(SigningKey::from_pem(&pem, Some("battery staple"))),
        "bad_passphrase"
    );
    assert_eq!(code(SigningKey::from_pem(&pem, None)), "bad_passphrase");
    assert_eq!(code(key().to_pem(Some(""))), "usage");
}

#[test]
fn a_key_file_cannot_ask_for_a_gigabyte() {
    let pem = key().to_pem(Some("x")).unwrap();
    let (_, document) = SecretDocument::from_pem(&pem).unwrap();
    let mut der = document.as_bytes().to_vec();
    // scrypt: INTEGER 16384, INTEGER 8, INTEGER 1. A block size of 127 wants 260 MB.
    let at = der
        .windows(7)
        .position(|w| w == [2, 2, 0x40, 0, 2, 1, 8])
        .unwrap();
    der[at + 6] = 127;
    let document = SecretDocument::try_from(der).unwrap();
    let pem = document
        .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
        .unwrap();
    assert_eq!(code(SigningKey::from_pem(&pem, Some("x"))), "bad_key");
}

#[test]
fn what_editors_and_mail_do_to_a_pem_file_is_undone() {
    let windows = RFC_PRIVATE.replace('\n', "\r\n");
    let mailed = format!(
        "\u{FEFF}My key, keep it!\n\n  {}",
        RFC_PRIVATE.replace('\n', " \n  ")
    );
    let unended = RFC_PRIVATE.trim_end();
    for text in [windows.as_str(), &mailed, unended] {
        assert!(SigningKey::from_pem(text, None).is_ok(), "{text:?}");
    }
}

#[test]
fn what_is_no_private_key_is_refused_by_what_it_is() {
    let ec = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n";
    // X25519, RFC 8410 section 10.
    let x25519 = RFC_PRIVATE.replace("BQYDK2Vw", "BQYDK2Vu");
    let cut = &RFC_PRIVATE[..60];
    for (text, says) in [
        ("", "PEM"),
        ("hello", "PEM"),
        (RFC_PUBLIC, "public key"),
        (ec, "another kind"),
        (x25519.as_str(), "not an Ed25519 key"),
        (cut, "PEM"),
    ] {
        let error = SigningKey::from_pem(text, None).unwrap_err();
        assert_eq!(error.code().as_str(), "bad_key");
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = public_from_pem(RFC_PRIVATE).unwrap_err();
    assert!(error.to_string().contains("private key"), "{error}");
}

#[test]
fn keys_under_which_anything_verifies_are_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    // The neutral element, a point of order 4 (y = 0), and 32 bytes that are no point.
    for bytes in [one, [0; 32], [2; 32]] {
        assert_eq!(
            code(check_public(&PublicKey(bytes))),
            "bad_key",
            "{bytes:?}"
        );
    }
    check_public(&key().public()).unwrap();
    let weak = public_to_pem(&PublicKey(one)).unwrap();
    assert_eq!(code(public_from_pem(&weak)), "bad_key");
}

#[test]
fn debug_text_shows_the_name_and_no_secret() {
    let key = SigningKey::from_seed(&[0xAB; 32]);
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.id()));
}

#[test]
fn a_key_file_is_its_owners_alone_and_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.pem");
    write_private(&path, RFC_PRIVATE).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(matches!(
        write_private(&path, "other"),
        Err(Error::Exists(_))
    ));
    assert!(matches!(
        write_public(&path, &key().public()),
        Err(Error::Exists(_))
    ));
    assert_eq!(read_key_file(&path).unwrap().as_str(), RFC_PRIVATE);
    let names = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(names.count(), 1, "no second copy of a private key is left");
}

#[test]
fn a_key_file_of_a_megabyte_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.pem");
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(code(read_key_file(&path)), "too_big");
    assert_eq!(code(read_key_file(&dir.path().join("absent"))), "io");
}
