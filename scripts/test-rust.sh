#!/bin/sh
# The Rust tests: with nextest where it is installed, else with cargo's own runner.
set -eu
cd "$(dirname "$0")/.."
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --no-fail-fast
    cargo test --locked --workspace --doc --quiet
else
    cargo test --locked --workspace --no-fail-fast
fi
