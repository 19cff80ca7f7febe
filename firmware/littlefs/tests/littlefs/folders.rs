//! Folders: the canonical order, removing trees, renaming.

use airlift_littlefs::{DirEntry, Error, FileSystem, Kind, NAME_MAX};

use crate::ram::{Ram, mounted, pattern, read, write};

/// All keys of a folder, in the order `next_entry` gives them.
fn keys(fs: &mut FileSystem<'_, &mut Ram>, folder: &str) -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    let mut entry = DirEntry::new();
    let mut more = fs.next_entry(folder, None, &mut entry)?;
    while more {
        let last = entry;
        keys.push(String::from_utf8(last.key().to_vec()).unwrap());
        more = fs.next_entry(folder, Some(last.key()), &mut entry)?;
    }
    Ok(keys)
}

#[test]
fn children_come_in_the_order_of_the_canonical_tar() {
    let mut ram = Ram::formatted(64);
    mounted(&mut ram, |fs| {
        fs.mkdir("d")?;
        // `.` and `-` sort before `/`, digits and letters behind it.
        for file in ["d/a.txt", "d/a-b", "d/a0", "d/b", "d/Z", "d/\u{e9}"] {
            write(fs, file, b"")?;
        }
        fs.mkdir("d/a")?;
        fs.mkdir("d/c")?;
        assert_eq!(
            keys(fs, "d")?,
            ["Z", "a-b", "a.txt", "a/", "a0", "b", "c/", "\u{e9}"]
        );
        assert_eq!(keys(fs, "/")?, ["d/"]);
        assert_eq!(keys(fs, "d/c")?, [""; 0]);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_folder_of_many_files_is_walked_in_order() {
    let mut ram = Ram::formatted(64);
    let mut names: Vec<String> = (0..120)
        .map(|i| format!("file-{:03}.py", i * 37 % 120))
        .collect();
    mounted(&mut ram, |fs| {
        fs.mkdir("many")?;
        for name in &names {
            write(fs, &format!("many/{name}"), name.as_bytes())?;
        }
        Ok(())
    })
    .unwrap();
    names.sort();
    assert_eq!(mounted(&mut ram, |fs| keys(fs, "many")).unwrap(), names);
}

#[test]
fn an_entry_tells_kind_and_size() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        fs.mkdir("a")?;
        write(fs, "b", &pattern(5000, 0))?;
        let mut entry = DirEntry::new();
        assert!(fs.next_entry("", None, &mut entry)?);
        assert_eq!(
            (entry.name(), entry.kind(), entry.size()),
            (&b"a"[..], Kind::Folder, 0)
        );
        assert!(fs.next_entry("", Some(b"a/"), &mut entry)?);
        assert_eq!(
            (entry.name(), entry.kind(), entry.size()),
            (&b"b"[..], Kind::File, 5000)
        );
        assert!(!fs.next_entry("", Some(b"b"), &mut entry)?);
        assert_eq!(
            fs.next_entry("b", None, &mut entry),
            Err(Error::NotDirectory)
        );
        assert_eq!(fs.next_entry("none", None, &mut entry), Err(Error::NoEntry));
        Ok(())
    })
    .unwrap();
}

#[test]
fn names_up_to_the_limit_work_and_longer_ones_are_refused() {
    let mut ram = Ram::formatted(16);
    mounted(&mut ram, |fs| {
        let longest = "n".repeat(NAME_MAX);
        write(fs, &longest, b"x")?;
        assert_eq!(keys(fs, "")?, [longest.as_str()]);
        assert_eq!(fs.create(longest + "n"), Err(Error::NameTooLong));
        assert_eq!(fs.mkdir("m".repeat(NAME_MAX + 1)), Err(Error::NameTooLong));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_tree_is_removed_whole_and_nothing_beside_it() {
    let mut ram = Ram::formatted(128);
    let before = mounted(&mut ram, |fs| {
        write(fs, "keep", b"keep")?;
        fs.blocks_used()
    })
    .unwrap();
    mounted(&mut ram, |fs| {
        fs.mkdir("t")?;
        fs.mkdir("t/empty")?;
        let mut path = String::from("t");
        for depth in 0..6 {
            path += &format!("/d{depth}");
            fs.mkdir(&path)?;
            for i in 0..4 {
                write(fs, &format!("{path}/f{i}"), &pattern(300 * i, 0))?;
            }
        }
        write(fs, "t.txt", b"not in t")?;
        fs.remove_tree("t")?;
        assert_eq!(keys(fs, "")?, ["keep", "t.txt"]);
        fs.remove_tree("t.txt")?;
        assert_eq!(fs.remove_tree("t.txt"), Err(Error::NoEntry));
        assert_eq!(fs.remove_tree("/"), Err(Error::Invalid));
        assert_eq!(fs.blocks_used()?, before);
        assert_eq!(read(fs, "keep")?, b"keep");
        Ok(())
    })
    .unwrap();
}

#[test]
fn each_mistake_has_its_error() {
    let mut ram = Ram::formatted(32);
    mounted(&mut ram, |fs| {
        fs.mkdir("d")?;
        write(fs, "d/f", b"f")?;
        let mut buf = [0; 4];
        assert_eq!(fs.mkdir("d"), Err(Error::Exists));
        assert_eq!(fs.mkdir("none/d"), Err(Error::NoEntry));
        assert_eq!(fs.mkdir("d/f/x"), Err(Error::NotDirectory));
        assert_eq!(fs.create("d"), Err(Error::IsDirectory));
        assert_eq!(fs.create("none/f"), Err(Error::NoEntry));
        assert_eq!(fs.create("d/f/"), Err(Error::Invalid));
        assert_eq!(fs.read_at("d", 0, &mut buf), Err(Error::IsDirectory));
        assert_eq!(fs.read_at("d/none", 0, &mut buf), Err(Error::NoEntry));
        assert_eq!(fs.remove("d"), Err(Error::NotEmpty));
        assert_eq!(fs.remove("none"), Err(Error::NoEntry));
        assert_eq!(fs.stat("d/../d"), Err(Error::Invalid));
        assert_eq!(fs.rename("d", "d/f/x"), Err(Error::Invalid));
        assert_eq!(fs.rename("none", "x"), Err(Error::NoEntry));
        Ok(())
    })
    .unwrap();
}

#[test]
fn renaming_replaces_a_file_at_once() {
    let mut ram = Ram::formatted(32);
    mounted(&mut ram, |fs| {
        fs.mkdir("d")?;
        write(fs, "new", b"new")?;
        write(fs, "d/old", b"old")?;
        fs.rename("new", "d/old")?;
        assert_eq!(read(fs, "d/old")?, b"new");
        assert_eq!(fs.stat("new"), Err(Error::NoEntry));
        fs.rename("d", "e")?;
        assert_eq!(keys(fs, "e")?, ["old"]);
        Ok(())
    })
    .unwrap();
}
