//! The commands that make files, killed before each of their system calls that change something, and
//! given again: the second one does what the first was asked, and nothing is left of the first.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Desk;

/// The calls that change a file.
const SYSCALLS: [&str; 9] = [
    "write",
    "fsync",
    "?rename",
    "?link",
    "linkat",
    "?unlink",
    "unlinkat",
    "flock",
    "exit_group",
];
/// More calls of one kind than any of these commands makes.
const MOST: usize = 40;

/// Runs a command, killed before its n-th call. False when it ended by itself.
fn killed(desk: &Desk, line: &str, syscall: &str, n: usize) -> bool {
    let command = desk.command(line);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"])
        .args(["-e", &format!("trace={syscall}")])
        .args(["-e", &format!("inject={syscall}:signal=KILL:when={n}")])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(desk.path("."))
        .stdin(Stdio::null());
    let output = strace.output().expect("strace");
    output.status.code().is_none()
}

fn available() -> bool {
    let probe = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=write", "true"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

fn unfinished(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with('.') || name.ends_with(".lock"))
        .collect()
}

/// Kills `line` at each call, on a desk of its own, and lets `after` look at what is there.
fn at_each_call(line: &str, after: impl Fn(&Desk, &str)) {
    if !available() {
        eprintln!("skipped: no strace that may trace here");
        return;
    }
    let mut kills = 0;
    for syscall in SYSCALLS {
        for n in 1..=MOST {
            let desk = Desk::with_key();
            desk.write("files/main.py", "print('hello')\n");
            desk.write("old.airlift", "what was there before");
            desk.write("new.airlift", "what was there before");
            if !killed(&desk, line, syscall, n) {
                break;
            }
            kills += 1;
            after(&desk, &format!("{line}, killed at {syscall} {n}"));
            for dir in [
                desk.path("."),
                desk.path("home/trusted"),
                desk.path("home/keys"),
            ] {
                assert_eq!(unfinished(&dir), [""; 0], "{line}, killed at {syscall} {n}");
            }
        }
    }
    eprintln!("{line}: {kills} kills");
    assert!(kills > 5, "{kills} kills: the calls are others here");
}

#[test]
fn key_new_makes_a_whole_key_or_can_be_given_again() {
    at_each_call("key new made.pem", |desk, what| {
        if !(desk.exists("made.pem") && desk.exists("made.pub.pem")) {
            let run = desk.run("key new made.pem");
            assert_eq!(run.code, 0, "{what}: {run:?}");
        }
        let pack =
            "pack --product p --version 1 --sequence 1 --files files --key made.pem -o m.airlift";
        assert_eq!(desk.run(pack).code, 0, "{what}");
        let verify = desk.run("verify m.airlift --trust made.pub.pem");
        assert_eq!(
            verify.code, 0,
            "{what}: both halves are of one key: {verify:?}"
        );
    });
}

#[test]
fn pack_leaves_the_old_file_or_the_new_one() {
    let line =
        "pack --product p --version 1 --sequence 1 --files files --key key.pem -o new.airlift";
    at_each_call(line, |desk, what| {
        let old = desk.read("new.airlift") == desk.read("old.airlift");
        let whole = desk.run("verify new.airlift --trust key.pub.pem").code == 0;
        assert!(
            old != whole,
            "{what}: neither the old file nor a whole new one"
        );
        desk.run(line).succeeded();
        desk.run("verify new.airlift --trust key.pub.pem")
            .succeeded();
    });
}

#[test]
fn key_trust_trusts_or_can_be_given_again() {
    at_each_call("key trust key.pub.pem", |desk, what| {
        let once = desk.run("key trust key.pub.pem");
        assert_eq!(once.code, 0, "{what}: {once:?}");
        let list = desk.run("key list").succeeded().out;
        assert_eq!(list.lines().count(), 2, "{what}: {list}");
    });
}

/// The power may go at any time too, and takes what is not on the disk: so content goes there before
/// it has its name, and the name before anything is said.
#[test]
fn a_file_is_on_the_disk_before_its_name_and_its_name_before_a_word() {
    if !available() {
        eprintln!("skipped: no strace that may trace here");
        return;
    }
    let pack =
        "pack --product p --version 1 --sequence 1 --files files --key key.pem -o new.airlift";
    for (line, files) in [
        ("key new made.pem", 2),
        ("key trust key.pub.pem", 1),
        (pack, 1),
    ] {
        let desk = Desk::with_key();
        desk.write("files/main.py", "print('hello')\n");
        let command = desk.command(line);
        let log = desk.path("log");
        let traced = Command::new("strace")
            .args(["-f", "-y", "-qq", "-e", "signal=none", "-o"])
            .arg(&log)
            .args([
                "-e",
                "trace=fsync,write,?rename,renameat,renameat2,?link,linkat",
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(desk.path("."))
            .output()
            .expect("strace");
        assert!(traced.status.success(), "{line}");
        let log = String::from_utf8(desk.read("log")).expect("text");
        let calls: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|l| l.1.trim_start())
            .collect();
        let named = |call: &&str| {
            call.contains(".airlift-new-")
                && !call.starts_with("fsync(")
                && !call.starts_with("write(")
        };
        let mut seen = 0;
        for (at, call) in calls.iter().enumerate().filter(|(_, call)| named(call)) {
            seen += 1;
            let start = call.find(".airlift-new-").expect("it is in there");
            let name = call[start..].split('"').next().unwrap_or_default();
            let synced = calls[..at]
                .iter()
                .any(|c| c.starts_with("fsync(") && c.contains(name));
            assert!(synced, "{line}: not on the disk before {call}");
            let next = calls.get(at + 1).copied().unwrap_or_default();
            assert!(next.starts_with("fsync("), "{line}: {call}, then {next}");
        }
        let said = calls.iter().position(|call| call.starts_with("write(1<"));
        let last = calls.iter().rposition(named);
        assert!(said > last, "{line}: said before it was done");
        assert_eq!(seen, files, "{line}: {calls:#?}");
    }
}
