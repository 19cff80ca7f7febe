#!/bin/sh
# Fuzzes without cargo-fuzz, with a stable compiler: run.sh [TARGET|all] [SECONDS]
#
# Coverage comes from LLVM's sancov pass, which stable rustc runs when asked. No address sanitizer:
# the code under test forbids unsafe. With cargo-fuzz and it:
#   RUSTC_BOOTSTRAP=1 cargo fuzz run TARGET
set -eu

target=${1:-all}
seconds=${2:-20}
cd "$(dirname "$0")"
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR

host=$(rustc -vV | sed -n 's/^host: //p')
cargo run --quiet --no-default-features --example seeds corpus

flags="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Clink-dead-code"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
# Naming the target keeps build scripts and macros free of these flags.
RUSTFLAGS=$flags cargo build --quiet --release --bins --target "$host"

[ "$target" != all ] || target=$(ls fuzz_targets | sed 's/\.rs$//')
for name in $target; do
    echo "== $name, $seconds s"
    mkdir -p "corpus/$name" "artifacts/$name"
    log=artifacts/$name.log
    if ! "$CARGO_TARGET_DIR/$host/release/$name" "corpus/$name" \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$name/" -print_final_stats=1 >"$log" 2>&1; then
        tail -n 30 "$log"
        echo "$name: found something, see fuzz/artifacts/$name" >&2
        exit 1
    fi
    grep -E '^stat::(number|new)' "$log"
done
