//! A device that starts from a snapshot and is updated until it has arrived.

use crate::oracle::{Floor, Oracle, World};
use crate::snapshot::{Arena, Snapshot};
use airlift_virtual_device::deterministic::{Bench, Stalled};
use airlift_virtual_device::nor::Change;
use airlift_virtual_device::{Ending, Settings};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Between two looks at a device that starts.
const LOOK: Duration = Duration::from_millis(100);
/// How often one release is sent before that counts as a dead end.
const TRIES: usize = 6;
/// All that a bench draws.
const SEED: u64 = 7;

/// Starts the device, looks at it once it waits, updates it until the last goal runs, and looks again.
/// Returns every erase and write.
///
/// # Errors
/// What does not hold.
pub fn run(
    arena: &mut Arena,
    oracle: &Oracle<'_>,
    world: &World,
    settings: &Settings,
    from: &Snapshot,
    floor: Floor,
) -> Result<Vec<Change>, String> {
    arena.load(from);
    let mut changes = Vec::new();
    // The updater must not panic either, whatever it finds.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        drive(arena, oracle, world, settings, floor, &mut changes)
    }));
    match ran {
        Ok(arrived) => arrived.map(|()| changes),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panics: {}", text.unwrap_or("?")))
        }
    }
}

fn drive(
    arena: &mut Arena,
    oracle: &Oracle<'_>,
    world: &World,
    settings: &Settings,
    floor: Floor,
    changes: &mut Vec<Change>,
) -> Result<(), String> {
    let bench = Bench::new(SEED);
    for goal in &world.goals {
        bench.host().add(&goal.release);
    }
    bench.mount(arena.nor().clone(), settings.clone());
    let within = |stalled: Stalled| format!("the device never comes back: {stalled}");
    let info = bench.run(settled(&bench)).map_err(within)??;
    let (at, journal) = arena.capture();
    changes.extend(journal);
    let floor = oracle.check_settled(&at, floor, &info)?;
    // What it has decided stays decided when it starts again.
    bench.power_off();
    bench.power_on();
    let again = bench.run(settled(&bench)).map_err(within)??;
    let (at, journal) = arena.capture();
    changes.extend(journal);
    let floor = oracle.check_settled(&at, floor, &again)?;
    for what in ["running", "last_update"] {
        if again[what] != info[what] {
            return Err(format!("a restart changes what it says: {}", again[what]));
        }
    }
    let info = bench.run(arrive(&bench, world, info)).map_err(within)??;
    let (at, journal) = arena.capture();
    changes.extend(journal);
    oracle.check_arrived(&at, floor, &info).map(drop)
}

/// Waits until the device runs a slot that is confirmed, and no update.
async fn settled(bench: &Bench) -> Result<Value, String> {
    loop {
        if let Ok(answer) = bench.client().get("/v1/device").await {
            let info = answer.json();
            if info["updater"]["state"] == "idle" {
                return Ok(info);
            }
        }
        match bench.ended() {
            None => bench.scheduler().sleep(LOOK).await,
            Some(Ending::Dead(dead)) => return Err(format!("nothing boots: {dead}")),
            Some(ending) => return Err(format!("the device ended: {ending:?}")),
        }
    }
}

/// Sends each goal until it runs, or has been tried and given up if it does not work.
async fn arrive(bench: &Bench, world: &World, mut info: Value) -> Result<Value, String> {
    let mut next = 0;
    if let Some(id) = info["running"]["release"].as_str() {
        let runs = world
            .goals
            .iter()
            .position(|g| g.release.id().to_string() == id);
        next = runs.map_or(0, |goal| goal + 1);
    }
    for goal in &world.goals[next..] {
        let id = goal.release.id().to_string();
        let mut tries = 0;
        loop {
            let last = &info["last_update"];
            let over = if goal.works {
                info["running"]["release"] == id
            } else {
                last["release"] == id && last["end"] == "rolled_back"
            };
            if over {
                break;
            }
            if tries == TRIES {
                return Err(format!("it does not arrive: {last}"));
            }
            tries += 1;
            let starts = bench.starts();
            // It takes a word when the trial was what the power went in.
            let lines = bench.client().update(&goal.release, "?retry=1").await;
            let lines = match lines {
                Ok(lines) => lines.all().await,
                Err(_) => return Err("the device does not answer".to_owned()),
            };
            let end = lines.last().cloned().unwrap_or_default();
            if end.contains("\"rebooting\"") {
                while bench.starts() == starts && bench.ended().is_none() {
                    bench.scheduler().sleep(LOOK).await;
                }
            } else {
                return Err(format!("the update ends with {end}"));
            }
            info = settled(bench).await?;
        }
    }
    Ok(info)
}
