#!/bin/sh
# Quarry built for musl, under programs of musl's: what of tests/preload does not depend on glibc, in the default
# profile. `musl.sh all` is every such test, also in others (musl_long.sh).
# timeout: 300
set -eu
command -v musl-gcc >/dev/null || { echo "skipped: needs musl-gcc (Debian's musl-tools)"; exit 77; }

case ${1:-some} in
all) variants='default;run_max0;notcache;onearena' tests=. ;;
*) variants=default tests='api_|kernel_|model_|safety_|stress_(churn|exit|fork_signal|handover)' ;;
esac

# The kernel's headers are not among those that Debian has for musl.
build=$QUARRY_BUILD/musl
cmake -S "$QUARRY_SOURCE" -B "$build" -G Ninja -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS="-idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)" \
    -DQUARRY_WERROR=ON -DQUARRY_TEST_VARIANTS="$variants" >"$build.log" 2>&1 ||
    { cat "$build.log"; exit 1; }
ninja -C "$build" -j2 tests >"$build.log" 2>&1 || { grep -v '^\[' "$build.log"; exit 1; }

# Of its own libc, and of no other library.
needed=$(readelf -d "$build/lib/libquarry.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
case $needed in
libc.so | libc.musl-*) ;;
*) echo "not ok: the library needs '$needed', not musl's libc alone"; exit 1 ;;
esac

cd "$build"
ctest -j2 --output-on-failure --no-tests=error -R "$tests"
