#!/usr/bin/env bats
# quarry run: the environment it makes, what it refuses, and that exit status and signals are the program's own.
# timeout: 120
# builds: release asan

# shellcheck disable=SC2164 # bats ends a test at the first command that fails
bats_require_minimum_version 1.5.0

setup_file() {
    export CC=${QUARRY_CC:-gcc}
    cd "$BATS_FILE_TMPDIR"
    cat >hello.c <<'EOF'
#include <stdio.h>
int main(void) { return puts("hello") < 0; }
EOF
    "$CC" -o hello hello.c
    "$CC" -static -o static hello.c
    "$CC" -static-pie -fPIE -o static-pie hello.c 2>/dev/null || cp static static-pie
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    unset QUARRY_CONF LD_PRELOAD
    quarry=$QUARRY_BIN
}

# All of stderr and stdout in $output; one line only.
one_line() { [ "$(printf '%s\n' "$output" | wc -l)" -eq 1 ]; }

elf_stub() { # MACHINE-IN-OCTAL CLASS-IN-OCTAL: a header and nothing else
    printf "\\177ELF\\$2\\001\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\$1\\000\\001\\000\\000\\000"
    head -c 232 /dev/zero
}

# ---- usage ----

@test "help and version go to stdout with status 0" {
    for words in --help --version "run --help"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$quarry" $words
        [ "$status" -eq 0 ]
        [ -n "$output" ]
        [ -z "$stderr" ]
    done
    [[ $("$quarry" --version) == "quarry "[0-9]* ]]
}

@test "help of a command, and nothing after what takes nothing" {
    for command in run stat explain map snapshot play; do
        run "$quarry" help "$command"
        [ "$status" -eq 0 ]
        [ "$output" = "$("$quarry" "$command" --help)" ]
    done
    for words in "--version x" "--help x" "-h run" "help run x"; do
        # shellcheck disable=SC2086 # several words
        run "$quarry" $words
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
        [[ "$output" == "quarry: '"*"' after '"*"' is too much"* ]]
    done
    run "$quarry" help x
    [ "$status" -eq 2 ]
    [ "$("$quarry" help help)" = "$("$quarry" help)" ]
    run "$quarry" help help x
    [ "$status" -eq 2 ]
    run "$quarry" --nonsense
    [ "$status" -eq 2 ]
    [ "$output" = "quarry: unknown option '--nonsense'; see \`quarry --help\`" ]
}

@test "help fits into a terminal of 80 columns" {
    for words in help "play --explain" "help run" "help stat" "help explain" "help map" "help snapshot" "help play"; do
        # shellcheck disable=SC2086
        [ -z "$("$quarry" $words | grep -E '.{81}')" ]
    done
}

@test "help to a full disk is an error, not silence" {
    run bash -c "'$quarry' --help >/dev/full"
    [ "$status" -eq 125 ]
}

@test "no command, an unknown command, an unknown option and no program are usage errors" {
    for words in "" "nonsense" "run" "run --" "run --nonsense -- true" "run --conf"; do
        # shellcheck disable=SC2086
        run "$quarry" $words
        [ "$status" -eq 2 ]
        [ -n "$output" ]
    done
}

# ---- the environment ----

@test "the library is preloaded, from beside the command" {
    run "$quarry" run -- sh -c 'echo "$LD_PRELOAD"; grep -c "r-xp.*libquarry\.so\.1" /proc/self/maps'
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "$(realpath "$(dirname "$quarry")/../lib/libquarry.so.1")" ]
    [ "${lines[1]}" -ge 1 ]
}

@test "an LD_PRELOAD that is there already stays behind Quarry's" {
    run env LD_PRELOAD=libm.so.6 "$quarry" run -- sh -c 'echo "$LD_PRELOAD"'
    [ "$status" -eq 0 ]
    [[ $output == *libquarry.so.1:libm.so.6 ]]
}

@test "--stats reports, also of a program that closes stderr as it ends" {
    for program in echo "env true"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$quarry" run --stats $program
        [ "$status" -eq 0 ]
        [[ $stderr == *"in use bytes"* ]]
    done
}

