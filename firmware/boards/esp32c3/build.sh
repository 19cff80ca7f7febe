#!/bin/sh
# Builds the board's program and writes it as an OTA image: build.sh VERSION OUT.bin
#
# Beside OUT.bin lies the ELF file, OUT.elf.
#
#   FEATURES             cargo features; default: esp32c3,wifi
#   EXAMPLE              an example instead of the board's program, such as own_application
#   AIRLIFT_TRIAL        a release for tests: panics, hangs, fails_check, never_confirms
#   SHUFFLE              links the functions in another order, by this seed
#   RUST=debian|rustup   which compiler; default: Debian's, if its packages are there
#   ESPTOOL              an esptool to use; default: the one pinned in requirements.txt, in a venv
#   CARGO_TARGET_DIR     default: target/ beside this script
#   SOURCE_DATE_EPOCH    build date in the application descriptor; default: a fixed one
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 VERSION OUT.bin" >&2
    exit 2
fi
version=$1
case $2 in
    /*) out=$2 ;;
    *) out=$PWD/$2 ;;
esac

cd "$(dirname "$0")"
here=$(pwd -P)
repo=$(cd ../../.. && pwd -P)
target=riscv32imc-unknown-none-elf
cargo_home=${CARGO_HOME:-$HOME/.cargo}
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}
AIRLIFT_VERSION=$version
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1795305600}
export CARGO_TARGET_DIR AIRLIFT_VERSION SOURCE_DATE_EPOCH
features=${FEATURES:-esp32c3,wifi}

debian_std=/usr/lib/rustlib/src/rust/library
if [ -z "${RUST:-}" ]; then
    if [ -x /usr/bin/cargo ] && [ -d "$debian_std" ]; then RUST=debian; else RUST=rustup; fi
fi
case $RUST in
    debian)
        # As in ../esp32c3-demo/build.sh: Debian has no ready-made core for this target, and its
        # compiler expects a rust-lld that no package puts where it looks.
        cargo=/usr/bin/cargo
        RUSTC=/usr/bin/rustc
        RUSTC_BOOTSTRAP=1
        export RUSTC RUSTC_BOOTSTRAP
        set -- -Zbuild-std=core,alloc
        linker=$(command -v ld.lld-22 || command -v ld.lld) || {
            echo "no linker: apt-get install lld-22" >&2
            exit 1
        }
        ;;
    rustup)
        cargo=cargo
        set --
        ;;
    *)
        echo "RUST must be debian or rustup, not '$RUST'" >&2
        exit 2
        ;;
esac
std=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust

"$cargo" fetch --quiet --locked --target "$target"

# Flags in the environment replace those in .cargo/config.toml, so those come first. Panic messages
# carry source paths: map every folder of this machine to a fixed name. The last match wins.
us=$(printf '\037')
flags="-Clink-arg=-Tlinkall.x${us}-Cforce-frame-pointers"
flags="$flags${us}--cfg${us}sha2_backend_soft=\"compact\""
[ -z "${linker:-}" ] || flags="$flags${us}-Clinker=$linker${us}-Clinker-flavor=ld.lld"
remap() {
    flags="$flags${us}--remap-path-prefix=$1=$2"
}
remap "$HOME" /home
remap "$repo" /airlift
remap "$CARGO_TARGET_DIR" /target
remap "$cargo_home" /cargo
for folder in "$cargo_home"/registry/src/*; do
    remap "$folder" /deps
done
remap "$std" /rust
remap "$(cd "$std" 2>/dev/null && pwd -P || echo "$std")" /rust
CARGO_ENCODED_RUSTFLAGS=$flags
export CARGO_ENCODED_RUSTFLAGS

program="--bin airlift-esp32c3"
[ -z "${EXAMPLE:-}" ] || program="--example $EXAMPLE"
# Only the last step sees the seed, so that the crates underneath are built once.
"$cargo" rustc --quiet --locked --release --target "$target" \
    $program \
    --no-default-features --features "$features" "$@" \
    ${SHUFFLE:+-- "-Clink-arg=--shuffle-sections=.text.*=$SHUFFLE"}
elf=$CARGO_TARGET_DIR/$target/release/${EXAMPLE:+examples/}${EXAMPLE:-airlift-esp32c3}

if [ -z "${ESPTOOL:-}" ]; then
    venv=$CARGO_TARGET_DIR/venv
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    ESPTOOL=$venv/bin/esptool
fi
# 0xb0 is app_elf_sha256 in the application descriptor, as ESP-IDF's own builds fill it.
"$ESPTOOL" --chip esp32c3 elf2image --flash-mode dio --flash-freq 80m --flash-size 4MB \
    --elf-sha256-offset 0xb0 --output "$out" "$elf" >/dev/null
cp "$elf" "${out%.bin}.elf"

# Nothing of this machine may travel to a board. esptool read the ELF file, so look at both.
for file in "$elf" "$out"; do
    for folder in "$HOME/" "$repo" "$CARGO_TARGET_DIR" "$cargo_home" registry/src; do
        if grep -qaF -- "$folder" "$file"; then
            echo "$file names $folder, a path of this machine" >&2
            rm -f "$out"
            exit 1
        fi
    done
done
echo "$out: $(wc -c <"$out") bytes, SHA-256 $(sha256sum "$out" | cut -d' ' -f1)"
