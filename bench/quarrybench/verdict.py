"""Quarry held against its targets: the best and the smallest of the allocators a Debian user has already."""

import dataclasses

from . import report

TIME_MEAN_MOST = 0.85  # of the best peer's geometric mean
TIME_EACH_MOST = 1.05  # of the best peer of that workload
PEAK_MEAN_MOST = 1.00  # of glibc's geometric mean
PEAK_EACH_MOST = 1.15  # of the smallest of that workload
TINY_EXTRA_KIB = 100  # a process that allocates little, over glibc
BASE = "glibc"


@dataclasses.dataclass(frozen=True)
class Line:
    workload: str
    peer: str
    ratio: object  # statistics.Ratio
    limit: float

    @property
    def mark(self):
        if not self.ratio.above(self.limit):
            return ""
        if self.ratio.rounds < 2:
            return "over, one round"
        return "MISS" if self.ratio.surely_above(self.limit) else "over, in the spread"

    @property
    def spread(self):
        return "" if self.ratio.rounds < 2 else f"{self.ratio.low:.2f}-{self.ratio.high:.2f}"


def best_peer(run, workload, peers, field):
    medians = {p: run.median(workload, p, field) for p in peers}
    medians = {p: m for p, m in medians.items() if m}
    return min(medians, key=medians.get) if medians else None


def lines(run, ours, peers, field_of, limit, workloads):
    found = []
    for w in workloads:
        field = field_of(w)
        peer = best_peer(run, w.name, peers, field)
        ratio = peer and run.ratio(w.name, ours, peer, field)
        if ratio:
            found.append(Line(w.name, peer, ratio, limit))
    return found


def _mean_line(run, ours, peers, field_of, limit, what):
    """The peer whose geometric mean is least, and ours to it; empty when not measured."""
    means = {p: run.mean(p, BASE, field_of) for p in peers if p != BASE}
    values = {p: m.value for p, m in means.items() if m} | {BASE: 1.0}
    peer = min(values, key=values.get)
    ratio = run.mean(ours, peer, field_of)
    if not ratio:
        return ""
    spread = "" if ratio.rounds < 2 else f" ({ratio.low:.3f}-{ratio.high:.3f})"
    met = "met" if ratio.value <= limit else "MISS"
    return f"- {what}: {ratio.value:.3f}{spread} of {peer}'s, target at most {limit:.2f}: {met}"


def _tiny_line(run, ours):
    sizes = [run.median("startup", a, "peak_kib") for a in (ours, BASE)]
    if None in sizes:
        return []
    extra = sizes[0] - sizes[1]
    met = "met" if extra <= TINY_EXTRA_KIB else "MISS"
    return [f"- a tiny process: {extra:+.0f} KiB over {BASE}, target at most {TINY_EXTRA_KIB}: {met}"]


def _latency_lines(run, ours, peers):
    found = []
    for w in run.workloads:
        for call in report.CALLS if w.group == "latency" else ():
            field = f"{call}_p9999_ns"
            peer = best_peer(run, w.name, peers, field)
            mine = run.median(w.name, ours, field)
            if peer and mine is not None:
                theirs = run.median(w.name, peer, field)
                met = "met" if mine <= theirs else "MISS"
                found.append(f"- {w.name}: p99.99 of {call} {report.nanoseconds(mine)}, "
                             f"{peer} {report.nanoseconds(theirs)}: {met}")
    return found


def _table(title, found):
    rows = [[line.workload, line.peer, report.show(line.ratio), line.spread, line.mark]
            for line in sorted(found, key=lambda line: -line.ratio.value)]
    return [title, report.table(["workload", "peer", "ratio", "spread", "target"], rows)] if rows else []


def text(run, ours, peers):
    """Markdown paragraphs, or none when ours or every peer was not measured."""
    peers = [p for p in peers if p in run.allocators]
    if ours not in run.allocators or BASE not in peers:
        return []
    held = [w for w in run.workloads if w.group != "latency"]
    timed = lines(run, ours, peers, report.time_field, TIME_EACH_MOST, held)
    sized = lines(run, ours, peers, report.peak_field, PEAK_EACH_MOST, held)
    means = [_mean_line(run, ours, peers, report.time_field, TIME_MEAN_MOST, "geometric mean of time"),
             _mean_line(run, ours, [BASE], report.peak_field, PEAK_MEAN_MOST, "geometric mean of peak resident size")]
    summary = [*(line for line in means if line), *_tiny_line(run, ours), *_latency_lines(run, ours, peers),
               *([f"- workloads over {TIME_EACH_MOST} x the best in time: {_count(timed)}",
                  f"- workloads over {PEAK_EACH_MOST} x the smallest: {_count(sized)}"] if timed else [])]
    return [*_table(f"## {ours} in time, to the best peer of each workload", timed),
            *_table(f"## {ours} in peak resident size, to the smallest peer of each", sized),
            f"## {ours} against its targets", "\n".join(summary)]


def _count(found):
    missed = sum(line.mark == "MISS" for line in found)
    near = sum(bool(line.mark) for line in found) - missed
    return f"{missed} of {len(found)}" + (f", {near} more not beyond the spread" if near else "")
