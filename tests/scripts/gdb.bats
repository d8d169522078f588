#!/usr/bin/env bats
# quarry-gdb.py: what gdb's commands say of a process and of its core, in both profiles, and one clear line where there is nothing to say.
# timeout: 240

bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return 1
    cat >blocks.c <<'EOF'
#include <pthread.h>
#include <stdlib.h>
char small_array[100];
char *in_use, *freed, *behind, *mapped, *fast[3];
int *number;
struct { int member; } record;
void look(void) { __asm__ volatile(""); }
static void *other(void *unused)
{
    char *block = malloc(60);
    free(block);
    look();
    return unused;
}
int main(void)
{
    pthread_t thread;
    in_use = malloc(100);
    freed = malloc(50000);
    behind = malloc(3000);
    for (int i = 0; i < 3; i++)
        fast[i] = malloc(24);
    number = malloc(sizeof *number);
    free(freed);
    mapped = malloc(1 << 20); /* for which what the thread keeps of large blocks goes into its bin */
    for (int i = 0; i < 3; i++)
        free(fast[i]);
    look();
    free(behind);
    look();
    pthread_create(&thread, NULL, other, NULL);
    pthread_join(thread, NULL);
    return 0;
}
EOF
    "${QUARRY_CC:-gcc}" -g -O0 -fno-builtin -o blocks blocks.c -pthread
    in_gdb ./blocks default -ex 'break look' -ex run -ex 'generate-core-file default.core' >default.log
    in_gdb ./blocks classic -ex 'break look' -ex run -ex 'generate-core-file classic.core' >classic.log
    in_gdb ./blocks fast -ex 'break look' -ex run -ex 'generate-core-file fast.core' >fast.log
}

setup() {
    cd "$BATS_FILE_TMPDIR" || return 1
    script=$QUARRY_BUILD/share/quarry/quarry-gdb.py
    stopped=(-ex 'break look' -ex run)
}

# in_gdb PROGRAM default|classic|fast|none ARGUMENTS...: fast is classic without thread caches, so that fast bins are used.
in_gdb() {
    local program=$1 variant=$2 set=(-ex 'set startup-with-shell off' -ex 'set debuginfod enabled off' -ex 'set width 0')
    shift 2
    [ "$variant" = none ] || set+=(-ex "set environment LD_PRELOAD $QUARRY_LIB")
    case $variant in
    classic) set+=(-ex "set environment QUARRY_CONF classic:true") ;;
    fast) set+=(-ex "set environment QUARRY_CONF classic:true,tcache_count:0") ;;
    esac
    HOME=$BATS_FILE_TMPDIR LC_ALL=C timeout 60 gdb -nx -batch -iex 'set auto-load no' "${set[@]}" \
        -ex "source ${script:-$QUARRY_BUILD/share/quarry/quarry-gdb.py}" "$@" "$program" 2>&1
}

