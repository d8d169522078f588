"""redis-server under redis-benchmark, then with a data set whose digest is known, saved, loaded again, and torn down.

Debian's redis-server is linked with libjemalloc. Without Quarry it is given glibc's malloc, as everything else has.
"""

import re
import signal
import socket

from harness import Failed, digest, free_port, glibc, status_kb, wait_for


class Client:
    """Enough of the protocol."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def _reply(self):
        line = self.file.readline()
        if not line:
            raise Failed("redis-server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Failed("redis-server says: " + rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self.file.read(n + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        return rest

    def many(self, commands):
        data = []
        for command in commands:
            words = [w if isinstance(w, bytes) else str(w).encode() for w in command]
            data.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        self.socket.sendall(b"".join(data))
        return [self._reply() for _ in commands]

    def __call__(self, *command):
        return self.many([command])[0]


def start(r, port, threads=1):
    server = r.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", r.dir,
                      "--daemonize", "no", "--enable-debug-command", "yes", "--io-threads", str(threads), "--dbfilename", "d.rdb",
                      "--lazyfree-lazy-user-del", "yes"])

    def ready():
        client = Client(port)
        try:
            return client("PING") == b"PONG"
        finally:
            client.close()
    wait_for("redis-server", ready, proc=server)
    return server


def fill(client, n):
    """A data set of every type; some keys grow, shrink and go again."""
    for base in range(0, n, 500):
        batch = []
        for i in range(base, min(base + 500, n)):
            h = (i * 2654435761) & 0xffffffff
            batch.append(("SET", f"s:{i}", "x" * (h % 700)))
            batch.append(("HSET", f"h:{i % 500}", f"f{h % 300}", "v" * (h % 90)))
            batch.append(("ZADD", f"z:{i % 100}", h % 10007, f"m{h % 997}"))
            batch.append(("RPUSH", f"l:{i % 200}", "e" * (h % 300)))
            batch.append(("SADD", f"u:{i % 300}", h % 5003))
            batch.append(("APPEND", f"a:{i % 50}", "y" * (h % 500)))
            if h % 3 == 0:
                batch.append(("DEL", f"s:{h % n}"))
            if h % 5 == 0:
                batch.append(("LTRIM", f"l:{i % 200}", 0, 40))
            if h % 7 == 0:
                batch.append(("SETRANGE", f"a:{i % 50}", h % 100000, "zz"))
            if h % 1001 == 0:
                batch.append(("UNLINK", f"h:{i % 500}"))
            if h % 11 == 0:
                batch.append(("XADD", f"x:{i % 20}", f"{i + 1}-1", "f", "w" * (h % 200)))
        client.many(batch)


LUA = "local t={} for i=1,20000 do t[i]=tostring(i*i)..ARGV[1] end table.sort(t) return redis.sha1hex(table.concat(t))"


def benchmark(r, port, tests, requests):
    """[(test, requests/s)]. The client stays on glibc: the server is what is measured."""
    done = r.run(["redis-benchmark", "-p", str(port), "-n", str(requests), "-r", "20000", "-d", "200", "-c", "40", "-P", "8",
                  "--csv", "-t", tests], preload=False, measured=False, timeout=900)
    rates = re.findall(r'^"(\w+)[^"]*","([0-9.]+)"', done.out, re.M)
    if len(rates) < len(tests.split(",")) or "ERR" in done.out + done.err:
        raise Failed("redis-benchmark: " + done.out[-1000:] + done.err[-1000:])
    return rates


def run(r):
    r.preloaded = r.lib or glibc()
    port = free_port()
    server = start(r, port)
    requests = r.size(50_000, 400_000)
    tests = r.size("set,get,lpush,lpop,hset,zadd",
                   "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset")
    rates = benchmark(r, port, tests, requests)
    r.fact("benchmarks", [name for name, _ in rates])
    geometric = 1.0
    for _, rate in rates:
        geometric *= float(rate) ** (1 / len(rates))
    r.note(f"{geometric / 1000:.0f}k requests/s")
    client = Client(port)
    client("FLUSHALL")
    fill(client, r.size(15_000, 300_000))
    before = client("DEBUG", "DIGEST")
    r.fact("digest", before.decode())
    r.fact("keys", client("DBSIZE"))
    r.fact("lua", client("EVAL", LUA, 0, "x").decode())
    r.fact("sorted", digest(b",".join(client("SORT", "u:7", "LIMIT", 0, 50))))
    # A fork that writes while the parent goes on.
    client("BGSAVE")
    client.many([("SET", f"t:{i}", "t" * (i % 3000)) for i in range(3000)])
    wait_for("BGSAVE", lambda: b"rdb_bgsave_in_progress:0" in client("INFO", "persistence"), proc=server)
    if b"rdb_last_bgsave_status:ok" not in client("INFO", "persistence"):
        raise Failed("BGSAVE failed\n" + server.tail())
    client.many([("DEL", f"t:{i}") for i in range(3000)])
    client("SAVE")
    client("DEBUG", "RELOAD")
    if client("DEBUG", "DIGEST") != before:
        raise Failed("the data set is another after DEBUG RELOAD")
    r.peak(status_kb(server.pid, "VmHWM"))
    client.close()
    server.stop(signal.SIGTERM)
    # Again, and with threads that read and write: not measured, since they spin while they wait.
    server = start(r, port, threads=3)
    server.measured = False
    client = Client(port)
    r.fact("digest after restart", client("DEBUG", "DIGEST").decode())
    benchmark(r, port, tests, requests // 5)
    client("MEMORY", "PURGE")
    client("FLUSHALL", "ASYNC")
    client.close()
    server.stop(signal.SIGTERM)