@test "--stats writes to no file that the program has in its place" {
    "$quarry" run --stats python3 -c '
import os
mine = os.open("mine", os.O_CREAT | os.O_WRONLY)
os.closerange(200, 300)
os.dup2(mine, 200)
os.close(2)'
    [ -e mine ]
    [ ! -s mine ]
}

@test "QUARRY_CONF is the environment's, then --classic and --stats, then --conf" {
    show='echo "$QUARRY_CONF"'
    run --separate-stderr "$quarry" run -- sh -c "$show"
    [ "$output" = "" ]
    run --separate-stderr env QUARRY_CONF=decay:5 "$quarry" run -- sh -c "$show"
    [ "$output" = "decay:5" ]
    run --separate-stderr env QUARRY_CONF=decay:5 "$quarry" run --conf top_pad:0 --stats --classic --conf=arena_max:1 sh -c "$show"
    [ "$output" = "decay:5,classic:true,stats:true,top_pad:0,arena_max:1" ]
}

@test "options end at the program, whose own options are left alone" {
    run "$quarry" run echo --classic -- --help
    [ "$status" -eq 0 ]
    [ "$output" = "--classic -- --help" ]
}

@test "standard input reaches the program" {
    run bash -c "echo abc | '$quarry' run -- cat"
    [ "$output" = abc ]
}

# ---- exit status and signals ----

@test "the exit status is the program's" {
    for code in 0 1 2 77 125 126 127 255; do
        run "-$code" "$quarry" run -- sh -c "exit $code"
        [ -z "$output" ]
    done
}

@test "a signal that kills the program is seen by the caller" {
    for name in TERM KILL SEGV INT; do
        run bash -c "'$quarry' run -- sh -c 'kill -$name \$\$'; exit \$?"
        [ "$status" -eq $((128 + $(kill -l $name))) ]
    done
}

@test "a signal sent to quarry's process reaches the program: it is the same process" {
    "$quarry" run -- sh -c 'trap "exit 9" TERM; echo $$ >pid; while :; do sleep 0.05; done' &
    started=$!
    for _ in $(seq 100); do [ -s pid ] && break; sleep 0.05; done
    [ "$(cat pid)" = "$started" ]
    kill -TERM "$started"
    code=0
    wait "$started" || code=$?
    [ "$code" -eq 9 ]
}

# ---- what cannot be run ----

@test "a missing program is 127" {
    for name in nosuchprogram ./nosuchprogram /nosuch/program ""; do
        run -127 "$quarry" run -- "$name"
        one_line
        [[ $output == "quarry: run: $name: "* ]]
    done
}

@test "a directory and a file that is not executable are 126" {
    mkdir -p folder
    touch plain
    for name in ./folder ./plain / ./plain; do
        run "$quarry" run -- "$name"
        [ "$status" -eq 126 ]
        one_line
    done
    run "$quarry" run -- ./folder
    [ "$output" = "quarry: run: ./folder: is a directory" ]
}

@test "what stands in the way of a program is said, and is not that there is none" {
    ln -sf circle circle
    run "$quarry" run -- ./circle
    [ "$status" -eq 126 ]
    [ "$output" = "quarry: run: ./circle: Too many levels of symbolic links" ]
    [ "$(id -u)" -ne 0 ] || return 0
    mkdir -p shut && cp /bin/true shut/true && chmod 0 shut
    run "$quarry" run -- ./shut/true
    chmod 755 shut
    [ "$status" -eq 126 ]
    [ "$output" = "quarry: run: ./shut/true: Permission denied" ]
}

@test "the search along PATH is execvp's" {
    mkdir -p first second/both
    printf '#!/bin/sh\necho second\n' >second/prog
    echo nothing >first/prog
    chmod +x second/prog
    run env PATH="$PWD/first:$PWD/second:$PATH" "$quarry" run -- prog
    [ "$output" = second ]
    run env PATH="$PWD/first:$PATH" "$quarry" run -- prog
    [ "$status" -eq 126 ]
    run env -u PATH "$quarry" run -- sh -c 'echo found'
    [ "$output" = found ]
    cp hello second/here
    cd second
    run env PATH=":/usr/bin:/bin" "$quarry" run -- here
    [ "$output" = hello ]
}

