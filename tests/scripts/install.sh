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
# A gdb of the same prefix looks there, once it sees the library; no other file is there.
(cd prefix/share/gdb/auto-load && find . -type f) >auto-load
[ "$(cat auto-load)" = ".$(realpath "$lib")/libquarry.so.1-gdb.py" ] || fail "gdb's file is for another prefix: $(cat auto-load)"
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

PKG_CONFIG_PATH=$lib/pkgconfig
export PKG_CONFIG_PATH
[ "$(pkg-config --variable=prefix quarry)" = "$work/prefix" ] || fail "quarry.pc names another prefix"
# shellcheck disable=SC2046 # a list of flags
"$cc" -o by_pkgconfig main.c $(pkg-config --cflags --libs quarry)
expect ./by_pkgconfig libquarry.so.1
if command -v gdb >/dev/null 2>&1; then
    LC_ALL=C gdb -nx -batch -iex "add-auto-load-scripts-directory $work/prefix/share/gdb/auto-load" \
        -iex "add-auto-load-safe-path $work/prefix" -ex 'set startup-with-shell off' -ex 'set debuginfod enabled off' \
        -ex "set environment LD_LIBRARY_PATH $lib" -ex 'break puts' -ex run -ex 'quarry heap' by_pkgconfig >gdb.log 2>&1 </dev/null
    grep -q '= mapped' gdb.log || fail "gdb: $(cat gdb.log)"
fi

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
