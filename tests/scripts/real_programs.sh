#!/bin/sh
# Real programs give the same results under Quarry, default and classic, as without it (tests/real/run).
# timeout: 1500
#
# QUARRY_REAL=--long runs every program with larger sizes; other options of tests/real/run go on the command line.
# In CI every program of the quick form can be installed: there a program that is skipped is a failure.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${QUARRY_LIB:?the path of libquarry.so}"
if ! command -v python3 >/dev/null 2>&1; then
    echo "real_programs: no python3 to run tests/real/run with"
    exit 77
fi
[ -z "${CI:-}" ] || set -- --strict "$@"
exec python3 "$here/../real/run" --lib "$QUARRY_LIB" "${QUARRY_REAL:---quick}" "$@"
