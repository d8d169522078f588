"""The sqlite3 shell over data/workload.sql, in memory and on disk."""

import os

from harness import Failed, digest

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def prepare(r):
    with open(os.path.join(DATA, "workload.sql"), encoding="ascii") as f:
        text = f.read()
    with open(r.input("workload.sql"), "w", encoding="ascii") as f:
        f.write(text.replace("@ROWS@", str(r.size(60_000, 400_000))))


def run(r):
    for where in (":memory:", r.path("workload.db")):
        kind = "memory" if where == ":memory:" else "file"
        done = r.run(["sqlite3", "-batch", "-bail", where], stdin=r.input("workload.sql"), name=f"sqlite3 {kind}")
        if "integrity ok" not in done.out:
            raise Failed(f"{kind}: integrity_check is not ok\n{done.out[-2000:]}{done.err[-2000:]}")
        r.fact(kind, digest(done.out))
        r.fact(kind + ", errors", done.err)
    done = r.run(["sqlite3", "-batch", r.path("workload.db"), ".dump"], name="sqlite3 dump")
    r.fact("dump", digest(done.out))
    os.unlink(r.path("workload.db"))
