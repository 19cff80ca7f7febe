//! Diagnose, plan, apply, start.

use crate::boards::*;
use crate::cases::{CASES, Case};
use airlift_flash::{Depth, Diagnosis, Known, Plan, diagnose, repair};
use airlift_updater::SlotId;
use airlift_virtual_device::Settings;
use airlift_virtual_device::deterministic::Bench;
use airlift_wire::image;
use serde_json::Value;
use std::time::Duration;

/// What became of a board.
pub struct Outcome {
    pub quick: Diagnosis,
    pub full: Diagnosis,
    pub plan: Plan,
    pub after: Vec<u8>,
}

pub fn carry_out(case: &Case) -> Outcome {
    let flash = (case.flash)();
    let library = case.library();
    let identity = identity();
    let mut known = Known::new(CHIP, &library);
    if case.identity {
        known = known.with_identity(&identity);
    }
    let mut bytes: &[u8] = &flash;
    let quick = diagnose(&mut bytes, &known, Depth::Quick, &mut |_, _| {}).unwrap();
    let full = diagnose(&mut bytes, &known, Depth::Full, &mut |_, _| {}).unwrap();
    let plan = repair(&quick, &mut bytes, &known, case.how).unwrap();
    let mut after = flash.clone();
    for segment in plan.segments() {
        put(&mut after, segment.offset(), segment.bytes());
    }
    Outcome {
        quick,
        full,
        plan,
        after,
    }
}

/// What a device says of itself that starts with this flash.
pub fn start(flash: &[u8]) -> Option<Value> {
    let bench = Bench::new(7);
    bench
        .add_device(flash.to_vec(), Settings::default())
        .unwrap();
    let info = bench.run(async {
        // Long enough for a trial that is none to end.
        bench.scheduler().sleep(Duration::from_secs(30)).await;
        bench
            .client()
            .get("/v1/device")
            .await
            .ok()
            .map(|answer| answer.json())
    });
    info.ok().flatten()
}

fn expected(case: &Case) -> Option<(&'static str, SlotId)> {
    case.runs
}

fn name(slot: SlotId) -> &'static str {
    slot.name()
}

#[test]
fn print() {
    for case in CASES {
        let o = carry_out(case);
        println!("## {}", case.name);
        println!(
            "   quick {} {:?} {}B complete {} | full {}B",
            o.quick.code, o.quick.verdict, o.quick.bytes_read, o.quick.complete, o.full.bytes_read
        );
        println!(
            "   {} | {:?} | {}",
            o.full.code, o.full.verdict, o.full.sentence
        );
        println!("   next: {} boots {:?}", o.full.next_boot, o.full.boots);
        for f in &o.full.findings {
            println!(
                "     - {} {} {:?} harmless {}",
                f.code, f.sentence, f.region, f.harmless
            );
        }
        println!("   plan: {} blocked {:?}", o.plan.sentence, o.plan.blocked);
        for s in &o.plan.steps {
            println!(
                "     * {} [{}] {:#x} {} B in {} segments",
                s.title,
                s.region,
                s.offset(),
                s.bytes(),
                s.segments.len()
            );
        }
        println!(
            "   after: {} losses {:?} others {:?}",
            o.plan.afterwards, o.plan.losses, o.plan.others
        );
        if let Some((version, slot)) = expected(case) {
            let info = start(&o.after);
            let running = info.map(|i| {
                (
                    i["running"]["slot"].clone(),
                    i["running"]["version"].clone(),
                    i["running"]["state"].clone(),
                )
            });
            println!(
                "   wanted {version} {} got {running:?}; bootloader {:?}",
                name(slot),
                image::check(&o.after[..bundled(CHIP).bytes().len()]).is_ok()
            );
        }
    }
}
