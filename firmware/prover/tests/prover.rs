//! A sample of what `make prove` tries, and proof that the prover sees what is wrong.

use airlift_prover::oracle::{Floor, Oracle, World};
use airlift_prover::snapshot::{Arena, Snapshot};
use airlift_prover::{Case, Cut, Effort, Kind, prove, replay, scenario};
use airlift_updater::{Layout, SlotId};
use airlift_virtual_device::deterministic::Bench;
use airlift_virtual_device::nor::{AtChange, NorFlash, SharedNor};
use airlift_wire::otadata::{Entry, ImageState, next_sequence};
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::{End, STATE_LEN, State, newest};
use std::time::Duration;

/// One in so many cuts, and one in so many second cuts after each of them.
const SAMPLE: Effort = Effort {
    first: 83,
    second: 1301,
    fail_fast: false,
};

/// Proves a stride through the scenarios that `wanted` names.
fn holds(wanted: impl Fn(&str) -> bool) {
    let mut tried = 0;
    for name in scenario::names().filter(|name| wanted(name)) {
        let scenario = scenario::build(&name).unwrap();
        let totals = prove(&scenario, SAMPLE);
        for failure in &totals.failures {
            println!("{failure}");
        }
        assert_eq!(totals.failed, 0, "{name}");
        assert!(totals.ops > 15, "{name}: {} operations", totals.ops);
        tried += totals.cuts;
    }
    assert!(tried >= 10, "{tried} cuts");
}

fn is_update(name: &str) -> bool {
    !is_trial(name) && !is_large(name)
}

fn is_trial(name: &str) -> bool {
    let trials = ["hangs", "panics", "check", "confirms", "confirm/", "keys"];
    trials.iter().any(|part| name.contains(part))
}

fn is_large(name: &str) -> bool {
    ["many", "pages", "full"]
        .iter()
        .any(|part| name.contains(part))
}

#[test]
fn a_cut_in_an_update_leaves_the_old_or_the_new_release_without_rollback_in_the_bootloader() {
    holds(|name| is_update(name) && name.ends_with("/plain"));
}

#[test]
fn and_with_it() {
    holds(|name| is_update(name) && name.ends_with("/rollback"));
}

#[test]
fn a_cut_in_a_trial_that_dies_or_confirms_or_changes_keys_leaves_one_of_both() {
    holds(is_trial);
}

#[test]
fn a_cut_in_an_update_of_many_files_or_index_pages_does_too() {
    holds(is_large);
}

#[test]
fn a_case_is_run_again_by_its_name() {
    let case: Case = "both/plain:4:unstable550:9:torn450".parse().unwrap();
    let scenario = scenario::build(&case.scenario).unwrap();
    let mut steps = Vec::new();
    assert_eq!(replay(&scenario, &case, |step| steps.push(step)), Ok(()));
    assert!(steps.len() >= 6, "{steps:#?}");
    let beyond: Case = "both/plain:9999:before".parse().unwrap();
    assert!(replay(&scenario, &beyond, drop).is_err());
}

/// The flash of a device that really was cut there, and what the prover takes for it.
#[test]
fn a_cut_made_from_the_journal_is_the_cut_that_a_running_device_meets() {
    let scenario = scenario::build("third/plain").unwrap();
    let (world, settings) = (&scenario.world, &scenario.settings);
    let release = &world.goals[0].release;
    let update = async |bench: &Bench| {
        bench.host().add(release);
        if let Ok(lines) = bench.client().update(release, "").await {
            lines.all().await;
        }
        while bench.ended().is_none() && bench.starts() < 2 {
            bench.scheduler().sleep(Duration::from_millis(100)).await;
        }
    };
    let start = || SharedNor::new(NorFlash::from_image(world.start.image()).unwrap());
    let nor = start();
    nor.lock().start_journal();
    let bench = Bench::new(7);
    bench.mount(nor.clone(), settings.clone());
    bench.run(update(&bench)).unwrap();
    let journal = nor.lock().take_journal();
    assert!(journal.len() > 60, "{}", journal.len());
    let mut arena = Arena::new(&world.start).unwrap();
    for op in (1..journal.len()).step_by(7) {
        let kind = if op % 2 == 0 {
            Kind::Torn(450)
        } else {
            Kind::Unstable(600)
        };
        let verdict = Cut { kind, seed: 3 }.verdict(op);
        let before = arena.done(&world.start, &journal[..op]);
        let made = arena.cut(&before, &journal[op], verdict);

        let nor = start();
        nor.set_hook(AtChange::new(op as u64, verdict));
        let bench = Bench::new(7);
        bench.mount(nor.clone(), settings.clone());
        bench.run(update(&bench)).unwrap();
        assert!(!nor.is_powered(), "{op}");
        assert!(nor.snapshot() == made.image(), "{op}");
        let sector = journal[op].offset;
        assert_eq!(
            nor.lock().unstable_in(sector).is_some(),
            !made.is_firm(sector & !0xFFF, 4096)
        );
    }
}

