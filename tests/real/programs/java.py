"""A JVM: javac compiles data/Workload.java, java runs it under two collectors."""

import os
import re

from harness import file_digest

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def run(r):
    # Native memory has a size of its own only if the heap is the same in every run.
    heap = ["-Xms64m", "-Xmx256m"]
    classes = r.path("classes")
    r.run(["javac", "-J-Xmx256m", "-d", classes, os.path.join(DATA, "Workload.java")])
    r.fact("classes", {name: file_digest(os.path.join(classes, name)) for name in sorted(os.listdir(classes))})
    for collector in ("-XX:+UseSerialGC", "-XX:+UseG1GC"):
        done = r.run(["java", *heap, collector, "-cp", classes, "Workload", str(r.size(6, 60))], name="java " + collector[5:],
                     timeout=900)
        r.fact(collector, done.out)
        r.fact(collector + ", errors", re.sub(r"(?m)^\[.*\n", "", done.err))
