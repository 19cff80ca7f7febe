#!/bin/sh
# Weighs the updater as boards have it and measures its memory: size.sh [FILE]
#
# With FILE, writes the tables between its markers. Fails when a limit of firmware/size/report.py is
# exceeded. The compiler is chosen as in firmware/boards/esp32c3/build.sh.
set -eu
cd "$(dirname "$0")/.."
repo=$(pwd -P)
out=${1:-}
target=riscv32imc-unknown-none-elf
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
case $CARGO_TARGET_DIR in /*) ;; *) CARGO_TARGET_DIR=$repo/$CARGO_TARGET_DIR ;; esac
CARGO_TARGET_DIR=$CARGO_TARGET_DIR/size
export CARGO_TARGET_DIR

skip() {
    echo "skipped: $1"
    exit 0
}
for tool in qemu-riscv32 python3 c++filt; do
    command -v "$tool" >/dev/null || skip "no $tool (Debian: qemu-user, python3, binutils)"
done
if [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library ]; then
    # Only core is built: whatever allocates does not compile.
    cargo=/usr/bin/cargo
    RUSTC=/usr/bin/rustc
    RUSTC_BOOTSTRAP=1
    export RUSTC RUSTC_BOOTSTRAP
    set -- -Zbuild-std=core
    linker=$(command -v ld.lld-22 || command -v ld.lld) || skip "no linker (Debian: lld-22)"
elif rustc --print target-libdir --target "$target" 2>/dev/null | xargs test -d; then
    # Nothing names an allocator: whatever allocates does not link.
    cargo=cargo
    set --
    linker=
else
    skip "no compiler for $target (Debian: rustc-web, cargo-web, rust-web-src, lld-22)"
fi

us=$(printf '\037')
# sha2's rounds as loops instead of one after the other: 61 KB less, and quicker from a flash that is
# read through a cache. Relaxation: the linker makes near calls short.
flags="--cfg=sha2_backend=\"soft\"${us}--cfg=sha2_backend_soft=\"compact\"${us}-Ctarget-feature=+relax"
flags="$flags${us}-Csymbol-mangling-version=v0${us}-Clink-arg=--emit-relocs"
[ -z "$linker" ] || flags="$flags${us}-Clinker=$linker${us}-Clinker-flavor=ld.lld"
export CARGO_ENCODED_RUSTFLAGS="$flags"

# littlefs is C, compiled as for a board.
export CC_riscv32imc_unknown_none_elf=clang AR_riscv32imc_unknown_none_elf=llvm-ar
export CFLAGS_riscv32imc_unknown_none_elf=-Oz
export C_INCLUDE_PATH="$repo/firmware/boards/esp32c3/include"

cd firmware/size
build() {
    "$cargo" build --quiet --locked --release --target "$target" "$@"
    cp "$CARGO_TARGET_DIR/$target/release/airlift-size" "$CARGO_TARGET_DIR/$name.elf"
}
name=plain
build "$@"
plain=$CARGO_TARGET_DIR/plain.elf
littlefs=
if command -v llvm-ar >/dev/null && clang --print-targets 2>/dev/null | grep -q riscv32 &&
    [ -d "$C_INCLUDE_PATH" ]; then
    name=littlefs
    build --features littlefs "$@"
    littlefs=$CARGO_TARGET_DIR/littlefs.elf
else
    echo "without littlefs: no clang and llvm-ar for riscv32 (Debian: clang, llvm)" >&2
fi
python3 report.py "$plain" $littlefs ${out:+-o "$repo/$out"}
