#!/bin/sh
# Builds the ESP32-C3 program and has esptool judge the image; the committed ones as well.
set -eu
cd "$(dirname "$0")/.."
target=$PWD/${CARGO_TARGET_DIR:-target}
case ${CARGO_TARGET_DIR:-} in /*) target=$CARGO_TARGET_DIR ;; esac
mkdir -p "$target/firmware"
esptool=$PWD/.venv/bin/esptool
if [ ! -x /usr/bin/cargo ] && ! rustc --print target-libdir --target riscv32imc-unknown-none-elf 2>/dev/null | xargs test -d; then
    echo "skipped: no compiler for riscv32imc (Debian: rustc-web, cargo-web, rust-web-src, lld-22)"
else
    CARGO_TARGET_DIR=$target/firmware/build ESPTOOL=$esptool \
        firmware/boards/esp32c3-demo/build.sh 1.1.0 "$target/firmware/demo-1.1.0.bin"
    "$esptool" image-info "$target/firmware/demo-1.1.0.bin" | grep -E 'Validation Hash|Checksum'
fi
.venv/bin/python tests/interop/image_info.py --esptool "$esptool" \
    --break-into "$(mktemp -d)" tests/fixtures >/dev/null
echo "esptool agrees about the committed images and their broken copies"
