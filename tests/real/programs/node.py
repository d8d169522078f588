"""node with worker threads: data/workload.js prints digests of what the workers computed."""

import os

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def run(r):
    for mode in ("workers", "addons"):
        done = r.run(["node", os.path.join(DATA, "workload.js"), mode, str(r.size(4, 8)), str(r.size(15, 120))],
                     name="node " + mode, timeout=900)
        r.fact(mode, done.out)
        r.fact(mode + ", errors", done.err)
