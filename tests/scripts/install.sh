#!/bin/sh
# What is installed can be used: by pkg-config, by find_package, linked statically, and from the installed command.
# timeout: 180
set -eu
cc=${QUARRY_CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "install.sh: $*" >&2; exit 1; }

cmake --install "$QUARRY_BUILD" --prefix "$work/prefix" >install.log || fail "cmake --install"
lib=$(dirname "$(find prefix -name libquarry.so.1)")
for file in bin/quarry include/quarry/quarry.h share/quarry/quarry-gdb.py; do [ -f "prefix/$file" ] || fail "no $file"; done
for file in libquarry.so libquarry.a pkgconfig/quarry.pc cmake/Quarry/QuarryConfig.cmake; do
    [ -f "$lib/$file" ] || fail "no $lib/$file"
done
[ "$(readelf -d "$lib/libquarry.so.1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" = libquarry.so.1 ] || fail "soname"
readelf -d "$lib/libquarry.so.1" | grep -q TEXTREL && fail "text relocations"

# A program that tells whose malloc it has: the object that the symbol lies in.
cat >main.c <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <quarry/quarry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    Dl_info info;
    void *p = malloc(100);
    free(p);
    if (!p || !dladdr((void *)malloc, &info))
        return 1;
    const char *slash = strrchr(info.dli_fname, '/');
    puts(slash ? slash + 1 : info.dli_fname);
    return 0;
}
EOF
expect() { # PROGRAM NAME: its malloc lies in an object of this name
    got=$(LD_LIBRARY_PATH=$lib "$1") || fail "$1 failed"
    [ "$got" = "$2" ] || fail "$1: malloc lies in $got, not in $2"
}

# The prefix of quarry.pc is that of the configuration; a relocated copy is told so, as pkg-config's users do.
PKG_CONFIG_PATH=$lib/pkgconfig
export PKG_CONFIG_PATH
pkg-config --exists quarry || fail "pkg-config does not find quarry"
flags="$(pkg-config --define-variable=includedir="$work/prefix/include" --cflags quarry) $(
    pkg-config --define-variable=libdir="$work/$lib" --libs quarry)"
# shellcheck disable=SC2086 # a list of flags
"$cc" -o by_pkgconfig main.c $flags
expect ./by_pkgconfig libquarry.so.1

"$cc" -Iprefix/include -o by_archive main.c "$lib/libquarry.a" -rdynamic
expect ./by_archive by_archive

mkdir consumer
cat >consumer/CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C)
find_package(Quarry 0.1 REQUIRED)
add_executable(shared ../main.c)
target_link_libraries(shared PRIVATE Quarry::quarry)
add_executable(static ../main.c)
target_link_libraries(static PRIVATE Quarry::static)
set_target_properties(static PROPERTIES ENABLE_EXPORTS ON)
EOF
CC=$cc cmake -G Ninja -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$work/prefix" >cmake.log 2>&1 || {
    cat cmake.log
    fail "find_package"
}
cmake --build consumer/build >cmake.log 2>&1 || { cat cmake.log; fail "build with find_package"; }
expect consumer/build/shared libquarry.so.1
expect consumer/build/static static

# The archive is enough for a program without any shared library.
cat >alone.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    void *p = realloc(malloc(10), 100000);
    free(p);
    return p && puts("alone") >= 0 ? 0 : 1;
}
EOF
"$cc" -static -o alone alone.c "$lib/libquarry.a" || fail "static linking"
[ "$(./alone)" = alone ] || fail "a fully static program does not run"

[ "$(prefix/bin/quarry run -- echo installed)" = installed ] || fail "the installed quarry run"
echo "1 passed, 0 failed"
