#!/bin/sh
# The library for aarch64, built by Debian's cross compiler, passes under an emulator what an emulator can judge: not sizes of
# memory, which are its own; nor how a process dies; nor fork and exec among threads, which it does not stand.
# timeout: 1200
# builds: release
# long
set -eu
fail() { echo "aarch64_long.sh: $*" >&2; exit 1; }
[ "$(uname -m)" != aarch64 ] || { echo "this is aarch64: all tests run on it"; exit 77; }
for command in qemu-aarch64 aarch64-linux-gnu-gcc aarch64-linux-gnu-g++; do
    command -v $command >/dev/null || fail "$command is missing (packages qemu-user, g++-aarch64-linux-gnu)"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

anywhere='api_calloc api_free api_realloc stress_exit stress_handover stress_signal'
default='api_stats bounded_costs cxx_replaced mech_default_sharing mech_default_tcache'
targets=quarry_shared
for test in $anywhere $default; do targets="$targets preload_$test"; done
cmake -S "$QUARRY_SOURCE" -B "$work" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$QUARRY_SOURCE/cmake/aarch64.cmake" \
    -DQUARRY_WERROR=ON >"$work/configure.log" 2>&1 || { cat "$work/configure.log"; fail configure; }
# shellcheck disable=SC2086 # a list of words
ninja -C "$work" $targets >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; fail build; }

unset LD_PRELOAD QUARRY_CONF
run() { # CONF TEST
    echo "$2 under '$1'"
    QUARRY_CONF=$1 qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_PRELOAD="$work/lib/libquarry.so.1" \
        "$work/tests/preload/preload_$2" >"$work/$2.log" 2>&1 || { cat "$work/$2.log"; fail "$2 under '$1'"; }
    grep -q ' passed, 0 failed' "$work/$2.log" || fail "$2 said no result"
}
for test in $anywhere; do run '' "$test"; run classic:true "$test"; done
for test in $default; do run '' "$test"; done
