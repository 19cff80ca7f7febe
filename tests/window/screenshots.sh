#!/bin/sh
# Pictures of the real window in every state a reader would look at: screenshots.sh APP CLI OUTDIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 3 ] || { echo "usage: $0 APP CLI OUTDIR" >&2; exit 2; }
exec "$here/isolated.sh" python3 "$here/screenshots.py" "$@"
