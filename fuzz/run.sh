#!/bin/sh
# Fuzzes, two targets at a time: run.sh [SECONDS [TARGET...]]   (JOBS=2)
#
# What is found stays in work/corpus; corpus.sh takes the best of it over. An input that breaks
# something is left in work/found: put it into regressions/TARGET, where `cargo test` replays it.
set -eu
cd "$(dirname "$0")"

row() { printf '%-16s %12s %10s %8s %6s  %s\n' "$@"; }

one() {
    name=$1
    mkdir -p "work/corpus/$name" "work/found/$name" "corpus/$name"
    found=nothing
    AIRLIFT_FUZZ_TARGET=$name "$FUZZ" "work/corpus/$name" "corpus/$name" "work/seeds/$name" \
        -max_total_time="$SECONDS_EACH" -max_len="$(sed -n "s/^$name //p" work/names)" \
        -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
        -artifact_prefix="work/found/$name/" -print_final_stats=1 >"work/$name.log" 2>&1 ||
        found="SOMETHING: fuzz/work/$name.log"
    stat() { sed -n "s/^stat::$1: *//p" "work/$name.log"; }
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "work/$name.log" | tail -n 1)
    row "$name" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$covered" \
        "$(stat new_units_added)" "$found"
    [ "$found" = nothing ]
}

if [ "${1:-}" = --one ]; then
    one "$2"
    exit
fi

SECONDS_EACH=${1:-60}
[ $# -eq 0 ] || shift
FUZZ=$(./build.sh)
mkdir -p work
cargo run --locked --quiet --bin short -- --names >work/names
cargo run --locked --quiet --bin short -- --seeds work/seeds
[ $# -gt 0 ] || set -- $(cut -d' ' -f1 work/names)
# Nothing here frees what lives as long as the process.
ASAN_OPTIONS=detect_leaks=0
export FUZZ SECONDS_EACH ASAN_OPTIONS
row target executions "a second" covered new found
printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-2}" ./run.sh --one
