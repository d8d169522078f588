#!/bin/sh
# Each mechanism, when it is broken, is noticed by a test that names it (tests/mutations/run).
# timeout: 3600
# builds: release
# long
set -eu
for command in cmake ninja ctest git python3; do
    command -v "$command" >/dev/null 2>&1 || { echo "mutations: no $command"; exit 77; }
done
exec "$QUARRY_SOURCE/tests/mutations/run"
