#!/usr/bin/env bats
# quarry stat, explain, map, snapshot: what they say of a good target, and one clear line for a bad one.
# timeout: 180
# builds: release asan

# shellcheck disable=SC2164 # bats ends a test at the first command that fails
bats_require_minimum_version 1.5.0

setup_file() {
    cd "$BATS_FILE_TMPDIR"
    cat >sleeper.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <unistd.h>
int main(void)
{
    char *small = malloc(100), *large = malloc(1000000), *freed = malloc(100);
    char *medium = malloc(3000), *behind = malloc(3000);
    free(freed);
    printf("%p %p %p %p %p\n", (void *)small, (void *)large, (void *)freed, (void *)medium,
           (void *)(behind ? medium + malloc_usable_size(medium) - 1 : behind));
    fflush(stdout);
    pause();
    return 0;
}
EOF
    cc=${QUARRY_CC:-gcc}
    "$cc" -fno-builtin -o sleeper sleeper.c
    "$cc" -fno-builtin -o linked sleeper.c -L"$QUARRY_BUILD/lib" -lquarry -Wl,-rpath,"$QUARRY_BUILD/lib" -Wl,--no-as-needed
    "$cc" -fno-builtin -static -o static sleeper.c "$QUARRY_BUILD/lib/libquarry.a" -lpthread || true
    start "$QUARRY_BIN" run -- ./sleeper
    "$QUARRY_BIN" snapshot "$pid" -o heap.qs
}

teardown_file() {
    while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done <"$BATS_FILE_TMPDIR/pids"
}

setup() {
    cd "$BATS_FILE_TMPDIR"
    quarry=$QUARRY_BIN
    read -r pid small large freed medium last <target
}

# start COMMAND...: runs it until it says where its blocks are; sets $pid and writes all that to `target`.
start() {
    rm -f said
    mkfifo said
    "$@" >said 3>&- &
    pid=$!
    echo "$pid" >>"$BATS_FILE_TMPDIR/pids"
    read -r line <said
    echo "$pid $line" >target
}

# one_line STATUS PATTERN COMMAND...: it ends so, with one line on stderr that says so, and nothing on stdout.
one_line() {
    local expected=$1 pattern=$2
    shift 2
    run --separate-stderr "$@"
    [ "$status" -eq "$expected" ]
    [ -z "$output" ]
    [ "$(printf '%s\n' "$stderr" | wc -l)" -eq 1 ]
    [[ $stderr == "quarry: "*$pattern* ]]
}

@test "every command has --help, on stdout" {
    for command in stat explain map snapshot; do
        run --separate-stderr "$quarry" "$command" --help
        [ "$status" -eq 0 ]
        [[ $output == "usage: quarry $command"* ]]
        [ -z "$stderr" ]
    done
}

@test "wrong usage is status 2 and one line" {
    for command in stat explain map snapshot; do
        one_line 2 "$command" "$quarry" "$command"
        one_line 2 "--nonsense" "$quarry" "$command" --nonsense
        one_line 2 "$command" "$quarry" "$command" 1 2 3 4
    done
    one_line 2 "is no address" "$quarry" explain here "$pid"
    one_line 2 "seconds" "$quarry" stat --watch=soon "$pid"
    one_line 2 "is no process id" "$quarry" stat 99999999999999999999
    one_line 2 "needs a file" "$quarry" snapshot "$pid" -o
    one_line 2 "-o FILE" "$quarry" map "$pid"
}

@test "options stand before and behind the target, the later wins, and -- ends them" {
    "$quarry" snapshot "$pid" -o lost.qs --whole -o-o
    [ ! -e lost.qs ]
    run "$quarry" stat --openmetrics --openmetrics -- -o
    [ "$status" -eq 0 ]
    [ "${lines[-1]}" = "# EOF" ]
    one_line 2 "one target, not '-o' and '--json'" "$quarry" stat -- -o --json
    one_line 2 "unknown option '--json=1'" "$quarry" stat --json=1 ./-o
    one_line 2 "unknown option '--watchful'" "$quarry" stat --watchful ./-o
}

@test "two options that exclude each other are named" {
    one_line 2 "stat: --json or --openmetrics, not both" "$quarry" stat --json --openmetrics "$pid"
    one_line 2 "stat: --openmetrics or --json, not both" "$quarry" stat "$pid" --openmetrics --whole --json
}

@test "bad targets are status 1 and one line that names them" {
    one_line 1 "no such process" "$quarry" stat 4194305
    one_line 1 "runs without Quarry" "$quarry" stat $$
    one_line 1 "No such file" "$quarry" stat nowhere
    one_line 1 "neither a core file nor a snapshot" "$quarry" stat sleeper.c
    one_line 1 "not a core file" "$quarry" stat sleeper
    mkfifo pipe
    one_line 1 "neither a core file nor a snapshot" timeout 10 "$quarry" stat pipe
    one_line 1 "neither a core file nor a snapshot" bash -c "cat heap.qs | '$quarry' stat /dev/stdin"
    one_line 1 "no target" "$quarry" stat ""
    : >empty
    one_line 1 "neither" "$quarry" stat empty
    one_line 1 "." "$quarry" stat .
    head -c 300 heap.qs >shortened
    one_line 1 "damaged or cut off" "$quarry" stat shortened
    { head -c 8 heap.qs; printf '\011\000\000\000'; tail -c +13 heap.qs; } >other
    one_line 1 "another version" "$quarry" explain 0x1000 other
}

