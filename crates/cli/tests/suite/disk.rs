//! Disks that are full, read-only or not ours, and files in `AIRLIFT_HOME` that are damaged: each ends
//! in one sentence with a code and what to do, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Desk, Run};

/// A desk with a key that is trusted, a release, and a history of one update that could not begin:
/// enough to have something of everything in the home.
fn desk() -> Desk {
    let desk = Desk::with_key();
    desk.run("key trust key.pub.pem").succeeded();
    desk.pack("r.airlift", 1, "").succeeded();
    // Adds the release to the library, and finds no device.
    desk.run("key new other.pem").succeeded();
    let nobody = "update r.airlift --device c3-000000000000 --no-mdns --wait 0";
    desk.run(nobody).refused(4, "no_such_device");
    desk
}

/// What is in the library.
fn releases(desk: &Desk) -> Vec<PathBuf> {
    listed(&desk.path("home/releases"))
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// Puts a job that ended into the history, as an update does.
fn with_history(desk: &Desk, jobs: u32) {
    let db = rusqlite::Connection::open(desk.path("home/airlift.db")).expect("a database");
    let release = serde_json::json!({
        "id": "0".repeat(64), "product": "p", "version": "1", "sequence": 1, "chip": "any",
        "created": 0.0, "added": 0.0, "app": {"kind": "any"}, "files": {"kind": "any"}, "size": 0,
        "keyId": "00", "keys": null, "runningOn": [],
    });
    db.execute_batch("BEGIN").expect("begun");
    for job in 1..=jobs {
        // Long enough that the rows fill many pages.
        let summary = format!("Job {job}. {}", "x".repeat(400));
        db.execute(
            "INSERT INTO jobs (device, device_name, release_id, release, retry, started, owner,
                 ended, end, summary)
             VALUES (?1, 'porch', '00', ?2, 0, 5.0, '1-0', 6.0, 'done', ?3)",
            (format!("c3-{job}"), release.to_string(), summary),
        )
        .expect("a row");
    }
    db.execute_batch("COMMIT").expect("committed");
}

fn history(desk: &Desk) -> Vec<Value> {
    desk.run("history --json").succeeded().json()
}

/// The command did what it was asked, and warned with this code.
#[track_caller]
fn warned(run: Run, code: &str) -> Run {
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.err.lines().collect();
    assert!(
        lines.iter().all(|line| line.starts_with("warning: ")),
        "{run:?}"
    );
    let (what, help) = (lines[0], lines[1]);
    assert!(
        what.ends_with(&format!(". [{code}]")) && help.ends_with('.'),
        "{run:?}"
    );
    run
}

fn damaged_databases(desk: &Desk) -> Vec<PathBuf> {
    let name = |path: &PathBuf| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let here = listed(&desk.path("home")).into_iter();
    here.filter(|path| name(path).starts_with("airlift.db.damaged-"))
        .collect()
}

#[test]
fn a_damaged_database_is_kept_aside_and_what_can_be_read_goes_on() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, bool); 6] = [
        (
            "garbage over the header",
            |db| patch(db, 0, &[0x5a; 100]),
            true,
        ),
        (
            "garbage all over",
            |db| fs::write(db, vec![0x5a; 20_000]).expect("written"),
            false,
        ),
        (
            "zero length",
            |db| fs::write(db, "").expect("written"),
            false,
        ),
        (
            "a folder in its place",
            |db| {
                fs::remove_file(db).expect("removed");
                fs::create_dir(db).expect("made");
            },
            false,
        ),
        (
            "a page in the middle",
            |db| patch(db, page_of(db, b"Job 40. "), &[0xff; 4096]),
            true,
        ),
        (
            "cut off at two thirds",
            |db| {
                let file = fs::File::options().write(true).open(db).expect("opened");
                let len = file.metadata().expect("its length").len() * 2 / 3;
                file.set_len(len).expect("cut");
            },
            true,
        ),
    ];
    for (what, damage, partly) in cases {
        let desk = desk();
        with_history(&desk, 80);
        assert_eq!(history(&desk).len(), 80);
        let db = desk.path("home/airlift.db");
        damage(&db);
        let found = fs::read(&db).ok();

        let run = warned(desk.run("history --json"), "database");
        let saved = run.json().len();
        assert!(
            if partly {
                (30..=80).contains(&saved)
            } else {
                saved == 0
            },
            "{what}: {saved}"
        );
        let aside = damaged_databases(&desk);
        assert_eq!(aside.len(), 1, "{what}: {aside:?}");
        assert_eq!(
            fs::read(&aside[0]).ok(),
            found,
            "{what}: it is kept as it was found"
        );
        assert!(
            run.err.contains(&aside[0].display().to_string()),
            "{what}: {}",
            run.err
        );

        // Once, and everything else is there.
        let again = desk.run("history --json").succeeded();
        assert_eq!(
            (again.err.as_str(), again.json().len()),
            ("", saved),
            "{what}"
        );
        assert_eq!(releases(&desk).len(), 1, "{what}");
        assert!(
            desk.run("key list").succeeded().out.contains("key"),
            "{what}"
        );
    }
}