# ---- where the preload cannot take ----

@test "a static program is refused with its reason; --anyway runs it" {
    for name in ./static ./static-pie; do
        run "$quarry" run -- $name
        [ "$status" -eq 126 ]
        one_line
        [[ $output == "quarry: run: $name: is statically linked"* ]]
        run --separate-stderr "$quarry" run --anyway -- $name
        [ "$status" -eq 0 ]
        [ "$output" = hello ]
        [[ $stderr == *"statically linked"* ]]
    done
}

@test "a set-uid or set-gid program of another user is refused" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    cp hello setuid && chown 65534 setuid && chmod u+s setuid
    cp hello setgid && chgrp 65534 setgid && chmod g+s setgid
    if findmnt -no OPTIONS -T . | grep -q nosuid; then skip "set-uid has no effect on this file system"; fi
    run "$quarry" run -- ./setuid
    [ "$status" -eq 126 ]
    one_line
    [[ $output == *"./setuid: is set-uid"* ]]
    run "$quarry" run -- ./setgid
    [ "$status" -eq 126 ]
    [[ $output == *"./setgid: is set-gid"* ]]
    run --separate-stderr "$quarry" run --anyway ./setuid
    [ "$output" = hello ]
}

@test "a set-uid program that changes nothing runs under Quarry" {
    cp hello own && chmod u+s own
    run "$quarry" run -- ./own
    [ "$status" -eq 0 ]
    [ "$output" = hello ]
}

@test "file capabilities are refused to those who do not have them" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    command -v setcap >/dev/null || skip "needs setcap"
    command -v setpriv >/dev/null || skip "needs setpriv"
    place=$(mktemp -d /tmp/quarry-caps.XXXXXX)
    mkdir "$place/bin" "$place/lib"
    cp hello "$place/capable" && cp "$quarry" "$place/bin/" && cp "$QUARRY_LIB" "$place/lib/libquarry.so.1"
    chmod -R a+rX "$place"
    if ! setcap cap_net_raw+ep "$place/capable"; then
        rm -r "$place"
        skip "this file system keeps no capabilities"
    fi
    cd /
    run setpriv --reuid 65534 --regid 65534 --clear-groups "$place/bin/quarry" run -- "$place/capable"
    refused="$status $output"
    run "$place/bin/quarry" run -- "$place/capable"
    rm -r "$place"
    [[ $refused == "126 "*"has file capabilities"* ]]
    [ "$output" = hello ]
}

@test "a program of another architecture is refused" {
    elf_stub 267 002 >arm64 # EM_AARCH64 183
    elf_stub 003 001 >x86   # EM_386
    chmod +x arm64 x86
    machine=$(uname -m)
    if [ "$machine" != aarch64 ]; then
        run "$quarry" run -- ./arm64
        [ "$status" -eq 126 ]
        one_line
        [[ $output == *"./arm64: is a 64-bit arm64 program, and this Quarry is "* ]]
    fi
    run "$quarry" run -- ./x86
    [ "$status" -eq 126 ]
    [[ $output == *"is a 32-bit x86 program"* ]]
}

@test "a damaged program file is refused" {
    head -c 20 hello >broken
    chmod +x broken
    run "$quarry" run -- ./broken
    [ "$status" -eq 126 ]
    one_line
}

@test "a program of musl's is refused; --anyway runs it without the preload" {
    command -v musl-gcc >/dev/null || skip "needs musl-gcc"
    cat >env.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
int main(void) { puts(getenv("LD_PRELOAD") ? "preloaded" : "alone"); return 0; }
EOF
    musl-gcc -o musl env.c
    run "$quarry" run -- ./musl
    [ "$status" -eq 126 ]
    [[ $output == *"belongs to another libc"* ]]
    run --separate-stderr "$quarry" run --anyway -- ./musl
    [ "$output" = alone ]
}

