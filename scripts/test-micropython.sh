#!/bin/sh
# The MicroPython client under the real MicroPython (its Unix port, from PyPI), over a flash file,
# with the real command line. AIRLIFT_KILLS=200 for all power cuts; arguments name tests:
# scripts/test-micropython.sh test_updates
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
if [ -z "${AIRLIFT_TEST_CLI:-}" ]; then
    cargo build --locked --quiet -p airlift-cli
    AIRLIFT_TEST_CLI=$target/debug/airlift
fi
export AIRLIFT_TEST_CLI PYTHONDONTWRITEBYTECODE=1
cd tests/micropython
if [ $# -eq 0 ]; then
    exec ../../.venv/bin/python -m unittest discover
fi
exec ../../.venv/bin/python -m unittest "$@"
