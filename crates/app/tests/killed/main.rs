//! The app, killed at every step it takes on disk, and opened again.
//!
//! A process does what people do: it makes, imports and trusts keys, adds, packs, exports and deletes
//! releases, changes settings, updates a device. After each step it says so on standard output. It is
//! killed with SIGKILL
//!
//! - before each of its system calls that change a file or move a job on: the n-th `write`, the n-th
//!   `rename`, … of the work, for every n (with `strace`; skipped where that is not there), and
//! - at random times.
//!
//! What it said must then be there, and nothing that is half there must show. See [`check`].
//!
//! `AIRLIFT_KILLS=all` tries every kill point (`make test-kill`), a number that many of them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod check;
mod desk;
mod tracer;
mod work;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use desk::Lane;
use tracer::{Kill, SYSCALLS};
use work::{Ack, said};

/// How many kill points are tried, or `all`.
const KILLS: &str = "AIRLIFT_KILLS";
/// Tried without that variable, at system calls and at random times each.
const SAMPLE: usize = 12;
/// Tried at random times when all are.
const RANDOM: usize = 100;
/// How many processes are killed side by side; each waits for its device most of the time.
const LANES: usize = 3;
/// The seed of the random times and of which kill points a sample has.
const SEED: u64 = 0x5eed_0000_a1f7;

/// One way to end the work.
#[derive(Clone, Copy, Debug)]
enum Cut {
    At(Kill),
    After(Duration),
}

#[test]
fn a_kill_at_any_step_loses_nothing_that_was_said_to_be_done() {
    let asked = std::env::var(KILLS).unwrap_or_default();
    let mut lanes: Vec<Lane> = (0..LANES).map(Lane::new).collect();

    // Without a kill: how long it takes, and the checks hold.
    let desk = lanes[0].desk();
    let started = Instant::now();
    let output = desk.worker().stderr(Stdio::inherit()).output().unwrap();
    let (acks, took) = (said(&output.stdout), started.elapsed());
    assert!(matches!(acks.last(), Some(Ack::Closed)), "{acks:#?}");
    check::reopened(&desk, &acks).unwrap();
    // And which system calls it makes.
    let points = match tracer::available() {
        Ok(()) => tracer::count(&mut lanes[0].desk().worker()),
        Err(reason) => {
            eprintln!("skipped: kills at system calls: {reason}");
            BTreeMap::new()
        }
    };

    let cuts = cuts(&asked, &points, took);
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .iter_mut()
            .map(|lane| scope.spawn(|| work_off(lane, &cuts, &next, &killed)))
            .collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect()
    });
    let at = cuts.iter().filter(|cut| matches!(cut, Cut::At(_))).count();
    let all: usize = points.values().sum();
    let killed = killed.into_inner();
    eprintln!(
        "{} cuts ({at} of {all} system calls, {} at random times), {killed} killed the process, \
         {} failures, {:.0} s",
        cuts.len(),
        cuts.len() - at,
        failures.len(),
        started.elapsed().as_secs_f64(),
    );
    // Some come when the work is done already; but a test that kills nothing proves nothing.
    assert!(
        killed * 2 > cuts.len(),
        "only {killed} of {} were killed",
        cuts.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// All kill points, or an even choice of them.
fn cuts(asked: &str, points: &BTreeMap<&'static str, usize>, took: Duration) -> Vec<Cut> {
    let mut random = fastrand(SEED);
    let at = points
        .iter()
        .flat_map(|(syscall, count)| (1..=*count).map(|n| Cut::At(Kill { syscall, n })));
    let mut at: Vec<Cut> = at.collect();
    let mut times = RANDOM;
    if asked != "all" {
        let sample = asked.parse().unwrap_or(SAMPLE);
        times = sample;
        // Without a pattern that the calls might have too.
        for i in (1..at.len()).rev() {
            at.swap(i, random(i as u64 + 1) as usize);
        }
        at.truncate(sample);
    }
    let after = (0..times).map(|_| {
        let nanos = random(took.as_nanos() as u64);
        Cut::After(Duration::from_nanos(nanos))
    });
    at.into_iter().chain(after).collect()
}

fn work_off(
    lane: &mut Lane,
    cuts: &[Cut],
    next: &AtomicUsize,
    killed: &AtomicUsize,
) -> Vec<String> {
    let mut failures = Vec::new();
    while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
        let desk = lane.desk();
        let (acks, was) = match cut {
            Cut::At(kill) => tracer::kill(&mut desk.worker(), *kill),
            Cut::After(time) => kill_after(&mut desk.worker(), *time),
        };
        killed.fetch_add(usize::from(was), Ordering::Relaxed);
        if let Err(what) = check::reopened(&desk, &acks) {
            failures.push(format!("killed at {cut:?}: {what}\n  it had said {acks:?}"));
        }
    }
    failures
}

fn kill_after(worker: &mut Command, time: Duration) -> (Vec<Ack>, bool) {
    let mut child: Child = worker
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(time);
    // Of a child of our own; it may have ended already.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (said(&output.stdout), output.status.code().is_none())
}

/// Numbers below a bound, the same every time (splitmix64).
fn fastrand(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// Every call of this list is one that the work makes; otherwise the list tells a tale.
#[test]
fn the_list_of_system_calls_names_each_once() {
    let mut sorted = SYSCALLS.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), SYSCALLS.len());
}
