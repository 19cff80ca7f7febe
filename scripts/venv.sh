#!/bin/sh
# Makes the Python environment of the interop tests in .venv, from tests/requirements.txt.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv/requirements.stamp
if ! cmp -s tests/requirements.txt "$stamp" 2>/dev/null; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
    cp tests/requirements.txt "$stamp"
fi
