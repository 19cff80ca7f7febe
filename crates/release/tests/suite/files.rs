use crate::given::{canonical, tests_folder};
use airlift_release::files::{CACHES, SkipReason, Skipped, check_canonical, from_folder, from_tar};
use airlift_release::wire::tar::Kind;
use airlift_release::wire::tar::{TarError, blocks_for};
use airlift_release::{Error, Files, FilesInput};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn paths(files: &Files) -> Vec<&str> {
    files.listing().entries.iter().map(|e| &*e.path).collect()
}

fn memory<const N: usize>(entries: [(&str, &[u8]); N]) -> Result<Files, Error> {
    FilesInput::from_iter(entries.map(|(p, b)| (p, b.to_vec()))).read()
}

#[test]
fn a_folder_becomes_the_tar_written_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "main.py", b"import lib\n");
    write(dir.path(), "lib/b.py", b"");
    write(dir.path(), "lib/a.py", b"x = 1\n");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let files = from_folder(dir.path()).unwrap();
    let by_hand = canonical(&[
        ("empty/", b""),
        ("lib/", b""),
        ("lib/a.py", b"x = 1\n"),
        ("lib/b.py", b""),
        ("main.py", b"import lib\n"),
    ]);
    assert_eq!(files.tar()[..], by_hand);
    assert_eq!(files.skipped(), []);
    assert_eq!((files.listing().files(), files.listing().bytes()), (3, 17));
}

#[test]
fn names_are_sorted_by_their_bytes() {
    let files = memory([
        ("a/x", b""),
        ("a.py", b""),
        ("a-b", b""),
        ("B", b""),
        ("ä", b""),
    ]);
    assert_eq!(
        paths(&files.unwrap()),
        ["B", "a-b", "a.py", "a/", "a/x", "ä"]
    );
}

#[test]
fn the_fixture_application_packs_the_same_from_a_folder_and_from_its_tar() {
    for version in fs::read_dir(tests_folder("fixtures/files")).unwrap() {
        let folder = version.unwrap().path();
        if folder.is_dir() {
            let files = from_folder(&folder).unwrap();
            assert!(files.listing().files() > 0, "{}", folder.display());
            assert_eq!(from_tar(files.tar()).unwrap(), files);
            assert_eq!(&check_canonical(files.tar()).unwrap(), files.listing());
        }
    }
}

#[test]
fn caches_and_version_are_left_out_and_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        "main.py",
        "main.pyc",
        "lib/x.py",
        "lib/__pycache__/x.cpython-311.pyc",
        "lib/__pycache__/y.cpython-311.pyc",
        ".git/config",
        ".git/objects/aa",
        ".DS_Store",
        "lib/._x.py",
        "VERSION",
        "lib/VERSION",
    ] {
        write(dir.path(), path, b"x");
    }
    let files = from_folder(dir.path()).unwrap();
    assert_eq!(
        paths(&files),
        ["lib/", "lib/VERSION", "lib/x.py", "main.py"]
    );
    let skipped: Vec<_> = files.skipped().iter().map(|s| &*s.path).collect();
    let expected = [
        ".DS_Store",
        ".git",
        "VERSION",
        "lib/._x.py",
        "lib/__pycache__",
        "main.pyc",
    ];
    assert_eq!(skipped, expected);
    let version = Skipped {
        path: "VERSION".to_owned(),
        reason: SkipReason::Version,
    };
    assert!(files.skipped().contains(&version));
    assert_eq!(version.to_string(), "VERSION (the updater writes it)");
}

#[test]
fn rewritten_files_keep_folders_and_what_was_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "lib/a.py", b"a");
    write(dir.path(), "lib/b.txt", &[b'b'; 600]);
    write(dir.path(), "VERSION", b"1");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let files = from_folder(dir.path()).unwrap();
    let skipped = files.skipped().to_vec();
    let rewritten = files.rewrite(|path, content| match path.strip_suffix(".py") {
        Some(stem) => {
            Ok::<_, Error>((format!("{stem}.mpy"), [&content, &b"!"[..]].concat().into()))
        }
        None => Ok((path.to_owned(), content)),
    });
    let rewritten = rewritten.unwrap();
    let by_hand = canonical(&[
        ("empty/", b""),
        ("lib/", b""),
        ("lib/a.mpy", b"a!"),
        ("lib/b.txt", &[b'b'; 600]),
    ]);
    assert_eq!(rewritten.tar()[..], by_hand);
    assert_eq!(rewritten.skipped(), skipped);
}

