#!/usr/bin/env python3
"""The classic profile is ptmalloc, address by address: calls drawn at random put every block where glibc 2.36 puts it.

    ptmalloc.py [SEEDS]      so many of each kind of load; of a difference, the calls before it are shown
"""
# timeout: 120
import os, subprocess, sys, tempfile

SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
LIBRARY, CC, SOURCE = os.environ["QUARRY_LIB"], os.environ.get("QUARRY_CC", "gcc"), os.environ["QUARRY_SOURCE"]
PTMALLOC = "glibc 2.36"

CALLS_EACH = 4000
SIZES = ["tiny", "small", "medium", "wide", "large"]
CALLS = ["-", "c", "r", "a", "t", "f", "m", "rm", "am", "crat", "cratf", "cratfm"]
SETTINGS = ["", "tcache_count:0", "mxfast:0", "mmap_threshold:65536", "trim_threshold:1073741824,top_pad:0"]


def loads():
    """arguments of addresses.c behind the seed, and a setting"""
    for sizes in SIZES:
        for calls in CALLS:
            for setting in SETTINGS:
                yield [CALLS_EACH, 300, sizes, calls], setting
            yield [CALLS_EACH, 20, sizes, calls], ""
            yield [CALLS_EACH, 20, sizes, calls, "thread"], ""
            yield [CALLS_EACH, 300, sizes, calls, "thread"], ""


def run(command, **environment):
    return subprocess.run(command, env={"PATH": os.environ["PATH"]} | environment, capture_output=True, text=True, timeout=60)


def under_glibc(command, setting):
    tunables = ["glibc.malloc." + pair.replace(":", "=") for pair in filter(None, setting.split(","))]
    return run(command, GLIBC_TUNABLES=":".join(tunables))


def under_classic(command, setting):
    return run(command, LD_PRELOAD=LIBRARY, QUARRY_CONF=",".join(filter(None, ["classic:true", setting])))


def show_difference(theirs, ours, before=12):
    theirs, ours = theirs.splitlines() + ["nothing"], ours.splitlines() + ["nothing"]
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b), 0)
    for line in theirs[max(0, at - before):at]:
        print(f"          {line}")
    print(f"    glibc {theirs[at]}\n     ours {ours[at]}")


def same(command, setting):
    theirs, ours = under_glibc(command, setting), under_classic(command, setting)
    assert theirs.returncode == 0 and theirs.stdout, (command, theirs)
    if ours.returncode == 0 and ours.stdout == theirs.stdout:
        return True
    print(f"not ok: addresses {' '.join(command[1:])}; {setting or 'no setting'}: exit status {ours.returncode}\n{ours.stderr}")
    show_difference(theirs.stdout, ours.stdout)
    return False


def main():
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else "none of glibc's"
    if libc != PTMALLOC:
        print(f"skipped: the classic profile is the ptmalloc of {PTMALLOC}, this libc is {libc}")
        return 77
    failed = seed = 0
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/addresses"
        subprocess.run([CC, "-O1", "-fno-builtin", f"-I{SOURCE}/tests/include", f"{SOURCE}/tests/ptmalloc/addresses.c",
                        "-o", program, "-lpthread"], check=True)
        for arguments, setting in loads():
            for _ in range(SEEDS):
                seed += 1
                failed += not same([program, *map(str, [seed, *arguments])], setting)
    print(f"{seed} loads of {CALLS_EACH} calls, {failed} different")
    return 1 if failed else 0


sys.exit(main())
