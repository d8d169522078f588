"""The workloads: names, what they run, which figure stands for their time."""

import dataclasses
import math
import random
import re
import struct
import typing

from . import build

K, M = 1024, 1024 * 1024
TRACE_CALLS = 5_000_000  # a shorter trace is repeated up to so many


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    group: str
    about: str
    figure: str = "cpu_s"  # the sample's field that is compared; wall_s where threads wait on each other
    command: tuple = ()  # of our own workloads
    times: int = 1  # starts of the program in one measurement
    in_quick: bool = True
    by_name_only: bool = False  # runs only when --only names it in full
    in_means: bool = True  # counts in the geometric means
    scales: bool = True  # takes scale=
    program: typing.Any = None  # a real program (programs.py): prepares, runs, cleans up

    def with_scale(self, scale):
        return [*self.command, f"scale={scale:g}"] if self.scales else list(self.command)


def _ours(name, group, about, run, *parameters, **fields):
    return Workload(name, group, about, command=(str(build.WORKLOADS), run, *parameters), **fields)


def _small():
    g = "small"
    return [
        _ours("churn-uniform", g, "random replacement, 1000 blocks, 1-1000 bytes evenly", "churn", "ops=9e6"),
        _ours("churn-power", g, "the same, sizes by a power law, 8 B-16 KiB", "churn", "kind=power", "least=8",
              f"most={16 * K}", "ops=13e6"),
        _ours("churn-pow2", g, "the same, powers of two, 8 B-8 KiB", "churn", "kind=pow2", "least=8", f"most={8 * K}",
              "ops=13e6"),
        _ours("live-set", g, "random replacement in 500,000 live blocks, 16-200 bytes", "churn", "slots=500000",
              "least=16", "most=200", "ops=3e6"),
        _ours("live-mixed", g, "the same in 50,000 blocks by a power law, 16 B-32 KiB", "churn", "kind=power",
              "slots=50000", "least=16", f"most={32 * K}", "ops=6e6"),
        _ours("lifo", g, "a stack of blocks", "lifo", "ops=10e6"),
        _ours("fifo", g, "a queue of 20,000 blocks", "fifo", "ops=10e6"),
        _ours("expiry", g, "random lifetimes, most short and some long", "expiry", "ops=8e6"),
        _ours("trees", g, "short-lived trees", "trees", "nodes=9e6"),
        _ours("strings", g, "words copied, concatenated, joined", "strings", "words=5e6"),
        _ours("batch-same", g, "100,000 allocated, freed in the same order", "batch", "ops=4e6"),
        _ours("batch-reverse", g, "... freed in reverse order", "batch", "order=reverse", "ops=4e6"),
        _ours("batch-random", g, "... freed in random order", "batch", "order=random", "ops=3e6"),
        _ours("fragment", g, "phases of different sizes, one block in eight survives", "fragment", f"bytes={16 * M}"),
        _ours("aligned", g, "alignments of 32-128", "aligned", "ops=4e6"),
        _ours("zeroed", g, "calloc of objects and tables", "zeroed", "ops=5e6"),
    ]


def _big():
    g = "big"
    return [
        _ours("grow-many", g, "32 buffers growing by realloc a little at a time", "grow", "ops=2e6"),
        _ours("grow-one", g, "one buffer growing by realloc to 64 MiB", "grow", "buffers=1", "step=20000",
              f"limit={64 * M}", "ops=40000"),
        _ours("medium-32k", g, "random replacement, 1-32 KiB", "large", "slots=1000", f"least={K}", f"most={32 * K}",
              "ops=12e5"),
        _ours("medium-128k", g, "random replacement, 1-128 KiB", "large", "slots=500", f"least={K}", f"most={128 * K}",
              "ops=6e5"),
        _ours("large-touched", g, "128 KiB-64 MiB, written in full", "large", "ops=150"),
        _ours("large-reserved", g, "128 KiB-64 MiB, two pages written", "large", "touch=0", "ops=1e5"),
        _ours("aligned-page", g, "page-aligned, 4-64 KiB", "aligned", "align_least=4096", "align_most=4096",
              f"least={4 * K}", f"most={64 * K}", "slots=500", "ops=6e5"),
    ]


