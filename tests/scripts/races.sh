#!/bin/sh
# Quarry under ThreadSanitizer: no access whose order nothing gives, in any of its shapes. On x86-64 alone, where the
# zone has a place that the sanitizer lets it have (run/zone.c); what it finds holds for all machines.
# timeout: 300
set -eu
[ "$(uname -m)" = x86_64 ] || { echo "skipped: not x86-64"; exit 77; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

compile() {
    "$QUARRY_CC" -std=gnu17 -D_GNU_SOURCE -O1 -g -fsanitize=thread -fno-omit-frame-pointer -fno-builtin \
        -fno-strict-aliasing -w "$@"
}

# Some kernels put a program where this release of the sanitizer cannot have it, unless they are asked not to.
echo 'int main(void) { return 0; }' >none.c
compile none.c -o none 2>none.err || { echo "skipped: $QUARRY_CC has no ThreadSanitizer here: $(tail -n 1 none.err)"; exit 77; }
as_it_is=
./none 2>/dev/null || as_it_is='setarch -R'
$as_it_is ./none 2>none.err || { echo "skipped: ThreadSanitizer does not start here: $(head -n 1 none.err)"; exit 77; }

# All of Quarry but what stands before libc, with other names.
for file in "$QUARRY_SOURCE"/src/*/*.c; do
    case $file in *_shared.c) continue ;; esac
    folder=${file%/*}
    echo "$file ${folder##*/}_${file##*/}.o"
done >sources
CC_LINE="-I$QUARRY_SOURCE/src -I$QUARRY_SOURCE/include -fPIC -fvisibility=hidden -ftls-model=initial-exec"
export QUARRY_CC CC_LINE
# shellcheck disable=SC2016 # the inner shell's
xargs -P2 -n2 sh -c '"$QUARRY_CC" -std=gnu17 -D_GNU_SOURCE= -DQUARRY_VERSION=\"raced\" -O1 -g -fsanitize=thread \
    -fno-omit-frame-pointer -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free \
    -fno-strict-aliasing -w $CC_LINE -c "$0" -o "$1"' <sources
"$QUARRY_CC" -nostdlib -r -o all.o ./*.c.o
nm --defined-only -g all.o | awk '$3 !~ /^(qy_|quarry_)/ { print $3, "raced_" $3 }' >names
objcopy --redefine-syms=names all.o raced.o
compile -I"$QUARRY_SOURCE/tests/include" "$QUARRY_SOURCE/tests/race/race.c" raced.o -o race -lpthread -ldl

failed=0
run() {
    if ! TSAN_OPTIONS="history_size=7 die_after_fork=0 suppressions=$QUARRY_SOURCE/tests/race/suppressions.txt" \
        QUARRY_CONF=$1 $as_it_is ./race "${QUARRY_RACE_ROUNDS:-4000}" >out 2>&1; then
        echo "not ok: QUARRY_CONF=$1"
        head -n 80 out
        failed=1
    else
        echo "ok: QUARRY_CONF=$1: $(grep -a '^race:' out)"
    fi
}

run ''
run classic:true
run run_max:0
run arena_max:1
run classic:true,arena_max:1
run tcache_count:0
run decay:10
run perturb:7
run mmap_threshold:4096,trim_threshold:4096,top_pad:0
exit $failed
