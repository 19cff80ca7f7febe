#!/bin/sh
# Formatting, lints, documentation, licences, the direction of dependencies.
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

step "formatting"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check

step "clippy"
cargo clippy --locked --workspace --all-targets --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

step "no tauri under crates/ and firmware/"
for manifest in crates/*/Cargo.toml firmware/*/Cargo.toml; do
    name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
    if cargo tree --locked --prefix none -e normal,build -p "$name" 2>/dev/null | grep -q '^tauri'; then
        echo "$name depends on tauri" >&2
        exit 1
    fi
done

step "the updater depends on no_std crates and never on the host"
if cargo tree --locked --prefix none -e normal -p airlift-updater | grep -Eq '^airlift-(release|serve|app)|^tokio'; then
    echo "firmware/updater depends on the host" >&2
    exit 1
fi

if command -v cargo-deny >/dev/null 2>&1; then
    step "licences, bans, sources"
    cargo deny --offline check bans licenses sources
else
    echo "skipped: cargo-deny is not installed, so licences and bans are not checked"
fi

step "the window: types and lints"
npm --prefix ui run --silent check
npm --prefix ui run --silent lint

step "lock files name no registry host"
if grep -nE '"resolved"' ui/package-lock.json | head -n 3 | grep .; then
    echo "ui/package-lock.json names hosts; see ui/.npmrc" >&2
    exit 1
fi
