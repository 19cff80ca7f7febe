#!/bin/sh
# The C compiler with sanitizers for littlefs, and coverage where it is clang; everything else as is.
cc=${AIRLIFT_FUZZ_CC:-cc}
case " $* " in
*/lfs.c\ * | */lfs_util.c\ *)
    # shellcheck disable=SC2086
    exec "$cc" "$@" $AIRLIFT_FUZZ_CFLAGS
    ;;
esac
exec "$cc" "$@"
