#!/bin/sh
# Pictures of the real window in every state a reader would look at:
# screenshots.sh APP CLI OUTDIR [devices] [usb]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 3 ] || { echo "usage: $0 APP CLI OUTDIR [devices] [usb]" >&2; exit 2; }
[ -x "$(dirname "$2")/airlift-rom-loader" ] ||
    cargo build --locked --quiet --manifest-path "$here/../../Cargo.toml" -p airlift-rom-loader
exec "$here/isolated.sh" python3 "$here/screenshots.py" "$@"
