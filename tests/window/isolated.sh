#!/bin/sh
# Runs a command without the machine's network (devices of others would appear in the window) and
# with a D-Bus session of its own (notifications and single instance stay inside).
set -eu
if [ "${AIRLIFT_ISOLATED:-}" = "" ] && unshare -rn true 2>/dev/null; then
    export AIRLIFT_ISOLATED=1
    exec unshare -rn "$0" "$@"
fi
[ "${AIRLIFT_ISOLATED:-}" = "" ] || ip link set lo up
# The bus and what it starts chat; the command keeps its own output.
exec 3>&1 4>&2
exec dbus-run-session -- sh -c 'exec "$@" >&3 2>&4 3>&- 4>&-' sh "$@" >/dev/null 2>&1
