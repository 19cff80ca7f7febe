#!/bin/sh
# Builds the programs for the ESP32-C3 and has esptool judge the images; the committed ones as well.
# With Espressif's QEMU, the board's program is updated in it.
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
    "$esptool" image-info "$target/firmware/demo-1.1.0.bin" | grep -iE 'validation hash|checksum'
    for network in wifi emulator; do
        CARGO_TARGET_DIR=$target/firmware/board ESPTOOL=$esptool FEATURES=esp32c3,$network \
            firmware/boards/esp32c3/build.sh 1.0.0 "$target/firmware/board-$network.bin"
        "$esptool" image-info "$target/firmware/board-$network.bin" |
            grep -iE 'validation hash|checksum'
    done
    CARGO_TARGET_DIR=$target/firmware/board ESPTOOL=$esptool EXAMPLE=own_application \
        firmware/boards/esp32c3/build.sh 1.0.0 "$target/firmware/own-application.bin"
    python3 firmware/boards/esp32c3/size.py "$target/firmware/board-wifi.elf" \
        "$target/firmware/board-wifi.bin"
    ESPTOOL=$esptool firmware/boards/emulate/run.sh
fi
scripts/size.sh
.venv/bin/python tests/interop/image_info.py --esptool "$esptool" \
    --break-into "$(mktemp -d)" tests/fixtures >/dev/null
echo "esptool agrees about the committed images and their broken copies"
