#!/bin/sh
# The Rust tests: with nextest where it is installed, else with cargo's own runner. Tools of others
# that judge our formats come from .venv, if scripts/venv.sh made one.
set -eu
cd "$(dirname "$0")/.."
if [ -x .venv/bin/python ]; then
    AIRLIFT_TEST_PYTHON=$PWD/.venv/bin/python
    AIRLIFT_TEST_ESPTOOL=$PWD/.venv/bin/esptool
    export AIRLIFT_TEST_PYTHON AIRLIFT_TEST_ESPTOOL
fi
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --all-targets --no-fail-fast --status-level slow
    cargo test --locked --workspace --doc --quiet
else
    cargo test --locked --workspace --no-fail-fast
fi

# The tests write the window's types anew from crates/app/src/dto.rs.
if git rev-parse --git-dir >/dev/null 2>&1 && ! git diff --quiet -- ui/src/bindings; then
    git --no-pager diff --stat -- ui/src/bindings
    echo "ui/src/bindings is not what crates/app/src/dto.rs says: commit what the tests wrote" >&2
    exit 1
fi
