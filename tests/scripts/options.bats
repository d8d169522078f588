#!/usr/bin/env bats
# The options, by every way they come in: what is in force is what confirm_conf prints (M-42).
# shellcheck disable=SC2164 # bats ends a test at the first command that fails
bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR"
    cc=${QUARRY_CC:-gcc}
    unset QUARRY_CONF GLIBC_TUNABLES
    unset "${!MALLOC_@}"
}

# in_force OPTION [NAME=VALUE…] [PROGRAM]: the option's value, and every complaint, of a program so started
in_force() {
    local option=$1 program=/bin/true conf=confirm_conf:true setting
    local settings=()
    shift
    for setting in "$@"; do
        case $setting in
        QUARRY_CONF=*) conf+=,${setting#*=} ;;
        *=*) settings+=("$setting") ;;
        *) program=$setting ;;
        esac
    done
    env "${settings[@]}" QUARRY_CONF="$conf" LD_PRELOAD="$QUARRY_LIB" "$program" 2>messages || true
    sed -n "s/^quarry: $option:\([a-z0-9]*\)$/\1/p" messages
    grep -v '^quarry: [a-z_]*:[a-z0-9]*$' messages || true
}

# is VALUE OPTION SETTING…
is() {
    local value=$1
    shift
    run in_force "$@"
    [ "$output" = "$value" ] || {
        echo "$*: $output, not $value"
        false
    }
}

@test "values of QUARRY_CONF: decimal, hexadecimal, with suffixes; the last one counts" {
    is 131072 top_pad
    is 4096 top_pad QUARRY_CONF=top_pad:4096
    is 4096 top_pad QUARRY_CONF=top_pad:0x1000
    is 4194304 top_pad QUARRY_CONF=top_pad:4m
    is 8 top_pad QUARRY_CONF=top_pad:9,,top_pad:08,
    is true huge QUARRY_CONF=huge:1
    is false fault_ahead QUARRY_CONF=fault_ahead:false
}

@test "what is not allowed is one line, and the default stays" {
    local range=' is not in the range 0 to 256; the default stays'
    for value in -1 257 64k 0x '' 7x 99999999999999999999; do
        is "64
quarry: QUARRY_CONF: option tcache_count: '$value'$range" tcache_count QUARRY_CONF=tcache_count:$value
    done
    is "false
quarry: QUARRY_CONF: option huge: 'yes' is not true or false; the default stays" huge QUARRY_CONF=huge:yes
    run in_force huge QUARRY_CONF=hugs:true
    [ "${#lines[@]}" -eq 2 ]
    [[ ${lines[1]} == "quarry: QUARRY_CONF: unknown option 'hugs'; known are classic, run_max, "*", abort_conf" ]]
}

@test "a message ends, however long what it is about" {
    long=$(printf 'x%.0s' {1..5000})
    run in_force huge QUARRY_CONF="$long"
    [ "${#lines[@]}" -eq 2 ]
    [[ ${lines[1]} == *"xxx...'; known are classic, "*", abort_conf" ]]
    run in_force huge QUARRY_CONF="huge:$long"
    [ "${#lines[@]}" -eq 2 ]
    [[ ${lines[1]} == *"xxx...' is not true or false; the default stays" ]]
}

@test "abort_conf makes it fatal, wherever it stands" {
    for conf in abort_conf:true,hugs:1 hugs:1,abort_conf:true huge:2,abort_conf:1; do
        run env QUARRY_CONF=$conf LD_PRELOAD="$QUARRY_LIB" /bin/true
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
    done
    [ "$output" = "quarry: QUARRY_CONF: option huge: '2' is not true or false" ] # nothing stays
    run env QUARRY_CONF=abort_conf:true,huge:1,abort_conf:false,hugs:1 LD_PRELOAD="$QUARRY_LIB" /bin/true
    [ "$status" -eq 0 ]
}

