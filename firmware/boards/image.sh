# How every program here becomes an OTA image for the ESP32-C3; each build.sh reads this file.
#
#   begin VERSION OUT.bin   picks compiler and folders; sets version, out, cargo, target, build_std
#   rustflags FLAG...       flags for rustc, besides those that every program has
#   image ELF               makes OUT.bin, and refuses it if it names a folder of this machine
#
#   RUST=debian|rustup   which compiler; default: Debian's, if its packages are there
#   ESPTOOL              an esptool to use; default: the one pinned in requirements.txt, in a venv
#   CARGO_TARGET_DIR     default: target/ beside the program's build.sh
#   SOURCE_DATE_EPOCH    build date in the application descriptor; default: a fixed one

target=riscv32imc-unknown-none-elf
us=$(printf '\037')

begin() {
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
    repo=$(cd ../../.. && pwd -P)
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$(pwd -P)/target}
    AIRLIFT_VERSION=$version
    # 2026-11-22: the committed fixtures carry it.
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1795305600}
    export CARGO_TARGET_DIR AIRLIFT_VERSION SOURCE_DATE_EPOCH
    if [ -z "${RUST:-}" ]; then
        RUST=rustup
        [ ! -x /usr/bin/cargo ] || [ ! -d /usr/lib/rustlib/src/rust/library ] || RUST=debian
    fi
    case $RUST in
        debian)
            # Debian has no ready-made core for this target: build it from rust-web-src. By full path,
            # because a rustup in front of PATH would answer for another compiler's sources.
            cargo=/usr/bin/cargo
            RUSTC=/usr/bin/rustc
            RUSTC_BOOTSTRAP=1
            export RUSTC RUSTC_BOOTSTRAP
            build_std=-Zbuild-std=core,alloc
            # Its compiler expects a rust-lld that no package puts where it looks.
            linker=$(command -v ld.lld-22 || command -v ld.lld) || {
                echo "no linker: apt-get install lld-22" >&2
                exit 1
            }
            ;;
        rustup)
            cargo=cargo
            build_std=
            linker=
            ;;
        *)
            echo "RUST must be debian or rustup, not '$RUST'" >&2
            exit 2
            ;;
    esac
    "$cargo" fetch --quiet --locked --target "$target"
}

# Flags in the environment replace those in .cargo/config.toml, so those come first. Panic messages
# carry source paths: map every folder of this machine to a fixed name. The last match wins.
rustflags() {
    flags="-Clink-arg=-Tlinkall.x${us}-Cforce-frame-pointers"
    for flag in "$@"; do
        flags="$flags$us$flag"
    done
    [ -z "$linker" ] || flags="$flags${us}-Clinker=$linker${us}-Clinker-flavor=ld.lld"
    std=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust
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
}

remap() {
    flags="$flags${us}--remap-path-prefix=$1=$2"
}

image() {
    if [ -z "${ESPTOOL:-}" ]; then
        venv=$CARGO_TARGET_DIR/venv
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
        ESPTOOL=$venv/bin/esptool
    fi
    # 0xb0 is app_elf_sha256 in the application descriptor, as ESP-IDF's own builds fill it.
    "$ESPTOOL" --chip esp32c3 elf2image --flash-mode dio --flash-freq 80m --flash-size 4MB \
        --elf-sha256-offset 0xb0 --output "$out" "$1" >/dev/null
    # Nothing of this machine may travel to a board. esptool read the ELF file, so look at both.
    for file in "$1" "$out"; do
        for folder in "$HOME/" "$repo" "$CARGO_TARGET_DIR" "$cargo_home" registry/src; do
            if grep -qaF -- "$folder" "$file"; then
                echo "$file names $folder, a path of this machine" >&2
                rm -f "$out"
                exit 1
            fi
        done
    done
    echo "$out: $(wc -c <"$out") bytes, SHA-256 $(sha256sum "$out" | cut -d' ' -f1)"
}
