#!/bin/sh
# Drives the real window: run.sh APP CLI [TEST...]
#
# APP is airlift-desktop and CLI is airlift, both of a development build; airlift-rom-loader, the
# board on USB, is beside CLI and is built if it is not. Everything happens in a network, on a display
# and in a D-Bus session of its own, as far as the machine allows.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { echo "usage: $0 APP CLI [TEST...]" >&2; exit 2; }
[ -x "$(dirname "$2")/airlift-rom-loader" ] ||
    cargo build --locked --quiet --manifest-path "$here/../../Cargo.toml" -p airlift-rom-loader
exec "$here/isolated.sh" python3 "$here/test_window.py" "$@"
