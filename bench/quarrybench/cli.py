"""The command line: bench [OPTIONS], bench record -o FILE -- PROGRAM..."""

import argparse
import dataclasses
import datetime
import fnmatch
import pathlib
import random
import sys

from . import allocators, build, catalogue, paths, plots, programs, record, report, results, rounds, verdict
from .problem import Problem, Usage

QUICK_SCALE = 0.25
QUICK_ROUNDS = 3
ROUNDS = 5


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Usage(message)


def _positive(kind, what):
    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 1e6:
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
        return value
    return convert


def _parser():
    p = _Parser(prog="bench", allow_abbrev=False, description="Measures allocators against each other, interleaved.",
                epilog="bench record -o FILE -- PROGRAM... records a program's calls for --trace.")
    p.add_argument("--quick", action="store_true", help="smaller work, fewer rounds: under two minutes")
    p.add_argument("--only", action="append", metavar="PATTERN", default=[],
                   help="workloads or groups by shell pattern or prefix; may be repeated or hold commas")
    p.add_argument("--skip", action="append", metavar="PATTERN", default=[], help="all but these")
    p.add_argument("--rounds", type=_positive(int, "a number of rounds"), help=f"rounds (default {ROUNDS})")
    p.add_argument("--scale", type=_positive(float, "a factor"), help="multiplies the work of each run (default 1)")
    p.add_argument("--allocators", metavar="A,B", help="which allocators, by name")
    p.add_argument("--lib", action="append", metavar="NAME=PATH", default=[], help="one more allocator, by its library")
    p.add_argument("--base", default="glibc", metavar="NAME", help="the allocator ratios are taken to (default glibc)")
    p.add_argument("--cpu", action="store_true",
                   help="compare CPU time also where threads wait on each other: steadier while others use the machine")
    p.add_argument("--idle", type=int, nargs="?", const=1500, default=0, metavar="MS",
                   help="also the resident size after idling so long (default 1500 ms)")
    p.add_argument("--trace", action="append", default=[], metavar="FILE", help="replay a recorded trace")
    p.add_argument("--random", type=_positive(int, "a number of loads"), metavar="N",
                   help="so many loads drawn at random: threads, sizes, lifetimes, order")
    p.add_argument("--seed", type=_positive(int, "a number of 1 to 999999"), metavar="SEED",
                   help="of --random (default: another one each time; it stands in the names)")
    p.add_argument("--out", metavar="FOLDER", help="where results go (default bench/results/DATE)")
    p.add_argument("--from", dest="source", metavar="CSV", help="tables of an earlier run; with --out the plots too")
    p.add_argument("--list", action="store_true", help="workloads and allocators, then exit")
    p.add_argument("--selftest", action="store_true", help="checks the instrument itself, in seconds")
    return p


def _matches(workload, words):
    patterns = [p for word in words for p in word.split(",") if p]
    return any(fnmatch.fnmatchcase(name, p) or name.startswith(p)
               for p in patterns for name in (workload.name, workload.group))


def _workloads(options):
    traces = [pathlib.Path(t) for t in options.trace]
    for t in traces:
        if not t.is_file():
            raise Usage(f"--trace: no file '{t}'")
    everything = [*catalogue.own(), *programs.all_programs()]
    if options.seed and not options.random:
        raise Usage("--seed is for --random N")
    chosen = [catalogue.trace(t) for t in traces]
    twice = {w.name for w in chosen if sum(w.name == other.name for other in chosen) > 1}
    if twice:
        raise Usage(f"--trace: two files would both be called {min(twice)}; rename one")
    if options.random:
        chosen += catalogue.drawn(options.random, options.seed or random.randrange(1, 10**6))
    if options.only or not chosen:
        named = [w for w in everything if not options.only or _matches(w, options.only)]
        if options.only and not named:
            raise Usage(f"--only: no workload matches '{','.join(options.only)}'; see --list")
        in_full = ",".join(options.only).split(",")
        chosen += [w for w in named if w.name in in_full or not w.by_name_only and (w.in_quick or not options.quick)]
        if not chosen:
            raise Usage("--only: --quick leaves these out; name them in full")
    return [_on_cpu(w, options) for w in chosen if not _matches(w, options.skip)]


def _on_cpu(workload, options):
    if options.cpu and workload.figure == "wall_s":
        return dataclasses.replace(workload, figure="cpu_s")
    return workload


