"""Compiles what the instrument runs into build/bench/. Make's rule: newer sources mean a new binary."""

import os
import subprocess

from . import paths
from .problem import Problem

# The compiler must not drop a malloc whose block is freed again, nor turn malloc+memset into calloc.
PLAIN_CALLS = [f"-fno-builtin-{name}" for name in ("malloc", "free", "calloc", "realloc", "aligned_alloc")]
WARNINGS = ["-Wall", "-Wextra"]
C = ["cc", "-std=gnu17", "-O2", "-g", *WARNINGS]

WORKLOADS = paths.BUILD / "workloads"
STL = paths.BUILD / "stl"
TINY = paths.BUILD / "tiny"
LAUNCH = paths.BUILD / "launch"
RECORDER = paths.BUILD / "recorder.so"
PACK = paths.BUILD / "pack"


def _targets():
    """(binary, command, sources, headers) of each."""
    work = paths.BENCH / "workloads"
    trace = paths.BENCH / "trace"
    headers = [work / "bench.h", trace / "format.h"]
    ours = sorted(f for f in work.glob("*.c") if f.name != "tiny.c")
    return [
        (WORKLOADS, [*C, *PLAIN_CALLS, f"-I{trace}"], ours, headers, ["-lm", "-pthread"]),
        (TINY, [*C, *PLAIN_CALLS], [work / "tiny.c"], [], []),
        (STL, ["c++", "-std=gnu++17", "-O2", "-g", *WARNINGS], [work / "stl.cc"], [], []),
        (LAUNCH, [*C, "-static"], [paths.BENCH / "launch" / "launch.c"], [], []),
        (RECORDER, [*C, "-fPIC", "-shared"], [trace / "recorder.c"], headers, ["-ldl", "-pthread"]),
        (PACK, C, [trace / "pack.c"], headers, []),
    ]


def _is_current(binary, sources):
    if not binary.exists():
        return False
    built = binary.stat().st_mtime
    return all(source.stat().st_mtime <= built for source in sources if source.exists())


def build(say=lambda text: None):
    """Brings every binary up to date; a compiler's complaint is a Problem."""
    paths.BUILD.mkdir(parents=True, exist_ok=True)
    for binary, command, sources, headers, libraries in _targets():
        if _is_current(binary, [*sources, *headers]):
            continue
        say(f"compiling {binary.name}")
        fresh = binary.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(fresh), *map(str, sources), *libraries],
                              capture_output=True, text=True)
        if done.returncode:
            raise Problem(f"cannot compile {binary.name}:\n{done.stderr.strip()}")
        if done.stderr.strip():
            say(done.stderr.strip())
        fresh.replace(binary)