#[test]
fn a_flash_that_takes_on_snapshots_holds_exactly_what_they_hold() {
    let scenario = scenario::build("both/plain").unwrap();
    let start = &scenario.world.start;
    let mut arena = Arena::new(start).unwrap();
    arena.nor().erase(0x20_0000).unwrap();
    arena.nor().write(0x20_0100, b"some").unwrap();
    let (changed, journal) = arena.capture();
    assert_eq!(journal.len(), 2);
    assert_ne!(changed.hash(), start.hash());
    assert!(changed.image() == arena.nor().snapshot());
    arena.nor().write(0x20_0200, b"more").unwrap();
    arena.load(start);
    assert!(arena.nor().snapshot() == start.image());
    arena.load(&changed);
    assert!(arena.nor().snapshot() == changed.image());
    assert_eq!(Snapshot::new(&changed.image()).hash(), changed.hash());
}

// What the oracle must see: each is one lie in the cells of a device that is well otherwise.

struct Cells {
    image: Vec<u8>,
    layout: Layout,
}

impl Cells {
    fn of(world: &World) -> Self {
        let image = world.start.image();
        let table = Table::parse(
            &image[TABLE_OFFSET as usize..][..TABLE_LEN],
            image.len() as u32,
        );
        let layout = Layout::from_table(&table.unwrap(), image.len() as u32, world.running);
        Self {
            layout: layout.unwrap(),
            image,
        }
    }

    fn flip(&mut self, offset: u32) {
        self.image[offset as usize] ^= 1;
    }

    fn change_state(&mut self, change: impl FnOnce(&mut State)) {
        let base = self.layout.airlift.offset as usize;
        let copy = |n: usize| {
            self.image[base + n * 4096..]
                .first_chunk::<STATE_LEN>()
                .unwrap()
        };
        let (n, mut state) = newest([State::decode(copy(0)), State::decode(copy(1))]).unwrap();
        change(&mut state);
        self.image[base + n * 4096..][..STATE_LEN].copy_from_slice(&state.encode());
    }

    fn select(&mut self, slot: u32, state: ImageState) {
        let entries = [0, 1].map(|n| {
            let at = self.layout.otadata_offset(n) as usize;
            Entry::decode(self.image[at..].first_chunk().unwrap())
        });
        let n = airlift_wire::otadata::active(&entries).map_or(0, |n| 1 - n);
        let sequence = next_sequence(&entries, slot, 2).unwrap();
        let at = self.layout.otadata_offset(n) as usize;
        self.image[at..at + 32].copy_from_slice(&Entry::new(sequence, state).encode());
    }
}

fn judged(change: impl FnOnce(&World, &mut Cells)) -> Result<Floor, String> {
    let scenario = scenario::build("third/plain").unwrap();
    let oracle = Oracle::new(&scenario.world).unwrap();
    let mut cells = Cells::of(&scenario.world);
    change(&scenario.world, &mut cells);
    oracle.check(&Snapshot::new(&cells.image), oracle.floor())
}

#[test]
fn the_oracle_has_nothing_against_a_device_that_is_well() {
    let floor = judged(|_, _| {}).unwrap();
    assert_eq!((floor.sequence, floor.epoch, floor.confirmed), (10, 1, 0));
}

#[test]
fn the_oracle_sees_each_lie() {
    type Lie = fn(&World, &mut Cells);
    let lies: [(&str, Lie); 12] = [
        ("outside of the target slot", |_, c| {
            c.flip(c.layout.partition(SlotId::Factory).unwrap().offset + 100);
        }),
        ("outside of the target slot", |_, c| {
            c.flip(c.layout.partition(SlotId::Ota0).unwrap().offset + 5000);
        }),
        ("outside of the target slot", |_, c| c.flip(0x9000)),
        ("outside of the target slot", |_, c| {
            c.flip(c.layout.envelope_offset(SlotId::Ota0) + 50);
        }),
        ("the state is lost", |_, c| {
            let base = c.layout.airlift.offset;
            (0..2).for_each(|n| c.flip(base + n * 4096 + 60));
        }),
        ("the sequence is 9", |_, c| {
            c.change_state(|s| s.sequence = 9)
        }),
        ("before that release is confirmed", |_, c| {
            c.change_state(|s| s.sequence = 20);
        }),
        ("keys are of an older epoch", |_, c| {
            c.change_state(|s| s.trust = None)
        }),
        ("an update that never was", |_, c| {
            c.change_state(|s| s.last.sequence += 1);
        }),
        ("says done of a release", |world, c| {
            let release = world.goals[0].release.id();
            c.change_state(|s| {
                s.last.release = release;
                s.last.end = End::Done;
            });
        }),
        ("selected, and it is not whole", |_, c| {
            c.select(1, ImageState::New)
        }),
        ("changed under its old envelope", |_, c| {
            c.flip(c.layout.partition(SlotId::Ota1).unwrap().offset + 100);
        }),
    ];
    for (n, (expected, lie)) in lies.into_iter().enumerate() {
        let said = judged(lie).unwrap_err();
        assert!(said.contains(expected), "{n}: {said}");
    }
}
