//! The table in `docs/security.md` is this suite, and each row has a mutant.

use crate::attack::Family;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The order of the document.
const FAMILIES: &[&Family] = &[
    &crate::release::FAMILY,
    &crate::freshness::FAMILY,
    &crate::keys::FAMILY,
    &crate::envelope::FAMILY,
    &crate::manifest::FAMILY,
    &crate::transport::FAMILY,
    &crate::api::FAMILY,
    &crate::files::FAMILY,
    &crate::image::FAMILY,
    &crate::flash::FAMILY,
];

const BEGIN: &str = "<!-- begin: written by the tests -->\n";
const END: &str = "<!-- end -->\n";

fn at_the_top(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn table() -> String {
    let mut out = String::new();
    let count: usize = FAMILIES.iter().map(|family| family.attacks.len()).sum();
    writeln!(
        out,
        "{count} attacks, each one a test in `firmware/virtual-device/tests/adversary/`."
    )
    .unwrap();
    for family in FAMILIES {
        writeln!(out, "\n### {}\n", family.title).unwrap();
        writeln!(
            out,
            "| The attacker | The device | Code | Known as | Test |"
        )
        .unwrap();
        writeln!(out, "| --- | --- | --- | --- | --- |").unwrap();
        for attack in family.attacks {
            let code = match attack.code() {
                "" => "none: it goes on".to_owned(),
                code => format!("`{code}`"),
            };
            let (attacker, device, threat) = (attack.attacker, attack.device, attack.threat);
            let name = attack.name;
            writeln!(
                out,
                "| {attacker} | {device} | {code} | {threat} | `{name}` |"
            )
            .unwrap();
        }
    }
    out
}

#[test]
fn the_table_in_the_documentation_is_this_suite() {
    let path = at_the_top("docs/security.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("the document has a begin marker");
    let (_, after) = rest
        .split_once(END)
        .expect("the document has an end marker");
    let wanted = [before, BEGIN, &table(), END, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/security.md is not what the suite says: run the tests with UPDATE_DOCS=1"
    );
}

#[test]
fn every_attack_has_a_mutant_that_its_test_must_notice() {
    let mutants = std::fs::read_to_string(at_the_top("tests/mutants/adversary.toml")).unwrap();
    let mutants: Vec<&str> = mutants.split("[[mutant]]").skip(1).collect();
    let mut used = BTreeSet::new();
    let mut missing = Vec::new();
    for attack in FAMILIES.iter().flat_map(|family| family.attacks) {
        let name = format!("name = \"{}\"\n", attack.mutant);
        let Some(mutant) = mutants.iter().find(|mutant| mutant.contains(&name)) else {
            missing.push(format!(
                "{}: there is no mutant {}",
                attack.name, attack.mutant
            ));
            continue;
        };
        if !mutant.contains(&format!("\"{}\"", attack.name)) {
            missing.push(format!(
                "{} is not among the tests of {}",
                attack.name, attack.mutant
            ));
        }
        used.insert(attack.mutant);
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert_eq!(used.len(), mutants.len(), "a mutant belongs to no attack");
}

#[test]
fn rows_are_sentences_and_names_are_unique() {
    let mut names = BTreeSet::new();
    for attack in FAMILIES.iter().flat_map(|family| family.attacks) {
        assert!(names.insert(attack.name), "{} twice", attack.name);
        for sentence in [attack.attacker, attack.device] {
            assert!(
                sentence.ends_with('.') && !sentence.contains('|'),
                "{sentence}"
            );
        }
    }
}
