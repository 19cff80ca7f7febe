#!/bin/sh
# Draws every icon again from the SVGs beside this script. Needs npm, which fetches the Tauri command
# line, and rsvg-convert (Debian: librsvg2-bin).
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

npx --yes @tauri-apps/cli@2.12.5 icon "$here/airlift.svg" --output "$work"
for name in 32x32.png 128x128.png 128x128@2x.png icon.png icon.ico icon.icns; do
  cp "$work/$name" "$here/$name"
done
for panel in light dark; do
  rsvg-convert -w 32 -h 32 "$here/tray-$panel.svg" -o "$here/tray-$panel.png"
done
