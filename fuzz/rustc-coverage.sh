#!/bin/sh
# rustc with coverage for the crates under test and for the parsers that they use, and for nothing
# else: fewer counters to look at after each input, and no flags for build scripts and macros.
rustc=$1
shift
case " $* " in
*" --crate-name airlift_"* | *" --crate-name mdns_sd "* | *" --crate-name serde_json "* | \
    *" --crate-name httparse "* | *" --crate-name hyper "* | *" --crate-name tar "*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Ccodegen-units=1 \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*" --crate-name fuzz "*)
    # The sections of the counters belong together; the linker must not take some of them away.
    # shellcheck disable=SC2086
    exec "$rustc" "$@" -Clink-dead-code $AIRLIFT_FUZZ_LINK
    ;;
esac
exec "$rustc" "$@"
