"""Interleaves: every workload under every allocator, round by round, the order of allocators shuffled in each."""

import dataclasses
import random
import sys
import time

from . import runner

QUICK_SECONDS = 100


@dataclasses.dataclass
class Plan:
    workloads: list
    allocators: list
    rounds: int
    scale: float = 1.0
    idle_ms: int = 0
    seconds: float = 0  # a round that would end later than this is not begun; 0: no limit
    seed: int = 1


@dataclasses.dataclass(frozen=True)
class Sample:
    round: int
    workload: str
    allocator: str
    values: dict


class Progress:
    """One line a workload and round on stderr: what runs now, what it took, how long the rest may take."""

    def __init__(self, plan, stream=sys.stderr):
        self.plan, self.stream = plan, stream
        self.steps, self.done = plan.rounds * len(plan.workloads), 0
        self.start = time.monotonic()

    def line(self, text):
        print(text, file=self.stream, flush=True)

    def workload(self, number, workload, samples):
        self.done += 1
        spent = time.monotonic() - self.start
        left = spent / self.done * (self.steps - self.done)
        times = "  ".join(f"{name} {value}" for name, value in samples)
        self.line(f"[{number + 1}/{self.plan.rounds} {self.done:3}/{self.steps} {left:4.0f}s left] "
                  f"{workload.name:16} {times}")


def measure(workload, allocator, plan):
    """One sample of one workload under one allocator."""
    if workload.program:
        return workload.program.run(allocator, plan.scale)
    command = workload.with_scale(plan.scale)
    if plan.idle_ms and workload.scales:
        command.append(f"idle={plan.idle_ms}")
    times = max(10, int(workload.times * plan.scale)) if workload.times > 1 else 1
    sample = runner.run(command, allocator, times)
    if workload.times > 1:  # a process too small for the kernel's batched counters: ask it for the exact size
        sample = {k: v / times for k, v in sample.items()}
        sample["peak_kib"] = runner.run([*command, "rss"], allocator)["rss_exact_kib"]
    return sample


def _figure(workload, values):
    value = values[workload.figure]
    return f"{value:.0f}ns" if workload.figure.endswith("_ns") else f"{value:.3f}"


def run(plan, broken=None):
    """All samples; after an interrupt, those there are.

    broken collects {(workload, allocator): message}; what failed once is not tried again.
    """
    samples = []
    try:
        _rounds(plan, samples, {} if broken is None else broken)
    except KeyboardInterrupt:
        if not samples:
            raise
        print("interrupted: what follows is what was measured until now", file=sys.stderr)
    return samples


def _rounds(plan, samples, broken):
    shuffled = random.Random(plan.seed)
    progress = Progress(plan)
    for number in range(plan.rounds):
        if number and plan.seconds:
            spent = time.monotonic() - progress.start
            if spent * (number + 1) / number > plan.seconds:
                progress.line(f"stopping after {number} rounds: the next would not end within {plan.seconds:.0f} s")
                break
        for workload in plan.workloads:
            order = shuffled.sample(plan.allocators, len(plan.allocators))
            progress.workload(number, workload, sorted(_one_round(number, workload, order, plan, samples, broken)))


def _one_round(number, workload, order, plan, samples, broken):
    """[(allocator, its figure)] for the line of progress."""
    line = []
    for allocator in order:
        key = (workload.name, allocator.name)
        if key in broken:
            continue
        try:
            values = measure(workload, allocator, plan)
        except runner.Failed as failure:
            broken[key] = str(failure)
            print(f"FAILED {workload.name}: {failure}", file=sys.stderr, flush=True)
            continue
        samples.append(Sample(number, workload.name, allocator.name, values))
        line.append((allocator.name, _figure(workload, values)))
    return line
