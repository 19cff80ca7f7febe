#!/bin/sh
# Builds the board's program and writes it as an OTA image: build.sh VERSION OUT.bin
#
# Beside OUT.bin lies the ELF file, OUT.elf. Compiler and tools are chosen as in ../image.sh.
#
#   FEATURES             cargo features; default: esp32c3,wifi
#   EXAMPLE              an example instead of the board's program, such as own_application
#   AIRLIFT_TRIAL        a release for tests: panics, hangs, fails_check, never_confirms
#   SHUFFLE              links the functions in another order, by this seed
set -eu
. "$(dirname "$0")/../image.sh"

begin "$@"
# As in .cargo/config.toml, and `relax`: the linker shortens calls, which is 30 KB. rustc warns that it
# is unstable.
rustflags -Ctarget-feature=+relax --cfg 'sha2_backend_soft="compact"'
program="--bin airlift-esp32c3"
[ -z "${EXAMPLE:-}" ] || program="--example $EXAMPLE"
# Only the last step sees the seed, so that the crates underneath are built once.
"$cargo" rustc --quiet --locked --release --target "$target" $program $build_std \
    --no-default-features --features "${FEATURES:-esp32c3,wifi}" \
    ${SHUFFLE:+-- "-Clink-arg=--shuffle-sections=.text.*=$SHUFFLE"}
elf=$CARGO_TARGET_DIR/$target/release/${EXAMPLE:+examples/}${EXAMPLE:-airlift-esp32c3}
image "$elf"
cp "$elf" "${out%.bin}.elf"
