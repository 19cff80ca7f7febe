//! All cuts of a scenario, and all cuts of what follows them.

use crate::case::Case;
use crate::cut::{Cut, Point};
use crate::oracle::{Floor, Oracle};
use crate::recovery;
use crate::scenario::Scenario;
use crate::snapshot::{Arena, Snapshot};
use airlift_virtual_device::nor::Change;
use std::collections::HashMap;
use std::fmt;

/// Failures that are kept of a scenario; all are counted.
const KEPT: usize = 8;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// One of so many cuts is tried. 1 tries all.
    pub first: usize,
    /// One of so many second cuts is tried after each of them. 1 tries all, 0 none.
    pub second: usize,
    /// Whether to end with the first failure.
    pub fail_fast: bool,
}

/// A case that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub case: Option<Case>,
    /// What did not hold.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.case {
            Some(case) => write!(f, "{case}: {}", self.what),
            None => write!(f, "{}", self.what),
        }
    }
}

/// What was tried.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Erases and writes of the run without a cut.
    pub ops: usize,
    /// Cuts.
    pub cuts: usize,
    /// Second cuts after one of them.
    pub doubles: usize,
    /// Runs of a device, each from a flash that no other case has left.
    pub runs: usize,
    /// Cases that did not hold.
    pub failed: usize,
    /// The first of them.
    pub failures: Vec<Failure>,
}

impl Totals {
    fn fail(&mut self, case: Option<Case>, what: String) {
        self.failed += 1;
        if self.failures.len() < KEPT {
            self.failures.push(Failure { case, what });
        }
    }

    /// Adds another scenario's.
    pub fn add(&mut self, other: &Self) {
        self.ops += other.ops;
        self.cuts += other.cuts;
        self.doubles += other.doubles;
        self.runs += other.runs;
        self.failed += other.failed;
        self.failures.extend_from_slice(&other.failures);
    }
}

/// Tries a scenario.
pub fn prove(scenario: &Scenario, effort: Effort) -> Totals {
    let mut totals = Totals::default();
    match Prover::new(scenario) {
        Ok(mut prover) => prover.all(effort, &mut totals),
        Err(what) => totals.fail(None, what),
    }
    totals
}

/// Runs one case and tells each step to `say`.
///
/// # Errors
/// What does not hold.
pub fn replay(scenario: &Scenario, case: &Case, mut say: impl FnMut(String)) -> Result<(), String> {
    let mut prover = Prover::new(scenario)?;
    let start = &scenario.world.start;
    let floor = prover.oracle.floor();
    let clean = prover.run(start, floor)?;
    say(format!("{} operations without a cut", clean.len()));
    let (image, floor) = prover.cut_at(start, &clean, case.first, floor, &mut say)?;
    let reached = prover.oracle.check(&image, floor)?;
    say(format!("what is left holds: {reached:?}"));
    let changes = prover.run(&image, reached)?;
    say(format!("it arrives after {} operations", changes.len()));
    if let Some(second) = case.second {
        let (image, floor) = prover.cut_at(&image, &changes, second, reached, &mut say)?;
        let reached = prover.oracle.check(&image, floor)?;
        say(format!("what is left holds: {reached:?}"));
        let changes = prover.run(&image, reached)?;
        say(format!("it arrives after {} operations", changes.len()));
    }
    Ok(())
}

struct Prover<'s> {
    scenario: &'s Scenario,
    oracle: Oracle<'s>,
    /// Devices run here.
    arena: Arena,
    /// Cuts are made here.
    bench: Arena,
    /// What has been run already, and what it did.
    known: HashMap<(u128, Floor), Result<(), String>>,
}

impl<'s> Prover<'s> {
    fn new(scenario: &'s Scenario) -> Result<Self, String> {
        let arena = || Arena::new(&scenario.world.start).map_err(|e| e.to_string());
        Ok(Self {
            scenario,
            oracle: Oracle::new(&scenario.world)?,
            arena: arena()?,
            bench: arena()?,
            known: HashMap::new(),
        })
    }

    fn run(&mut self, from: &Snapshot, floor: Floor) -> Result<Vec<Change>, String> {
        let Scenario {
            world, settings, ..
        } = self.scenario;
        recovery::run(&mut self.arena, &self.oracle, world, settings, from, floor)
    }