@test "a process that has ended and waits to be asked for its status is said to be one" {
    sh -c 'true & echo $! >zombie; exec sleep 20' 3>&- &
    local parent=$!
    for _ in $(seq 50); do
        [[ -s zombie && $(cut -d ' ' -f 3 "/proc/$(cat zombie)/stat") == Z ]] && break
        sleep 0.1
    done
    one_line 1 "(a zombie)" "$quarry" stat "$(cat zombie)"
    kill "$parent"
}

@test "who may not read a process is not told that it runs without Quarry" {
    command -v setpriv >/dev/null && [ "$(id -u)" -eq 0 ] || skip "for root with setpriv"
    setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace true || skip "it may not be dropped here"
    LD_PRELOAD=$QUARRY_LIB setpriv --reuid 65534 --clear-groups sleep 20 3>&- &
    local other=$!
    sleep 0.3
    one_line 1 "no permission" setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$quarry" stat "$other"
    kill "$other"
}

@test "who is kept out by Yama is told so" {
    command -v setpriv >/dev/null && unshare -m mount -t tmpfs none /proc/sys/kernel 2>/dev/null || skip "for root with setpriv"
    setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace true || skip "it may not be dropped here"
    one_line 1 "kernel.yama.ptrace_scope" unshare -m bash -c 'mount -t tmpfs none /proc/sys/kernel
        mkdir /proc/sys/kernel/yama
        echo 1 >/proc/sys/kernel/yama/ptrace_scope
        exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "$@"' - "$quarry" stat "$pid"
}

@test "a process that ends while it is looked at is one line" {
    start "$quarry" run -- ./sleeper
    kill -9 "$pid"
    wait "$pid" || true
    one_line 1 "no such process" "$quarry" stat "$pid"
    start "$quarry" run -- ./sleeper # for the other tests
}

@test "that no descriptors are left is said as it is, wherever they end" {
    limited() { # LIMIT COMMAND...
        bash -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n "$1"; shift; exec "$@"' - "$@"
    }
    for command in stat snapshot "explain $small"; do
        # shellcheck disable=SC2086
        one_line 1 "$pid: Too many open files" limited 4 "$quarry" $command "$pid"
    done
    limited 6 "$quarry" stat "$pid" | grep -q live
    [ ! -x "$QUARRY_BUILD/lib/quarry/play-host" ] ||
        one_line 125 "its descriptors: Too many open files" limited 10 "$quarry" play --check tcache
}

@test "a process that /proc does not show is not said to be none" {
    unshare -m mount -t tmpfs none "/proc/$pid" 2>/dev/null || skip "no file system can be mounted here"
    one_line 1 "may not be seen in /proc" unshare -m bash -c "mount -t tmpfs none /proc/$pid; exec '$quarry' stat $pid"
}

@test "watching ends with one line where there is nothing to look at" {
    one_line 1 "neither a core file nor a snapshot" timeout 3 "$quarry" stat --watch=0.1 sleeper.c
    one_line 1 "runs without Quarry" timeout 3 "$quarry" stat --watch=0.1 $$
    sh -c '"$QUARRY_BIN" run -- ./sleeper >said_of_watched & echo $! >watched; exec sleep 20' 3>&- & # who does not ask for its status
    local parent=$!
    until [ -s said_of_watched ]; do sleep 0.1; done
    (sleep 1 && kill "$(cat watched)") 3>&- &
    run --separate-stderr timeout 10 "$quarry" stat --json --watch=0.2 "$(cat watched)"
    kill "$parent"
    [ "$status" -eq 1 ]
    [[ ${lines[0]} == "{"*"}" ]]
    [[ $stderr == "quarry: stat: $(cat watched): it has ended, or its main thread has (a zombie)" ]]
}

