"""PostgreSQL: initdb, pgbench with a fixed seed and count, queries that sort, hash, aggregate and run in parallel."""

import glob
import os
import pwd
import re
import shutil
import signal

from harness import Failed, digest, free_port, wait_for

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")

SUMS = ("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), "
        "(SELECT sum(bbalance) FROM pgbench_branches), (SELECT count(*) FROM pgbench_history), "
        "(SELECT sum(hashint8(aid) # delta) FROM pgbench_history)")


def run(r):
    tools = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))[-1])
    user = None
    if os.geteuid() == 0:  # the server refuses to be root
        names = [n for n in ("postgres", "nobody") if n in {e.pw_name for e in pwd.getpwall()}]
        user = names[0]
    data, sockets = r.path("data"), r.path("s")
    for folder in (data, sockets):
        os.makedirs(folder, mode=0o700)
        if user:
            shutil.chown(folder, user)
    port = free_port()
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    done = r.run([tools + "/initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D", data], user=user)
    settings = {"fsync": "off", "shared_buffers": "32MB", "work_mem": "2MB", "max_connections": "40",
                "unix_socket_directories": sockets, "listen_addresses": "127.0.0.1", "port": port,
                "max_parallel_workers_per_gather": "2", "min_parallel_table_scan_size": "0", "parallel_setup_cost": "0",
                "jit": "on", "jit_above_cost": "200000", "max_wal_size": "512MB"}
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    server = r.start([tools + "/postgres", "-D", data, *options], user=user, memory=True)

    def psql(name, *args, **how):
        return r.run([tools + "/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *args], env=env, user=user,
                     name="psql " + name, measured=False, **how)

    def ready():
        psql("ready", "-c", "SELECT 1", timeout=20)
        return True
    wait_for("postgres", ready, proc=server)
    pgbench = [tools + "/pgbench", "--random-seed=42"]
    r.run([pgbench[0], "-i", "-q", "-s", str(r.size(1, 10))], env=env, user=user, name="pgbench -i", measured=False)
    rates = []
    for mode in ("simple", "prepared"):
        done = r.run([*pgbench, "-M", mode, "-c", "6", "-j", "2", "-t", str(r.size(200, 3000))], env=env, user=user,
                     name="pgbench " + mode, measured=False)
        rate = re.search(r"tps = ([\d.]+)", done.out)
        if not rate:
            raise Failed("pgbench: " + done.out + done.err)
        rates.append(float(rate.group(1)))
    r.note(f"{sum(rates) / len(rates):.0f} transactions/s")
    r.fact("pgbench sums", psql("sums", "-c", SUMS).out)
    # Every session a new process: connections are cheap to leave.
    r.run([*pgbench, "-S", "-C", "-c", "4", "-t", str(r.size(20, 200))], env=env, user=user, name="pgbench -C", measured=False)
    done = psql("workload", "-v", f"rows={r.size(30_000, 500_000)}", "-f", os.path.join(DATA, "workload.pg.sql"), timeout=900)
    r.fact("workload", done.out)
    r.fact("workload, errors", done.err)
    dump = r.run([tools + "/pg_dump", "--no-owner", "-t", "w"], env=env, user=user, measured=False)
    # Which page an updated row goes to depends on what autovacuum did meanwhile: the rows are compared, not their order.
    rows = sorted(re.sub(r"(?m)^(--.*|\\(un)?restrict.*)\n", "", dump.out).splitlines())
    r.fact("dump", digest("\n".join(rows)))
    server.stop(signal.SIGINT)
    r.peak(server.watch.peak_together)
    with open(server.err_path, encoding="utf-8", errors="replace") as f:
        bad = [line for line in f if re.search(r"PANIC|was terminated by signal|TRAP", line)]
    if bad:
        raise Failed("the server's log:\n" + "".join(bad[:20]))