/// Where the page begins that holds `text`.
fn page_of(db: &Path, text: &[u8]) -> u64 {
    let bytes = fs::read(db).expect("a database");
    let at = bytes
        .windows(text.len())
        .position(|window| window == text)
        .expect("it is there");
    (at / 4096 * 4096) as u64
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let mut file = fs::File::options().write(true).open(path).expect("opened");
    file.seek(SeekFrom::Start(at)).expect("sought");
    file.write_all(bytes).expect("written");
}

#[test]
fn a_database_without_its_log_and_index_is_whole() {
    let desk = desk();
    with_history(&desk, 3);
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(desk.path(&format!("home/airlift.db{ending}")));
    }
    assert_eq!(history(&desk).len(), 3);
}

#[test]
fn a_log_of_garbage_costs_nothing_that_is_in_the_database() {
    let desk = desk();
    with_history(&desk, 3);
    desk.write("home/airlift.db-wal", vec![0x5a; 10_000]);
    assert_eq!(history(&desk).len(), 3);
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let desk = desk();
    let db = desk.path("home/airlift.db");
    rusqlite::Connection::open(&db)
        .and_then(|db| db.pragma_update(None, "user_version", 99))
        .expect("a version");
    let before = fs::read(&db).expect("a database");
    let run = desk.run("history").refused(1, "database");
    assert!(run.err.contains("Start the newer Airlift"), "{}", run.err);
    assert_eq!(fs::read(&db).expect("a database"), before);
}

#[test]
fn settings_that_cannot_be_read_are_the_usual_ones() {
    let desk = desk();
    rusqlite::Connection::open(desk.path("home/airlift.db"))
        .and_then(|db| db.execute("INSERT INTO settings VALUES (1, '{\"port\":')", []))
        .expect("a row");
    warned(desk.run("history"), "database");
}

#[test]
fn a_damaged_release_of_the_library_is_named_and_adding_it_again_mends_it() {
    let desk = desk();
    let path = releases(&desk).remove(0);
    let whole = fs::read(&path).expect("a release");
    let mut flipped = whole.clone();
    flipped[5000] ^= 1;
    for damaged in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        fs::write(&path, &damaged).expect("written");
        let run = warned(desk.run("history"), "bad_release");
        assert!(run.err.contains(&path.display().to_string()), "{}", run.err);
        let update = "update r.airlift --device c3-000000000000 --no-mdns --wait 0";
        assert_eq!(desk.run(update).code, 4);
        assert_eq!(fs::read(&path).expect("a release"), whole);
        assert_eq!(desk.run("history").succeeded().err, "");
    }
    // One that was removed is simply not there.
    fs::remove_file(&path).expect("removed");
    assert_eq!(desk.run("history").succeeded().err, "");
}

#[test]
fn damaged_key_files_are_named_and_the_others_work() {
    let desk = desk();
    desk.write(
        "home/trusted/bad.pub.pem",
        "-----BEGIN PUBLIC KEY-----\n!!!\n",
    );
    desk.write("home/keys/bad.pem", "");
    let run = warned(desk.run("history"), "bad_key");
    assert!(
        run.err.contains("trusted/bad.pub.pem") && run.err.contains("keys/bad.pem"),
        "{}",
        run.err
    );
    desk.run("verify r.airlift --trust key.pub.pem").succeeded();
    desk.run("key list").succeeded();
}

/// Runs a shell in a mount namespace of its own, with a disk of `size` mounted on `home`; nobody else
/// sees it. The reason when that is not allowed here.
struct Disk<'a> {
    desk: &'a Desk,
    size: &'static str,
}

