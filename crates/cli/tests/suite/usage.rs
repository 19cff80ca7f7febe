//! Wrong and unfinished command lines.

use crate::support::Desk;
use std::process::Stdio;

#[test]
fn no_command_is_exit_2_and_shows_the_commands() {
    let run = Desk::new().run("");
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("simulate"), "{}", run.err);
}

#[test]
fn help_and_version_are_answers_and_exit_0() {
    let desk = Desk::new();
    assert!(
        desk.run("--help")
            .succeeded()
            .out
            .contains("Update devices to a release")
    );
    assert!(desk.run("pack --help").succeeded().out.contains("--base"));
    let version = desk.run("--version").succeeded().out;
    assert_eq!(
        version,
        concat!("airlift ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn every_command_of_the_contract_is_there() {
    let desk = Desk::new();
    for command in [
        "key new",
        "key trust",
        "key list",
        "key show",
        "key offline",
        "pack",
        "resign",
        "rekey",
        "inspect",
        "verify",
        "simulate",
        "devices",
        "update",
        "serve",
        "usb list",
        "usb info",
        "usb diagnose",
        "usb flash",
        "usb repair",
        "usb backups",
        "usb restore",
        "usb monitor",
        "usb wifi",
        "usb reset",
        "usb records",
        "usb rule",
        "history",
        "demo",
    ] {
        desk.run(&format!("{command} --help")).succeeded();
    }
}

#[test]
fn arguments_that_make_no_sense_are_exit_2() {
    let desk = Desk::new();
    for line in [
        "fly",
        "update r.airlift",
        "update r.airlift --all --device a",
        "pack --product p",
        "devices --wait soon",
        "simulate --dir d --count 0 --trust k.pub.pem",
        "simulate --dir d --trust k.pub.pem --app a.bin --installed r.airlift",
        "serve r.airlift --bind everywhere",
        "usb flash",
        "usb flash 0x=app.bin",
        "usb flash r.airlift --wifi home",
        "usb repair --how somehow",
    ] {
        let run = desk.run(line);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{line}: {run:?}");
        assert!(
            run.err.starts_with("error: ") && run.err.contains("--help"),
            "{run:?}"
        );
    }
}

#[test]
fn looking_at_a_release_leaves_no_home_behind() {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "").succeeded();
    desk.run("inspect r.airlift").succeeded();
    assert!(!desk.exists("home"));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "").succeeded();
    let mut command = desk.command("inspect r.airlift");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn commands_that_make_one_home_together_all_get_it() {
    for _ in 0..4 {
        let desk = Desk::new();
        let start = || desk.start("history --json");
        let all: Vec<_> = std::iter::repeat_with(start).take(4).collect();
        for running in all {
            running.end().succeeded();
        }
    }
}