#[test]
fn a_path_that_rewriting_makes_twice_is_refused() {
    let files = memory([("a.mpy", b""), ("a.py", b"")]).unwrap();
    let same = files.rewrite(|_, content| Ok::<_, Error>(("a.mpy".to_owned(), content)));
    let error = same.unwrap_err();
    assert!(
        error.to_string().starts_with("a.mpy: it is there twice"),
        "{error}"
    );
}

#[test]
fn every_cache_is_left_out_wherever_it_is() {
    for cache in CACHES {
        let (top, deep) = (format!("{cache}/x"), format!("lib/{cache}"));
        let files = memory([(&*top, b""), (&*deep, b""), ("main.py", b"")]).unwrap();
        assert_eq!(files.listing().files(), 1, "{cache}");
        assert_eq!(files.skipped().len(), 2, "{cache}");
    }
}

#[test]
fn the_page_about_micropython_names_every_cache() {
    let page = fs::read_to_string(tests_folder("../docs/micropython.md")).unwrap();
    for cache in CACHES {
        assert!(page.contains(&format!("`{cache}`")), "{cache}");
    }
}

#[test]
fn a_folder_named_version_is_refused() {
    let error = memory([("VERSION/x", b"")]).unwrap_err();
    assert!(
        error.to_string().contains("written by the updater"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_link_in_a_folder_is_refused_by_its_path_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "do not pack").unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("lib")).unwrap();
    std::os::unix::fs::symlink(&secret, root.join("lib/link")).unwrap();
    let error = from_folder(&root).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_tar");
    assert!(
        error
            .to_string()
            .starts_with("lib/link: it is a symbolic link"),
        "{error}"
    );
    // In a cache it does not matter.
    fs::rename(root.join("lib"), root.join("__pycache__")).unwrap();
    assert_eq!(paths(&from_folder(&root).unwrap()), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_socket_in_a_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
    let error = from_folder(dir.path()).unwrap_err();
    assert!(error.to_string().contains("socket"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"a\xFFb")), "").unwrap();
    assert!(
        from_folder(dir.path())
            .unwrap_err()
            .to_string()
            .contains("not UTF-8")
    );
}