@test "a process of many threads that is killed at any moment of a look is one line, soon, and never damage" {
    cat >churn.c <<'EOF'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *churn(void *seed)
{
    unsigned s = (unsigned)(size_t)seed;
    void *blocks[1000] = {0};
    for (;;) {
        s = s * 1103515245 + 12345;
        free(blocks[s >> 8 & 511]);
        blocks[s >> 8 & 511] = malloc(s >> 12 & 4095);
    }
    return NULL;
}
int main(void)
{
    pthread_t thread;
    for (int i = 0; i < 100000; i++)
        *(volatile char *)malloc(i % 3000 + 1) = 1;
    for (size_t i = 0; i < 3; i++)
        pthread_create(&thread, NULL, churn, (void *)i);
    puts("ready");
    fflush(stdout);
    churn(NULL);
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -pthread -o churn churn.c
    python3 - <<'EOF'
import os, random, re, subprocess, time

quarry = os.environ["QUARRY_BIN"]
GONE = re.compile(rb"quarry: \w+: \d+: (no such process|it has ended, or its main thread has \(a zombie\))\n")
ended = 0
for turn in range(40):
    words = random.choice((["stat", "--json"], ["snapshot", "-o", "ended.qs"], ["explain", "0x10"]))
    churn = subprocess.Popen([quarry, "run", "./churn"], stdout=subprocess.PIPE)
    churn.stdout.readline()
    look = subprocess.Popen([quarry, *words, str(churn.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(random.random() * 0.12)
    churn.kill()
    said, complaint = look.communicate(timeout=30)
    churn.wait()
    if GONE.fullmatch(complaint):
        assert look.returncode == 1 and not said, (words, said)
        ended += 1
    elif words[0] == "explain":
        assert complaint.endswith(b"explain: 0x10: nothing is mapped there\n"), complaint
    else:
        assert look.returncode == 0 and not complaint, (words, look.returncode, complaint, said)
print(f"{ended} of 40 ended in time")
EOF
}

@test "no permission is status 1 and one line" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to become somebody else"
    command -v setpriv >/dev/null || skip "no setpriv"
    cp "$quarry" "$BATS_FILE_TMPDIR/quarry-copy"
    chmod -R a+rX "$BATS_FILE_TMPDIR" "$(dirname "$BATS_FILE_TMPDIR")" || true
    setpriv --reuid 65534 --regid 65534 --clear-groups "$BATS_FILE_TMPDIR/quarry-copy" --version || skip "not to be reached"
    one_line 1 "no permission" setpriv --reuid 65534 --regid 65534 --clear-groups "$BATS_FILE_TMPDIR/quarry-copy" stat "$pid"
}

@test "stat adds up, in words, in JSON and for a collector" {
    run --separate-stderr "$quarry" stat "$pid"
    [ "$status" -eq 0 ]
    [[ $output == *"process $pid"* && $output == *"live"* && $output == *"= mapped"* ]]
    "$quarry" stat --json "$pid" | python3 -c '
import json, sys
stat = json.load(sys.stdin)
f = stat["figures"]
assert stat["findings"] == 0 and stat["doubtful_findings"] == 0
assert sum(v["bytes"] for k, v in f.items() if k != "mapped") == f["mapped"]["bytes"] > 1000000
assert sum(v["resident"] for k, v in f.items() if k != "mapped") == f["mapped"]["resident"]'
    [ "$("$quarry" stat --json "$pid" | wc -l)" -eq 1 ]
    run "$quarry" stat --openmetrics "$pid"
    [[ $output == *'quarry_heap_bytes{part="live"}'* && $output == *"# EOF" ]]
}

@test "what a program calls itself does not reach the terminal as a command" {
    LD_PRELOAD=$QUARRY_LIB bash -c 'exec -a "$1" sleep 60' bash $'\e[31mred\nnew' &
    local named=$!
    for _ in $(seq 50); do
        run "$quarry" stat "$named"
        [[ $output != *"red"* ]] || break
        sleep 0.1
    done
    kill "$named"
    [[ $output == *"process $named  ?[31mred?new 60"* && $output != *$'\e'* ]]
}

@test "no name reaches the terminal as a command, whoever chose it" {
    local evil=$'evil\e[31m\xc2\x9b31m'
    cp sleeper "$evil"
    "./$evil" >/dev/null 3>&- &
    local without=$!
    sleep 0.3
    one_line 1 "runs without Quarry" "$quarry" stat "$without"
    [[ $stderr == *"evil?[31m?31m runs"* ]]
    kill "$without"
    one_line 1 "is a program" "$quarry" stat "$evil"
    [[ $stderr == *" evil?[31m?31m: "* ]]
    LD_PRELOAD=$QUARRY_LIB "./$evil" >said_of_evil 3>&- &
    local named=$!
    until [ -s said_of_evil ]; do sleep 0.1; done
    run "$quarry" explain "0x$(grep -m 1 evil "/proc/$named/maps" | cut -d - -f 1)" "$named"
    kill "$named"
    [[ $output == *"evil?[31m?31m"* && $output != *$'\e'* ]]
}

@test "what is in huge pages is what the kernel says" {
    grep -q '\[never\]' /sys/kernel/mm/transparent_hugepage/enabled && skip "no huge pages here"
    "$QUARRY_BIN" run --conf huge:true -- python3 -c '
import time
blocks = [bytearray(b"x" * (40 << 20)) for _ in range(3)]
print("0 0 0", flush=True)
time.sleep(60)' >huge_said 3>&- &
    local huge=$!
    echo "$huge" >>"$BATS_FILE_TMPDIR/pids"
    until grep -q 0 huge_said; do sleep 0.1; done
    local said kernel
    said=$("$quarry" stat --json "$huge" | python3 -c 'import json, sys; print(json.load(sys.stdin)["figures"]["mapped"]["huge"] // 1024)')
    kernel=$(awk '/^AnonHugePages/ {print $2}' "/proc/$huge/smaps_rollup")
    echo "said $said, kernel $kernel"
    if [ "$kernel" -gt 0 ] && [ "$said" -eq 0 ]; then
        uname -r | awk -F. '{exit !($1 < 6 || ($1 == 6 && $2 < 7))}' && skip "this kernel does not say which pages are huge"
    fi
    [ "$said" -eq "$kernel" ]
    [ "$kernel" -eq 0 ] || "$quarry" stat "$huge" | grep -q "is in huge pages"
}

@test "words for people, keys for programs" {
    run --separate-stderr "$quarry" stat "$pid"
    [[ $output == *"thread caches "* && $output == *"free runs "* ]]
    [[ $output != *_* ]]
    "$quarry" stat --json "$pid" | python3 -c 'import json, sys; assert "free_runs" in json.load(sys.stdin)["figures"]'
}

@test "--whole is understood by all four" {
    "$quarry" stat --whole "$pid" | grep -q live
    "$quarry" explain --whole "$small" "$pid" | grep -q "in use"
    for command in stat explain map snapshot; do
        "$quarry" "$command" --help | grep -q -- --whole
    done
}

@test "no bit of an address is lost in JSON" {
    grep -q vsyscall "/proc/$pid/maps" || skip "no mapping beyond 2^53 here"
    "$quarry" snapshot --json "$pid" >heap.json
    python3 - "$pid" <<'EOF'
import json, sys
number = lambda v: int(v, 16) if isinstance(v, str) else v
said = {(number(m["from"]), number(m["to"])) for m in json.load(open("heap.json"), parse_int=lambda s: int(float(s)))["maps"]}
there = {tuple(int(a, 16) for a in line.split()[0].split("-")) for line in open(f"/proc/{sys.argv[1]}/maps")}
assert said == there, said ^ there
EOF
    [ "$("$quarry" explain --json 0xffffffffff600008 "$pid" | python3 -c 'import json,sys; print(json.load(sys.stdin)["address"])')" = 0xffffffffff600008 ]
}

@test "explain knows blocks, free blocks and what is not ours" {
    run --separate-stderr "$quarry" explain "$small" "$pid"
    [ "$status" -eq 0 ]
    [[ $output == *"the start of the memory"*"in use"* ]]
    run "$quarry" explain "$large" "$pid"
    [[ $output == *"a mapping of its own"* ]]
    run "$quarry" explain "$freed" "$pid"
    [[ $output == *"free, kept by a thread"*"That cache belongs to thread $pid."* ]]
    [ "$("$quarry" explain --json "$small" "$pid" | python3 -c 'import json,sys; print(json.load(sys.stdin)["state"])')" = "in use" ]
    run "$quarry" explain "$last" "$pid" # where the next chunk has begun
    [[ $output == *"byte $((last - medium)) of the memory of a chunk"*"Its memory is $medium to"* ]]
    one_line 1 "nothing is mapped there" "$quarry" explain 0x10 "$pid"
}

@test "an address is hexadecimal with 0x or decimal; a 0 in front, octal elsewhere, is refused" {
    for word in 0123 00 "0$small" 0x 0x-1 12ab "+$((small))" 0x1ffffffffffffffff; do
        one_line 2 "'$word' is no address (hexadecimal with 0x, or decimal without a 0 in front)" "$quarry" explain "$word" "$pid"
    done
    for word in "$((small))" "0X${small#0x}"; do
        [[ $("$quarry" explain "$word" "$pid") == "$small is the start of the memory"* ]]
    done
    one_line 1 "0x0: nothing is mapped there" "$quarry" explain 0 "$pid"
}

@test "a snapshot says what the process said" {
    [ "$("$quarry" stat heap.qs | sed 1,3d | head -n 3)" = "$("$quarry" stat "$pid" | sed 1,3d | head -n 3)" ]
    run "$quarry" snapshot heap.qs --json
    [[ $output == '{"format":"quarry-snapshot","version":1,'* ]]
}

@test "a heap of very many mapped blocks is told about in time that grows with them, not with their square" {
    cat >many.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    void *blocks[40000];
    for (int i = 0; i < 40000; i++)
        blocks[i] = malloc(5000);
    for (int i = 0; i < 40000; i += 2) /* their mappings would be one */
        free(blocks[i]);
    printf("%p\n", blocks[39999]);
    fflush(stdout);
    pause();
    return 0;
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -o many many.c
    start "$quarry" run --conf mmap_threshold:4096,mmap_max:1000000 -- ./many
    local block process=$pid
    read -r _ block <target
    "$quarry" snapshot "$pid" -o many.qs
    start "$quarry" run -- ./sleeper # for the other tests
    milliseconds() { # of the processor, for COMMAND
        { TIMEFORMAT=%U; time "$@" >said_of_many 2>&1; } 2>&1 | tr -d .
    }
    local copying
    copying=$(milliseconds "$quarry" snapshot many.qs -o copy.qs)
    for command in "stat --json many.qs" "snapshot --json many.qs" "explain $block many.qs" "explain $block $process"; do
        # shellcheck disable=SC2086
        took=$(milliseconds "$quarry" $command)
        echo "$command: $took ms, a copy: $copying ms"
        [ "$((10#$took))" -le $((10#$copying * 10 + 500)) ]
    done
    kill "$process"
    [ "$("$quarry" stat --json many.qs | python3 -c 'import json, sys; f = json.load(sys.stdin)["figures"]; print(sum(v["resident"] for k, v in f.items() if k != "mapped") - f["mapped"]["resident"])')" -eq 0 ]
}

@test "a process that holds nonsense where its tables are named harms nobody who looks" {
    cat >nonsense.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "observe/layout.h"
#include "segment/mapped.h"
static void say_nonsense(const char *about)
{
    const uint64_t last_page = UINT64_MAX - 4095;
    struct qy_mapped_register *mapped = (struct qy_mapped_register *)quarry_layout.mapped;
    if (*about == 'f')
        quarry_layout.factor = (void *)last_page;
    else if (*about == 'c')
        quarry_layout.caches = (void *)last_page;
    else if (*about == 's')
        quarry_layout.self_offset = (int64_t)(last_page + 256 - (uint64_t)__builtin_thread_pointer());
    for (size_t i = 0; *about == 'm' && i < mapped->capacity; i++)
        if (mapped->entries[i].mem)
            mapped->entries[i].size = (uint64_t)64 << 40;
}
int main(int count, char **words)
{
    for (int i = 0; i < 1000; i++)
        malloc(100 + (size_t)i * 3);
    if (count < 2 || !malloc(50 << 20))
        return 1;
    say_nonsense(words[1]);
    puts("ready");
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fPIC -fno-builtin -I"$QUARRY_SOURCE/src" -o nonsense nonsense.c -L"$QUARRY_BUILD/lib" -lquarry \
        -Wl,-rpath,"$QUARRY_BUILD/lib"
    for about in factor caches self mapped; do
        start ./nonsense $about
        run timeout 20 "$quarry" stat "$pid"
        [ "$status" -le 1 ]
        kill "$pid"
    done
}

@test "tables that lead to more than there is end a look soon, with a finding that says so" {
    cat >endless.c <<'EOF'
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "arena/arena.h"
#include "observe/layout.h"
#include "segment/mapped.h"
#include "segment/subheap.h"
#include "tcache/tcache.h"
/* 256 times 64 MiB, or all the granules that there can be, have the marks of one. */
static void repeat_granule(bool all)
{
    struct qy_granule_leaf **root = (void *)quarry_layout.granules;
    uintptr_t heap = (uintptr_t)((const struct qy_arena *)quarry_layout.main_arena)->brk.first;
    struct qy_granule_leaf *leaf = root[heap >> QY_LEAF_SHIFT];
    struct qy_granule *granule = leaf->granules[(heap >> QY_GRANULE_SHIFT) % QY_LEAF_ENTRIES];
    memset(granule->marks, 0xff, sizeof granule->marks);
    for (size_t i = 0; i < (all ? QY_LEAF_ENTRIES : 256); i++)
        leaf->granules[i] = granule;
    for (size_t i = 0; all && i < QY_ROOT_ENTRIES; i++)
        root[i] = leaf;
}
static void chain_caches(void)
{
    struct qy_tcache **first = (void *)quarry_layout.caches, *cache = *first;
    size_t count = 300000;
    char *many = mmap(NULL, (count + 1000) * 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < count; i++) {
        struct qy_tcache *next = (void *)(many + i * 64);
        next->stacks[0].key = cache->stacks[0].key;
        next->next = (void *)(many + (i + 1) * 64);
    }
    *first = (void *)many;
}
static void enlarge_register(void)
{
    struct qy_mapped_register *mapped = (void *)quarry_layout.mapped;
    mapped->capacity = (size_t)1 << 32;
    mapped->entries = mmap(NULL, mapped->capacity * sizeof *mapped->entries, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}
int main(int count, char **words)
{
    for (size_t i = 0; i < 1000; i++)
        malloc(5000);
    if (count < 2)
        return 1;
    switch (*words[1]) {
    case 's':
    case 'a':
        repeat_granule(*words[1] == 'a');
        break;
    case 'c':
        chain_caches();
        break;
    default:
        enlarge_register();
    }
    if (write(1, "ready\n", 6) != 6)
        return 1;
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fPIC -fno-builtin -I"$QUARRY_SOURCE/src" -o endless endless.c -L"$QUARRY_BUILD/lib" -lquarry \
        -Wl,-rpath,"$QUARRY_BUILD/lib"
    for about in some all caches register; do
        start ./endless $about
        run timeout 20 "$quarry" stat "$pid"
        [ "$status" -eq 1 ]
        [[ $output == *"limit: "*"lead to more than there is"* ]]
        kill "$pid"
    done
    start "$quarry" run -- ./sleeper # for the other tests
}

@test "a file that a process mapped to write to is not read by who looks" {
    cat >filemap.c <<'EOF'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
    size_t bytes = (size_t)100 << 30;
    int file = open("sparse", O_RDWR | O_CREAT, 0600);
    if (ftruncate(file, (off_t)bytes) != 0)
        return 1;
    if (mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0) == MAP_FAILED)
        return 1;
    printf("%p\n", malloc(100));
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -o filemap filemap.c
    start "$quarry" run -- ./filemap
    [ -n "$line" ] || skip "no such file here"
    "$quarry" stat "$pid"
    [ "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" -lt 100000 ]
    kill "$pid"
    rm sparse
}

@test "who watches a process that cannot be looked at for a while uses up nothing" {
    cat >holds.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>
int main(int count, char **words)
{
    if (count < 2 || ptrace(PTRACE_SEIZE, atoi(words[1]), NULL, NULL) != 0)
        return 1;
    puts("held");
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -o holds holds.c
    start "$quarry" run -- ./sleeper
    local watched=$pid
    "$quarry" stat --json --watch=0.1 "$watched" >looks 2>&1 3>&- &
    local watcher=$!
    echo "$watcher" >>pids
    until [ -s looks ]; do sleep 0.1; done
    local before after
    before=$(find "/proc/$watcher/fd" | wc -l)
    start ./holds "$watched" || start ./holds "$watched" # unless it was being looked at
    [ "$line" = held ]
    sleep 2
    kill -0 "$watcher"
    after=$(find "/proc/$watcher/fd" | wc -l)
    [ "$after" -le $((before + 3)) ]
    kill "$watcher" "$pid" "$watched"
}

@test "findings that are not shown are counted" {
    cat >damaged.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    static char *blocks[5000];
    for (int i = 0; i < 5000; i++)
        blocks[i] = malloc(40);
    for (int i = 0; i < 4999; i++)
        memset(blocks[i] + 40, 0x41, 8);
    printf("%p\n", (void *)blocks[0]);
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -o damaged damaged.c
    start "$quarry" run --conf run_max:0 -- ./damaged
    run "$quarry" stat "$pid"
    kill "$pid"
    [ "$status" -eq 1 ]
    local all more
    all=$(sed -n 's/,//; s/^\([0-9]*\) findings:$/\1/p' <<<"$output")
    more=$(sed -n 's/,//; s/^  and \([0-9]*\) more$/\1/p' <<<"$output")
    [ "$all" -ge 4900 ]
    [ "$all" -eq $((more + 10)) ]
}

@test "of two thousand threads, each is told with its own cache" {
    cat >crowd.c <<'EOF'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
enum { THREADS = 2000 };
static pthread_barrier_t all;
static void *one(void *nothing)
{
    free(malloc(100));
    pthread_barrier_wait(&all);
    pause();
    return nothing;
}
int main(void)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_barrier_init(&all, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, &small, one, NULL) != 0)
            return 1;
    pthread_barrier_wait(&all);
    puts("ready");
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -pthread -o crowd crowd.c
    "$quarry" run -- ./crowd >said_of_crowd 3>&- &
    local crowd=$!
    echo "$crowd" >>pids
    until grep -q ready said_of_crowd; do
        kill -0 "$crowd" || skip "no two thousand threads here"
        sleep 0.1
    done
    "$quarry" snapshot --json "$crowd" >crowd.json
    kill "$crowd"
    python3 - <<'EOF'
import json
heap = json.load(open("crowd.json"))
threads, caches = heap["process"]["threads"], heap["caches"]
assert len({t["cache"] for t in threads}) == len(threads) == 2001
assert all(caches[t["cache"]]["tid"] == t["tid"] for t in threads)
EOF
}

@test "of several copies of Quarry, the one that serves the program is shown, and that there are others" {
    cat >several.c <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words)
{
    void *mapped_by_other = NULL;
    for (int i = 1; i < count; i++) {
        void *copy = dlopen(words[i], RTLD_NOW | (i == 2 ? RTLD_DEEPBIND : 0));
        void *(*theirs)(size_t) = copy ? (void *(*)(size_t))dlsym(copy, "malloc") : NULL;
        if (!theirs || (i == 2 && (!theirs(5000) || !(mapped_by_other = theirs(1 << 20)))))
            return 1;
    }
    for (int i = 0; i < 1000; i++)
        malloc(5000);
    printf("%p %p\n", malloc(1), mapped_by_other);
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -o several several.c -ldl
    for copy in 1 2; do cp -L "$QUARRY_LIB" ./copy$copy.so; done
    for copies in "" ./copy1.so "./copy1.so ./copy2.so"; do
        # shellcheck disable=SC2086
        start "$quarry" run -- ./several $copies
        others=("" "Another copy of Quarry is in this process" "2 other copies of Quarry are in this process")
        count=$(wc -w <<<"$copies")
        [[ $("$quarry" snapshot --json "$pid") != *'"cache":null'* ]]
        [[ $("$quarry" stat --json "$pid") == *"\"other_copies\":$count,"* ]]
        "$quarry" snapshot "$pid" -o copies.qs
        read -r _ ours theirs <target
        for target in "$pid" copies.qs; do
            [[ $("$quarry" snapshot --json "$target") == *"\"other_copies\":$count,"* ]]
            run "$quarry" stat "$target"
            [ "$status" -eq 0 ]
            [[ $output == *"1,0"??"  in blocks that the program holds"* ]]
            [[ $output == *"${others[$count]}"* ]]
            [ -n "$copies" ] || [[ $output != *cop* ]]
            [[ $("$quarry" explain "$ours" "$target") != *cop* ]]
            [ "$count" -lt 2 ] || [[ $("$quarry" explain "$theirs" "$target") == *"is not in Quarry's heap."*"${others[2]}"* ]]
        done
        kill "$pid"
    done
    start "$quarry" run -- ./sleeper # for the other tests
}

@test "a descriptor of another version hides none that is understood, and alone it is named" {
    cat >newer.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "observe/layout.h"
struct quarry_layout newer = {{QY_LAYOUT_MAGIC_0, QY_LAYOUT_MAGIC_1}, &newer, QY_LAYOUT_VERSION + 1};
int main(void)
{
    printf("%p\n", malloc(100));
    fflush(stdout);
    pause();
}
EOF
    "${QUARRY_CC:-gcc}" -fno-builtin -I"$QUARRY_SOURCE/src" -o newer newer.c
    start "$quarry" run -- ./newer
    "$quarry" stat "$pid" | grep "Another copy"
    kill "$pid"
    start ./newer
    one_line 1 "its Quarry is another version" "$quarry" stat "$pid"
    kill "$pid"
    start "$quarry" run -- ./sleeper # for the other tests
}

@test "linked and statically linked programs, and a library that was deleted" {
    start ./linked
    "$quarry" stat "$pid" | grep -q live
    if [ -x static ]; then
        start ./static
        "$quarry" stat "$pid" | grep -q live
    fi
    cp "$QUARRY_BUILD"/lib/libquarry.so.1 gone.so
    start env LD_PRELOAD="$PWD/gone.so" ./sleeper
    rm gone.so
    "$quarry" stat "$pid" | grep -q live
    start "$quarry" run -- ./sleeper
}

@test "a static program with a line break in its name is looked at once" {
    [ -x static ] || skip "no static libc here"
    cp static $'line\nbreak'
    start $'./line\nbreak'
    "$quarry" snapshot --json "$pid" | python3 -c '
import json, sys
heap = json.load(sys.stdin)
assert (heap["stops"], heap["busy"]) == (1, False), (heap["stops"], heap["busy"])'
    kill "$pid"
    start "$quarry" run -- ./sleeper
}

@test "a process that stands already is looked at as it stands" {
    kill -STOP "$pid"
    run --separate-stderr "$quarry" stat "$pid"
    kill -CONT "$pid"
    [ "$status" -eq 0 ]
    for _ in $(seq 50); do # it may have to wait for a processor
        grep -q '^State:.*sleeping' "/proc/$pid/status" && return
        sleep 0.1
    done
    return 1
}

@test "map puts the snapshot into the page" {
    [ -e "$QUARRY_BUILD/share/quarry/viewer.html" ] || skip "no esbuild, no page"
    "$quarry" map "$pid" -o heap.html
    run ! grep -q '@SNAPSHOT@' heap.html
    grep -q '"format":"quarry-snapshot"' heap.html
    one_line 125 "No such file" "$quarry" map "$pid" -o nowhere/heap.html
}

@test "a page that cannot be read, and one that is none, are named" {
    mkdir -p elsewhere/bin elsewhere/share/quarry/viewer.html
    cp "$quarry" elsewhere/bin/
    one_line 125 "elsewhere/share/quarry/viewer.html: Is a directory" elsewhere/bin/quarry map heap.qs -o other.html
    rmdir elsewhere/share/quarry/viewer.html
    echo nothing >elsewhere/share/quarry/viewer.html
    one_line 125 "elsewhere/share/quarry/viewer.html: holds no @SNAPSHOT@" elsewhere/bin/quarry map heap.qs -o other.html
    rm elsewhere/share/quarry/viewer.html
    one_line 125 "viewer.html is not there" elsewhere/bin/quarry map heap.qs -o other.html
    [ ! -e other.html ]
}

@test "a full disk is an error, not silence" {
    one_line 125 "cannot write" "$quarry" snapshot "$pid" -o /dev/full
    one_line 125 "cannot write" "$quarry" snapshot --json "$pid" -o /dev/full
    for command in "stat $pid" "stat --json heap.qs" "explain $small $pid" "play --list" "--help"; do
        for buffering in 0 L 4096; do # where nothing is left for the end, all was lost before
            one_line 125 "cannot write" bash -c "stdbuf -o$buffering '$quarry' $command >/dev/full"
        done
    done
}

@test "a standard output that is closed is an error, not silence" {
    for command in "stat $pid" "stat --openmetrics heap.qs" "explain $small $pid" "snapshot heap.qs" "play --list" "--version"; do
        one_line 125 "cannot write" bash -c "'$quarry' $command >&-"
    done
}

# no_temporaries FOLDER: nothing was left there.
no_temporaries() {
    [ -z "$(find "$1" -maxdepth 1 -name '.quarry-*')" ]
}

@test "a file that could not be written is not there, what was there before stays, and so does a device" {
    local too_large=(bash -c 'trap "" XFSZ; ulimit -f 1; exec "$@"' -)
    mkdir limited
    one_line 125 "cannot write limited/part.json: File too large" "${too_large[@]}" "$quarry" snapshot --json "$pid" -o limited/part.json
    [ ! -e limited/part.json ]
    echo before >limited/part.json
    one_line 125 "cannot write limited/part.json: File too large" "${too_large[@]}" "$quarry" snapshot --json "$pid" -o limited/part.json
    one_line 125 "cannot write limited/part.json: File too large" "${too_large[@]}" "$quarry" play --json -o limited/part.json
    [ ! -e "$QUARRY_BUILD/share/quarry/viewer.html" ] ||
        one_line 125 "cannot write limited/part.json: File too large" "${too_large[@]}" "$quarry" map "$pid" -o limited/part.json
    [ "$(cat limited/part.json)" = before ]
    no_temporaries limited
    ln -s /dev/full device
    one_line 125 "cannot write device: No space left" "$quarry" snapshot "$pid" -o device
    [ -L device ]
}

@test "on a full disk the old file stays" {
    mkdir -p disk
    unshare -m mount -t tmpfs none disk 2>/dev/null || skip "no file system can be mounted here"
    run --separate-stderr unshare -m bash -c 'mount -t tmpfs -o size=64k none disk
        echo before >disk/x
        head -c 60000 /dev/zero >disk/filler
        "$1" snapshot --json "$2" -o disk/x
        echo "$?, $(cat disk/x), $(ls -A disk | wc -l)"' - "$quarry" "$pid"
    [ "$output" = "125, before, 2" ]
    [[ $stderr == *"cannot write disk/x: No space left"* ]]
}

@test "a signal leaves the old file, and nothing beside it" {
    mkdir interrupted
    echo before >interrupted/x
    run bash -c 'ulimit -f 1; exec "$@"' - "$quarry" snapshot --json "$pid" -o interrupted/x
    [ "$status" -eq $((128 + $(kill -l XFSZ))) ]
    [ "$(cat interrupted/x)" = before ]
    no_temporaries interrupted
}

@test "a written file has the mode that a plain create gives, or that it had" {
    (umask 027 && "$quarry" snapshot "$pid" -o fresh.qs)
    [ "$(stat -c %a fresh.qs)" = 640 ]
    chmod 606 fresh.qs
    "$quarry" snapshot "$pid" -o fresh.qs
    [ "$(stat -c %a fresh.qs)" = 606 ]
    "$quarry" stat fresh.qs | grep -q live
    no_temporaries .
    [ "$(id -u)" -ne 0 ] || chown 65534:65534 fresh.qs
    "$quarry" snapshot "$pid" -o fresh.qs
    [ "$(id -u)" -ne 0 ] || [ "$(stat -c %u:%g fresh.qs)" = 65534:65534 ]
}

@test "a link is followed, also to where no file is yet" {
    mkdir -p behind
    ln -s behind/target.qs link
    "$quarry" snapshot "$pid" -o link
    [ -L link ]
    "$quarry" stat behind/target.qs | grep -q live
    local first
    first=$(stat -c %i behind/target.qs)
    "$quarry" snapshot "$pid" -o link
    [ -L link ]
    [ "$(stat -c %i behind/target.qs)" != "$first" ] # another file stands in
    no_temporaries . && no_temporaries behind
}

@test "what another file cannot stand in for is written in place" {
    mkfifo written
    cat written >through 3>&- &
    "$quarry" snapshot "$pid" -o written
    wait $!
    [ -p written ]
    "$quarry" stat through | grep -q live
    bash -c '"$1" snapshot --json "$2" -o /dev/stdout; echo behind >>said_to_stdout' - "$quarry" "$pid" >said_to_stdout
    [ "$(tail -n 1 said_to_stdout)" = behind ]
    [[ "$(head -c 30 said_to_stdout)" == '{"format":"quarry-snapshot"'* ]]
    [ -e /dev/stdout ]
    "$quarry" snapshot "$pid" -o named.qs
    ln named.qs named_too.qs
    "$quarry" snapshot --json "$pid" -o named.qs
    [ "$(stat -c %h named.qs)" -eq 2 ]
    if [ "$(id -u)" -ne 0 ]; then
        chmod 444 named.qs
        one_line 125 "Permission denied" "$quarry" snapshot "$pid" -o named.qs
        mkdir closed && echo before >closed/x && chmod 555 closed
        "$quarry" snapshot "$pid" -o closed/x
        "$quarry" stat closed/x | grep -q live
    fi
}

# in_terminal COMMAND...: what it shows there, and " -> " and its exit status.
in_terminal() {
    timeout 20 python3 -c '
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
try:
    while part := os.read(terminal, 65536):
        said += part
except OSError:
    pass
print(said.decode(errors="replace").replace("\r", ""), "->", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))' "$@"
}

@test "a snapshot is nothing for a terminal" {
    [ "$(in_terminal "$quarry" snapshot heap.qs)" = "quarry: snapshot: this is nothing for a terminal: -o FILE says where to, or --json
 -> 2" ]
    [[ "$(in_terminal "$quarry" snapshot --json heap.qs)" == '{"format"'*" -> 0" ]]
}

@test "a terminal that obeys no codes gets none, and what is shown again and again is told apart" {
    local codes=$'\e[H\e[2J'
    [[ "$(TERM=xterm in_terminal timeout 1 "$quarry" stat --watch=0.3 heap.qs)" == "$codes""process"*"$codes"* ]]
    for term in dumb ""; do
        run env TERM="$term" bash -c "$(declare -f in_terminal); in_terminal timeout 1 '$quarry' stat --watch=0.3 heap.qs"
        [[ $output == "process"*$'\n\n'"process"* && $output != *$'\e'* ]]
    done
    run timeout 1 "$quarry" stat --watch=0.3 heap.qs
    [[ $output == "process"*$'\n\n'"process"* && $output != *$'\e'* ]]
    one_line 2 "seconds are said as --watch=1" "$quarry" stat --watch 1 heap.qs
}
