"""The samples as CSV: the machine's description in comment lines, then one line a sample."""

import csv
import datetime
import io
import os
import pathlib
import platform
import subprocess

from . import paths
from .problem import Problem
from .rounds import Sample

COLUMNS = ["wall_s", "user_s", "system_s", "cpu_s", "peak_kib", "minor_faults", "major_faults", "preempted", "ops",
           "ops_per_s", "work_s", "rss_after_kib", "rss_idle_kib", "rss_stirred_kib", "rss_exact_kib", "fill_ns",
           "replace_ns", "empty_ns", *(f"{call}_{point}_ns" for call in ("malloc", "free")
                                       for point in ("p50", "p99", "p9999", "max"))]


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT).stdout.strip()
    except OSError:
        return ""


def _line_of(path, start):
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(start):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def _file(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def _version(allocator):
    if allocator.package:
        return _output("dpkg-query", "-W", "-f", "${Package} ${Version}", allocator.package) or allocator.library
    return allocator.library.replace(f"{paths.ROOT}/", "") + "".join(f" {s}" for s in allocator.settings)


def machine(plan):
    """What one must know to read the figures: (name, text) pairs."""
    release = dict(line.split("=", 1) for line in _file("/etc/os-release").splitlines() if "=" in line)
    described = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _output("git", "describe", "--always", "--dirty"),
        "processor": _line_of("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": _line_of("/proc/meminfo", "MemTotal"),
        "page size": str(os.sysconf("SC_PAGE_SIZE")),
        "huge pages": _file("/sys/kernel/mm/transparent_hugepage/enabled"),
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "compiler": _output("cc", "--version").partition("\n")[0],
        "load at start": " ".join(f"{x:.2f}" for x in os.getloadavg()),
        "rounds": str(plan.rounds),
        "scale": f"{plan.scale:g}",
    }
    described |= {f"allocator {a.name}": _version(a) for a in plan.allocators}
    # Of a trace, only its file says on how many threads it runs, and that may be gone when the table is drawn again.
    described |= {f"figure {w.name}": w.figure for w in plan.workloads if w.group == "trace"}
    return described


def to_csv(samples, description):
    text = io.StringIO()
    for name, value in description.items():
        text.write(f"# {name}: {value}\n")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["round", "workload", "allocator", *COLUMNS])
    for s in samples:
        values = [f"{s.values[c]:.9g}" if c in s.values else "" for c in COLUMNS]
        table.writerow([s.round, s.workload, s.allocator, *values])
    return text.getvalue()


def from_csv(path):
    """(samples, description) of a file that to_csv wrote."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: not a result file of this instrument") from error
    comments = [line[2:].partition(": ") for line in lines if line.startswith("# ")]
    description = {name: value for name, _, value in comments}
    try:
        samples = [Sample(int(row.pop("round")), row.pop("workload"), row.pop("allocator"),
                          {k: float(v) for k, v in row.items() if v})
                   for row in csv.DictReader(line for line in lines if not line.startswith("#"))]
    except (KeyError, ValueError) as error:
        raise Problem(f"{path}: not a result file of this instrument") from error
    return samples, description
