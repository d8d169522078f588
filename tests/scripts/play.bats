#!/usr/bin/env bats
# quarry play: the lessons, the language and its errors. (The page is tested in tests/scripts/play_page.sh.)
# timeout: 120
# builds: release asan

setup() {
    cd "$BATS_TEST_TMPDIR" || exit
}

# A script of these lines must be refused with exit status 2 and exactly this complaint behind "quarry: ".
refuses() {
    printf '%s\n' "${@:2}" >s.play
    run "$QUARRY_BIN" play s.play --check
    [ "$status" -eq 2 ] || { echo "status $status: $output"; return 1; }
    [ "$output" = "quarry: $1" ] || { echo "said: $output"; return 1; }
}

@test "every lesson runs, and all that it says is so" {
    run "$QUARRY_BIN" play --check
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(echo "$output" | grep -c 'expectations hold')" -eq "$(ls "$QUARRY_SOURCE"/lessons/*.play | wc -l)" ]
}

@test "every mechanism has a lesson" {
    covered=" $("$QUARRY_BIN" play --list | grep -o '[ME]-[0-9]*' | sort -u | tr '\n' ' ')"
    for id in M-01 M-02 M-03 M-04 M-05 M-06 M-10 M-11 M-12 M-13 M-14 M-15 M-16 M-17 M-18 M-20 M-21 M-22 M-23 M-24 M-25 \
        M-30 M-31 M-32 M-33 M-34 M-40 M-41 M-42 M-50 M-51 M-60 M-61 M-62 E-1 E-2 E-3 E-4 E-5 E-6 E-7 E-8 E-9; do
        case $covered in *" $id "*) ;; *) echo "no lesson covers $id"; return 1 ;; esac
    done
}

@test "every step that a lesson explains is explained in both languages" {
    "$QUARRY_BIN" play --json -o all.json
    python3 - <<'PY'
import json, re
for play in json.load(open("all.json"))["plays"]:
    assert re.search("[\u4e00-\u9fff]", play["title"]["zh"]), play["lesson"]
    for step in play["steps"]:
        e = step["explain"]
        if e:
            assert re.search("[\u4e00-\u9fff]", e["zh"]) and not re.search("[\u4e00-\u9fff]", e["en"]), (play["lesson"], step["line"])
        for event in step["path"]:
            assert re.search("[\u4e00-\u9fff]", event["text"]["zh"]), event
PY
}

@test "a false expectation: exit 1, and what is true instead" {
    printf 'a = malloc 100\nexpect size(a) == 113\nexpect state a cached\nexpect no call\n' >s.play
    run "$QUARRY_BIN" play s.play --check
    [ "$status" -eq 1 ]
    [[ $output == *"s.play:2:1: expect size(a) == 113: the left side is 112 (0x70), the right side 113 (0x71)"* ]]
    [[ $output == *"s.play:3:1: expect state a cached: it is 'in-use'"* ]]
    [[ $output == *"s.play:4:1: expect no call: system calls: mmap brk"* ]]
}

@test "script errors name line, column and what was expected" {
    refuses "s.play:1:5: expected a call (malloc, free, realloc, calloc, memalign, write, …), not 'maloc'" 'a = maloc 100'
    refuses "s.play:1:11: expected malloc SIZE, and the line ends" 'a = malloc'
    refuses "s.play:1:16: expected the end of the line: malloc takes SIZE" 'a = malloc 100 200'
    refuses "s.play:2:6: nothing was called 'b' before this line" 'a = malloc 100' 'free b'
    refuses "s.play:1:12: expected a number (40, 0x28, 40k, 2m), not '12x'" 'a = malloc 12x'
    refuses "s.play:1:12: expected a number (40, 0x28, 40k, 2m), not '010'" 'a = malloc 010'
    refuses "s.play:1:12: expected a number (40, 0x28, 40k, 2m), not '99999999999999999999'" 'a = malloc 99999999999999999999'
    refuses "s.play:1:8: expected a thread from 1 to 64, not '0:'" 'thread 0: a = malloc 1'
    refuses "s.play:1:10: expected ':', not 'a'" 'repeat 3 a = malloc 1'
    refuses "s.play:2:16: expected one of in-use, unsorted, small, large, fast, cached, inbox, top, mapped, freed, none, not 'lost'" \
        'a = malloc 1' 'expect state a lost'
    refuses "s.play:2:1: title, covers, profile, option and env come before the first step" 'a = malloc 1' 'profile default'
    refuses "s.play:2:5: free gives nothing that 'b' could hold" 'a = malloc 1' 'b = free a'
    refuses "s.play:1:1: expected a step before the first expectation" 'expect faults == 0'
    refuses "s.play:2:1: expected a step after what is said here (\`look\` is a step without a call)" 'a = malloc 1' 'en: The end.'
    refuses "s.play:1:11: fork is for thread 1" 'thread 2: fork'
}

@test "what no option and no variable is called is a script error" {
    refuses_so() { # START-OF-COMPLAINT LINES...
        printf '%s\n' "${@:2}" 'a = malloc 1' >s.play
        run "$QUARRY_BIN" play s.play --check
        [ "$status" -eq 2 ] || { echo "status $status: $output"; return 1; }
        [[ ${#lines[@]} -eq 1 && $output == "quarry: $1"* ]] || { echo "said: $output"; return 1; }
    }
    refuses_so "s.play:2:3: QUARRY_CONF: unknown option 'nosuch'; known are " 'option tcache_count:3' '  option nosuch:1' 'option other:1'
    refuses "s.play:1:1: QUARRY_CONF: option tcache_count: 'many' is not in the range 0 to 256" 'option tcache_count:many' 'look'
    refuses "s.play:1:1: QUARRY_CONF: option huge: 'many' is not true or false" 'option huge:many' 'look'
    refuses "s.play:1:1: MALLOC_ARENA_MAX: option arena_max: 'many' is not in the range 0 to 4096" 'env MALLOC_ARENA_MAX=many' 'look'
    refuses "s.play:1:1: expected env NAME=VALUE" 'env =x' 'a = malloc 1'
}

@test "terms that are nested without end are a script error" {
    deep=$(printf '%*s' 100000 '')
    refuses "s.play:1:112: nested more than 100 deep" "a = malloc ${deep// /-}1"
    refuses "s.play:1:112: nested more than 100 deep" "a = malloc ${deep// /(}1"
}

@test "json: a sound header is not said to be written over, in any profile" {
    for option in run_max:0 classic:true; do
        printf 'profile default\noption %s\na = malloc 3000\nb = malloc 5000\nfree a\nlook\n' $option >s.play
        "$QUARRY_BIN" play s.play --json >s.json
        python3 -c 'import json; assert not any(s["written_over"] for s in json.load(open("s.json"))["steps"])'
    done
}

@test "an empty script, no script, a folder, a binary file" {
    : >s.play
    run "$QUARRY_BIN" play s.play
    [ "$status" -eq 2 ]
    [[ $output == *"there is no step in this script" ]]
    run "$QUARRY_BIN" play nothing.play
    [ "$status" -eq 2 ]
    [ "$output" = "quarry: play: nothing.play: No such file or directory" ]
    run "$QUARRY_BIN" play nosuchlesson
    [ "$status" -eq 2 ]
    [[ $output == *"there is no lesson 'nosuchlesson' and no such file"* ]]
    mkdir d.play
    run "$QUARRY_BIN" play d.play
    [ "$status" -eq 2 ]
    printf 'a = malloc 1\n\0\n' >s.play
    run "$QUARRY_BIN" play s.play
    [ "$status" -eq 2 ]
    [ "$output" = "quarry: play: s.play: this is no text" ]
}

@test "the process ends in a step: the message and the last state are shown; going on needs a restart" {
    printf 'a = malloc 100\nfree a\nfree a\n' >s.play
    run "$QUARRY_BIN" play s.play --text --lang en
    [ "$status" -eq 0 ]
    [[ $output == *"The process ends: SIGABRT."* ]]
    [[ $output == *"quarry: double free: 0x"*": this block is already free"* ]]
    printf 'a = malloc 100\nfree a\nfree a\nb = malloc 1\n' >s.play
    run "$QUARRY_BIN" play s.play --check
    [ "$status" -eq 1 ]
    [[ $output == *"s.play:4:1: b = malloc 1: the process has ended at line 3; \`restart\` begins a new one"* ]]
    printf 'a = malloc 1m\nfree a\nwrite a 1\n' >s.play
    run "$QUARRY_BIN" play s.play --text --lang en
    [[ $output == *"The process ends: SIGSEGV."* ]]
}

@test "text: the first step shows an empty heap, a pipe gets every step" {
    printf 'look\na = malloc 100\n' >s.play
    run "$QUARRY_BIN" play s.play --text --lang en
    [ "$status" -eq 0 ]
    [[ $output == *"step 1/2  [1] look"*"(no chunk yet)"*"step 2/2  [2] a = malloc 100"*"112 bytes are cut off the front of top: a."* ]]
    run "$QUARRY_BIN" play s.play --text --lang zh
    [[ $output == *"从 top 的前端切下 112 字节"* ]]
}

@test "text: in a terminal, n and p and the arrow keys step, q quits" {
    python3 - <<'PY'
import os, pty, select
pid, terminal = pty.fork()
if pid == 0:
    os.execv(os.environ["QUARRY_BIN"], ["quarry", "play", "coalesce", "--text", "--lang", "en"])

def shows(step):
    seen = b""
    while f"step {step}/10".encode() not in seen or not seen.endswith(b"q quit "):
        assert select.select([terminal], [], [], 20)[0], (step, seen)
        seen += os.read(terminal, 65536)

shows(1)
for keys, step in ((b"n", 2), (b"\033[C", 3), (b"p", 2), (b"\033[D", 1), (b"p", 1)):
    os.write(terminal, keys)
    shows(step)
os.write(terminal, b"q")
assert os.waitpid(pid, 0)[1] == 0
PY
}

@test "text: a signal that ends or stops it gives the terminal back as it was" {
    python3 - <<'PY'
import os, pty, select, signal, struct, termios

def shown():
    seen = b""
    while not seen.endswith(b"q quit "):
        assert select.select([terminal], [], [], 20)[0], seen
        seen += os.read(terminal, 65536)

def player(told):
    """In a group of its own, as a shell starts it, or no ^Z would stop it. What becomes of it is written to `told`."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(os.environ["QUARRY_BIN"], ["quarry", "play", "coalesce", "--text", "--lang", "en"])
    os.write(told, struct.pack("i", child))
    while True:
        status = os.waitpid(child, os.WUNTRACED)[1]
        os.write(told, struct.pack("i", status))
        if not os.WIFSTOPPED(status):
            os._exit(0)

def hear():
    assert select.select([ear], [], [], 20)[0]
    return struct.unpack("i", os.read(ear, 4))[0]

for number in signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP:
    ear, mouth = os.pipe()
    leader, terminal = pty.fork()
    if leader == 0:
        player(mouth)
    before = termios.tcgetattr(terminal)
    child = hear()
    shown()
    within = termios.tcgetattr(terminal)
    assert within[3] == before[3] & ~(termios.ICANON | termios.ECHO)
    os.write(terminal, b"\x1a")
    assert os.WIFSTOPPED(hear())
    assert termios.tcgetattr(terminal) == before, "stopped"
    os.kill(child, signal.SIGCONT)
    shown()
    assert termios.tcgetattr(terminal) == within, "continued"
    if number == signal.SIGINT:
        os.write(terminal, b"\x03")
    else:
        os.kill(child, number)
    status = hear()
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number, (number, status)
    assert termios.tcgetattr(terminal) == before, number
    os.waitpid(leader, 0)
PY
}

@test "json: the path in the order asked, the system calls, the faults, a snapshot for each step" {
    printf 'a = malloc 100\nb = malloc 200k\n' >s.play
    "$QUARRY_BIN" play s.play --json >s.json
    python3 - <<'PY'
import json
p = json.load(open("s.json"))
assert (p["format"], p["version"], p["profile"]) == ("quarry-play", 1, "classic")
a, b = p["steps"]
# The thread has no cache yet: it gets one by the way.
asked = [e["store"] for e in a["path"] if e["did"] == "asked"]
assert asked == ["fast bin", "small bin", "unsorted bin", "larger bins", "top", "top"], asked
assert [c["name"] for c in a["system_calls"]] == ["mmap", "brk"], a["system_calls"]
assert a["faults"] == [a["result"] - 16], (a["faults"], a["result"])
assert a["variables"] == {"a": a["result"]} and b["variables"] == {"a": a["result"], "b": b["result"]}
assert a["snapshot"]["format"] == "quarry-snapshot" and len(a["snapshot"]["chunks"]["at"]) == 2
assert [e["did"] for e in b["path"] if e["store"] == "mapped"] == ["took"]
PY
}

# A step of more.so's sbrk has 5000 events, all of them "gate asked".
make_more() {
    cat >more.c <<'C'
#include <quarry/probe.h>
void *sbrk(intptr_t more)
{
    quarry_probe_ring()->count += 5000;
    return (void *)more;
}
C
    "${QUARRY_CC:-gcc}" -shared -fPIC -I"$QUARRY_SOURCE/include" -o more.so more.c
}

@test "events beyond those that a step keeps are counted, in text and in JSON" {
    make_more
    printf 'env LD_PRELOAD=./more.so\nsbrk 1\nlook\n' >s.play
    run "$QUARRY_BIN" play s.play --text
    [ "$(grep -c '^  *[0-9]* gate ' <<<"$output")" -eq 4096 ]
    [ "$(grep -c 'and 904 more, which were not recorded' <<<"$output")" -eq 1 ]
    "$QUARRY_BIN" play s.play --text --lang zh | grep -q 904
    "$QUARRY_BIN" play s.play --json | python3 -c '
import json, sys
assert [s["path_left_out"] for s in json.load(sys.stdin)["steps"]] == [904, 0]'
}

@test "what only the events that were not recorded could say, cannot be told" {
    make_more
    says() { # EXPECTATION: what is said of it
        printf 'env LD_PRELOAD=./more.so\nsbrk 1\nexpect %s\n' "$1" >s.play
        said=$("$QUARRY_BIN" play s.play --check 2>&1 >/dev/null)
        echo "${said#"quarry: s.play:3:1: expect $1: "}"
    }
    local untold="it cannot be told: of this step's 5000 events the first 4096 were recorded"
    for expectation in 'no path top' 'path top' 'no call' 'no call brk' 'call brk'; do
        [ "$(says "$expectation")" = "$untold" ] || { echo "$expectation: $(says "$expectation")"; return 1; }
    done
    [ "$(says 'path gate asked')" = '' ]
    [ "$(says 'no path gate')" = 'it is on the path' ]
    [[ $(says 'order gate gate') == 'asked were: gate, gate, '* ]]
    run "$QUARRY_BIN" play s.play --check
    [ "$status" -eq 1 ]
    # As many asked as are recorded, and no other: what came then may have been more.
    [ "$(says "order$(printf ' gate%.0s' {1..4096})")" = "$untold" ]
}

# Page faults are what takes the time of a look, and unlike time they can be counted on a busy machine.
@test "a step of a small heap costs little" {
    printf 'repeat 200: look\n' >s.play
    python3 - <<'PY'
import ctypes, os, resource, subprocess
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a huge page would be one fault
subprocess.run([os.environ["QUARRY_BIN"], "play", "s.play", "--check"], check=True)
faults = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt / 200
assert faults < 600, faults
PY
}

@test "options: wrong usage is one line and exit 2" {
    for words in '--nonsense' '--lang fr page' '-o' '--text' 'a b' '--list page' 'page --explain'; do
        # shellcheck disable=SC2086
        run "$QUARRY_BIN" play $words
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
    done
}

@test "options: what cannot be had together is named" {
    excludes() { # COMPLAINT OPTIONS...
        run "$QUARRY_BIN" play "${@:2}"
        [ "$status" -eq 2 ]
        [ "$output" = "quarry: play: $1" ]
    }
    excludes "--text or --json, not both" --text --json page
    excludes "--list or --explain, not both" --list --explain
    excludes "--check or --list, not both" --check page --list
    for option in --text --check; do
        excludes "-o is for the page and for --json, not for $option" page -o page.html "$option"
    done
    [ ! -e page.html ]
}

@test "a page that cannot be written: exit 125, no page" {
    printf 'a = malloc 1\n' >s.play
    run "$QUARRY_BIN" play s.play -o nowhere/p.html
    [ "$status" -eq 125 ]
    [ "$output" = "quarry: play: nowhere/p.html: No such file or directory" ]
}

@test "text: a pipe that nobody reads ends it as it ends others, without a word" {
    run bash -c "{ '$QUARRY_BIN' play --text tcache; echo \$? >&3; } 3>status | true; cat status"
    [ "$output" = 141 ]
}

@test "text: Chinese where the locale is Chinese and UTF-8, or it is asked for" {
    for locale in zh_CN.UTF-8 zh_TW.utf8; do
        LC_ALL=$locale "$QUARRY_BIN" play --text tcache | grep -q "路径"
    done
    for locale in zh_CN.GB18030 zh_CN C de_DE.UTF-8; do
        [ "$(LC_ALL=$locale "$QUARRY_BIN" play --text tcache | LC_ALL=C grep -c "[^ -~]")" -eq 0 ]
    done
    LC_ALL=C "$QUARRY_BIN" play --lang zh --text tcache | grep -q "路径"
}