# says TEXT...: the output has these, in this order, and no traceback of Python.
says() {
    local rest=$output text
    for text in "$@"; do
        [[ $rest == *"$text"* ]] || { echo "no '$text' in: $rest"; return 1; }
        rest=${rest#*"$text"}
    done
    [[ $output != *Traceback* && $output != *"Python Exception"* && $output != *"occurred in Python"* ]] || { echo "$output"; return 1; }
}

# one_line LINE VARIANT ARGUMENTS...: gdb's last line is this one.
one_line() {
    local line=$1
    shift
    run in_gdb ./blocks "$@"
    says
    # shellcheck disable=SC2053 # a pattern
    [[ ${lines[-1]} == $line ]] || { echo "'${lines[-1]}' is not '$line'"; return 1; }
}

@test "heap: parts, segments, arenas; of a process and of its core" {
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry heap'
    says "process " "default profile" "live " "= mapped " "segment " "runs" "break of arena 0" "mapped" "arena 0, the main arena, at 0x" "top at 0x"
    run in_gdb ./blocks default -ex 'core-file default.core' -ex 'quarry heap'
    says "core file of process" "live " "= mapped " "segment " "runs" "break of arena 0" "arena 0, the main arena, at 0x" "top at 0x"
    run in_gdb ./blocks classic -ex 'core-file classic.core' -ex 'quarry heap'
    says "classic profile" "thread caches " "bins " "= mapped " "break of arena 0"
}

@test "heap: the same figures as quarry stat has for the core" {
    run in_gdb ./blocks default -ex 'core-file default.core' -ex 'quarry heap'
    [[ $output == *"$("$QUARRY_BIN" stat default.core | sed 1,3d)"* ]]
}

@test "bins: each list in its order, and the thread that a cache belongs to" {
    for from in "-ex|break look|-ex|run" "-ex|core-file default.core"; do
        IFS='|' read -ra looking <<<"$from"
        run in_gdb ./blocks default "${looking[@]}" -ex 'printf "fast %p %p %p\n", fast[2], fast[1], fast[0]' -ex 'printf "freed %p\n", (char *)freed - 16' -ex 'quarry bins'
        says "arena 0, the main arena" "bin" "1 chunk"
        freed=$(sed -n 's/^freed //p' <<<"$output")
        says "arena 0" " $freed"
        # shellcheck disable=SC2046 # three words
        set -- $(sed -n 's/^fast //p' <<<"$output")
        says "thread cache of " "cells of " "$1 -> $2 -> $3"
    done
}

@test "bins: the classic profile's fast bin begins with what malloc takes first" {
    run in_gdb ./blocks fast -ex 'core-file fast.core' \
        -ex 'printf "fast %p %p %p\n", fast[2] - 16, fast[1] - 16, fast[0] - 16' -ex 'quarry bins 0' -ex 'quarry chunk fast[1]' -ex 'quarry chunk fast[0]'
    # shellcheck disable=SC2046 # three words
    set -- $(sed -n 's/^fast //p' <<<"$output")
    says "fast bin 0, 32 bytes: 3 chunks" "$1 -> $2 -> $3" "in a fast bin" "Chunk header at $2" "$3, a chunk of 32 bytes" \
        "number 3 of 3 in fast bin 0" "the last of its bin"
}

@test "bins: a process of several threads, and of one arena only" {
    run in_gdb ./blocks default "${stopped[@]}" -ex continue -ex continue -ex 'quarry bins' -ex 'info threads'
    says "thread cache of thread 2 (LWP" "cells of 128 bytes" "thread cache of thread 1 (LWP" "cells of " "* 2 "
    one_line "quarry bins: no arena 9; this heap has *arena*, from 0" default "${stopped[@]}" -ex 'quarry bins 9'
    one_line "quarry bins: 'x' is no number of an arena*" default "${stopped[@]}" -ex 'quarry bins x'
}

@test "bins: as much of a list as print elements allows" {
    run in_gdb ./blocks default "${stopped[@]}" -ex 'set print elements 1' -ex 'quarry bins'
    says "cells of 64 bytes: " "more (set print elements)"
}

@test "chunk: header and neighbours, of any expression" {
    for from in "default|-ex|break look|-ex|run" "default|-ex|core-file default.core" "classic|-ex|core-file classic.core"; do
        IFS='|' read -ra looking <<<"$from"
        run in_gdb ./blocks "${looking[@]}" -ex 'quarry chunk freed' -ex 'quarry chunk behind + 8' -ex 'quarry chunk mapped'
        says "the start of the memory of a chunk" "free, in " "Behind it: " "in use" "Chunk header at 0x" "prev_size" "P: the chunk before is in use" \
            "fd " "the head of the bin" "bk " "the head of the bin" \
            "byte 8 of the memory" "Before it: " "free" "Chunk header" "the chunk before, at 0x" "is free and has 5" "no flags" \
            "a mapping of its own" "M: a mapping of its own"
    done
}

@test "chunk: a cell's header and its neighbours" {
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry chunk fast[1]' -ex 'quarry chunk in_use'
    says "of a cell of 64 bytes, free" "Before it: a cell at" "Behind it: a cell at" "Cell header at" "tag" "stride + 8" "are 0: free" \
        "of a cell of 128 bytes, in use" "stride + 8" "are set: in use"
}

@test "chunk: what is looked at is the moment, not an earlier one" {
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry chunk behind' -ex continue -ex 'quarry chunk behind'
    says "in use: the program holds it" "Breakpoint 1, look" "free, kept by a thread"
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry chunk behind' -ex 'call (void)free(behind)' -ex 'quarry chunk behind'
    says "in use: the program holds it" "Chunk header" "free, kept by a thread"
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry heap' -ex 'set var *(long *)(behind - 8) = 0x4141414141414141' -ex 'quarry chunk behind'
    says "= mapped" "was written over" "0x4141414141414141"
}

@test "a large heap: its lists are read when they are asked for" {
    cat >many.c <<'EOF'
#include <stdlib.h>
char *p[90000];
void look(void) { __asm__ volatile(""); }
int main(void)
{
    for (int i = 0; i < 90000; i++)
        p[i] = malloc(2300);
    for (int i = 0; i < 90000; i += 2)
        free(p[i]);
    look();
    return 0;
}
EOF
    "${QUARRY_CC:-gcc}" -g -O0 -fno-builtin -o many many.c
    run in_gdb ./many default "${stopped[@]}" -ex 'quarry heap' \
        -ex 'python import os; os.system("$QUARRY_BIN snapshot --json %d | grep -o lists_read.:[a-z]*" % gdb.selected_inferior().pid)' \
        -ex 'quarry chunk p[1001]' -ex 'set print elements 4' -ex 'quarry chunk p[1000]' -ex 'quarry bins'
    says "= mapped" 'lists_read":false' "in use: the program holds it" "in large bin" "a chunk of 2,320 bytes" "large bin" " chunks" "more (set print elements)"
}

@test "chunk: what is not in the heap, and what is no address" {
    run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry chunk small_array'
    says "is not in Quarry's heap" "Mapping"
    one_line "quarry: explain: 0x10: nothing is mapped there" default "${stopped[@]}" -ex 'quarry chunk 16'
    one_line "quarry chunk: nowhere: No symbol \"nowhere\" in current context." default "${stopped[@]}" -ex 'quarry chunk nowhere'
    one_line "quarry chunk: record: a value of type struct {...} is no address" default "${stopped[@]}" -ex 'quarry chunk record'
    one_line "quarry chunk: 1.5: a value of type double is no address" default "${stopped[@]}" -ex 'quarry chunk 1.5'
    one_line "quarry chunk: an address, please*" default "${stopped[@]}" -ex 'quarry chunk'
}

@test "no process, one that ended, one that runs, one without Quarry: one line" {
    for command in 'quarry heap' 'quarry bins' 'quarry chunk in_use'; do
        one_line "quarry: no process and no core file*" default -ex "$command"
    done
    one_line "quarry: no process and no core file*" default -ex run -ex 'quarry heap'
    run in_gdb "$(command -v sleep)" default -ex 'run 30 &' -ex 'quarry heap'
    says "is running; interrupt it first"
    one_line "quarry: snapshot: * runs without Quarry" none "${stopped[@]}" -ex 'quarry heap'
}

@test "no command quarry: one line that says where it was looked for" {
    cp "$script" ./quarry-gdb.py
    script=./quarry-gdb.py
    PATH=/usr/bin:/bin one_line "quarry: there is no command \`quarry\`, neither as */bin/quarry nor in PATH" default "${stopped[@]}" -ex 'quarry heap'
    PATH="$(dirname "$QUARRY_BIN"):$PATH" run in_gdb ./blocks default "${stopped[@]}" -ex 'quarry heap'
    says "= mapped"
}

@test "help says what each command takes, and nothing is left behind" {
    run env TMPDIR="$BATS_TEST_TMPDIR" bash -c "$(declare -f in_gdb); in_gdb ./blocks default -ex 'core-file default.core' -ex 'quarry heap' \
        -ex 'help quarry' -ex 'help quarry heap' -ex 'help quarry bins' -ex 'help quarry chunk' -ex 'quarry' -ex 'quarry nonsense'"
    says "= mapped" "quarry bins --" "quarry chunk --" "quarry heap --" "Usage: quarry heap" "Usage: quarry bins [ARENA]" "Usage: quarry chunk EXPRESSION" \
        "List of quarry subcommands" "quarry: no command 'nonsense'"
    [ -z "$(ls "$BATS_TEST_TMPDIR")" ]
}

@test "gdb loads it by itself with the library, from where the installation puts it" {
    lib=$(realpath "$QUARRY_LIB")
    mkdir -p "share/gdb/auto-load$(dirname "$lib")"
    cp "$QUARRY_SOURCE/tools/gdb/auto-load.py" "share/gdb/auto-load$lib-gdb.py"
    ln -s "$(dirname "$script")" share/quarry
    run env HOME="$PWD" timeout 60 gdb -nx -batch -iex "add-auto-load-scripts-directory $PWD/share/gdb/auto-load" -iex "add-auto-load-safe-path $PWD/share" \
        -ex 'set startup-with-shell off' -ex 'set debuginfod enabled off' -ex "set environment LD_PRELOAD $QUARRY_LIB" "${stopped[@]}" -ex 'quarry heap' ./blocks
    says "= mapped"
}