@test "the classic profile is known before all else, wherever it stands" {
    is 0 run_max QUARRY_CONF=classic:true
    is 7 tcache_count QUARRY_CONF=top_pad:0,classic:1
    is 3 tcache_count QUARRY_CONF=tcache_count:3,classic:true
    is 64 tcache_count QUARRY_CONF=classic:true,classic:false
    is "7
quarry: QUARRY_CONF: option classic: 'x' is not true or false; the default stays" tcache_count QUARRY_CONF=classic:true,classic:x
    is "true
quarry: QUARRY_CONF: option classic: 'x' is not true or false; the default stays" classic QUARRY_CONF=classic:true,classic:x
}

@test "a program's own options give way to the environment's, the profile among them" {
    echo 'const char *quarry_conf = "classic:true,top_pad:4096,decay:7"; int main(void) { return 0; }' >own.c
    "$cc" -rdynamic -o own own.c
    is 7 tcache_count ./own
    is 7 decay ./own
    is true classic ./own
    is 64 tcache_count ./own QUARRY_CONF=classic:false
    is 8200 run_max ./own QUARRY_CONF=classic:false
    is false classic ./own QUARRY_CONF=classic:false
    is 7 decay ./own QUARRY_CONF=classic:false
    is 8192 top_pad ./own QUARRY_CONF=top_pad:8k
    echo 'const char *quarry_conf = "abort_conf:true,hugs:1"; int main(void) { return 0; }' >own.c
    "$cc" -rdynamic -o own own.c
    run env LD_PRELOAD="$QUARRY_LIB" ./own
    [ "$status" -eq 2 ]
    run env QUARRY_CONF=abort_conf:false LD_PRELOAD="$QUARRY_LIB" ./own
    [ "$status" -eq 0 ]
}

@test "glibc's variables and tunables mean what they mean to glibc, and what it takes is taken" {
    local most=$((1 << 62))
    is 4096 top_pad MALLOC_TOP_PAD_=4096
    is 4096 top_pad MALLOC_TOP_PAD_=+4096
    is 8 top_pad MALLOC_TOP_PAD_=010
    is 16 top_pad MALLOC_TOP_PAD_=0x10
    is 131072 top_pad MALLOC_TOP_PAD_=
    is $most trim_threshold MALLOC_TRIM_THRESHOLD_=-1
    is $most mmap_threshold MALLOC_MMAP_THRESHOLD_=99999999999999999999
    is 1000000000 mmap_max MALLOC_MMAP_MAX_=2147483647
    is 0 mmap_max MALLOC_MMAP_MAX_=-1
    is 4096 arena_max MALLOC_ARENA_MAX=100000
    is 2 arena_max GLIBC_TUNABLES=glibc.rtld.nns=4:glibc.malloc.arena_max=2
    is 256 tcache_count GLIBC_TUNABLES=glibc.malloc.tcache_count=1000
    is 32768 tcache_max GLIBC_TUNABLES=glibc.malloc.tcache_max=1000000
    is 0 mxfast GLIBC_TUNABLES=glibc.malloc.mxfast=1000
    is 64 mxfast GLIBC_TUNABLES=glibc.malloc.mxfast=64
    is "131072
quarry: MALLOC_TOP_PAD_: option top_pad: 'much' is not in the range 0 to $((1 << 40)); the default stays" top_pad MALLOC_TOP_PAD_=much
    is 2 arena_max MALLOC_ARENA_MAX=1 GLIBC_TUNABLES=glibc.malloc.arena_max=2
    is 3 arena_max MALLOC_ARENA_MAX=1 GLIBC_TUNABLES=glibc.malloc.arena_max=2 QUARRY_CONF=arena_max:3
}

@test "they count from a program's .preinit_array on" {
    cat >early.c <<'C'
#include <stdlib.h>
static void early(void)
{
    void *volatile p = malloc(40);
    free(p);
}
__attribute__((section(".preinit_array"), used)) static void (*at)(void) = early;
int main(void)
{
    return 0;
}
C
    "$cc" -o early early.c
    is 7 tcache_count ./early QUARRY_CONF=classic:true
    is 4096 top_pad ./early MALLOC_TOP_PAD_=4096
    is 2 arena_max ./early GLIBC_TUNABLES=glibc.malloc.arena_max=2
    "$cc" -static -o early early.c "$QUARRY_BUILD/lib/libquarry.a"
    is 7 tcache_count ./early QUARRY_CONF=classic:true
}
