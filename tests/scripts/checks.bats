#!/usr/bin/env bats
# The checks can fail: each is shown what it is there to find.
# shellcheck disable=SC2164 # bats ends a test at the first command that fails
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    scripts=$QUARRY_SOURCE/scripts
}

tree() { # a small source tree in which all is well
    mkdir -p src/base src/bin src/segment src/arena tools/quarry
    cp "$QUARRY_SOURCE/src/LAYERS" src/
    echo '#include "lock.h"' >src/base/lock.c
    echo '#include <stddef.h>' >src/base/lock.h
    echo '#include "base/lock.h"' >src/bin/bin.h
    echo '#include "bin/bin.h"' >src/arena/arena.c
    echo '#include <quarry/quarry.h>' >tools/quarry/main.c
}

@test "check-layers: all well" {
    tree
    run "$scripts/check-layers" .
    [ "$status" -eq 0 ]
}

@test "check-layers: an include that goes up" {
    tree
    printf '\n\n#  include "bin/bin.h"\n' >>src/base/lock.c
    run "$scripts/check-layers" .
    [ "$status" -eq 1 ]
    [[ $output == *"src/base/lock.c:4: "*"goes up"* ]]
}

@test "check-layers: siblings, unless LAYERS says so" {
    tree
    echo '#include "bin/bin.h"' >src/segment/brk.c
    run "$scripts/check-layers" .
    [ "$status" -eq 1 ]
    [[ $output == *sideways* ]]
    echo 'segment may include bin' >>src/LAYERS
    run "$scripts/check-layers" .
    [ "$status" -eq 0 ]
}

@test "check-layers: an unknown folder, a missing file, tools that look inside" {
    tree
    mkdir src/odd && touch src/odd/a.c
    run "$scripts/check-layers" .
    [ "$status" -eq 1 ]
    rm -r src/odd
    echo '#include "nothere.h"' >src/bin/a.c
    run "$scripts/check-layers" .
    [ "$status" -eq 1 ]
    rm src/bin/a.c
    for name in base/lock.h ../../src/base/lock.h src/base/lock.h; do
        echo "#include \"$name\"" >tools/quarry/main.c
        run "$scripts/check-layers" .
        [ "$status" -eq 1 ]
    done
}

@test "check-symbols-used: a symbol that is not allowed, and one that must be weak" {
    cat >bad.c <<'EOF'
#include <stdio.h>
void __cxa_throw(void);
void f(void) { printf("no"); __cxa_throw(); }
EOF
    "$QUARRY_CC" -shared -fPIC -fno-builtin -o bad.so bad.c
    QUARRY_LIB=bad.so run "$scripts/check-symbols-used"
    [ "$status" -eq 1 ]
    [[ $output == *"printf is not in"* ]]
    [[ $output == *"__cxa_throw must be a weak reference"* ]]
}

@test "check-exports: one symbol more, one less" {
    for text in 'int cfree;' 'int cfree, qy_leaked;'; do
        echo "$text" >e.c
        "$QUARRY_CC" -shared -fPIC -o e.so e.c
        QUARRY_LIB=e.so run "$scripts/check-exports"
        [ "$status" -eq 1 ]
        [[ $output == *"the exported symbols changed"* ]]
    done
}

@test "check-messages: a text without a row, a row without a text" {
    mkdir -p src tools/quarry docs
    cat >src/a.c <<'EOF'
    qy_fatal(QY_DOUBLE_FREE, mem, "one");
    qy_walk_find(w, at(c), is_doubtful(w), "check",
                 "two");
    qy_fatal("invariant", mem, "I-1: three");
EOF
    printf '| `one` | … |\n| `quarry: four` | … |\n| check | `two` | … |\n' >docs/messages.md
    run "$scripts/check-messages" .
    [ "$status" -eq 0 ]
    printf '| `two` | … |\n| `five` | … |\n' >docs/messages.md
    run "$scripts/check-messages" .
    [ "$status" -eq 1 ]
    [ "${lines[0]}" = "src/a.c:1: 'one' has no row in docs/messages.md" ]
    [ "${lines[1]}" = "docs/messages.md: nobody says 'five'" ]
    [ "${#lines[@]}" -eq 2 ]
}

@test "dev: an unknown command, preset or option is a usage error with exit status 2" {
    cd "$QUARRY_SOURCE"
    for words in "nonsense" "build nonsense" "build release extra" "fmt extra" "lint extra" "test --nonsense"; do
        # shellcheck disable=SC2086
        run ./dev $words
        [ "$status" -eq 2 ]
        [[ $output == *"dev: "* ]]
    done
    run ./dev help
    [ "$status" -eq 0 ]
}

@test "dev: a compiler that is not there is said, unless it is one that can be installed" {
    cd "$QUARRY_SOURCE"
    printf '#!/bin/sh\necho "$*" >>"%s/installed"\nexit 1\n' "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/apt-get"
    chmod +x "$BATS_TEST_TMPDIR/apt-get"
    PATH=$BATS_TEST_TMPDIR:$PATH
    for compiler in nosuch gcc-x clang-1x /nowhere/gcc; do
        CC=$compiler run ./dev build
        [ "$status" -eq 2 ]
        [ "$output" = "dev: there is no compiler '$compiler'" ]
    done
    CC='gcc -m64' run ./dev build
    [ "$status" -eq 2 ]
    [ "$output" = "dev: CC is the name of a compiler, without options: not 'gcc -m64'" ]
    [ ! -e "$BATS_TEST_TMPDIR/installed" ]
    CC=gcc-99 run ./dev build
    [ "$status" -eq 2 ]
    grep -q 'install .* g++-99$' "$BATS_TEST_TMPDIR/installed"
}

@test "dev: the C++ compiler of the same version is needed, too, unless CXX says another" {
    unset CXX
    cp "$QUARRY_SOURCE/dev" . # so that no build folder comes to harm
    mkdir bin
    printf '#!/bin/sh\necho "$*" >>installed\nexit 1\n' >bin/apt-get
    printf '#!/bin/sh\n' >bin/gcc-98
    cp bin/gcc-98 bin/clang-98
    chmod +x bin/*
    PATH=$PWD/bin:$PATH
    for pair in gcc-98:g++-98 clang-98:clang-98; do
        CC=${pair%:*} run ./dev build
        [ "$status" -eq 2 ]
        [ "${lines[-1]}" = "dev: could not install: ${pair#*:}" ]
        grep -q "install .* ${pair#*:}\$" installed
        rm installed
    done
    CC=gcc-97 run ./dev build
    [ "${lines[-1]}" = "dev: could not install: g++-97" ] # which brings both
    rm installed
    CC=gcc-98 CXX='nosuch++ -m64' run ./dev build
    [ "$status" -eq 2 ]
    [ "$output" = "dev: there is no compiler 'nosuch++' (CXX)" ]
    CC=gcc-98 CXX=g++ run ./dev build
    CC=gcc-98 CXX='g++ -m64' run ./dev build
    [ ! -e installed ]
}
