"""SVG plots by gnuplot. Without gnuplot there are tables only."""

import pathlib
import shutil
import subprocess

from . import allocators, report

COLOURS = {"glibc": "#7f7f7f", "jemalloc": "#d99a2b", "mimalloc": "#4c8fc0", "tcmalloc": "#8d6ab8",
           "tbbmalloc": "#a9794f", "quarry": "#1d7a4c", "quarry-classic": "#7cc29c"}
LANE = 0.12  # of a row, between the dots of two allocators
LATENCY_TICKS = "'p50' 0, 'p99' 1, 'p99.99' 2, 'max' 3"
SPARE = ["#c2453d", "#3aa6a0", "#c06c9e", "#6b7a1f"]


def _colour(name, index):
    return COLOURS.get(name, SPARE[index % len(SPARE)])


def _font():
    return 'font "sans,11" background rgb "white"'


def _gnuplot(script, path):
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True)
    return path if done.returncode == 0 and path.exists() else None


def _block(name, rows):
    return f"${name} << END\n" + "\n".join(rows) + "\nEND\n"


def _quoted(text):
    return '"' + text.replace("_", "\\\\_") + '"'


def bars(run, base, field_of, title, path):
    """One row of dots a workload on a logarithmic axis: left of 1 is better than the base."""
    workloads = [w for w in run.workloads if w.group != "latency"]
    others = [a for a in run.allocators if a != base]
    if not workloads or not others:
        return None
    script = (f"set terminal svg size 900,{120 + 26 * len(workloads)} {_font()}\nset output '{path}'\n"
              f"set title {_quoted(title)}\nset logscale x 2\nset grid x lc rgb '#dddddd'\n"
              f"set key outside top center horizontal\nset format x '%.2g'\nset yrange [{len(workloads)}:-1]\n"
              f"set arrow from 1,-1 to 1,{len(workloads)} nohead lc rgb '#555555'\nset border 1\nset xtics nomirror\n"
              "set ytics nomirror scale 0 (" +
              ", ".join(f"{_quoted(w.name)} {i}" for i, w in enumerate(workloads)) + ")\n")
    plots = []
    for n, name in enumerate(others):
        rows = []
        for i, w in enumerate(workloads):
            r = run.ratio(w.name, name, base, field_of(w))
            if r:
                low, high = (r.low, r.high) if r.rounds > 1 else (r.value, r.value)
                rows.append(f"{r.value} {i + (n - (len(others) - 1) / 2) * LANE:.3f} {low} {high}")
        if rows:
            script += _block(f"d{n}", rows)
            big = 1.1 if name.startswith("quarry") else 0.8
            plots.append(f"$d{n} using 1:2:3:4 with xerrorbars pt 7 ps {big} lw 1.2 lc rgb '{_colour(name, n)}' "
                         f"title {_quoted(name)}")
    return _gnuplot(script + "plot " + ", ".join(plots) + "\n", path) if plots else None


def _curve_script(title, x_label, y_label, path, ticks):
    return (f"set terminal svg size 760,460 {_font()}\nset output '{path}'\nset title {_quoted(title)}\n"
            f"set xlabel {_quoted(x_label)}\nset ylabel {_quoted(y_label)}\nset logscale y\n"
            + (f"set xtics ({ticks})\nset xrange [-0.2:{ticks.count(',')}.2]\n" if ticks else "set logscale x\n") +
            "set grid lc rgb '#dddddd'\nset key outside right\nset border 3\nset tics nomirror\n")


def curves(series, title, x_label, y_label, path, ticks=""):
    """series: {allocator: [(x, y)]}; ticks: the names of the places on a linear axis instead of a logarithmic one."""
    series = {name: points for name, points in series.items() if len(points) > 1}
    if not series:
        return None
    script, plots = _curve_script(title, x_label, y_label, path, ticks), []
    for n, (name, points) in enumerate(series.items()):
        script += _block(f"d{n}", [f"{x} {y}" for x, y in points])
        plots.append(f"$d{n} using 1:2 with linespoints pt 7 ps 0.6 lw 2 lc rgb '{_colour(name, n)}' "
                     f"title {_quoted(name)}")
    return _gnuplot(script + "plot " + ", ".join(plots) + "\n", path)


def _series(run, prefix, field, to_y=lambda value: value):
    found = {}
    for name in run.allocators:
        for w in run.workloads:
            value = run.median(w.name, name, field) if w.name.startswith(prefix) else None
            if value:
                found.setdefault(name, []).append((float(w.name.removeprefix(prefix)), to_y(value)))
    return found


def _latency(run, workload, call):
    """Four points: the percentiles and the largest."""
    found = {}
    for name in run.allocators:
        values = [run.median(workload, name, f"{call}_{p}_ns") for p in report.POINTS]
        if all(values):
            found[name] = list(enumerate(values))
    return found


def draw(run, base, directory, say):
    """Every plot the samples allow; the paths written."""
    if not shutil.which("gnuplot") and not allocators.install(["gnuplot-nox"], say):
        say("no gnuplot: no plots")
        return []
    directory = pathlib.Path(directory)
    drawn = [
        bars(run, base, report.time_field, f"Time, ratio to {base}", directory / "time.svg"),
        bars(run, base, report.peak_field, f"Peak resident size, ratio to {base}", directory / "memory.svg"),
        curves(_series(run, "growth-", "replace_ns"), "Cost of an operation by live blocks", "live blocks",
               "ns per operation", directory / "growth.svg"),
        curves(_series(run, "threads-", "ops_per_s", lambda v: v / 1e6), "Throughput by threads", "threads",
               "million operations per second", directory / "threads.svg"),
    ]
    for w in (w for w in run.workloads if w.group == "latency"):
        for call in report.CALLS:
            drawn.append(curves(_latency(run, w.name, call), f"{w.name}: {call}", "", "ns at most",
                                directory / f"{w.name}-{call}.svg", LATENCY_TICKS))
    return [path for path in drawn if path]
