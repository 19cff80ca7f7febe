#!/bin/sh
# Installs what a Debian or Ubuntu machine with Rust and Node still needs: setup.sh GROUP...
#
#   base      to build the libraries and the command line
#   window    to build the desktop app
#   test      to drive the real window, and for the interop tests
#   firmware  to build for the ESP32-C3
#
# Does nothing when all packages are there. Elsewhere it names what is missing and goes on: the
# build then says what it lacks.
set -eu

packages=
for group in "$@"; do
    case $group in
        base) packages="$packages build-essential pkg-config clang libclang-dev libudev-dev" ;;
        window)
            packages="$packages libwebkit2gtk-4.1-dev libayatana-appindicator3-dev librsvg2-dev"
            packages="$packages libsoup-3.0-dev libxdo-dev libssl-dev fonts-dejavu-core"
            ;;
        test)
            packages="$packages webkit2gtk-driver xvfb xauth dbus dbus-x11 imagemagick openssl"
            packages="$packages python3 python3-venv iproute2 fonts-noto-core strace util-linux"
            ;;
        bench) packages="$packages nginx-light wrk" ;;
        firmware)
            packages="$packages rustc-web cargo-web rust-web-src lld-22 python3 python3-venv"
            # littlefs is C; and the updater is weighed and run.
            packages="$packages clang llvm libclang-dev binutils qemu-user"
            ;;
        *)
            echo "unknown group $group" >&2
            exit 2
            ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is no Debian or Ubuntu; install the equivalents of:$packages" >&2
    exit 0
fi
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing packages, and neither root nor sudo to install them:$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "Installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Quiet when it works; all of it when it does not.
{
    $sudo apt-get update &&
        $sudo env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends $missing
} >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