#[test]
fn names_that_a_device_cannot_keep_are_refused() {
    let long = "a".repeat(101);
    for (path, says) in [
        ("a\\b", "not allowed"),
        ("a\nb", "not allowed"),
        ("../x", "climbs"),
        ("a/../b", "climbs"),
        ("/etc/x", "absolute"),
        ("", "absolute"),
        (&*long, "longer than 100"),
    ] {
        let error = memory([(path, b"")]).unwrap_err();
        assert_eq!(error.code().as_str(), "bad_tar", "{path}");
        assert!(error.to_string().contains(says), "{path:?}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
    assert!(memory([(&long[..100], b"")]).is_ok());
    // The folder's own entry has a slash more.
    assert!(memory([(&format!("{}/b", &long[..98]), b"")]).is_ok());
}

#[test]
fn one_path_written_in_two_ways_is_there_twice() {
    let error = memory([("./a", b"1"), ("a", b"2")]).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
    for entries in [
        [("a", &b""[..]), ("a/b", b"")],
        [("x/a/b", b""), ("x/a", b"")],
    ] {
        let error = memory(entries).unwrap_err();
        assert!(error.to_string().contains("a file and a folder"), "{error}");
    }
}

#[test]
fn what_is_over_a_limit_is_too_big_and_what_is_at_it_is_not() {
    let most = (16 << 20) - 512 - 1024;
    assert_eq!(
        memory([("a", &vec![0; most])]).unwrap().tar().len(),
        16 << 20
    );
    assert_eq!(
        memory([("a", &vec![0; most + 1])])
            .unwrap_err()
            .code()
            .as_str(),
        "too_big"
    );
    let many = |n: usize| FilesInput::from_iter((0..n).map(|i| (format!("{i}"), ""))).read();
    assert_eq!(many(4096).unwrap().listing().files(), 4096);
    assert_eq!(many(4097).unwrap_err().code().as_str(), "too_big");
    let dir = tempfile::tempdir().unwrap();
    let big = fs::File::create(dir.path().join("big")).unwrap();
    big.set_len(1 << 40).unwrap();
    assert_eq!(
        from_folder(dir.path()).unwrap_err().code().as_str(),
        "too_big"
    );
}

#[test]
fn blocks_are_those_of_the_wire_crate_summed() {
    let files = memory([("lib/a", &[0; 5000]), ("b", b"")]).unwrap();
    let expected = blocks_for("lib/", Kind::Folder, 0)
        + blocks_for("lib/a", Kind::File, 5000)
        + blocks_for("b", Kind::File, 0);
    assert_eq!(files.listing().blocks, expected);
}

fn refused(bytes: &[u8]) -> TarError {
    match check_canonical(bytes) {
        Err(Error::Tar { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_strict_check_takes_the_canonical_form_only() {
    let good = canonical(&[("a/", b""), ("a/b", b"x"), ("c", &[1; 513])]);
    let listing = check_canonical(&good).unwrap();
    assert_eq!(listing.entries.len(), 3);
    assert!(listing.entries[0].is_folder());
    for (entries, error) in [
        (&[("b", &b""[..]), ("a", b"")][..], TarError::Order),
        (&[("a", b""), ("a", b"")], TarError::Order),
        (&[("a/", b""), ("a/", b"")], TarError::Order),
        (&[("a/b", b"")], TarError::NoFolder),
        (&[("a/", b""), ("a/b/c", b"")], TarError::NoFolder),
        (&[("a", b""), ("a.py", b""), ("a/", b"")], TarError::Order),
    ] {
        assert_eq!(refused(&canonical(entries)), error, "{entries:?}");
    }
}

#[test]
fn the_strict_check_looks_at_padding_and_end() {
    let good = canonical(&[("a", b"x"), ("b", b"")]);
    let mut padding = good.clone();
    padding[600] = 1;
    assert_eq!(refused(&padding), TarError::Padding);
    let mut end = good.clone();
    *end.last_mut().unwrap() = 1;
    assert_eq!(refused(&end), TarError::Padding);
    for len in [0, 512, 1024].map(|cut| good.len() - 1024 + cut) {
        let ok = check_canonical(&good[..len]).is_ok();
        assert_eq!(ok, len == good.len(), "{len}");
    }
    assert_eq!(refused(&[&good[..], &[0; 512]].concat()), TarError::Length);
    assert_eq!(refused(&good[..good.len() - 1]), TarError::Length);
    let mut time = good;
    time[140] = b'7';
    assert_eq!(refused(&time), TarError::NotCanonical);
}

#[test]
fn the_strict_check_bounds_the_number_of_entries() {
    let names: Vec<String> = (0..4097).map(|n| format!("{n:05}")).collect();
    let entries: Vec<_> = names.iter().map(|n| (&**n, &b""[..])).collect();
    assert!(check_canonical(&canonical(&entries[..4096])).is_ok());
    assert_eq!(refused(&canonical(&entries)), TarError::TooMany);
}

proptest! {
    #[test]
    fn what_is_written_passes_the_strict_check_and_packs_to_itself(
        tree in proptest::collection::vec(("[a-c]{1,2}(/[a-c]{1,2}){0,2}", proptest::collection::vec(any::<u8>(), 0..1100)), 0..9)
    ) {
        if let Ok(files) = FilesInput::from_iter(tree).read() {
            prop_assert_eq!(&check_canonical(files.tar()).unwrap(), files.listing());
            prop_assert_eq!(from_tar(files.tar()).unwrap(), files);
        }
    }

    #[test]
    fn a_canonical_tar_with_a_changed_byte_is_refused_or_lists_what_it_holds(at: prop::sample::Index, value: u8) {
        let good = canonical(&[("a/", b""), ("a/b", b"hello"), ("c", b"")]);
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] = value;
        if let Ok(listing) = check_canonical(&bad) {
            // Only content may differ, or a header that is canonical for another name or size.
            let names: Vec<_> = listing.entries.iter().map(|e| (e.path.clone(), e.size)).collect();
            prop_assert!(names.len() == 3);
        }
    }
}
