//! Killing a process before one of its system calls, with `strace`'s fault injection.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::work::{Ack, said};

/// The system calls that change something another process can see: files, locks, and what a device
/// is sent and answers. Those that one kind of processor lacks are asked for with `?`.
pub const SYSCALLS: &[&str] = &[
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "flock",
    "fchmod",
    "?chmod",
    "?rename",
    "?renameat",
    "renameat2",
    "?link",
    "linkat",
    "?unlink",
    "unlinkat",
    "?mkdir",
    "mkdirat",
    "?rmdir",
    "sendto",
    "recvfrom",
    "exit_group",
];
/// SIGKILL; `strace` ends as its process did.
const KILLED: i32 = 9;
/// Calls without an end: only some of them are tried.
const MOST_OF_ONE: usize = 120;

/// The n-th call of one system call by a thread.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub syscall: &'static str,
    pub n: usize,
}

/// Whether processes can be killed so here: tried on one.
pub fn available() -> Result<(), String> {
    let mut echo = Command::new("echo");
    let (_, status) = strace(echo.arg("x"), Path::new("/dev/null"), &kill_at("write", 1))
        .map_err(|e| format!("strace: {e}"))?;
    match status.signal() {
        Some(KILLED) => Ok(()),
        _ => Err(format!("strace kills nothing: {status}")),
    }
}

/// Runs to the end and counts the calls: for each system call, how many of them the busiest thread
/// makes. `strace` counts by thread too.
pub fn count(worker: &mut Command) -> BTreeMap<&'static str, usize> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = format!("trace={}", SYSCALLS.join(","));
    let (acks, _) = strace(worker, log.path(), &["-e".into(), trace]).unwrap();
    let mut by_thread: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(log.path()).unwrap().lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let called = |name: &&&str| {
            let rest = call.trim_start().strip_prefix(name.trim_start_matches('?'));
            rest.is_some_and(|rest| rest.starts_with('('))
        };
        if let Some(name) = SYSCALLS.iter().find(called) {
            *by_thread
                .entry((thread.to_owned(), name.trim_start_matches('?')))
                .or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in by_thread {
        let name = SYSCALLS
            .iter()
            .map(|n| n.trim_start_matches('?'))
            .find(|n| *n == name)
            .unwrap();
        let max: &mut usize = most.entry(name).or_default();
        *max = count.min(MOST_OF_ONE).max(*max);
    }
    assert!(matches!(acks.last(), Some(Ack::Closed)), "{acks:#?}");
    most
}

/// Runs until the kill; the second value says whether it came to that.
pub fn kill(worker: &mut Command, kill: Kill) -> (Vec<Ack>, bool) {
    let args = kill_at(kill.syscall, kill.n);
    let (acks, status) = strace(worker, Path::new("/dev/null"), &args).unwrap();
    (acks, status.signal() == Some(KILLED))
}

fn kill_at(syscall: &str, n: usize) -> [String; 4] {
    let trace = format!("trace={syscall}");
    let inject = format!("inject={syscall}:signal=KILL:when={n}");
    ["-e".into(), trace, "-e".into(), inject]
}

/// Not with `--seccomp-bpf`, which would be quicker: it loses the signal.
fn strace(worker: &Command, log: &Path, args: &[String]) -> io::Result<(Vec<Ack>, ExitStatus)> {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-s", "0", "-e", "signal=none", "-o"])
        .arg(log)
        .args(args)
        .arg(worker.get_program())
        .args(worker.get_args())
        .envs(worker.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok((said(&output.stdout), output.status))
}
