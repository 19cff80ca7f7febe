#!/bin/sh
# Builds the demo firmware and writes it as an OTA image: build.sh VERSION OUT.bin
#
# Same sources, compiler, lock file and esptool give the same bytes, wherever the tree lies. Compiler
# and tools are chosen as in ../image.sh.
#
#   FEATURES   further cargo features, such as emulator
set -eu
. "$(dirname "$0")/../image.sh"

begin "$@"
rustflags
# 1.0.0 is the plain program; everything after it has the slot report.
features=${FEATURES:-}
[ "$version" = 1.0.0 ] || features="$features slot-report"
"$cargo" build --quiet --locked --release --target "$target" --features "$features" $build_std
image "$CARGO_TARGET_DIR/$target/release/airlift-demo"
