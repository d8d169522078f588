"""Tables of a run, in Markdown that also reads well in a terminal."""

from . import statistics

FIGURES = {"cpu_s": "cpu", "wall_s": "wall", "replace_ns": "ns/op", "malloc_p9999_ns": "p99.99"}
CALLS = ("malloc", "free")
POINTS = ("p50", "p99", "p9999", "max")


class Run:
    """The samples of one run, looked up by workload, allocator and field."""

    def __init__(self, samples, workloads):
        self._values = {}
        for s in samples:
            self._values.setdefault((s.workload, s.allocator), {})[s.round] = s.values
        self.allocators = list(dict.fromkeys(s.allocator for s in samples))
        measured = {s.workload for s in samples}
        self.workloads = [w for w in workloads if w.name in measured]

    def order_allocators(self, names):
        self.allocators = [n for n in names if n in self.allocators] + [n for n in self.allocators if n not in names]

    def by_round(self, workload, allocator, field):
        """{round: value}, empty where it was not measured."""
        rounds = self._values.get((workload, allocator), {})
        return {r: v[field] for r, v in rounds.items() if field in v}

    def median(self, workload, allocator, field):
        values = self.by_round(workload, allocator, field)
        return statistics.median(values.values()) if values else None

    def ratio(self, workload, allocator, base, field):
        return statistics.ratio(self.by_round(workload, allocator, field), self.by_round(workload, base, field))

    def mean(self, allocator, base, field_of, workloads=None):
        """The geometric mean over workloads of the ratio to a base allocator."""
        chosen = [w for w in (workloads or self.workloads) if w.in_means]
        return statistics.mean_ratio([(self.by_round(w.name, allocator, field_of(w)),
                                       self.by_round(w.name, base, field_of(w))) for w in chosen])


def table(head, rows):
    """A Markdown table, padded: the first column to the left, the others to the right."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w)
                                 for i, (c, w) in enumerate(zip(cells, widths))) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def show(ratio):
    """0.82; ~0.98 where the difference lies inside the spread; ?0.82 where one round shows no spread."""
    if ratio is None:
        return "-"
    mark = "?" if ratio.rounds < 2 else "~" if ratio.is_none else ""
    return f"{mark}{ratio.value:.2f}"


def amount(value, field):
    if value is None:
        return "-"
    if field.endswith("_kib"):
        return f"{value / 1024:.1f} MiB"
    if field.endswith("_ns"):
        return nanoseconds(value)
    return f"{value * 1000:.2f} ms" if value < 0.01 else f"{value:.3f} s"


def nanoseconds(value):
    if value is None:
        return "-"
    return f"{value:.0f} ns" if value < 1e4 else f"{value / 1e3:.0f} us" if value < 1e7 else f"{value / 1e6:.0f} ms"


def _ratios(run, base, field_of, workloads, with_figure):
    others = [a for a in run.allocators if a != base]
    head = ["workload", *(["figure"] if with_figure else []), base, *others]
    rows = []
    for w in workloads:
        field = field_of(w)
        base_value = run.median(w.name, base, field)
        if base_value is None and not any(run.by_round(w.name, a, field) for a in others):
            continue
        rows.append([w.name, *([FIGURES.get(field, field)] if with_figure else []), amount(base_value, field),
                     *(show(run.ratio(w.name, a, base, field)) for a in others)])
    means = [show(run.mean(a, base, field_of, workloads)) for a in others]
    if len([w for w in workloads if w.in_means]) > 1:
        rows.append(["geometric mean", *([""] if with_figure else []), "", *means])
    return table(head, rows) if rows else ""


def _resident(run, base):
    """Resident size after everything was freed, absolute: what a long-lived process would go on paying."""
    parts = []
    for field, about in (("rss_after_kib", "right after"), ("rss_idle_kib", "after idling"),
                         ("rss_stirred_kib", "after idling and a little activity")):
        rows = [[w.name, *(amount(run.median(w.name, a, field), field) for a in run.allocators)]
                for w in run.workloads if any(run.by_round(w.name, a, field) for a in run.allocators)]
        if rows:
            parts += [f"### Resident after everything was freed, {about}", table(["workload", *run.allocators], rows)]
    return parts


def _latency(run):
    rows = []
    for w in run.workloads:
        for call in CALLS:
            for a in run.allocators:
                values = [run.median(w.name, a, f"{call}_{p}_ns") for p in POINTS]
                if any(v is not None for v in values):
                    rows.append([f"{w.name} {call} {a}", *map(nanoseconds, values)])
    return table(["call", "p50", "p99", "p99.99", "max"], rows) if rows else ""


def _growth(run):
    rows = [[w.name, *(nanoseconds(run.median(w.name, a, "replace_ns")) for a in run.allocators)]
            for w in run.workloads if w.group == "growth"]
    return table(["ns per operation", *run.allocators], rows) if rows else ""


def _throughput(run):
    rows = []
    for w in run.workloads:
        if w.figure == "wall_s" or w.name in ("redis", "postgres"):
            values = [run.median(w.name, a, "ops_per_s") for a in run.allocators]
            if any(values):
                rows.append([w.name, *(f"{v / 1e3:,.1f}" if v else "-" for v in values)])
    return table(["thousand per second", *run.allocators], rows) if rows else ""


def _faults(run):
    def cell(workload, allocator):
        minor, major = (run.median(workload, allocator, f"{kind}_faults") for kind in ("minor", "major"))
        if minor is None:
            return "-"
        return f"{minor:.0f}" + (f"+{major:.0f}" if major else "")

    rows = [[w.name, *(cell(w.name, a) for a in run.allocators)] for w in run.workloads]
    return table(["page faults (minor+major)", *run.allocators], rows)


def time_field(workload):
    return workload.figure


def peak_field(_workload):
    return "peak_kib"


def headline(run, base):
    """The two tables one looks at first."""
    timed = [w for w in run.workloads if w.group != "latency"]
    return [f"## Time, as a ratio to {base} (lower is better; ~ no difference beyond the spread)",
            _ratios(run, base, time_field, timed, True),
            f"## Peak resident size, as a ratio to {base}",
            _ratios(run, base, peak_field, timed, False)]


def details(run, base):
    sections = [("## Latency of single calls", _latency(run)), ("## Growth", _growth(run)),
                ("## Throughput", _throughput(run)), ("## Page faults", _faults(run))]
    parts = _resident(run, base)
    if parts:
        parts.insert(0, "## Resident size after the work")
    for title, text in sections:
        if text:
            parts += [title, text]
    return parts


def drawn(workloads):
    """What the loads are that a name alone does not tell."""
    lines = [f"- {w.name}: {w.about}" for w in workloads if w.group == "random"]
    return ["## The loads drawn at random", "\n".join(lines)] if lines else []


def latency_and_growth(run):
    """The absolute figures worth the terminal's room."""
    return [part for part in (_latency(run), _growth(run)) if part]


def machine_text(description):
    return "\n".join(f"- {name}: {value}" for name, value in description.items())
