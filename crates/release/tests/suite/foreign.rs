//! Tars that other programs wrote, and tars that somebody made to do harm.

use crate::given::canonical;
use airlift_release::files::{check_canonical, from_folder, from_tar};
use airlift_release::{Error, Files};
use bytes::Bytes;
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use tar::{EntryType, Header};

/// One entry of a tar, written as it is, whatever it says.
struct Raw<'a> {
    name: &'a [u8],
    kind: u8,
    content: &'a [u8],
    /// The size in the header, when it is not the content's.
    size: Option<u64>,
    link: &'a [u8],
}

const NOTHING: Raw<'static> = Raw {
    name: b"",
    kind: b'0',
    content: b"",
    size: None,
    link: b"",
};

fn file<'a>(name: &'a str, content: &'a [u8]) -> Raw<'a> {
    Raw {
        name: name.as_bytes(),
        content,
        ..NOTHING
    }
}

fn kind(name: &str, kind: u8) -> Raw<'_> {
    Raw {
        name: name.as_bytes(),
        kind,
        ..NOTHING
    }
}

fn tar_of(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..entry.name.len()].copy_from_slice(entry.name);
        bytes[157..157 + entry.link.len()].copy_from_slice(entry.link);
        header.set_entry_type(EntryType::new(entry.kind));
        header.set_size(entry.size.unwrap_or(entry.content.len() as u64));
        header.set_mode(0o4777);
        header.set_uid(1000);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(entry.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn read(entries: &[Raw<'_>]) -> Result<Files, Error> {
    from_tar(&tar_of(entries).into())
}

fn refusal(entries: &[Raw<'_>]) -> String {
    let error = read(entries).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_tar", "{error}");
    error.to_string()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        // The length counts its own digits; records here are longer than 10 and shorter than 1000.
        let rest = key.len() + value.len() + 3;
        let len = if rest + 2 < 100 { rest + 2 } else { rest + 3 };
        out.extend(format!("{len} {key}={value}\n").bytes());
    }
    out
}

#[test]
fn owners_times_and_modes_are_dropped_and_missing_folders_added() {
    let files = read(&[file("b/c.py", b"hi"), file("./a.py", b"")]).unwrap();
    let by_hand = canonical(&[("a.py", b""), ("b/", b""), ("b/c.py", b"hi")]);
    assert_eq!(files.tar()[..], by_hand);
}

#[test]
fn a_folder_may_come_after_its_content_and_the_top_folder_is_no_entry() {
    let files = read(&[kind("./", b'5'), file("lib/x", b""), kind("./lib/", b'5')]).unwrap();
    assert_eq!(files.tar()[..], canonical(&[("lib/", b""), ("lib/x", b"")]));
}

#[test]
fn links_are_refused_wherever_they_point() {
    for (flag, says) in [(b'2', "symbolic link"), (b'1', "hard link")] {
        for target in ["/etc/passwd", "../x", "main.py"] {
            let link = Raw {
                link: target.as_bytes(),
                ..kind("link", flag)
            };
            let text = refusal(&[file("main.py", b""), link]);
            assert!(text.starts_with("link: ") && text.contains(says), "{text}");
        }
    }
}

#[test]
fn devices_pipes_and_unknown_kinds_are_refused() {
    for flag in *b"346" {
        assert!(refusal(&[kind("dev", flag)]).contains("device"));
    }
    for flag in *b"VMDNA" {
        assert!(refusal(&[kind("odd", flag)]).contains("not read"), "{flag}");
    }
    assert!(refusal(&[kind("holes", b'S')]).contains("sparse"));
}

#[test]
fn absolute_and_climbing_names_are_refused() {
    for name in ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "//x"] {
        let text = refusal(&[file(name, b"")]);
        assert!(text.contains("climbs"), "{name}: {text}");
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused_in_whatever_spelling() {
    for other in ["a", "./a", ".//a", "././a"] {
        let text = refusal(&[file("a", b"1"), file(other, b"2")]);
        assert!(text.contains("twice"), "{text}");
    }
    assert!(refusal(&[kind("d/", b'5'), kind("./d", b'5')]).contains("twice"));
}

#[test]
fn a_file_that_is_also_a_folder_is_refused_in_any_order() {
    for pair in [
        [file("a", b""), file("a/b", b"")],
        [file("a/b", b""), file("a", b"")],
        [kind("a/", b'5'), file("a", b"")],
        [file("a", b""), kind("a/", b'5')],
    ] {
        assert!(refusal(&pair).contains("file and a folder"));
    }
}

#[test]
fn a_size_that_points_past_the_end_is_refused() {
    for size in [2000, 1 << 32, (1 << 33) - 1, u64::MAX - 1, u64::MAX] {
        let text = refusal(&[Raw {
            size: Some(size),
            ..file("a", b"x")
        }]);
        assert!(
            text.contains("ends inside") || text.contains("damaged"),
            "{text}"
        );
    }
}

#[test]
fn a_folder_with_content_is_refused() {
    let text = refusal(&[Raw {
        size: Some(512),
        ..kind("d/", b'5')
    }]);
    assert!(text.contains("damaged"), "{text}");
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = tar_of(&[file("a", b""), file("b", b"")]);
    bytes[512] = b'c';
    let error = from_tar(&bytes.into()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_second_tar_behind_the_first_is_refused() {
    let one = tar_of(&[file("a", b"")]);
    let both = [one.clone(), tar_of(&[file("b", b"")])].concat();
    let error = from_tar(&both.into()).unwrap_err();
    assert!(error.to_string().contains("second tar"), "{error}");
    // GNU tar pads with zeros to 10 KiB.
    let mut padded = one.clone();
    padded.resize(10240, 0);
    assert!(from_tar(&padded.into()).is_ok());
    // Without an end mark it may be cut off.
    let cut = Bytes::from(one).slice(..512);
    assert!(
        from_tar(&cut)
            .unwrap_err()
            .to_string()
            .contains("ends inside")
    );
}

#[test]
fn pax_records_of_times_and_owners_are_dropped_and_a_path_is_taken() {
    let times = pax(&[
        ("mtime", "1700000000.123"),
        ("SCHILY.xattr.user.x", "anything"),
    ]);
    let path = pax(&[("path", "lib/real name.py"), ("size", "2")]);
    let files = read(&[
        Raw {
            content: &pax(&[("comment", "0123abc")]),
            ..kind("pax_global_header", b'g')
        },
        Raw {
            content: &times,
            ..kind("x", b'x')
        },
        file("a.py", b""),
        Raw {
            content: &path,
            ..kind("x", b'x')
        },
        file("short", b"hi"),
    ])
    .unwrap();
    let by_hand = canonical(&[("a.py", b""), ("lib/", b""), ("lib/real name.py", b"hi")]);
    assert_eq!(files.tar()[..], by_hand);
}

#[test]
fn pax_records_that_change_size_or_hide_holes_are_refused() {
    for (records, says) in [
        (&[("size", "1000")][..], "changes its size"),
        (&[("size", "x")], "damaged"),
        (
            &[("GNU.sparse.major", "1"), ("GNU.sparse.name", "b")],
            "sparse",
        ),
        (&[("path", "../../x")], "climbs"),
        (&[("path", "/x")], "absolute"),
    ] {
        let header = pax(records);
        let text = refusal(&[
            Raw {
                content: &header,
                ..kind("x", b'x')
            },
            file("a", b"hi"),
        ]);
        assert!(text.contains(says), "{text}");
    }
    // For all that follows: no.
    let global = pax(&[("path", "everything")]);
    let text = refusal(&[
        Raw {
            content: &global,
            ..kind("g", b'g')
        },
        file("a", b""),
    ]);
    assert!(text.contains("damaged"), "{text}");
    for broken in [
        &b"5 a=b\n"[..],
        b"99 path=x\n",
        b"path=x\n",
        b"0 \n",
        b" a=b\n",
        b"6 ab=\n\n",
    ] {
        let text = refusal(&[
            Raw {
                content: broken,
                ..kind("x", b'x')
            },
            file("a", b""),
        ]);
        assert!(text.contains("damaged"), "{broken:?}: {text}");
    }
}

#[test]
fn an_extended_header_without_an_entry_or_too_long_is_refused() {
    let path = pax(&[("path", "a")]);
    assert!(
        refusal(&[Raw {
            content: &path,
            ..kind("x", b'x')
        }])
        .contains("damaged")
    );
    let long = vec![b' '; 70_000];
    assert!(
        refusal(&[Raw {
            content: &long,
            ..kind("x", b'x')
        }])
        .contains("damaged")
    );
    let two = Raw {
        content: b"other\0",
        ..kind("././@LongLink", b'L')
    };
    let text = refusal(&[
        Raw {
            content: &path,
            ..kind("x", b'x')
        },
        two,
        file("b", b""),
    ]);
    assert!(text.contains("damaged"), "{text}");
}

#[test]
fn a_gnu_long_name_is_taken_when_it_is_not_too_long() {
    let exact = format!("./{}\0", "n".repeat(100));
    let entry = |name| Raw {
        content: name,
        ..kind("././@LongLink", b'L')
    };
    let files = read(&[entry(exact.as_bytes()), file("nnn", b"")]).unwrap();
    assert_eq!(files.listing().entries[0].path.len(), 100);
    let long = format!("{}\0", "n".repeat(101));
    assert!(refusal(&[entry(long.as_bytes()), file("nnn", b"")]).contains("longer than 100"));
}

#[test]
fn a_ustar_prefix_is_part_of_the_path() {
    let mut header = Header::new_ustar();
    header
        .set_path(format!("{}/{}", "p".repeat(60), "n".repeat(90)))
        .unwrap();
    header.set_size(0);
    header.set_cksum();
    let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
    let error = from_tar(&bytes.into()).unwrap_err();
    assert!(error.to_string().contains("longer than 100"), "{error}");
}

#[test]
fn what_is_compressed_or_no_tar_is_named() {
    for (bytes, says) in [
        (&b"\x1F\x8B\x08\x00"[..], "a gzip file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"", "an empty file"),
        (&[1; 2000], "a file of an unknown kind"),
    ] {
        let error = from_tar(&Bytes::copy_from_slice(bytes)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("this is {says}, not a folder or a tar of files")
        );
    }
}

#[test]
fn caches_in_a_tar_are_left_out_even_when_they_are_links_or_large() {
    let large = vec![0; 17 << 20];
    let files = read(&[
        file("__pycache__/big.pyc", &large),
        kind(".git/link", b'2'),
        file("VERSION", b"1.0"),
        file("main.py", b""),
    ])
    .unwrap();
    assert_eq!(files.listing().entries.len(), 1);
    let skipped: Vec<_> = files.skipped().iter().map(|s| &*s.path).collect();
    assert_eq!(skipped, [".git", "VERSION", "__pycache__"]);
    let over = read(&[file("big", &large)]).unwrap_err();
    assert_eq!(over.code().as_str(), "too_big");
}

/// Runs the system's tar in `folder`; `None` when there is none or it does not know the format.
fn system_tar(folder: &Path, format: &str) -> Option<Bytes> {
    let out = folder.parent()?.join("out.tar");
    let mut tar = Command::new("tar");
    tar.arg(format!("--format={format}")).arg("-cf").arg(&out);
    let run = tar.arg("-C").arg(folder).arg(".").output().ok()?;
    run.status
        .success()
        .then(|| std::fs::read(out).unwrap().into())
}

#[test]
fn every_format_of_the_systems_tar_gives_what_the_folder_gives() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("app");
    std::fs::create_dir_all(folder.join("lib/deep/empty")).unwrap();
    std::fs::write(folder.join("main.py"), "print('hello')\n").unwrap();
    std::fs::write(folder.join("lib/grüße.py"), [7; 3000]).unwrap();
    let name = "n".repeat(90);
    std::fs::write(folder.join("lib").join(name), "").unwrap();
    let expected = from_folder(&folder).unwrap();
    for format in ["v7", "ustar", "gnu", "pax"] {
        match system_tar(&folder, format) {
            Some(tar) => assert_eq!(from_tar(&tar).unwrap(), expected, "{format}"),
            None => eprintln!("skipped {format}: no tar here that writes it"),
        }
    }
}

#[test]
fn the_systems_tar_lists_a_canonical_tar() {
    let files = read(&[file("lib/a.py", b"x"), file("main.py", b"y")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("files.tar");
    std::fs::write(&path, files.tar()).unwrap();
    match Command::new("tar").arg("-tf").arg(&path).output() {
        Ok(run) => {
            assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
            assert_eq!(run.stdout, b"lib/\nlib/a.py\nmain.py\n");
        }
        Err(error) => eprintln!("skipped: no tar here: {error}"),
    }
}

proptest! {
    #[test]
    fn any_change_of_a_tar_is_refused_or_gives_a_canonical_one(at: prop::sample::Index, with in proptest::collection::vec(any::<u8>(), 1..20), fix: bool) {
        let mut bytes = tar_of(&[kind("d/", b'5'), file("d/a", b"hello"), file("b", b"")]);
        let at = at.index(bytes.len() - with.len());
        bytes[at..at + with.len()].copy_from_slice(&with);
        if fix {
            // With a right checksum the change reaches what is behind it.
            let start = at / 512 * 512;
            let mut header = Header::from_byte_slice(&bytes[start..start + 512]).clone();
            header.set_cksum();
            bytes[start..start + 512].copy_from_slice(header.as_bytes());
        }
        if let Ok(files) = from_tar(&bytes.into()) {
            prop_assert_eq!(&check_canonical(files.tar()).unwrap(), files.listing());
        }
    }
}