impl Disk<'_> {
    fn available() -> Result<(), String> {
        let probe = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=64k none /mnt")
            .output()
            .map_err(|e| format!("unshare: {e}"))?;
        let words = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
        if probe.status.success() {
            Ok(())
        } else {
            Err(words)
        }
    }

    /// `$airlift` is the program. What the script leaves in the home is gone afterwards.
    fn run(&self, script: &str) -> Run {
        let setup = format!(
            "set -e; cp -a home saved; mount -t tmpfs -o size={} none home; cp -a saved/. home/; set +e\n",
            self.size
        );
        let mut command = self.desk.command("");
        let airlift = command.get_program().to_owned();
        command = Command::new("unshare");
        let output = command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(setup + script)
            .current_dir(self.desk.path("."))
            .env("AIRLIFT_HOME", self.desk.path("home"))
            .env("airlift", airlift)
            .stdin(Stdio::null())
            .output()
            .expect("unshare");
        let _ = fs::remove_dir_all(self.desk.path("saved"));
        Run {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

macro_rules! or_skip {
    ($available:expr) => {
        if let Err(reason) = $available {
            eprintln!("skipped: no disk of our own here: {reason}");
            return;
        }
    };
}

#[test]
fn a_full_disk_is_said_so_and_keeps_what_it_has() {
    or_skip!(Disk::available());
    let desk = desk();
    with_history(&desk, 5);
    desk.run("pack --product p --version 2 --sequence 2 --files home/releases --key key.pem -o big.airlift")
        .succeeded();
    let disk = Disk {
        desk: &desk,
        size: "1m",
    };
    // Filled to the last byte: reading works, adding does not, and afterwards it does.
    let run = disk.run(
        "dd if=/dev/zero of=home/filler bs=4096 2>/dev/null\n\
         update='update big.airlift --device c3-000000000000 --no-mdns --wait 0'\n\
         \"$airlift\" verify big.airlift --trust key.pub.pem >/dev/null && echo verified\n\
         \"$airlift\" $update; echo added $?\n\
         \"$airlift\" key trust other.pub.pem; echo trusted $?\n\
         ls -A home/releases home/trusted\n\
         rm home/filler\n\
         \"$airlift\" $update; echo added $?\n\
         \"$airlift\" history --json | wc -l\n\
         ls home/releases | wc -l",
    );
    let out: Vec<&str> = run.out.lines().map(str::trim).collect();
    assert_eq!(out[0..2], ["verified", "added 1"], "{run:?}");
    assert!(
        !run.out.contains(".airlift-new"),
        "nothing half-written: {run:?}"
    );
    assert_eq!(out[out.len() - 3..], ["added 4", "5", "2"], "{run:?}");
    let full: Vec<&str> = run
        .err
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let codes = ["[io]", "[database]"];
    assert!(codes.iter().any(|code| full[0].ends_with(code)), "{run:?}");
    assert!(run.err.contains("Free some space on that disk"), "{run:?}");
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_release_is_said_so_and_nothing_of_it_stays() {
    or_skip!(Disk::available());
    let desk = desk();
    desk.write("files/data.bin", vec![7; 3 << 20]);
    desk.run(
        "pack --product p --version 2 --sequence 2 --files files --key key.pem -o big.airlift",
    )
    .succeeded();
    let disk = Disk {
        desk: &desk,
        size: "2m",
    };
    let run = disk.run(
        "\"$airlift\" update big.airlift --device c3-000000000000 --no-mdns --wait 0; echo added $?\n\
         ls -A home/releases home/run\n\
         \"$airlift\" history --json && echo opened",
    );
    assert!(
        run.out.starts_with("added 1\n") && run.out.ends_with("opened\n"),
        "{run:?}"
    );
    assert!(
        !run.out.contains(".airlift-new") && !run.out.contains(".lock"),
        "{run:?}"
    );
    let mut lines = run.err.lines();
    let error = lines.next().expect("an error");
    assert!(
        error.contains("No space left on device") && error.ends_with("[io]"),
        "{run:?}"
    );
    assert!(
        lines.next().expect("help").contains("Free some space"),
        "{run:?}"
    );
}

#[test]
fn a_read_only_home_is_said_so_and_looking_at_releases_works() {
    or_skip!(Disk::available());
    let desk = desk();
    with_history(&desk, 2);
    let disk = Disk {
        desk: &desk,
        size: "8m",
    };
    let run = disk.run(
        "mount -o remount,ro home\n\
         \"$airlift\" verify r.airlift --trust key.pub.pem >/dev/null && echo verified\n\
         \"$airlift\" inspect r.airlift >/dev/null && echo inspected\n\
         \"$airlift\" key list >/dev/null && echo listed\n\
         \"$airlift\" history; echo history $?\n\
         \"$airlift\" key trust other.pub.pem; echo trusted $?\n\
         mount -o remount,rw home\n\
         \"$airlift\" history --json | wc -l",
    );
    let out: Vec<&str> = run.out.lines().map(str::trim).collect();
    let wanted = [
        "verified",
        "inspected",
        "listed",
        "history 1",
        "trusted 1",
        "2",
    ];
    assert_eq!(out, wanted, "{run:?}");
    let lines: Vec<&str> = run.err.lines().collect();
    assert!(
        lines[0].contains("Read-only file system") && lines[0].ends_with("[io]"),
        "{run:?}"
    );
    assert!(lines[1].contains("Make that disk writable"), "{run:?}");
}

#[cfg(unix)]
#[test]
fn a_home_of_somebody_else_is_said_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = desk();
    let home = desk.path("home/run");
    let mode = |mode| fs::set_permissions(&home, fs::Permissions::from_mode(mode)).expect("a mode");
    mode(0o500);
    // Root may write everywhere.
    if fs::write(home.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        mode(0o700);
        return;
    }
    let run = desk.run("history").refused(1, "io");
    mode(0o700);
    assert!(run.err.contains("Give yourself the right"), "{}", run.err);
    desk.run("history").succeeded();
}

#[test]
fn a_key_whose_making_was_cut_off_is_finished_and_a_whole_one_is_never_touched() {
    let desk = Desk::with_key();
    let (private, public) = (desk.read("key.pem"), desk.read("key.pub.pem"));
    desk.run("key new key.pem").refused(1, "io");
    fs::remove_file(desk.path("key.pub.pem")).expect("removed");
    desk.run("key new key.pem").succeeded();
    assert_eq!(
        (desk.read("key.pem"), desk.read("key.pub.pem")),
        (private, public)
    );
}
