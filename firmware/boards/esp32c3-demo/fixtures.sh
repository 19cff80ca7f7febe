#!/bin/sh
# Rebuilds the committed images: fixtures.sh writes them, fixtures.sh --check only compares.
#
# They are reproducible: with the compiler, linker and esptool that tests/fixtures/README.md names,
# a difference means that the sources changed and the images did not.
set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
fixtures=$(cd "$here/../../../tests/fixtures" && pwd -P)

case ${1:-} in
    "")
        for version in 1.0.0 1.1.0; do
            "$here/build.sh" "$version" "$fixtures/demo-$version.bin"
        done
        ;;
    --check)
        scratch=$(mktemp -d)
        trap 'rm -rf "$scratch"' EXIT
        for version in 1.0.0 1.1.0; do
            "$here/build.sh" "$version" "$scratch/demo-$version.bin"
            cmp "$scratch/demo-$version.bin" "$fixtures/demo-$version.bin"
        done
        ;;
    *)
        echo "usage: $0 [--check]" >&2
        exit 2
        ;;
esac
