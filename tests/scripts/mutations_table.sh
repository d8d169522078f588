#!/bin/sh
# What the mutations replace is still in the source, each piece once (tests/mutations/run --list). The mutations themselves are in mutations.sh.
# builds: release
set -eu
"$QUARRY_SOURCE/tests/mutations/run" --list >/dev/null
