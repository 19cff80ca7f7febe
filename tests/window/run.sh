#!/bin/sh
# Drives the real window: run.sh APP CLI [TEST...]
#
# APP is airlift-desktop and CLI is airlift, both of a development build. Everything happens in a
# network, on a display and in a D-Bus session of its own, as far as the machine allows.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { echo "usage: $0 APP CLI [TEST...]" >&2; exit 2; }
exec "$here/isolated.sh" python3 "$here/test_window.py" "$@"