def _threads():
    g, wall = "threads", "wall_s"
    many = [_ours(f"threads-{n}", g, f"{n} threads, one block in ten changes hands", "many", f"threads={n}",
                  "ops=12e6", figure=wall, in_quick=n in (2, 4, 16, 64)) for n in (2, 4, 8, 16, 32, 64)]
    return [
        _ours("ring", g, "4 threads, each frees what its neighbour allocated", "ring", "ops=5e6", figure=wall),
        _ours("fan-out", g, "1 producer, 3 consumers", "lopsided", "ops=3e6", figure=wall),
        _ours("fan-in", g, "3 producers, 1 consumer", "lopsided", "producers=3", "consumers=1", "ops=5e6", figure=wall),
        _ours("server", g, "sessions handed between 8 threads, which die and are replaced", "server", figure=wall),
        _ours("sharing-active", g, "false sharing made by the allocator", "sharing-active", "writes=100", "rounds=3e6",
              figure=wall),
        _ours("sharing-passive", g, "false sharing made by the program", "sharing-passive", "writes=100",
              "rounds=3e6", figure=wall),
        *many,
    ]


def _public():
    """The patterns of the benchmarks that others publish figures of; our own programs, not theirs."""
    g, wall = "public", "wall_s"

    def ours(name, about, run, *parameters, quick=False, **fields):
        return _ours(name, g, about, run, *parameters, in_quick=quick, **fields)

    return [
        ours("larson-1", "5000 blocks handed from thread to thread, 8-1000 bytes", "larson", "threads=1"),
        ours("larson-4", "the same, 4 threads at a time", "larson", figure=wall, quick=True),
        ours("sh6", "size after size, freed in order and in reverse, a fifth stays", "sh", "ops=4e6", quick=True),
        ours("sh8", "the same in 4 threads, some blocks freed by another", "sh", "threads=4", "share=4", "ops=3e6",
             figure=wall),
        ours("xmalloc", "2 producers, 2 consumers, arrays of 4096 blocks, 8-512 bytes", "xmalloc", "ops=15e5",
             figure=wall),
        ours("xmalloc-fixed", "the same, 64 bytes", "xmalloc", "least=64", "most=64", figure=wall, quick=True),
        ours("mstress", "4 threads, again and again new ones, blocks exchanged, some of 100 KiB", "mstress",
             figure=wall, quick=True),
        ours("rptest", "4 threads, 8-16000 bytes, every third block freed by the next thread", "rptest", figure=wall,
             quick=True),
        ours("alloc-test", "25,000 live blocks, a few slots drawn often, 16-1023 bytes", "alloc-test", quick=True),
        ours("glibc-simple", "batches of 25-1600 of one size, 16-256 bytes, not written", "glibc-simple", "ops=8e6"),
        ours("glibc-simple-1k", "the same, 1024 bytes", "glibc-simple", "least=1024", "most=1024", "ops=15e5"),
        ours("glibc-simple-4k", "the same, 4096 bytes", "glibc-simple", "least=4096", "most=4096", "ops=3e5"),
        ours("glibc-thread-2", "2 threads, random replacement, not written", "glibc-thread", "ops=12e6", figure=wall),
        ours("glibc-thread-8", "the same, 8 threads", "glibc-thread", "threads=8", "ops=12e6", figure=wall),
        ours("cfrac", "numbers of many digits, dropped after one operation", "cfrac", quick=True),
        ours("espresso", "covers of bit sets split, joined, sorted, 16-400 bytes", "espresso", "ops=2e6"),
        ours("map-churn", "a search tree of 200,000 nodes of 48-64 bytes", "map", "ops=6e4"),
    ]


