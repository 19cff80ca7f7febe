#!/bin/sh
# Builds the programs for the ESP32-C3, packs them, and has tools of others judge images and release;
# the committed images as well. With Espressif's QEMU, the board's program is updated in it.
set -eu
cd "$(dirname "$0")/.."
target=$PWD/${CARGO_TARGET_DIR:-target}
case ${CARGO_TARGET_DIR:-} in /*) target=$CARGO_TARGET_DIR ;; esac
out=$target/firmware
mkdir -p "$out"
esptool=$PWD/.venv/bin/esptool

judge() {
    "$esptool" image-info "$1" | grep -iE 'validation hash|checksum'
}

# Image and ELF file become releases, and the release becomes the flash of a new board.
pack() {
    CARGO_TARGET_DIR=$target cargo build --quiet --locked -p airlift-cli
    CARGO_TARGET_DIR=$target cargo build --quiet --locked \
        --manifest-path firmware/boards/factory/Cargo.toml
    key=$out/test-key
    rm -f "$key.pem" "$key.pub.pem"
    "$target/debug/airlift" key new "$key.pem" >/dev/null
    for app in bin elf; do
        release=$out/board-wifi-$app.airlift
        "$target/debug/airlift" pack --product test-board --sequence 1 --app "$out/board-wifi.$app" \
            --files tests/fixtures/files/1.0.0 --key "$key.pem" --output "$release"
        "$target/debug/airlift" inspect "$release" | grep -F 'esp32c3'
        .venv/bin/python tests/interop/verify_release.py "$release" --trust "$key.pub.pem"
    done
    "$target/debug/airlift-factory" "$release" --trust "$key.pub.pem" --output "$out/board-wifi-flash.bin" \
        --partition-table "$out/board-wifi-partitions.bin"
    # The bootloader starts the flash of this chip.
    judge "$out/board-wifi-flash.bin"
}

if [ ! -x /usr/bin/cargo ] && ! rustc --print target-libdir --target riscv32imc-unknown-none-elf 2>/dev/null | xargs test -d; then
    echo "skipped: no compiler for riscv32imc (Debian: rustc-web, cargo-web, rust-web-src, lld-22)"
else
    CARGO_TARGET_DIR=$out/build ESPTOOL=$esptool \
        firmware/boards/esp32c3-demo/build.sh 1.1.0 "$out/demo-1.1.0.bin"
    judge "$out/demo-1.1.0.bin"
    for network in wifi emulator; do
        CARGO_TARGET_DIR=$out/board ESPTOOL=$esptool FEATURES=esp32c3,$network \
            firmware/boards/esp32c3/build.sh 1.0.0 "$out/board-$network.bin"
        judge "$out/board-$network.bin"
    done
    CARGO_TARGET_DIR=$out/board ESPTOOL=$esptool EXAMPLE=own_application \
        firmware/boards/esp32c3/build.sh 1.0.0 "$out/own-application.bin"
    python3 firmware/boards/esp32c3/size.py "$out/board-wifi.elf" "$out/board-wifi.bin"
    pack
    ESPTOOL=$esptool firmware/boards/emulate/run.sh
fi
scripts/size.sh
.venv/bin/python tests/interop/image_info.py --esptool "$esptool" \
    --break-into "$(mktemp -d)" tests/fixtures >/dev/null
echo "esptool agrees about the committed images and their broken copies"
