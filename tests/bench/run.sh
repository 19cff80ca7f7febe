#!/bin/sh
# Ratios measured in one run: the chunk server against nginx, an update against bare flash time.
set -eu
cd "$(dirname "$0")/../.."
echo "## An update against its bare flash operations"
cargo run --locked --quiet --release -p airlift-virtual-device --example bench_update
echo
echo "## The chunk server against nginx"
python3 tests/bench/serve/bench.py
echo
echo "## The chunk server among a thousand slow connections"
cargo run --locked --quiet --release -p airlift-serve --example bench_slow
echo
echo "## Flashing a board over USB"
scripts/venv.sh
cargo run --locked --quiet --release -p airlift-usb --example bench_usb
