//! One target under libFuzzer: the one that `AIRLIFT_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("AIRLIFT_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = airlift_fuzz::target(&name) else {
        let names: Vec<_> = airlift_fuzz::TARGETS.iter().map(|t| t.name).collect();
        eprintln!("AIRLIFT_FUZZ_TARGET is one of: {}", names.join(" "));
        std::process::exit(2);
    };
    target.run
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| RUN(data));