def _special():
    growth = [_ours(f"growth-1e{n}", "growth", f"cost of an operation at 10^{n} live blocks", "growth",
                    f"live=1e{n}", "ops=2e6", figure="replace_ns", in_quick=n <= 5, by_name_only=n > 7,
                    in_means=False) for n in range(3, 9)]
    return [
        Workload("startup", "process", "start and exit of a tiny process, 100 times", command=(str(build.TINY),),
                 times=100, scales=False),
        _ours("latency", "latency", "single calls, 1 thread, 16-1000 bytes, after a warm-up", "latency", figure="malloc_p9999_ns",
              in_means=False),
        _ours("latency-cold", "latency", "the same from the first call on", "latency", "warm=0", "ops=1e6",
              figure="malloc_p9999_ns", in_means=False),
        _ours("latency-shared", "latency", "single calls, 2 threads, blocks change hands", "latency", "threads=2",
              "share=10", figure="malloc_p9999_ns", in_means=False),
        *growth,
    ]


def own():
    """The workloads of bench/workloads, in the order of the tables."""
    return [*_small(), *_big(), *_threads(), *_public(), *_special()]


def drawn(count, seed):
    """Loads drawn at random, for the programs that nobody has thought of; the same for the same seed."""
    return [_draw(seed, number) for number in range(1, count + 1)]


def is_drawn(name):
    return re.fullmatch(r"random-\d+-\d+", name) is not None


def drawn_again(name):
    """The load of that name, from a table of results."""
    _, seed, number = name.split("-")
    return _draw(int(seed), int(number))


SECONDS_DRAWN = 0.3  # about what a drawn load takes under an ordinary allocator
LIVE_AT_MOST = 64e6


def _draw(seed, number):
    r = random.Random(f"{seed}-{number}")
    threads = r.choice([1, 1, 1, 2, 4, 8])
    least = 2 ** r.uniform(3, 13)
    most = min(least * 2 ** r.uniform(0.2, 8), M)
    mean = (most - least) / math.log(most / least)
    slots = int(max(4, min(2 ** r.uniform(3, 14), LIVE_AT_MOST / mean / threads)))
    order = r.choice(["random", "random", "queue", "stack", "batch"])
    write = r.choice([0, 1, 1, 1])  # most programs write what they ask for
    resize, zeroed, aligned = r.choice([0, 0, 0, 10, 50]), r.choice([0, 0, 20]), r.choice([0, 0, 0, 20])
    handed = r.choice([0, 0, 20, 100]) if threads > 1 else 0
    operations = max(2 * slots, SECONDS_DRAWN / (60e-9 + mean * (0.07e-9 if write else 0.02e-9)) / threads)
    parts = [(resize, "resized"), (zeroed, "zeroed"), (aligned, "aligned"), (handed, "handed on")]
    about = (f"threads: {threads}, each {slots} blocks of {int(least)}-{int(most)} bytes, {order}" +
             "".join(f", {part} % {what}" for part, what in parts if part) + ("" if write else ", only the ends written"))
    return _ours(f"random-{seed}-{number}", "random", about, "random", f"threads={threads}", f"slots={slots}",
                 f"least={int(least)}", f"most={int(most)}", f"order={order}", f"write={write}", f"resize={resize}",
                 f"zeroed={zeroed}", f"aligned={aligned}", f"handed={handed}", f"ops={int(operations)}",
                 figure="cpu_s" if threads == 1 else "wall_s")


def trace(path):
    """A recorded trace as a workload; a short one is repeated, so that its start-up is not what is measured."""
    calls, threads = _trace_header(path)
    return _ours(f"trace-{path.stem}", "trace", f"replay of {path.name}", "replay", f"file={path.resolve()}",
                 f"times={max(1, TRACE_CALLS // max(1, calls))}", figure="cpu_s" if threads == 1 else "wall_s")


def trace_again(name, figure):
    """The trace of that name, from a table of results: its file need not be here."""
    return _ours(name, "trace", f"replay of {name.removeprefix('trace-')}", "replay", figure=figure)


def _trace_header(path):
    """(calls, threads) by the first words of trace/format.h's packed header; (0, 1) where there is no file."""
    try:
        with open(path, "rb") as file:
            _magic, calls, _slots, threads = struct.unpack("<4Q", file.read(32))
    except (OSError, struct.error):
        return 0, 1
    return calls, threads
