#!/bin/sh
# The page in which one looks at a heap, in a real Chromium; or the tests of viewer/test that are named: viewer.sh [NAME...]
# timeout: 300
# serial
set -eu
for command in node chromium; do
    command -v "$command" >/dev/null 2>&1 || { echo "no $command"; exit 77; }
done
[ -d "$QUARRY_SOURCE/viewer/node_modules/playwright-core" ] || { echo "no playwright-core (./dev test installs it)"; exit 77; }
QUARRY_VIEWER=$QUARRY_BUILD/share/quarry/viewer.html
[ -f "$QUARRY_VIEWER" ] || { echo "no esbuild, so no page"; exit 77; }
CHROMIUM=$(command -v chromium)
export QUARRY_VIEWER CHROMIUM
cd "$QUARRY_SOURCE/viewer"
[ $# -gt 0 ] || set -- model page
for name; do
    shift
    set -- "$@" "test/$name.test.js"
done
exec node --test "$@"