@test "the dynamic loader started by hand is no static program" {
    loader=$(readelf -l hello | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
    run "$quarry" run -- "$loader" ./hello
    [ "$output" = hello ]
}

# The sanitizer's own complaint speaks of an order of libraries, or of a mapping, and not of malloc.
@test "a program built with a sanitizer that runs beside no other malloc is refused by its name" {
    built=
    build() { # NAME SANITIZER COMPILER OPTIONS...: one that is not installed is left out
        name=$1 sanitizer=$2
        "${@:3}" -o "$name" hello.c 2>/dev/null && ./"$name" >/dev/null 2>&1 || return 0
        built+=" $name:$sanitizer"
    }
    for compiler in gcc clang; do
        command -v $compiler >/dev/null || continue
        static=-static-libtsan shared=()
        if [ $compiler = clang ]; then
            runtime=$(clang -print-file-name=libclang_rt.asan-x86_64.so)
            static=-static-libsan shared=(-shared-libsan "-Wl,-rpath,${runtime%/*}")
        fi
        build $compiler-address AddressSanitizer $compiler -fsanitize=address "${shared[@]}"
        build $compiler-thread ThreadSanitizer $compiler -fsanitize=thread "${shared[@]}"
        build $compiler-thread-static ThreadSanitizer $compiler -fsanitize=thread $static
        build $compiler-memory MemorySanitizer $compiler -fsanitize=memory
    done
    [ -n "$built" ] || skip "no sanitizers here"
    for pair in $built; do
        name=${pair%:*}
        run --separate-stderr "$quarry" run -- "./$name"
        why="quarry: run: ./$name: is built with ${pair#*:}, which runs beside no other malloc"
        [ "$status $output $stderr" = "126  $why (--anyway runs it without Quarry)" ] || { echo "$status $output $stderr"; return 1; }
        run --separate-stderr "$quarry" run --anyway -- "./$name"
        [ "$status $output $stderr" = "0 hello $why; it runs without Quarry" ] || { echo "$status $output $stderr"; return 1; }
    done
}

# ---- where the preload takes, and is not used ----

@test "a program with a sanitizer's malloc built in runs, if that one does not mind another" {
    "$CC" -fsanitize=address -static-libasan -o with-asan hello.c 2>/dev/null || skip "no static AddressSanitizer here"
    run --separate-stderr "$quarry" run -- ./with-asan
    [ "$status $output" = "0 hello" ]
    [ "$stderr" = "quarry: run: ./with-asan: brings its own malloc, which is used instead of Quarry's" ]
}

@test "a program that brings its own malloc runs, after a line that says so" {
    cat >own.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
static char memory[1 << 20], *next = memory;
KIND void *malloc(size_t bytes) { void *p = next; next += (bytes + 15) & ~(size_t)15; return p; }
KIND void free(void *p) { (void)p; }
int main(void)
{
    char *p = malloc(1);
    return puts(p >= memory && p < next ? "its own" : "another") < 0;
}
EOF
    "$CC" -fno-builtin -DKIND= -o own-pie -fPIE -pie own.c
    "$CC" -fno-builtin -DKIND= -o own-no-pie -fno-pie -no-pie own.c
    "$CC" -fno-builtin '-DKIND=__attribute__((weak))' -o own-weak -s own.c
    printf '#!%s\n' "$PWD/own-pie" >own-script && chmod +x own-script
    for name in own-pie own-no-pie own-weak; do
        run --separate-stderr "$quarry" run -- "./$name"
        [ "$status" -eq 0 ]
        [ "$output" = "its own" ]
        [ "$stderr" = "quarry: run: ./$name: brings its own malloc, which is used instead of Quarry's" ]
    done
    run --separate-stderr "$quarry" run -- ./own-script
    [ "$output" = "its own" ]
    [ "$stderr" = "quarry: run: ./own-script: its interpreter $PWD/own-pie brings its own malloc, which is used instead of Quarry's" ]
}

@test "nothing is said of a program that only uses malloc, whatever it calls malloc beside that" {
    cat >address.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
void *(*const taken)(size_t) = malloc;
static void *mine(size_t) __asm__("malloc_of_mine");
static void *mine(size_t bytes) { return taken(bytes); }
int main(void) { return puts(mine(1) ? "hello" : "no memory") < 0; }
EOF
    cat >hidden.c <<'EOF'
__attribute__((visibility("hidden"))) void *malloc(unsigned long bytes) { return (void *)bytes; }
EOF
    cat >library.c <<'EOF'
void *malloc(unsigned long bytes) { return (void *)bytes; }
EOF
    "$CC" -fno-builtin -o address-pie -fPIE -pie address.c
    "$CC" -fno-builtin -o address-no-pie -fno-pie -no-pie address.c # malloc has an address there, and is undefined
    "$CC" -o with-hidden hello.c hidden.c
    "$CC" -shared -fPIC -o libown.so library.c
    "$CC" -fno-builtin -o with-library address.c -Wl,--no-as-needed -L. -lown -Wl,-rpath,"$PWD"
    strip -o stripped hello
    for name in address-pie address-no-pie with-library with-hidden stripped; do
        run --separate-stderr "$quarry" run -- "./$name"
        [ "$status" -eq 0 ]
        [ -z "$stderr" ]
        [ "$output" = hello ]
    done
    readelf -W --dyn-syms address-no-pie | grep -Eq ' 0*[1-9a-f][0-9a-f]* .* UND malloc' || skip "this compiler gives no address to what is undefined"
}

# ---- scripts ----

@test "scripts run, with arguments, by #!, by env and by none" {
    printf '#!/bin/sh\necho "sh $1"\n' >a
    printf '#!/usr/bin/env bash\necho "env $1"\n' >b
    printf '#! /usr/bin/env -S X=1 bash -e\necho "split $X $1"\n' >c
    printf 'echo "bare $1"\n' >d
    chmod +x a b c d
    for pair in "a=sh x" "b=env x" "c=split 1 x" "d=bare x"; do
        run "$quarry" run -- "./${pair%%=*}" x
        [ "$status" -eq 0 ]
        [ "$output" = "${pair#*=}" ]
    done
}

@test "a script is judged by its interpreter, however deep" {
    printf '#!%s\n' "$PWD/static" >one
    printf '#!%s\n' "$PWD/one" >two
    printf '#!/usr/bin/env %s\n' "$PWD/two" >three
    chmod +x one two three
    for name in one two three; do
        run "$quarry" run -- "./$name"
        [ "$status" -eq 126 ]
        one_line
        [[ $output == "quarry: run: ./$name: its interpreter $PWD/static is statically linked"* ]]
    done
}

@test "a script whose interpreter is missing is 127 and says which" {
    printf '#!/nosuch/interpreter\n' >orphan
    printf '#!/usr/bin/env nosuchinterpreter\n' >orphan2
    chmod +x orphan orphan2
    run -127 "$quarry" run -- ./orphan
    [[ $output == *"/nosuch/interpreter"* ]]
    run -127 "$quarry" run -- ./orphan2
    [[ $output == *nosuchinterpreter* ]]
}

@test "a script that is its own interpreter is refused" {
    printf '#!%s\n' "$PWD/loop" >loop
    chmod +x loop
    run timeout 10 "$quarry" run -- ./loop
    [ "$status" -eq 126 ]
}

# ---- the command's own surroundings ----

@test "a command without its library says so" {
    mkdir -p alone/bin
    cp "$quarry" alone/bin/
    run alone/bin/quarry run -- true
    [ "$status" -eq 125 ]
    [[ $output == *"libquarry.so.1"* ]]
}

@test "a path that LD_PRELOAD cannot hold is refused" {
    mkdir -p "a b/bin" "a b/lib"
    cp "$quarry" "a b/bin/"
    cp "$QUARRY_LIB" "a b/lib/libquarry.so.1"
    run "a b/bin/quarry" run -- true
    [ "$status" -eq 125 ]
    one_line
}

@test "found through a symbolic link to the command" {
    ln -sf "$quarry" link
    run ./link run -- ./hello
    [ "$output" = hello ]
}
