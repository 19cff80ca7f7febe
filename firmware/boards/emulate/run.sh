#!/bin/sh
# Runs the board's program in Espressif's QEMU: run.sh [SCENARIO...]
#
#   QEMU                  a qemu-system-riscv32 with the machine esp32c3; default: the one on PATH
#   ROLLBACK_BOOTLOADER   an ESP-IDF bootloader with rollback for the ESP32-C3, for `rollback+`
#   CARGO_TARGET_DIR      where everything is built; default: target/
set -eu
cd "$(dirname "$0")/../../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
work=$target/emulate
images=$work/images

skip() {
    echo "skipped: $1"
    exit 0
}
qemu=${QEMU:-$(command -v qemu-system-riscv32 || true)}
[ -n "$qemu" ] || skip "no qemu-system-riscv32 on PATH or in QEMU (Espressif publishes one)"
"$qemu" -machine help 2>/dev/null | grep -q '^esp32c3 ' ||
    skip "$qemu knows no machine esp32c3 (it takes the one that Espressif publishes)"
[ -c /dev/net/tun ] || skip "no /dev/net/tun: the board needs a network with this computer"
unshare --user --map-root-user --net true 2>/dev/null ||
    skip "an ordinary user may not make a network namespace here"
command -v ip >/dev/null || skip "no ip (Debian: iproute2)"

mkdir -p "$images"
build() {
    echo "building $1"
    CARGO_TARGET_DIR=$target/firmware/board FEATURES=${FEATURES:-esp32c3,emulator} \
        firmware/boards/esp32c3/build.sh 1.0.0 "$images/$1.bin" >/dev/null
}
if [ -z "${KEEP_IMAGES:-}" ]; then
    build good
    for kind in panics hangs fails_check never_confirms; do
        AIRLIFT_TRIAL=$kind build $kind
    done
    for seed in 1 2; do
        SHUFFLE=$seed build shuffled_$seed
    done
fi
CARGO_TARGET_DIR=$target cargo build --quiet --locked -p airlift-cli
CARGO_TARGET_DIR=$target cargo build --quiet --locked \
    --manifest-path firmware/boards/factory/Cargo.toml

rm -rf "$work/run"
exec unshare --user --map-root-user --net sh -eu -c '
    ip link set lo up
    ip tuntap add tap0 mode tap
    ip addr add 10.42.0.1/24 dev tap0
    ip link set tap0 up
    exec "$@"
' sh python3 firmware/boards/emulate/emulate.py --qemu "$qemu" --airlift "$target/debug/airlift" \
    --factory "$target/debug/airlift-factory" --images "$images" --work "$work/run" "$@"
