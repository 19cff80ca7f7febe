#!/bin/sh
# Builds the fuzzer with a stable compiler and without cargo-fuzz, and prints where it is.
#
# Coverage of Rust comes from LLVM's sancov pass, which stable rustc runs when asked. The address
# sanitizer needs a nightly rustc for Rust; littlefs, the only code here that is not safe Rust, is
# C and gets it, and the undefined-behaviour sanitizer, from the C compiler. Its allocator also makes
# -malloc_limit_mb work, for all targets.
set -eu
cd "$(dirname "$0")"
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
export CARGO_TARGET_DIR

AIRLIFT_FUZZ_CC=cc
AIRLIFT_FUZZ_CFLAGS=
AIRLIFT_FUZZ_LINK=
# rustc links with -nodefaultlibs, so the runtime is named. The static one comes before any library.
runtime=$(cc -print-file-name=libasan.a)
if [ -f "$runtime" ]; then
    sanitize="-g -fno-omit-frame-pointer -fsanitize=address,undefined"
    AIRLIFT_FUZZ_CFLAGS="$sanitize -fsanitize-undefined-trap-on-error"
    for argument in --whole-archive "$runtime" --no-whole-archive --export-dynamic; do
        AIRLIFT_FUZZ_LINK="$AIRLIFT_FUZZ_LINK -Clink-arg=-Wl,$argument"
    done
    AIRLIFT_FUZZ_LINK="$AIRLIFT_FUZZ_LINK -Clink-arg=-lm -Clink-arg=-ldl -Clink-arg=-lrt"
else
    echo "no address sanitizer: littlefs is fuzzed without it" >&2
fi
if command -v clang >/dev/null 2>&1; then
    AIRLIFT_FUZZ_CC=clang
    coverage="-fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp"
    AIRLIFT_FUZZ_CFLAGS="$AIRLIFT_FUZZ_CFLAGS $coverage"
else
    echo "no clang: littlefs is fuzzed without coverage of its own" >&2
fi
export AIRLIFT_FUZZ_CC AIRLIFT_FUZZ_CFLAGS AIRLIFT_FUZZ_LINK
CC=$PWD/cc-sanitized.sh RUSTC_WRAPPER=$PWD/rustc-coverage.sh \
    cargo build --locked --quiet --release --features libfuzzer --bin fuzz >&2
echo "$CARGO_TARGET_DIR/release/fuzz"