    fn all(&mut self, effort: Effort, totals: &mut Totals) {
        let scenario = self.scenario;
        let mut base = scenario.world.start.clone();
        let mut floor = self.oracle.floor();
        let changes = match self.run(&base, floor) {
            Ok(changes) => changes,
            Err(what) => {
                return totals.fail(None, format!("{} without a cut: {what}", scenario.name));
            }
        };
        totals.ops = changes.len();
        let every = effort.first * scenario.every;
        let mut count = 0usize;
        for (op, change) in changes.iter().enumerate() {
            floor = match self.oracle.check(&base, floor) {
                Ok(floor) => floor,
                Err(what) => {
                    let what = format!("{} before {op}, without a cut: {what}", scenario.name);
                    return totals.fail(None, what);
                }
            };
            for cut in Cut::all(change.kind) {
                count += 1;
                if !count.is_multiple_of(every) {
                    continue;
                }
                let first = Point { op, cut: *cut };
                let image = self.bench.cut(&base, change, cut.verdict(op));
                totals.cuts += 1;
                self.first(first, &image, floor, effort, totals);
                if effort.fail_fast && totals.failed > 0 {
                    return;
                }
            }
            base = self.bench.done(&base, std::slice::from_ref(change));
        }
    }

    fn case(&self, first: Point, second: Option<Point>) -> Option<Case> {
        let scenario = self.scenario.name.clone();
        Some(Case {
            scenario,
            first,
            second,
        })
    }

    /// After the first cut.
    fn first(
        &mut self,
        first: Point,
        image: &Snapshot,
        floor: Floor,
        effort: Effort,
        totals: &mut Totals,
    ) {
        let floor = match self.oracle.check(image, floor) {
            Ok(floor) => floor,
            Err(what) => return totals.fail(self.case(first, None), what),
        };
        let key = (image.hash(), floor);
        if let Some(known) = self.known.get(&key) {
            if let Err(what) = known.clone() {
                totals.fail(self.case(first, None), what);
            }
            return;
        }
        totals.runs += 1;
        let ran = self.run(image, floor);
        self.known
            .insert(key, ran.as_ref().map(drop).map_err(Clone::clone));
        match ran {
            Err(what) => totals.fail(self.case(first, None), what),
            Ok(changes) if effort.second > 0 => {
                self.second(first, image, floor, &changes, effort, totals);
            }
            Ok(_) => {}
        }
    }

    /// All second cuts after one first.
    fn second(
        &mut self,
        first: Point,
        image: &Snapshot,
        reached: Floor,
        changes: &[Change],
        effort: Effort,
        totals: &mut Totals,
    ) {
        let every = effort.second * self.scenario.every;
        // Starts elsewhere after each first cut, so that all operations get their turn.
        let mut count = totals.cuts.wrapping_mul(127);
        let (mut base, mut base_op) = (image.clone(), 0);
        for (op, change) in changes.iter().enumerate() {
            for cut in Cut::all(change.kind) {
                count += 1;
                if !count.is_multiple_of(every) {
                    continue;
                }
                totals.doubles += 1;
                let second = Point { op, cut: *cut };
                base = self.bench.done(&base, &changes[base_op..op]);
                base_op = op;
                let held = self.oracle.check(&base, reached).and_then(|floor| {
                    let image = self.bench.cut(&base, change, cut.verdict(op));
                    let floor = self.oracle.check(&image, floor)?;
                    self.recovers(&image, floor, totals)
                });
                if let Err(what) = held {
                    totals.fail(self.case(first, Some(second)), what);
                    if effort.fail_fast {
                        return;
                    }
                }
            }
        }
    }

    fn recovers(
        &mut self,
        image: &Snapshot,
        floor: Floor,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let key = (image.hash(), floor);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        totals.runs += 1;
        let ran = self.run(image, floor).map(drop);
        self.known.insert(key, ran.clone());
        ran
    }

    /// What is left of a run that is cut at a point.
    fn cut_at(
        &mut self,
        from: &Snapshot,
        changes: &[Change],
        point: Point,
        floor: Floor,
        say: &mut impl FnMut(String),
    ) -> Result<(Snapshot, Floor), String> {
        let Some(change) = changes.get(point.op) else {
            return Err(format!("there are {} operations only", changes.len()));
        };
        let base = self.bench.done(from, &changes[..point.op]);
        say(format!(
            "operation {}: {:?} of {} bytes at {:#x}, {}",
            point.op,
            change.kind,
            change.data.len(),
            change.offset,
            point.cut
        ));
        let floor = self.oracle.check(&base, floor)?;
        let image = self.bench.cut(&base, change, point.cut.verdict(point.op));
        Ok((image, floor))
    }
}
