//! `airlift-prove`: tries every cut and prints what was tried.

use airlift_prover::{Case, Effort, Totals, prove, replay, scenario};
use clap::Parser;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Cuts the power of a virtual device at every flash operation of an update, and once more while it
/// recovers, and checks what is left.
#[derive(Parser)]
#[command(name = "airlift-prove")]
struct Options {
    /// Every second cut after every first one, instead of one in --second.
    #[arg(long)]
    full: bool,
    /// Try one of N cuts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    first: usize,
    /// Try one of N second cuts after each first; 0 tries none.
    #[arg(long, value_name = "N", default_value_t = 1601)]
    second: usize,
    /// Only scenarios whose name contains one of these.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Scenarios at once; as many as there are cores by default.
    #[arg(long, value_name = "N", value_parser = positive)]
    jobs: Option<usize>,
    /// End with the first failure.
    #[arg(long)]
    fail_fast: bool,
    /// Run one case, as a failure names it: SCENARIO:OP:CUT or SCENARIO:OP:CUT:OP:CUT.
    #[arg(long, value_name = "CASE")]
    replay: Option<Case>,
    /// Print the names of the scenarios.
    #[arg(long)]
    list: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        scenario::names().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    // A panic is a failure of its case, and is reported there.
    std::panic::set_hook(Box::new(|_| {}));
    match &options.replay {
        Some(case) => replay_one(case),
        None => prove_all(&options),
    }
}

fn replay_one(case: &Case) -> ExitCode {
    let held = scenario::build(&case.scenario)
        .and_then(|scenario| replay(&scenario, case, |step| println!("{step}")));
    match held {
        Ok(()) => {
            println!("{case} holds");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("{case}: {what}");
            ExitCode::FAILURE
        }
    }
}

fn prove_all(options: &Options) -> ExitCode {
    let started = Instant::now();
    let wanted = |name: &String| {
        options.only.is_empty() || options.only.iter().any(|only| name.contains(only))
    };
    // Those that take long are the last ones of the list; they go first.
    let mut names: Vec<_> = scenario::names().filter(wanted).collect();
    names.reverse();
    let effort = Effort {
        first: options.first,
        second: if options.full { 1 } else { options.second },
        fail_fast: options.fail_fast,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or(cores).min(names.len());
    println!(
        "{:<34} {:>6} {:>8} {:>9} {:>8} {:>9} {:>7}",
        "scenario", "ops", "cuts", "doubles", "runs", "failures", "seconds"
    );
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let totals = one(name, effort);
                    let failed = totals.failed > 0 && options.fail_fast;
                    stop.fetch_or(failed, Ordering::Relaxed);
                    if let Ok(mut sum) = sum.lock() {
                        sum.add(&totals);
                    }
                }
            });
        }
    });
    let totals = sum.into_inner().unwrap_or_default();
    for failure in &totals.failures {
        println!("FAILED {failure}");
        if let Some(case) = &failure.case {
            println!("       airlift-prove --replay {case}");
        }
    }
    let took = started.elapsed().as_secs();
    println!(
        "{} cases ran from a flash that no other case left",
        totals.runs
    );
    println!(
        "{} cut points, {} double cuts, {} failures, {} min {:02} s",
        totals.cuts,
        totals.doubles,
        totals.failed,
        took / 60,
        took % 60
    );
    if totals.failed == 0 && totals.cuts > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(name: &str, effort: Effort) -> Totals {
    let started = Instant::now();
    let totals = match scenario::build(name) {
        Ok(scenario) => prove(&scenario, effort),
        Err(what) => broken(name, what),
    };
    println!(
        "{name:<34} {:>6} {:>8} {:>9} {:>8} {:>9} {:>7.1}",
        totals.ops,
        totals.cuts,
        totals.doubles,
        totals.runs,
        totals.failed,
        started.elapsed().as_secs_f64()
    );
    totals
}

/// A scenario that cannot even be made: its device does not work without any cut.
fn broken(name: &str, what: String) -> Totals {
    let failure = airlift_prover::Failure {
        case: None,
        what: format!("{name}: {what}"),
    };
    Totals {
        failed: 1,
        failures: vec![failure],
        ..Totals::default()
    }
}