def _list():
    rows = [[w.name, w.group, report.FIGURES[w.figure], "by name" if w.by_name_only else "yes" if w.in_quick else "", w.about]
            for w in [*catalogue.own(), *programs.all_programs()]]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    heads = ["WORKLOAD", "GROUP", "FIGURE", "QUICK", "WHAT"]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(max(w, 6)) for cell, w in zip(row, [*widths, 0])).rstrip())
    print("\nallocators: " + ", ".join(allocators.NAMES) + "; others by --lib NAME=PATH")


def _plan(options):
    workloads = _workloads(options)
    names = options.allocators.split(",") if options.allocators else None
    if not 0 <= options.idle <= 600000:
        raise Usage("--idle wants 0 to 600000 ms")
    chosen = allocators.chosen(names, options.lib, options.base, say)
    return rounds.Plan(programs.available(workloads, say), chosen,
                       rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
                       scale=options.scale or (QUICK_SCALE if options.quick else 1.0), idle_ms=options.idle,
                       seconds=rounds.QUICK_SECONDS if options.quick and not options.rounds else 0)


def _folder(options):
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = pathlib.Path(options.out) if options.out else paths.RESULTS / stamp
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"--out: {folder}: {error.strerror}") from error
    return folder


def _render(samples, description, workloads, base, broken=None):
    """(the run, its Markdown, the part for the terminal)."""
    run = report.Run(samples, workloads)
    given = [n for n in run.allocators if n not in allocators.NAMES]
    run.order_allocators([base, *(n for n in allocators.NAMES if n != base), *given])
    if base not in run.allocators:
        raise Usage(f"--base: '{base}' was not measured")
    head = report.headline(run, base)
    peers = ["glibc", *allocators.DEBIAN]
    verdicts = [part for name in allocators.QUARRY_SETTINGS for part in verdict.text(run, name, peers)]
    failures = ["## Failed", "\n".join(f"- {m}" for m in broken.values())] if broken else []
    head += report.drawn(run.workloads)
    everything = ["# Benchmark results", report.machine_text(description), *head, *report.details(run, base),
                  *verdicts, *failures]
    return run, "\n\n".join(everything) + "\n", "\n\n".join([*head, *report.latency_and_growth(run), *verdicts, *failures])


def _measure(options):
    build.build(say)
    plan = _plan(options)
    description = results.machine(plan)
    folder, broken = _folder(options), {}
    samples = rounds.run(plan, broken)
    if not samples:
        raise Problem("nothing could be measured")
    (folder / "results.csv").write_text(results.to_csv(samples, description))
    _finish(folder, *_render(samples, description, plan.workloads, options.base, broken), options.base)
    return 1 if broken else 0


def _finish(folder, run, markdown, terminal, base):
    (folder / "report.md").write_text(markdown)
    print(terminal)
    drawn = plots.draw(run, base, folder, say)
    say(f"wrote {folder}/: report.md {' '.join(path.name for path in drawn)}")


def _again(options):
    samples, description = results.from_csv(options.source)
    known = [*catalogue.own(), *programs.all_programs()]
    names = {w.name for w in known}
    known += [catalogue.drawn_again(n) if catalogue.is_drawn(n) else
              catalogue.trace_again(n, description.get(f"figure {n}", "cpu_s"))
              for n in dict.fromkeys(s.workload for s in samples) if n not in names]
    workloads = [_on_cpu(w, options) for w in known
                 if (not options.only or _matches(w, options.only)) and not _matches(w, options.skip)]
    samples = [s for s in samples if s.workload in {w.name for w in workloads}]
    if not samples:
        raise Usage(f"--from: '{options.source}' holds no such workload")
    run, markdown, terminal = _render(samples, description, workloads, options.base)
    if options.out:
        _finish(_folder(options), run, markdown, terminal, options.base)
    else:
        print(terminal)
    return 0


def _dispatch(arguments):
    if arguments[:1] == ["record"]:
        return record.main(arguments[1:], say)
    options = _parser().parse_args(arguments)
    if options.list:
        _list()
        return 0
    if options.selftest:
        from . import selftest  # it imports this module
        build.build(say)
        return selftest.main()
    if options.source:
        return _again(options)
    return _measure(options)


def main(arguments):
    try:
        return _dispatch(arguments)
    except Usage as wrong:
        say(str(wrong))
        return 2
    except Problem as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
