//! Killing a process before one of its system calls, with `strace`'s fault injection.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

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
/// Calls without an end: only some of them are tried.
const MOST_OF_ONE: usize = 120;

/// The n-th call of one system call by a thread.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub syscall: &'static str,
    pub n: usize,
}

/// Whether calls can be traced here.
pub fn available() -> Result<(), String> {
    let probe = Command::new("strace")
        .args([
            "-f",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "trace=write",
        ])
        .args(["-e", "inject=write:signal=KILL:when=1000", "true"])
        .output()
        .map_err(|e| format!("strace: {e}"))?;
    if probe.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&probe.stderr).trim().to_owned())
}

/// Runs to the end and counts the calls: for each system call, how many of them the busiest thread
/// makes. `strace` counts by thread too.
pub fn count(worker: &mut Command) -> (Vec<Ack>, BTreeMap<&'static str, usize>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = format!("trace={}", SYSCALLS.join(","));
    let acks = run(worker, log.path(), &["-e", &trace]);
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
    (acks, most)
}

/// Runs until the kill.
pub fn kill(worker: &mut Command, kill: Kill) -> Vec<Ack> {
    let trace = format!("trace={}", kill.syscall);
    let inject = format!("inject={}:signal=KILL:when={}", kill.syscall, kill.n);
    run(
        worker,
        Path::new("/dev/null"),
        &["-e", &trace, "-e", &inject],
    )
}

fn run(worker: &mut Command, log: &Path, args: &[&str]) -> Vec<Ack> {
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-s",
            "0",
            "-e",
            "signal=none",
            "-o",
        ])
        .arg(log)
        .args(args)
        .arg(worker.get_program())
        .args(worker.get_args())
        .envs(worker.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    said(&strace.output().unwrap().stdout)
}
