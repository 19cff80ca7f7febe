//! `docs/recovery.md` is what this suite finds.

use crate::cases::CASES;
use crate::repair::outcomes;
use airlift_flash::How;
use std::fmt::Write as _;
use std::path::PathBuf;

const BEGIN: &str = "<!-- begin: written by the tests -->\n";
const END: &str = "<!-- end -->\n";

fn size(bytes: u32) -> String {
    match bytes {
        0 => "nothing".to_owned(),
        bytes => format!("{} KiB", bytes.div_ceil(1024)),
    }
}

fn how(how: How) -> &'static str {
    match how {
        How::Smallest => "",
        How::Back => " (asked for: back)",
        How::Slot => " (asked for: the slot)",
        How::Files => " (asked for: the files)",
        How::Everything => " (asked for: everything)",
    }
}

/// Where GitHub puts a heading.
fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-").replace(',', "")
}

fn text() -> String {
    let mut table = String::new();
    let mut rest = String::new();
    for (case, outcome) in outcomes() {
        let (full, plan) = (&outcome.full, &outcome.plan);
        let (name, runs) = (case.name, case.runs);
        let mended = match (&plan.blocked, runs) {
            (Some(blocked), _) => format!("`{}`", blocked.code),
            (None, Some((version, slot))) => format!("{version} from `{}`", slot.name()),
            (None, None) => "nothing".to_owned(),
        };
        let written = size(plan.bytes());
        writeln!(
            table,
            "| [{name}](#{}) | `{}` | {written} | {mended} |",
            anchor(name),
            full.code
        )
        .unwrap();
        writeln!(rest, "\n### {name}\n").unwrap();
        writeln!(
            rest,
            "- **{:?}** `{}`: {}",
            full.verdict, full.code, full.sentence
        )
        .unwrap();
        for finding in full.findings.iter().skip(1) {
            writeln!(rest, "- also `{}`: {}", finding.code, finding.sentence).unwrap();
        }
        writeln!(rest, "- At the next start: {}", full.next_boot).unwrap();
        let library = match case.library {
            [] => "nothing".to_owned(),
            versions => versions.join(", "),
        };
        let identity = if case.identity {
            "; product, name and keys are given"
        } else {
            ""
        };
        writeln!(rest, "- In the library: {library}{identity}").unwrap();
        writeln!(rest, "- Plan{}: {}", how(case.how), plan.sentence).unwrap();
        if let Some(blocked) = &plan.blocked {
            writeln!(rest, "- `{}`: {}", blocked.code, blocked.sentence).unwrap();
        }
        if !plan.steps.is_empty() {
            writeln!(rest, "\n| Step | Region | At | Bytes | Why |").unwrap();
            writeln!(rest, "| --- | --- | --- | --- | --- |").unwrap();
            for step in &plan.steps {
                let (title, region, why) = (&step.title, &step.region, &step.why);
                let (offset, bytes) = (step.offset(), step.bytes());
                writeln!(
                    rest,
                    "| {title} | {region} | {offset:#x} | {bytes} | {why} |"
                )
                .unwrap();
            }
            writeln!(rest).unwrap();
        }
        if plan.blocked.is_none() {
            writeln!(rest, "- Afterwards: {}", plan.afterwards).unwrap();
        }
        for loss in &plan.losses {
            writeln!(rest, "- Lost: {loss}").unwrap();
        }
        for other in &plan.others {
            let (how, title, bytes) = (other.how.as_str(), &other.title, other.bytes);
            writeln!(rest, "- Or `{how}`: {title}, {}", size(bytes)).unwrap();
        }
        let (quick, all) = (outcome.quick.bytes_read, full.bytes_read);
        writeln!(
            rest,
            "- Read: {} by a quick look, {} by a full one",
            size(quick),
            size(all)
        )
        .unwrap();
    }
    format!(
        "{} boards, each one a flash of 4 MiB that a device starts after the repair.\n\n\
         | Board | Code | Written | Runs then |\n| --- | --- | --- | --- |\n{table}{rest}",
        CASES.len()
    )
}

#[test]
fn the_document_says_what_this_suite_finds() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/recovery.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("it has a begin marker");
    let (_, after) = rest.split_once(END).expect("it has an end marker");
    let wanted = [before, BEGIN, &text(), END, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        document == wanted,
        "docs/recovery.md is not what the suite finds: run the tests with UPDATE_DOCS=1"
    );
}
